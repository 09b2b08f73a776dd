#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "common/config/loader.h"
#include "common/deployment/platforms.h"

namespace aragora::deployment {
namespace {

TEST(Platforms, EachHasFilesAndTheNextCommandsWithoutASecretInThem) {
  const Site site{"/srv/aragora", "debate.example.net", "/var/lib/aragora", "2026-11-28"};
  for (const auto& name : platformNames()) {
    const auto plan = planFor(parsePlatform(name), site, [](const std::string&) { return std::nullopt; });
    EXPECT_EQ(plan.next.size(), 3U) << name;
    // Where this machine is set up, and not a container.
    EXPECT_EQ(plan.proxy.size(), name == "systemd" ? 2U : 0U) << name;
    std::set<std::string> paths;
    bool host = false;
    for (const auto& file : plan.files) {
      EXPECT_TRUE(paths.insert(file.path).second) << file.path << " twice";
      EXPECT_EQ(file.content.find("aragora.example.org\"]"), std::string::npos) << file.path;
      host = host || file.content.find(site.host) != std::string::npos;
      for (const auto* commands : {&plan.next, &plan.proxy}) {
        for (const auto& command : *commands)
          EXPECT_FALSE(file.secret && command.find(file.content) != std::string::npos);
      }
    }
    EXPECT_TRUE(host) << name;
  }
}

TEST(Platforms, WhatIsThereIsRepeatedAndNotMadeAgain) {
  const Site site{"/srv/aragora", "", "/var/lib/aragora", "2026-11-28"};
  const auto kept = [](const std::string& path) -> std::optional<std::string> {
    if (path == "database.sql") return "CREATE ROLE aragora LOGIN PASSWORD 'kept';\n";
    if (path == "secrets/postgres_password") return "kept\n";
    if (path == "secrets/redis_conf") return "appendonly yes\nrequirepass kept\n";
    return std::nullopt;
  };
  for (const auto platform : {Platform::Systemd, Platform::Compose}) {
    int found = 0;
    for (const auto& file : planFor(platform, site, kept).files)
      found += file.content.find(":kept@") != std::string::npos;
    EXPECT_EQ(found, platform == Platform::Systemd ? 1 : 2);
  }
}

// systemd starts no unit one of whose files is missing, so each has something in its place.
TEST(Platforms, BackupsOfTheirOwnUserAreHandedEverySecretButThoseOfProviders) {
  const Site site{"/etc/aragora", "", "/var/lib/aragora", "2026-11-28"};
  const auto plan = planFor(Platform::Systemd, site, [](const std::string&) { return std::nullopt; });
  const auto found = std::find_if(plan.files.begin(), plan.files.end(),
                                  [](const PlannedFile& file) { return file.path == "systemd/own-user.conf"; });
  ASSERT_NE(found, plan.files.end());
  for (const auto& setting : config::catalogue()) {
    if (!setting.secret) continue;
    const auto name = std::string(setting.environment.front());
    const auto handed =
        fmt::format("\nLoadCredential={0}:/etc/aragora/credentials/{0}\n# Or none.\nSetCredential={0}:{1}\n", name,
                    config::kNotHandedOver);
    EXPECT_EQ(found->content.find(handed) != std::string::npos, !config::ofProviders(setting)) << name;
    EXPECT_EQ(found->content.find(name + ":") != std::string::npos, !config::ofProviders(setting)) << name;
  }
}

}  // namespace
}  // namespace aragora::deployment
