#include <gtest/gtest.h>

#include <future>

#include "common/base/text.h"
#include "common/net/http_client.h"
#include "common/net/request_head.h"
#include "common/net/retry.h"
#include "tests/unit/scripted_server.h"

namespace aragora::net {
namespace {

using std::chrono::milliseconds;
using test::Connection;
using test::ScriptedServer;

struct Got {
  int status = 0;
  std::string body;
  std::optional<Cause> cause;
};

Got get(const HttpClient& client, const std::string& url, const Limits& limits = {}, const std::string& method = "GET",
        const std::string& body = "") {
  Got got;
  Request request{.method = method, .url = Url::parse(url).value(), .limits = limits};
  if (!body.empty()) request.content = Content::of(body);
  try {
    got.status = client.exchange(request, {.body = [&](std::string_view bytes) { got.body += bytes; }}).status;
  } catch (const Failure& failure) {
    got.cause = failure.cause();
  }
  return got;
}

Limits within(milliseconds span) { return {.deadline = deadlineIn(span)}; }

TEST(Url, IsTakenApart) {
  const auto url = Url::parse("HTTPS://user:p%40ss@Example.ORG:8443/a%20b/c?x=1&y=%26#part").value();
  EXPECT_EQ(url.scheme, "https");
  EXPECT_EQ(url.user_info, "user:p%40ss");
  EXPECT_EQ(url.host, "example.org");
  EXPECT_EQ(url.authority(), "example.org:8443");
  EXPECT_EQ(url.target(), "/a%20b/c?x=1&y=%26");
  EXPECT_EQ(url.parameters().value().at(1).second, "&");
  EXPECT_EQ(Url::parse("http://[::1]/").value().authority(), "[::1]");
  EXPECT_EQ(Url::parse("http://[::1]:81").value().authority(), "[::1]:81");
  EXPECT_EQ(Url::parse("https://h").value().target(), "/");
  EXPECT_EQ(Url::parse("https://h:443/").value().authority(), "h");
  EXPECT_EQ(Url::parse("redis://h").value().port, 0);
  for (const auto* bad :
       {"", "h", "://h", "http//h", "http://h:0", "http://h:65536", "http://h:x", "http://[::1", "http://[h]",
        "http://a b", "http://h/\x01", "http://h\xc3\xa9/", "1http://h", "http://a:b:c"})
    EXPECT_FALSE(Url::parse(bad)) << bad;
  EXPECT_EQ(percentEncoded("a b/&ü~"), "a%20b%2F%26%C3%BC~");
  EXPECT_EQ(percentDecoded("a%20b%2f"), "a b/");
  for (const auto* bad : {"%", "%2", "%zz", "a%2"}) EXPECT_FALSE(percentDecoded(bad)) << bad;
}

TEST(RequestHead, StaysWithinItsLines) {
  auto url = Url::parse("http://h/a?b=c").value();
  EXPECT_EQ(requestHead("GET", url, {{"X", "a b"}, {"Host", "other"}}).find("GET /a?b=c HTTP/1.1\r\nHost: h\r\n"), 0U);
  EXPECT_EQ(requestHead("GET", url, {{"Host", "other"}}).find("other"), std::string::npos);
  for (const auto* value : {"a\r\nX: 1", "a\n", "\x1b[2J", "a\x7f", "a\r"})
    EXPECT_THROW(requestHead("GET", url, {{"X", value}}), Error) << value;
  EXPECT_THROW(requestHead("GET", url, {{"X", std::string("a\0b", 3)}}), Error);
  for (const auto* name : {"", "X:", "X Y", "X\r\n"})
    EXPECT_THROW(requestHead("GET", url, {{name, "a"}}), Error) << name;
  EXPECT_THROW(requestHead("GET /", url, {}), Error);
  for (const auto* path : {"/a b", "/a\r\nX: 1", "/a\x1b", "/a\t", "/a\x7f", "/\xc3\xa9"}) {
    url.path = path;
    EXPECT_THROW(requestHead("GET", url, {}), Error) << path;
  }
  url.path = "/";
  url.query = "x y";
  EXPECT_THROW(requestHead("GET", url, {}), Error);
}

TEST(HttpClient, AsksNothingThatIsNoTarget) {
  ScriptedServer server([](Connection& connection) { connection.hold(); });
  Request request{.url = Url::parse(server.url()).value(), .limits = within(milliseconds(2000))};
  request.url.path = "/x HTTP/1.1\r\nX-Smuggled: 1\r\nX:";
  try {
    HttpClient().exchange(request, {});
    FAIL() << "it was asked";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::Validation) << error.what();
  }
}

TEST(HttpAnswer, EndsWhereItSays) {
  const std::pair<std::string, std::string> cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"},
      {"HTTP/1.1 200\r\ncontent-length:5\r\nContent-Length: 5\r\n\r\nhello", "hello"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n", "hello"},
      {"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", ""},
      {"HTTP/1.1 200 OK\nContent-Length: 0\n\n", ""}};
  for (const auto& [text, expected] : cases) {
    for (std::size_t piece = 1; piece <= text.size(); ++piece) {
      std::string bytes;
      std::string content;
      std::optional<Head> head;
      std::optional<Body> body;
      for (std::size_t at = 0; at < text.size(); at += piece) {
        bytes += text.substr(at, piece);
        std::size_t used = 0;
        if (!head && (head = parseHead(bytes, used))) {
          body.emplace(*head, false);
          bytes.erase(0, used);
        }
        if (body) bytes.erase(0, body->take(bytes, [&](std::string_view part) { content += part; }));
        const bool last = at + piece >= text.size();
        ASSERT_EQ(body && body->complete(), last || (body && expected.empty())) << text << piece << "/" << at;
      }
      EXPECT_EQ(content, expected);
      EXPECT_TRUE(bytes.empty());
    }
  }
}

TEST(HttpAnswer, ThatIsNoneIsRefused) {
  for (const std::string text :
       {"SSH-2.0-OpenSSH\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 2000 x\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "HTTP/1.1 200 OK\r\n: x\r\n\r\n", "HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n"}) {
    const ScriptedServer server([&](Connection& connection) {
      connection.request();
      connection.say(text);
    });
    EXPECT_EQ(get(HttpClient(), server.url()).cause, Cause::Malformed) << text;
  }
  const ScriptedServer endless([](Connection& connection) {
    connection.request();
    connection.say("HTTP/1.1 200 OK\r\n");
    while (connection.say("X: " + std::string(1000, 'x') + "\r\n")) continue;
  });
  EXPECT_EQ(get(HttpClient(), endless.url()).cause, Cause::Malformed);
}

TEST(HttpClient, ReadsEveryFormOfABody) {
  const ScriptedServer server([](Connection& connection) {
    for (std::string request; !(request = connection.request()).empty();) {
      if (startsWith(request, "HEAD")) {
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
      } else if (startsWith(request, "GET /chunked ")) {
        connection.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
      } else if (startsWith(request, "GET /close ")) {
        connection.say("HTTP/1.1 200 OK\r\n\r\nhello");
        return;
      } else if (startsWith(request, "GET /continue ")) {
        connection.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n");
        connection.answer("hello");
      } else {
        connection.answer(request.substr(request.find("\r\n\r\n") + 4));
      }
    }
  });
  const HttpClient client;
  EXPECT_EQ(get(client, server.url("/chunked")).body, "hello");
  EXPECT_EQ(get(client, server.url("/continue")).body, "hello");
  EXPECT_EQ(get(client, server.url(), {}, "HEAD").status, 200);
  const std::string large(300'000, 'x');
  EXPECT_EQ(get(client, server.url(), {}, "POST", large).body, large);
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(get(client, server.url("/close")).body, "hello");
}

// The kernel of such a server keeps the body until the head is acknowledged: 40 ms each without our asking for it.
TEST(HttpClient, DoesNotWaitForItsOwnAcknowledgements) {
  const ScriptedServer server([](Connection& connection) {
    while (!connection.request().empty()) {
      connection.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
      connection.say("hello");
    }
  });
  const HttpClient client;
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 150; ++i) EXPECT_EQ(get(client, server.url()).body, "hello");
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(3));
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, HandsABodyOverAsItArrives) {
  std::promise<void> seen;
  const ScriptedServer server([&](Connection& connection) {
    connection.request();
    connection.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
    seen.get_future().wait();  // would wait for ever for who wants both
    connection.say("b");
    connection.hold();
  });
  std::string body;
  HttpClient().exchange({.url = Url::parse(server.url()).value(), .limits = within(std::chrono::seconds(10))},
                        {.body = [&](std::string_view bytes) {
                          if (body.empty()) seen.set_value();
                          body += bytes;
                        }});
  EXPECT_EQ(body, "ab");
}

TEST(HttpClient, KeepsConnectionsAndBoundsThem) {
  std::atomic<int> waiting{0};
  const ScriptedServer server([&](Connection& connection) {
    while (!connection.request().empty()) {
      ++waiting;
      while (waiting < 4 && connection.wait(milliseconds(1))) continue;  // all four at once
      connection.answer("x");
    }
  });
  const HttpClient client({.most_kept_per_host = 2});
  const auto four = [&] {
    waiting = 0;
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&] { EXPECT_EQ(get(client, server.url()).status, 200); });
  };
  four();
  EXPECT_EQ(server.connections(), 4);
  four();
  EXPECT_EQ(server.connections(), 6) << "two were kept";
}

