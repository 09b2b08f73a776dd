#include "common/backup/physical/wal_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <climits>

#include "common/backup/physical/private_cluster.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kLineLimit = 1024;
constexpr int kLookAround = 200;    // ms
constexpr int kAsking = 5'000;      // who has connected says what it wants
constexpr int kPatience = 600'000;  // a store elsewhere takes its time and tries again
// What is on this machine is limited by its cores, a store elsewhere by the way there.
constexpr WalPrefetch::Options kHere{.readers = 2, .window = 6};
constexpr WalPrefetch::Options kElsewhere{.readers = 8, .window = 16};

sockaddr_un addressOf(const fs::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto text = path.string();
  if (text.size() >= sizeof address.sun_path)
    throw Error(Code::CannotCreate, fmt::format("{} is too long for a socket", text));
  std::copy(text.begin(), text.end(), address.sun_path);
  return address;
}

// One line without its end; throws Unreachable when it does not come.
std::string readLine(int fd, int patience) {
  std::string line;
  while (line.size() < kLineLimit) {
    pollfd entry{fd, POLLIN, 0};
    if (::poll(&entry, 1, patience) <= 0) throw Error(Code::Unreachable, "no line came");
    char c = 0;
    if (::read(fd, &c, 1) != 1) throw Error(Code::Unreachable, "the other side hung up");
    if (c == '\n') return line;
    line += c;
  }
  throw Error(Code::Unreachable, "the line is too long");
}

void sendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throwSystemError(Code::Io, "write to", "the socket of the recovery", errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}
}  // namespace

WalServer::WalServer(const WalArchive& archive, Plan plan, const fs::path& ahead)
    : archive_(archive),
      plan_(std::move(plan)),
      listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      ahead_(
          plan_.order, [this](const auto& name, const auto& destination) { return fetch(name, destination); },
          archive.directory().isLocal() ? kHere : kElsewhere, ahead) {
  const auto address = addressOf(socket());
  if (!listener_.valid() || ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_.get(), 4) != 0)
    throwSystemError(Code::CannotCreate, "listen on", socket().string(), errno);
  giveToServerUser(directory_.path(), true);
  thread_ = std::thread([this] { run(); });
}

WalServer::~WalServer() {
  stopping_ = true;
  thread_.join();
}

void WalServer::run() {
  while (!stopping_) {
    pollfd entry{listener_.get(), POLLIN, 0};
    if (::poll(&entry, 1, kLookAround) <= 0) continue;
    const Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection.valid()) continue;
    try {
      answer(connection.get());
    } catch (const std::exception& error) {
      log::warning("the recovery's server was not answered: {}", error.what());
    }
  }
}

bool WalServer::fetch(const std::string& name, const fs::path& destination) const {
  const auto segment =
      plan_.listing.segment_size > 0 ? parseSegmentName(name, plan_.listing.segment_size) : std::nullopt;
  const bool last = segment && segment->timeline == plan_.timeline;
  return archive_.fetch(plan_.listing, name, destination, last ? plan_.end : kNever);
}

void WalServer::answer(int connection) {
  const auto name = readLine(connection, kAsking);
  if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos)
    return sendAll(connection, "absent\n");
  try {
    if (!ahead_.bring(name)) return sendAll(connection, "absent\n");
  } catch (const Error& error) {
    const auto* kind = error.code() == Code::NoInput ? "gap" : "error";
    return sendAll(connection, fmt::format("{} {}\n", kind, printable(error.what(), 800)));
  }
  const auto path = (ahead() / name).string();
  sendAll(connection, fmt::format("found {}\n{}", path.size(), path));
  ++answered_;
}

namespace {
std::string readExactly(int fd, std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t done = 0; done < size;) {
    const ssize_t got = ::read(fd, text.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw Error(Code::Unreachable, "the recovery hung up within its answer");
    done += static_cast<std::size_t>(got);
  }
  return text;
}

// A rename, as a rule; whole under its name in any case.
void moveTo(const fs::path& file, const fs::path& destination) {
  std::error_code elsewhere;
  fs::rename(file, destination, elsewhere);
  if (!elsewhere) return;
  const auto temporary = fs::path(destination.string() + ".aragora");
  fs::copy_file(file, temporary, fs::copy_options::overwrite_existing);
  fs::rename(temporary, destination);  // after a crash PostgreSQL asks again
  fs::remove(file);
}
}  // namespace

bool fetchFromWalServer(const fs::path& socket, const std::string& name, const fs::path& destination) {
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = addressOf(socket);
  if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throwSystemError(Code::Unreachable, "connect to", socket.string(), errno);
  sendAll(fd.get(), name + "\n");
  const auto answer = readLine(fd.get(), kPatience);
  if (answer == "absent") return false;
  if (startsWith(answer, "gap ")) throw Error(Code::NoInput, answer.substr(4));
  if (startsWith(answer, "error ")) throw Error(Code::Damaged, answer.substr(6));
  const auto size = startsWith(answer, "found ") ? parseInteger(answer.substr(6)).value_or(-1) : -1;
  if (size <= 0 || size > PATH_MAX) throw Error(Code::Unreachable, "the recovery gave no answer that can be read");
  moveTo(readExactly(fd.get(), static_cast<std::size_t>(size)), destination);
  return true;
}

}  // namespace aragora::backup
