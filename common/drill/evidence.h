// Evidence of drills in DIR/drills: <id>.json, its signature <id>.json.sig, and <id>.md for people.
#pragma once

#include "common/crypto/keyring.h"
#include "common/drill/drill.h"

namespace aragora::drill {

json::object toDocument(const Evidence& evidence);
// `history`: earlier drills, oldest first, shown as a trend.
std::string toMarkdown(const Evidence& evidence, const std::vector<json::object>& history);
// Answers the path of the Markdown.
fs::path save(const Evidence& evidence, const fs::path& backups, const crypto::Keyring& keyring);

struct Kept {
  std::string id;
  bool authentic = false;  // the signature holds
  json::object document;   // empty when it cannot be read
};
// Oldest first.
std::vector<Kept> history(const fs::path& backups, const crypto::Keyring& keyring);

}  // namespace aragora::drill
