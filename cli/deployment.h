// A deployment that a command speaks to as a client: the one that --url names, or the daemon of this machine at the
// address that the configuration gives it. A key never comes from the command line, where every user of the machine can
// read it.
#pragma once

#include "cli/context.h"
#include "common/probe/site.h"

namespace aragora::cli {

struct DeploymentOptions {
  std::optional<std::string> url;
  std::optional<std::string> key_file;
  std::optional<std::string> authorities;
};

// --url, --key-file and --ca. `without` says what is spoken to without --url.
void declareDeployment(CommandLine& line, DeploymentOptions& options, const std::string& without);
// Error(Usage) for what is no address of a deployment.
net::Url requireDeploymentUrl(const std::string& text);
// Of the file, or of the environment's variable; empty when there is neither. Never shown from here on.
Secret readKey(const Output& out, const std::optional<std::string>& key_file, const char* variable);
// With the key of ARAGORA_KEY; for the daemon of this machine that of the configuration otherwise. Error(Config) when
// it listens on nothing that can be reached from here.
probe::SiteOptions siteOf(Context& context, const DeploymentOptions& options);
// The body of a 200; what else it answered as the Error that it stands for.
json::object expectObject(const probe::Answer& answer, std::string_view asked);

}  // namespace aragora::cli
