// A list of ids as one parameter, "A,B,C", for statements on both engines. Ids are ULIDs: no comma and no quote.
#pragma once

#include <string>
#include <string_view>

#include "common/database/database.h"

namespace aragora::store {

// For IN (…).
inline std::string listedIn(database::Engine engine, std::string_view parameter) {
  return engine == database::Engine::Postgres
             ? fmt::format("SELECT unnest(string_to_array({}, ','))", parameter)
             : fmt::format(R"(SELECT value FROM json_each('["' || replace({}, ',', '","') || '"]'))", parameter);
}

}  // namespace aragora::store
