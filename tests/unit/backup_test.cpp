#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include "common/backup/artifact.h"
#include "common/backup/elsewhere.h"
#include "common/backup/offsite.h"
#include "common/backup/ownership.h"
#include "common/backup/physical/base_source.h"
#include "common/backup/physical/private_cluster.h"
#include "common/backup/physical/unpack.h"
#include "common/backup/physical/wal_archive.h"
#include "common/backup/physical/wal_server.h"
#include "common/backup/prune.h"
#include "common/backup/shrinkage.h"
#include "common/base/error.h"
#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::backup {
namespace {

constexpr Micros kDay = 86'400'000'000LL;

Manifest sample() {
  Manifest manifest;
  manifest.id = "20260113T100000Z-01ABC";
  manifest.engine = database::Engine::Sqlite;
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
  auto later = sample();
  later.sequence = 1768298400;
  EXPECT_EQ(parseManifest(serialise(later)).sequence, later.sequence);
  // One of a version that did not say needs the key that it was signed with.
  EXPECT_EQ(parseManifest(serialise(later)).data_keys, std::vector<std::string>{later.key_id});
  later.data_keys = {"00000001", "00000002"};
  const auto text = serialise(later);
  EXPECT_EQ(serialise(parseManifest(text)), text);
}

TEST(Kinds, EachHasOneNameOfItsOwn) {
  std::set<std::string> names;
  for (const auto kind : allKinds()) {
    EXPECT_EQ(parseKind(name(kind)), kind);
    names.insert(name(kind));
  }
  EXPECT_EQ(names.size(), allKinds().size());
  EXPECT_EQ(name(Kind::Full), "full");  // as folders and manifests have had it from the start
  EXPECT_EQ(parseKind("Full"), std::nullopt);
  EXPECT_EQ(parseKind(""), std::nullopt);
}

TEST(Kinds, AManifestOfAnUnknownKindOrEngineIsDamaged) {
  for (const auto& [from, to] : {std::pair{"\"full\"", "\"fuller\""}, {"\"sqlite\"", "\"oracle\""}})
    EXPECT_THROW(parseManifest(replaceAll(serialise(sample()), from, to)), Error) << to;
}

TEST(SlotStates, KnowWhatLosesLogAndTakeWordsOfLaterVersions) {
  for (const auto* word : {"reserved", "extended", "unreserved", "lost"}) EXPECT_EQ(name(parseSlotState(word)), word);
  EXPECT_TRUE(losesLog(parseSlotState("unreserved")));
  EXPECT_TRUE(losesLog(parseSlotState("lost")));
  EXPECT_FALSE(losesLog(parseSlotState("extended")));
  EXPECT_EQ(parseSlotState("frozen"), SlotState::Unknown);
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
    readArtifact(directory.path(), record, {identity}, [&](std::string_view bytes) { out += bytes; });
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
    readArtifact(directory.path(), record, {identity}, [&](std::string_view bytes) { out += bytes; });
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

const Rule kDaily{Kind::Full, std::chrono::hours(24), 30, false};
const Rule kBases{Kind::Base, std::chrono::hours(24), 7, true};

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
  const auto plan = planPrune(entries, kDaily, {now, {}, 0});
  EXPECT_TRUE(plan.refusal.empty());
  const auto ids = removed(plan);
  EXPECT_EQ(ids.size(), 29U);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), toCompactIso(now - 45 * kDay)), 0);
}

TEST(Prune, NeverLeavesFewerThanTwoGoodOnes) {
  const Micros now = 1768298400000000;
  const auto plan = planPrune({entryAt(now - 90 * kDay, true, false), entryAt(now - 80 * kDay, true, false),
                               entryAt(now - 70 * kDay, true, false)},
                              kDaily, {now, {}, 0});
  EXPECT_EQ(removed(plan).size(), 1U);
}

TEST(Prune, KeepsWhatIsPinned) {
  const Micros now = 1768298400000000;
  std::vector<Entry> entries;
  for (int day = 60; day >= 0; --day) entries.push_back(entryAt(now - day * kDay, true, true));
  entries[3].pinned = "an auditor asked for it";
  const auto ids = removed(planPrune(entries, kDaily, {now, {}, 0}));
  EXPECT_EQ(ids.size(), 29U);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), entries[3].id), 0);
}

