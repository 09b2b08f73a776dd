// Private to common/crypto: ownership of OpenSSL objects and translation of its failures.
#pragma once

#include <openssl/err.h>

#include <memory>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace aragora::crypto {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
template <typename T, auto Free>
using Owned = std::unique_ptr<T, Deleter<Free>>;

inline unsigned char* asBytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
inline const unsigned char* asBytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// For calls that fail only by a bug or want of memory.
inline void require(bool ok, const char* what) {
  if (ok) return;
  char reason[256] = "";
  ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
  throw Error(Code::Internal, fmt::format("OpenSSL {} failed: {}", what, reason));
}

}  // namespace aragora::crypto
