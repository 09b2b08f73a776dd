#include "common/backup/physical/wal_search.h"

#include "common/base/error.h"
#include "common/base/scratch.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::uint64_t kFilesAtOnce = 8;
constexpr auto kTime = std::chrono::minutes(10);  // for so many files
constexpr std::size_t kOutputLimit = 256U << 20;

struct Record {
  Lsn at = 0;
  std::string transaction;
  std::string description;
};

// «rmgr: XLOG … tx: 0, lsn: 0/015D4A08, prev 0/015D49D0, desc: RESTORE_POINT after one»
std::optional<Record> parseLine(const std::string& line) {
  const auto field = [&](std::string_view name, char end) -> std::string {
    const auto at = line.find(name);
    if (at == std::string::npos) return {};
    const auto from = at + name.size();
    return std::string(trim(std::string_view(line).substr(from, line.find(end, from) - from)));
  };
  const auto lsn = parseLsn(field("lsn: ", ','));
  const auto description = line.find("desc: ");
  if (!lsn || description == std::string::npos) return std::nullopt;
  return Record{*lsn, field("tx: ", ','), line.substr(description + 6)};
}

CommandResult waldump(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "pg_waldump");
  if (!findProgram("pg_waldump"))
    throw Error(Code::CouldNotVerify, "pg_waldump is not installed here: the log cannot be searched",
                "apt-get install postgresql-15, or name the target by --target-time or --target-lsn");
  return runCommand({arguments, {{"LC_ALL", "C"}, {"TZ", "UTC"}}, false}, kTime, kOutputLimit);
}

// The end of what is there looks to pg_waldump like an error; anywhere before, it is one.
void requireReadTo(const CommandResult& result, Lsn last_file, const std::string& next_name) {
  const auto& text = result.error_output;
  if (result.status == 0 || text.find(fmt::format("could not find file \"{}\"", next_name)) != std::string::npos)
    return;
  const auto at = text.find("error in WAL record at ");
  const auto lsn = at == std::string::npos
                       ? std::nullopt
                       : parseLsn(std::string_view(text).substr(at + 23, text.find(':', at + 23) - at - 23));
  const bool nothing_there = text.find("could not find a valid record after") != std::string::npos;
  if (nothing_there || (lsn && *lsn >= last_file)) return;
  throw Error(Code::CouldNotVerify, fmt::format("pg_waldump cannot read the log: {}", printable(trim(text), 300)));
}

// Each record of these kinds, oldest first, until `take` answers false; asked to stop it ends after the file at hand.
void scan(const WalArchive& archive, const WalListing& listing, const Stretch& where,
          const std::vector<std::string>& filter, const std::function<bool(const Record&)>& take,
          const interrupt::Switch* stop = nullptr) {
  const auto at_once = stop != nullptr ? 1 : kFilesAtOnce;
  const auto size = listing.segment_size;
  const auto end = std::min(where.to, listing.end(where.timeline));
  Lsn seen = 0;
  for (auto first = where.from / size; first * size < end; first += at_once) {
    if (stop != nullptr && stop->turned()) return;
    const TemporaryDirectory scratch;
    auto next = first;
    // One more than is counted: a record may go on in the next file.
    for (; next <= first + at_once && next * size < end; ++next) {
      const auto name = segmentName({where.timeline, next}, size);
      if (!archive.fetch(listing, name, scratch.path() / name, end)) break;
    }
    if (next == first) continue;
    std::vector<std::string> arguments{"-p", scratch.path().string(),
                                       "-t", fmt::format("{}", where.timeline),
                                       "-s", formatLsn(std::max(where.from, first * size))};
    arguments.insert(arguments.end(), filter.begin(), filter.end());
    const auto result = waldump(arguments);
    requireReadTo(result, (next - 1) * size, segmentName({where.timeline, next}, size));
    for (std::string_view rest = result.output; !rest.empty();) {  // as they are: a name may end with a blank
      const auto line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      const auto record = parseLine(std::string(line));
      if (!record || record->at <= seen || record->at < where.from || record->at >= end) continue;
      seen = record->at;
      if (!take(*record)) return;
    }
  }
}

// «COMMIT 2026-01-13 10:00:00.123456 UTC…», of a prepared one «COMMIT_PREPARED 735: 2026-…».
std::optional<Micros> commitTime(const std::string& description) {
  const auto year = description.find(" 20");
  if (!startsWith(description, "COMMIT") || year == std::string::npos) return std::nullopt;
  auto text = description.substr(year + 1, 26);
  if (const auto end = text.find_first_not_of("0123456789-:. "); end != std::string::npos) text.resize(end);
  text = std::string(trim(text));
  if (text.size() > 10) text[10] = 'T';
  return fromIso(text + "Z");
}
}  // namespace

std::vector<LogMatch> findRestorePoint(const WalArchive& archive, const WalListing& listing, const Stretch& where,
                                       const std::string& name) {
  std::vector<LogMatch> found;
  scan(archive, listing, where, {"-r", "XLOG"}, [&](const Record& record) {
    if (record.description == "RESTORE_POINT " + name) found.push_back({where.timeline, record.at, 0});
    return true;
  });
  return found;
}

std::vector<LogMatch> findTransaction(const WalArchive& archive, const WalListing& listing, const Stretch& where,
                                      std::uint32_t xid) {
  std::vector<LogMatch> found;
  const auto number = fmt::format("{}", xid);
  scan(archive, listing, where, {"-r", "Transaction"}, [&](const Record& record) {
    const auto& text = record.description;
    const bool ends = startsWith(text, "COMMIT") || startsWith(text, "ABORT");
    const bool prepared = text.find("_PREPARED " + number + ":") != std::string::npos;
    if (ends && (record.transaction == number || prepared))
      found.push_back({where.timeline, record.at, commitTime(text).value_or(0)});
    return true;
  });
  return found;
}

// «COMMIT 2026-01-13 10:00:00.123456 UTC; subxacts: 735 736»
std::optional<std::uint32_t> findTransactionAround(const WalArchive& archive, const WalListing& listing,
                                                   const Stretch& where, std::uint32_t xid) {
  std::optional<std::uint32_t> found;
  const auto number = fmt::format("{}", xid);
  scan(archive, listing, where, {"-r", "Transaction"}, [&](const Record& record) {
    const auto& text = record.description;
    const auto at = text.find("subxacts:");
    if (at == std::string::npos) return true;
    const auto end = text.find(';', at);
    for (const auto& part : split(text.substr(at + 9, end == std::string::npos ? end : end - at - 9), ' ')) {
      if (trim(part) == number) found = static_cast<std::uint32_t>(parseInteger(record.transaction).value_or(0));
    }
    return !found;
  });
  return found;
}

std::optional<LogMatch> firstCommit(const WalArchive& archive, const WalListing& listing, const Stretch& where) {
  std::optional<LogMatch> found;
  scan(archive, listing, where, {"-r", "Transaction"}, [&](const Record& record) {
    if (const auto time = commitTime(record.description)) found = LogMatch{where.timeline, record.at, *time};
    return !found;
  });
  return found;
}

std::optional<Lsn> firstMinimal(const WalArchive& archive, const WalListing& listing, const Stretch& where,
                                const interrupt::Switch& stop) {
  std::optional<Lsn> found;
  const auto take = [&](const Record& record) {
    if (startsWith(record.description, "PARAMETER_CHANGE") &&
        record.description.find("wal_level=minimal") != std::string::npos)
      found = record.at;
    return !found;
  };
  scan(archive, listing, where, {"-r", "XLOG"}, take, &stop);
  return found;
}

}  // namespace aragora::backup
