#include "common/storage/location.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/config/catalogue.h"
#include "common/storage/s3_storage.h"

namespace aragora::storage {

namespace {
namespace key = config::key;
constexpr std::string_view kScheme = "s3://";

Place openBucket(const std::string& location, const config::Config& config) {
  const auto rest = location.substr(kScheme.size());
  const auto slash = rest.find('/');
  S3Options options;
  options.bucket = rest.substr(0, slash);
  options.prefix = slash == std::string::npos ? std::string() : rest.substr(slash + 1);
  while (endsWith(options.prefix, "/")) options.prefix.pop_back();
  if (!options.prefix.empty()) options.prefix += '/';
  if (options.bucket.empty())
    throw Error(Code::Config, fmt::format("{} names no bucket", printable(location, 120)),
                "write it as s3://bucket/prefix");
  options.credentials.region = config.text(key::kOffsiteRegion);
  options.credentials.access_key = config.text(key::kOffsiteAccessKey);
  options.credentials.secret_key = config.secret(key::kOffsiteSecretKey);
  options.lock_days = config.integer(key::kOffsiteLockDays);
  options.endpoint = config.isSet(key::kOffsiteEndpoint)
                         ? config.text(key::kOffsiteEndpoint)
                         : fmt::format("https://s3.{}.amazonaws.com", options.credentials.region);
  if (options.credentials.access_key.empty() || options.credentials.secret_key.empty())
    throw Error(Code::Config, fmt::format("the keys for {} are missing", printable(location, 120)),
                "set ARAGORA_OFFSITE_ACCESS_KEY and ARAGORA_OFFSITE_SECRET_KEY");
  return {std::make_shared<S3Storage>(std::move(options)), {}};
}
}  // namespace

Place openLocation(const std::string& location, const config::Config& config) {
  if (startsWith(location, kScheme)) return openBucket(location, config);
  if (startsWith(location, "/")) return {fs::path(location)};
  throw Error(Code::Config, fmt::format("{} is no place for backups", printable(location, 120)),
              "write s3://bucket/prefix, or an absolute path");
}

std::optional<Place> offsite(const config::Config& config) {
  if (!config.isSet(key::kOffsite)) return std::nullopt;
  return openLocation(config.text(key::kOffsite), config);
}

}  // namespace aragora::storage
