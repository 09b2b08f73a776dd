#include "cli/output/shown_progress.h"

#include "common/base/terminal_line.h"

namespace aragora::cli {

namespace {
constexpr auto kRedraw = std::chrono::milliseconds(200);
constexpr auto kPlainLine = std::chrono::seconds(10);
}  // namespace

ShownProgress::ShownProgress(const Output& out, const std::string& command) : redraws_(out.redraws()) {
  if (out.quiet() || out.json()) return;
  ProgressTeller::Options how;
  how.interval = redraws_ ? kRedraw : std::chrono::milliseconds(kPlainLine);
  how.at_both_ends = redraws_;
  if (redraws_)
    how.show = terminal_line::show;
  else
    how.show = [&out](std::string_view line) { out.note(line); };
  teller_ = std::make_unique<ProgressTeller>(command, progress_, how);
}

ShownProgress::~ShownProgress() {
  teller_.reset();
  if (redraws_) terminal_line::clear();
}

}  // namespace aragora::cli
