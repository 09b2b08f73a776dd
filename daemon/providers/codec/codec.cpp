#include "daemon/providers/codec/codec.h"

#include <algorithm>

#include "common/base/redact.h"
#include "common/base/text.h"

namespace aragora::providers {

namespace {
constexpr std::int64_t kMostTokens = 1'000'000'000;
constexpr std::size_t kLongestRequestId = 128;

// A word of a vocabulary: what a vendor writes freely may hold the key.
std::string word(std::string_view text) {
  const bool plain =
      text.size() <= 60 && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
      });
  return plain ? std::string(text) : std::string();
}

std::optional<models::Model> modelOf(const Prompt& prompt, const CodecOptions& options, std::string_view provider) {
  const auto& known = options.models ? *options.models : models::Catalogue::builtIn();
  return known.find(provider, prompt.model, nowMicros());
}
}  // namespace

json::object objectOf(std::string_view text) {
  auto value = tryParseJson(text);
  if (!value || !value->is_object()) throw Failure(FailureKind::Malformed, "the answer is not JSON");
  return std::move(value->get_object());
}

std::string requestIdOf(std::string_view said) {
  const bool plain = said.size() <= kLongestRequestId &&
                     std::all_of(said.begin(), said.end(), [](char c) { return c > ' ' && c <= '~'; });
  return plain && redact(said) == said ? std::string(said) : std::string();
}

Answer requireText(Answer answer) {
  if (!trim(answer.text).empty()) return answer;
  throw Failure(FailureKind::Empty, answer.truncated ? "the answer ran into the most tokens before it said anything"
                                                     : "the answer has no content");
}

std::int64_t tokensOr(const json::object& object, std::string_view key, std::int64_t fallback) {
  const auto tokens = jsonIntegerOr(object, key, fallback);
  return tokens >= 0 && tokens <= kMostTokens ? tokens : fallback;
}

std::int64_t mostTokens(const Prompt& prompt, const CodecOptions& options, std::string_view provider) {
  const auto wanted = prompt.max_output_tokens > 0 ? prompt.max_output_tokens : options.max_output_tokens;
  const auto model = modelOf(prompt, options, provider);
  return model && model->max_output > 0 ? std::min(wanted, model->max_output) : wanted;
}

bool followsShape(const Prompt& prompt, const CodecOptions& options, std::string_view provider) {
  if (!prompt.shape) return false;
  const auto model = modelOf(prompt, options, provider);
  return !model || model->supports.json_schema;
}

void addOwnHeaders(WireRequest& request, const CodecOptions& options) {
  for (const auto& [name, value] : options.headers) {
    const auto own = lower(name);
    std::erase_if(request.headers, [&](const auto& header) { return lower(header.first) == own; });
  }
  for (const auto& [name, value] : options.headers) request.headers.emplace_back(name, value.reveal());
}

FailureKind kindOfStatus(int status) {
  switch (status) {
    case 401:
    case 403:
    case 404:
      return FailureKind::Credential;
    case 402:
      return FailureKind::Money;
    case 429:
      return FailureKind::Throttled;
    case 408:
      return FailureKind::Server;
    default:
      if (status >= 500 || status == 0) return FailureKind::Server;
      return status >= 300 ? FailureKind::Request : FailureKind::Malformed;
  }
}

std::string reasonOf(int status, std::string_view type, std::string_view code) {
  auto reason = status == 0 ? std::string("an error within the answer") : fmt::format("status {}", status);
  std::vector<std::string> words;
  for (const auto part : {type, code}) {
    if (auto plain = word(part); !plain.empty() && (words.empty() || words.front() != plain))
      words.push_back(std::move(plain));
  }
  return words.empty() ? reason : fmt::format("{} ({})", reason, join(words, ", "));
}

}  // namespace aragora::providers
