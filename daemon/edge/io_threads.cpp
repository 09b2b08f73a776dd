#include "daemon/edge/io_threads.h"

#include <pthread.h>

#include <boost/asio/post.hpp>

#include <future>

#include "common/base/log.h"

namespace aragora::edge {

IoThreads::IoThreads(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) threads_.push_back(std::make_unique<Thread>());
}

void IoThreads::start() {
  for (auto& io : threads_) {
    io->thread = std::jthread([&io] {
      ::pthread_setname_np(::pthread_self(), "io");
      // The thread's boundary: what a library throws ends the connection that was at it, and nothing else.
      for (bool done = false; !done;) {
        try {
          io->context.run();
          done = true;
        } catch (const std::exception& error) {
          log::error("a connection was given up: {}", error.what());
        }
      }
    });
  }
}

bool IoThreads::responsive(std::chrono::milliseconds within) {
  const auto deadline = deadlineIn(within);
  for (auto& io : threads_) {
    auto answered = std::make_shared<std::promise<void>>();  // shared with a task that may run after we gave up
    auto future = answered->get_future();
    boost::asio::post(io->context, [answered] { answered->set_value(); });
    if (future.wait_until(deadline) != std::future_status::ready) return false;
  }
  return true;
}

bool IoThreads::stop(Deadline deadline) {
  bool done = true;
  for (auto& io : threads_) io->work.reset();
  for (auto& io : threads_) {
    if (!io->thread.joinable()) continue;
    while (!io->context.stopped() && remaining(deadline).count() > 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    done = done && io->context.stopped();
    io->context.stop();
    io->thread.join();
  }
  return done;
}

}  // namespace aragora::edge
