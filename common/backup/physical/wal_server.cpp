#include "common/backup/physical/wal_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/backup/physical/private_cluster.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/scratch.h"
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
  const TemporaryDirectory scratch;
  const auto file = scratch.path() / "wal";
  try {
    if (!ahead_.take(name, file)) return sendAll(connection, "absent\n");
  } catch (const Error& error) {
    const auto* kind = error.code() == Code::NoInput ? "gap" : "error";
    return sendAll(connection, fmt::format("{} {}\n", kind, printable(error.what(), 800)));
  }
  const auto content = readFile(file, 1U << 30);
  sendAll(connection, fmt::format("found {}\n", content.size()));
  sendAll(connection, content);
  ++answered_;
}

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
  auto left = parseInteger(std::string_view(answer).substr(std::min<std::size_t>(6, answer.size()))).value_or(-1);
  if (!startsWith(answer, "found ") || left < 0)
    throw Error(Code::Unreachable, "the recovery gave no answer that can be read");
  const auto temporary = fs::path(destination.string() + ".aragora");
  {
    const Fd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file.valid()) throwSystemError(Code::CannotCreate, "create", temporary.string(), errno);
    std::vector<char> buffer(1U << 20);
    while (left > 0) {
      const ssize_t got =
          ::read(fd.get(), buffer.data(), std::min<std::size_t>(buffer.size(), static_cast<std::size_t>(left)));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) throw Error(Code::Unreachable, fmt::format("the recovery hung up within {}", name));
      writeAll(file.get(), std::string_view(buffer.data(), static_cast<std::size_t>(got)), temporary);
      left -= got;
    }
  }
  fs::rename(temporary, destination);  // after a crash PostgreSQL asks again
  return true;
}

}  // namespace aragora::backup
