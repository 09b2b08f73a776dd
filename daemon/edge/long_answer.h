// An answer that is made while its client waits: whole at its end, or in parts as they come. The connection was taken
// over for it and ends with it. Copies are the same answer; any thread. What the client does not read waits, at most
// 1 MiB; a client that is too slow or has left is gone, and what is said to it afterwards goes nowhere.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "daemon/edge/message.h"

namespace aragora::edge {

class LongAnswer {
 public:
  // Takes the connection over, in its I/O thread. `gone` is called there, at most once, when the client leaves before
  // the end.
  static LongAnswer take(Upgraded&& upgraded, std::function<void()> gone);

  // The whole, and with it the end.
  void answer(Response response) const;
  // Status, type and fields of an answer in parts; `rest` is said again and again while nothing else is, so that
  // nobody between here and the client takes it for dead.
  void begin(Response head, std::string rest) const;
  void part(std::string text) const;
  void end() const;
  // Without a word: the I/O threads are about to end.
  void drop() const;
  bool there() const { return !line_.expired(); }  // its connection is

 private:
  class Line;
  explicit LongAnswer(std::weak_ptr<Line> line, std::shared_ptr<void> executor)
      : line_(std::move(line)), executor_(std::move(executor)) {}
  void tell(std::function<void(Line&)> what) const;
  std::weak_ptr<Line> line_;        // kept by its own operations, which are of its I/O thread
  std::shared_ptr<void> executor_;  // shared by all copies; of that thread
};

}  // namespace aragora::edge
