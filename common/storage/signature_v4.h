// AWS Signature Version 4 for S3 requests (AWS Signature Version 4 documentation, "Authenticating Requests"), header
// form. Tested against vectors that botocore made. Pure functions, any thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/secret.h"

namespace aragora::storage {

struct Credentials {
  std::string access_key;
  Secret secret_key;
  std::string region = "us-east-1";
};

struct SignedRequest {
  std::string method;
  std::string path;                                        // not encoded: /bucket/name with spaces
  std::vector<std::pair<std::string, std::string>> query;  // not encoded, any order
  std::map<std::string, std::string> headers;              // lower-case names; host among them
  std::string payload_sha256;                              // hex
};

// Every byte but the unreserved ones of RFC 3986 as %XX; slashes too unless `path`.
std::string uriEncode(std::string_view text, bool path = false);
// The query as it is signed and must be sent.
std::string canonicalQuery(std::vector<std::pair<std::string, std::string>> query);
// Adds x-amz-date, x-amz-content-sha256 and authorization to the headers.
void sign(SignedRequest& request, const Credentials& credentials, Micros now);

}  // namespace aragora::storage
