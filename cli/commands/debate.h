// Private to the commands of `aragora debate`.
#pragma once

#include "cli/command_line.h"
#include "cli/deployment.h"

namespace aragora::cli {

struct DebateOptions {
  DeploymentOptions where;
  std::optional<std::string> question;
  std::vector<std::string> agents;
  std::optional<std::int64_t> rounds;
  std::optional<std::string> consensus;
  bool watch = false;
  bool detach = false;
  bool cancel_on_interrupt = false;
  bool test = false;
  std::optional<std::string> id;
  std::optional<std::int64_t> limit;
  std::optional<std::string> status;
  std::optional<std::string> format;
};

// The id as it may stand in a path. Error(Usage) without one.
std::string requireDebateId(const DebateOptions& options);
// Follows it to its end, shown as `options` say, and prints what came of it. The exit status of its end.
int followDebate(Context& context, const probe::Site& site, const std::string& id, const DebateOptions& options);
// 0 consensus, 1 none, 69 it did not come to its end; of a debate as the API shows it.
int exitStatusOf(const json::object& debate);
// As text; under --json the document's member "debate".
void printDebate(const Output& out, const json::object& debate);

int showDebate(Context& context, const DebateOptions& options);
int listDebates(Context& context, const DebateOptions& options);
int cancelDebate(Context& context, const DebateOptions& options);
int exportDebate(Context& context, const DebateOptions& options);
int testDebate(Context& context, const DebateOptions& options);
int replayDebate(Context& context, const DebateOptions& options);

}  // namespace aragora::cli
