// A line of JSON and a line with its signature (Ed25519, as manifests have): what describes a piece of log or an
// increment. Stateless.
#pragma once

#include "common/backup/manifest.h"
#include "common/storage/place.h"

namespace aragora::backup {

std::string signedRecord(const json::object& record, const crypto::Keyring& keyring);
// nullopt when there is none. Throws Error(Damaged) when it cannot be read or its signature does not hold.
std::optional<json::object> readSignedRecord(const storage::Place& folder, const std::string& name,
                                             const crypto::Keyring& keyring);

// The same of a text that lies elsewhere; `where` names it in errors.
json::object parseSignedRecord(const std::string& text, const std::string& where, const crypto::Keyring& keyring);

// Whether it is one by its form: a line, and a line as long as a signature.
bool looksSigned(const std::string& text);
// Whose key signed it; nullopt for what no key at hand did.
std::optional<std::string> signerOf(const std::string& text, const crypto::Keyring& keyring);

json::object describeFile(const FileRecord& file);
FileRecord describedFile(const json::object& record);

}  // namespace aragora::backup
