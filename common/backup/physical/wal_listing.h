// What an archive of the log holds at one moment: listed once, and all that plans, recoveries and status say about it
// is derived from that. Timelines form a tree: each left its parent at some position (its history file says where).
// Pure values and functions, any thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/backup/manifest.h"

namespace aragora::backup {

inline constexpr Lsn kNever = UINT64_MAX;

struct WalListing {
  struct Span {  // bytes of a segment
    std::uint64_t from = 0;
    std::uint64_t to = 0;
  };
  struct Segment {
    bool sealed = false;      // complete, compressed, encrypted
    bool open = false;        // the plain file that grows, only here
    std::vector<Span> spans;  // sealed pieces of an open one, only elsewhere; without holes from its beginning
    std::uint64_t size = 0;   // bytes of log in it
  };
  // One way through the tree, oldest first; `until` is where the timeline was left, kNever for the last.
  struct Step {
    std::uint32_t timeline = 0;
    Lsn until = kNever;
  };
  using Branch = std::vector<Step>;
  // Behind `after` on this timeline nothing can be replayed that came before: the log is missing, or says too little.
  struct Interruption {
    std::uint32_t timeline = 0;
    Lsn after = 0;
    bool replayable = true;  // false: the log is there, but was written with wal_level = minimal
    std::string why;
  };

  std::uint64_t segment_size = 0;  // 0: nothing was ever received
  std::map<std::uint32_t, std::map<std::uint64_t, Segment>> log;
  std::map<std::uint32_t, Branch> branches;  // of every timeline that has log
  std::vector<Interruption> interruptions;
  std::string forged;  // why the record of interruptions is not believed; empty when it is

  // Where the log that begins at `start` ends or first has a gap.
  struct Reach {
    std::uint32_t timeline = 0;
    Lsn end = 0;
    bool gap = false;  // there is more log after `end`
  };
  Reach reachAlong(const Branch& branch, std::uint32_t timeline, Lsn start) const;
  // Along the newest branch that goes through there.
  Reach reach(std::uint32_t timeline, Lsn start) const { return reach(timeline, start, start); }
  // The log is walked from `start` on: of a base backup, behind the segments that it holds, which may be behind where
  // another timeline left its own.
  Reach reach(std::uint32_t timeline, Lsn through, Lsn start) const;
  // Where a timeline's log ends; 0 when it has none.
  Lsn end(std::uint32_t timeline) const;
  // Timelines that were not left, or have log behind where they were left; in order.
  std::vector<std::uint32_t> heads() const;
  const Segment* find(std::uint32_t timeline, std::uint64_t number) const;
};

// Whether the branch goes through this position of this timeline.
bool goesThrough(const WalListing::Branch& branch, std::uint32_t timeline, Lsn lsn);
// From the text of a history file (each line: parent, where it was left, why). Throws Error(Damaged).
WalListing::Branch parseHistory(std::uint32_t timeline, const std::string& text);

}  // namespace aragora::backup
