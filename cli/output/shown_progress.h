// Shows how far a command is, on standard error: on a terminal one line that is rewritten and goes away at the end,
// elsewhere a plain line every ten seconds, so that the mail of a short run from cron stays empty. Nothing with -q or
// under --json.
#pragma once

#include <memory>

#include "cli/output/output.h"
#include "common/base/progress.h"

namespace aragora::cli {

class ShownProgress {
 public:
  ShownProgress(const Output& out, const std::string& command);
  ShownProgress(const ShownProgress&) = delete;
  ShownProgress& operator=(const ShownProgress&) = delete;
  ~ShownProgress();
  Progress* get() { return &progress_; }

 private:
  Progress progress_;
  bool redraws_;
  std::unique_ptr<ProgressTeller> teller_;
};

}  // namespace aragora::cli