TEST(Policy, ATenthOfThePeriodIsGrantedToTimers) {
  const Micros now = 1768298400000000;
  EXPECT_EQ(nextDue(kDaily, {}), 0);
  EXPECT_LE(nextDue(kDaily, {entryAt(now - kDay, true, false)}), now);
  EXPECT_LE(nextDue(kDaily, {entryAt(now - kDay * 11 / 12, true, false)}), now);
  EXPECT_GT(nextDue(kDaily, {entryAt(now - kDay / 2, true, false)}), now);
  EXPECT_LE(nextDue(kDaily, {entryAt(now - kDay, true, false), entryAt(now + 400 * kDay, true, false)}, now), now)
      << "made with a clock that was ahead";
  EXPECT_LE(nextDue(kDaily, {entryAt(now - kDay, true, false), entryAt(now, false, false)}), now)
      << "a bad one is none";
}

TEST(Prune, RefusesWhenTheNewestIsBadOrTheClockIsBehind) {
  const Micros now = 1768298400000000;
  EXPECT_TRUE(removed(planPrune({entryAt(now - 90 * kDay, true, true), entryAt(now - 80 * kDay, true, true),
                                 entryAt(now - 70 * kDay, true, true), entryAt(now, false, false)},
                                kDaily, {now, {}, 0}))
                  .empty());
  EXPECT_TRUE(removed(planPrune({entryAt(now - 90 * kDay, true, true), entryAt(now - 80 * kDay, true, true),
                                 entryAt(now + kDay, true, true)},
                                kDaily, {now, {}, 0}))
                  .empty());
}

// Entries as they were made, one after the other, whatever the clock said.
std::vector<Entry> madeAt(const std::vector<Micros>& times) {
  std::vector<Entry> entries;
  for (const auto at : times) {
    entries.push_back(entryAt(at, true, false));
    entries.back().manifest->sequence = nextSequence(entries, at);
    entries.back().manifest_sha256 = crypto::sha256Hex(entries.back().id);
  }
  return entries;
}

TEST(Prune, AsksWhenOnlyTheClockSaysThatTimeHasPassed) {
  const Micros now = 1768298400000000;
  std::vector<Micros> times;
  for (int day = 11; day >= 0; --day) times.push_back(now - day * kDay);
  const auto ahead = now + 400 * kDay;
  for (const bool made_one : {false, true}) {
    auto then = times;
    if (made_one) then.push_back(ahead);
    const auto plan = planPrune(madeAt(then), kDaily, {ahead, {}, 0});
    EXPECT_EQ(plan.removals(), made_one ? 11U : 10U);
    EXPECT_NE(plan.question.find("days old"), std::string::npos) << plan.question;
  }
  // The days were real: the receiver was there, or somebody says so.
  std::vector<Micros> seen;
  for (int day = 0; day < 400; day += 5) seen.push_back(now + day * kDay);
  EXPECT_NE(planPrune(madeAt(times), kDaily, {ahead, seen, 0}).question.find("at once"), std::string::npos);
  times.erase(times.begin(), times.begin() + 5);
  EXPECT_TRUE(planPrune(madeAt(times), kDaily, {ahead, seen, 0}).question.empty());
  EXPECT_TRUE(planPrune(madeAt(times), kDaily, {ahead, {}, ahead}).question.empty());
  EXPECT_FALSE(planPrune(madeAt(times), kDaily, {ahead, {}, ahead + kDay}).question.empty()) << "of another clock";
}

TEST(Prune, AsksWhenTheNewestByTimeIsNotTheNewestBySequence) {
  const Micros now = 1768298400000000;
  const auto plan =
      planPrune(madeAt({now - 3 * kDay, now - 2 * kDay, now + 300 * kDay, now - kDay, now}), kDaily, {now, {}, 0});
  EXPECT_EQ(removed(plan), std::vector{toCompactIso(now + 300 * kDay)});
  EXPECT_NE(plan.question.find("is dated after"), std::string::npos) << plan.question;
}

TEST(Prune, WhatWasMadeLaterIsNoOlderThanWhatCameBefore) {
  const Micros now = 1768298400000000;
  auto times = std::vector{now - 2 * kDay, now - 500 * kDay, now - kDay, now};
  EXPECT_EQ(planPrune(madeAt(times), kDaily, {now, {}, 0}).removals(), 0U);
}

Entry holding(Micros at, std::int64_t debates, std::int64_t users, const std::string& schema = {}) {
  auto entry = entryAt(at, true, false);
  entry.manifest->tables = {
      {schema + "debates", debates, {}}, {schema + "users", users, {}}, {schema + "notes", at, {}}};
  return entry;
}

std::string shrunkText(const std::vector<Entry>& entries) {
  std::string text;
  for (const auto& shrunk : shrinkage(entries))
    text += fmt::format("{} {} {};", shrunk.table, shrunk.before, shrunk.now);
  return text;
}

