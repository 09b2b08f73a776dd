#include "common/checklist/signature.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/curve.h"

namespace aragora::checklist {

namespace {
// No manifest or record begins like this: what is signed here can be taken for nothing else.
constexpr std::string_view kTextLabel = "aragora checklist text v1\n";
constexpr std::string_view kJsonLabel = "aragora checklist json v1\n";
constexpr std::string_view kBegin = "<!-- aragora checklist signature ed25519 ";
constexpr std::string_view kEnd = " -->\n";
constexpr std::size_t kKeyDigits = 64;
constexpr std::size_t kSignatureDigits = 128;

bool holds(const std::string& key_hex, const std::string& signature_hex, const std::string& message) {
  const auto key = fromHex(key_hex);
  const auto signature = fromHex(signature_hex);
  return key && key->size() * 2 == kKeyDigits && signature && signature->size() * 2 == kSignatureDigits &&
         crypto::ed25519Verify(*key, message, *signature);
}

Verified verifyDocument(const std::string& text, const Error& damaged) {
  auto value = tryParseJson(text);
  if (!value || !value->is_object()) throw damaged;
  const auto& whole = value->get_object();
  const auto* report = jsonObject(whole, "report");
  const auto* signature = jsonObject(whole, "signature");
  if (report == nullptr || signature == nullptr) throw damaged;
  // Written in any other way it could show more than was signed: a member twice, one beside the report.
  const json::object written{{"schema_version", 1}, {"report", *report}, {"signature", *signature}};
  if (trim(text) != trim(toPrettyJson(written)) && trim(text) != trim(toJson(written))) throw damaged;
  const auto key = jsonTextOr(*signature, "key", "");
  if (signature->size() != 3 || jsonTextOr(*signature, "algorithm", "") != "ed25519" ||
      !holds(key, jsonTextOr(*signature, "value", ""), std::string(kJsonLabel) + toJson(*report)))
    throw damaged;
  return {key, *report};
}
}  // namespace

std::string signedText(const std::string& text, const crypto::Keyring& keyring) {
  return fmt::format("{}{}{} {}{}", text, kBegin, toHex(keyring.signingPublicKey()),
                     toHex(keyring.signManifest(std::string(kTextLabel) + text)), kEnd);
}

json::object signedDocument(const json::object& report, const crypto::Keyring& keyring) {
  return {
      {"report", report},
      {"signature", json::object{{"algorithm", "ed25519"},
                                 {"key", toHex(keyring.signingPublicKey())},
                                 {"value", toHex(keyring.signManifest(std::string(kJsonLabel) + toJson(report)))}}}};
}

Verified verifyReport(const std::string& text, const std::string& name) {
  const Error damaged(Code::Damaged, fmt::format("{}: it is not signed, was altered, or is not whole", name),
                      "ask who made it for another copy");
  if (startsWith(trim(text), "{")) return verifyDocument(text, damaged);
  const auto size = kBegin.size() + kKeyDigits + 1 + kSignatureDigits + kEnd.size();
  if (text.size() < size) throw damaged;
  const auto line = text.substr(text.size() - size);
  const auto key = line.substr(kBegin.size(), kKeyDigits);
  const auto body = text.substr(0, text.size() - size);
  if (!startsWith(line, kBegin) || !endsWith(line, kEnd) ||
      !holds(key, line.substr(kBegin.size() + kKeyDigits + 1, kSignatureDigits), std::string(kTextLabel) + body))
    throw damaged;
  return {key};
}

}  // namespace aragora::checklist
