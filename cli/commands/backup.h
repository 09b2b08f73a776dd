// Private to cli/commands: what the subcommands of `backup` share.
#pragma once

#include "cli/context.h"
#include "common/backup/repository.h"
#include "common/storage/location.h"

namespace aragora::cli::backups {

struct Options {
  std::optional<std::string> output;
  std::optional<std::string> from;
  std::optional<std::string> input;
  std::optional<std::string> max_rate;
  std::optional<std::string> kind;
  std::optional<std::string> reason;
  std::optional<std::string> out;
  std::optional<std::int64_t> level;
  std::optional<std::int64_t> days;
  std::optional<std::int64_t> yes_remove;
  std::optional<std::int64_t> interval;
  std::optional<std::int64_t> wait;
  bool due = false;
  bool again = false;
  bool init = false;
  bool every_kind = false;
  bool dry_run = false;
};

// For another run in the same directory to end.
std::chrono::seconds lockWait(const Options& options);
json::object describe(const backup::Entry& entry);
// The repository of the kind that holds the backup named, and that backup. An id is looked for among the full ones
// first.
std::pair<backup::Repository, backup::Entry> findAnyKind(Context& context, const storage::Place& place,
                                                         const std::string& input);

// Error(Conflict) when the directory's backups are of another deployment than the configured database. Where that does
// not answer: Error(CouldNotVerify) for what removes, a warning for what does not.
enum class Unknown { Refuse, Warn };
void requireOurs(Context& context, const fs::path& directory, Unknown unknown);

int list(Context& context, const Options& options);
int status(Context& context, const Options& options);
int verify(Context& context, const Options& options);

int prune(Context& context, const Options& options);
int forget(Context& context, const Options& options);
int pin(Context& context, const Options& options);
int unpin(Context& context, const Options& options);
int keygen(Context& context, const Options& options);
int rekey(Context& context, const Options& options);

}  // namespace aragora::cli::backups