TEST(Shrinkage, IsATenthAndTenRowsOrEverything) {
  EXPECT_EQ(shrunkText({}), "");
  EXPECT_EQ(shrunkText({holding(1, 0, 0)}), "");
  EXPECT_EQ(shrunkText({holding(1, 100, 5), holding(2, 90, 5)}), "") << "a tenth is not more than a tenth";
  EXPECT_EQ(shrunkText({holding(1, 100, 5), holding(2, 89, 5)}), "debates 100 89;");
  EXPECT_EQ(shrunkText({holding(1, 12, 5), holding(2, 3, 5)}), "") << "nine rows";
  EXPECT_EQ(shrunkText({holding(1, 3, 1), holding(2, 0, 0)}), "debates 3 0;users 1 0;");
  EXPECT_EQ(shrunkText({holding(1, 3, 1, "public."), holding(2, 0, 1, "public.")}), "debates 3 0;");
  EXPECT_EQ(shrunkText({holding(1, 50, 1), holding(2, 100, 1), holding(3, 0, 1), holding(4, 0, 1)}), "debates 100 0;")
      << "the most of those before, not the last";
  std::vector<Entry> entries{holding(1, 100, 1)};
  for (Micros at = 2; at < 9; ++at) entries.push_back(holding(at, 1, 1));
  EXPECT_EQ(shrunkText(entries), "debates 100 1;");
  entries.push_back(holding(9, 1, 1));
  EXPECT_EQ(shrunkText(entries), "") << "known for a week";
  EXPECT_EQ(shrinkage({holding(1, 100, 1)}, Counts{{"debates", 0}}).front().now, 0);
}

TEST(Repository, OrdersBySequenceAndOlderManifestsByTheirChain) {
  const Micros now = 1768298400000000;
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    // Clocks that jump; the first few manifests are of a version without sequences.
    std::vector<Entry> made;
    const auto old = random() % 6;
    for (std::size_t i = 0; i < 12; ++i) {
      auto entry =
          entryAt(now + static_cast<Micros>(random() % 800) * kDay + static_cast<Micros>(i) * 1'000'000, true, false);
      entry.id += fmt::format("-{}", i);
      entry.manifest_sha256 = crypto::sha256Hex(entry.id);
      if (!made.empty()) entry.manifest->previous_sha256 = made.back().manifest_sha256;
      if (i >= old) entry.manifest->sequence = nextSequence(made, entry.manifest->finished_at);
      made.push_back(std::move(entry));
    }
    auto shuffled = made;
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    const auto ordered = inOrder(std::move(shuffled));
    for (std::size_t i = 0; i < made.size(); ++i) ASSERT_EQ(ordered[i].id, made[i].id) << round;
  }
}

TEST(Prune, EveryInstantOfTheWindowStaysRecoverable) {
  std::mt19937 random(11);
  for (int catalogue = 0; catalogue < 300; ++catalogue) {
    std::vector<Entry> entries;
    Micros now = 1'800'000'000'000'000;
    std::optional<Micros> first;
    for (int step = 0; step < 40; ++step) {
      now += static_cast<Micros>(random() % 30) * kDay / 10;
      if (random() % 3 != 0) {
        entries.push_back(entryAt(now, random() % 6 != 0, random() % 4 == 0));
        if (entries.back().good() && !first) first = now;
      }
      const auto plan =
          planPrune(entries, kBases, {random() % 10 == 0 ? now - 3 * kDay : now, {}, 0});  // the clock may jump back
      std::vector<Entry> kept;
      for (const auto& item : plan.items) {
        if (!item.remove) kept.push_back(item.entry);
      }
      entries = std::move(kept);
      if (!first) continue;
      // Recovery to the oldest instant of the window, or to the first there ever was, begins with a good base before
      // it.
      const auto oldest = std::max(*first, now - 7 * kDay);
      EXPECT_TRUE(
          std::any_of(entries.begin(), entries.end(),
                      [&](const Entry& entry) { return entry.good() && entry.manifest->finished_at <= oldest; }))
          << "catalogue " << catalogue << ", step " << step;
    }
  }
}

TEST(Lsn, TextAndNamesGoBothWays) {
  constexpr std::uint64_t kSize = 16U << 20;
  EXPECT_EQ(formatLsn(0x16B374D848), "16/B374D848");
  EXPECT_EQ(parseLsn("16/B374D848"), 0x16B374D848U);
  for (const auto* text : {"", "/", "1", "G/0", "1/", "/1", "123456789/0", "1/2/3", "-1/0"})
    EXPECT_FALSE(parseLsn(text)) << text;
  EXPECT_EQ(segmentName({2, 0x1FF}, kSize), "0000000200000001000000FF");
  EXPECT_EQ(parseSegmentName("0000000200000001000000FF", kSize), (WalSegment{2, 0x1FF}));
  EXPECT_FALSE(parseSegmentName("000000020000000100000100", kSize)) << "there are 256 segments of 16 MiB in 4 GiB";
  EXPECT_FALSE(parseSegmentName("00000002000000010000000g", kSize));
  EXPECT_TRUE(isHistoryName(historyName(2)));
}

