// Whether a directory for the copies elsewhere is what it is taken for. A disk that is not mounted leaves an ordinary
// directory behind, or none: copies that went there would be lost with this machine.
#pragma once

#include <string>

#include "common/storage/place.h"

namespace aragora::backup {

// Empty when it is a mount point itself, has the mark of initElsewhere(), or holds copies of ours already; else why
// not, without its name. Of a bucket nothing is asked.
std::string whyNotElsewhere(const storage::Place& place);
// Error(Unreachable) with the line to type.
void requireElsewhere(const storage::Place& place);
// Whether backups come there file by file, the manifest last.
bool holdsCopies(const storage::Place& place);
// Makes the directory and marks it. False when it was marked. Error(Usage) for a bucket, which needs no mark.
bool initElsewhere(const storage::Place& place);

inline constexpr const char* kHowToMark =
    "mount it; where the copies are meant to be in an ordinary directory: aragora backup copy --init";

}  // namespace aragora::backup
