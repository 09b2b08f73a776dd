#include "cli/debate_feed.h"

#include "cli/deployment.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
using std::chrono::milliseconds;
constexpr auto kSilence = std::chrono::seconds(50);  // a heartbeat comes every 15 seconds
constexpr milliseconds kFirstPause(500);
constexpr milliseconds kLongestPause(5000);
}  // namespace

DebateFeed::DebateFeed(const probe::Site& site, std::string id, std::chrono::seconds longest)
    : site_(site), id_(std::move(id)), longest_(longest) {}

void DebateFeed::follow(const Hear& hear) {
  auto give_up = deadlineIn(longest_);
  auto pause = kFirstPause;
  while (true) {
    const auto before = last_seq_;
    try {
      if (listen(hear) || askForEvents(hear)) return;
    } catch (const net::Failure&) {
      if (remaining(give_up).count() == 0) throw;
    }
    if (last_seq_ > before) {
      give_up = deadlineIn(longest_);
      pause = kFirstPause;
    }
    if (remaining(give_up).count() == 0)
      throw net::Failure(net::Cause::TooLate, fmt::format("nothing was heard of the debate for {} s", longest_.count()),
                         "look again: aragora debate show " + id_);
    net::pause(pause, site_.limits().stop);
    pause = std::min(pause * 2, kLongestPause);
  }
}

// False when the socket could not be had, or ended before the debate did.
bool DebateFeed::listen(const Hear& hear) {
  auto limits = site_.limits();
  try {
    net::WebSocket socket(
        site_.socketAt(fmt::format("/ws?debate_id={}&since={}&deltas=agent", net::percentEncoded(id_), last_seq_)),
        limits);
    limits.patience = kSilence;
    limits.deadline = Deadline::max();
    while (const auto text = socket.receive(limits)) {
      const auto value = tryParseJson(*text);
      if (!value || !value->is_object()) continue;
      const auto& frame = value->get_object();
      if (jsonTextOr(frame, "type", "") == "error" && jsonTextOr(frame, "debate_id", "") == id_)
        throw Error(Code::NotFound, fmt::format("there is no debate {}", printable(id_, 60)),
                    "see: aragora debate list");
      if (jsonTextOr(frame, "debate_id", "") == id_ && take(frame, hear)) return true;
    }
  } catch (const net::Failure&) {  // asked for events instead, and tried again
  } catch (const Error& error) {
    if (error.code() != Code::CheckFailed) throw;  // refused by what stands between
  }
  return false;
}

bool DebateFeed::askForEvents(const Hear& hear) {
  while (true) {
    const auto path = fmt::format("/api/debates/{}/events?since={}", net::percentEncoded(id_), last_seq_);
    const auto answer = site_.get(path, probe::As::Caller);
    if (answer.status == 429) return false;
    const auto page = expectObject(answer, "the events of the debate");
    const auto* events = jsonArray(page, "events");
    if (events == nullptr || events->empty()) return false;
    for (const auto& event : *events) {
      if (event.is_object() && take(event.get_object(), hear)) return true;
    }
  }
}

// Whether it was the last one.
bool DebateFeed::take(const json::object& frame, const Hear& hear) {
  if (const auto seq = jsonInteger(frame, "seq")) {
    if (*seq <= last_seq_) return false;
    last_seq_ = *seq;
  }
  hear(frame);
  return jsonTextOr(frame, "type", "") == "debate_end";
}

}  // namespace aragora::cli
