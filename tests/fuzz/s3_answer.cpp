// What a store answers is read or refused: nothing else happens, and a listing that is cut says where it goes on.
#include <cstdlib>

#include "common/base/error.h"
#include "common/storage/s3_answer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  aragora::storage::parseS3Error(text);
  aragora::storage::parseS3Uploads(text);
  aragora::storage::textOfElement(text, "UploadId");
  try {
    aragora::storage::parseS3Listing(text);
  } catch (const aragora::Error&) {
  }
  return 0;
}
