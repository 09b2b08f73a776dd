#include "common/backup/increments.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/backup/signed_record.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/database/sqlite/pinned_snapshot.h"
#include "common/store/settings.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kNumberBytes = 8;
constexpr std::size_t kHeaderBytes = 100;
constexpr auto kPinTimeout = std::chrono::seconds(30);
constexpr Micros kAsPrinted = 999;  // times are shown in milliseconds

std::string baseName(std::uint64_t number) { return fmt::format("{:06}", number); }
std::string sealedName(std::uint64_t number) { return baseName(number) + ".pages.zst.age"; }
std::string recordName(std::uint64_t number) { return baseName(number) + ".json"; }

[[noreturn]] void damaged(const storage::Place& path, const std::string& what) {
  throw Error(Code::Damaged, fmt::format("{}: {}", path.describe(), what),
              "restore to a moment before it, or another backup");
}

json::object describe(const Increment& increment, const std::string& full_id) {
  auto record = describeFile(increment.file);
  record["full"] = full_id;
  record["number"] = increment.number;
  record["at"] = increment.at;
  record["page_size"] = increment.page_size;
  record["page_count"] = increment.page_count;
  record["changed"] = increment.changed;
  record["previous_sha256"] = increment.previous_sha256;
  record["database_sha256"] = increment.database_sha256;
  record["instance_id"] = increment.instance_id;
  record["epoch"] = increment.epoch;
  return record;
}

std::optional<Increment> readRecord(const Entry& full, std::uint64_t wanted, const crypto::Keyring& keyring) {
  const auto folder = incrementsDirectory(full);
  const auto object = readSignedRecord(folder, recordName(wanted), keyring);
  if (!object) return std::nullopt;
  const auto path = folder / recordName(wanted);
  if (jsonTextOr(*object, "full", "") != full.id) damaged(path, "it belongs to another backup");
  const auto number = [&](std::string_view key) { return static_cast<std::uint64_t>(jsonIntegerOr(*object, key, 0)); };
  Increment increment;
  increment.number = number("number");
  increment.at = jsonIntegerOr(*object, "at", 0);
  increment.page_size = static_cast<std::uint32_t>(number("page_size"));
  increment.page_count = number("page_count");
  increment.changed = number("changed");
  increment.previous_sha256 = jsonTextOr(*object, "previous_sha256", "");
  increment.database_sha256 = jsonTextOr(*object, "database_sha256", "");
  increment.instance_id = jsonTextOr(*object, "instance_id", "");
  increment.epoch = jsonTextOr(*object, "epoch", "");
  if (!increment.instance_id.empty() && increment.instance_id != full.manifest->instance_id)
    damaged(path, "it is of another deployment's database");
  increment.file = describedFile(*object);
  if (increment.file.path != sealedName(increment.number) || increment.page_size == 0)
    damaged(path, "it makes no sense");
  return increment;
}

// Cuts a stream into pieces of one size.
class Pieces {
 public:
  Pieces(std::size_t size, std::function<void(std::string_view)> take) : size_(size), take_(std::move(take)) {}
  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      if (rest_.empty() && bytes.size() >= size_) {
        take_(bytes.substr(0, size_));
        bytes.remove_prefix(size_);
        continue;
      }
      const auto part = bytes.substr(0, size_ - rest_.size());
      rest_ += part;
      bytes.remove_prefix(part.size());
      if (rest_.size() == size_) {
        take_(rest_);
        rest_.clear();
      }
    }
  }
  bool whole() const { return rest_.empty(); }

 private:
  std::size_t size_;
  std::function<void(std::string_view)> take_;
  std::string rest_;
};

void writePage(const Fd& fd, const fs::path& file, std::uint64_t number, std::string_view page) {
  auto offset = static_cast<off_t>(number * page.size());
  while (!page.empty()) {
    const ssize_t put = ::pwrite(fd.get(), page.data(), page.size(), offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throwSystemError(Code::Io, "write", file.string(), errno);
    page.remove_prefix(static_cast<std::size_t>(put));
    offset += put;
  }
}

// The pages of one increment, each with its number below the page count.
void readPages(const Entry& full, const Increment& increment, const crypto::Keyring& keyring,
               const std::function<void(std::uint64_t, std::string_view)>& take) {
  const auto path = incrementsDirectory(full) / increment.file.path;
  Pieces pieces(kNumberBytes + increment.page_size, [&](std::string_view piece) {
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < kNumberBytes; ++i) number = number << 8 | static_cast<unsigned char>(piece[i]);
    if (number >= increment.page_count) damaged(path, "a page lies behind the end");
    take(number, piece.substr(kNumberBytes));
  });
  readArtifact(incrementsDirectory(full), increment.file, keyring.backupIdentities(),
               [&](std::string_view bytes) { pieces.write(bytes); });
  if (!pieces.whole()) damaged(path, "it ends within a page");
}

