// The daemon's real parts in one process, so that the sanitizers see its threads: listener with TLS and without, guard,
// hub, engine, store and a provider that answers as scripted, started and stopped while clients come and go.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

#include "common/base/log.h"
#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/net/failure.h"
#include "common/net/stream.h"
#include "common/store/debates.h"
#include "daemon/assembly.h"
#include "tests/daemon/scripted_provider.h"

namespace aragora {
namespace {

int rounds() {
  const char* given = std::getenv("DAEMON_ROUNDS");
  return given != nullptr ? std::atoi(given) : 1000;
}

config::Loaded configurationFor(const std::filesystem::path& state, const std::string& provider) {
  config::Loaded loaded;
  const std::map<std::string, std::string> values = {{"server.port", "0"},
                                                     {"server.state_directory", state.string()},
                                                     {"server.workers", "4"},
                                                     {"server.drain_seconds", "2"},
                                                     {"server.rate_limit", "0"},
                                                     {"encryption.key", std::string(64, 'a')},
                                                     {"auth.jwt_secret", "0123456789abcdef0123456789abcdef"},
                                                     {"providers.openai_base_url", provider},
                                                     {"debates.default_agents", "openai:a,openai:b,openai:c"},
                                                     {"debates.max_concurrent", "8"}};
  for (const auto& [key, value] : values) loaded.config.add(key, {Secret(value), {config::Source::Flag, "test"}});
  return loaded;
}

// A certificate for localhost that is its own authority.
struct Certificate {
  explicit Certificate(const std::filesystem::path& directory)
      : file((directory / "cert.pem").string()), key((directory / "key.pem").string()) {
    const auto command = fmt::format(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext "
        "subjectAltName=DNS:localhost -keyout '{}' -out '{}' 2>/dev/null",
        key, file);
    if (std::system(command.c_str()) != 0) throw std::runtime_error("openssl makes no certificate");
  }
  std::string file;
  std::string key;
};

config::Loaded withTls(config::Loaded loaded, const Certificate& certificate) {
  for (const auto& [key, value] :
       {std::pair("server.tls.certificate", certificate.file), {"server.tls.key", certificate.key}})
    loaded.config.add(key, {Secret(value), {config::Source::Flag, "test"}});
  return loaded;
}

// A client as rude as they come: says something, listens for a moment, and leaves.
class Client {
 public:
  explicit Client(std::uint16_t port) : descriptor_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    timeval limit{0, 200'000};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { ::close(descriptor_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(const std::string& text) const {
    if (connected_) (void)!::send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL);
  }
  std::string receive() const {
    char buffer[16384];
    const auto got = connected_ ? ::recv(descriptor_, buffer, sizeof buffer, 0) : 0;
    return got > 0 ? std::string(buffer, static_cast<std::size_t>(got)) : std::string();
  }

 private:
  int descriptor_;
  bool connected_ = false;
};

std::string post(const std::string& path, const std::string& body) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: "
      "close\r\n\r\n{}",
      path, body.size(), body);
}

std::string upgradeTo(const std::string& query) {
  return fmt::format(
      "GET /ws{} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
      "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
      query);
}

std::string createDebate(std::uint16_t port) {
  const Client client(port);
  client.send(post("/api/debates", R"({"task": "t", "rounds": 1})"));
  const auto answer = client.receive();
  const auto at = answer.find("\"debate_id\":\"");
  return at == std::string::npos ? std::string() : answer.substr(at + 13, 26);
}

std::string eventsOf(std::uint16_t port, const std::string& id) {
  const Client client(port);
  client.send(fmt::format("GET /api/debates/{}/events?limit=500 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", id));
  std::string body;
  for (auto part = client.receive(); !part.empty(); part = client.receive()) body += part;
  return body;
}

bool hasEnded(std::uint16_t port, const std::string& id) {
  return eventsOf(port, id).find("debate_end") != std::string::npos;
}

void behaveAtRandom(std::uint16_t port, unsigned seed) {
  std::mt19937 random(seed);
  const auto id = createDebate(port);
  switch (random() % 5) {
    case 0: {
      const Client watcher(port);
      watcher.send(upgradeTo("?debate_id=" + id));
      watcher.receive();
      watcher.receive();
      break;
    }
    case 1: {
      const Client silent(port);  // leaves without having listened
      silent.send(post("/api/debates", R"({"task": "t", "rounds": 0})"));
      break;
    }
    case 2: {
      const Client half(port);  // leaves in the middle of a head, of a body, of an upgrade
      half.send(post("/api/debates", R"({"task": "t"})").substr(0, random() % 120));
      break;
    }
    case 3: {
      const Client pipelined(port);
      pipelined.send("GET /api/debates HTTP/1.1\r\nHost: x\r\n\r\nGET /api/health HTTP/1.1\r\nHost: x\r\n\r\n");
      pipelined.receive();
      break;
    }
    default: {
      const Client canceller(port);
      canceller.send(post(fmt::format("/api/debates/{}/cancel", id), ""));
      canceller.receive();
    }
  }
}

