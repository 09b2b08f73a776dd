#include "daemon/chat/desk.h"

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "daemon/chat/replies.h"

namespace aragora::chat {

namespace {
constexpr std::size_t kPiece = 160;  // bytes of an answer that comes at once, so that it reads as one that is made

edge::Response streamHead() {
  edge::Response head;
  head.content_type = "text/event-stream; charset=utf-8";
  head.headers.emplace_back("X-Accel-Buffering", "no");  // nginx hands it on as it comes
  return head;
}

// Asked again it would be another debate: the vendors' SDKs look for this before they do.
edge::Response failure(int status, const json::object& body) {
  edge::Response response;
  response.status = status;
  response.body = toJson(body);
  response.headers.emplace_back("x-should-retry", "false");
  return response;
}

std::string_view firstPiece(std::string_view text) {
  auto length = std::min(text.size(), kPiece);
  while (length < text.size() && (static_cast<unsigned char>(text[length]) & 0xC0U) == 0x80U) ++length;
  return text.substr(0, length);
}
}  // namespace

struct Desk::Place {
  Place(Waiting given, edge::LongAnswer to) : waiting(std::move(given)), answer(std::move(to)) {}
  Waiting waiting;
  edge::LongAnswer answer;
  std::mutex mutex;  // of what follows
  std::string said;  // of the final answer, so far
  bool over = false;
};

void Desk::take(edge::Upgraded&& upgraded, Waiting waiting) {
  // It is told of the client's leaving before it is known to anybody else.
  const auto slot = std::make_shared<std::weak_ptr<Place>>();  // shared with the line, which outlives the place
  auto answer = edge::LongAnswer::take(std::move(upgraded), [this, slot] {
    if (const auto place = slot->lock()) gone(place);
  });
  const auto place = std::make_shared<Place>(std::move(waiting), std::move(answer));
  *slot = place;
  if (place->waiting.stream) {
    place->answer.begin(streamHead(), ": the debate goes on\n\n");
    place->answer.part(firstChunk(place->waiting));
  }
  bool closed = false;
  {
    const std::lock_guard lock(mutex_);
    closed = closed_;
    if (!closed) places_.emplace(place->waiting.debate_id, place);
    if (lines_.size() == lines_.capacity())
      lines_.erase(std::remove_if(lines_.begin(), lines_.end(), [](const auto& line) { return !line.there(); }),
                   lines_.end());
    lines_.push_back(place->answer);
  }
  if (closed) return place->answer.drop();
  if (place->waiting.stream && services_.listened) services_.listened(place->waiting.debate_id);
  inWorker(place, &Desk::finishIfEnded);  // it may be over already
}

void Desk::inWorker(const PlacePtr& place, void (Desk::*what)(const PlacePtr&)) {
  const auto task = [this, place, what](edge::Turn) {
    const log::Scope scope({place->waiting.request_id, place->waiting.debate_id});
    try {
      (this->*what)(place);
    } catch (const std::exception& error) {
      log::warning("an answer over the chat API could not be given: {}", error.what());
      leave(place);
      place->answer.drop();
    }
  };
  if (!services_.workers.post(task)) task(edge::Turn::TooLate);
}

std::vector<Desk::PlacePtr> Desk::at(const std::string& debate_id) const {
  std::vector<PlacePtr> found;
  const std::lock_guard lock(mutex_);
  const auto [first, last] = places_.equal_range(debate_id);
  for (auto it = first; it != last; ++it) found.push_back(it->second);
  return found;
}

void Desk::heard(const store::Event& event) {
  for (const auto& place : at(event.debate_id)) {
    if (std::holds_alternative<store::DebateEnded>(event.body))
      inWorker(place, &Desk::finishIfEnded);
    else if (place->waiting.stream && std::holds_alternative<store::RoundStarted>(event.body))
      place->answer.part(
          fmt::format(": round {}, {}\n\n", event.round, store::name(std::get<store::RoundStarted>(event.body).phase)));
  }
}

// The final answer alone, while it is written.
void Desk::spoken(const wire::Delta& delta) {
  if (delta.phase != store::Phase::Synthesize || delta.kind != wire::Delta::Kind::Text) return;
  for (const auto& place : at(delta.debate_id)) {
    if (!place->waiting.stream) continue;
    const std::lock_guard lock(place->mutex);
    if (place->over || delta.attempt > 1 || wire::characters(place->said) != delta.offset) continue;
    place->said += delta.text;
    place->answer.part(textChunk(place->waiting, delta.text));
  }
}

void Desk::finishIfEnded(const PlacePtr& place) {
  const auto debate = services_.debates.find(place->waiting.debate_id);
  if (debate && !debate->finished()) return;
  if (debate) return finish(place, *debate);
  leave(place);  // somebody has deleted it
  place->answer.drop();
}

void Desk::finish(const PlacePtr& place, const store::Debate& debate) {
  const auto& waiting = place->waiting;
  const Spent spent{tokensOf(services_.debates.calls(debate.id)), services_.debates.costOf(debate.id)};
  const std::lock_guard lock(place->mutex);
  if (std::exchange(place->over, true)) return;
  leave(place);
  if (!waiting.stream) {
    if (!hasAnswer(debate)) return place->answer.answer(failure(502, errorOf(waiting, debate)));
    edge::Response response;
    response.body = toJson(completion(waiting, debate, spent));
    return place->answer.answer(std::move(response));
  }
  if (!hasAnswer(debate)) {
    place->answer.part(errorEvent(errorOf(waiting, debate)));
    return place->answer.end();
  }
  // What was said while it was written is how it begins; should it not be, the whole follows.
  std::string_view rest = debate.final_answer;
  if (startsWith(rest, place->said))
    rest.remove_prefix(place->said.size());
  else
    place->answer.part(textChunk(waiting, "\n\n"));
  while (!rest.empty()) {
    const auto piece = firstPiece(rest);
    place->answer.part(textChunk(waiting, piece));
    rest.remove_prefix(piece.size());
  }
  place->answer.part(lastChunks(waiting, debate, spent));
  place->answer.end();
}

void Desk::leave(const PlacePtr& place) {
  const std::lock_guard lock(mutex_);
  const auto [first, last] = places_.equal_range(place->waiting.debate_id);
  for (auto it = first; it != last; ++it) {
    if (it->second != place) continue;
    places_.erase(it);
    return;
  }
}

// Nobody is left who waits for it.
void Desk::gone(const PlacePtr& place) {
  leave(place);
  {
    const std::lock_guard lock(place->mutex);
    if (std::exchange(place->over, true)) return;
  }
  if (!services_.cancel_when_gone || awaits(place->waiting.debate_id)) return;
  inWorker(place, &Desk::cancel);
}

void Desk::cancel(const PlacePtr& place) {
  try {
    services_.debating.cancel(place->waiting.debate_id, place->waiting.caller);
  } catch (const Error& error) {
    if (error.code() != Code::Conflict && error.code() != Code::NotFound) throw;  // it has ended meanwhile
  }
}

bool Desk::awaits(const std::string& debate_id) const {
  const std::lock_guard lock(mutex_);
  return places_.count(debate_id) > 0;
}

std::vector<std::string> Desk::awaited() const {
  std::vector<std::string> ids;
  const std::lock_guard lock(mutex_);
  for (auto it = places_.begin(); it != places_.end(); it = places_.upper_bound(it->first)) ids.push_back(it->first);
  return ids;
}

std::vector<std::string> Desk::listened() const {
  std::vector<std::string> ids;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, place] : places_) {
    if (place->waiting.stream) ids.push_back(id);
  }
  return ids;
}

void Desk::closeAll() {
  std::multimap<std::string, PlacePtr> all;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    all = places_;
  }
  for (const auto& [id, place] : all) {
    const std::lock_guard lock(place->mutex);
    if (std::exchange(place->over, true)) continue;
    if (place->waiting.stream) {
      place->answer.part(errorEvent(stopping(place->waiting)));
      place->answer.end();
    } else {
      place->answer.answer(failure(503, stopping(place->waiting)));
    }
  }
}

void Desk::dropAll() {
  std::vector<edge::LongAnswer> all;
  {
    const std::lock_guard lock(mutex_);
    places_.clear();
    all.swap(lines_);
  }
  for (const auto& line : all) line.drop();
}

}  // namespace aragora::chat
