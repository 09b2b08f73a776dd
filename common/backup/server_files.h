// The files that configure the PostgreSQL server of a deployment. Debian keeps them in /etc/postgresql, outside of the
// data directory, where no base backup looks. Found by asking the server, otherwise in Debian's places by its port.
#pragma once

#include <optional>

#include "common/base/json.h"
#include "common/database/connection.h"

namespace aragora::backup {

struct ServerFile {
  std::string path;
  std::optional<std::string> content;
  unsigned mode = 0640;
  std::string missing;  // why there is no content
};

struct ServerFiles {
  std::string version;  // the server's major version
  std::vector<ServerFile> files;
  std::string note;  // when none are here, and why
};

// Throws Error(Unreachable) when the server does not answer: "not looked" is not "nothing there".
ServerFiles serverFiles(const database::Target& live);
json::object describe(const ServerFiles& files);
// Throws Error(Damaged) for what describe() did not make.
ServerFiles parseServerFiles(const json::object& document);

}  // namespace aragora::backup
