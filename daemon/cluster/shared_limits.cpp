#include "daemon/cluster/shared_limits.h"

#include "common/base/log.h"
#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::cluster {

namespace {
constexpr auto kPatience = std::chrono::milliseconds(100);
constexpr Names<web::Counting, 3> kCountings{
    {{web::Counting::Take, "take"}, {web::Counting::Look, "look"}, {web::Counting::GiveBack, "give back"}}};

// The arithmetic of web::decide(), for several keys at once. A key holds the theoretical arrival time in microseconds.
// ARGV: what to do; then emission, most (emission times limit) and what is known to be kept, for each key.
// A server whose clock went back must not refuse for longer than a window. Answers how far ahead each was.
constexpr std::string_view kScript = R"(
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local ahead, allowed = {}, true
for i, key in ipairs(KEYS) do
  local emission, most, least = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local kept = (tonumber(redis.call('GET', key) or '0') or 0) - now
  ahead[i] = math.floor(math.min(math.max(kept, least, 0), most))
  if ahead[i] + emission > most then allowed = false end
end
if ARGV[1] == 'give back' or (ARGV[1] == 'take' and allowed) then
  for i, key in ipairs(KEYS) do
    local emission = tonumber(ARGV[3 * i - 1])
    local kept = ahead[i] + (ARGV[1] == 'take' and emission or -emission)
    if kept > 0 then
      redis.call('SET', key, string.format('%.0f', now + kept), 'PX', math.ceil(kept / 1000))
    else
      redis.call('DEL', key)
    end
  end
end
return ahead
)";

// A Redis that answers and will not count, for want of memory or of a right: one line, until it does.
void noteRefusal(const redis::Reply& reply, std::atomic<bool>& told) {
  const bool refused = reply.kind == redis::Reply::Kind::Error;
  if (told.exchange(refused) == refused) return;
  if (refused)
    log::warning("Redis does not count limits ({}): each instance counts for itself", printable(reply.text, 120));
  else
    log::info("Redis counts limits again");
}
}  // namespace

SharedLimits::SharedLimits(Sisters& sisters, std::size_t instances)
    : sisters_(sisters), instances_(instances), script_(std::string(kScript)) {}

bool SharedLimits::count(const std::vector<Question>& questions, web::Counting counting, Done done) {
  auto* const link = sisters_.link();
  if (link == nullptr || link->state() != redis::LinkState::Connected) return false;
  std::vector<std::string> keys;
  std::vector<std::string> arguments{std::string(nameIn(kCountings, counting))};
  for (const auto& one : questions) {
    keys.push_back(sisters_.key(fmt::format("limit:{}:{}", web::name(one.bucket), web::textOf(one.key))));
    const auto emission = one.rate.emission();
    for (const auto span : {emission, emission * one.rate.limit, one.least})
      arguments.push_back(fmt::format("{}", span.count()));
  }
  return script_.run(*link, keys, arguments, kPatience,
                     [size = questions.size(), refused = refused_, done = std::move(done)](const redis::Reply* reply) {
                       std::vector<web::Span> ahead;
                       if (reply != nullptr) noteRefusal(*reply, *refused);
                       if (reply != nullptr && reply->elements.size() == size) {
                         for (const auto& element : reply->elements) ahead.emplace_back(element.integer);
                       }
                       done(ahead);
                     });
}

}  // namespace aragora::cluster
