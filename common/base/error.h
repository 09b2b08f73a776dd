// The one exception of the product. An Error says what was tried (with the value), carries a stable code, and a hint
// that tells the reader what to do. The code decides the exit status (sysexits.h numbering, known to systemd) and the
// HTTP status; both live in one table, `kCodes`, against which the man page is tested.
#pragma once

#include <fmt/format.h>

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "common/base/json.h"

namespace aragora {

enum class Code {
  CheckFailed,
  Usage,
  Damaged,
  NoInput,
  Unreachable,
  CouldNotVerify,
  Internal,
  CannotCreate,
  Io,
  StorageFull,
  Busy,
  Permission,
  Config,
  Interrupted,
  // Seen only by API clients.
  InvalidJson,
  Validation,
  NotFound,
  MethodNotAllowed,
  Conflict,
  Unprocessable,
  PayloadTooLarge,
  UnsupportedMediaType,
  RateLimited,
  Overloaded,
  Unauthorized,
  Forbidden,
  SecondFactor,
  ProveAgain,
  NotOffered,
};

struct CodeInfo {
  Code code;
  std::string_view name;  // in JSON, stable
  int exit_status;
  int http_status;
  std::string_view meaning;
};

std::span<const CodeInfo> codeTable();
const CodeInfo& info(Code code);

class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message, std::string hint = {})
      : std::runtime_error(message), code_(code), hint_(std::move(hint)) {}

  Code code() const { return code_; }
  const std::string& hint() const { return hint_; }
  // Machine-readable particulars (field errors, blockers), null when there are none.
  const json::value& details() const { return details_; }
  Error& with(json::value details) {
    details_ = std::move(details);
    return *this;
  }

 private:
  Code code_;
  std::string hint_;
  json::value details_;
};

// strerror_r of an errno value, for messages.
std::string systemError(int error_number);
// Throws Error(code) for a failed system call: "cannot open /x: No such file or directory".
[[noreturn]] void throwSystemError(Code code, std::string_view action, std::string_view object, int error_number);

namespace detail {
[[noreturn]] void checkFailed(const char* condition, const char* file, int line);
}

}  // namespace aragora

// A bug, never bad input: says where and aborts.
#define ARAGORA_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::aragora::detail::checkFailed(#condition, __FILE__, __LINE__))
