#include "common/base/terminal_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

namespace aragora::terminal_line {

namespace {
constexpr std::string_view kErase = "\r\x1b[K";
constexpr std::size_t kUsualWidth = 80;

// The terminal is the process's.
std::mutex mutex;
bool shown = false;

void put(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void erase() {
  if (shown) put(kErase);
  shown = false;
}

// Asked each time: it may be changed meanwhile.
std::size_t width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsualWidth;
}

bool begins(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; }  // a character of UTF-8
}  // namespace

std::string cut(std::string_view line, std::size_t columns) {
  std::size_t characters = 0;
  std::size_t fits = 0;  // bytes of all but the last column
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (!begins(line[i])) continue;
    if (++characters == columns) fits = i;
  }
  if (characters <= columns) return std::string(line);
  return std::string(line.substr(0, fits)) + "…";
}

void show(std::string_view line) {
  const std::lock_guard lock(mutex);
  // The last column stays free: some terminals go to the next line after it.
  put(std::string(kErase) + cut(line, width() - 1));
  shown = true;
}

void clear() {
  const std::lock_guard lock(mutex);
  erase();
}

Aside::Aside() : lock_(mutex) { erase(); }

}  // namespace aragora::terminal_line
