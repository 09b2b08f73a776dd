// The writing side of the archive: complete files, and pieces of the open one for the copy elsewhere.
#include <fcntl.h>
#include <unistd.h>

#include "common/backup/physical/wal_files.h"
#include "common/backup/signed_record.h"
#include "common/base/error.h"
#include "common/crypto/hash.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kBlock = 1U << 20;
}  // namespace

void WalArchive::seal(const std::string& name, const fs::path& file, const ArtifactOptions& how) const {
  const auto directory = folder(name).path();
  makeDirectories(directory, 0750);
  const auto final_path = directory / sealedName(name);
  std::error_code ignored;
  if (fs::exists(final_path, ignored)) {
    crypto::Sha256 hash;
    readThrough(file, [&](std::string_view bytes) { hash.update(bytes); });
    const auto record = readRecord(name, name);
    if (record && hash.finishHex() == record->plain_sha256) return;
    throw Error(Code::Conflict, fmt::format("{} is in the archive with other content", name),
                "two servers archive into one directory; give each its own");
  }
  const auto temporary = ".tmp-" + sealedName(name);
  fs::remove(directory / temporary, ignored);  // of a run that died
  ArtifactWriter writer(directory, temporary, "wal", how);
  readThrough(file, [&](std::string_view bytes) { writer.write(bytes); });
  auto record = writer.finish();
  record.path = sealedName(name);
  // The record first: a sealed file without one would be damage, a record without a file is nothing.
  writeFileAtomically(directory / (name + std::string(kRecord)), signedRecord(describeFile(record), keyring_), 0640);
  renameDurably(directory / temporary, final_path);
}

std::vector<std::string> WalArchive::sealPiece(const WalSegment& segment, Span span, const ArtifactOptions& how,
                                               const fs::path& folder) const {
  const auto name = segmentName(segment, segmentSize());
  const auto open = this->folder(name).path() / (name + std::string(kPartial));
  const Fd fd(::open(open.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid() && errno == ENOENT) return {};
  if (!fd.valid()) throwSystemError(Code::Io, "open", open.string(), errno);
  const auto piece = pieceName(name, span);
  ArtifactWriter writer(folder, sealedName(piece), "wal", how);
  std::vector<char> buffer(kBlock);
  for (auto at = span.from; at < span.to;) {
    const ssize_t got =
        ::pread(fd.get(), buffer.data(), std::min<std::uint64_t>(buffer.size(), span.to - at), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throwSystemError(Code::Io, "read", open.string(), errno);
    if (got == 0) throw Error(Code::Io, fmt::format("{} is shorter than was said", open.string()));
    writer.write(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
    at += static_cast<std::uint64_t>(got);
  }
  const auto record = writer.finish();
  createFileExclusively(folder / (piece + std::string(kRecord)), signedRecord(describeFile(record), keyring_), 0640);
  return {piece + std::string(kRecord), sealedName(piece)};
}

}  // namespace aragora::backup