// A kept one may turn out to be closed, and what was sent over it would be sent once more.
TEST(HttpClient, SendsWhatMustGoOnceOverNoKeptConnection) {
  const ScriptedServer server([&](Connection& connection) {
    while (!connection.request().empty()) connection.answer("x");
  });
  const HttpClient client;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(get(client, server.url()).status, 200);
  EXPECT_EQ(server.connections(), 1);
  const Request once{.method = "POST", .url = Url::parse(server.url()).value(), .once = true};
  for (int i = 0; i < 2; ++i) EXPECT_EQ(client.exchange(once, {}).status, 200);
  EXPECT_EQ(server.connections(), 3);
}

TEST(HttpClient, KeepsNoneThatSaysItCloses) {
  const ScriptedServer server([](Connection& connection) {
    while (!connection.request().empty())
      connection.answer("x", connection.number() == 1 ? "Connection: Close\r\n" : "");
  });
  const HttpClient client;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(get(client, server.url()).status, 200);
  EXPECT_EQ(server.connections(), 2);
}

TEST(HttpClient, ReplacesAConnectionThatWasClosedMeanwhileOnce) {
  // Reads the second request on a connection and hangs up: nobody could see it coming.
  const ScriptedServer server([](Connection& connection) {
    connection.request();
    connection.answer("x");
    connection.request();
  });
  const HttpClient client;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(get(client, server.url(), {}, "POST", "body").body, "x");
  EXPECT_EQ(server.connections(), 5);

  const ScriptedServer never([](Connection& connection) { connection.request(); });
  EXPECT_EQ(get(HttpClient(), never.url()).cause, Cause::Broken) << "a fresh one is not replaced";
  EXPECT_EQ(never.connections(), 1);

  // An answer that began is not asked for again.
  const ScriptedServer begun([](Connection& connection) {
    connection.request();
    connection.answer("x");
    connection.request();
    connection.say("HTTP/1.1 200 OK\r\nContent-Le");
  });
  const HttpClient other;
  EXPECT_EQ(get(other, begun.url()).body, "x");
  EXPECT_EQ(get(other, begun.url()).cause, Cause::Broken);
  EXPECT_EQ(begun.connections(), 1);
}

