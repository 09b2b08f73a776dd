#include "common/redis/client.h"

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/redis/wire.h"

namespace aragora::redis {

Client::Client(const Secret& url, std::chrono::milliseconds timeout, std::stop_token stop)
    : address_(parseUrl(url)),
      timeout_(timeout),
      stop_(std::move(stop)),
      wire_(std::make_unique<Wire>(address_, net::Limits{deadlineIn(timeout), timeout, stop_})) {}

Client::~Client() = default;

Reply Client::call(const Command& arguments) { return wire_->call(arguments, {deadlineIn(timeout_), timeout_, stop_}); }

Reply Client::command(const Command& arguments) {
  auto reply = call(arguments);
  requireGood(reply, address_, arguments.at(0));
  return reply;
}

void Client::ping() {
  const auto reply = call({"PING"});
  if (!startsWith(reply.text, "NOPERM")) requireGood(reply, address_, "PING");
}

std::string Client::serverInfo(const std::string& field) {
  const auto reply = command({"INFO", "server"});
  for (const auto& line : split(reply.text, '\n')) {
    if (startsWith(line, field + ":")) return line.substr(field.size() + 1);
  }
  return {};
}

}  // namespace aragora::redis
