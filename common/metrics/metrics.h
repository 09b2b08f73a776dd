// Counters, gauges and histograms in the Prometheus text format, kept by prometheus-cpp; catalogue.h has all of them.
// Those without labels exist from the start, at zero. One Registry a daemon, passed
// by reference; recording is thread-safe. A request costs a shared lock and its own counters; everything else also
// looks its series up, under a lock. Callers label with what they know themselves, never with what a client says; and
// should one do so, a family has kMostSeries at most: what finds no room is counted in aragora_metrics_dropped_total.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace aragora::metrics {

using Labels = std::map<std::string, std::string>;

// A counter at hand, for what is counted often: no lock, no look-up. Of a family that is full it counts nothing. The
// registry outlives it.
class Counter {
 public:
  Counter() = default;
  void add(double by = 1) const;

 private:
  friend class Registry;
  explicit Counter(void* kept) : kept_(kept) {}
  void* kept_ = nullptr;
};

class Registry {
 public:
  static constexpr std::size_t kMostSeries = 2000;  // the requests of all routes, methods and statuses are about half

  Registry();
  ~Registry();

  void count(const std::string& name, const Labels& labels = {}, double by = 1);
  // At zero until something is added.
  Counter counter(const std::string& name, const Labels& labels = {});
  // Of what somebody else counts since the start of the process: never goes down.
  void countTo(const std::string& name, double total, const Labels& labels = {});
  void gauge(const std::string& name, double value, const Labels& labels = {});
  // The gauges of that beginning are gone until they are set again: what is not there must not look current.
  void forgetGauges(std::string_view prefix);
  void observe(const std::string& name, double seconds, const Labels& labels = {});
  // There before the first observation.
  void histogramAtZero(const std::string& name, const Labels& labels = {});
  void requestAtZero(std::string_view route, std::string_view method, int status);
  // One answered HTTP request; its series are kept at hand.
  void request(std::string_view route, std::string_view method, int status, double seconds);
  // Called before each exposition, to fill gauges that are looked up rather than kept.
  void onCollect(std::function<void(Registry&)> collector);
  std::string expose();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace aragora::metrics
