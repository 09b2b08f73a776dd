#include "common/backup/increments.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/database/sqlite/pinned_snapshot.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kRecordLimit = 64 * 1024;
constexpr std::size_t kNumberBytes = 8;
constexpr std::size_t kHeaderBytes = 100;
constexpr auto kPinTimeout = std::chrono::seconds(30);

std::string baseName(std::uint64_t number) { return fmt::format("{:06}", number); }
std::string sealedName(std::uint64_t number) { return baseName(number) + ".pages.zst.age"; }

[[noreturn]] void damaged(const fs::path& path, const std::string& what) {
  throw Error(Code::Damaged, fmt::format("{}: {}", path.string(), what),
              "restore to a moment before it, or another backup");
}

std::string serialise(const Increment& increment, const std::string& full_id) {
  return toJson(json::object{{"full", full_id},
                             {"number", increment.number},
                             {"at", increment.at},
                             {"page_size", increment.page_size},
                             {"page_count", increment.page_count},
                             {"changed", increment.changed},
                             {"previous_sha256", increment.previous_sha256},
                             {"database_sha256", increment.database_sha256},
                             {"path", increment.file.path},
                             {"plain_size", increment.file.plain_size},
                             {"stored_size", increment.file.stored_size},
                             {"plain_sha256", increment.file.plain_sha256},
                             {"stored_sha256", increment.file.stored_sha256}});
}

Increment readRecord(const fs::path& path, const std::string& full_id, const crypto::Keyring& keyring) {
  const auto lines = split(readFile(path, kRecordLimit), '\n');
  const auto signature = lines.size() >= 2 ? fromHex(lines[1]) : std::nullopt;
  if (!signature || !keyring.verifyManifest(lines[0], *signature)) damaged(path, "its signature does not hold");
  const auto value = tryParseJson(lines[0]);
  const auto* object = value ? value->if_object() : nullptr;
  if (object == nullptr || jsonTextOr(*object, "full", "") != full_id) damaged(path, "it belongs to another backup");
  const auto number = [&](std::string_view key) { return static_cast<std::uint64_t>(jsonIntegerOr(*object, key, 0)); };
  Increment increment;
  increment.number = number("number");
  increment.at = jsonIntegerOr(*object, "at", 0);
  increment.page_size = static_cast<std::uint32_t>(number("page_size"));
  increment.page_count = number("page_count");
  increment.changed = number("changed");
  increment.previous_sha256 = jsonTextOr(*object, "previous_sha256", "");
  increment.database_sha256 = jsonTextOr(*object, "database_sha256", "");
  increment.file = {jsonTextOr(*object, "path", ""),
                    "pages",
                    number("plain_size"),
                    number("stored_size"),
                    jsonTextOr(*object, "plain_sha256", ""),
                    jsonTextOr(*object, "stored_sha256", "")};
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
  readArtifact(incrementsDirectory(full), increment.file, keyring.backupIdentity(),
               [&](std::string_view bytes) { pieces.write(bytes); });
  if (!pieces.whole()) damaged(path, "it ends within a page");
}

// SQLite file format, section 1.3: at 16, big-endian, 1 stands for 65536.
std::uint32_t pageSizeOf(std::string_view head, const fs::path& where) {
  const auto size =
      static_cast<std::uint32_t>(static_cast<unsigned char>(head[16]) << 8 | static_cast<unsigned char>(head[17]));
  if (size != 1 && (size < 512 || (size & (size - 1)) != 0)) damaged(where, "it holds no SQLite database");
  return size == 1 ? 65536 : size;
}

std::string digestOf(const fs::path& file) {
  const Fd fd = openForReading(file);
  crypto::Sha256 hash;
  std::vector<char> buffer(1U << 20);
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throwSystemError(Code::Io, "read", file.string(), errno);
    if (got == 0) return hash.finishHex();
    hash.update(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
  }
}
}  // namespace

fs::path incrementsDirectory(const Entry& full) {
  return full.directory.parent_path().parent_path() / "increments" / full.id;
}

