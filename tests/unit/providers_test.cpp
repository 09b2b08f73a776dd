#include <gtest/gtest.h>

#include "common/base/text.h"
#include "daemon/providers/remote.h"
#include "tests/unit/scripted_server.h"

namespace aragora::providers {
namespace {

using std::chrono::milliseconds;
using test::Connection;
using test::ScriptedServer;

const std::string kAnthropicText =
    R"({"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"thinking","thinking":"hm"},)"
    R"({"type":"text","text":"Hel"},{"type":"text","text":"lo"}],"stop_reason":"end_turn","usage":{"input_tokens":10,)"
    R"("cache_creation_input_tokens":2,"cache_read_input_tokens":3,"output_tokens":5}})";
const std::string kOpenAiText =
    R"({"model":"gpt-x","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],)"
    R"("usage":{"prompt_tokens":15,"completion_tokens":5,"cost":0.001234}})";

const std::string kAnthropicStream =
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-x\",\"usage\":"
    "{\"input_tokens\":10,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n"
    "event: ping\ndata: {\"type\":\"ping\"}\n\n"
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":"
    "\"\"}}\n\n"
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\","
    "\"thinking\":\"hm\"}}\n\n"
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":"
    "\"H\xc3\xa9l\"}}\r\n\r\n"
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":"
    "\"lo\"}}\n\n"
    "event: of_the_future\ndata: {\"type\":\"of_the_future\"}\n\n"
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":"
    "{\"output_tokens\":5}}\n\n"
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const std::string kOpenAiStream =
    ": OPENROUTER PROCESSING\n\n"
    "data: {\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],"
    "\"usage\":null}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"H\xc3\xa9l\"}}]}\r\n\r\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"lo\"},\"finish_reason\":null}]}\n\n"
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":15,\"completion_tokens\":5}}\n\n"
    "data: [DONE]\n\n";

struct Vendor {
  const char* name;
  std::unique_ptr<Codec> (*codec)(CodecOptions);
  std::string text;
  std::string stream;
};
const Vendor kVendors[] = {{"anthropic", makeAnthropicCodec, kAnthropicText, kAnthropicStream},
                           {"openai", makeOpenAiCodec, kOpenAiText, kOpenAiStream},
                           {"openrouter", makeOpenRouterCodec, kOpenAiText, kOpenAiStream}};

TEST(Sse, IsReadInWhateverPiecesItComes) {
  const std::string text =
      "\xef\xbb\xbf"
      "data: one\n\n:comment\nevent:x\ndata:a\rdata: b\r\rid: 7\nretry: 5\ndata\n\nevent: lost\n\ndata: two\r\n\r\n"
      "data: never ended";
  const std::vector<std::pair<std::string, std::string>> expected = {{"", "one"}, {"x", "a\nb"}, {"", ""}, {"", "two"}};
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    SseParser parser;
    std::vector<std::pair<std::string, std::string>> events;
    for (std::size_t at = 0; at < text.size(); at += piece)
      parser.feed(text.substr(at, piece), [&](const SseEvent& event) { events.emplace_back(event.event, event.data); });
    EXPECT_EQ(events, expected) << piece;
  }
  SseParser endless;
  const std::string block(1 << 20, 'x');
  EXPECT_THROW(
      {
        for (int i = 0; i < 8; ++i) endless.feed(block, [](const SseEvent&) {});
      },
      Error);
}

TEST(Codec, ReadsWholeAnswers) {
  for (const auto& vendor : kVendors) {
    const auto answer = vendor.codec({})->readAnswer(vendor.text);
    EXPECT_EQ(answer.text, "Hello") << vendor.name;
    EXPECT_EQ(answer.tokens_in, 15) << vendor.name;
    EXPECT_EQ(answer.tokens_out, 5) << vendor.name;
    EXPECT_FALSE(answer.truncated);
  }
  EXPECT_EQ(makeOpenRouterCodec({})->readAnswer(kOpenAiText).cost_micros, 1234);
}

