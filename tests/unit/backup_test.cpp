#include <gtest/gtest.h>

#include "common/backup/artifact.h"
#include "common/backup/prune.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::backup {
namespace {

constexpr Micros kDay = 86'400'000'000LL;

Manifest sample() {
  Manifest manifest;
  manifest.id = "20260113T100000Z-01ABC";
  manifest.engine = "sqlite";
  manifest.server_version = "SQLite 3";
  manifest.tool_version = "0.1.0";
  manifest.instance_id = "i";
  manifest.key_id = "k";
  manifest.started_at = manifest.finished_at = 1768298400000000;
  manifest.files = {{"db.sqlite.zst.age", "database", 10, 20, std::string(64, 'a'), std::string(64, 'b')}};
  manifest.tables = {{"debates", 3, ""}};
  manifest.recipients = {"age1x"};
  return manifest;
}

TEST(Manifest, SurvivesItsOwnText) {
  const auto text = serialise(sample());
  EXPECT_EQ(serialise(parseManifest(text)), text);
}

TEST(Manifest, RefusesNamesThatLeaveItsDirectoryAndMissingParts) {
  for (const auto* name : {"../etc/passwd", "/etc/passwd", "a/b", ".hidden", "", "a b", "a\\b"}) {
    auto manifest = sample();
    manifest.files[0].path = name;
    EXPECT_THROW(parseManifest(serialise(manifest)), Error) << name;
  }
  auto twice = sample();
  twice.files.push_back(twice.files[0]);
  EXPECT_THROW(parseManifest(serialise(twice)), Error);
  for (const auto* text : {"", "[]", "{}", "{\"format\":2}", "{\"format\":1,\"id\":\"x\"}"})
    EXPECT_THROW(parseManifest(text), Error) << text;
}

struct Sealed {
  TemporaryDirectory directory;
  crypto::AgeIdentity identity = crypto::ageIdentity(Secret(crypto::randomBytes(32)));
  std::string plain;
  FileRecord record;

  explicit Sealed(std::size_t size) {
    plain = crypto::randomBytes(size / 2) + std::string(size - size / 2, 'x');
    ArtifactWriter writer(directory.path(), "file", "database", {{identity.recipient}, 1, 0});
    writer.write(plain);
    record = writer.finish();
  }
  std::string read() const {
    std::string out;
    readArtifact(directory.path(), record, identity, [&](std::string_view bytes) { out += bytes; });
    return out;
  }
};

TEST(Artifact, ContentThatFillsTheLastBlockExactlyComesBack) {
  for (const std::size_t size : {256U << 10, 16U << 20}) {
    const TemporaryDirectory directory;
    const auto identity = crypto::ageIdentity(Secret(crypto::randomBytes(32)));
    ArtifactWriter writer(directory.path(), "file", "database", {{identity.recipient}, 1, 0});
    const std::string plain(size, '\0');  // all of it comes out of the last few bytes
    writer.write(plain);
    const auto record = writer.finish();
    std::string out;
    readArtifact(directory.path(), record, identity, [&](std::string_view bytes) { out += bytes; });
    EXPECT_EQ(out, plain);
  }
}

TEST(Artifact, ComesBackAsItWas) {
  for (const std::size_t size : {0, 1, 100, 1'000'000, 5'000'000}) {
    const Sealed sealed(size);
    EXPECT_EQ(sealed.read(), sealed.plain) << size;
    EXPECT_EQ(sealed.record.plain_sha256, crypto::sha256Hex(sealed.plain));
    checkStored(sealed.directory.path(), sealed.record);
  }
}

TEST(Artifact, AnotherDigestInTheRecordIsDamage) {
  Sealed sealed(10'000);
  sealed.record.plain_sha256 = std::string(64, '0');
  EXPECT_THROW(sealed.read(), Error);
}

TEST(Artifact, ASymlinkInItsPlaceIsRefused) {
  Sealed sealed(1000);
  fs::rename(sealed.directory.path() / "file", sealed.directory.path() / "real");
  fs::create_symlink("real", sealed.directory.path() / "file");
  EXPECT_THROW(sealed.read(), Error);
}

Entry entryAt(Micros at, bool good, bool proven) {
  Entry entry;
  entry.id = toCompactIso(at);
  entry.manifest = sample();
  entry.manifest->finished_at = at;
  if (!good) entry.verifications = {{2, false, at, "broken"}};
  if (proven) entry.verifications = {{2, true, at, "fine"}};
  return entry;
}

std::vector<std::string> removed(const PrunePlan& plan) {
  std::vector<std::string> ids;
  for (const auto& item : plan.items) {
    if (item.remove) ids.push_back(item.entry.id);
  }
  return ids;
}

TEST(Prune, RemovesWhatIsPastRetentionAndKeepsTheNewestProven) {
  const Micros now = 1768298400000000;
  std::vector<Entry> entries;
  for (int day = 60; day >= 0; --day) entries.push_back(entryAt(now - day * kDay, true, day == 45));
  const auto plan = planPrune(entries, 30, now);
  EXPECT_TRUE(plan.refusal.empty());
  const auto ids = removed(plan);
  EXPECT_EQ(ids.size(), 29U);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), toCompactIso(now - 45 * kDay)), 0);
}

TEST(Prune, NeverLeavesFewerThanTwoGoodOnes) {
  const Micros now = 1768298400000000;
  const auto plan = planPrune({entryAt(now - 90 * kDay, true, false), entryAt(now - 80 * kDay, true, false),
                               entryAt(now - 70 * kDay, true, false)},
                              30, now);
  EXPECT_EQ(removed(plan).size(), 1U);
}

TEST(Prune, RefusesWhenTheNewestIsBadOrTheClockIsBehind) {
  const Micros now = 1768298400000000;
  EXPECT_TRUE(removed(planPrune({entryAt(now - 90 * kDay, true, true), entryAt(now - 80 * kDay, true, true),
                                 entryAt(now - 70 * kDay, true, true), entryAt(now, false, false)},
                                30, now))
                  .empty());
  EXPECT_TRUE(removed(planPrune({entryAt(now - 90 * kDay, true, true), entryAt(now - 80 * kDay, true, true),
                                 entryAt(now + kDay, true, true)},
                                30, now))
                  .empty());
}

}  // namespace
}  // namespace aragora::backup