// Says something over TLS, listens or does not, and leaves: in order, in the middle, without a goodbye.
// Whether it came to that.
bool behaveOverTls(std::uint16_t port, unsigned seed, const std::string& authority) {
  std::mt19937 random(seed);
  const net::Limits limits{deadlineIn(std::chrono::milliseconds(500)), std::chrono::milliseconds(200)};
  try {
    net::Stream stream({"localhost", port, net::tlsContext({authority})}, limits);
    char buffer[16384];
    switch (random() % 5) {
      case 0:
        stream.write(upgradeTo(""), limits);
        stream.read(buffer, sizeof buffer, limits);
        break;
      case 1:  // leaves without having listened
        stream.write(post("/api/debates", R"({"task": "t", "rounds": 0})"), limits);
        break;
      case 2:
        stream.write(post("/api/debates", R"({"task": "t"})").substr(0, random() % 120), limits);
        break;
      case 3: {  // more than one record each way
        const std::string padding(20'000, ' ');
        stream.write(post("/api/debates", R"({"task": "t", "rounds": 0)" + padding + "}"), limits);
        while (stream.read(buffer, sizeof buffer, limits) > 0) {
        }
        break;
      }
      default:
        stream.write("GET /api/debates HTTP/1.1\r\nHost: x\r\n\r\nGET /api/health HTTP/1.1\r\nHost: x\r\n\r\n", limits);
        stream.read(buffer, sizeof buffer, limits);
    }
    return true;
  } catch (const net::Failure&) {  // it is being stopped
    return false;
  }
}

class DaemonTest : public testing::Test {
 protected:
  DaemonTest() { log::configure(log::Level::Error, false); }
  TemporaryDirectory directory_;
};

TEST_F(DaemonTest, StartsAndStopsAThousandTimesWhileClientsComeAndGo) {
  ScriptedProvider provider([](const std::string& body) {
    return std::chrono::milliseconds(std::hash<std::string>{}(body) % 16 == 0 ? 5000
                                                                              : 2);  // now and then nobody answers
  });
  const Certificate certificate(directory_.path());
  const auto plainly = configurationFor(directory_.path() / "plain", provider.url());
  const auto secretly = withTls(configurationFor(directory_.path() / "tls", provider.url()), certificate);
  std::atomic<std::uint16_t> port{0};
  std::atomic<bool> secure{false};
  std::atomic<int> conversations{0};  // over TLS
  std::atomic<unsigned> seed{1};
  std::vector<std::jthread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        const auto open = port.load();
        if (open != 0 && secure && seed % 4 != 0)
          conversations += behaveOverTls(open, seed++, certificate.file) ? 1 : 0;
        else if (open != 0)  // to a port that speaks TLS, too
          behaveAtRandom(open, seed++);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  }
  std::chrono::steady_clock::duration longest{};
  for (int round = 0; round < rounds(); ++round) {
    const bool over_tls = round % 2 == 1;
    daemon::Assembly assembly(over_tls ? secretly : plainly);
    assembly.start();
    secure = over_tls;
    port = assembly.port();
    std::this_thread::sleep_for(std::chrono::milliseconds(round % 40));
    // On a slow machine none has come as far as a provider in so short a life; the last one has the time for it.
    for (int i = 0; round == rounds() - 1 && provider.calls() == 0 && i < 2000; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const auto began = std::chrono::steady_clock::now();
    assembly.stop();
    longest = std::max(longest, std::chrono::steady_clock::now() - began);
    port = 0;
  }
  EXPECT_LT(std::chrono::duration<double>(longest).count(), 4.0) << "drain_seconds is 2";
  EXPECT_GT(provider.calls(), 0U);
  EXPECT_GT(conversations, rounds() / 10);
}

// Stopped while the seats are asked in each phase; the next start goes on where this one stopped.
TEST_F(DaemonTest, ADebateThatIsStoppedInAnyPhaseIsGoneOnWithAtOnce) {
  const std::pair<const char*, const char*> phases[] = {{"propose", "Answer the task"},
                                                        {"critique", "Criticise each"},
                                                        {"revise", "These critiques"},
                                                        {"vote", "Choose the best"},
                                                        {"synthesize", "`winning_proposal` was chosen"}};
  for (const auto& [phase, words] : phases) {
    SCOPED_TRACE(phase);
    std::atomic<bool> hanging{true};
    std::atomic<int> hung{0};
    ScriptedProvider provider([&, marker = std::string(words)](const std::string& body) {
      if (!hanging || body.find(marker) == std::string::npos) return std::chrono::milliseconds(0);
      ++hung;
      return std::chrono::milliseconds(20'000);
    });
    std::string id;
    {
      daemon::Assembly assembly(configurationFor(directory_.path(), provider.url()));
      assembly.start();
      // A vote that ends in a tie, as one in four does, has nothing to synthesize: then another one is held.
      for (int debates = 0; hung == 0 && debates < 20; ++debates) {
        id = createDebate(assembly.port());
        ASSERT_FALSE(id.empty());
        for (int i = 0; hung == 0 && i < 100 && !hasEnded(assembly.port(), id); ++i)
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      ASSERT_GT(hung, 0);
      const auto began = std::chrono::steady_clock::now();
      assembly.stop();
      EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(), 3.0);
    }
    hanging = false;
    daemon::Assembly assembly(configurationFor(directory_.path(), provider.url()));
    assembly.start();
    std::string body;
    for (int i = 0; i < 500 && body.find("debate_end") == std::string::npos; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      body = eventsOf(assembly.port(), id);
    }
    EXPECT_NE(body.find("debate_end"), std::string::npos);
    EXPECT_NE(body.find("\"completed\""), std::string::npos) << body;
    assembly.stop();
  }
}

}  // namespace
}  // namespace aragora