// SQLite file format, section 1.3: at 16, big-endian, 1 stands for 65536.
std::uint32_t pageSizeOf(std::string_view head, const storage::Place& where) {
  const auto size =
      static_cast<std::uint32_t>(static_cast<unsigned char>(head[16]) << 8 | static_cast<unsigned char>(head[17]));
  if (size != 1 && (size < 512 || (size & (size - 1)) != 0)) damaged(where, "it holds no SQLite database");
  return size == 1 ? 65536 : size;
}

std::string digestOf(const fs::path& file) {
  crypto::Sha256 hash;
  readThrough(file, [&](std::string_view bytes) { hash.update(bytes); });
  return hash.finishHex();
}
}  // namespace

storage::Place incrementsDirectory(const Entry& full) {
  return full.directory.parent().parent() / "increments" / full.id;
}

std::string incrementsPromise(const std::string& full_id) { return full_id + ".json"; }

std::optional<std::pair<Micros, audit::Head>> auditHeadOfIncrements(const Entry& full, const crypto::Keyring& keyring) {
  const auto promise = readSignedRecord(incrementsDirectory(full).parent(), incrementsPromise(full.id), keyring);
  const auto* head = promise ? jsonObject(*promise, "audit_head") : nullptr;
  if (head == nullptr) return std::nullopt;
  return std::pair(jsonIntegerOr(*promise, "at", 0),
                   audit::Head{jsonIntegerOr(*head, "entries", 0), jsonTextOr(*head, "hash", "")});
}

namespace {
// The last ones leave no hole when they go.
void requireAllThatWereMade(const Entry& full, const std::vector<Increment>& found, const crypto::Keyring& keyring,
                            std::optional<Micros> until) {
  const auto folder = incrementsDirectory(full).parent();
  const auto promise = readSignedRecord(folder, incrementsPromise(full.id), keyring);
  if (!promise) return;
  if (jsonTextOr(*promise, "full", "") != full.id)
    damaged(folder / incrementsPromise(full.id), "it belongs to another backup");
  const auto made = static_cast<std::uint64_t>(jsonIntegerOr(*promise, "number", 0));
  const auto through = found.empty() ? full.manifest->finished_at : found.back().at;
  if (made <= found.size() || (until && *until <= through + kAsPrinted)) return;
  throw Error(
      Code::Damaged,
      fmt::format("{}: {} {} made, the last at {}; {} are there, through {}", incrementsDirectory(full).describe(),
                  counted(made, "increment"), agreeing(made, "was", "were"), toIso(jsonIntegerOr(*promise, "at", 0)),
                  found.size(), toIso(through)),
      fmt::format("use another copy (--from), or take what there is with --target-time {}",
                  toIso(through + kAsPrinted)));
}
}  // namespace

std::vector<Increment> incrementsOf(const Entry& full, const crypto::Keyring& keyring, std::optional<Micros> until) {
  std::vector<Increment> increments;
  auto last = full.manifest->file(content::kDatabase)->plain_sha256;
  for (std::uint64_t number = 1;; ++number) {
    auto increment = readRecord(full, number, keyring);
    if (!increment) break;
    if (increment->number != number || increment->previous_sha256 != last)
      damaged(incrementsDirectory(full) / recordName(number), "it does not follow the one before it");
    if (until && increment->at > *until) return increments;
    last = increment->database_sha256;
    increments.push_back(std::move(*increment));
  }
  // One that is missing in the middle must not pass for the end.
  for (const auto& item : incrementsDirectory(full).list()) {
    if (!endsWith(item.name, ".json")) continue;
    const auto number = parseInteger(item.name.substr(0, item.name.size() - 5));
    if (!number || *number > static_cast<std::int64_t>(increments.size()))
      damaged(incrementsDirectory(full) / item.name,
              fmt::format("increment {} before it is missing", increments.size() + 1));
  }
  requireAllThatWereMade(full, increments, keyring, until);
  return increments;
}

