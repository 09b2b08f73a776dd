// The edge with a site of the test's own behind it: what throws, what is dropped at the end, what clients may name.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/text.h"
#include "common/metrics/metrics.h"
#include "daemon/edge/listener.h"
#include "daemon/web/redirect.h"

namespace aragora {
namespace {

// Answers everything, or has lost its mind.
struct Site : edge::Site {
  struct Exchange : edge::Exchange {
    std::optional<edge::Response> admit() override { return edge::Response{}; }
    std::size_t bodyLimit() const override { return 0; }
    void setBody(std::string) override {}
    std::optional<edge::Response> answerNow() override { return edge::Response{}; }
    edge::Response answer() override { return {}; }
    edge::Response refuse(const edge::Refusal& refusal) override {
      edge::Response response;
      response.status = refusal.status;
      return response;
    }
    void finish(edge::Response&, std::chrono::steady_clock::duration) override {}
  };
  std::unique_ptr<edge::Exchange> open(edge::Request) override {
    ++opened;
    if (throws) throw std::runtime_error("the site throws");
    return std::make_unique<Exchange>();
  }
  std::atomic<bool> throws{false};
  std::atomic<int> opened{0};
};

class Client {
 public:
  explicit Client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval limit{5, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  // The first bytes of the answer; empty when the other end closed; "silence" when it says nothing.
  std::string ask() {
    constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    (void)!::send(socket_, kRequest.data(), kRequest.size(), MSG_NOSIGNAL);
    std::string said(15, '\0');
    const auto got = ::recv(socket_, said.data(), said.size(), 0);
    if (got < 0 && errno == EAGAIN) return "silence";
    said.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return said;
  }

 private:
  int socket_;
};

struct Edge {
  explicit Edge(edge::ListenerOptions options) {
    options.entrances[0].address = *net::ListenAddress::parse("127.0.0.1:0");
    listener = std::make_unique<edge::Listener>(options, io, site, workers);
    log::configure(log::Level::Off, false);
    io.start();
    listener->start();
  }
  ~Edge() {
    listener->closeAll();
    io.stop(deadlineIn(std::chrono::seconds(5)));
    log::configure(log::Level::Error, false);
  }
  Site site;
  edge::WorkerPool workers{1, 16};
  edge::IoThreads io{1};  // one door: whoever comes next comes through it
  std::unique_ptr<edge::Listener> listener;
};

constexpr std::string_view kWell = "HTTP/1.1 200 OK";

TEST(Door, StaysOpenWhateverIsThrownAtIt) {
  edge::ListenerOptions options;
  options.most_of_one_address = 1;
  Edge edge(options);
  {
    Client first(edge.listener->port());
    ASSERT_EQ(first.ask(), kWell);
    edge.site.throws = true;
    for (int i = 0; i < 3; ++i) {  // turned away, and the site cannot say why
      Client another(edge.listener->port());
      EXPECT_EQ(another.ask(), "");
    }
    EXPECT_GE(edge.site.opened, 4);
    edge.site.throws = false;
  }
  const auto deadline = deadlineIn(std::chrono::seconds(10));
  while (edge.listener->connections() > 0 && remaining(deadline).count() > 0) std::this_thread::yield();
  EXPECT_EQ(Client(edge.listener->port()).ask(), kWell);
}

TEST(WorkerPool, WhatIsNotServedAtTheEndIsToldSo) {
  edge::WorkerPool pool(1, 100, std::chrono::hours(1));
  std::atomic<bool> at_work{false};
  ASSERT_TRUE(pool.post([&](edge::Turn) {
    at_work = true;
    while (!interrupt::due()) std::this_thread::yield();  // as one that waits for a database
  }));
  while (!at_work) std::this_thread::yield();
  std::atomic<int> late{0};
  const auto held = std::make_shared<int>();  // as a connection: given back by the task, never dropped with it
  for (int i = 0; i < 50; ++i)
    ASSERT_TRUE(pool.post([&late, held](edge::Turn turn) { late += turn == edge::Turn::TooLate ? 1 : 0; }));
  pool.stop(std::chrono::milliseconds(10));
  EXPECT_EQ(late, 50);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Metrics, AFamilyHasABoundAndSaysWhatItDropped) {
  metrics::Registry registry;
  const auto most = metrics::Registry::kMostSeries;
  for (std::size_t i = 0; i < most + 500; ++i) {
    const auto text = fmt::format("{}{}", std::string(1000, 'x'), i);
    registry.count("test_counters", {{"said", text}});
    registry.gauge("test_gauges", 1, {{"said", text}});
    registry.observe("test_seconds", 1, {{"said", text}});
    registry.request("/route", text, 200, 0.001);
  }
  for (int i = 0; i < 5; ++i) registry.count("test_others");
  registry.request("/route", "GET", 200, 0.001);  // too late for that family
  const auto text = registry.expose();
  const auto lines = [&](const std::string& beginning) {
    std::size_t count = 0;
    for (const auto& line : split(text, '\n')) count += startsWith(line, beginning) ? 1 : 0;
    return count;
  };
  for (const auto* family : {"test_counters{", "test_gauges{", "test_seconds_count{", "aragora_http_requests_total{"})
    EXPECT_EQ(lines(family), most) << family;
  EXPECT_NE(text.find("test_others 5"), std::string::npos);
  for (const auto* family : {"test_counters", "test_gauges", "test_seconds"})
    EXPECT_NE(text.find(fmt::format("aragora_metrics_dropped_total{{family=\"{}\"}} 500\n", family)), std::string::npos)
        << family;
  EXPECT_NE(text.find("aragora_metrics_dropped_total{family=\"aragora_http_requests_total\"} 501\n"),
            std::string::npos);
  registry.forgetGauges("test_");
  registry.gauge("test_gauges", 7, {{"said", "again"}});
  EXPECT_NE(registry.expose().find("test_gauges{said=\"again\"} 7"), std::string::npos) << "there is room again";
}

TEST(Redirect, SendsToTheHostsOfNow) {
  web::Redirect redirect({.hosts = {"one.example"}});
  const auto status = [&](const std::string& host) {
    edge::Request request;
    request.host = host;
    request.target = "/";
    return redirect.open(std::move(request))->admit()->status;
  };
  EXPECT_EQ(status("one.example"), 308);
  EXPECT_EQ(status("two.example"), 400);
  auto options = redirect.options();
  options.hosts = {"two.example"};
  redirect.reload(std::move(options));
  EXPECT_EQ(status("one.example"), 400);
  EXPECT_EQ(status("two.example:80"), 308);
}

}  // namespace
}  // namespace aragora
