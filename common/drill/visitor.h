// A client of a daemon's API, as far as a drill needs one: the only place in common that knows the API's routes. Every
// request has ten seconds. One thread.
#pragma once

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/secret.h"
#include "common/net/http_client.h"

namespace aragora::drill {

class Visitor {
 public:
  explicit Visitor(std::string url) : url_(std::move(url)) {}
  // Throws net::Failure when nobody listens.
  bool isReady() const { return request("GET", "/api/ready").status == 200; }
  // What a client would do: lists and reads what was restored, holds a new debate, reads it back. Throws
  // Error(CheckFailed) naming the request that disappointed; answers what was seen.
  std::string smokeTest(std::int64_t expected_debates, Deadline deadline) const;
  // A session: logged in, used, renewed, ended, and of no use afterwards. Throws and answers like smokeTest().
  std::string sessionTest(const std::string& email, const Secret& password) const;

 private:
  struct Answer {
    int status = 0;
    std::string body;
  };
  Answer request(const std::string& method, const std::string& path, const std::string& body = {},
                 const std::string& access_token = {}) const;
  json::object requireObject(const std::string& method, const std::string& path, const std::string& body = {},
                             const std::string& access_token = {}) const;
  std::string url_;
  net::HttpClient client_;
};

}  // namespace aragora::drill