// One ustar header and its content.
std::string tarFile(const std::string& name, const std::string& content, char type = '0',
                    const std::string& link = {}) {
  std::string header(512, '\0');
  header.replace(0, std::min<std::size_t>(name.size(), 100), name.substr(0, 100));
  header.replace(100, 7, "0000600");
  header.replace(124, 11, fmt::format("{:011o}", content.size()));
  header[156] = type;
  header.replace(157, link.size(), link);
  header.replace(257, 5, "ustar");
  unsigned sum = 8 * ' ';
  for (const char c : header) sum += static_cast<unsigned char>(c);
  header.replace(148, 7, fmt::format("{:06o}", sum) + std::string(1, '\0'));
  header[155] = ' ';
  return header + content + std::string((512 - content.size() % 512) % 512, '\0');
}

const std::string kTarEnd(1024, '\0');

TEST(Tar, ReadsFilesInAnyPieces) {
  const auto archive = tarFile("a/b", "hello") + tarFile("empty", "") + tarFile("dir/", "", '5') + kTarEnd;
  for (const std::size_t piece : {1UL, 7UL, 512UL, 100'000UL}) {
    std::string seen;
    TarReader reader({[&](const TarEntry& entry) { seen += "<" + entry.name + ">"; },
                      [&](std::string_view bytes) { seen += bytes; }, [&] { seen += ";"; }});
    for (std::size_t at = 0; at < archive.size(); at += piece)
      reader.write(std::string_view(archive).substr(at, piece));
    reader.finish();
    EXPECT_EQ(seen, "<a/b>hello;<empty>;<dir>");
  }
}

// Every file below `directory`, with its content.
std::map<std::string, std::string> tree(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& item : fs::recursive_directory_iterator(directory)) {
    if (item.is_regular_file()) files[item.path().string()] = readFile(item.path());
  }
  return files;
}

std::string withField(std::string archive, std::size_t at, const std::string& bytes) {
  archive.replace(at, bytes.size(), bytes);
  archive.replace(148, 8, "        ");
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(archive[i]);
  archive.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  return archive;
}

