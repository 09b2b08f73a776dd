// Where `aragora reload` and `aragora providers` ask: a local socket that only our user and root may connect to, one
// line of JSON each way. A thread of its own minds all who ask, and each has a while for his question: nobody who is
// slow or silent keeps another waiting. What is asked for is done by whoever made this, one after the other.
#pragma once

#include <functional>
#include <future>
#include <list>
#include <thread>

#include "common/base/interrupt.h"
#include "common/base/json.h"
#include "daemon/edge/local_socket.h"

namespace aragora::daemon {

class Control {
 public:
  // Of {"actor": who asks}; what it answers goes back as it is. A promise that is given up closes the connection.
  using Reload = std::function<std::future<json::object>(const std::string& actor)>;
  // Of {"ask": "providers"}; must not wait.
  using Tell = std::function<json::object()>;
  // Throws Error(CannotCreate) when somebody listens there, or nobody can.
  Control(const fs::path& socket, Reload reload, Tell tell);
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;
  ~Control();

 private:
  struct Asker;
  void serve();
  void wait(const std::list<Asker>& askers) const;
  void take(std::list<Asker>& askers) const;
  bool goOn(Asker& asker) const;
  Reload reload_;
  Tell tell_;
  edge::LocalSocket socket_;
  interrupt::Switch stopping_;
  std::jthread thread_;
};

}  // namespace aragora::daemon
