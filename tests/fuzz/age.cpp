// Arbitrary bytes never open as an age file: they end in an Error.
#include <cstdlib>

#include "common/base/error.h"
#include "common/crypto/age.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static const std::vector<aragora::crypto::AgeIdentity> identities{
      aragora::crypto::ageIdentity(aragora::Secret(std::string(32, 7)))};
  try {
    aragora::crypto::AgeReader reader(identities, [](std::string_view) {});
    reader.write("age-encryption.org/v1\n-> X25519 ");
    reader.write(text);
    reader.finish();
    std::abort();
  } catch (const aragora::Error&) {
  }
  return 0;
}