TEST(Unpacker, FortyHostileArchivesWriteNothingOutside) {
  const TemporaryDirectory place;
  const auto outside = place.path() / "outside";
  makeDirectories(outside);
  writeFileAtomically(outside / "victim", "untouched");
  auto flipped = tarFile("a", "x") + kTarEnd;
  flipped[3] = 'z';
  const auto one = tarFile("a", "1");
  const std::vector<std::string> archives = {
      tarFile("../x", "1") + kTarEnd,
      tarFile("../../x", "1") + kTarEnd,
      tarFile("../outside/victim", "1") + kTarEnd,
      tarFile("../outside/new", "1") + kTarEnd,
      tarFile("./../outside/new", "1") + kTarEnd,
      tarFile("a/../../outside/new", "1") + kTarEnd,
      tarFile("dir", "", '5') + tarFile("dir/../../outside/new", "1") + kTarEnd,
      tarFile((outside / "new").string(), "1") + kTarEnd,
      tarFile("/" + (outside / "new").string(), "1") + kTarEnd,
      tarFile("./" + (outside / "new").string(), "1") + kTarEnd,
      tarFile("/etc/passwd.aragora", "1") + kTarEnd,
      tarFile("a//b", "1") + kTarEnd,
      tarFile("..", "", '5') + kTarEnd,
      tarFile("../made", "", '5') + kTarEnd,
      tarFile(".", "", '5') + kTarEnd,
      tarFile("./", "", '5') + kTarEnd,
      tarFile("", "1") + kTarEnd,
      tarFile("/", "", '5') + kTarEnd,
      tarFile("link", "", '2', outside.string()) + tarFile("link/new", "1") + kTarEnd,
      tarFile("link", "", '2', "../outside") + tarFile("link/new", "1") + kTarEnd,
      tarFile("link", "", '2', (outside / "victim").string()) + tarFile("link", "1") + kTarEnd,
      tarFile("link", "", '2', ".") + tarFile("link/../../outside/new", "1") + kTarEnd,
      tarFile("pg_tblspc", "", '5') + tarFile("pg_tblspc/1", "", '2', outside.string()) +
          tarFile("pg_tblspc/1/new", "1") + kTarEnd,
      tarFile("hard", "", '1', (outside / "victim").string()) + tarFile("hard", "1") + kTarEnd,
      tarFile("hard", "", '1', "../outside/victim") + kTarEnd,
      tarFile("character", "", '3') + kTarEnd,
      tarFile("block", "", '4') + kTarEnd,
      tarFile("fifo", "", '6') + kTarEnd,
      tarFile("contiguous", "1", '7') + kTarEnd,
      tarFile("././@LongLink", "../outside/new", 'L') + tarFile("x", "1") + kTarEnd,
      tarFile("././@LongLink", "../outside/victim", 'K') + tarFile("x", "", '2') + kTarEnd,
      tarFile("pax", "28 path=../outside/new\n", 'x') + tarFile("x", "1") + kTarEnd,
      tarFile("global", "28 path=../outside/new\n", 'g') + tarFile("x", "1") + kTarEnd,
      withField(one, 345, "../outside") + kTarEnd,
      withField(one, 345, outside.string().substr(0, 150)) + kTarEnd,
      withField(one, 345, "b/../../outside") + kTarEnd,
      withField(one, 124, "77777777777") + kTarEnd,
      withField(one, 124, std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12)) + kTarEnd,
      withField(one, 124, std::string("-0000000001")) + kTarEnd,
      withField(one, 124, "99999999999") + kTarEnd,
      one + one + kTarEnd,
      tarFile("a", "", '5') + tarFile("a", "1") + kTarEnd,
      one + tarFile("a/below a file", "1") + kTarEnd,
      tarFile("dir", "content", '5') + kTarEnd,
      flipped,
      tarFile("cut", "hello").substr(0, 514),
      tarFile("no end", "hello"),
      one + kTarEnd + tarFile("after the end", "1"),
      std::string(512, 'x'),
      std::string(),
  };
  EXPECT_GE(archives.size(), 40U);
  const auto before = tree(place.path());
  for (std::size_t i = 0; i < archives.size(); ++i) {
    const auto target = place.path() / "target";
    EXPECT_THROW(
        {
          Unpacker unpacker(target);
          unpacker.write(archives[i]);
          unpacker.finish();
        },
        Error)
        << i;
    fs::remove_all(target);
    EXPECT_EQ(tree(place.path()), before) << i;
    EXPECT_FALSE(fs::exists("/etc/passwd.aragora"));
  }
}

std::string baseManifest(const std::string& files) {
  const auto body =
      "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [" + files +
      "],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }\n],\n";
  return body + "\"Manifest-Checksum\": \"" + crypto::sha256Hex(body) + "\"}\n";
}

std::string listed(const std::string& path, const std::string& content) {
  return fmt::format(R"({{"Path": "{}", "Size": {}, "Checksum-Algorithm": "SHA256", "Checksum": "{}"}})", path,
                     content.size(), crypto::sha256Hex(content));
}

TEST(BaseChecker, HoldsTheStreamAgainstItsManifest) {
  const auto check = [](const std::string& archive) {
    BaseChecker checker;
    checker.write(archive);
    return checker.finish();
  };
  const auto file = tarFile("base/1", "content");
  const auto wal = tarFile("pg_wal/000000010000000000000002", "log");
  const auto good = check(file + wal + tarFile("backup_manifest", baseManifest(listed("base/1", "content"))) + kTarEnd);
  EXPECT_EQ(good.timeline, 1U);
  EXPECT_EQ(formatLsn(good.stop), "0/2000100");
  auto wrong_sum = baseManifest(listed("base/1", "content"));
  wrong_sum.replace(wrong_sum.find("0/2000028"), 9, "0/2000029");
  for (const auto& archive :
       {file + wal + tarFile("backup_manifest", baseManifest(listed("base/1", "CONTENT"))) + kTarEnd,
        file + wal +
            tarFile("backup_manifest", baseManifest(listed("base/1", "content") + "," + listed("base/2", ""))) +
            kTarEnd,
        file + tarFile("extra", "1") + tarFile("backup_manifest", baseManifest(listed("base/1", "content"))) + kTarEnd,
        file + tarFile("backup_manifest", wrong_sum) + kTarEnd, file + kTarEnd,
        file + file + tarFile("backup_manifest", baseManifest(listed("base/1", "content"))) + kTarEnd})
    EXPECT_THROW(check(archive), Error);
}

