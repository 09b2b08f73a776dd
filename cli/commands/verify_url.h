// `verify --url`: a deployment looked at from outside. Needs neither configuration nor database.
#pragma once

#include "cli/context.h"
#include "common/probe/visit.h"

namespace aragora::cli {

struct VerifyUrlOptions {
  std::optional<std::string> url;
  std::optional<std::string> key_file;
  std::optional<std::string> authorities;
  std::optional<std::int64_t> clear_port;
  bool quick = false;
  bool no_debate = false;
};

// --url and what belongs to it.
void declareUrl(CommandLine& line, VerifyUrlOptions& options, const std::string& url_description);
// Throws Error(Usage) for an option that says nothing without --url.
void requireUrl(const VerifyUrlOptions& options);
std::vector<probe::Box> lookAtUrl(Context& context, const VerifyUrlOptions& options);
// A line for each, and what the document says of them.
json::array showBoxes(const Output& out, const std::vector<probe::Box>& boxes);
int verifyUrl(Context& context, const VerifyUrlOptions& options);

}  // namespace aragora::cli
