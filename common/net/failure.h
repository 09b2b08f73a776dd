// What goes wrong between here and another host. The cause says whether another try may do better.
#pragma once

#include "common/base/error.h"

namespace aragora::net {

enum class Cause {
  NoSuchName,  // the name has no address, or nobody could be asked for it
  NotReached,  // nobody listens there, or no way leads there
  Untrusted,   // TLS: its certificate is not valid, or not its own
  TooLate,     // no answer within the deadline or the patience
  Broken,      // the connection ended before the answer did
  Malformed,   // what came is not what the protocol says
  Busy,        // it asks to come again
  Refused,     // it understood, and does not do it
  Unsure,      // it has all of what was sent, and did not say that it took it
};

class Failure : public Error {
 public:
  Failure(Cause cause, const std::string& message, std::string hint = {})
      : Error(Code::Unreachable, message, std::move(hint)), cause_(cause) {}
  Cause cause() const { return cause_; }
  // Of NotReached: the host itself said that nobody listens, rather than nobody saying anything.
  bool portClosed() const { return port_closed_; }
  Failure& closedPort() {
    port_closed_ = true;
    return *this;
  }
  bool worthAnotherTry() const {
    return cause_ != Cause::Untrusted && cause_ != Cause::Malformed && cause_ != Cause::Refused &&
           cause_ != Cause::Unsure;
  }

 private:
  Cause cause_;
  bool port_closed_ = false;
};

}  // namespace aragora::net
