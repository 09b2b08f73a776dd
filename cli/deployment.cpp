#include "cli/deployment.h"

#include <cstdlib>

#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/config/secret_file.h"
#include "common/deployment/deployment.h"

namespace aragora::cli {

namespace {
namespace key = config::key;
constexpr const char* kKeyCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";

Secret usable(Secret secret) {
  if (secret.reveal().find_first_not_of(kKeyCharacters) != std::string::npos)
    throw Error(Code::Config, "the key has a character that no key has", "write the key alone, in one line");
  neverShow(secret.reveal());
  return secret;
}

// The first address that a client can name; a certificate is not one for a loopback address, so that the public name
// is asked where TLS is spoken.
void addressHere(const config::Config& config, probe::SiteOptions& site) {
  const auto named = [&](std::string_view key) {
    return config.isSet(key) ? fmt::format("this machine's, by {}", config.variable(key))
                             : "this machine's, by default";
  };
  if (config.speaksTls() && config.isSet(key::kPublicUrl)) {
    site.url = requireDeploymentUrl(config.text(key::kPublicUrl));
    site.named_by = named(key::kPublicUrl);
    return;
  }
  for (const auto& address : config.addresses(key::kListen)) {
    if (address.local() || address.port == 0) continue;
    const bool any = address.host == "0.0.0.0" || address.host == "::";
    site.url = {address.plain || !config.speaksTls() ? "http" : "https",
                {},
                any ? "127.0.0.1" : address.host,
                address.port,
                config.text(key::kBasePath),
                {}};
    site.named_by = named(config.isSet(key::kListen) ? key::kListen : key::kPort);
    return;
  }
  throw Error(Code::Config, "the daemon of this machine listens on no address that a client can name",
              fmt::format("name the deployment with --url, or give {} an address", config.variable(key::kListen)));
}
}  // namespace

void declareDeployment(CommandLine& line, DeploymentOptions& options, const std::string& without) {
  line.option("--url", options.url, "The deployment (default: " + without + ")", {"URL", {}})
      .option("--key-file", options.key_file, "A file with the API key to show (default: ARAGORA_KEY)", file())
      .option("--ca", options.authorities, "Trust the certificates of this PEM file", file());
}

net::Url requireDeploymentUrl(const std::string& text) {
  auto url = net::Url::parse(text);
  if (!url || (url->scheme != "http" && url->scheme != "https") || !url->user_info.empty() || !url->query.empty())
    throw Error(Code::Usage, "--url takes the address of a deployment", "for example https://aragora.example.org");
  return *url;
}

Secret readKey(const Output& out, const std::optional<std::string>& key_file, const char* variable) {
  if (key_file) {
    const auto read = config::readSecretFile(*key_file, false);
    for (const auto& trouble : read.troubles) {
      if (!trouble.warning)
        throw Error(trouble.forbidden ? Code::Permission : Code::Config, "--key-file: " + trouble.message,
                    trouble.hint);
      out.note(fmt::format("! --key-file: {}\n    → {}", trouble.message, trouble.hint));
    }
    if (!read.text || read.text->empty())
      throw Error(Code::Config, fmt::format("--key-file: {} is empty", *key_file), "write the key into it");
    return usable(Secret(*read.text));
  }
  const char* given = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe): nothing of ours sets it
  return usable(Secret(given != nullptr ? given : ""));
}

probe::SiteOptions siteOf(Context& context, const DeploymentOptions& options) {
  probe::SiteOptions site;
  site.key = readKey(context.out(), options.key_file, "ARAGORA_KEY");
  site.authorities = options.authorities.value_or("");
  if (options.url) {
    site.url = requireDeploymentUrl(*options.url);
    return site;
  }
  const auto& config = context.config();
  addressHere(config, site);
  if (site.key.empty()) site.key = config.secret(key::kApiToken);
  return site;
}

json::object expectObject(const probe::Answer& answer, std::string_view asked) {
  auto object = answer.object();
  if (answer.status == 200 && !object.empty()) return object;
  const auto said = printable(jsonTextOr(object, "error", ""), 300);
  const auto hint = printable(jsonTextOr(object, "hint", ""), 300);
  const auto message = fmt::format("{} answered {}{}", asked, answer.status, said.empty() ? "" : ": " + said);
  switch (answer.status) {
    case 400:
    case 422:
      throw Error(Code::Validation, message, hint);
    case 401:
      throw Error(Code::Unauthorized, message, "show an API key: --key-file FILE, or ARAGORA_KEY");
    case 403:
      throw Error(Code::Forbidden, message, hint);
    case 404:
      throw Error(Code::NotFound, message, hint);
    case 409:
      throw Error(Code::Conflict, message, hint);
    default:
      throw Error(Code::Unreachable, message, hint.empty() ? "see the log of the deployment" : hint);
  }
}

}  // namespace aragora::cli
