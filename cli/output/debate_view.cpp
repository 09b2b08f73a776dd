#include "cli/output/debate_view.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <regex>

#include "common/base/redact.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
constexpr auto kRedraw = std::chrono::milliseconds(50);
constexpr std::size_t kNarrowest = 26;  // a column; with less room for each there are fewer in a row
constexpr std::size_t kMostRows = 8;    // of text in a column
constexpr std::size_t kGap = 2;

struct Size {
  std::size_t columns = 80;
  std::size_t rows = 24;
};

// Asked each time: people resize.
Size terminalSize() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

struct Character {
  std::string_view bytes;
  std::size_t width = 1;
};

// The next character of UTF-8; those of East Asian scripts and pictures take two cells (UAX #11, roughly).
Character next(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t length = first >= 0xF0U ? 4 : first >= 0xE0U ? 3 : first >= 0xC0U ? 2 : 1;
  const bool wide = first >= 0xF0U || (first >= 0xE3U && first <= 0xEDU) || first == 0xEFU;
  return {text.substr(0, length), wide ? 2U : 1U};
}

std::size_t cells(std::string_view text) {
  std::size_t total = 0;
  for (; !text.empty(); text.remove_prefix(std::min(text.size(), next(text).bytes.size()))) total += next(text).width;
  return total;
}

std::string padded(const std::string& text, std::size_t width) {
  const auto taken = cells(text);
  return taken < width ? text + std::string(width - taken, ' ') : text;
}

// What a model says, in one paragraph and without what would steer the terminal.
std::string shown(const std::string& text, std::size_t limit) {
  return printable(replaceAll(replaceAll(text, "\r", " "), "\n", " "), limit);
}
}  // namespace

std::vector<std::string> wrapped(const std::string& text, std::size_t width) {
  std::vector<std::string> lines;
  std::string line;
  std::size_t taken = 0;
  std::size_t last_space = std::string::npos;  // in the line
  for (std::string_view rest = text; !rest.empty();) {
    const auto one = next(rest);
    rest.remove_prefix(std::min(rest.size(), one.bytes.size()));
    if (taken + one.width > width) {
      std::string carried;
      if (one.bytes != " " && last_space != std::string::npos) {
        carried = line.substr(last_space + 1);
        line.resize(last_space);
      }
      lines.push_back(std::exchange(line, std::move(carried)));
      taken = cells(line);
      last_space = std::string::npos;
      if (one.bytes == " ") continue;
    }
    if (one.bytes == " ") last_space = line.size();
    line += one.bytes;
    taken += one.width;
  }
  if (!line.empty()) lines.push_back(std::move(line));
  return lines;
}

std::string restInWords(const json::object& rest) {
  if (jsonTextOr(rest, "reason", "") == "operator")
    return "the debate rests until it is resumed: POST /api/debates/ID/resume";
  // By the time it is read "for 40 s more" is over; without it the same reason reads the same.
  static const std::regex kStale(" for [0-9]+ s more");
  const auto why = std::regex_replace(jsonTextOr(rest, "detail", "too few answered"), kStale, "");
  return fmt::format("the debate rests: {}; who did not answer is asked again until its time is over",
                     shown(why, 1000));
}

DebateView::DebateView(const Output& out) : out_(out), live_(out.redraws()) {}

DebateView::~DebateView() { erase(); }

DebateView::Seat& DebateView::seat(const std::string& name) {
  const auto found = std::find_if(seats_.begin(), seats_.end(), [&](const Seat& one) { return one.name == name; });
  if (found != seats_.end()) return *found;
  seats_.push_back({name});
  return seats_.back();
}

void DebateView::show(const json::object& frame) {
  if (out_.quiet() || out_.json()) return;
  const auto type = jsonTextOr(frame, "type", "");
  if (frame.if_contains("seq") != nullptr)
    told(frame, type);
  else if (live_)
    spoken(frame, type);
  if (live_) draw();
}

void DebateView::spoken(const json::object& frame, const std::string& type) {
  const auto* data = frame.if_contains("data");
  if (data == nullptr || !data->is_object()) return;
  auto& one = seat(jsonTextOr(frame, "agent", ""));
  const auto& part = data->get_object();
  if (type == "agent_message_reset") {
    one.state = "asked again";
    one.text.clear();
  } else if (type == "agent_delta") {
    if (jsonIntegerOr(part, "offset", 0) == 0) one.text.clear();
    one.state = jsonTextOr(part, "phase", "speaking");
    one.text += shown(jsonTextOr(part, "text", ""), 4096);
  }
}

