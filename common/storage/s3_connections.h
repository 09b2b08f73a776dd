// Connections to one endpoint that are kept between requests: a handshake costs more than most requests do. Private to
// common/storage. Any thread; each connection belongs to the one that took it.
#pragma once

#include <Poco/Net/Context.h>
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/URI.h>

#include <memory>
#include <mutex>
#include <vector>

#include "common/base/clock.h"

namespace aragora::storage {

class S3Connections {
 public:
  using Session = std::unique_ptr<Poco::Net::HTTPClientSession>;
  S3Connections(Poco::URI endpoint, std::chrono::milliseconds timeout);

  const Poco::URI& endpoint() const { return endpoint_; }
  // One that was used before, empty when there is none. The store may have closed it meanwhile.
  Session takeKept();
  Session make();
  // Only after the whole answer was read.
  void keep(Session session);
  void forgetKept();

 private:
  const Poco::URI endpoint_;
  const std::chrono::milliseconds timeout_;
  std::mutex mutex_;
  std::vector<Session> kept_;
  Poco::Net::Context::Ptr context_;  // of TLS; holds the certificates of the authorities
};

}  // namespace aragora::storage