TEST(HttpClient, CallsABodyThatWasCutBroken) {
  for (const std::string text : {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "HTTP/1.1 200 OK\r\nContent-Le",
                                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", ""}) {
    const ScriptedServer server([&](Connection& connection) {
      connection.request();
      connection.say(text);
    });
    EXPECT_EQ(get(HttpClient(), server.url()).cause, Cause::Broken) << text;
  }
}

TEST(HttpClient, CutsWhatDripsAtTheDeadline) {
  for (const std::string begin :
       {"", "HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;"}) {
    const ScriptedServer server([&](Connection& connection) {
      connection.request();
      connection.say(begin.empty() ? "HTTP/1.1 200 " : begin);
      connection.drip("x", milliseconds(20));
    });
    const auto started = std::chrono::steady_clock::now();
    EXPECT_EQ(get(HttpClient(), server.url(), within(milliseconds(300))).cause, Cause::TooLate) << begin;
    EXPECT_GE(secondsSince(started), 0.29);
    EXPECT_LT(secondsSince(started), 2);
  }
}

TEST(HttpClient, HasPatienceForEachStep) {
  const ScriptedServer server([](Connection& connection) {
    connection.request();
    connection.hold();
  });
  EXPECT_EQ(get(HttpClient(), server.url(), {.patience = milliseconds(50)}).cause, Cause::TooLate);
}

TEST(HttpClient, SaysThatNobodyListens) {
  std::uint16_t port = 0;
  {
    port = ScriptedServer([](Connection&) {}).port();
  }
  EXPECT_EQ(get(HttpClient(), fmt::format("http://127.0.0.1:{}/", port)).cause, Cause::NotReached);
  EXPECT_EQ(get(HttpClient(), "http://a.name.invalid/", within(std::chrono::seconds(20))).status, 0);
}

// The shortest of a few, since a machine under load may be late for reasons of its own.
template <typename Call>
double shortestStop(const Call& call) {
  double shortest = 1e9;
  for (int i = 0; i < 5 && shortest > 0.1; ++i) {
    std::stop_source source;
    std::chrono::steady_clock::time_point stopped;
    std::jthread stopping([&] {
      std::this_thread::sleep_for(milliseconds(60));
      stopped = std::chrono::steady_clock::now();
      source.request_stop();
    });
    try {
      call(source.get_token());
      ADD_FAILURE() << "was not stopped";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::Interrupted) << error.what();
    }
    stopping.join();
    shortest = std::min(shortest, secondsSince(stopped));
  }
  return shortest;
}

