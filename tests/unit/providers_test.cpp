#include <gtest/gtest.h>

#include "common/base/text.h"
#include "daemon/providers/fallback.h"
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
                           {"openrouter", makeOpenRouterCodec, kOpenAiText, kOpenAiStream},
                           {"gemini", makeGeminiCodec, kOpenAiText, kOpenAiStream},
                           {"local", makeLocalCodec, kOpenAiText, kOpenAiStream}};

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

// Shown to somebody, who keeps nothing.
const OnDelta heard = [](std::string_view) { return true; };

OnDelta showTo(std::string& shown) {
  return [&shown](std::string_view part) {
    shown += part;
    return true;
  };
}

TEST(Codec, ReadsWholeAnswers) {
  for (const auto& vendor : kVendors) {
    const auto answer = vendor.codec({})->readAnswer(vendor.text);
    EXPECT_EQ(answer.text, "Hello") << vendor.name;
    EXPECT_EQ(answer.usage.totalInput(), 15) << vendor.name;
    EXPECT_EQ(answer.usage.output, 5) << vendor.name;
    EXPECT_FALSE(answer.truncated);
  }
  EXPECT_EQ(makeOpenRouterCodec({})->readAnswer(kOpenAiText).cost_picos, 1'234'000'000);
}

// What a stream gives when it is fed in pieces, up to a length.
std::optional<Answer> feed(const Codec& codec, const std::string& text, std::size_t piece, std::string& shown) {
  const auto reader = codec.readStream();
  SseParser parser;
  for (std::size_t at = 0; at < text.size(); at += piece)
    parser.feed(text.substr(at, piece), [&](const SseEvent& event) { reader->take(event, showTo(shown)); });
  try {
    return reader->finish();
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.kind(), FailureKind::Cut);
    return std::nullopt;
  }
}

bool has(const WireRequest& request, const std::string& name, const std::string& value) {
  return std::count(request.headers.begin(), request.headers.end(), std::pair(name, value)) == 1;
}
bool names(const WireRequest& request, const std::string& name) {
  return std::any_of(request.headers.begin(), request.headers.end(), [&](const auto& h) { return h.first == name; });
}
json::object bodyOf(const WireRequest& request) { return parseJson(request.body, "body").as_object(); }

const Shape kBallot{"ballot", {{"type", "object"}, {"additionalProperties", false}}};

TEST(Codec, AsksAnthropicAsItWants) {
  const Prompt prompt{.model = "m", .system = "be brief", .user = "hello", .stream = true, .shape = kBallot};
  const auto request = makeAnthropicCodec({.api_key = Secret("key"), .max_output_tokens = 500})->request(prompt);
  EXPECT_EQ(request.path, "/v1/messages");
  EXPECT_EQ(
      parseJson(request.body, "body"),
      parseJson(R"({"model":"m","max_tokens":500,"system":"be brief","messages":[{"role":"user","content":"hello"}],)"
                R"("stream":true,"output_config":{"format":{"type":"json_schema","schema":{"type":"object",)"
                R"("additionalProperties":false}}}})",
                "expected"));
  EXPECT_TRUE(has(request, "x-api-key", "key"));
  EXPECT_FALSE(names(request, "authorization"));
  EXPECT_TRUE(has(request, "anthropic-version", "2026-10-21"));
  const auto token = makeAnthropicCodec({.bearer = Secret("token"), .version = "2023-06-01"})->request(prompt);
  EXPECT_TRUE(has(token, "authorization", "Bearer token"));
  EXPECT_TRUE(has(token, "anthropic-version", "2023-06-01"));
  EXPECT_FALSE(names(token, "x-api-key"));
}

TEST(Codec, AsksOthersAsEachWants) {
  const Prompt prompt{.model = "m", .system = "be brief", .user = "hello", .stream = true, .shape = kBallot};
  const std::string asked =
      R"({"model":"m","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hello"}],)"
      R"("LIMIT":8192,MORE"stream":true,"stream_options":{STREAM},"response_format":{"type":"json_schema",)"
      R"("json_schema":{"name":"ballot","strict":true,"schema":{"type":"object","additionalProperties":false}}}})";
  const auto expected = [&](const char* limit, const char* more, const char* stream) {
    return parseJson(replaceAll(replaceAll(replaceAll(asked, "LIMIT", limit), "MORE", more), "STREAM", stream),
                     "expected");
  };
  const CodecOptions own{.api_key = Secret("key"), .organization = "org", .project = "project", .vendors_own = true};
  const auto openai = makeOpenAiCodec(own)->request(prompt);
  EXPECT_EQ(openai.path, "/chat/completions");
  EXPECT_EQ(parseJson(openai.body, "body"), expected("max_completion_tokens", R"("store":false,)",
                                                     R"("include_usage":true,"include_obfuscation":false)"));
  EXPECT_TRUE(has(openai, "Authorization", "Bearer key"));
  EXPECT_TRUE(has(openai, "OpenAI-Organization", "org"));
  EXPECT_TRUE(has(openai, "OpenAI-Project", "project"));
  EXPECT_FALSE(names(openai, "X-Title"));
  // What only its own endpoint is sure to know stays away from any other.
  EXPECT_EQ(parseJson(makeOpenAiCodec({})->request(prompt).body, "body"),
            expected("max_completion_tokens", "", R"("include_usage":true)"));
  EXPECT_FALSE(names(makeOpenAiCodec({})->request(prompt), "Authorization"));
  for (const auto make : {makeOpenRouterCodec, makeGeminiCodec, makeLocalCodec})
    EXPECT_EQ(parseJson(make(own)->request(prompt).body, "body"),
              expected("max_tokens", "", R"("include_usage":true)"));
  const auto routed = makeOpenRouterCodec({.referer = "https://a.example", .title = "T"})->request(prompt);
  EXPECT_TRUE(has(routed, "HTTP-Referer", "https://a.example"));
  EXPECT_TRUE(has(routed, "X-Title", "T"));
  EXPECT_TRUE(has(routed, "X-OpenRouter-Title", "T"));
  // Said where it was decided, to the only one who knows it.
  CodecOptions denying{.deny_data_collection = true};
  EXPECT_EQ(parseJson(makeOpenRouterCodec(denying)->request(prompt).body, "body"),
            expected("max_tokens", R"("provider":{"data_collection":"deny"},)", R"("include_usage":true)"));
  EXPECT_EQ(parseJson(makeLocalCodec(denying)->request(prompt).body, "body"),
            expected("max_tokens", "", R"("include_usage":true)"));
}