struct Archived {
  TemporaryDirectory directory;
  crypto::Keyring keyring{Secret(std::string(64, 'a'))};
  WalArchive archive{directory.path() / "wal", keyring};
  static constexpr std::uint64_t kSize = 1U << 20;

  Archived() { archive.claim("7000000000000000001", kSize); }
  void seal(std::uint32_t timeline, std::uint64_t number) {
    const auto file = directory.path() / "segment";
    writeFileAtomically(file, std::string(kSize, static_cast<char>('a' + number % 26)));
    archive.seal(segmentName({timeline, number}, kSize), file, {{keyring.backupIdentity().recipient}, 1, 0});
  }
  void partial(std::uint32_t timeline, std::uint64_t number, std::size_t bytes) {
    auto content = std::string(bytes, 'p');
    content.replace(0, std::min<std::size_t>(40, bytes), std::min<std::size_t>(40, bytes), '\0');  // no page's head
    writeFileAtomically(archive.partialPath({timeline, number}), content);
  }
  void history(std::uint32_t timeline, const std::string& text) {
    const auto file = directory.path() / "history";
    writeFileAtomically(file, text);
    archive.seal(historyName(timeline), file, {{keyring.backupIdentity().recipient}, 1, 0});
  }
};

TEST(WalArchive, KnowsHowFarItReaches) {
  Archived a;
  EXPECT_EQ(a.archive.reach(1, 2 * a.kSize).end, 2 * a.kSize);
  a.seal(1, 2);
  a.seal(1, 3);
  a.partial(1, 4, 1000);
  EXPECT_EQ(a.archive.reach(1, 2 * a.kSize + 40).end, 4 * a.kSize + 1000);
  a.seal(1, 6);
  const auto broken = a.archive.reach(1, 2 * a.kSize);
  EXPECT_EQ(broken.end, 4 * a.kSize + 1000);
  EXPECT_TRUE(broken.gap);
  // Timeline 2 left 1 within segment 4.
  a.history(2, fmt::format("1\t{}\tno recovery target specified\n", formatLsn(4 * a.kSize + 500)));
  a.seal(2, 4);
  a.partial(2, 5, 10);
  const auto onward = a.archive.reach(1, 2 * a.kSize);
  EXPECT_EQ(onward.timeline, 2U);
  EXPECT_EQ(onward.end, 5 * a.kSize + 10);
  EXPECT_FALSE(onward.gap);
}

TEST(WalArchive, HandsOutWhatItHoldsAndRefusesGapsAndDamage) {
  Archived a;
  const auto out = a.directory.path() / "out";
  a.seal(1, 2);
  a.partial(1, 4, 1000);
  EXPECT_TRUE(a.archive.fetch(segmentName({1, 2}, a.kSize), out));
  EXPECT_EQ(readFile(out), std::string(a.kSize, 'c'));
  EXPECT_TRUE(a.archive.fetch(segmentName({1, 4}, a.kSize), out));
  EXPECT_EQ(readFile(out), std::string(40, '\0') + std::string(960, 'p') + std::string(a.kSize - 1000, '\0'));
  EXPECT_FALSE(a.archive.fetch(segmentName({1, 5}, a.kSize), out));
  EXPECT_FALSE(a.archive.fetch("00000007.history", out));
  EXPECT_FALSE(a.archive.fetch("../../etc/passwd", out));
  EXPECT_THROW(a.archive.fetch(segmentName({1, 3}, a.kSize), out), Error) << "the log goes on behind it";
  EXPECT_THROW(a.archive.claim("another", a.kSize), Error);
  // The sealed content of one segment under the name of another.
  a.seal(1, 3);
  const auto folder = (a.archive.directory() / "00000001").path();
  for (const auto* suffix : {".zst.age", ".json"})
    fs::copy_file(folder / (segmentName({1, 2}, a.kSize) + suffix), folder / (segmentName({1, 3}, a.kSize) + suffix),
                  fs::copy_options::overwrite_existing);
  EXPECT_THROW(a.archive.fetch(segmentName({1, 3}, a.kSize), out), Error);
}