TEST(HttpClient, EndsAtOnceWhenItIsStopped) {
  const HttpClient client;
  const auto stops = [&](const std::string& url) {
    return shortestStop([&](const std::stop_token& stop) { get(client, url, {.stop = stop}); });
  };
  const ScriptedServer silent([](Connection& connection) {
    connection.request();
    connection.hold();
  });
  EXPECT_LT(stops(silent.url()), 0.1) << "waiting for the head";
  const ScriptedServer dripping([](Connection& connection) {
    connection.request();
    connection.say("HTTP/1.1 200 OK\r\n\r\n");
    connection.drip("x", milliseconds(10));
  });
  EXPECT_LT(stops(dripping.url()), 0.1) << "within the body";
  EXPECT_LT(shortestStop([](const std::stop_token& stop) { pause(std::chrono::seconds(30), stop); }), 0.1);
  std::stop_source before;
  before.request_stop();
  EXPECT_THROW(get(client, silent.url(), {.stop = before.get_token()}), Error);
}

TEST(HttpClient, EndsAtOnceWhenItIsStoppedWhileItConnects) {
  // A listener whose queue is full drops what asks to connect.
  const Fd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(listening.get(), generic, length), 0);
  ASSERT_EQ(::listen(listening.get(), 0), 0);
  ASSERT_EQ(::getsockname(listening.get(), generic, &length), 0);
  std::vector<Fd> filling;
  for (bool full = false; !full && filling.size() < 16;) {
    filling.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ::connect(filling.back().get(), generic, length);
    pollfd entry{filling.back().get(), POLLOUT, 0};
    full = ::poll(&entry, 1, 100) == 0;
  }
  const auto url = fmt::format("http://127.0.0.1:{}/", ntohs(address.sin_port));
  const HttpClient client;
  EXPECT_LT(shortestStop([&](const std::stop_token& stop) { get(client, url, {.stop = stop}); }), 0.1);
  EXPECT_EQ(get(client, url, within(milliseconds(100))).cause, Cause::TooLate);
}

