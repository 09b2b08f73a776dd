// Hands one mail to a mail server (RFC 5321), in clear or with TLS; with a user who logs in (RFC 4954) never in clear,
// but to this machine. Every wait is Stream's. What the server refuses is a Failure: of Cause::Busy when it may take it
// later (4xx), of Cause::Refused otherwise; when it has the whole mail and no answer comes while there is time, of
// Cause::Unsure: it may have been delivered. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/secret.h"
#include "common/net/limits.h"

namespace aragora::net {

enum class MailSecurity { StartTls, Tls, None };

struct MailServer {
  std::string host;
  std::uint16_t port = 0;
  MailSecurity security = MailSecurity::StartTls;
  std::string user{};
  Secret password{};
  std::string our_name = "localhost";
  std::string text() const;  // "host:port"
};

struct Mail {
  std::string id;  // of the Message-ID: the same for another try
  std::string from;
  std::vector<std::string> to;
  std::string subject;
  std::string body;
  Micros at = 0;
};

// A plain address: local@host, of bytes that neither a header nor the dialogue minds.
bool isMailAddress(const std::string& text);

struct MailAnswer {
  std::string said;                  // by the server, of the whole
  std::vector<std::string> refused;  // recipients, each with what was said; others have it
};
MailAnswer sendMail(const MailServer& server, const Mail& mail, const Limits& limits);
// Connects, logs in and leaves. Answers what the server called itself.
std::string lookAtMailServer(const MailServer& server, const Limits& limits);

}  // namespace aragora::net
