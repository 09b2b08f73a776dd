// Names and histories of the log, as an archive elsewhere or a server gives them.
#include "common/backup/physical/wal_archive.h"
#include "common/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const auto branch = aragora::backup::parseHistory(7, text);
    ARAGORA_CHECK(!branch.empty() && branch.back().timeline == 7);
    ARAGORA_CHECK(aragora::backup::goesThrough(branch, 7, 1));
    aragora::backup::WalListing listing;
    listing.segment_size = 1U << 20;
    listing.branches[7] = branch;
    listing.log[7][3] = {.sealed = true, .open = false, .spans = {}, .size = 1U << 20};
    listing.reach(branch.front().timeline, 0);
    listing.heads();
  } catch (const aragora::Error&) {
  }
  aragora::backup::WalArchive::spanOf(text);
  aragora::backup::parseSegmentName(text.substr(0, 24), 1U << 20);
  return 0;
}
