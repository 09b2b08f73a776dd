#include "common/redis/address.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/net/stream.h"
#include "common/net/url.h"

namespace aragora::redis {

namespace {
constexpr std::string_view kSocket = "unix:";

Error refusal(std::string_view reason) {
  return {Code::Config, fmt::format("the Redis URL {}", reason),
          "write it as redis://[user:password@]host:6379/0, rediss:// for TLS, or unix:/path?db=0"};
}

std::optional<int> databaseNumber(std::string_view text) {
  const auto number = parseInteger(text);
  return number && *number >= 0 && *number <= 1'000'000 ? std::optional(static_cast<int>(*number)) : std::nullopt;
}

std::string decoded(std::string_view text, std::string_view what) {
  auto plain = net::percentDecoded(text);
  if (!plain) throw refusal(fmt::format("has a {} that is not percent-encoded", what));
  return std::move(*plain);
}

// unix:/path is unix:///path.
net::Url parts(std::string text) {
  if (startsWith(text, kSocket) && !startsWith(text, "unix://")) text.insert(kSocket.size(), "//");
  auto url = net::Url::parse(text);
  if (!url) throw refusal("cannot be read");
  return std::move(*url);
}

void readPlace(const net::Url& url, Address& address) {
  if (url.scheme == "unix") {
    if (!url.host.empty()) throw refusal("names a host and a Unix socket");
    address.path = decoded(url.path, "path");
    if (address.path.size() < 2 || address.path.front() != '/') throw refusal("names no absolute path");
    return;
  }
  if (url.scheme != "redis" && url.scheme != "rediss")
    throw refusal("has a scheme other than redis://, rediss:// and unix:");
  if (url.host.empty()) throw refusal("names no host");
  address.host = url.host;
  address.port = url.port != 0 ? url.port : 6379;
  address.tls = url.scheme == "rediss";
  if (url.path.size() < 2) return;
  const auto database = databaseNumber(std::string_view(url.path).substr(1));
  if (!database) throw refusal("has a path that is not a database number");
  address.database = *database;
}

void readUser(const net::Url& url, Address& address) {
  const auto colon = url.user_info.find(':');
  if (colon == std::string::npos) return;
  address.user = decoded(url.user_info.substr(0, colon), "user or password");
  address.password = Secret(decoded(url.user_info.substr(colon + 1), "user or password"));
}

void readParameters(const net::Url& url, Address& address) {
  const bool in_path = url.scheme != "unix" && url.path.size() > 1;
  const auto parameters = url.parameters();
  if (!parameters) throw refusal("has a parameter that is not percent-encoded");
  for (const auto& [name, value] : *parameters) {
    if (name != "db") throw refusal(fmt::format("has a parameter {} that is not known", printable(name, 40)));
    const auto database = databaseNumber(value);
    if (!database) throw refusal("has a db that is not a database number");
    if (in_path && *database != address.database) throw refusal("names two databases");
    address.database = *database;
  }
}
}  // namespace

std::string Address::text() const { return net::Target{host, port, nullptr, path}.text(); }

Address parseUrl(const Secret& url) {
  const auto read = parts(url.reveal());
  Address address;
  readPlace(read, address);
  readUser(read, address);
  readParameters(read, address);
  return address;
}

}  // namespace aragora::redis
