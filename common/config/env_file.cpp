#include "common/config/env_file.h"

#include <map>

#include "common/base/text.h"

namespace aragora::config {

namespace {
bool isNewline(char c) { return c == '\n' || c == '\r'; }
bool isSpace(char c) { return c == ' ' || c == '\t' || isNewline(c); }

bool validName(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// Text with trailing blanks that do not count unless something follows them.
class Chomped {
 public:
  void append(char c) {
    if (!isSpace(c)) {
      keep_ = text_.size() + 1;
    }
    text_ += c;
  }
  void appendLiteral(char c) {  // quoted or escaped: never chomped
    text_ += c;
    keep_ = text_.size();
  }
  std::string take() {
    text_.resize(keep_);
    keep_ = 0;
    return std::exchange(text_, {});
  }

 private:
  std::string text_;
  std::size_t keep_ = 0;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  EnvironmentFile parse() {
    if (startsWith(text_, "\xEF\xBB\xBF")) {
      warn("starts with a byte order mark, which becomes part of the first name; save the file without it");
    }
    if (text_.find('\r') != std::string_view::npos) warn("has CRLF line ends; systemd takes them, a shell does not");
    for (const char c : text_) {
      step(c);
      if (c == '\n') ++line_;
    }
    if (state_ == State::Value || state_ == State::PreValue || state_ == State::ValueEscape) {
      finishValue();
    } else if (state_ == State::SingleQuote || state_ == State::DoubleQuote || state_ == State::DoubleQuoteEscape) {
      finishValue();
      warn("ends inside a quoted value");
    } else if (state_ == State::Key) {
      ignoreLine();
    }
    return std::move(result_);
  }

 private:
  enum class State {
    PreKey,
    Key,
    PreValue,
    Value,
    ValueEscape,
    SingleQuote,
    DoubleQuote,
    DoubleQuoteEscape,
    Comment,
    CommentEscape
  };

  void step(char c) {
    switch (state_) {
      case State::PreKey:
        if (c == '#' || c == ';') {
          state_ = State::Comment;
        } else if (!isSpace(c)) {
          state_ = State::Key;
          start_line_ = line_;
          key_.append(c);
        }
        break;
      case State::Key:
        if (isNewline(c)) {
          ignoreLine();
        } else if (c == '=') {
          state_ = State::PreValue;
          quoted_ = false;
        } else {
          key_.append(c);
        }
        break;
      case State::PreValue:
        if (isNewline(c)) {
          finishValue();
        } else if (c == '\'') {
          state_ = State::SingleQuote;
          quoted_ = true;
        } else if (c == '"') {
          state_ = State::DoubleQuote;
          quoted_ = true;
        } else if (c == '\\') {
          state_ = State::ValueEscape;
        } else if (!isSpace(c)) {
          state_ = State::Value;
          value_.append(c);
        }
        break;
      case State::Value:
        if (isNewline(c)) {
          finishValue();
        } else if (c == '\\') {
          state_ = State::ValueEscape;
        } else {
          value_.append(c);
        }
        break;
      case State::ValueEscape:
        state_ = State::Value;
        if (!isNewline(c)) value_.appendLiteral(c);
        break;
      case State::SingleQuote:
        if (c == '\'') {
          state_ = State::PreValue;
        } else {
          value_.appendLiteral(c);
        }
        break;
      case State::DoubleQuote:
        if (c == '"') {
          state_ = State::PreValue;
        } else if (c == '\\') {
          state_ = State::DoubleQuoteEscape;
        } else {
          value_.appendLiteral(c);
        }
        break;
      case State::DoubleQuoteEscape:
        state_ = State::DoubleQuote;
        if (c == '"' || c == '\\' || c == '`' || c == '$') {
          value_.appendLiteral(c);
        } else if (c != '\n') {
          value_.appendLiteral('\\');
          value_.appendLiteral(c);
        }
        break;
      case State::Comment:
        if (c == '\\') {
          state_ = State::CommentEscape;
        } else if (isNewline(c)) {
          state_ = State::PreKey;
        }
        break;
      case State::CommentEscape:
        state_ = State::Comment;
        break;
    }
  }

  // Longer than a name is, it may be a secret that stands alone.
  void ignoreLine() {
    constexpr std::size_t kLongestName = 24;
    const auto line = key_.take();
    const auto shown = line.size() > kLongestName ? fmt::format("a line of {}", counted(line.size(), "character"))
                                                  : fmt::format("'{}'", printable(line, 40));
    warnAt(start_line_, fmt::format("{} is not an assignment and is ignored", shown));
    state_ = State::PreKey;
  }

  void finishValue() {
    state_ = State::PreKey;
    auto name = key_.take();
    auto value = value_.take();
    if (!validName(name)) {
      const bool exported = startsWith(name, "export ");
      warnAt(start_line_, exported
                              ? fmt::format("'{}' is ignored: systemd does not know export; write {}=…",
                                            printable(name, 60), printable(trim(name.substr(7)), 40))
                              : fmt::format("'{}' is not a variable name; the line is ignored", printable(name, 60)));
      return;
    }
    if (!quoted_ && value.find(" #") != std::string::npos) {
      warnAt(start_line_, fmt::format("{}: the text after ' #' is part of the value, not a comment", name));
    }
    if (value.find('$') != std::string::npos) {
      warnAt(start_line_, fmt::format("{}: $ is taken literally, variables are not expanded", name));
    }
    if (const auto seen = first_line_.find(name); seen != first_line_.end()) {
      warnAt(start_line_, fmt::format("{} was already set in line {}; the last one counts", name, seen->second));
    }
    first_line_[name] = start_line_;
    result_.entries.push_back({std::move(name), std::move(value), start_line_});
  }

  void warn(const std::string& message) { warnAt(line_, message); }
  void warnAt(int line, std::string message) { result_.warnings.push_back({line, std::move(message)}); }

  std::string_view text_;
  EnvironmentFile result_;
  State state_ = State::PreKey;
  Chomped key_;
  Chomped value_;
  bool quoted_ = false;
  int line_ = 1;
  int start_line_ = 1;
  std::map<std::string, int> first_line_;
};
}  // namespace

EnvironmentFile parseEnvironmentFile(std::string_view text) { return Parser(text).parse(); }

}  // namespace aragora::config