std::optional<Micros> newestIncrement(const Entry& full, const crypto::Keyring& keyring) {
  std::int64_t newest = 0;
  for (const auto& item : incrementsDirectory(full).list()) {
    if (endsWith(item.name, ".json"))
      newest = std::max(newest, parseInteger(item.name.substr(0, item.name.size() - 5)).value_or(0));
  }
  if (newest == 0) return std::nullopt;
  try {
    const auto increment = readRecord(full, static_cast<std::uint64_t>(newest), keyring);
    return increment ? std::optional(increment->at) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;  // `backup verify` says what is wrong with it
  }
}

void applyIncrements(const Entry& full, const std::vector<Increment>& increments, const crypto::Keyring& keyring,
                     const fs::path& file, Progress* progress) {
  if (increments.empty()) return;
  begin(progress, {.what = "applying increments", .total = increments.size(), .noun = "increment", .even = false});
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) throwSystemError(Code::Io, "open", file.string(), errno);
  for (const auto& increment : increments) {
    readPages(full, increment, keyring,
              [&](std::uint64_t number, std::string_view page) { writePage(fd, file, number, page); });
    if (::ftruncate(fd.get(), static_cast<off_t>(increment.page_count * increment.page_size)) != 0)
      throwSystemError(Code::Io, "cut", file.string(), errno);
    add(progress, 1);
  }
  syncFile(fd.get(), file);
  if (digestOf(file) != increments.back().database_sha256)
    damaged(incrementsDirectory(full) / increments.back().file.path,
            "the database that it leads to does not have the digest that was recorded");
}

IncrementWriter::IncrementWriter(Entry full, const crypto::Keyring& keyring, ArtifactOptions how)
    : full_(std::move(full)), keyring_(keyring), how_(std::move(how)) {
  // Only digests are kept: no page of the database lies around in the clear.
  std::string head;
  std::optional<Pieces> pages;
  readArtifact(full_.directory, *full_.manifest->file(content::kDatabase), keyring_.backupIdentities(),
               [&](std::string_view bytes) {
                 if (!pages) {
                   head += bytes;
                   if (head.size() < kHeaderBytes) return;
                   page_size_ = pageSizeOf(head, full_.directory);
                   pages.emplace(page_size_, [this](std::string_view page) { pages_.push_back(crypto::sha256(page)); });
                   bytes = head;
                 }
                 pages->write(bytes);
               });
  last_sha256_ = full_.manifest->file(content::kDatabase)->plain_sha256;
  for (const auto& increment : incrementsOf(full_, keyring_)) {
    pages_.resize(increment.page_count);
    readPages(full_, increment, keyring_,
              [this](std::uint64_t number, std::string_view page) { pages_[number] = crypto::sha256(page); });
    number_ = increment.number;
    last_sha256_ = increment.database_sha256;
  }
}

IncrementWriter::Stamp IncrementWriter::stampOf(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) throwSystemError(Code::NoInput, "look at", file.string(), errno);
  return {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size),
          status.st_mtim.tv_sec * 1'000'000'000LL + status.st_mtim.tv_nsec};
}

// What counts commits counts those to the file that it opened, not to the one at the path.
void IncrementWriter::watch(const fs::path& database, const Stamp& stamp) {
  if (watch_ && stamp == stamp_) return;
  watch_.reset();
  seen_.reset();
  database::Target target;
  target.path = database;
  watch_ = database::connect(target);
}

bool IncrementWriter::isNewest() const { return !readRecord(full_, number_ + 1, keyring_); }

bool IncrementWriter::nothingNew(const fs::path& database) const {
  return watch_ && stampOf(database).sameFile(stamp_) &&
         seen_ == watch_->query("PRAGMA data_version", {})[0].integer(0);
}

