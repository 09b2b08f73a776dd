#include "common/crypto/certificate_chain.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

#include "common/base/text.h"

namespace aragora::crypto {

namespace {
// NIST SP 800-57: what 2048 bits of RSA are worth; and of a signature, what tells SHA-256 from SHA-1.
constexpr int kKeyStrength = 112;
constexpr int kSignatureStrength = 100;
constexpr Micros kSoon = 21 * 86'400'000'000LL;

std::string nameOf(const X509& certificate) {
  char name[256] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(&certificate), NID_commonName, name, sizeof name);
  if (*name == '\0') X509_NAME_oneline(X509_get_subject_name(&certificate), name, sizeof name);
  return printable(name, 80);
}

std::string issuerOf(const X509& certificate) {
  char name[256] = "";
  X509_NAME_get_text_by_NID(X509_get_issuer_name(&certificate), NID_commonName, name, sizeof name);
  if (*name == '\0') X509_NAME_oneline(X509_get_issuer_name(&certificate), name, sizeof name);
  return printable(name, 80);
}

bool signedBy(X509& certificate, X509& issuer) {
  const bool is = X509_check_issued(&issuer, &certificate) == X509_V_OK &&
                  X509_verify(&certificate, X509_get0_pubkey(&issuer)) == 1;
  ERR_clear_error();
  return is;
}

bool selfSigned(X509& certificate) {
  const bool is = X509_self_signed(&certificate, 1) == 1;
  ERR_clear_error();
  return is;
}

void addWeakness(X509& certificate, std::vector<CertificateTrouble>& troubles) {
  const auto* key = X509_get0_pubkey(&certificate);
  if (key == nullptr || EVP_PKEY_get_security_bits(key) < kKeyStrength)
    troubles.push_back({fmt::format("the key of {} is too weak ({} bits)", nameOf(certificate),
                                    key == nullptr ? 0 : EVP_PKEY_get_bits(key)),
                        "make one of RSA with 2048 bits or more, or of P-256", true});
  int digest = 0;
  int strength = 0;
  if (selfSigned(certificate) || X509_get_signature_info(&certificate, &digest, nullptr, &strength, nullptr) != 1 ||
      strength >= kSignatureStrength)
    return;
  troubles.push_back({fmt::format("{} is signed with {}, which can be forged", nameOf(certificate), OBJ_nid2sn(digest)),
                      "have it signed with SHA-256", true});
}

// Those behind the first: when they end, the first is worth nothing either.
void addEndings(const std::vector<Certificate>& chain, std::vector<CertificateTrouble>& troubles) {
  for (std::size_t i = 1; i < chain.size(); ++i) {
    const auto end = timeOf(X509_get0_notAfter(chain[i].get()));
    if (end > nowMicros() + kSoon) continue;
    const bool past = end < nowMicros();
    troubles.push_back({fmt::format("{}, which is sent with it, {} on {}", nameOf(*chain[i]),
                                    past ? "expired" : "expires", toIso(end).substr(0, 10)),
                        "take the chain that your authority gives out today", past});
  }
}

void addOrder(const std::vector<Certificate>& chain, std::vector<CertificateTrouble>& troubles) {
  for (std::size_t i = 0; i + 1 < chain.size(); ++i) {
    if (signedBy(*chain[i], *chain[i + 1])) continue;
    const bool elsewhere = std::any_of(chain.begin(), chain.end(), [&](const Certificate& other) {
      return other != chain[i] && signedBy(*chain[i], *other);
    });
    const auto before = nameOf(*chain[i]);
    const auto what =
        elsewhere ? fmt::format("the chain is out of order: {} does not stand behind {}", issuerOf(*chain[i]), before)
                  : fmt::format("the chain is broken: {} did not sign {}, which stands before it",
                                nameOf(*chain[i + 1]), before);
    troubles.push_back({what, "this host's certificate first, behind each the one that signed it", true});
    return;
  }
}

// Whether this machine knows who signed the last one.
bool endIsKnown(const std::vector<Certificate>& chain) {
  const Owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
  const Owned<X509_STORE_CTX, X509_STORE_CTX_free> context(X509_STORE_CTX_new());
  require(store && context && X509_STORE_set_default_paths(store.get()) == 1 &&
              X509_STORE_CTX_init(context.get(), store.get(), chain.back().get(), nullptr) == 1,
          "certificate store");
  X509* issuer = nullptr;
  const bool known = X509_STORE_CTX_get1_issuer(&issuer, context.get(), chain.back().get()) == 1;
  const Certificate owned(issuer);
  ERR_clear_error();
  return known;
}

void addEnd(const std::vector<Certificate>& chain, std::vector<CertificateTrouble>& troubles) {
  auto& last = *chain.back();
  if (selfSigned(last)) {
    if (chain.size() == 1 && !endIsKnown(chain))
      troubles.push_back({"it is signed by nobody but itself: clients do not take it unasked",
                          "have it signed by an authority, such as Let's Encrypt", false});
    return;
  }
  if (endIsKnown(chain)) return;
  troubles.push_back(
      {fmt::format("the chain ends at {}; {}, who signed it, is neither in the file nor known to this machine",
                   nameOf(last), issuerOf(last)),
       "append what your authority gave you (fullchain.pem); for one of your own name it in SSL_CERT_FILE", false});
}
}  // namespace

std::vector<Certificate> readCertificates(const std::string& pem) {
  const Owned<BIO, BIO_free> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<Certificate> all;
  while (auto* one = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) all.emplace_back(one);
  ERR_clear_error();
  return all;
}

Micros timeOf(const ASN1_TIME* time) {
  std::tm parts{};
  require(ASN1_TIME_to_tm(time, &parts) == 1, "certificate time");
  return static_cast<Micros>(timegm(&parts)) * 1'000'000;
}

std::vector<CertificateTrouble> troublesOf(const std::vector<Certificate>& chain) {
  std::vector<CertificateTrouble> troubles;
  for (const auto& certificate : chain) addWeakness(*certificate, troubles);
  if (X509_check_purpose(chain.front().get(), X509_PURPOSE_SSL_SERVER, 0) != 1)
    troubles.push_back({"it is not made for a server (key usage)", "ask your authority for one for TLS servers", true});
  addEndings(chain, troubles);
  addOrder(chain, troubles);
  addEnd(chain, troubles);
  return troubles;
}

}  // namespace aragora::crypto
