// A support bundle as it comes together: a directory of files that becomes one archive, each file redacted, bounded and
// written down with where it came from; what could not be had is written down, too. One owner.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/scratch.h"

namespace aragora::cli {

struct Piece {
  std::string name;       // of the file in it
  std::string source;     // "aragora validate-env --json"
  std::string missing{};  // why it is not there; empty when it is
  int status = 0;         // of the program that said it
  std::size_t bytes = 0;
};

class Bundle {
 public:
  // Everything together, from now on.
  explicit Bundle(std::chrono::seconds whole) : deadline_(deadlineIn(whole)) {}

  // Redacted; of more than two megabytes the end is kept.
  void add(const std::string& name, const std::string& source, std::string text, int status = 0);
  void miss(const std::string& name, const std::string& source, const std::string& why);
  // What a program prints; it gets the whole environment of this process.
  void addOutput(const std::string& name, const std::string& source, const std::vector<std::string>& argv,
                 std::chrono::seconds patience);
  // A file of the kernel's, or another that ends.
  void addFile(const std::string& name, const fs::path& path);
  // The end of a regular file, as a text whatever its name; of no other, which might never end.
  void addLog(const std::string& name, const fs::path& path);

  bool late() const { return remaining(deadline_).count() == 0; }
  // What is left of the whole, but no more than `patience`.
  std::chrono::milliseconds within(std::chrono::milliseconds patience) const {
    return std::min(patience, remaining(deadline_));
  }
  const std::vector<Piece>& pieces() const { return pieces_; }
  json::object contents() const;
  // With contents.json in it; mode 0600. Error(CannotCreate) when there is such a file.
  void write(const fs::path& archive);

 private:
  fs::path place(const std::string& name) const;
  void addText(const std::string& name, const std::string& source, const std::string& text, std::uint64_t left_out,
               int status);
  Deadline deadline_;
  TemporaryDirectory directory_;
  std::vector<Piece> pieces_;
};

}  // namespace aragora::cli
