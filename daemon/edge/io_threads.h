// The threads that read and write sockets: one Asio context each. Whoever lives in a context (acceptors, connections,
// WebSockets) is closed before stop(); the contexts then run out of work by themselves. Thread-safe.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <memory>
#include <thread>
#include <vector>

#include "common/base/clock.h"

namespace aragora::edge {

class IoThreads {
 public:
  using Context = boost::asio::io_context;
  explicit IoThreads(std::size_t count);
  ~IoThreads() { stop(deadlineIn(std::chrono::seconds(0))); }
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

  std::size_t size() const { return threads_.size(); }
  Context& context(std::size_t index) { return threads_[index]->context; }
  void start();
  // Every thread took a task within the deadline.
  bool responsive(std::chrono::milliseconds within);
  // Waits until the contexts have nothing left to do; what is left at the deadline is dropped. False when something
  // was.
  bool stop(Deadline deadline);

 private:
  struct Thread {
    Context context{1};
    boost::asio::executor_work_guard<Context::executor_type> work{context.get_executor()};
    std::jthread thread;
  };
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace aragora::edge
