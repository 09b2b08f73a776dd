// The one line at the bottom of a terminal that is rewritten in place while a command works. Whatever else is printed
// steps in with an Aside: the line goes first, and comes back when it is shown again. Any thread.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

namespace aragora::terminal_line {

// On standard error, cut to the width of the terminal.
void show(std::string_view line);
void clear();
// At most `columns` of them, "…" in place of what does not fit.
std::string cut(std::string_view line, std::size_t columns);

class Aside {
 public:
  Aside();

 private:
  std::lock_guard<std::mutex> lock_;
};

}  // namespace aragora::terminal_line