std::vector<Increment> incrementsOf(const Entry& full, const crypto::Keyring& keyring, std::optional<Micros> until) {
  std::vector<Increment> increments;
  auto last = full.manifest->file("database")->plain_sha256;
  for (std::uint64_t number = 1;; ++number) {
    const auto path = incrementsDirectory(full) / (baseName(number) + ".json");
    std::error_code ignored;
    if (!fs::exists(path, ignored)) break;
    auto increment = readRecord(path, full.id, keyring);
    if (increment.number != number || increment.previous_sha256 != last)
      damaged(path, "it does not follow the one before it");
    if (until && increment.at > *until) return increments;
    last = increment.database_sha256;
    increments.push_back(std::move(increment));
  }
  // One that is missing in the middle must not pass for the end.
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator(incrementsDirectory(full), ignored)) {
    if (item.path().extension() != ".json") continue;
    const auto number = parseInteger(item.path().stem().string());
    if (!number || *number > static_cast<std::int64_t>(increments.size()))
      damaged(item.path(), fmt::format("increment {} before it is missing", increments.size() + 1));
  }
  return increments;
}

void applyIncrements(const Entry& full, const std::vector<Increment>& increments, const crypto::Keyring& keyring,
                     const fs::path& file) {
  if (increments.empty()) return;
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) throwSystemError(Code::Io, "open", file.string(), errno);
  for (const auto& increment : increments) {
    readPages(full, increment, keyring,
              [&](std::uint64_t number, std::string_view page) { writePage(fd, file, number, page); });
    if (::ftruncate(fd.get(), static_cast<off_t>(increment.page_count * increment.page_size)) != 0)
      throwSystemError(Code::Io, "cut", file.string(), errno);
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
  readArtifact(full_.directory, *full_.manifest->file("database"), keyring_.backupIdentity(),
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
  last_sha256_ = full_.manifest->file("database")->plain_sha256;
  for (const auto& increment : incrementsOf(full_, keyring_)) {
    pages_.resize(increment.page_count);
    readPages(full_, increment, keyring_,
              [this](std::uint64_t number, std::string_view page) { pages_[number] = crypto::sha256(page); });
    number_ = increment.number;
    last_sha256_ = increment.database_sha256;
  }
}

std::optional<Increment> IncrementWriter::write(const fs::path& database) {
  if (!watch_) {
    database::Target target;
    target.path = database;
    watch_ = database::connect(target);
  }
  const auto version = watch_->query("PRAGMA data_version", {})[0].integer(0);
  if (seen_ == version) return std::nullopt;
  Increment increment;
  increment.at = nowMicros();
  database::sqlite::PinnedSnapshot snapshot(database, deadlineIn(kPinTimeout));
  if (snapshot.pageSize() != page_size_)
    throw Error(Code::Conflict, fmt::format("the page size of {} changed", database.string()), "make a full backup");
  increment.number = number_ + 1;
  increment.page_size = page_size_;
  increment.page_count = snapshot.size() / page_size_;
  increment.previous_sha256 = last_sha256_;

  makeDirectories(incrementsDirectory(full_), 0750);
  const auto temporary = ".tmp-" + sealedName(increment.number);
  std::error_code ignored;
  fs::remove(incrementsDirectory(full_) / temporary, ignored);  // of a run that died
  ArtifactWriter writer(incrementsDirectory(full_), temporary, "pages", how_);
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
  increment.file = writer.finish();
  increment.file.path = sealedName(increment.number);
  increment.database_sha256 = whole.finishHex();
  if (increment.database_sha256 == last_sha256_) {
    fs::remove(incrementsDirectory(full_) / temporary, ignored);
    seen_ = version;
    return std::nullopt;
  }
  publish(increment, incrementsDirectory(full_) / temporary);
  ++number_;
  seen_ = version;
  last_sha256_ = increment.database_sha256;
  pages_ = std::move(pages);
  return increment;
}

// The pages first: the record is what makes the increment exist.
void IncrementWriter::publish(Increment& increment, const fs::path& temporary) const {
  const auto directory = incrementsDirectory(full_);
  renameDurably(temporary, directory / increment.file.path);
  const auto text = serialise(increment, full_.id);
  writeFileAtomically(directory / (baseName(increment.number) + ".json"),
                      text + "\n" + toHex(keyring_.signManifest(text)) + "\n", 0640);
}

}  // namespace aragora::backup