TEST(HttpClient, LetsThroughWhatTheTakerThrows) {
  const ScriptedServer server([](Connection& connection) {
    while (!connection.request().empty()) connection.answer("x");
  });
  const HttpClient client;
  EXPECT_THROW(client.exchange({.url = Url::parse(server.url()).value()},
                               {.body = [](std::string_view) { throw Error(Code::Io, "disk full"); }}),
               Error);
  EXPECT_EQ(get(client, server.url()).body, "x");
  EXPECT_THROW(client.exchange({.url = Url::parse(server.url()).value(), .headers = {{"A", "b\r\nC: d"}}}, {}), Error);
}

TEST(Tls, ContextsAreMadeOnceForEachSetOfOptions) {
  EXPECT_EQ(tlsContext(), tlsContext());
  EXPECT_THROW(tlsContext({.authorities = "/nowhere.pem"}), Error);
}

TEST(Retry, TriesAsOftenAsItSaysAndWithinItsDeadline) {
  Retry retry({.tries = 3, .first_pause = milliseconds(1)}, Deadline::max(), {});
  EXPECT_TRUE(retry.again());
  EXPECT_TRUE(retry.again());
  EXPECT_FALSE(retry.again());
  Retry forward({.tries = 2, .first_pause = milliseconds(1)}, Deadline::max(), {});
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(forward.again());
    forward.progress();
  }
  EXPECT_FALSE(Retry({}, deadlineIn(milliseconds(50)), {}).again(milliseconds(100))) << "beyond the deadline";
  EXPECT_FALSE(Retry({.longest_asked = milliseconds(10)}, Deadline::max(), {}).again(milliseconds(11)));
  const auto started = std::chrono::steady_clock::now();
  EXPECT_TRUE(Retry({}, Deadline::max(), {}).again(milliseconds(60)));
  // As the vendors' own SDKs wait: min(0.5 * 2^n, 8) seconds, less up to a quarter.
  const std::pair<int, int> bounds[] = {{375, 500},   {750, 1000},  {1500, 2000},
                                        {3000, 4000}, {6000, 8000}, {6000, 8000}};
  for (int failures = 1; failures <= 6; ++failures) {
    for (int i = 0; i < 200; ++i) {
      const auto pause = backOff({}, failures).count();
      EXPECT_GE(pause, bounds[failures - 1].first);
      EXPECT_LE(pause, bounds[failures - 1].second);
    }
  }
  EXPECT_GE(secondsSince(started), 0.06);
}

TEST(Retry, UnderstandsHowLongToWait) {
  const auto now = *fromIso("2026-11-27T10:00:00Z");
  EXPECT_EQ(askedPause("2", "", now), milliseconds(2000));
  EXPECT_EQ(askedPause("2", "150", now), milliseconds(150));
  EXPECT_EQ(askedPause("Fri, 27 Nov 2026 10:00:05 GMT", "", now), milliseconds(5000));
  EXPECT_EQ(askedPause("Fri, 27 Nov 2026 09:00:05 GMT", "", now), milliseconds(0));
  for (const auto* nothing : {"", "soon", "-1", "1.5", "Fri, 27 Nov 2026 10:00:05 GMT x"})
    EXPECT_FALSE(askedPause(nothing, "", now)) << nothing;
  EXPECT_GT(askedPause("999999999999999999", "", now).value(), milliseconds(1'000'000));
  for (const int status : {408, 429, 500, 502, 503, 504, 529}) EXPECT_TRUE(statusWorthAnotherTry(status));
  for (const int status : {200, 301, 400, 401, 402, 403, 404, 409, 413, 422})
    EXPECT_FALSE(statusWorthAnotherTry(status));
}

}  // namespace
}  // namespace aragora::net
