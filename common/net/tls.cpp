#include <Poco/Exception.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/net/tls_context.h"

namespace aragora::net {

using Poco::Net::Context;

namespace {
constexpr int kDepth = 9;
constexpr const char* kSuites = "ALL:!ADH:!LOW:!EXP:!MD5:@STRENGTH";  // Poco's own
constexpr const char* kAnySuite = "ALL:@SECLEVEL=0";  // without it OpenSSL offers nothing to old servers
}  // namespace

TlsContext::TlsContext(const TlsOptions& options) {
  refuseNamedPipe("the authorities", options.authorities);
  refuseNamedPipe("the certificate", options.pinned);
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of ours sets it
  if (const char* file = std::getenv("SSL_CERT_FILE"); file != nullptr && options.authorities.empty())
    refuseNamedPipe("SSL_CERT_FILE", file);
  const bool speaks = options.purpose == TlsPurpose::Speak && options.pinned.empty();
  const bool any_suite = options.purpose != TlsPurpose::Speak;
  try {
    if (!options.pinned.empty()) pinned.emplace(options.pinned);
    context = new Context(Context::TLS_CLIENT_USE, options.authorities,
                          speaks ? Context::VERIFY_STRICT : Context::VERIFY_NONE, kDepth, options.authorities.empty(),
                          any_suite ? kAnySuite : kSuites);
  } catch (const Poco::Exception& error) {
    throw Error(Code::Config, fmt::format("cannot load certificates: {}", printable(error.displayText(), 200)),
                "name a PEM file of certificates");
  }
  if (options.purpose == TlsPurpose::TryOldProtocols) {
    context->requireMinimumProtocol(Context::PROTO_TLSV1);
    context->disableProtocols(Context::PROTO_TLSV1_2 | Context::PROTO_TLSV1_3);
  } else {
    context->requireMinimumProtocol(Context::PROTO_TLSV1_2);
  }
  context->enableExtendedCertificateVerification(speaks);
}

std::shared_ptr<const TlsContext> tlsContext(const TlsOptions& options) {
  static std::mutex mutex;
  static std::map<TlsOptions, std::shared_ptr<const TlsContext>> contexts;
  const std::lock_guard lock(mutex);
  auto& context = contexts[options];
  if (!context) context = std::make_shared<TlsContext>(options);
  return context;
}

}  // namespace aragora::net