TEST(Codec, AsksAsTheVendorWants) {
  const Prompt prompt{"m", "be brief", "hello", true};
  const auto anthropic = makeAnthropicCodec({Secret("key"), 500})->request(prompt);
  EXPECT_EQ(anthropic.path, "/v1/messages");
  const auto body = parseJson(anthropic.body, "body").as_object();
  EXPECT_EQ(jsonIntegerOr(body, "max_tokens", 0), 500);
  EXPECT_EQ(jsonTextOr(body, "system", ""), "be brief");
  EXPECT_TRUE(jsonFlagOr(body, "stream", false));
  EXPECT_FALSE(body.contains("temperature"));
  const auto has = [](const WireRequest& request, const std::string& name, const std::string& value) {
    return std::find(request.headers.begin(), request.headers.end(), std::pair(name, value)) != request.headers.end();
  };
  EXPECT_TRUE(has(anthropic, "x-api-key", "key"));
  EXPECT_TRUE(has(anthropic, "anthropic-version", "2023-06-01"));
  const auto openai = makeOpenAiCodec({Secret("key")})->request(prompt);
  EXPECT_EQ(openai.path, "/chat/completions");
  EXPECT_TRUE(has(openai, "Authorization", "Bearer key"));
  EXPECT_FALSE(has(openai, "X-Title", "Aragora"));
  EXPECT_TRUE(has(makeOpenRouterCodec({Secret("key")})->request(prompt), "X-Title", "Aragora"));
}

// What a stream gives when it is fed in pieces, up to a length.
std::optional<Answer> feed(const Codec& codec, const std::string& text, std::size_t piece, std::string& shown) {
  const auto reader = codec.readStream();
  SseParser parser;
  for (std::size_t at = 0; at < text.size(); at += piece)
    parser.feed(text.substr(at, piece),
                [&](const SseEvent& event) { reader->take(event, [&](std::string_view part) { shown += part; }); });
  try {
    return reader->finish();
  } catch (const CallError& error) {
    EXPECT_TRUE(error.again());
    return std::nullopt;
  }
}

TEST(Codec, ReadsStreamsInWhateverPiecesTheyCome) {
  for (const auto& vendor : kVendors) {
    for (std::size_t piece = 1; piece <= vendor.stream.size(); ++piece) {
      std::string shown;
      const auto answer = feed(*vendor.codec({}), vendor.stream, piece, shown);
      ASSERT_TRUE(answer) << vendor.name << piece;
      EXPECT_EQ(answer->text, "Héllo");
      EXPECT_EQ(shown, "Héllo");
      EXPECT_EQ(answer->tokens_in, 15);
      EXPECT_EQ(answer->tokens_out, 5);
      EXPECT_EQ(answer->model, endsWith(vendor.name, "thropic") ? "claude-x" : "gpt-x");
    }
  }
}

TEST(Codec, KnowsAStreamThatWasCutAtAnyByte) {
  for (const auto& vendor : kVendors) {
    for (std::size_t length = 0; length + 1 < vendor.stream.size(); ++length) {
      std::string shown;
      EXPECT_FALSE(feed(*vendor.codec({}), vendor.stream.substr(0, length), length + 1, shown))
          << vendor.name << length;
    }
  }
}

