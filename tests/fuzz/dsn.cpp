// Connection URLs are parsed or refused, and what is shown never holds the password.
#include <cstdlib>

#include "common/base/error.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/redis/client.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find(static_cast<char>(0)) != std::string_view::npos) return 0;
  const aragora::Secret url{std::string(text)};
  try {
    const auto parts = aragora::database::postgres::parseUrl(url);
    aragora::database::postgres::describeUrl(url);
    const auto renamed = aragora::database::postgres::parseUrl(aragora::database::postgres::withDatabase(url, "other"));
    if (renamed.at("dbname") != "other") std::abort();
    if (parts.count("password") != 0 && renamed.at("password") != parts.at("password")) std::abort();
  } catch (const aragora::Error&) {
  }
  try {
    aragora::redis::parseUrl(url);
  } catch (const aragora::Error&) {
  }
  return 0;
}