TEST(Codec, AsksForNoMoreThanTheModelMakesAndForAShapeWhereOneIsFollowed) {
  const auto limit = [](std::int64_t wanted, const char* model) {
    return jsonIntegerOr(bodyOf(makeAnthropicCodec({})->request({.model = model, .max_output_tokens = wanted})),
                         "max_tokens", 0);
  };
  EXPECT_EQ(limit(100'000, "claude-haiku-4-5"), 64'000);
  EXPECT_EQ(limit(100'000, "unknown"), 100'000);
  EXPECT_EQ(limit(0, "unknown"), 8192);
  std::vector<config::Problem> problems;
  const auto models = std::make_shared<const models::Catalogue>(models::Catalogue::parse(
      "[[model]]\nprovider = \"local\"\nid = \"old\"\nfamily = \"f\"\neffective_from = \"2020-01-01\"\ninput = 0\n"
      "output = 0\nsupports = []\nsource = \"s\"\nchecked_on = \"2026-11-28\"\n",
      "m.toml", problems));
  ASSERT_TRUE(problems.empty());
  const auto codec = makeLocalCodec({.models = models});
  EXPECT_FALSE(bodyOf(codec->request({.model = "old", .shape = kBallot})).contains("response_format"));
  EXPECT_TRUE(bodyOf(codec->request({.model = "new", .shape = kBallot})).contains("response_format"));
}

TEST(Codec, SendsTheOperatorsHeadersInPlaceOfItsOwn) {
  const auto request = makeOpenAiCodec({.api_key = Secret("key"),
                                        .headers = {{"AUTHORIZATION", Secret("Basic x")}, {"X-Gateway", Secret("y")}}})
                           ->request({.model = "m"});
  EXPECT_TRUE(has(request, "AUTHORIZATION", "Basic x"));
  EXPECT_TRUE(has(request, "X-Gateway", "y"));
  EXPECT_FALSE(names(request, "Authorization"));
}

TEST(Codec, CountsTokensAsTheyAreBilled) {
  const auto anthropic = makeAnthropicCodec({})->readAnswer(
      R"({"type":"message","id":"msg_1","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":1234,)"
      R"("cache_read_input_tokens":1000,"cache_creation_input_tokens":70,"cache_creation":)"
      R"({"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":40},"output_tokens":567,)"
      R"("output_tokens_details":{"thinking_tokens":300}}})");
  EXPECT_EQ(anthropic.usage.input, 1234);
  EXPECT_EQ(anthropic.usage.cache_read, 1000);
  EXPECT_EQ(anthropic.usage.cache_write_5m, 30);  // what is not said which, too
  EXPECT_EQ(anthropic.usage.cache_write_1h, 40);
  EXPECT_EQ(anthropic.usage.output, 567);
  EXPECT_EQ(anthropic.usage.reasoning, 300);
  EXPECT_TRUE(anthropic.usage_known);
  EXPECT_EQ(anthropic.request_id, "msg_1");
  const std::string chat =
      R"({"id":"gen-1","choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":100,"completion_tokens":10,)"
      R"("total_tokens":140,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":30},)"
      R"("completion_tokens_details":{"reasoning_tokens":30},"cost":0.016476}})";
  const auto routed = makeOpenRouterCodec({})->readAnswer(chat);
  EXPECT_EQ(routed.usage.input, 10);
  EXPECT_EQ(routed.usage.cache_read, 60);
  EXPECT_EQ(routed.usage.cache_write_5m, 30);
  EXPECT_EQ(routed.usage.output, 40);  // what was reasoned stands in the total alone
  EXPECT_EQ(routed.cost_picos, 16'476'000'000);
  EXPECT_EQ(routed.request_id, "gen-1");
  EXPECT_FALSE(makeOpenAiCodec({})->readAnswer(chat).cost_picos) << "nobody else's word is what is billed";
  // With a key of one's own at the vendor, its bill comes on top; not knowing it, the cost is not known.
  const auto own = [&](const char* more) {
    return makeOpenRouterCodec({})->readAnswer(replaceAll(chat, "\"cost\":0.016476", more)).cost_picos;
  };
  EXPECT_EQ(own(R"("cost":0.001,"is_byok":true,"cost_details":{"upstream_inference_cost":0.02})"), 21'000'000'000);
  EXPECT_FALSE(own(R"("cost":0.001,"is_byok":true)"));
  // A gateway that does not count says zeros; nonsense is no number of tokens.
  for (const auto* usage :
       {R"({"prompt_tokens":0,"completion_tokens":0})", R"({"prompt_tokens":-5,"completion_tokens":7})",
        R"({"prompt_tokens":5,"completion_tokens":"7"})", "null", "{}"}) {
    const auto answer = makeOpenAiCodec({})->readAnswer(
        fmt::format(R"({{"choices":[{{"message":{{"content":"x"}}}}],"usage":{}}})", usage));
    EXPECT_FALSE(answer.usage_known) << usage;
    EXPECT_GE(answer.usage.input, 0) << usage;
  }
  // Of a stream, what it said at its beginning is not what it came to.
  std::string shown;
  for (const auto* last : {"", R"(,"usage":{})", R"(,"usage":{"input_tokens":10})"}) {
    const auto without = replaceAll(kAnthropicStream, ",\"usage\":{\"output_tokens\":5}", last);
    EXPECT_FALSE(feed(*makeAnthropicCodec({}), without, 50, shown)->usage_known) << last;
  }
  EXPECT_TRUE(feed(*makeAnthropicCodec({}), kAnthropicStream, 50, shown)->usage_known);
}

TEST(Codec, ReadsStreamsInWhateverPiecesTheyCome) {
  for (const auto& vendor : kVendors) {
    for (std::size_t piece = 1; piece <= vendor.stream.size(); ++piece) {
      std::string shown;
      const auto answer = feed(*vendor.codec({}), vendor.stream, piece, shown);
      ASSERT_TRUE(answer) << vendor.name << piece;
      EXPECT_EQ(answer->text, "Héllo");
      EXPECT_EQ(shown, "Héllo");
      EXPECT_EQ(answer->usage.totalInput(), 15);
      EXPECT_EQ(answer->usage.output, 5);
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

using Kind = FailureKind;

TEST(Codec, FindsErrorsInsideAnswersOf200) {
  struct Case {
    std::unique_ptr<Codec> (*codec)(CodecOptions);
    const char* text;
    Kind kind;
    std::optional<Kind> streamed = std::nullopt;  // of what is no event of a stream
  };
  const Case cases[] = {
      {makeAnthropicCodec, R"({"type":"error","error":{"type":"overloaded_error","message":"x"}})", Kind::Server},
      {makeAnthropicCodec, R"({"type":"error","error":{"type":"rate_limit_error","message":"x"}})", Kind::Throttled},
      {makeAnthropicCodec, R"({"type":"error","error":{"type":"of_the_future"}})", Kind::Server},
      {makeAnthropicCodec, R"({"type":"error","error":{"type":"invalid_request_error"}})", Kind::Request},
      {makeAnthropicCodec, R"({"type":"message","content":[],"stop_reason":"refusal"})", Kind::Refused, Kind::Cut},
      {makeAnthropicCodec, R"({"type":"message","content":[],"stop_reason":"max_tokens"})", Kind::Empty, Kind::Cut},
      {makeAnthropicCodec, R"({"type":"message","content":[{"type":"text","text":"  "}]})", Kind::Empty, Kind::Cut},
      {makeOpenRouterCodec, R"({"error":{"code":502,"message":"x"}})", Kind::Server},
      {makeOpenRouterCodec, R"({"error":{"code":401,"message":"x"}})", Kind::Credential},
      {makeOpenRouterCodec, R"({"error":{"code":403,"metadata":{"error_type":"content_policy_violation"}}})",
       Kind::Refused},
      {makeOpenRouterCodec, R"({"error":{"code":400,"metadata":{"error_type":"context_length_exceeded"}}})",
       Kind::Request},
      {makeOpenRouterCodec, R"({"error":{"code":200,"metadata":{"error_type":"provider_overloaded"}}})", Kind::Server},
      {makeOpenRouterCodec, R"({"error":{"metadata":{"error_type":"provider_overloaded"}}})", Kind::Server},
      {makeOpenRouterCodec, R"({"error":{"code":402}})", Kind::Money},
      {makeOpenRouterCodec, R"({"choices":[{"finish_reason":"error","message":{"content":"half"}}]})", Kind::Server},
      {makeOpenRouterCodec, R"({"choices":[{"error":{"code":504},"message":{"content":"half"}}]})", Kind::Server},
      {makeOpenAiCodec, R"({"error":{"type":"server_error","code":null}})", Kind::Server},
      {makeOpenAiCodec, R"({"error":{"type":"insufficient_quota","code":"insufficient_quota"}})", Kind::Money},
      {makeOpenAiCodec, R"({"error":{"type":"invalid_request_error","code":null}})", Kind::Request},
      {makeOpenAiCodec, R"({"error":"model not loaded"})", Kind::Server},
      {makeOpenAiCodec, R"({"choices":[{"message":{"content":null,"refusal":"no"}}]})", Kind::Refused, Kind::Cut},
      {makeOpenAiCodec, R"({"choices":[{"message":{"content":"x"},"finish_reason":"content_filter"}]})", Kind::Refused},
      {makeOpenAiCodec, R"({"choices":[]})", Kind::Empty, Kind::Cut},
      {makeOpenAiCodec, R"({"choices":[7]})", Kind::Empty, Kind::Cut},
      {makeOpenAiCodec, "{}", Kind::Empty, Kind::Cut},
      {makeOpenAiCodec, "[]", Kind::Malformed},
      {makeOpenAiCodec, "", Kind::Malformed},
      {makeAnthropicCodec, "<html>", Kind::Malformed}};
  for (const auto& one : cases) {
    try {
      one.codec({})->readAnswer(one.text);
      ADD_FAILURE() << one.text;
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.kind(), one.kind) << one.text;
    }
    // The same in a stream, where every event is looked at.
    const auto reader = one.codec({})->readStream();
    try {
      reader->take({"", one.text}, {});
      reader->finish();
      ADD_FAILURE() << "streamed: " << one.text;
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.kind(), one.streamed.value_or(one.kind)) << "streamed: " << one.text;
    }
  }
}

TEST(Codec, KnowsWhatARefusalMeans) {
  struct Case {
    std::unique_ptr<Codec> (*codec)(CodecOptions);
    int status;
    const char* text;
    Kind kind;
  };
  const Case cases[] = {
      {makeAnthropicCodec, 400, R"({"error":{"type":"invalid_request_error"}})", Kind::Request},
      {makeAnthropicCodec, 401, R"({"error":{"type":"authentication_error"}})", Kind::Credential},
      {makeAnthropicCodec, 402, R"({"error":{"type":"billing_error"}})", Kind::Money},
      {makeAnthropicCodec, 403, R"({"error":{"type":"permission_error"}})", Kind::Credential},
      {makeAnthropicCodec, 404, R"({"error":{"type":"not_found_error"}})", Kind::Credential},
      {makeAnthropicCodec, 409, R"({"error":{"type":"conflict_error"}})", Kind::Request},
      {makeOpenAiCodec, 409, "", Kind::Request},
      {makeAnthropicCodec, 413, R"({"error":{"type":"request_too_large"}})", Kind::Request},
      {makeAnthropicCodec, 429, R"({"error":{"type":"rate_limit_error"}})", Kind::Throttled},
      {makeAnthropicCodec, 429,
       R"({"error":{"type":"rate_limit_error","details":{"error_code":"ramp_limit_exceeded"}}})", Kind::Throttled},
      {makeAnthropicCodec, 500, R"({"error":{"type":"api_error"}})", Kind::Server},
      {makeAnthropicCodec, 504, R"({"error":{"type":"timeout_error"}})", Kind::Server},
      {makeAnthropicCodec, 529, R"({"error":{"type":"overloaded_error"}})", Kind::Server},
      {makeAnthropicCodec, 529, "<html>", Kind::Server},
      {makeAnthropicCodec, 302, "", Kind::Request},
      {makeAnthropicCodec, 204, "", Kind::Malformed},
      {makeOpenAiCodec, 400, R"({"error":{"code":"context_length_exceeded"}})", Kind::Request},
      {makeOpenAiCodec, 401, R"({"error":{"type":"invalid_request_error","code":null}})", Kind::Credential},
      {makeOpenAiCodec, 401, R"({"error":{"type":"invalid_request_error","code":"invalid_api_key"}})",
       Kind::Credential},
      {makeOpenAiCodec, 404, R"({"error":{"code":"model_not_found"}})", Kind::Credential},
      {makeOpenAiCodec, 404, "not json", Kind::Credential},
      {makeOpenAiCodec, 429, R"({"error":{"code":"rate_limit_exceeded"}})", Kind::Throttled},
      {makeOpenAiCodec, 429, R"({"error":{"code":"slow_down"}})", Kind::Throttled},
      {makeOpenAiCodec, 503, R"({"error":{"code":"server_is_overloaded"}})", Kind::Server},
      {makeOpenAiCodec, 503, "", Kind::Server},
      {makeOpenRouterCodec, 402, R"({"error":{"code":402}})", Kind::Money},
      {makeOpenRouterCodec, 403, R"({"error":{"code":403,"metadata":{"error_type":"permission_denied"}}})",
       Kind::Credential},
      {makeOpenRouterCodec, 422, R"({"error":{"code":422}})", Kind::Request},
      {makeOpenRouterCodec, 524, R"({"error":{"code":524}})", Kind::Server},
      {makeGeminiCodec, 429, R"([{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}])", Kind::Throttled},
  };
  for (const auto& one : cases)
    EXPECT_EQ(one.codec({})->readRefusal(one.status, one.text, {}).kind(), one.kind) << one.status << one.text;
  EXPECT_EQ(makeAnthropicCodec({})->readRefusal(429, "{}", milliseconds(7)).askedPause(), milliseconds(7));
}

TEST(Codec, StopsForGoodWhenTheMoneyIsSpent) {
  const auto openai = makeOpenAiCodec({});
  for (const auto* code : {"credit_balance_exhausted", "organization_spend_limit_exceeded",
                           "project_spend_limit_exceeded", "organization_usage_limit_exceeded", "insufficient_quota"}) {
    const auto failure = openai->readRefusal(429, fmt::format(R"({{"error":{{"code":"{}"}}}})", code), milliseconds(5));
    EXPECT_EQ(failure.kind(), Kind::Money) << code;
    EXPECT_FALSE(failure.askedPause()) << code;
    EXPECT_EQ(
        openai->readRefusal(429, fmt::format(R"({{"error":{{"type":"insufficient_quota","code":"{}"}}}})", code), {})
            .kind(),
        Kind::Money);
  }
  // Only a budget that open calls take says when to come back.
  EXPECT_EQ(makeOpenRouterCodec({})->readRefusal(402, R"({"error":{"code":402}})", milliseconds(5)).kind(),
            Kind::Throttled);
  const auto anthropic = makeAnthropicCodec({});
  for (const auto* code :
       {"enforced_spend_limit_reached", "contract_spend_limit_reached", "linked_organization_spend_limit_reached"}) {
    for (const int status : {400, 429}) {
      const auto text =
          fmt::format(R"({{"error":{{"type":"rate_limit_error","details":{{"error_code":"{}"}}}}}})", code);
      EXPECT_EQ(anthropic->readRefusal(status, text, milliseconds(5)).kind(), Kind::Money) << code;
    }
  }
}

TEST(Codec, RepeatsNothingButWordsOfAVocabulary) {
  for (const auto& vendor : kVendors) {
    const std::string said =
        vendor.codec({})
            ->readRefusal(401,
                          R"({"error":{"type":"sk-ant-secret","code":"key: sk-1","message":"sk-2",)"
                          R"("details":{"error_code":"sk-3"},"metadata":{"error_type":"sk-4"}}})",
                          {})
            .what();
    EXPECT_EQ(said, "status 401") << vendor.name;
  }
  EXPECT_STREQ(
      makeOpenAiCodec({})->readRefusal(429, R"({"error":{"type":"tokens","code":"rate_limit_exceeded"}})", {}).what(),
      "status 429 (tokens, rate_limit_exceeded)");
}

struct Asked {
  explicit Asked(const Vendor& vendor, const ScriptedServer& server, Breaker* breaker = nullptr, CallTimes times = {})
      : provider(makeRemoteProvider({.name = vendor.name,
                                     .base_url = server.url("/base/"),
                                     .default_model = "model",
                                     .times = times,
                                     .retry = {.first_pause = milliseconds(1)},
                                     .breaker = breaker},
                                    vendor.codec({}), client)) {}
  Answer ask(const OnDelta& on_delta = {}, std::stop_token stop = {}) {
    return provider->ask(Question{.agent = "seat",
                                  .phase = store::Phase::Propose,
                                  .user = "{}",
                                  .deadline = deadlineIn(std::chrono::seconds(20)),
                                  .stop = std::move(stop),
                                  .billed_once = billed_once},
                         on_delta);
  }
  bool billed_once = false;
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
    EXPECT_EQ(asked.ask(showTo(shown)).text, "Héllo");
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
  EXPECT_EQ(asked.ask(showTo(shown)).text, "Hello");
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
        asked.ask(showTo(shown));
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

// Ballots, verdicts and what surrounds the words that somebody hears.
TEST(RemoteProvider, TriesAgainAfterWhatNobodyWasShown) {
  for (const auto& vendor : kVendors) {
    std::atomic<int> asked_times{0};
    const ScriptedServer server([&](Connection& connection) {
      connection.request();
      answerStream(connection, asked_times++ == 0 ? vendor.stream.substr(0, vendor.stream.size() - 30) : vendor.stream);
    });
    Asked asked(vendor, server);
    std::string unheard;
    const auto nobody = [&](std::string_view part) {
      unheard += part;
      return false;
    };
    EXPECT_EQ(asked.ask(nobody).text, "Héllo") << vendor.name;
    EXPECT_GT(unheard.size(), std::string("Héllo").size());
    EXPECT_EQ(server.connections(), 2) << vendor.name;
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
  int in_time = 0;  // of five: the machine may be busy
  for (int i = 0; i < 5; ++i) {
    std::stop_source source;
    std::chrono::steady_clock::time_point stopped;
    std::jthread stopping([&] {
      std::this_thread::sleep_for(milliseconds(60));
      stopped = std::chrono::steady_clock::now();
      source.request_stop();
    });
    try {
      asked.ask(heard, source.get_token());
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::Interrupted);
    }
    stopping.join();
    if (secondsSince(stopped) < 0.1) ++in_time;
  }
  EXPECT_GE(in_time, 3);
}

TEST(RemoteProvider, SaysWhoAnsweredAndUnderWhichNumber) {
  const ScriptedServer server([](Connection& connection) {
    while (!connection.request().empty()) connection.answer(kOpenAiText, "x-request-id: req_7\r\n");
  });
  const auto answer = Asked(kVendors[1], server).ask();
  EXPECT_EQ(answer.provider, "openai");
  EXPECT_EQ(answer.request_id, "req_7");
  EXPECT_EQ(answer.model, "gpt-x");
}

TEST(RemoteProvider, SaysUnderWhichNumberItRefused) {
  const auto numberOf = [](const Vendor& vendor, const std::string& body, const std::string& head) {
    const ScriptedServer server([&](Connection& connection) {
      while (!connection.request().empty()) connection.answer(body, head, 400);
    });
    try {
      Asked(vendor, server).ask();
    } catch (const Failure& failure) {
      return failure.retold("in other words").requestId();
    }
    return std::string("it answered");
  };
  const std::string refusal =
      R"({"type":"error","error":{"type":"invalid_request_error","message":"no"},"request_id":"req_body"})";
  EXPECT_EQ(numberOf(kVendors[0], refusal, "request-id: req_head\r\n"), "req_head");
  EXPECT_EQ(numberOf(kVendors[0], refusal, ""), "req_body") << "somebody between us takes fields away";
  EXPECT_EQ(numberOf(kVendors[1], "{}", "x-request-id: req_8\r\n"), "req_8");
  EXPECT_EQ(numberOf(kVendors[2], "{}", "X-Generation-Id: gen-8\r\n"), "gen-8");
  EXPECT_EQ(numberOf(kVendors[4], "{}", "x-request-id: 8\r\n"), "8");
  EXPECT_EQ(numberOf(kVendors[1], "{}", ""), "");
}

TEST(Codec, TakesNoNumberOfACallThatIsNone) {
  for (const auto& good : {std::string("req_011CXyz"), std::string("a/b+c==:~!"), std::string(128, 'x')})
    EXPECT_EQ(requestIdOf(good), good);
  const std::string with_nul("a\0b", 3);
  for (const auto& bad : {std::string(129, 'x'), std::string("two words"), std::string("a\tb"), std::string("a\x7f"),
                          std::string("n\xc3\xbcmber"), std::string("\x1b[31m"), with_nul,
                          std::string("sk-ant-api03-") + std::string(80, 'Q')})
    EXPECT_EQ(requestIdOf(bad), "") << bad;
  const auto answer = replaceAll(kAnthropicText, "msg_1", "what was said stands here");
  EXPECT_EQ(makeAnthropicCodec({})->readAnswer(answer).request_id, "");
}

std::optional<FailureKind> failureOf(Asked& asked, const OnDelta& on_delta = {}) {
  try {
    asked.ask(on_delta);
  } catch (const Failure& failure) {
    return failure.kind();
  }
  return std::nullopt;
}

TEST(RemoteProvider, IsNotAskedWhileItsCircuitIsOpen) {
  std::atomic<int> requests{0};
  const ScriptedServer server([&](Connection& connection) {
    while (!connection.request().empty()) {
      ++requests;
      connection.answer("{}", "", 503);
    }
  });
  Breaker breaker({.provider = "openai"});
  Asked asked(kVendors[1], server, &breaker);
  EXPECT_EQ(failureOf(asked), FailureKind::Server);
  EXPECT_EQ(requests, 3) << "each try counts";
  EXPECT_EQ(breaker.state().circuit, Circuit::Open);
  EXPECT_EQ(failureOf(asked), FailureKind::Rejected);
  EXPECT_EQ(requests, 3) << "no I/O";
}

// Whether it may have been billed: by what came before the failure, and by every try.
TEST(RemoteProvider, AConflictIsTriedAgainAndIsNoFailureOfTheProvider) {
  std::atomic<int> requests = 0;
  const ScriptedServer server([&](Connection& connection) {
    while (!connection.request().empty()) {
      ++requests;
      connection.answer("{}", "", 409);
    }
  });
  Breaker breaker({.provider = "openai", .rules = {.failures = 1}});
  Asked asked(kVendors[1], server, &breaker);
  EXPECT_THROW(asked.ask(), Failure);
  EXPECT_EQ(requests, 3);
  EXPECT_EQ(breaker.state().circuit, Circuit::Closed);
}

TEST(RemoteProvider, AnErrorInTheMiddleOfAnAnswerMayHaveBeenBilled) {
  const std::string begun = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
  const std::string error = "data: {\"error\":{\"code\":502,\"message\":\"x\"}}\n\n";
  struct Case {
    std::string name;
    int status;
    std::string type;
    std::string body;
    bool billed;
  };
  for (const auto& [name, status, type, body, billed] :
       {Case{"after a beginning", 200, "text/event-stream", begun + error, true},
        Case{"at once", 200, "text/event-stream", error, false},
        Case{"instead of an answer", 200, "application/json", R"({"error":{"code":502,"message":"x"}})", true},
        Case{"busy", 503, "application/json", "{}", false},
        Case{"a gateway's patience", 504, "text/plain", "", true}}) {
    std::atomic<int> requests{0};
    const ScriptedServer server([&, status = status, type = type, body = body](Connection& connection) {
      while (!connection.request().empty()) {
        ++requests;
        connection.answer(body, "Content-Type: " + type + "\r\n", status);
      }
    });
    for (const bool once : {false, true}) {
      requests = 0;
      Asked asked(kVendors[1], server);
      asked.billed_once = once;
      try {
        asked.ask(heard);
        ADD_FAILURE() << name;
      } catch (const Failure& failure) {
        EXPECT_EQ(failure.kind(), FailureKind::Server) << name;
        EXPECT_EQ(failure.maybeBilled(), billed) << name;
      }
      EXPECT_EQ(requests, once && billed ? 1 : 3) << name;
    }
  }
}

// Who is not asked because the key was refused hears that: waiting would not help.
TEST(RemoteProvider, SaysOfABlockedProviderWhatBlockedIt) {
  std::atomic<int> requests{0};
  const ScriptedServer server([&](Connection& connection) {
    while (!connection.request().empty()) {
      ++requests;
      connection.answer("{}", "", 401);
    }
  });
  Breaker breaker({.provider = "openai"});
  Asked asked(kVendors[1], server, &breaker);
  EXPECT_EQ(failureOf(asked), FailureKind::Credential);
  EXPECT_EQ(failureOf(asked), FailureKind::Credential);
  EXPECT_EQ(requests, 1);
}

TEST(RemoteProvider, TellsItsBreakerWhatKindOfFailureItWas) {
  struct Case {
    int status;
    const char* headers;
    const char* body;
    FailureKind kind;
    bool blocked;
  };
  for (const auto& one :
       {Case{401, "", "{}", FailureKind::Credential, true}, Case{404, "", "{}", FailureKind::Credential, true},
        Case{429, "", R"({"error":{"code":"credit_balance_exhausted"}})", FailureKind::Money, true},
        Case{429, "x-should-retry: true\r\n", R"({"error":{"code":"insufficient_quota"}})", FailureKind::Money, true},
        Case{400, "", "{}", FailureKind::Request, false},
        Case{429, "Retry-After: 3600\r\n", "{}", FailureKind::Throttled, false}}) {
    std::atomic<int> requests{0};
    const ScriptedServer server([&](Connection& connection) {
      while (!connection.request().empty()) {
        ++requests;
        connection.answer(one.body, one.headers, one.status);
      }
    });
    Breaker breaker({.provider = "openai"});
    Asked asked(kVendors[1], server, &breaker);
    EXPECT_EQ(failureOf(asked), one.kind) << one.status;
    EXPECT_EQ(requests, 1) << one.status;
    EXPECT_EQ(!breaker.state().blocked.empty(), one.blocked) << one.status;
    EXPECT_EQ(breaker.state().circuit, Circuit::Closed);
    EXPECT_EQ(breaker.state().failures[static_cast<std::size_t>(one.kind)], 1U);
    if (one.kind == FailureKind::Throttled) {
      EXPECT_GT(breaker.state().throttled_for, std::chrono::seconds(500));
    }
  }
}

TEST(RemoteProvider, WaitsForTheFirstByteAndForTheNextOnlySoLong) {
  for (const std::size_t length : {std::size_t{0}, std::size_t{200}}) {
    const ScriptedServer server([&](Connection& connection) {
      connection.request();
      if (length > 0) answerStream(connection, kAnthropicStream.substr(0, length));
      connection.hold();
    });
    Breaker breaker({.provider = "anthropic"});
    Asked asked(kVendors[0], server, &breaker,
                {.total = milliseconds(1500), .first_byte = milliseconds(100), .idle = milliseconds(100)});
    const auto started = std::chrono::steady_clock::now();
    EXPECT_EQ(failureOf(asked, heard), FailureKind::Timeout);
    EXPECT_LT(secondsSince(started), 1.2);
    EXPECT_EQ(breaker.state().circuit, Circuit::Open) << "three tries";
  }
}

TEST(RemoteProvider, IsNotBlamedForADeadlineThatWasOurs) {
  const ScriptedServer server([](Connection& connection) {
    connection.request();
    connection.hold();
  });
  Breaker breaker({.provider = "anthropic"});
  Asked asked(kVendors[0], server, &breaker);
  try {
    asked.provider->ask(Question{.agent = "seat", .user = "{}", .deadline = deadlineIn(milliseconds(80))});
    ADD_FAILURE();
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.kind(), FailureKind::Stopped);
  }
  EXPECT_EQ(breaker.state().recent_failures, 0U);
}

TEST(Fallback, KnowsModelsByTheirNamesAtOpenRouter) {
  const std::vector<std::array<std::string, 3>> cases = {
      {"anthropic", "claude-opus-5-5", "anthropic/claude-opus-5.5"},
      {"anthropic", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4.5"},
      {"anthropic", "claude-opus-5", "anthropic/claude-opus-5"},
      {"anthropic", "claude-3-5-haiku-latest", "anthropic/claude-3.5-haiku"},
      {"openai", "gpt-5.4-mini", "openai/gpt-5.4-mini"},
      {"openai", "vendor/name", "vendor/name"},
      {"demo", "demo", ""},
  };
  for (const auto& [provider, model, there] : cases) EXPECT_EQ(openRouterModel(provider, model), there);
}

// Says what it is told to, and what it was asked for.
struct Scripted : Provider {
  explicit Scripted(std::string own) : own_name(std::move(own)) {}
  std::string_view name() const override { return own_name; }
  Answer ask(const Question& question, const OnDelta& on_delta) override {
    asked.push_back(question.model);
    if (!shows.empty() && on_delta) on_delta(shows);
    if (fails) throw Failure(*fails, own_name + " failed");
    Answer answer;
    answer.provider = own_name;
    answer.model = question.model;
    return answer;
  }
  std::string own_name;
  std::optional<FailureKind> fails{};
  std::string shows{};
  std::vector<std::string> asked{};
};

struct Pair {
  explicit Pair(FailureKind first_fails, FallbackOptions options = {}) {
    auto owned = std::make_unique<Scripted>("anthropic");
    first = owned.get();
    first->fails = first_fails;
    provider = makeFallback(std::move(owned), other, counts, std::move(options));
  }
  Answer ask(const OnDelta& on_delta = {}) {
    const std::string model = "claude-x-1-2";
    return provider->ask(Question{.agent = "seat",
                                  .model = model,
                                  .deadline = deadlineIn(milliseconds(5000)),
                                  .substitute = substituted ? provider->substituteFor(model) : ""},
                         on_delta);
  }
  bool substituted = true;
  Scripted other{"openrouter"};
  FallbackCounts counts;
  Scripted* first = nullptr;
  std::unique_ptr<Provider> provider;
};

TEST(Fallback, AsksTheOtherForAModelOfTheSameFamilyAndSaysWhoAnswered) {
  for (const auto kind : {Kind::Credential, Kind::Money, Kind::Rejected, Kind::Server, Kind::Timeout, Kind::Unreachable,
                          Kind::Throttled, Kind::Cut, Kind::Malformed}) {
    Pair pair(kind);
    const auto answer = pair.ask();
    EXPECT_EQ(answer.provider, "openrouter") << name(kind);
    EXPECT_EQ(answer.model, "anthropic/claude-x-1.2");
    auto counts = pair.counts.all();
    EXPECT_EQ(counts.size(), 20U) << "each from the start";
    std::erase_if(counts, [](const Substitution& one) { return one.calls == 0; });
    ASSERT_EQ(counts.size(), 1U);
    EXPECT_EQ(counts[0].reason, kind);
    EXPECT_TRUE(counts[0].answered);
  }
}

TEST(Fallback, AsksNobodyElseForWhatAnybodyWouldRefuse) {
  for (const auto kind : {FailureKind::Request, FailureKind::Refused, FailureKind::Empty}) {
    Pair pair(kind);
    EXPECT_THROW(pair.ask(), Failure);
    EXPECT_TRUE(pair.other.asked.empty());
  }
}

TEST(Fallback, AsksNobodyElseOnceAPartWasShown) {
  Pair unheard(FailureKind::Cut);
  unheard.first->shows = "{\"vote";
  EXPECT_EQ(unheard.ask([](std::string_view) { return false; }).provider, "openrouter");
  Pair pair(FailureKind::Cut);
  pair.first->shows = "Hel";
  std::string shown;
  EXPECT_THROW(pair.ask(showTo(shown)), Failure);
  EXPECT_EQ(shown, "Hel");
  EXPECT_TRUE(pair.other.asked.empty());
}

// A price that nobody knows, for example.
TEST(Fallback, AsksNobodyElseWhereNobodyElseMayAnswer) {
  Pair pair(FailureKind::Unreachable);
  pair.substituted = false;
  EXPECT_THROW(pair.ask(), Failure);
  EXPECT_TRUE(pair.other.asked.empty());
}

// What goes to a server of one's own goes nowhere else unasked.
TEST(Fallback, LeavesModelsOfOnesOwnServerAlone) {
  Pair pair(FailureKind::Unreachable, {.any_model = false});
  EXPECT_THROW(pair.ask(), Failure);
  EXPECT_TRUE(pair.other.asked.empty());
  Pair named(FailureKind::Unreachable, {.any_model = false, .models = {{"claude-x-1-2", "meta/llama"}}});
  EXPECT_EQ(named.ask().model, "meta/llama");
}

TEST(Fallback, TellsBothFailures) {
  Pair pair(FailureKind::Money);
  pair.other.fails = FailureKind::Server;
  try {
    pair.ask();
    ADD_FAILURE();
  } catch (const Failure& failure) {
    EXPECT_STREQ(failure.what(), "anthropic failed; and openrouter failed");
    EXPECT_EQ(failure.kind(), FailureKind::Server);
  }
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
