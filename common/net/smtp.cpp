#include "common/net/smtp.h"

#include <Poco/Exception.h>
#include <Poco/Net/MailMessage.h>
#include <Poco/Net/MailRecipient.h>
#include <Poco/Net/MailStream.h>
#include <Poco/Timestamp.h>

#include <algorithm>
#include <sstream>

#include "common/base/text.h"
#include "common/net/address.h"
#include "common/net/failure.h"
#include "common/net/stream.h"
#include "common/net/tls.h"

namespace aragora::net {

namespace {
constexpr std::chrono::minutes kForTheWhole{10};
constexpr std::size_t kLongestReply = 16 * 1024;

struct Reply {
  int code = 0;
  std::vector<std::string> lines;
  std::string text() const { return fmt::format("{} {}", code, printable(join(lines, " "), 200)); }
};

class Dialogue {
 public:
  Dialogue(const MailServer& server, const Limits& limits)
      : server_(server),
        limits_(limits),
        stream_({server.host, server.port, server.security == MailSecurity::Tls ? tlsContext() : nullptr}, limits) {
    greeting_ = expect(2, "its greeting").text();
    greet();
    if (server.security == MailSecurity::StartTls) startTls();
    if (!server.user.empty()) logIn();
  }

  const std::string& greeting() const { return greeting_; }

  // What is left is manners.
  void hurry() { limits_.patience = std::chrono::seconds(1); }

  // Throws unless the reply begins with that digit. `what` is shown in the place of the command.
  Reply ask(const std::string& command, int wanted, const std::string& what) {
    stream_.write(command + "\r\n", limits_);
    return expect(wanted, what);
  }

  // Whatever it is.
  Reply say(const std::string& command) {
    stream_.write(command + "\r\n", limits_);
    return read();
  }

  // The whole message, and what is said to it. A server that looks at it first may take long to answer (RFC 5321,
  // 4.5.3.2.6: 10 minutes), and a mail that is sent anew meanwhile comes twice: the patience is all the time there is.
  Reply data(std::string_view message) {
    stream_.write(message, limits_);
    const auto began = std::chrono::steady_clock::now();
    limits_.patience = std::min<std::chrono::milliseconds>(remaining(limits_.deadline), kForTheWhole);
    try {
      return expect(2, "the mail");
    } catch (const Failure& failure) {
      if (failure.cause() != Cause::TooLate && failure.cause() != Cause::Broken) throw;
      throw Failure(Cause::Unsure,
                    fmt::format("{}: it has the mail and said nothing to it within {} s: it may have been "
                                "delivered ({})",
                                server_.text(), static_cast<int>(secondsSince(began)), failure.what()),
                    "see the log of the mail server");
    }
  }

  Reply expect(int wanted, const std::string& what) {
    auto reply = read();
    if (reply.code / 100 != wanted) refuse(reply, what);
    return reply;
  }

  [[noreturn]] void refuse(const Reply& reply, const std::string& what) const {
    throw Failure(reply.code / 100 == 4 ? Cause::Busy : Cause::Refused,
                  fmt::format("{}: {}: {}", server_.text(), what, reply.text()));
  }

 private:
  void greet() { offers_ = ask("EHLO " + server_.our_name, 2, "EHLO").lines; }

  // "AUTH" of "AUTH PLAIN LOGIN": what stands behind it; nullopt when it is not offered.
  std::optional<std::string> offered(std::string_view name) const {
    for (const auto& line : offers_) {
      const auto words = upper(line);
      if (words == name) return std::string();
      if (startsWith(words, std::string(name) + " ")) return words.substr(name.size() + 1);
    }
    return std::nullopt;
  }

  void startTls() {
    if (!offered("STARTTLS"))
      throw Failure(Cause::Refused, fmt::format("{}: it does not offer STARTTLS", server_.text()),
                    "set notify.smtp_tls to tls, or to none for a server on this machine");
    ask("STARTTLS", 2, "STARTTLS");
    // What came already was written in clear by whoever could, to be taken for something said under TLS.
    if (!buffer_.empty())
      throw Failure(Cause::Malformed, fmt::format("{}: it went on talking behind STARTTLS", server_.text()));
    stream_.startTls(tlsContext(), limits_);
    greet();
  }

  void logIn() {
    if (server_.security == MailSecurity::None && !isThisMachine(server_.host))
      throw Error(Code::Config, fmt::format("{}: a password is not sent in clear", server_.text()),
                  "set notify.smtp_tls to starttls or tls");
    const auto ways = split(offered("AUTH").value_or(""), ' ');
    const auto knows = [&](const char* way) { return std::find(ways.begin(), ways.end(), way) != ways.end(); };
    if (knows("PLAIN")) {
      const auto token = std::string(1, '\0') + server_.user + std::string(1, '\0') + server_.password.reveal();
      ask("AUTH PLAIN " + toBase64(token), 2, "the login of " + server_.user);
    } else if (knows("LOGIN")) {
      ask("AUTH LOGIN", 3, "AUTH LOGIN");
      ask(toBase64(server_.user), 3, "the user " + server_.user);
      ask(toBase64(server_.password.reveal()), 2, "the login of " + server_.user);
    } else {
      throw Failure(Cause::Refused, fmt::format("{}: it offers no login by password", server_.text()));
    }
  }

