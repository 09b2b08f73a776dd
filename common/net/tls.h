// How this program speaks TLS to others: TLS 1.2 or newer, the certificate and the name verified. Reading the
// authorities' certificates takes milliseconds and megabytes, hence one context for each set of options, made when it
// is first needed and kept. Any thread.
#pragma once

#include <memory>
#include <string>

namespace aragora::net {

// The last two verify nothing, and nothing may be said over them: they are for looking at what a server shows.
enum class TlsPurpose { Speak, LookAtCertificate, TryOldProtocols };

struct TlsOptions {
  std::string authorities;  // a PEM file; empty: the system's, or SSL_CERT_FILE and SSL_CERT_DIR
  TlsPurpose purpose = TlsPurpose::Speak;
  // A PEM file, for a server of this machine whose certificate is at hand: whoever shows the first one in it, and so
  // has its key, is trusted, whatever its name, issuer and dates; nobody else is.
  std::string pinned{};
  auto operator<=>(const TlsOptions&) const = default;
};

class TlsContext;
// Throws Error(Config) for a file that cannot be read.
std::shared_ptr<const TlsContext> tlsContext(const TlsOptions& options = {});

}  // namespace aragora::net
