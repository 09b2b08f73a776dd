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
}

TlsContext::TlsContext(const TlsOptions& options) {
  refuseNamedPipe("the authorities", options.authorities);
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of ours sets it
  if (const char* file = std::getenv("SSL_CERT_FILE"); file != nullptr && options.authorities.empty())
    refuseNamedPipe("SSL_CERT_FILE", file);
  try {
    context = new Context(Context::TLS_CLIENT_USE, options.authorities, Context::VERIFY_STRICT, kDepth,
                          options.authorities.empty());
  } catch (const Poco::Exception& error) {
    throw Error(Code::Config, fmt::format("cannot load certificates: {}", printable(error.displayText(), 200)),
                "name a PEM file of certificates");
  }
  context->requireMinimumProtocol(Context::PROTO_TLSV1_2);
  context->enableExtendedCertificateVerification(true);
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
