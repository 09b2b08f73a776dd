#include "common/migrate/lexer.h"

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::migrate {

namespace {
bool isWordCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80) != 0;
}

class Lexer {
 public:
  Lexer(std::string_view sql, std::string_view name) : sql_(sql), name_(name) {}

  std::vector<Statement> run() {
    while (at_ < sql_.size()) step();
    finish();
    return std::move(statements_);
  }

 private:
  [[noreturn]] void refuse(int line, const std::string& reason, const std::string& hint = {}) const {
    throw Error(Code::Damaged, fmt::format("migration {} line {}: {}", name_, line, reason), hint);
  }

  char peek(std::size_t ahead = 0) const { return at_ + ahead < sql_.size() ? sql_[at_ + ahead] : '\0'; }

  void take(std::size_t count = 1) {
    for (std::size_t i = 0; i < count && at_ < sql_.size(); ++i, ++at_) {
      if (sql_[at_] == '\n') ++line_;
      current_ += sql_[at_];
    }
  }

  void skip(std::size_t count = 1) {
    for (std::size_t i = 0; i < count && at_ < sql_.size(); ++i, ++at_) {
      if (sql_[at_] == '\n') ++line_;
    }
  }

  void step() {
    const char c = peek();
    if (c == '-' && peek(1) == '-') return skipLineComment();
    if (c == '/' && peek(1) == '*') return skipBlockComment();
    if (current_.empty() && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) return skip();
    if (current_.empty()) first_line_ = line_;
    if (c == '\\' && current_.empty()) refuse(line_, "psql meta-commands do not belong in a migration");
    if (c == '\'') return takeQuoted('\'', startsEscapeString());
    if (c == '"') return takeQuoted('"', false);
    if (c == '$') {
      if (const auto tag = dollarTag(); !tag.empty()) return takeDollarQuoted(tag);
    }
    if (c == ';' && !insideTrigger()) {
      skip();
      return finish();
    }
    if (isWordCharacter(c)) return takeWord();
    take();
  }

  // A word as a whole, so that E'' and keywords are seen at word boundaries only.
  void takeWord() {
    const auto start = current_.size();
    while (isWordCharacter(peek())) take();
    const auto word = upper(current_.substr(start));
    if (words_.size() < 6) words_.push_back(word);
    if (trigger_ && (word == "BEGIN" || word == "CASE")) ++trigger_depth_;
    if (trigger_ && word == "END") --trigger_depth_;
    if (!trigger_ && words_.size() >= 2 && words_[0] == "CREATE" && word == "TRIGGER") trigger_ = true;
    if (trigger_ && word == "EXECUTE") trigger_ = false;  // PostgreSQL's form has no body
  }

  bool insideTrigger() const { return trigger_ && trigger_depth_ > 0; }

  bool startsEscapeString() const {
    if (current_.empty() || (current_.back() != 'E' && current_.back() != 'e')) return false;
    return current_.size() == 1 || !isWordCharacter(current_[current_.size() - 2]);
  }

  void takeQuoted(char quote, bool backslash) {
    const int opened = line_;
    take();
    while (true) {
      if (at_ >= sql_.size()) refuse(opened, "a quote is never closed");
      if (backslash && peek() == '\\') {
        take(2);
      } else if (peek() == quote && peek(1) == quote) {
        take(2);
      } else if (peek() == quote) {
        return take();
      } else {
        take();
      }
    }
  }

  std::string dollarTag() const {
    if (!current_.empty() && isWordCharacter(current_.back())) return {};
    std::size_t end = at_ + 1;
    if (end < sql_.size() && sql_[end] >= '0' && sql_[end] <= '9') return {};
    while (end < sql_.size() && isWordCharacter(sql_[end])) ++end;
    if (end >= sql_.size() || sql_[end] != '$') return {};
    return std::string(sql_.substr(at_, end - at_ + 1));
  }

  void takeDollarQuoted(const std::string& tag) {
    const int opened = line_;
    const auto end = sql_.find(tag, at_ + tag.size());
    if (end == std::string_view::npos) refuse(opened, fmt::format("the dollar quote {} is never closed", tag));
    take(end + tag.size() - at_);
  }

  void skipLineComment() {
    while (at_ < sql_.size() && peek() != '\n') skip();
    if (!current_.empty()) current_ += ' ';
  }

  void skipBlockComment() {
    const int opened = line_;
    int depth = 0;
    do {
      if (at_ >= sql_.size()) refuse(opened, "a comment is never closed");
      if (peek() == '/' && peek(1) == '*') {
        ++depth;
        skip(2);
      } else if (peek() == '*' && peek(1) == '/') {
        --depth;
        skip(2);
      } else {
        skip();
      }
    } while (depth > 0);
    if (!current_.empty()) current_ += ' ';
  }

  void finish() {
    const auto text = std::string(trim(current_));
    const auto words = std::exchange(words_, {});
    current_.clear();
    trigger_ = false;
    trigger_depth_ = 0;
    if (text.empty()) return;
    static const std::set<std::string> kControl = {"BEGIN", "START", "COMMIT",    "ROLLBACK",
                                                   "END",   "ABORT", "SAVEPOINT", "RELEASE"};
    if (!words.empty() && kControl.count(words[0]) > 0) {
      refuse(first_line_, fmt::format("{} is not allowed: the migration runner owns the transaction", words[0]),
             "remove it; use '-- aragora: no-transaction' for statements that need none");
    }
    const auto folded = lower(text);
    if (!words.empty() && words[0] == "COPY" && folded.find("from stdin") != std::string::npos) {
      refuse(first_line_, "COPY FROM stdin is not allowed", "use INSERT");
    }
    statements_.push_back({text, first_line_});
  }

  std::string_view sql_;
  std::string_view name_;
  std::size_t at_ = 0;
  int line_ = 1;
  int first_line_ = 1;
  std::string current_;
  std::vector<std::string> words_;
  bool trigger_ = false;
  int trigger_depth_ = 0;
  std::vector<Statement> statements_;
};
}  // namespace

std::vector<Statement> splitStatements(std::string_view sql, std::string_view name) { return Lexer(sql, name).run(); }

std::string normalise(std::string_view sql) {
  if (startsWith(sql, "\xEF\xBB\xBF")) sql.remove_prefix(3);
  std::string result;
  while (!sql.empty()) {
    const auto end = sql.find('\n');
    auto line = sql.substr(0, end);
    const auto keep = line.find_last_not_of(" \t\r");
    result += line.substr(0, keep == std::string_view::npos ? 0 : keep + 1);
    result += '\n';
    sql.remove_prefix(end == std::string_view::npos ? sql.size() : end + 1);
  }
  while (endsWith(result, "\n\n")) result.pop_back();
  return result;
}

}  // namespace aragora::migrate
