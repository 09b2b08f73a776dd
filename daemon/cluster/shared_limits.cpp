#include "daemon/cluster/shared_limits.h"

#include "common/base/log.h"
#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::cluster {

namespace {
constexpr auto kPatience = std::chrono::milliseconds(100);
// The arithmetic of web::Events, for the keys of many requests. A key holds how many events count, and groups of them:
// the time of the last in microseconds, and how many. The one argument holds, for each request, what to do and the
// number of its keys; then for each key the limit, the window, how many events must be there, and how many are to be
// assumed when there is no key. A server whose clock went back must not refuse for longer than a window. Answers, for
// each key, how many events counted and how long until there is room for one more, as bytes: both ways are long.
constexpr std::string_view kScript = R"(
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local pack, unpack, floor = struct.pack, struct.unpack, math.floor
local held, order = {}, {}

local function add(one, events)
  one.events, one.changed = one.events + events, true
  if one.last and floor(one.last / one.group) ~= floor(now / one.group) then
    one.text = one.text:sub(one.from, one.to) .. pack('<dI4', one.last, one.count)
    one.from, one.to, one.count = 1, #one.text, 0
  end
  one.last, one.count = now, one.count + events
end

local function giveBack(one)
  if one.count > 0 then
    one.events, one.count, one.changed = one.events - 1, one.count - 1, true
  end
end

local function read(one, limit)
  local text, from = one.text, 5
  one.events = unpack('<I4', text)
  if unpack('<d', text, #text - 11) <= now then
    while from < #text do
      local at, count = unpack('<dI4', text, from)
      if at > now - one.window then break end
      one.events, from = one.events - count, from + 12
    end
    if from > #text then one.events = 0 return end
    one.last, one.count = unpack('<dI4', text, #text - 11)
    one.from, one.to = from, #text - 12
  else
    one.events = math.max(math.min(one.events, limit), 1)
    one.last, one.count = now, one.events
  end
end

local function hold(key, limit, window, least, lost)
  local one = held[key]
  if not one then
    one = {text = redis.call('GET', key) or '', window = window, group = floor(window / 512), events = 0, count = 0,
           from = 1, to = 0}
    if #one.text >= 16 and #one.text % 12 == 4 then
      read(one, limit)
    elseif least > 0 then
      least = lost
    end
    held[key], order[#order + 1] = one, key
  end
  if least > one.events then add(one, least - one.events) end
  return one
end

local function wait(one, limit)
  local leave, from = math.max(one.events - limit + 1, 1), one.from
  while from < one.to do
    local at, count = unpack('<dI4', one.text, from)
    leave, from = leave - count, from + 12
    if leave <= 0 then return math.ceil(at + one.window - now) end
  end
  return one.events > 0 and math.ceil(one.last + one.window - now) or 0
end

local asked, at, key, answer = ARGV[1], 1, 0, {}
while at <= #asked do
  local what, keys = unpack('<BB', asked, at)
  local allowed, ones = true, {}
  at = at + 2
  for i = 1, keys do
    local limit, window, least, lost = unpack('<I4I8I4I4', asked, at)
    local one = hold(KEYS[key + i], limit, window, least, lost)
    ones[i], at = one, at + 20
    if one.events >= limit then allowed = false end
    answer[#answer + 1] = pack('<I4I8', one.events, wait(one, limit))
  end
  for i = 1, keys do
    if what == 0 and allowed then add(ones[i], 1) elseif what == 2 then giveBack(ones[i]) end
  end
  key = key + keys
end

for _, key in ipairs(order) do
  local one = held[key]
  if one.changed and one.events > 0 then
    local last = one.count > 0 and pack('<dI4', one.last, one.count) or ''
    redis.call('SET', key, pack('<I4', one.events) .. one.text:sub(one.from, one.to) .. last,
               'PX', math.ceil(one.window / 1000))
  elseif one.changed then
    redis.call('DEL', key)
  end
end
return table.concat(answer)
)";
constexpr std::size_t kAnswerBytes = 12;  // for each key

// A Redis that answers and will not count, for want of memory or of a right: one line, until it does.
void noteRefusal(const redis::Reply& reply, std::atomic<bool>& told) {
  const bool refused = reply.kind == redis::Reply::Kind::Error;
  if (told.exchange(refused) == refused) return;
  if (refused)
    log::warning("Redis does not count limits ({}): each instance counts for itself", printable(reply.text, 120));
  else
    log::info("Redis counts limits again");
}

void append(std::string& bytes, std::int64_t number, unsigned size) {
  for (unsigned i = 0; i < size; ++i) bytes += static_cast<char>(number >> (8 * i) & 0xFF);
}

std::int64_t unpacked(std::string_view& bytes, unsigned size) {
  std::int64_t number = 0;
  for (unsigned i = 0; i < size; ++i) number |= std::int64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  bytes.remove_prefix(size);
  return number;
}

std::int64_t codeOf(web::Counting counting) {
  return counting == web::Counting::Take ? 0 : counting == web::Counting::Look ? 1 : 2;
}
}  // namespace

class SharedLimits::Desk : public std::enable_shared_from_this<Desk> {
 public:
  explicit Desk(Sisters& sisters) : sisters_(sisters), script_(std::string(kScript)) {}

  bool connected() const {
    const auto* const link = sisters_.link();
    return link != nullptr && link->state() == redis::LinkState::Connected;
  }

  void take(Asked asked, std::size_t sharers) {
    {
      const std::lock_guard lock(mutex_);
      sharers_ = sharers;
      waiting_.push_back(std::move(asked));
      if (std::exchange(asking_, true)) return;
    }
    ask();
  }

 private:
  // Those that wait; again when they are answered, until nobody does.
  void ask() {
    auto batch = std::make_shared<std::vector<Asked>>();  // shared with nobody: std::function copies
    std::size_t sharers = 1;
    {
      const std::lock_guard lock(mutex_);
      batch->swap(waiting_);
      asking_ = !batch->empty();
      sharers = sharers_;
    }
    if (batch->empty()) return;
    std::vector<std::string> keys;
    std::string asked;
    for (const auto& one : *batch) write(one, sharers, keys, asked);
    const bool sent =
        connected() && script_.run(*sisters_.link(), keys, {asked}, kPatience,
                                   [self = shared_from_this(), batch, keys = keys.size()](const redis::Reply* reply) {
                                     self->answer(*batch, reply, keys);
                                     self->ask();
                                   });
    if (sent) return;
    answer(*batch, nullptr, 0);
    ask();
  }

  void write(const Asked& asked, std::size_t sharers, std::vector<std::string>& keys, std::string& bytes) const {
    append(bytes, codeOf(asked.counting), 1);
    append(bytes, static_cast<std::int64_t>(asked.questions.size()), 1);
    for (const auto& one : asked.questions) {
      keys.push_back(sisters_.key(fmt::format("rate:{}:{}", web::name(one.bucket), web::textOf(one.key))));
      append(bytes, one.rate.limit, 4);
      append(bytes, one.rate.window.count(), 8);
      append(bytes, one.least, 4);
      // A Redis that was emptied: the others had as many as this one.
      append(bytes, std::min(one.least * static_cast<std::int64_t>(sharers), one.rate.limit), 4);
    }
  }

  void answer(const std::vector<Asked>& batch, const redis::Reply* reply, std::size_t keys) {
    if (reply != nullptr) noteRefusal(*reply, refused_);
    const bool good =
        reply != nullptr && reply->kind == redis::Reply::Kind::Text && reply->text.size() == keys * kAnswerBytes;
    std::string_view bytes = good ? reply->text : std::string_view();
    for (const auto& asked : batch) {
      std::vector<Count> counts;
      for (std::size_t i = 0; good && i < asked.questions.size(); ++i) {
        const auto events = unpacked(bytes, 4);
        counts.push_back({events, web::Span(unpacked(bytes, 8))});
      }
      asked.done(counts);
    }
  }

  Sisters& sisters_;
  redis::Script script_;
  std::atomic<bool> refused_{false};  // told
  std::mutex mutex_;
  bool asking_ = false;
  std::size_t sharers_ = 1;
  std::vector<Asked> waiting_;
};

SharedLimits::SharedLimits(Sisters& sisters, std::size_t instances)
    : sisters_(sisters), instances_(instances), desk_(std::make_shared<Desk>(sisters)) {}

bool SharedLimits::count(std::vector<Question> questions, web::Counting counting, Done done) {
  if (!desk_->connected()) return false;
  desk_->take({std::move(questions), counting, std::move(done)}, sharers());
  return true;
}

}  // namespace aragora::cluster
