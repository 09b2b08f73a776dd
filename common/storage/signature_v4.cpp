#include "common/storage/signature_v4.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::storage {

namespace {
constexpr std::string_view kService = "s3";

std::string signatureOf(const std::string& text, const Credentials& credentials, const std::string& date) {
  auto key = crypto::hmacSha256("AWS4" + credentials.secret_key.reveal(), date);
  for (const auto part : {std::string_view(credentials.region), kService, std::string_view("aws4_request")})
    key = crypto::hmacSha256(key, part);
  return toHex(crypto::hmacSha256(key, text));
}
}  // namespace

std::string uriEncode(std::string_view text, bool path) {
  std::string result;
  for (const char c : text) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~' || (path && c == '/');
    if (plain)
      result += c;
    else
      result += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return result;
}

std::string canonicalQuery(std::vector<std::pair<std::string, std::string>> query) {
  for (auto& [name, value] : query) {
    name = uriEncode(name);
    value = uriEncode(value);
  }
  std::sort(query.begin(), query.end());
  std::vector<std::string> parts;
  parts.reserve(query.size());
  for (const auto& [name, value] : query) parts.push_back(fmt::format("{}={}", name, value));
  return join(parts, "&");
}

void sign(SignedRequest& request, const Credentials& credentials, Micros now) {
  const auto time = toCompactIso(now);
  const auto date = time.substr(0, 8);
  request.headers["x-amz-date"] = time;
  request.headers["x-amz-content-sha256"] = request.payload_sha256;
  std::string headers;
  std::vector<std::string> names;
  names.reserve(request.headers.size());
  for (const auto& [name, value] : request.headers) {
    headers += fmt::format("{}:{}\n", name, join(split(value, ' '), " "));
    names.push_back(name);
  }
  const auto signed_names = join(names, ";");
  const auto canonical = fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, uriEncode(request.path, true),
                                     canonicalQuery(request.query), headers, signed_names, request.payload_sha256);
  const auto scope = fmt::format("{}/{}/{}/aws4_request", date, credentials.region, kService);
  const auto text = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", time, scope, crypto::sha256Hex(canonical));
  request.headers["authorization"] =
      fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}", credentials.access_key, scope,
                  signed_names, signatureOf(text, credentials, date));
}

}  // namespace aragora::storage
