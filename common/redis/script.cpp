#include "common/redis/script.h"

#include "common/base/text.h"

namespace aragora::redis {

namespace {
constexpr auto kLearning = std::chrono::seconds(1);

Command call(std::string how, const std::string& what, const std::vector<std::string>& keys,
             const std::vector<std::string>& arguments) {
  Command command{std::move(how), what, fmt::format("{}", keys.size())};
  command.insert(command.end(), keys.begin(), keys.end());
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}
}  // namespace

Script::Script(std::string text) { known_->text = std::move(text); }

void Script::learn(const std::shared_ptr<Known>& known, Link& link) {
  {
    const std::lock_guard lock(known->mutex);
    if (std::exchange(known->asked, true)) return;
  }
  const auto answered = [known](const Reply* reply) {
    const std::lock_guard lock(known->mutex);
    if (reply != nullptr && reply->kind == Reply::Kind::Text) known->digest = reply->text;
    if (reply == nullptr) known->asked = false;
  };
  if (!link.send({"SCRIPT", "LOAD", known->text}, kLearning, answered)) answered(nullptr);
}

bool Script::run(Link& link, const std::vector<std::string>& keys, const std::vector<std::string>& arguments,
                 std::chrono::milliseconds within, Link::Done done) {
  std::string digest;
  {
    const std::lock_guard lock(known_->mutex);
    digest = known_->digest;
  }
  if (digest.empty()) {
    learn(known_, link);
    return link.send(call("EVAL", known_->text, keys, arguments), within, std::move(done));
  }
  const auto until = deadlineIn(within);
  return link.send(call("EVALSHA", digest, keys, arguments), within,
                   [known = known_, &link, keys, arguments, until, done = std::move(done)](const Reply* reply) {
                     if (reply == nullptr || !startsWith(reply->text, "NOSCRIPT")) return done(reply);
                     {
                       const std::lock_guard lock(known->mutex);
                       known->digest.clear();
                       known->asked = false;
                     }
                     learn(known, link);
                     if (!link.send(call("EVAL", known->text, keys, arguments), remaining(until), done)) done(nullptr);
                   });
}

}  // namespace aragora::redis