TEST(WalArchive, PiecesOfTheOpenSegmentAreOneAgain) {
  Archived a;
  const auto name = segmentName({1, 2}, a.kSize);
  std::string content;
  for (int i = 0; i < 3000; ++i) content += static_cast<char>(i * 7);
  writeFileAtomically(a.archive.partialPath({1, 2}), content);
  // The copy elsewhere: pieces only. One begins again where a run that died had begun.
  Archived there;
  const auto folder = (there.archive.directory() / "00000001").path();
  makeDirectories(folder);
  const ArtifactOptions sealing{{a.keyring.backupIdentity().recipient}, 1, 0};
  const WalArchive copy(there.archive.directory(), a.keyring);
  for (const auto& span : std::vector<WalArchive::Span>{{0, 1000}, {1000, 1500}, {1000, 2000}, {2500, 3000}}) {
    EXPECT_EQ(a.archive.sealPiece({1, 2}, span, sealing, folder).size(), 2U);
    const auto file = fmt::format("{}.{:08x}-{:08x}.zst.age", name, span.from, span.to);
    EXPECT_EQ(WalArchive::spanOf(file)->to, span.to);
  }
  const auto out = a.directory.path() / "out";
  EXPECT_TRUE(copy.fetch(name, out));
  EXPECT_EQ(readFile(out), content.substr(0, 2000) + std::string(a.kSize - 2000, '\0')) << "nothing behind a hole";
  EXPECT_EQ(copy.reach(1, 2 * a.kSize).end, 2 * a.kSize + 2000);
  fs::remove(folder / fmt::format("{}.{:08x}-{:08x}.json", name, 0, 1000));
  EXPECT_THROW(copy.fetch(name, out), Error) << "a record is missing";
  EXPECT_FALSE(WalArchive::spanOf(name + ".zst.age"));
  EXPECT_FALSE(WalArchive::spanOf(name + ".00000005-00000005.zst.age"));
  EXPECT_TRUE(a.archive.sealPiece({1, 9}, {0, 1}, sealing, folder).empty()) << "completed meanwhile";
}

// A copier that was killed while it removed the pieces of a segment that had arrived as a whole.
TEST(WalArchive, WhatIsLeftOfPiecesBesideTheirSegmentIsNoDamageAndGoesWithTheNextCopy) {
  Archived a;
  const TemporaryDirectory elsewhere;
  claimPlace(a.directory.path(), "i");
  initElsewhere(elsewhere.path());
  const ArtifactOptions sealing{{a.keyring.backupIdentity().recipient}, 1, 0};
  const auto copy = [&] { OffsiteCopy(a.directory.path(), elsewhere.path(), a.keyring).copyLog(sealing); };
  const WalArchive there(elsewhere.path() / "wal", a.keyring);
  const auto folder = elsewhere.path() / "wal/00000001";
  const auto name = segmentName({1, 2}, a.kSize);
  const auto piece = name + ".00000000-000003e8";
  const PhysicalRecord base{"7000000000000000001", 1, 2 * a.kSize, 2 * a.kSize};
  a.partial(1, 2, 1000);
  makeDirectories(folder);
  a.archive.sealPiece({1, 2}, {0, 1000}, sealing, folder);
  fs::remove(a.archive.partialPath({1, 2}));
  a.seal(1, 2);
  const auto left = [&](const std::string& file) { return fs::exists(folder / file); };

  copy();
  EXPECT_FALSE(left(piece + ".zst.age")) << "the segment is there as a whole";
  EXPECT_FALSE(left(piece + ".json"));
  EXPECT_EQ(there.check(base, true), 1U);

  writeFileAtomically(folder / (piece + ".zst.age"), "sealed");
  EXPECT_EQ(there.check(base, true), 1U) << "no recovery reads it";
  copy();
  EXPECT_FALSE(left(piece + ".zst.age"));
  EXPECT_TRUE(left(name + ".zst.age") && left(name + ".json"));

  fs::remove(folder / (name + ".zst.age"));
  writeFileAtomically(folder / (piece + ".zst.age"), "sealed");
  EXPECT_THROW(there.check(base, true), Error) << "all that is there of the segment";
}

