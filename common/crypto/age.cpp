#include "common/crypto/age.h"

#include "common/base/error.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/crypto/aead.h"
#include "common/crypto/curve.h"
#include "common/crypto/hash.h"

namespace aragora::crypto {

namespace {
constexpr std::string_view kVersionLine = "age-encryption.org/v1\n";
constexpr std::string_view kX25519Label = "age-encryption.org/v1/X25519";
constexpr std::size_t kChunk = 64 * 1024;
constexpr std::size_t kTag = 16;
constexpr std::size_t kPayloadNonce = 16;
constexpr std::size_t kMaxHeader = 64 * 1024;
const std::string kZeroNonce(12, '\0');

[[noreturn]] void damaged(const std::string& reason) { throw Error(Code::Damaged, "not a whole age file: " + reason); }

// BIP 173, without its length limit, as age uses it.
constexpr std::string_view kBech32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

std::uint32_t polymod(const std::vector<int>& values) {
  static constexpr std::uint32_t kGenerator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
  std::uint32_t checksum = 1;
  for (const int value : values) {
    const auto top = checksum >> 25;
    checksum = (checksum & 0x1ffffff) << 5 ^ static_cast<std::uint32_t>(value);
    for (int i = 0; i < 5; ++i) checksum ^= (top >> i & 1U) != 0 ? kGenerator[i] : 0;
  }
  return checksum;
}

std::vector<int> expandPrefix(std::string_view prefix) {
  std::vector<int> result;
  for (const char c : prefix) result.push_back(static_cast<unsigned char>(c) >> 5);
  result.push_back(0);
  for (const char c : prefix) result.push_back(c & 31);
  return result;
}

std::optional<std::vector<int>> regroup(const std::vector<int>& values, int from, int to, bool pad) {
  std::vector<int> result;
  std::uint32_t accumulator = 0;
  int bits = 0;
  for (const int value : values) {
    accumulator = accumulator << from | static_cast<std::uint32_t>(value);
    for (bits += from; bits >= to;) {
      bits -= to;
      result.push_back(static_cast<int>(accumulator >> bits & ((1U << to) - 1)));
    }
  }
  if (pad && bits > 0) result.push_back(static_cast<int>(accumulator << (to - bits) & ((1U << to) - 1)));
  if (!pad && (bits >= from || (accumulator & ((1U << bits) - 1)) != 0)) return std::nullopt;
  return result;
}

std::string encodeBech32(std::string_view prefix, std::string_view bytes) {
  std::vector<int> data;
  for (const char c : bytes) data.push_back(static_cast<unsigned char>(c));
  data = *regroup(data, 8, 5, true);
  auto values = expandPrefix(prefix);
  values.insert(values.end(), data.begin(), data.end());
  values.insert(values.end(), 6, 0);
  const auto checksum = polymod(values) ^ 1;
  for (int i = 0; i < 6; ++i) data.push_back(static_cast<int>(checksum >> (5 * (5 - i)) & 31));
  std::string text(prefix);
  text += '1';
  for (const int value : data) text += kBech32[static_cast<std::size_t>(value)];
  return text;
}

std::optional<std::string> decodeBech32(std::string_view prefix, std::string_view text) {
  if (!startsWith(text, std::string(prefix) + "1")) return std::nullopt;
  std::vector<int> data;
  for (const char c : text.substr(prefix.size() + 1)) {
    const auto at = kBech32.find(c);
    if (at == std::string_view::npos) return std::nullopt;
    data.push_back(static_cast<int>(at));
  }
  auto values = expandPrefix(prefix);
  values.insert(values.end(), data.begin(), data.end());
  if (data.size() < 6 || polymod(values) != 1) return std::nullopt;
  data.resize(data.size() - 6);
  const auto bytes = regroup(data, 5, 8, false);
  if (!bytes) return std::nullopt;
  std::string result;
  for (const int value : *bytes) result += static_cast<char>(value);
  return result;
}

std::string chunkNonce(std::uint64_t counter, bool last) {
  std::string nonce(12, '\0');
  for (int i = 0; i < 8; ++i) nonce[static_cast<std::size_t>(10 - i)] = static_cast<char>(counter >> (8 * i) & 255);
  nonce[11] = last ? 1 : 0;
  return nonce;
}

std::string headerMac(std::string_view file_key, std::string_view header_up_to_dashes) {
  return hmacSha256(hkdfSha256(file_key, "", "header", 32), header_up_to_dashes);
}

std::string wrapKey(std::string_view shared, std::string_view share, std::string_view recipient) {
  return hkdfSha256(shared, std::string(share) + std::string(recipient), kX25519Label, 32);
}
}  // namespace

AgeIdentity ageIdentity(Secret secret32) {
  ARAGORA_CHECK(secret32.size() == 32);
  auto recipient = x25519PublicKey(secret32.reveal());
  return {std::move(secret32), std::move(recipient)};
}

std::string formatAgeRecipient(std::string_view public32) { return encodeBech32("age", public32); }

std::string formatAgeIdentity(const AgeIdentity& identity) {
  return upper(encodeBech32("age-secret-key-", identity.secret.reveal()));
}

std::vector<AgeIdentity> parseAgeIdentities(const Secret& text, const std::string& file) {
  std::vector<AgeIdentity> identities;
  for (const auto& raw : split(text.reveal(), '\n')) {
    const auto line = std::string(trim(raw));
    if (line.empty() || startsWith(line, "#")) continue;
    neverShow(line);
    const auto bytes = decodeBech32("age-secret-key-", lower(line));
    if (!bytes || bytes->size() != 32 || line != upper(line))
      throw Error(Code::Config, fmt::format("{} has a line that is no age identity", file),
                  "one looks like AGE-SECRET-KEY-1…, as aragora backup keygen writes it");
    identities.push_back(ageIdentity(Secret(*bytes)));
  }
  if (identities.empty())
    throw Error(Code::Config, fmt::format("{} has no age identity", file),
                "one looks like AGE-SECRET-KEY-1…, as aragora backup keygen writes it");
  return identities;
}

std::string parseAgeRecipient(std::string_view text) {
  if (startsWith(upper(text), "AGE-"))
    throw Error(
        Code::Config, "a private key of age stands where a recipient belongs",
        "name its public part (age1…), take the private one off this machine, and make a new one: it was written "
        "where others may read it");
  auto bytes = decodeBech32("age", text);
  if (!bytes || bytes->size() != 32) {
    throw Error(Code::Config, fmt::format("'{}' is not an age recipient", printable(text, 80)),
                "an age recipient looks like age1… and is printed by age-keygen");
  }
  return *bytes;
}

namespace {
std::string makeHeader(std::string_view file_key, const std::vector<std::string>& recipients) {
  ARAGORA_CHECK(!recipients.empty());
  std::string header(kVersionLine);
  for (const auto& recipient : recipients) {
    const auto ephemeral = randomBytes(32);
    const auto share = x25519PublicKey(ephemeral);
    const auto wrapped = sealChaCha(wrapKey(x25519(ephemeral, recipient), share, recipient), kZeroNonce, file_key);
    header += fmt::format("-> X25519 {}\n{}\n", toBase64(share, false), toBase64(wrapped, false));
  }
  header += "---";
  return header + fmt::format(" {}\n", toBase64(headerMac(file_key, header), false));
}

// The header's size once all of it is there.
std::optional<std::size_t> headerSize(std::string_view start) {
  const auto dashes = start.find("\n---");
  const auto end = dashes == std::string::npos ? std::string::npos : start.find('\n', dashes + 1);
  if (end == std::string::npos) {
    if (start.size() > kMaxHeader) damaged("its header has no end");
    return std::nullopt;
  }
  return end + 1;
}

// The file's key, out of the first stanza that one of the identities opens; the header's MAC has held then.
std::string openHeader(std::string_view header, const std::vector<AgeIdentity>& identities) {
  if (!startsWith(header, kVersionLine)) damaged("the version line is not age-encryption.org/v1");
  std::optional<std::string> file_key;
  std::string_view rest = header.substr(kVersionLine.size());
  const auto nextLine = [&rest] {
    const auto at = rest.find('\n');
    const auto line = rest.substr(0, at);
    rest.remove_prefix(at + 1);
    return line;
  };
  while (!startsWith(rest, "---")) {
    const auto line = nextLine();
    if (!startsWith(line, "-> ")) damaged("a stanza does not start with ->");
    const auto arguments = split(line.substr(3), ' ');
    std::string body;
    while (true) {
      const auto part = nextLine();
      if (part.size() > 64 || startsWith(part, "---")) damaged("a stanza body is malformed");
      body += part;
      if (part.size() < 64) break;
    }
    if (arguments.size() != 2 || arguments[0] != "X25519" || file_key) continue;
    const auto share = fromBase64(arguments[1]);
    const auto wrapped = fromBase64(body);
    if (!share || share->size() != 32 || !wrapped || wrapped->size() != 32) damaged("an X25519 stanza is malformed");
    for (const auto& identity : identities) {
      const auto shared = x25519(identity.secret.reveal(), *share);
      if (!file_key) file_key = openChaCha(wrapKey(shared, *share, identity.recipient), kZeroNonce, *wrapped);
    }
  }
  if (!file_key) {
    throw Error(Code::Damaged, "the age file is not encrypted to this key",
                "set ARAGORA_ENCRYPTION_KEY to the key that was in use when the backup was made, or name that key in "
                "ARAGORA_ENCRYPTION_PREVIOUS_KEYS");
  }
  const auto mac = startsWith(rest, "--- ") ? fromBase64(rest.substr(4, rest.size() - 5)) : std::nullopt;
  const auto covered = header.substr(0, header.find("\n---") + 4);
  if (!mac || !constantTimeEqual(*mac, headerMac(*file_key, covered))) damaged("its header was altered");
  return *file_key;
}
}  // namespace

AgeHeader rewrapAgeHeader(std::string_view start, const std::vector<AgeIdentity>& identities,
                          const std::vector<std::string>& recipients) {
  const auto size = headerSize(start);
  if (!size) damaged("it ends inside the header");
  return {makeHeader(openHeader(start.substr(0, *size), identities), recipients), *size};
}

AgeWriter::AgeWriter(const std::vector<std::string>& recipients, ByteSink sink) : sink_(std::move(sink)) {
  const auto file_key = randomBytes(16);
  sink_(makeHeader(file_key, recipients));
  const auto nonce = randomBytes(kPayloadNonce);
  key_ = hkdfSha256(file_key, nonce, "payload", 32);
  sink_(nonce);
}

void AgeWriter::sealChunk(std::string_view chunk, bool last) {
  sink_(sealChaCha(key_, chunkNonce(counter_++, last), chunk));
}

void AgeWriter::write(std::string_view plaintext) {
  // A full chunk is held back until more arrives: only then is it known not to be the last.
  while (!plaintext.empty()) {
    if (buffer_.size() == kChunk) {
      sealChunk(buffer_, false);
      buffer_.clear();
    }
    const auto take = std::min(kChunk - buffer_.size(), plaintext.size());
    buffer_.append(plaintext.substr(0, take));
    plaintext.remove_prefix(take);
  }
}

void AgeWriter::finish() {
  sealChunk(buffer_, true);
  buffer_.clear();
}

AgeReader::AgeReader(const std::vector<AgeIdentity>& identities, ByteSink sink)
    : identities_(identities), sink_(std::move(sink)) {}

bool AgeReader::readHeader() {
  const auto size = headerSize(buffer_);
  if (!size || buffer_.size() < *size + kPayloadNonce) return false;
  const auto file_key = openHeader(std::string_view(buffer_).substr(0, *size), identities_);
  key_ = hkdfSha256(file_key, std::string_view(buffer_).substr(*size, kPayloadNonce), "payload", 32);
  buffer_.erase(0, *size + kPayloadNonce);
  return true;
}

void AgeReader::openChunk(std::string_view chunk, bool last) {
  const auto plaintext = openChaCha(key_, chunkNonce(counter_, last), chunk);
  if (!plaintext) {
    damaged(last ? "the final chunk does not authenticate (truncated or altered)"
                 : fmt::format("chunk {} does not authenticate", counter_));
  }
  if (last && plaintext->empty() && counter_ > 0) damaged("an empty final chunk after others");
  ++counter_;
  any_chunk_ = true;
  sink_(*plaintext);
}

void AgeReader::write(std::string_view ciphertext) {
  buffer_.append(ciphertext);
  if (key_.empty() && !readHeader()) return;
  std::size_t used = 0;
  while (buffer_.size() - used > kChunk + kTag) {
    openChunk(std::string_view(buffer_).substr(used, kChunk + kTag), false);
    used += kChunk + kTag;
  }
  buffer_.erase(0, used);
}

void AgeReader::finish() {
  if (key_.empty()) damaged("it ends inside the header");
  openChunk(buffer_, true);
  buffer_.clear();
}

}  // namespace aragora::crypto
