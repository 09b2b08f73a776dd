#include "common/backup/elsewhere.h"

#include <sys/stat.h>

#include "common/backup/ownership.h"
#include "common/base/clock.h"
#include "common/base/error.h"

namespace aragora::backup {

namespace {
constexpr const char* kMark = "aragora-copies.json";

bool isMountPoint(const fs::path& directory, const struct stat& status) {
  struct stat above {};
  return ::stat((directory / "..").c_str(), &above) == 0 && above.st_dev != status.st_dev;
}
}  // namespace

std::string whyNotElsewhere(const storage::Place& place) {
  if (!place.isLocal()) return {};
  struct stat status {};
  if (::stat(place.path().c_str(), &status) != 0)
    return errno == ENOENT ? std::string("it is not there") : systemError(errno);
  if (!S_ISDIR(status.st_mode)) return "it is not a directory";
  if (isMountPoint(place.path(), status) || place.size(kMark) || ownerOf(place)) return {};
  return "it is an ordinary directory without the mark of copies: its disk may not be mounted";
}

void requireElsewhere(const storage::Place& place) {
  const auto why = whyNotElsewhere(place);
  if (!why.empty()) throw Error(Code::Unreachable, fmt::format("{}: {}", place.describe(), why), kHowToMark);
}

bool holdsCopies(const storage::Place& place) { return !place.isLocal() || place.size(kMark); }

bool initElsewhere(const storage::Place& place) {
  if (!place.isLocal())
    throw Error(Code::Usage, fmt::format("{} needs no mark", place.describe()),
                "--init is for a directory; a bucket is either there or not");
  if (place.size(kMark)) return false;
  makeDirectories(place.path(), 0750);
  const json::object mark{{"marked_at", toIso(nowMicros())},
                          {"note", "aragora copies backups here; without this file the disk counts as not mounted"}};
  // Everybody may see it: who marks is not always who copies.
  createFileExclusively(place.path() / kMark, toPrettyJson(mark) + "\n", 0644);
  adoptOwner(place.path() / kMark);
  return true;
}

}  // namespace aragora::backup
