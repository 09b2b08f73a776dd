// How commands speak: results on standard output, progress and remarks on standard error, one JSON document with
// `schema_version` under --json (also on failure), colour only on a terminal and never with NO_COLOR, nothing but
// warnings with -q.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace aragora::cli {

enum class Mark { Ok, Failure, Warning, Info };

struct OutputOptions {
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  bool no_color = false;
};

class Output {
 public:
  explicit Output(OutputOptions options);

  bool json() const { return options_.json; }
  bool quiet() const { return options_.quiet; }
  bool verbose() const { return options_.verbose; }

  void line(std::string_view text) const;               // a result; nothing under --json or -q
  void marked(Mark mark, std::string_view text) const;  // ✓ ✗ ! -; failures and warnings also with -q
  // The failures that were marked, the first twenty, also where they were not shown.
  const std::vector<std::string>& failures() const { return failures_; }
  void raw(std::string_view text) const;   // a result asked for by name: always printed
  void note(std::string_view text) const;  // standard error; not under -q
  // A result that is a text of its own: as it is, or a member of the document.
  void text(const char* member, std::string_view text) const;
  // Under --json: members of the one document of this run, which error() or finish() prints, whichever comes first;
  // of a command that had nothing to say it has its schema_version alone.
  void document(json::object object) const;
  void finish() const;
  void error(const Error& error) const;

  // Whether a line on standard error can be rewritten in place.
  bool redraws() const;
  std::string dim(std::string_view text) const;  // for standard output

 private:
  std::string coloured(std::string_view text, const char* code, bool on_terminal) const;
  OutputOptions options_;
  mutable json::object document_;
  mutable std::vector<std::string> failures_;
  mutable bool finished_ = false;
  bool out_terminal_ = false;
  bool err_terminal_ = false;
};

// Every text in it without secrets.
json::value redacted(const json::value& value);

// Every write to standard output goes through here. One that fails stops nothing: the work is done, and closeOut(),
// which main calls last, answers why (an errno), so that nobody takes the output for written.
void printOut(std::string_view text);
int closeOut();

// Whether standard input and error are a person's terminal; asks and answers true for "yes".
bool canAsk();
bool ask(const std::string& question);

}  // namespace aragora::cli
