#include "daemon/cluster/speech.h"

#include "common/base/ids.h"
#include "common/base/names.h"
#include "common/base/text.h"
#include "common/crypto/aead.h"

namespace aragora::cluster {

using DeltaKind = wire::Delta::Kind;

namespace {
constexpr std::string_view kSpeechVersion = "speech1";  // which no hint begins with
constexpr Names<DeltaKind, 3> kDeltaKinds{
    {{DeltaKind::Text, "text"}, {DeltaKind::Reset, "reset"}, {DeltaKind::End, "end"}}};
constexpr std::size_t kMostPlain = 46'000;  // in base 64, with names and the rest, less than a line may have
constexpr std::size_t kMostText = 32'000;   // of one part
constexpr std::size_t kHeadOfAPart = 160;   // at most: eight fields

std::string contextOf(std::string_view from, std::string_view to, std::string_view debate_id) {
  return fmt::format("speech|{}|{}|{}", debate_id, from, to);
}

std::vector<wire::Delta> cut(wire::Delta delta) {
  std::vector<wire::Delta> parts;
  while (delta.text.size() > kMostText) {
    auto length = kMostText;
    while (length > 0 && (static_cast<unsigned char>(delta.text[length]) & 0xC0U) == 0x80U) --length;
    if (length == 0) length = kMostText;
    auto part = delta;
    part.text.resize(length);
    delta.text.erase(0, length);
    delta.offset += wire::characters(part.text);
    parts.push_back(std::move(part));
  }
  parts.push_back(std::move(delta));
  return parts;
}

// Takes the first line; nullopt where there is none.
std::optional<std::string_view> takeLine(std::string_view& bytes) {
  const auto end = bytes.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const auto line = bytes.substr(0, end);
  bytes.remove_prefix(end + 1);
  return line;
}

std::optional<std::string> takeText(std::string_view& bytes, std::int64_t size) {
  if (size < 0 || static_cast<std::size_t>(size) > bytes.size()) return std::nullopt;
  std::string text(bytes.substr(0, static_cast<std::size_t>(size)));
  bytes.remove_prefix(text.size());
  if (!validUtf8(text)) return std::nullopt;
  return text;
}

std::optional<wire::Delta> takePart(std::string_view& bytes) {
  const auto line = takeLine(bytes);
  if (!line || line->size() > kHeadOfAPart) return std::nullopt;
  const auto fields = split(*line, ' ');
  if (fields.size() != 8) return std::nullopt;
  const auto kind = parseIn(kDeltaKinds, fields[0]);
  const auto phase = store::parsePhase(fields[1]);
  std::vector<std::int64_t> numbers;
  for (std::size_t i = 2; i < fields.size(); ++i) {
    const auto number = parseInteger(fields[i]);
    if (!number || *number < 0) return std::nullopt;
    numbers.push_back(*number);
  }
  auto agent = takeText(bytes, numbers[4]);
  auto text = agent ? takeText(bytes, numbers[5]) : std::nullopt;
  if (!kind || !phase || !text || agent->empty() || (*kind != DeltaKind::Text && !text->empty())) return std::nullopt;
  wire::Delta delta;
  delta.agent = std::move(*agent);
  delta.phase = *phase;
  delta.round = numbers[0];
  delta.attempt = numbers[1];
  delta.kind = *kind;
  delta.offset = numbers[2];
  delta.text = std::move(*text);
  delta.at = numbers[3];
  return delta;
}
}  // namespace

std::vector<std::vector<wire::Delta>> inPieces(std::vector<wire::Delta> deltas) {
  std::vector<std::vector<wire::Delta>> pieces;
  std::size_t room = 0;
  for (auto& delta : deltas) {
    for (auto& part : cut(std::move(delta))) {
      const auto size = kHeadOfAPart + part.agent.size() + part.text.size();
      if (pieces.empty() || size > room) {
        pieces.emplace_back();
        room = kMostPlain;
      }
      room -= std::min(room, size);
      pieces.back().push_back(std::move(part));
    }
  }
  return pieces;
}

// Eight fields, a line's end, the seat and the text, as many bytes as the last two fields say.
std::string encodeParts(const std::vector<wire::Delta>& deltas) {
  std::string bytes;
  for (const auto& one : deltas)
    bytes +=
        fmt::format("{} {} {} {} {} {} {} {}\n{}{}", nameIn(kDeltaKinds, one.kind), store::name(one.phase), one.round,
                    one.attempt, one.offset, one.at, one.agent.size(), one.text.size(), one.agent, one.text);
  return bytes;
}

std::optional<std::vector<wire::Delta>> parseParts(std::string_view bytes, const std::string& debate_id) {
  std::vector<wire::Delta> deltas;
  while (!bytes.empty()) {
    auto delta = takePart(bytes);
    if (!delta) return std::nullopt;
    delta->debate_id = debate_id;
    deltas.push_back(std::move(*delta));
  }
  return deltas;
}

std::string seal(const Speech& speech, const crypto::Keyring& keyring) {
  const auto sealed = crypto::sealAesGcm(keyring.speechKey(speech.debate_id),
                                         fmt::format("{}\n{}", speech.number, encodeParts(speech.deltas)),
                                         contextOf(speech.from, speech.to, speech.debate_id));
  return fmt::format("{} {} {} {} {}", kSpeechVersion, speech.from, speech.debate_id, keyring.activeId(),
                     toBase64(sealed, false));
}

std::optional<SealedSpeech> parseSpeech(std::string_view line) {
  if (line.size() > kLongestSpeech) return std::nullopt;
  const auto parts = split(line, ' ');
  if (parts.size() != 5 || parts[0] != kSpeechVersion || !ulidTime(parts[2])) return std::nullopt;
  auto sealed = fromBase64(parts[4]);
  if (!sealed) return std::nullopt;
  return SealedSpeech{parts[1], parts[2], parts[3], std::move(*sealed)};
}

std::optional<Speech> open(const SealedSpeech& speech, const std::string& to, const crypto::Keyring& keyring) {
  const auto key = keyring.speechKey(speech.debate_id, speech.key_id);
  const auto plain =
      key ? crypto::openAesGcm(*key, speech.sealed, contextOf(speech.from, to, speech.debate_id)) : std::nullopt;
  if (!plain) return std::nullopt;
  std::string_view bytes = *plain;
  const auto first = takeLine(bytes);
  const auto number = first ? parseInteger(*first) : std::nullopt;
  auto deltas = parseParts(bytes, speech.debate_id);
  if (!number || !deltas || deltas->empty()) return std::nullopt;
  return Speech{speech.from, to, speech.debate_id, *number, std::move(*deltas)};
}

}  // namespace aragora::cluster
