#include "common/base/error.h"

#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace aragora {

namespace {
constexpr CodeInfo kCodes[] = {
    {Code::CheckFailed, "CHECK_FAILED", 1, 500, "a check or verification found a problem"},
    {Code::Usage, "USAGE", 64, 400, "the command line is wrong"},
    {Code::Damaged, "DATA_DAMAGED", 65, 500, "damaged data: a checksum, signature or structure does not hold"},
    {Code::NoInput, "NO_INPUT", 66, 404, "the named input does not exist"},
    {Code::Unreachable, "DEPENDENCY_UNREACHABLE", 69, 503, "a dependency is unreachable"},
    {Code::CouldNotVerify, "COULD_NOT_VERIFY", 69, 503, "the check could not be made; nothing is claimed"},
    {Code::Internal, "INTERNAL_ERROR", 70, 500, "a bug in aragora"},
    {Code::CannotCreate, "CANNOT_CREATE", 73, 500, "an output could not be created"},
    {Code::Io, "IO_FAILED", 74, 500, "reading or writing failed"},
    {Code::StorageFull, "STORAGE_FULL", 74, 507, "a file system or the database has no space left"},
    {Code::Busy, "BUSY", 75, 503, "another run holds the lock; try again"},
    {Code::Permission, "PERMISSION_DENIED", 77, 403, "permission denied"},
    {Code::Config, "CONFIG_INVALID", 78, 500, "the configuration is invalid"},
    {Code::Interrupted, "INTERRUPTED", 130, 503, "interrupted by a signal"},
    {Code::InvalidJson, "INVALID_JSON", 65, 400, "the body is not JSON"},
    {Code::Validation, "VALIDATION_ERROR", 65, 400, "one or more fields are wrong"},
    {Code::NotFound, "NOT_FOUND", 66, 404, "there is no such thing"},
    {Code::MethodNotAllowed, "METHOD_NOT_ALLOWED", 64, 405, "the path exists, the method does not"},
    {Code::Conflict, "CONFLICT", 65, 409, "the state does not allow it"},
    {Code::Unprocessable, "UNPROCESSABLE_ENTITY", 65, 422, "the request contradicts an earlier one or a budget"},
    {Code::PayloadTooLarge, "PAYLOAD_TOO_LARGE", 65, 413, "the body is larger than the route takes"},
    {Code::UnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", 65, 415, "the body is not application/json"},
    {Code::RateLimited, "RATE_LIMITED", 75, 429, "too many requests from this address"},
    {Code::Overloaded, "SERVICE_UNAVAILABLE", 75, 503, "the daemon is full or stopping; try again"},
    {Code::Unauthorized, "AUTH_REQUIRED", 77, 401, "credentials are missing or wrong"},
    {Code::Forbidden, "FORBIDDEN", 77, 403, "this account may not do that"},
    {Code::ProveAgain, "REAUTHENTICATION_REQUIRED", 77, 403, "the password or a code is asked for again"},
    {Code::NotOffered, "NOT_IMPLEMENTED", 69, 501, "this server does not do that"},
    {Code::SecondFactor, "ADMIN_MFA_REQUIRED", 77, 403, "an administrator has to prove a second factor first"},
};
}  // namespace

std::span<const CodeInfo> codeTable() { return kCodes; }

const CodeInfo& info(Code code) {
  for (const auto& entry : kCodes) {
    if (entry.code == code) return entry;
  }
  std::abort();
}

std::string systemError(int error_number) { return std::generic_category().message(error_number); }

void throwSystemError(Code code, std::string_view action, std::string_view object, int error_number) {
  std::string hint;
  if (error_number == EACCES || error_number == EPERM) {
    code = Code::Permission;
    hint = "run as a user who may, or change the owner or mode";
  } else if (error_number == ENOSPC || error_number == EDQUOT) {
    code = Code::StorageFull;
    hint = "free space on that file system";
  }
  throw Error(code, fmt::format("cannot {} {}: {}", action, object, systemError(error_number)), hint);
}

namespace detail {
void checkFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "aragora: bug: %s does not hold at %s:%d\n", condition, file, line);
  std::abort();
}
}  // namespace detail

}  // namespace aragora
