// Private to daemon/edge: a listening local (unix) socket and its file, which goes with it.
#pragma once

#include <sys/types.h>

#include <string>

#include "common/base/file.h"

namespace aragora::edge {

class LocalSocket {
 public:
  // Its mode is 0660: our user and our group may connect. What a daemon that is dead left behind is replaced; throws
  // Error(CannotCreate) when somebody listens there, or when the path is something else.
  LocalSocket(const std::string& path, int backlog);
  ~LocalSocket();
  LocalSocket(LocalSocket&& other) noexcept;
  LocalSocket& operator=(LocalSocket&&) = delete;
  int descriptor() const { return descriptor_.get(); }

 private:
  std::string path_;
  Fd descriptor_;
  ino_t file_ = 0;  // to remove ours and not our successor's
};

}  // namespace aragora::edge
