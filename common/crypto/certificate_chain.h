// Private to common/crypto: what is wrong with a certificate and those that are sent with it, as strict clients see it.
#pragma once

#include <openssl/x509.h>

#include <vector>

#include "common/crypto/certificate.h"
#include "common/crypto/openssl.h"

namespace aragora::crypto {

using Certificate = Owned<X509, X509_free>;

// All of a PEM text, in their order.
std::vector<Certificate> readCertificates(const std::string& pem);
Micros timeOf(const ASN1_TIME* time);
// Of a chain that is not empty.
std::vector<CertificateTrouble> troublesOf(const std::vector<Certificate>& chain);

}  // namespace aragora::crypto