TEST(Codec, FindsErrorsInsideAnswersOf200) {
  struct Case {
    std::unique_ptr<Codec> (*codec)(CodecOptions);
    const char* text;
    bool again;
  };
  const Case cases[] = {
      {makeAnthropicCodec, R"({"type":"error","error":{"type":"overloaded_error","message":"x"}})", true},
      {makeAnthropicCodec, R"({"type":"error","error":{"type":"invalid_request_error"}})", false},
      {makeAnthropicCodec, R"({"type":"message","content":[],"stop_reason":"refusal"})", false},
      {makeAnthropicCodec, R"({"type":"message","content":[],"stop_reason":"max_tokens"})", false},
      {makeAnthropicCodec, R"({"type":"message","content":[{"type":"text","text":"  "}]})", false},
      {makeOpenRouterCodec, R"({"error":{"code":502,"message":"x"}})", true},
      {makeOpenRouterCodec, R"({"error":{"code":401,"message":"x"}})", false},
      {makeOpenRouterCodec, R"({"error":{"code":200,"metadata":{"error_type":"provider_overloaded"}}})", true},
      {makeOpenRouterCodec, R"({"error":{"metadata":{"error_type":"provider_overloaded"}}})", true},
      {makeOpenRouterCodec, R"({"choices":[{"finish_reason":"error","message":{"content":"half"}}]})", true},
      {makeOpenRouterCodec, R"({"choices":[{"error":{"code":504},"message":{"content":"half"}}]})", true},
      {makeOpenAiCodec, R"({"error":{"type":"server_error","code":null}})", true},
      {makeOpenAiCodec, R"({"error":{"type":"insufficient_quota","code":"insufficient_quota"}})", false},
      {makeOpenAiCodec, R"({"error":"model not loaded"})", false},
      {makeOpenAiCodec, R"({"choices":[{"message":{"content":null,"refusal":"no"}}]})", false},
      {makeOpenAiCodec, R"({"choices":[{"message":{"content":"x"},"finish_reason":"content_filter"}]})", false},
      {makeOpenAiCodec, R"({"choices":[]})", false},
      {makeOpenAiCodec, R"({"choices":[7]})", false},
      {makeOpenAiCodec, "{}", false},
      {makeOpenAiCodec, "[]", true},
      {makeOpenAiCodec, "", true},
      {makeAnthropicCodec, "<html>", true}};
  for (const auto& one : cases) {
    try {
      one.codec({})->readAnswer(one.text);
      ADD_FAILURE() << one.text;
    } catch (const CallError& error) {
      EXPECT_EQ(error.again(), one.again) << one.text;
    }
    // The same in a stream, where every event is looked at.
    const auto reader = one.codec({})->readStream();
    EXPECT_THROW(
        {
          reader->take({"", one.text}, {});
          reader->finish();
        },
        CallError)
        << one.text;
  }
}

TEST(Codec, NeverAsksAgainWhenTheMoneyIsSpent) {
  const auto openai = makeOpenAiCodec({});
  for (const auto* code : {"credit_balance_exhausted", "organization_spend_limit_exceeded",
                           "project_spend_limit_exceeded", "organization_usage_limit_exceeded", "insufficient_quota"})
    EXPECT_FALSE(openai->readRefusal(429, fmt::format(R"({{"error":{{"code":"{}"}}}})", code), true).again()) << code;
  EXPECT_TRUE(openai->readRefusal(429, R"({"error":{"code":"rate_limit_exceeded"}})", false).again());
  EXPECT_FALSE(openai->readRefusal(402, R"({"error":{"code":402}})", false).again());
  EXPECT_TRUE(openai->readRefusal(402, R"({"error":{"code":402}})", true).again());
  EXPECT_TRUE(openai->readRefusal(503, "", false).again());
  EXPECT_FALSE(openai->readRefusal(404, "not json", false).again());
  const auto anthropic = makeAnthropicCodec({});
  for (const auto* code : {"enforced_spend_limit_reached", "contract_spend_limit_reached"})
    EXPECT_FALSE(
        anthropic
            ->readRefusal(
                429, fmt::format(R"({{"error":{{"type":"rate_limit_error","details":{{"error_code":"{}"}}}}}})", code),
                true)
            .again());
  EXPECT_TRUE(anthropic->readRefusal(529, R"({"error":{"type":"overloaded_error"}})", false).again());
  EXPECT_FALSE(anthropic->readRefusal(401, R"({"error":{"type":"authentication_error"}})", false).again());
}

struct Asked {
  explicit Asked(const Vendor& vendor, const ScriptedServer& server)
      : provider(makeRemoteProvider({.name = vendor.name,
                                     .base_url = server.url("/base/"),
                                     .default_model = "model",
                                     .retry = {.first_pause = milliseconds(1)}},
                                    vendor.codec({}), client)) {}
  Answer ask(const OnDelta& on_delta = {}, std::stop_token stop = {}) {
    return provider->ask(Question{.agent = "seat",
                                  .phase = store::Phase::Propose,
                                  .user = "{}",
                                  .deadline = deadlineIn(std::chrono::seconds(20)),
                                  .stop = std::move(stop)},
                         on_delta);
  }
  net::HttpClient client;
  std::unique_ptr<Provider> provider;
};

void answerStream(Connection& connection, const std::string& text) {
  connection.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n" + text);
}

