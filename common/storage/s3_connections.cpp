#include "common/storage/s3_connections.h"

#include <Poco/Net/HTTPSClientSession.h>

namespace aragora::storage {

namespace net = Poco::Net;

namespace {
constexpr std::size_t kMostKept = 16;
constexpr int kIdleSeconds = 8;  // shorter than what stores and their proxies wait before they hang up
}  // namespace

S3Connections::S3Connections(Poco::URI endpoint, std::chrono::milliseconds timeout)
    : endpoint_(std::move(endpoint)), timeout_(timeout) {}

S3Connections::Session S3Connections::takeKept() {
  const std::lock_guard lock(mutex_);
  if (kept_.empty()) return nullptr;
  auto session = std::move(kept_.back());
  kept_.pop_back();
  return session;
}

S3Connections::Session S3Connections::make() {
  Session session;
  if (endpoint_.getScheme() == "https") {
    const std::lock_guard lock(mutex_);
    if (!context_) {
      context_ = new net::Context(net::Context::TLS_CLIENT_USE, "", net::Context::VERIFY_STRICT, 9, true);
      context_->requireMinimumProtocol(net::Context::PROTO_TLSV1_2);
      context_->enableExtendedCertificateVerification(true);
    }
    session = std::make_unique<net::HTTPSClientSession>(endpoint_.getHost(), endpoint_.getPort(), context_);
  } else {
    session = std::make_unique<net::HTTPClientSession>(endpoint_.getHost(), endpoint_.getPort());
  }
  session->setTimeout(Poco::Timespan(timeout_.count() * 1000));
  session->setKeepAlive(true);
  session->setKeepAliveTimeout(Poco::Timespan(kIdleSeconds, 0));
  return session;
}

void S3Connections::keep(Session session) {
  const std::lock_guard lock(mutex_);
  if (kept_.size() < kMostKept) kept_.push_back(std::move(session));
}

void S3Connections::forgetKept() {
  std::vector<Session> closing;
  const std::lock_guard lock(mutex_);
  closing.swap(kept_);
}

}  // namespace aragora::storage
