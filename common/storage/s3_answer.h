// The XML that S3 answers with. Private to common/storage.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace aragora::storage {

struct S3Error {
  std::string code;
  std::string message;
};
// Empty code when the text is no error document.
S3Error parseS3Error(const std::string& text);

// The text of the first element of that name, empty when there is none.
std::string textOfElement(const std::string& text, const std::string& element);

struct S3Listing {
  struct Object {
    std::string key;
    std::uint64_t size = 0;
  };
  std::vector<Object> objects;
  std::vector<std::string> prefixes;
  std::string next;  // continuation token, empty at the end
};
// Throws Error(Unreachable) for what is no listing.
S3Listing parseS3Listing(const std::string& text);

struct S3Upload {
  std::string key;
  std::string id;
};
std::vector<S3Upload> parseS3Uploads(const std::string& text);

}  // namespace aragora::storage
