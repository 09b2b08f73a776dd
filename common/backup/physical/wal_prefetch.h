// Files of the log, read ahead in the order in which a recovery asks for them, several at a time: a store elsewhere
// answers slowly, decrypting takes a core. At most `window` files lie in a directory of its own (plain, mode 0700, the
// server user's): whoever recovers moves a file away as soon as it has its name, or asks for it with bring(), from one
// thread, and moves it away then.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "common/base/scratch.h"

namespace aragora::backup {

class WalPrefetch {
 public:
  // False when the archive ends before the file. Called from several threads.
  using Fetch = std::function<bool(const std::string& name, const fs::path& destination)>;
  struct Options {
    unsigned readers = 2;
    std::size_t window = 8;
  };
  // The directory lies below `base`.
  WalPrefetch(std::vector<std::string> names, Fetch fetch, Options options, const fs::path& base);
  WalPrefetch(const WalPrefetch&) = delete;
  WalPrefetch& operator=(const WalPrefetch&) = delete;
  ~WalPrefetch();

  // Until the file is in the directory. False when the archive ends before it; throws what fetching threw. What is not
  // in the list, or was taken before, is fetched now.
  bool bring(const std::string& name);
  const fs::path& directory() const { return directory_.path(); }
  std::size_t fetched() const { return fetched_; }
  std::size_t taken();

 private:
  enum class State { Waiting, Fetching, Ready, Absent, Failed, Taken };
  struct File {
    State state = State::Waiting;
    std::exception_ptr failure;
  };
  void read();
  std::optional<std::size_t> next();
  void noticeTaken();
  void waitForRoom(std::unique_lock<std::mutex>& lock);
  bool fetch(const std::string& name) const;
  const std::vector<std::string> names_;
  std::map<std::string, std::size_t> index_;
  const Fetch fetch_;
  const Options options_;
  TemporaryDirectory directory_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<File> files_;
  std::size_t first_ = 0;  // of the window
  std::atomic<std::size_t> fetched_{0};
  bool stopping_ = false;
  bool watched_ = false;  // by a reader
  std::vector<std::thread> readers_;
};

}  // namespace aragora::backup
