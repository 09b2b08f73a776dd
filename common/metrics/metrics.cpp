#include "common/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <shared_mutex>
#include <tuple>

#include "common/base/text.h"
#include "common/metrics/catalogue.h"

namespace aragora::metrics {

namespace {
std::string helpOf(const std::string& name) {
  const auto* const known = find(name);
  return known != nullptr ? std::string(known->help) : "Undocumented.";
}

// Whole bounds as Python's client and Prometheus 3 write them ("1.0", not "1"): what asks for one finds it.
std::string withFloatingBounds(const std::string& text) {
  constexpr std::string_view kBound = "le=\"";
  std::string result;
  result.reserve(text.size() + text.size() / 64);
  std::size_t done = 0;
  for (auto at = text.find(kBound); at != std::string::npos; at = text.find(kBound, at + 1)) {
    if (at == 0 || (text[at - 1] != '{' && text[at - 1] != ',')) continue;
    const auto end = text.find_first_not_of("0123456789", at + kBound.size());
    if (end == at + kBound.size() || end == std::string::npos || text[end] != '"') continue;
    result.append(text, done, end - done).append(".0");
    done = end;
  }
  return result.append(text, done);
}

constexpr const char* kDropped = "aragora_metrics_dropped_total";
}  // namespace

struct Registry::Impl {
  template <typename Metric>
  struct Family {
    prometheus::Family<Metric>* kept = nullptr;
    std::map<Labels, Metric*> series;
  };

  prometheus::Registry registry;
  std::vector<std::function<void(Registry&)>> collectors;
  std::mutex mutex;
  std::map<std::string, Family<prometheus::Counter>> counters;
  std::map<std::string, Family<prometheus::Gauge>> gauges;
  std::map<std::string, Family<prometheus::Histogram>> histograms;

  struct RequestSeries {
    prometheus::Counter* count;
    prometheus::Histogram* seconds;
  };
  std::shared_mutex requests_mutex;
  // Looked up by views, so that a request that was seen before allocates nothing.
  using RequestKey = std::tuple<std::string, std::string, int>;
  using RequestView = std::tuple<std::string_view, std::string_view, int>;
  struct ByView {
    using is_transparent = void;
    static RequestView view(const RequestKey& key) { return {std::get<0>(key), std::get<1>(key), std::get<2>(key)}; }
    static const RequestView& view(const RequestView& key) { return key; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return view(a) < view(b);
    }
  };
  std::map<RequestKey, RequestSeries, ByView> requests;

  // With the lock held. Null when the family is full.
  template <typename Metric, typename Builder, typename... Buckets>
  Metric* series(std::map<std::string, Family<Metric>>& families, Builder builder, const std::string& name,
                 const Labels& labels, const Buckets&... buckets) {
    auto& family = families[name];
    if (family.kept == nullptr) family.kept = &builder.Name(name).Help(helpOf(name)).Register(registry);
    if (const auto found = family.series.find(labels); found != family.series.end()) return found->second;
    if (family.series.size() >= kMostSeries) {
      counter(kDropped, {{"family", name}})->Increment();
      return nullptr;
    }
    return family.series[labels] = &family.kept->Add(labels, buckets...);
  }
  prometheus::Counter* counter(const std::string& name, const Labels& labels) {
    return series(counters, prometheus::BuildCounter(), name, labels);
  }
  prometheus::Histogram* histogram(const std::string& name, const Labels& labels) {
    const auto* const known = find(name);
    return series(histograms, prometheus::BuildHistogram(), name, labels,
                  bounds(known != nullptr ? known->buckets : Buckets::Requests));
  }
};

void Counter::add(double by) const {
  if (kept_ != nullptr) static_cast<prometheus::Counter*>(kept_)->Increment(by);
}

Registry::Registry() : impl_(std::make_unique<Impl>()) {
  const std::lock_guard lock(impl_->mutex);
  for (const auto& series : catalogue()) {
    if (!series.labels.empty()) continue;
    if (series.kind == Kind::Counter) impl_->counter(std::string(series.name), {});
    if (series.kind == Kind::Histogram) impl_->histogram(std::string(series.name), {});
  }
}
Registry::~Registry() = default;

Counter Registry::counter(const std::string& name, const Labels& labels) {
  const std::lock_guard lock(impl_->mutex);
  return Counter(impl_->counter(name, labels));
}

void Registry::countTo(const std::string& name, double total, const Labels& labels) {
  const std::lock_guard lock(impl_->mutex);
  auto* const counter = impl_->counter(name, labels);
  if (counter != nullptr && total > counter->Value()) counter->Increment(total - counter->Value());
}

void Registry::histogramAtZero(const std::string& name, const Labels& labels) {
  const std::lock_guard lock(impl_->mutex);
  impl_->histogram(name, labels);
}

void Registry::count(const std::string& name, const Labels& labels, double by) {
  const std::lock_guard lock(impl_->mutex);
  if (auto* const counter = impl_->counter(name, labels)) counter->Increment(by);
}

void Registry::gauge(const std::string& name, double value, const Labels& labels) {
  const std::lock_guard lock(impl_->mutex);
  if (auto* const gauge = impl_->series(impl_->gauges, prometheus::BuildGauge(), name, labels)) gauge->Set(value);
}

void Registry::forgetGauges(std::string_view prefix) {
  const std::lock_guard lock(impl_->mutex);
  for (auto& [name, family] : impl_->gauges) {
    if (!startsWith(name, prefix)) continue;
    for (const auto& [labels, gauge] : family.series) family.kept->Remove(gauge);
    family.series.clear();
  }
}

void Registry::observe(const std::string& name, double seconds, const Labels& labels) {
  const std::lock_guard lock(impl_->mutex);
  if (auto* const histogram = impl_->histogram(name, labels)) histogram->Observe(seconds);
}

namespace {
Labels requestLabels(std::string_view route, std::string_view method, int status) {
  return {{"method", std::string(method)},
          {"endpoint", std::string(route)},
          {"handler", std::string(route)},
          {"status", fmt::format("{}", status)}};
}
}  // namespace

void Registry::requestAtZero(std::string_view route, std::string_view method, int status) {
  counter("aragora_http_requests_total", requestLabels(route, method, status));
}

void Registry::request(std::string_view route, std::string_view method, int status, double seconds) {
  const Impl::RequestView key(route, method, status);
  {
    const std::shared_lock lock(impl_->requests_mutex);
    if (const auto found = impl_->requests.find(key); found != impl_->requests.end()) {
      found->second.count->Increment();
      found->second.seconds->Observe(seconds);
      return;
    }
  }
  const std::string pattern(route);
  const auto labels = requestLabels(route, method, status);
  Impl::RequestSeries series{};
  {
    const std::lock_guard lock(impl_->mutex);
    series.count = impl_->counter("aragora_http_requests_total", labels);
    series.seconds = impl_->histogram("aragora_http_request_duration_seconds", labels);
  }
  if (series.count == nullptr || series.seconds == nullptr) return;
  series.count->Increment();
  series.seconds->Observe(seconds);
  const std::unique_lock lock(impl_->requests_mutex);
  impl_->requests[std::make_tuple(pattern, std::string(method), status)] = series;
}

void Registry::onCollect(std::function<void(Registry&)> collector) {
  impl_->collectors.push_back(std::move(collector));
}

std::string Registry::expose() {
  for (const auto& collector : impl_->collectors) collector(*this);
  return withFloatingBounds(prometheus::TextSerializer().Serialize(impl_->registry.Collect()));
}

}  // namespace aragora::metrics
