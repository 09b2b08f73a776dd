// Looks at all debates at once, of which each costs what there are debates: a few at a time, whoever asks, so that
// other requests find a database and a worker. Whoever is one too many is told so at once. What nobody minds being some
// seconds old is kept, by time alone. Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace aragora::api {

class Reports {
 public:
  using Body = std::shared_ptr<const std::string>;  // shared with the connections that are writing it
  static constexpr int kAtOnce = 2;
  static constexpr std::chrono::seconds kStays{10};

  // Holds a place as long as it lives. Error(Overloaded) when there is none.
  class Place {
   public:
    explicit Place(Reports& reports);
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() { --reports_.taken_; }

   private:
    Reports& reports_;
  };

  // The statistics: those that are kept, or made now. While somebody makes them others get what there was; with nothing
  // there Error(Overloaded).
  Body statistics(const std::function<std::string()>& render);
  // nullptr: none are kept, or too old ones.
  Body freshStatistics();

 private:
  std::atomic<int> taken_{0};
  std::mutex rendering_;  // before mutex_
  std::mutex mutex_;
  Body statistics_;
  std::chrono::steady_clock::time_point made_;
};

}  // namespace aragora::api
