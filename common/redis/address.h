// Where a Redis is and who asks it, from a URL. Pure; messages never quote the URL, which holds the password.
#pragma once

#include <string>

#include "common/base/secret.h"

namespace aragora::redis {

struct Address {
  std::string host{};
  std::uint16_t port = 6379;
  bool tls = false;
  std::string path{};  // of a Unix socket, instead of host and port
  std::string user{};
  Secret password{};
  int database = 0;

  std::string text() const;  // "host:port" or "unix:/path", for messages
};

// redis://[user:password@]host[:port][/db] or …?db=N; rediss://… (TLS 1.2+, certificate and name verified);
// unix:/path[?db=N] or unix://[user:password@]/path. A password may stand alone: redis://:password@host.
// Throws Error(Config) when the URL is not one of these.
Address parseUrl(const Secret& url);

}  // namespace aragora::redis
