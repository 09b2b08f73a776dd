#include "common/base/signals.h"

#include <pthread.h>

namespace aragora {

namespace {
int wakesUp() { return SIGRTMIN; }  // a function of the C library, not a constant
}  // namespace

Signals::Signals(std::initializer_list<int> numbers, std::function<void(int)> on_signal) {
  sigemptyset(&set_);
  sigaddset(&set_, wakesUp());
  for (const int number : numbers) sigaddset(&set_, number);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  thread_ = std::thread([this, set = set_, take = std::move(on_signal)] {
    ::pthread_setname_np(::pthread_self(), "signals");
    while (true) {
      int number = 0;
      if (sigwait(&set, &number) != 0) continue;
      if (number != wakesUp())
        take(number);
      else if (ending_)
        return;  // else somebody else sent it
    }
  });
}

Signals::~Signals() {
  ending_ = true;
  ::pthread_kill(thread_.native_handle(), wakesUp());
  thread_.join();
}

}  // namespace aragora
