#include "common/crypto/password.h"

#include <sodium.h>

#include <atomic>
#include <semaphore>

#include "common/base/error.h"

namespace aragora::crypto {

namespace {
constexpr unsigned long long kPasses = 2;
constexpr std::size_t kMemory = 19456U << 10;
constexpr std::ptrdiff_t kAtOnce = 4;
constexpr std::ptrdiff_t kInLine = 16;  // whoever waits keeps a thread from other work

std::atomic<std::uint64_t> computed{0};
std::counting_semaphore<kInLine> line(kInLine);
std::counting_semaphore<kAtOnce> places(kAtOnce);

// One of the few places in which a hash may be computed.
class Turn {
 public:
  Turn() {
    static const int initialised = sodium_init();
    if (initialised < 0) throw Error(Code::Internal, "libsodium does not start");
    if (!line.try_acquire()) throw Error(Code::Overloaded, "too many passwords are being checked");
    places.acquire();  // those ahead take some 25 ms each
    ++computed;
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    places.release();
    line.release();
  }
};
}  // namespace

std::string hashPassword(const Secret& password) {
  const Turn turn;
  char hash[crypto_pwhash_STRBYTES];
  if (crypto_pwhash_str(hash, password.reveal().data(), password.size(), kPasses, kMemory) != 0)
    throw Error(Code::Overloaded, "there is not enough memory to hash a password");
  return hash;
}

bool passwordMatches(const Secret& password, const std::string& hash) {
  if (hash.size() >= crypto_pwhash_STRBYTES) return false;
  const Turn turn;
  return crypto_pwhash_str_verify(hash.c_str(), password.reveal().data(), password.size()) == 0;
}

std::uint64_t takePasswordsComputed() { return computed.exchange(0); }

bool passwordNeedsRehash(const std::string& hash) {
  return hash.size() >= crypto_pwhash_STRBYTES || crypto_pwhash_str_needs_rehash(hash.c_str(), kPasses, kMemory) != 0;
}

}  // namespace aragora::crypto
