// Every series there is, with its type, its meaning and its labels: what the exposition, docs/metrics.md and the tests
// of rules and dashboards go by. A series without an entry is a bug that the metrics test finds.
#pragma once

#include <string_view>
#include <vector>

namespace aragora::metrics {

enum class Kind { Counter, Gauge, Histogram };
std::string_view name(Kind kind);

// Upper bounds of a histogram. The limits of the production checklist are among them, so that what an alert asks is
// counted and not interpolated.
enum class Buckets { None, Requests, Delivery, Calls, Debates, Rounds };
const std::vector<double>& bounds(Buckets buckets);

struct Series {
  std::string_view name;
  Kind kind;
  std::string_view labels;  // "method, endpoint"; a counter or histogram without any exists from the start
  std::string_view help;
  Buckets buckets = Buckets::None;
};

const std::vector<Series>& catalogue();
// Null when there is no such series.
const Series* find(std::string_view name);
// The catalogue as a page of documentation.
std::string describe();

}  // namespace aragora::metrics
