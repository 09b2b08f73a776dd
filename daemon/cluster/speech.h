// Parts of answers on their way to another instance: a line with those of one debate that came within a moment, sealed
// for the one instance that listens (AES-256-GCM, under a key of the debate alone, so that no key seals more than its
// random nonces allow: NIST SP 800-38D, 8.3). Whoever reads along in Redis sees which debate it is and how much is
// said; what was altered, moved, or is for somebody else, does not open. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/keyring.h"
#include "daemon/wire/deltas.h"

namespace aragora::cluster {

constexpr std::size_t kLongestSpeech = 64 * 1024;  // bytes of a line

struct Speech {
  std::string from;  // instances
  std::string to;
  std::string debate_id;
  std::int64_t number = 0;  // grows with each of `from`, so that none is heard twice
  std::vector<wire::Delta> deltas;
};

struct SealedSpeech {
  std::string from;
  std::string debate_id;
  std::string key_id;
  std::string sealed;
};

// Parts for several lines, in order: none longer than it may be. What is too long for one is cut between characters.
std::vector<std::vector<wire::Delta>> inPieces(std::vector<wire::Delta> deltas);
// One line, of one piece.
std::string seal(const Speech& speech, const crypto::Keyring& keyring);
// nullopt for what is no such line, as hints are none.
std::optional<SealedSpeech> parseSpeech(std::string_view line);
// nullopt for what does not open, or was not made by seal().
std::optional<Speech> open(const SealedSpeech& speech, const std::string& to, const crypto::Keyring& keyring);

// What is sealed.
std::string encodeParts(const std::vector<wire::Delta>& deltas);
std::optional<std::vector<wire::Delta>> parseParts(std::string_view bytes, const std::string& debate_id);

}  // namespace aragora::cluster
