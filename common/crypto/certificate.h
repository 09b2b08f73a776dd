// What an operator wants to know of a TLS certificate file: validity, names, and whether the private key belongs to it.
#pragma once

#include <filesystem>
#include <string>

#include "common/base/clock.h"

namespace aragora::crypto {

struct CertificateReport {
  Micros not_before = 0;
  Micros not_after = 0;
  std::string subject;
  bool key_matches = false;
};

// Throws Error(NoInput | Damaged) naming the file.
CertificateReport inspectCertificate(const std::filesystem::path& certificate,
                                     const std::filesystem::path& private_key);

}  // namespace aragora::crypto
