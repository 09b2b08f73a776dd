// Where `aragora reload` asks: a local socket that only our user and root may connect to, one line of JSON each way.
// One question at a time, in a thread of its own; what is asked for is done by whoever made this, and waited for here.
#pragma once

#include <functional>
#include <future>
#include <thread>

#include "common/base/interrupt.h"
#include "common/base/json.h"
#include "daemon/edge/local_socket.h"

namespace aragora::daemon {

class Control {
 public:
  // Of {"actor": who asks}; what it answers goes back as it is. A promise that is given up closes the connection.
  using Reload = std::function<std::future<json::object>(const std::string& actor)>;
  // Throws Error(CannotCreate) when somebody listens there, or nobody can.
  Control(const fs::path& socket, Reload reload);
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;
  ~Control();

 private:
  void serve();
  void answer(int connection);
  Reload reload_;
  edge::LocalSocket socket_;
  interrupt::Switch stopping_;
  std::jthread thread_;
};

}  // namespace aragora::daemon
