// What an operator wants to know of a TLS certificate file: validity, names, whether the private key belongs to it, and
// what clients will not like about it and those that are sent with it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"

namespace aragora::crypto {

struct CertificateTrouble {
  std::string what;
  std::string hint;
  bool fatal = false;  // clients will refuse it; otherwise some may
};

struct CertificateReport {
  Micros not_before = 0;
  Micros not_after = 0;
  std::string subject;
  std::vector<std::string> names;  // subject alternative names: hosts and addresses, in lower case
  bool key_matches = false;
  std::vector<CertificateTrouble> troubles;  // of the keys, the signatures and the chain

  // Whether a client that asks for `host` takes it (RFC 6125): exactly, or by a wildcard for one label.
  bool covers(std::string_view host) const;
};

// Throws Error(NoInput | Damaged) naming the file.
CertificateReport inspectCertificate(const std::filesystem::path& certificate,
                                     const std::filesystem::path& private_key);
// Until when the first certificate of a file is valid. Throws Error(NoInput | Damaged) naming the file.
Micros certificateExpiry(const std::filesystem::path& certificate);

}  // namespace aragora::crypto