// The head of the next one. Throws Error(Conflict) where the database is not the one that was saved before.
Increment IncrementWriter::begin(const fs::path& database) {
  Increment increment;
  increment.at = nowMicros();
  increment.instance_id = store::readSetting(*watch_, store::kInstanceId).value_or("");
  increment.epoch = store::readSetting(*watch_, store::kDatabaseEpoch).value_or("");
  if (increment.instance_id != full_.manifest->instance_id)
    throw Error(Code::Conflict,
                fmt::format("{} is the database of another deployment ({}) than backup {} ({})", database.string(),
                            printable(increment.instance_id, 40), full_.id, full_.manifest->instance_id),
                "give each deployment a backup directory of its own");
  if (!watch_->query("SELECT 1 FROM sqlite_master WHERE name = 'audit_log'", {}).empty())
    increment.audit_head = audit::head(*watch_);
  increment.number = number_ + 1;
  increment.page_size = page_size_;
  increment.previous_sha256 = last_sha256_;
  return increment;
}

// Those that changed go to the writer, each behind its number. The digests of all.
std::vector<std::string> IncrementWriter::writeChanged(database::sqlite::PinnedSnapshot& snapshot,
                                                       ArtifactWriter& writer, Increment& increment) const {
  crypto::Sha256 whole;
  std::vector<std::string> pages;
  pages.reserve(increment.page_count);
  Pieces cut(page_size_, [&](std::string_view page) {
    pages.push_back(crypto::sha256(page));
    const auto number = pages.size() - 1;
    if (number < pages_.size() && pages_[number] == pages.back()) return;
    std::string piece;
    for (int shift = 56; shift >= 0; shift -= 8) piece += static_cast<char>(number >> shift & 0xffU);
    piece += page;
    writer.write(piece);
    ++increment.changed;
  });
  snapshot.read([&](std::string_view bytes) {
    whole.update(bytes);
    cut.write(bytes);
  });
  increment.database_sha256 = whole.finishHex();
  return pages;
}

std::optional<Increment> IncrementWriter::write(const fs::path& database) {
  const auto before = stampOf(database);
  watch(database, before);
  const auto version = watch_->query("PRAGMA data_version", {})[0].integer(0);
  if (seen_ == version) return std::nullopt;
  auto increment = begin(database);
  database::sqlite::PinnedSnapshot snapshot(database, deadlineIn(kPinTimeout));
  // Several connections were opened by name: all to this file?
  if (!stampOf(database).sameFile(before)) {
    watch_.reset();
    throw Error(Code::Busy, fmt::format("{} was exchanged while it was read", database.string()), "try again");
  }
  if (snapshot.pageSize() != page_size_)
    throw Error(Code::Conflict, fmt::format("the page size of {} changed", database.string()), "make a full backup");
  increment.page_count = snapshot.size() / page_size_;

  const auto directory = incrementsDirectory(full_).path();
  makeDirectories(directory, 0750);
  const auto temporary = ".tmp-" + sealedName(increment.number);
  std::error_code ignored;
  fs::remove(directory / temporary, ignored);  // of a run that died
  ArtifactWriter writer(directory, temporary, "pages", how_);
  auto pages = writeChanged(snapshot, writer, increment);
  increment.file = writer.finish();
  increment.file.path = sealedName(increment.number);
  stamp_ = stampOf(database);
  if (!stamp_.sameFile(before)) watch_.reset();  // exchanged since: the next one reads the other
  if (increment.database_sha256 == last_sha256_) {
    fs::remove(directory / temporary, ignored);
    seen_ = version;
    return std::nullopt;
  }
  publish(increment, directory / temporary);
  ++number_;
  seen_ = version;
  last_sha256_ = increment.database_sha256;
  pages_ = std::move(pages);
  return increment;
}

// The pages first: the record is what makes the increment exist.
void IncrementWriter::publish(Increment& increment, const fs::path& temporary) const {
  const auto directory = incrementsDirectory(full_).path();
  renameDurably(temporary, directory / increment.file.path);
  writeFileAtomically(directory / recordName(increment.number), signedRecord(describe(increment, full_.id), keyring_),
                      0640);
  json::object promise{{"full", full_.id}, {"number", increment.number}, {"at", increment.at}};
  if (increment.audit_head.entries > 0)
    promise["audit_head"] =
        json::object{{"entries", increment.audit_head.entries}, {"hash", increment.audit_head.hash}};
  writeFileAtomically(directory.parent_path() / incrementsPromise(full_.id), signedRecord(promise, keyring_), 0640);
}

}  // namespace aragora::backup