void DebateView::told(const json::object& frame, const std::string& type) {
  static const json::object nothing;
  const auto* value = frame.if_contains("data");
  const auto& data = value != nullptr && value->is_object() ? value->get_object() : nothing;
  const auto agent = printable(jsonTextOr(frame, "agent", ""), 60);
  const auto text = [&](const char* member, std::size_t limit = 160) {
    return shown(jsonTextOr(data, member, ""), limit);
  };
  if (type == "debate_start") {
    if (const auto* agents = jsonArray(data, "agents")) {
      for (const auto& one : *agents)
        if (one.is_string()) seat(std::string(one.get_string()));
    }
    say(fmt::format("the debate starts, with {}", counted(seats_.size(), "seat")));
  } else if (type == "round_start") {
    say(fmt::format("round {}: {}", jsonIntegerOr(data, "round", 0), text("phase")));
    for (auto& one : seats_) one.state = "thinking";
  } else if (type == "agent_message") {
    say(fmt::format("{} ({}): {}", agent, text("role"), text("content")));
    auto& one = seat(jsonTextOr(frame, "agent", ""));
    one.state = "done";
    one.text = text("content", 4096);
  } else if (type == "critique") {
    say(fmt::format("{} on {}: {}", agent, text("target"), text("critique")));
    seat(jsonTextOr(frame, "agent", "")).state = "has criticised";
  } else if (type == "vote") {
    say(fmt::format("{} votes for {} ({:.0f} %): {}", agent, text("choice"), 100 * jsonNumberOr(data, "confidence", 0),
                    text("reasoning")));
    seat(jsonTextOr(frame, "agent", "")).state = "has voted";
  } else if (type == "agent_error") {
    say(fmt::format("{} did not answer ({}): {}", agent, text("phase"), text("message")));
    seat(jsonTextOr(frame, "agent", "")).state = "did not answer";
  } else if (type == "synthesis") {
    say(fmt::format("{} writes the answer", agent));
    for (const auto& [member, what] : {std::pair{"open_risks", "left open"}, {"dissent", "others held"}}) {
      const auto* lines = jsonArray(data, member);
      for (const auto& line : lines != nullptr ? *lines : json::array()) {
        if (line.is_string()) say(fmt::format("{}: {}", what, printable(line.get_string(), 200)));
      }
    }
  } else if (type == "consensus") {
    say(jsonFlagOr(data, "reached", false) ? "consensus" : "no consensus");
  } else if (type == "debate_paused") {
    say(restInWords(data));
  } else if (type == "audience_message") {
    say(fmt::format("{}: {}", text("author"), text("content")));
  } else if (type == "debate_end") {
    say(fmt::format("the debate is {} after {:.1f} s", text("status"), jsonNumberOr(data, "duration_seconds", 0)));
  }
}

void DebateView::say(const std::string& line) {
  erase();
  out_.note("  " + line);
  next_draw_ = {};
}

void DebateView::erase() {
  if (drawn_ == 0) return;
  std::fputs(fmt::format("\x1b[{}A\r\x1b[J", drawn_).c_str(), stderr);
  std::fflush(stderr);
  drawn_ = 0;
}

// As many columns beside each other as have room, never more lines than the terminal has.
void DebateView::draw() {
  const auto now = std::chrono::steady_clock::now();
  if (seats_.empty() || now < next_draw_) return;
  next_draw_ = now + kRedraw;
  const auto size = terminalSize();
  const auto room = std::max<std::size_t>(size.columns, 2) - 1;  // the last column stays free, as for other lines
  const auto beside = std::clamp<std::size_t>((room + kGap) / (kNarrowest + kGap), 1, seats_.size());
  const auto width = std::max<std::size_t>((room + kGap) / beside, kGap + 1) - kGap;
  const auto blocks = (seats_.size() + beside - 1) / beside;
  const auto fits = size.rows > 2 ? (size.rows - 2) / blocks : 1;
  const auto rows = std::clamp<std::size_t>(fits > 1 ? fits - 1 : 0, 0, kMostRows);
  std::vector<std::string> lines;
  for (std::size_t first = 0; first < seats_.size() && lines.size() + 2 < size.rows; first += beside) {
    std::vector<std::string> block(rows + 1);
    for (std::size_t i = first; i < std::min(first + beside, seats_.size()); ++i) {
      const auto& one = seats_[i];
      const auto all = wrapped(one.text, width);
      const auto from = all.size() > rows ? all.size() - rows : 0;
      const auto title = wrapped(printable(one.name, 40) + ": " + one.state, width);
      const auto gap = i == first ? 0 : kGap;
      block[0] += std::string(gap, ' ') + padded(title.empty() ? "" : title.front(), width);
      for (std::size_t row = 0; row < rows; ++row)
        block[row + 1] += std::string(gap, ' ') + padded(from + row < all.size() ? all[from + row] : "", width);
    }
    lines.insert(lines.end(), block.begin(), block.end());
  }
  erase();
  std::string text;
  for (const auto& line : lines) text += redact(line) + "\x1b[K\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
  drawn_ = lines.size();
}

}  // namespace aragora::cli
