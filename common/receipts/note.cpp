#include "common/receipts/note.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/curve.h"
#include "common/crypto/hash.h"

namespace aragora::receipts {

namespace {
constexpr std::string_view kDash = "\xE2\x80\x94 ";  // "— "
constexpr std::string_view kPemBegin = "-----BEGIN PUBLIC KEY-----";
constexpr std::string_view kPemEnd = "-----END PUBLIC KEY-----";
const std::string kSpki("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 12);  // RFC 8410, before the 32 bytes
constexpr char kEd25519 = 1;
constexpr std::size_t kMostSignatures = 16;
constexpr std::size_t kMostBytes = 64U << 10;

std::optional<std::string> keyOfPem(std::string_view text) {
  const auto begin = text.find(kPemBegin);
  const auto end = text.find(kPemEnd);
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) return std::nullopt;
  std::string body;
  for (const char c : text.substr(begin + kPemBegin.size(), end - begin - kPemBegin.size())) {
    if (c != '\n' && c != '\r' && c != ' ') body += c;
  }
  const auto der = fromBase64(body);
  if (!der || der->size() != kSpki.size() + 32 || !startsWith(*der, kSpki)) return std::nullopt;
  return der->substr(kSpki.size());
}

// NAME+ID+KEY; a name may not hold a plus sign.
std::optional<PublicKey> keyOfNote(std::string_view text) {
  const auto first = text.find('+');
  const auto second = first == std::string_view::npos ? first : text.find('+', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const auto bytes = fromBase64(text.substr(second + 1));
  if (!bytes || bytes->size() != 33 || bytes->front() != kEd25519) return std::nullopt;
  PublicKey key{std::string(text.substr(0, first)), bytes->substr(1)};
  if (key.name.empty() || key.id() != text.substr(first + 1, second - first - 1)) return std::nullopt;
  return key;
}

// Whole lines, without their ends; of a text that does not end with one, nothing.
std::optional<std::vector<std::string_view>> linesOf(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

bool hasControls(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7F; });
}

std::optional<Signature> signatureOf(std::string_view line) {
  if (!startsWith(line, kDash)) return std::nullopt;
  line.remove_prefix(kDash.size());
  const auto space = line.find(' ');
  if (space == std::string_view::npos || space == 0) return std::nullopt;
  const auto bytes = fromBase64(line.substr(space + 1));
  if (!bytes || bytes->size() < 5 || toBase64(*bytes) != line.substr(space + 1)) return std::nullopt;
  return Signature{std::string(line.substr(0, space)), toHex(bytes->substr(0, 4)), bytes->substr(4)};
}

// As it was written: no sign, no leading zero.
std::optional<std::int64_t> sizeOf(std::string_view line) {
  const auto size = parseInteger(line);
  if (!size || *size < 0 || fmt::format("{}", *size) != line) return std::nullopt;
  return size;
}
}  // namespace

std::string PublicKey::id() const {
  return toHex(crypto::sha256(fmt::format("{}\n{}{}", name, kEd25519, bytes)).substr(0, 4));
}

std::string PublicKey::text() const {
  return fmt::format("{}+{}+{}", name, id(), toBase64(std::string(1, kEd25519) + bytes));
}

PublicKey parsePublicKey(std::string_view given, std::string_view what) {
  const auto text = trim(given);
  if (auto key = keyOfNote(text)) return std::move(*key);
  for (const auto& bytes : {keyOfPem(text), fromHex(text), fromBase64(text)}) {
    if (bytes && bytes->size() == 32) return {{}, *bytes};
  }
  throw Error(Code::Config, fmt::format("{} is no public key of receipts", what),
              "give what /.well-known/aragora-keys.json or `aragora receipt keys` shows, or a PEM file");
}

std::string toPem(const PublicKey& key) {
  return fmt::format("{}\n{}\n{}\n", kPemBegin, toBase64(kSpki + key.bytes), kPemEnd);
}

std::string text(const Checkpoint& checkpoint) {
  return fmt::format("{}\n{}\n{}\n", checkpoint.origin, checkpoint.size, toBase64(checkpoint.root));
}

std::optional<bool> SignedCheckpoint::signedBy(const PublicKey& key) const {
  const PublicKey named{key.name.empty() ? checkpoint.origin : key.name, key.bytes};
  for (const auto& signature : signatures) {
    if (signature.name != named.name || signature.key_id != named.id()) continue;
    return crypto::ed25519Verify(key.bytes, text, signature.bytes);
  }
  return std::nullopt;
}

std::string signCheckpoint(const Checkpoint& checkpoint, const PublicKey& key, std::string_view seed32) {
  const auto body = text(checkpoint);
  const auto signature = *fromHex(key.id()) + crypto::ed25519Sign(seed32, body);
  return fmt::format("{}\n{}{} {}\n", body, kDash, key.name, toBase64(signature));
}

SignedCheckpoint parseCheckpoint(std::string_view note, std::string_view what) {
  const auto damaged = [&](std::string_view why) {
    return Error(Code::Damaged, fmt::format("{} is no checkpoint: {}", what, why));
  };
  if (note.size() > kMostBytes || !validUtf8(note) || hasControls(note)) throw damaged("no text of a few lines");
  const auto gap = note.rfind("\n\n");
  if (gap == std::string_view::npos) throw damaged("there is no empty line before its signatures");
  SignedCheckpoint result;
  result.text = note.substr(0, gap + 1);
  const auto body = linesOf(result.text);
  const auto signatures = linesOf(note.substr(gap + 2));
  if (!body || body->size() < 3 || body->at(0).empty())
    throw damaged("its first three lines are origin, size and root");
  const auto size = sizeOf(body->at(1));
  const auto root = fromBase64(body->at(2));
  if (!size) throw damaged("its second line is no size");
  if (!root || root->size() != 32 || toBase64(*root) != body->at(2)) throw damaged("its third line is no root");
  result.checkpoint = {std::string(body->at(0)), *size, *root};
  if (!signatures || signatures->empty() || signatures->size() > kMostSignatures)
    throw damaged("its signatures are one to sixteen whole lines");
  for (const auto& line : *signatures) {
    auto signature = signatureOf(line);
    if (!signature) throw damaged("a line after the empty one is no signature");
    result.signatures.push_back(std::move(*signature));
  }
  return result;
}

}  // namespace aragora::receipts