TEST(RemoteProvider, StreamsOrNotAsItIsAsked) {
  for (const auto& vendor : kVendors) {
    const ScriptedServer server([&](Connection& connection) {
      for (std::string request; !(request = connection.request()).empty();) {
        if (request.find("\"stream\":true") != std::string::npos) return answerStream(connection, vendor.stream);
        EXPECT_TRUE(startsWith(request, "POST /base/")) << request;
        connection.answer(vendor.text);
      }
    });
    Asked asked(vendor, server);
    EXPECT_EQ(asked.ask().text, "Hello");
    std::string shown;
    EXPECT_EQ(asked.ask([&](std::string_view part) { shown += part; }).text, "Héllo");
    EXPECT_EQ(shown, "Héllo");
  }
}

TEST(RemoteProvider, TakesAWholeAnswerWhereAStreamWasAskedFor) {
  const ScriptedServer server([](Connection& connection) {
    connection.request();
    connection.answer(kOpenAiText);
  });
  Asked asked(kVendors[1], server);
  std::string shown;
  EXPECT_EQ(asked.ask([&](std::string_view part) { shown += part; }).text, "Hello");
  EXPECT_EQ(shown, "Hello");
}

TEST(RemoteProvider, TriesAgainUntilSomethingWasShown) {
  for (const auto& vendor : kVendors) {
    const auto shown_from = vendor.stream.find("H\xc3");
    // A few of every kind: within the head of the stream, within its first words, behind them.
    for (const std::size_t length : {std::size_t{0}, std::size_t{7}, shown_from, shown_from + 1, shown_from + 60,
                                     vendor.stream.size() - 30, vendor.stream.size() - 1}) {
      const ScriptedServer server([&](Connection& connection) {
        connection.request();
        answerStream(connection, vendor.stream.substr(0, length));
      });
      Asked asked(vendor, server);
      std::string shown;
      try {
        asked.ask([&](std::string_view part) { shown += part; });
        EXPECT_EQ(length, vendor.stream.size() - 1) << vendor.name;  // the last blank line is missing
        ADD_FAILURE() << "complete at " << length;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), Code::Unreachable);
      }
      EXPECT_EQ(server.connections(), shown.empty() ? 3 : 1) << vendor.name << length;
      EXPECT_TRUE(startsWith("Héllo", shown)) << "nothing is shown twice";
    }
  }
}

TEST(RemoteProvider, HonoursWhatItIsToldAboutTryingAgain) {
  struct Case {
    int status;
    const char* headers;
    int tries;
  };
  for (const auto& one :
       {Case{503, "", 3}, Case{401, "", 1}, Case{400, "x-should-retry: true\r\n", 3},
        Case{503, "X-Should-Retry: false\r\n", 1}, Case{429, "Retry-After: 3600\r\n", 1},
        Case{429, "retry-after-ms: 5\r\nRetry-After: 3600\r\n", 3}, Case{529, "Retry-After: 0\r\n", 3}}) {
    std::atomic<int> requests{0};
    const ScriptedServer server([&](Connection& connection) {
      while (!connection.request().empty()) {
        ++requests;
        connection.answer("{}", one.headers, one.status);
      }
    });
    EXPECT_THROW(Asked(kVendors[0], server).ask(), Error);
    EXPECT_EQ(requests, one.tries) << one.status << one.headers;
  }
}

TEST(RemoteProvider, EndsWithin100MillisecondsOfBeingStopped) {
  const ScriptedServer server([](Connection& connection) {
    connection.request();
    answerStream(connection, kAnthropicStream.substr(0, 400));
    connection.hold();
  });
  Asked asked(kVendors[0], server);
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
      asked.ask([](std::string_view) {}, source.get_token());
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::Interrupted);
    }
    stopping.join();
    shortest = std::min(shortest, secondsSince(stopped));
  }
  EXPECT_LT(shortest, 0.1);
}

TEST(RemoteProvider, RefusesAnAnswerWithoutEnd) {
  const ScriptedServer server([](Connection& connection) {
    connection.request();
    connection.say("HTTP/1.1 200 OK\r\n\r\n");
    while (connection.say(std::string(65536, ' '))) continue;
  });
  EXPECT_THROW(Asked(kVendors[1], server).ask(), Error);
}

}  // namespace
}  // namespace aragora::providers
