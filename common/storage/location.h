// Where a copy elsewhere is, as people write it: s3://bucket/prefix or an absolute path of a mounted directory.
#pragma once

#include "common/config/config.h"
#include "common/storage/place.h"

namespace aragora::storage {

// Endpoint, region and keys of an s3:// location come from the configuration (backup.offsite_*). Throws Error(Config)
// for a location that is neither, or keys that are missing. Nothing is contacted.
Place openLocation(const std::string& location, const config::Config& config);
// The configured copy elsewhere; nullopt when there is none.
std::optional<Place> offsite(const config::Config& config);

}  // namespace aragora::storage
