#include "common/backup/signed_record.h"

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kLimit = 4U << 20;
}  // namespace

std::string signedRecord(const json::object& record, const crypto::Keyring& keyring) {
  const auto text = toJson(record);
  return text + "\n" + toHex(keyring.signManifest(text)) + "\n";
}

json::object parseSignedRecord(const std::string& text, const std::string& where, const crypto::Keyring& keyring) {
  const auto damaged = [&](const std::string& what) {
    return Error(Code::Damaged, fmt::format("{}: {}", where, what),
                 "recover to a moment before it, or from another copy");
  };
  const auto lines = split(text, '\n');
  const auto signature = lines.size() >= 2 ? fromHex(lines[1]) : std::nullopt;
  if (!signature || !keyring.verifyManifest(lines[0], *signature))
    throw damaged(fmt::format("its signature does not hold with the keys at hand (active: {})", keyring.activeId()));
  if (text != lines[0] + "\n" + toHex(*signature) + "\n") throw damaged("it holds more than was signed");
  auto value = tryParseJson(lines[0]);
  if (!value || !value->is_object()) throw damaged("it cannot be read");
  return std::move(value->get_object());
}

bool looksSigned(const std::string& text) {
  constexpr std::size_t kSignatureDigits = 128;
  const auto end = text.find('\n');
  return end != std::string::npos && text.size() == end + 1 + kSignatureDigits + 1 &&
         fromHex(std::string_view(text).substr(end + 1, kSignatureDigits));
}

std::optional<std::string> signerOf(const std::string& text, const crypto::Keyring& keyring) {
  const auto lines = split(text, '\n');
  const auto signature = lines.size() >= 2 ? fromHex(lines[1]) : std::nullopt;
  return signature ? keyring.signerOf(lines[0], *signature) : std::nullopt;
}

std::optional<json::object> readSignedRecord(const storage::Place& folder, const std::string& name,
                                             const crypto::Keyring& keyring) {
  const auto text = folder.text(name, kLimit);
  if (!text) return std::nullopt;
  return parseSignedRecord(*text, (folder / name).describe(), keyring);
}

json::object describeFile(const FileRecord& file) {
  return {{"path", file.path},
          {"content", file.content},
          {"plain_size", file.plain_size},
          {"stored_size", file.stored_size},
          {"plain_sha256", file.plain_sha256},
          {"stored_sha256", file.stored_sha256}};
}

FileRecord describedFile(const json::object& record) {
  return {jsonTextOr(record, "path", ""),
          jsonTextOr(record, "content", ""),
          static_cast<std::uint64_t>(jsonIntegerOr(record, "plain_size", 0)),
          static_cast<std::uint64_t>(jsonIntegerOr(record, "stored_size", 0)),
          jsonTextOr(record, "plain_sha256", ""),
          jsonTextOr(record, "stored_sha256", "")};
}

}  // namespace aragora::backup
