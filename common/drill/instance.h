// A daemon on restored data: `aragora serve` of this very program, on loopback, with nothing of the live configuration
// but the encryption key, used like a client would.
#pragma once

#include "common/base/subprocess.h"
#include "common/database/connection.h"
#include "common/net/http_client.h"

namespace aragora::drill {

class Instance {
 public:
  // Starts it on `database`; `scratch` becomes its state directory.
  Instance(const database::Target& database, const Secret& encryption_key, const fs::path& scratch);
  // Throws Error(CheckFailed) with the daemon's own words when it ends or is not ready in time.
  void waitUntilReady(Deadline deadline);
  // What a client would do: lists and reads what was restored, holds a new debate, reads it back. Throws
  // Error(CheckFailed) naming the request that disappointed; answers what was seen.
  std::string smokeTest(std::int64_t expected_debates, Deadline deadline);
  // A session: logged in, used, renewed, ended, and of no use afterwards. Throws and answers like smokeTest().
  std::string sessionTest(const std::string& email, const Secret& password);

 private:
  struct Answer {
    int status = 0;
    std::string body;
  };
  Answer request(const std::string& method, const std::string& path, const std::string& body = {},
                 const std::string& access_token = {}) const;
  json::object requireObject(const std::string& method, const std::string& path, const std::string& body = {},
                             const std::string& access_token = {}) const;
  std::uint16_t port_;
  net::HttpClient client_;
  std::unique_ptr<Subprocess> process_;
};

}  // namespace aragora::drill
