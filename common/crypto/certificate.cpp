#include "common/crypto/certificate.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>

#include "common/base/file.h"
#include "common/crypto/openssl.h"

namespace aragora::crypto {

namespace {
Micros toMicros(const ASN1_TIME* time) {
  std::tm parts{};
  require(ASN1_TIME_to_tm(time, &parts) == 1, "certificate time");
  return static_cast<Micros>(timegm(&parts)) * 1'000'000;
}
// Refuses instead of prompting for a passphrase on the terminal.
int noPassphrase(char*, int, int, void*) { return 0; }
}  // namespace

CertificateReport inspectCertificate(const fs::path& certificate, const fs::path& private_key) {
  const auto certificate_text = readFile(certificate, 1 << 20);
  const Owned<BIO, BIO_free> certificate_bio(
      BIO_new_mem_buf(certificate_text.data(), static_cast<int>(certificate_text.size())));
  const Owned<X509, X509_free> x509(PEM_read_bio_X509(certificate_bio.get(), nullptr, noPassphrase, nullptr));
  if (!x509) throw Error(Code::Damaged, certificate.string() + " holds no PEM certificate");
  const auto key_text = readFile(private_key, 1 << 20);
  const Owned<BIO, BIO_free> key_bio(BIO_new_mem_buf(key_text.data(), static_cast<int>(key_text.size())));
  const Owned<EVP_PKEY, EVP_PKEY_free> key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, noPassphrase, nullptr));
  if (!key) throw Error(Code::Damaged, private_key.string() + " holds no PEM private key without a passphrase");
  CertificateReport report;
  report.not_before = toMicros(X509_get0_notBefore(x509.get()));
  report.not_after = toMicros(X509_get0_notAfter(x509.get()));
  char name[256] = "";
  X509_NAME_oneline(X509_get_subject_name(x509.get()), name, sizeof name);
  report.subject = name;
  report.key_matches = X509_check_private_key(x509.get(), key.get()) == 1;
  ERR_clear_error();
  return report;
}

}  // namespace aragora::crypto