  std::string readLine(std::size_t& used) {
    while (true) {
      if (const auto end = buffer_.find('\n'); end != std::string::npos) {
        auto line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        if (!line.empty() && line.back() == '\r') line.pop_back();
        used += line.size();
        return line;
      }
      if (used + buffer_.size() > kLongestReply)
        throw Failure(Cause::Malformed, fmt::format("{}: what it says does not end", server_.text()));
      char bytes[4096];
      const auto got = stream_.read(bytes, sizeof bytes, limits_);
      if (got == 0) throw Failure(Cause::Broken, fmt::format("{}: it hung up", server_.text()));
      buffer_.append(bytes, got);
    }
  }

  Reply read() {
    Reply reply;
    for (std::size_t used = 0;;) {
      const auto line = readLine(used);
      const auto code = parseInteger(line.substr(0, 3));
      if (!code || *code < 200 || *code > 599 || (line.size() > 3 && line[3] != ' ' && line[3] != '-') ||
          used > kLongestReply)
        throw Failure(Cause::Malformed, fmt::format("{}: it does not speak SMTP", server_.text()));
      reply.code = static_cast<int>(*code);
      reply.lines.push_back(line.size() > 4 ? line.substr(4) : std::string());
      if (line.size() < 4 || line[3] == ' ') return reply;
    }
  }

  const MailServer& server_;
  Limits limits_;
  Stream stream_;
  std::string buffer_;
  std::string greeting_;
  std::vector<std::string> offers_;
};

// Header and body as they are sent, dots doubled, with the dot that ends them.
std::string written(const Mail& mail, const std::string& our_name) {
  using Poco::Net::MailMessage;
  try {
    MailMessage message;
    message.setSender(mail.from);
    for (const auto& one : mail.to) message.addRecipient({Poco::Net::MailRecipient::PRIMARY_RECIPIENT, one});
    message.setSubject(MailMessage::encodeWord(mail.subject, "UTF-8"));
    message.setDate(Poco::Timestamp(mail.at));
    message.set("Message-ID", fmt::format("<{}@{}>", mail.id, our_name));
    message.set("Auto-Submitted", "auto-generated");  // RFC 3834: nobody's absence answers
    message.setContentType("text/plain; charset=UTF-8");
    message.setContent(mail.body, MailMessage::ENCODING_QUOTED_PRINTABLE);
    std::ostringstream text;
    Poco::Net::MailOutputStream stream(text);
    message.write(stream);
    stream.close();
    return text.str();
  } catch (const Poco::Exception& error) {
    throw Error(Code::Internal, fmt::format("the mail cannot be written: {}", printable(error.displayText(), 160)));
  }
}
}  // namespace

std::string MailServer::text() const { return Target{host, port}.text(); }

bool isMailAddress(const std::string& text) {
  const auto at = text.rfind('@');
  if (at == std::string::npos || at == 0 || at + 1 == text.size() || text.size() > 254) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c < '\x7f' && std::string_view("<>()[],;:\\\"").find(c) == std::string_view::npos;
  });
}

MailAnswer sendMail(const MailServer& server, const Mail& mail, const Limits& limits) {
  for (const auto& one : mail.to) ARAGORA_CHECK(isMailAddress(one));
  const auto message = written(mail, server.our_name);
  Dialogue dialogue(server, limits);
  dialogue.ask(fmt::format("MAIL FROM:<{}>", mail.from), 2, "the sender " + mail.from);
  MailAnswer answer;
  Reply last;
  for (const auto& one : mail.to) {
    const auto reply = dialogue.say(fmt::format("RCPT TO:<{}>", one));
    if (reply.code / 100 == 2) continue;
    answer.refused.push_back(fmt::format("{} ({})", one, reply.text()));
    last = reply;
  }
  if (answer.refused.size() == mail.to.size()) dialogue.refuse(last, "no recipient was taken");
  dialogue.ask("DATA", 3, "DATA");
  answer.said = dialogue.data(message).text();
  dialogue.hurry();
  try {
    dialogue.say("QUIT");
  } catch (const Failure&) {  // it has the mail
  }
  return answer;
}

std::string lookAtMailServer(const MailServer& server, const Limits& limits) {
  Dialogue dialogue(server, limits);
  try {
    dialogue.say("QUIT");
  } catch (const Failure&) {  // it was there
  }
  return dialogue.greeting();
}

}  // namespace aragora::net
