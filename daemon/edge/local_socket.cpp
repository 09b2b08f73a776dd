#include "daemon/edge/local_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::edge {

namespace {
constexpr mode_t kMode = 0660;

sockaddr_un addressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

Fd newSocket() { return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

[[noreturn]] void refuse(const std::string& path, const std::string& reason, const std::string& hint) {
  throw Error(Code::CannotCreate, fmt::format("cannot listen on unix:{}: {}", path, reason), hint);
}

// A full backlog (EAGAIN) has somebody behind it, too.
bool nobodyListens(const std::string& path) {
  const auto probe = newSocket();
  const auto address = addressOf(path);
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
         errno == ECONNREFUSED;
}

void removeStale(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return;
  if (!S_ISSOCK(status.st_mode))
    refuse(path, "there is something that is no socket", "name a path of the service's own");
  if (!nobodyListens(path)) refuse(path, "another process listens there", "see who: ss -lxp; or choose another path");
  ::unlink(path.c_str());
}
}  // namespace

LocalSocket::LocalSocket(const std::string& path, int backlog) : path_(path), descriptor_(newSocket()) {
  removeStale(path);
  const auto address = addressOf(path);
  const bool listening = ::bind(descriptor_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                         ::chmod(path.c_str(), kMode) == 0 && ::listen(descriptor_.get(), backlog) == 0;
  if (!listening) refuse(path, systemError(errno), "its directory must be there and the service's own");
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) file_ = status.st_ino;
}

LocalSocket::LocalSocket(LocalSocket&& other) noexcept
    : path_(std::exchange(other.path_, {})), descriptor_(std::move(other.descriptor_)), file_(other.file_) {}

LocalSocket::~LocalSocket() {
  struct stat status {};
  if (!path_.empty() && ::stat(path_.c_str(), &status) == 0 && status.st_ino == file_) ::unlink(path_.c_str());
}

}  // namespace aragora::edge
