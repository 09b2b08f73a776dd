#include "common/metrics/metrics.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "common/metrics/catalogue.h"

namespace aragora::metrics {

TEST(MetricsCatalogue, IsThePageOfTheDocumentation) {
  std::ifstream file(SOURCE_DIR "/docs/metrics.md");
  std::stringstream page;
  page << file.rdbuf();
  EXPECT_EQ(page.str(), describe());
}

TEST(MetricsCatalogue, NamesEverySeriesOnceWithTheSuffixOfItsKind) {
  std::set<std::string_view> names;
  for (const auto& series : catalogue()) {
    EXPECT_TRUE(names.insert(series.name).second) << series.name;
    EXPECT_EQ(series.name.ends_with("_total"), series.kind == Kind::Counter) << series.name;
    EXPECT_EQ(bounds(series.buckets).empty(), series.kind != Kind::Histogram) << series.name;
  }
}

TEST(Registry, HasWhatHasNoLabelsFromTheStart) {
  Registry registry;
  const auto text = registry.expose();
  EXPECT_NE(text.find("\naragora_debate_failures_total 0\n"), std::string::npos);
  EXPECT_NE(text.find("\naragora_debate_rounds_count 0\n"), std::string::npos);
}

TEST(Registry, WritesWholeBoundsWithAPointAndLeavesOtherLabelsAlone) {
  Registry registry;
  registry.observe("aragora_agent_latency_seconds", 3, {{"agent", "le=\"1\""}});
  const auto text = registry.expose();
  EXPECT_NE(text.find("le=\"30.0\"}"), std::string::npos);
  EXPECT_NE(text.find("le=\"2.5\"}"), std::string::npos);
  EXPECT_NE(text.find("le=\"+Inf\"}"), std::string::npos);
  EXPECT_EQ(text.find("le=\"30\"}"), std::string::npos);
  EXPECT_NE(text.find("{agent=\"le=\\\"1\\\"\""), std::string::npos);
}

TEST(Registry, CountsToATotalThatNeverGoesDown) {
  Registry registry;
  registry.countTo("process_cpu_seconds_total", 2.5);
  registry.countTo("process_cpu_seconds_total", 1);
  EXPECT_NE(registry.expose().find("\nprocess_cpu_seconds_total 2.5\n"), std::string::npos);
}

TEST(Registry, CountsByHandAndStaysQuietWhenAFamilyIsFull) {
  Registry registry;
  for (std::size_t i = 0; i < Registry::kMostSeries; ++i)
    registry.count("aragora_debates_total", {{"status", std::to_string(i)}});
  registry.counter("aragora_debates_total", {{"status", "one too many"}}).add();
  const auto kept = registry.counter("aragora_auth_failures_total");
  kept.add();
  kept.add(2);
  const auto text = registry.expose();
  EXPECT_EQ(text.find("one too many"), std::string::npos);
  EXPECT_NE(text.find("aragora_metrics_dropped_total{family=\"aragora_debates_total\"} 1"), std::string::npos);
  EXPECT_NE(text.find("\naragora_auth_failures_total 3\n"), std::string::npos);
}

}  // namespace aragora::metrics