// PostgreSQL uses the file again for log of its own, and stops when the disk is full then.
TEST(WalArchive, TheZerosOfASegmentHaveTheirRoomOnTheDisk) {
  Archived a;
  const auto name = segmentName({1, 2}, a.kSize);
  std::string content(a.kSize, '\0');
  content.replace(100, 3, "log");
  content.replace(70'000, 2, "\0x", 2);
  content.replace(a.kSize - 1, 1, "e");
  writeFileAtomically(a.archive.partialPath({1, 2}), content);
  const auto out = a.directory.path() / "out";
  EXPECT_TRUE(a.archive.fetch(name, out));
  EXPECT_EQ(readFile(out), content);
  struct stat there {};
  ASSERT_EQ(::stat(out.c_str(), &there), 0);
  EXPECT_GE(there.st_blocks * 512, static_cast<off_t>(a.kSize));
}

// A recovery asks for the checkpoint of its base backup first and then goes back to where replay begins.
TEST(WalPrefetch, GivesFilesThatWereSkippedToWhoComesBackForThem) {
  const TemporaryDirectory place;
  std::vector<std::string> names;
  for (int i = 0; i < 12; ++i) names.push_back(fmt::format("{:02}", i));
  const auto fetch = [](const std::string& name, const fs::path& destination) {
    writeFileAtomically(destination, name, 0600);
    return true;
  };
  const auto outcome = [&] {
    WalPrefetch ahead(names, fetch, {.readers = 1, .window = 2}, place.path());
    std::string taken;
    for (const auto* name : {"09", "00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11"}) {
      if (ahead.bring(name) && readFile(ahead.directory() / name, 100) == name) taken += "+";
      fs::remove(ahead.directory() / name);
    }
    return taken;
  };
  EXPECT_EXIT(
      {
        ::alarm(20);  // it would wait for ever
        std::_Exit(outcome() == std::string(13, '+') ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

// What is asked for is moved away, not sent: also what was taken before, or is not in the list.
TEST(WalServer, SaysWhereAFileLiesAndItIsMoved) {
  Archived a;
  for (std::uint64_t number = 2; number < 6; ++number) a.seal(1, number);
  const auto listing = a.archive.listing();
  const auto name = [&](std::uint64_t number) { return segmentName({1, number}, a.kSize); };
  const TemporaryDirectory place;
  WalServer server(a.archive, {listing, 1, kNever, {name(2), name(3), name(4)}}, place.path());
  for (const std::uint64_t number : {2, 3, 2, 4, 5}) {
    const auto out = place.path() / "out";
    ASSERT_TRUE(fetchFromWalServer(server.socket(), name(number), out)) << number;
    const auto alone = place.path() / "alone";
    ASSERT_TRUE(a.archive.fetch(name(number), alone));
    EXPECT_EQ(readFile(out), readFile(alone));
    EXPECT_FALSE(fs::exists(server.ahead() / name(number)));
  }
  EXPECT_EQ(server.served(), 3U);
  for (const auto* other : {"00000002.history", "", "../out", ".", "/etc/passwd"})
    EXPECT_FALSE(fetchFromWalServer(server.socket(), other, place.path() / "none")) << other;
}

TEST(WalArchive, RemovesOnlyWhatIsBeforeTheGivenSegment) {
  Archived a;
  for (std::uint64_t number = 2; number < 8; ++number) a.seal(1, number);
  EXPECT_EQ(a.archive.removeBefore({{1, 5}}), 3U);
  EXPECT_EQ(a.archive.pieces(1).front().segment.number, 5U);
  EXPECT_EQ(a.archive.pieces(1).size(), 3U);
}

TEST(WalArchive, KeepsTheLogOfEveryStartOnItsTimelineAndOnLaterOnes) {
  Archived a;
  for (std::uint64_t number = 2; number < 8; ++number) a.seal(1, number);
  for (std::uint64_t number = 5; number < 12; ++number) a.seal(2, number);
  EXPECT_EQ(a.archive.removeBefore({}), 0U);
  EXPECT_EQ(a.archive.removeBefore({{2, 9}, {1, 4}, {2, 7}}), 2U) << "the lowest counts, in whatever order";
  EXPECT_EQ(a.archive.pieces(1).front().segment.number, 4U);
  EXPECT_EQ(a.archive.pieces(2).front().segment.number, 5U) << "recovery from {1, 4} may go on there";
  EXPECT_EQ(a.archive.removeBefore({{2, 9}, {2, 7}}), 3U + 2U);
  EXPECT_EQ(a.archive.pieces(1).front().segment.number, 7U);
  EXPECT_EQ(a.archive.pieces(2).front().segment.number, 7U);
}

// Files are given away while others are read ahead in threads of their own.
TEST(PrivateCluster, GivesFilesToOneUserFromManyThreads) {
  const TemporaryDirectory directory;
  std::vector<std::thread> threads;
  std::atomic<int> others{0};
  const auto expected = [&] {
    const auto file = directory.path() / "first";
    writeFileAtomically(file, "");
    giveToServerUser(file, false);
    struct stat found {};
    ::stat(file.c_str(), &found);
    return found.st_uid;
  }();
  EXPECT_TRUE(::geteuid() != 0 || expected != 0) << "root's files are given to the server's user";
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&, number] {
      const auto file = directory.path() / fmt::format("{}", number);
      writeFileAtomically(file, "");
      for (int i = 0; i < 500; ++i) {
        giveToServerUser(file, false);
        struct stat found {};
        if (::stat(file.c_str(), &found) != 0 || found.st_uid != expected) ++others;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(others, 0);
}

}  // namespace
}  // namespace aragora::backup
