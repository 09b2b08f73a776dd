#include "common/crypto/certificate.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

#include "common/base/file.h"
#include "common/base/text.h"
#include "common/crypto/certificate_chain.h"

namespace aragora::crypto {

namespace {
std::string addressText(const ASN1_OCTET_STRING& bytes) {
  char text[INET6_ADDRSTRLEN] = "";
  const int family = ASN1_STRING_length(&bytes) == 4 ? AF_INET : AF_INET6;
  ::inet_ntop(family, ASN1_STRING_get0_data(&bytes), text, sizeof text);
  return text;
}

std::vector<std::string> namesOf(const X509& certificate) {
  std::vector<std::string> names;
  const Owned<GENERAL_NAMES, GENERAL_NAMES_free> all(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(all.get()); ++i) {
    const auto* name = sk_GENERAL_NAME_value(all.get(), i);
    if (name->type == GEN_DNS)
      names.push_back(lower({reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                             static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName))}));
    else if (name->type == GEN_IPADD)
      names.push_back(addressText(*name->d.iPAddress));
  }
  return names;
}

// Refuses instead of prompting for a passphrase on the terminal.
int noPassphrase(char*, int, int, void*) { return 0; }
}  // namespace

bool CertificateReport::covers(std::string_view host) const {
  const auto wanted = lower(host);
  const auto dot = wanted.find('.');
  const auto wildcard = dot == std::string::npos ? wanted : "*" + wanted.substr(dot);
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return name == wanted || name == wildcard; });
}

Micros certificateExpiry(const fs::path& certificate) {
  const auto chain = readCertificates(readFile(certificate, 1 << 20));
  if (chain.empty()) throw Error(Code::Damaged, certificate.string() + " holds no PEM certificate");
  return timeOf(X509_get0_notAfter(chain.front().get()));
}

CertificateReport inspectCertificate(const fs::path& certificate, const fs::path& private_key) {
  const auto chain = readCertificates(readFile(certificate, 1 << 20));
  if (chain.empty()) throw Error(Code::Damaged, certificate.string() + " holds no PEM certificate");
  const auto& x509 = chain.front();
  const auto key_text = readFile(private_key, 1 << 20);
  const Owned<BIO, BIO_free> key_bio(BIO_new_mem_buf(key_text.data(), static_cast<int>(key_text.size())));
  const Owned<EVP_PKEY, EVP_PKEY_free> key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, noPassphrase, nullptr));
  if (!key) throw Error(Code::Damaged, private_key.string() + " holds no PEM private key without a passphrase");
  CertificateReport report;
  report.not_before = timeOf(X509_get0_notBefore(x509.get()));
  report.not_after = timeOf(X509_get0_notAfter(x509.get()));
  char name[256] = "";
  X509_NAME_oneline(X509_get_subject_name(x509.get()), name, sizeof name);
  report.subject = name;
  report.names = namesOf(*x509);
  report.key_matches = X509_check_private_key(x509.get(), key.get()) == 1;
  ERR_clear_error();
  report.troubles = troublesOf(chain);
  return report;
}

}  // namespace aragora::crypto
