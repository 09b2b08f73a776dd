// Reports that can be handed on: signed with the deployment's key (Ed25519, the one that signs manifests, under a label
// of its own) and verified anywhere, by its public half. Pure.
#pragma once

#include "common/base/json.h"
#include "common/crypto/keyring.h"

namespace aragora::checklist {

// The text with one line more; that is a comment in Markdown and in HTML.
std::string signedText(const std::string& text, const crypto::Keyring& keyring);
// {"report": …} with its signature.
json::object signedDocument(const json::object& report, const crypto::Keyring& keyring);

struct Verified {
  std::string public_key;                // hex, as the report names it
  std::optional<json::object> report{};  // of JSON
};
// The signature holds with the key that the report names, and nothing in it is unsigned. Whose key that is, is for the
// caller to say. Throws Error(Damaged) for anything else.
Verified verifyReport(const std::string& text, const std::string& name);

}  // namespace aragora::checklist
