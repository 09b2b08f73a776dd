// Bundles, checkpoints, keys and canonical JSON are refused or understood: nothing that is made up verifies under a key
// that did not sign it, a canonical form is its own canonical form, and a checkpoint is written back as it was read.
#include <cstdlib>

#include "common/base/error.h"
#include "common/crypto/curve.h"
#include "common/receipts/bundle.h"
#include "common/receipts/canonical.h"

using namespace aragora;

namespace {
void canonicalForm(std::string_view text) {
  const auto form = receipts::canonical(receipts::parseStrict(text, "it"));
  if (receipts::canonical(receipts::parseStrict(form, "it")) != form) std::abort();
}

void checkpoint(std::string_view text) {
  const auto read = receipts::parseCheckpoint(text, "it");
  if (read.signatures.empty() || read.checkpoint.root.size() != 32 || read.checkpoint.size < 0) std::abort();
  if (read.text.find(receipts::text(read.checkpoint)) != 0) std::abort();
}

void key(std::string_view text) {
  const auto read = receipts::parsePublicKey(text, "it");
  if (read.bytes.size() != 32) std::abort();
  if (!read.name.empty() && receipts::parsePublicKey(read.text(), "it") != read) std::abort();
}

void bundle(std::string_view text) {
  static const receipts::Trust kNobody{{{"", crypto::ed25519PublicKey(std::string(32, '\x7f'))}}, {}};
  if (receipts::verifyBundle(text, kNobody).holds()) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto look : {canonicalForm, checkpoint, key, bundle}) {
    try {
      look(text);
    } catch (const Error&) {
    }
  }
  return 0;
}
