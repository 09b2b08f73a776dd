// Why a call has no answer, told once, by whoever saw it, and read by all who have to decide: the retry loop, the
// circuit breaker, the fallback, the budget. The provider's own words are not repeated: they may hold the key.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "common/base/error.h"

namespace aragora::providers {

enum class FailureKind {
  Unreachable,  // no connection: names, network, TLS
  Timeout,      // first byte, idle or total
  Server,       // 5xx, 529, 408, or the same said within an answer
  Throttled,    // 429
  Malformed,    // an answer that is none
  Cut,          // a stream without its end
  Credential,   // 401, 403, or a model that this key has not
  Money,        // a limit of spending: asking again never helps
  Request,      // 400, 409, 413, 422: of this request alone
  Refused,      // the model refused, or its answer was filtered
  Empty,        // it said nothing, or ran into the most tokens before it said anything
  Stopped,      // we ended it: cancelled, or the debate's own time was over
  Rejected,     // not asked at all: the circuit is open, or the provider asked for a pause
};

class Failure : public Error {
 public:
  Failure(FailureKind kind, const std::string& reason, std::optional<std::chrono::milliseconds> asked_pause = {})
      : Error(kind == FailureKind::Stopped ? Code::Interrupted : Code::Unreachable, reason),
        kind_(kind),
        asked_pause_(asked_pause) {}
  FailureKind kind() const { return kind_; }
  std::optional<std::chrono::milliseconds> askedPause() const { return asked_pause_; }
  // The same, in other words.
  Failure retold(const std::string& reason) const {
    Failure other(kind_, reason, asked_pause_);
    other.worked_on_ = worked_on_;
    other.request_id_ = request_id_;
    return other;
  }
  // The provider's number of the call that failed; empty where it gave none.
  const std::string& requestId() const { return request_id_; }
  Failure& under(std::string request_id) {
    request_id_ = std::move(request_id);
    return *this;
  }
  // It came after the provider had begun to answer, or a try before it may have been billed.
  Failure& workedOn(bool worked_on) {
    worked_on_ = worked_on_ || worked_on;
    return *this;
  }
  // The request may have been worked on, and billed.
  bool maybeBilled() const {
    return worked_on_ || kind_ == FailureKind::Timeout || kind_ == FailureKind::Malformed ||
           kind_ == FailureKind::Cut || kind_ == FailureKind::Refused || kind_ == FailureKind::Empty ||
           kind_ == FailureKind::Stopped;
  }

 private:
  FailureKind kind_;
  std::optional<std::chrono::milliseconds> asked_pause_;
  bool worked_on_ = false;
  std::string request_id_;
};

}  // namespace aragora::providers
