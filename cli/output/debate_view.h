// Shows a debate while it is held. On a terminal: what has happened, and below it a column for each seat with its state
// and what it is saying, rewritten as it comes and as wide as the terminal is now. Elsewhere a line for each event. On
// standard error: the result is not its business. One thread.
#pragma once

#include <chrono>
#include <map>

#include "cli/output/output.h"

namespace aragora::cli {

class DebateView {
 public:
  explicit DebateView(const Output& out);
  ~DebateView();  // leaves what has happened, and takes the columns away
  DebateView(const DebateView&) = delete;
  DebateView& operator=(const DebateView&) = delete;

  // A frame as the WebSocket sends it.
  void show(const json::object& frame);

 private:
  struct Seat {
    std::string name;
    std::string state = "waiting";
    std::string text;
  };
  void told(const json::object& frame, const std::string& type);
  void spoken(const json::object& frame, const std::string& type);
  void say(const std::string& line);
  Seat& seat(const std::string& name);
  void draw();
  void erase();

  const Output& out_;
  bool live_;
  std::vector<Seat> seats_;
  std::size_t drawn_ = 0;  // lines of the columns on the terminal
  std::chrono::steady_clock::time_point next_draw_{};
};

// Why a debate rests and until when: of the data of `debate_paused`, or of a debate's member `paused`.
std::string restInWords(const json::object& rest);

// How columns of `width` characters show `seats` lines of text: `rows` of them, the last lines of each. Wide characters
// count as two. For tests.
std::vector<std::string> wrapped(const std::string& text, std::size_t width);

}  // namespace aragora::cli
