#include "common/backup/server_files.h"

#include <sys/stat.h>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/config/config.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kFileLimit = 1U << 20;
constexpr std::size_t kMostFiles = 64;
constexpr const char* kDebian = "/etc/postgresql";

bool isHere(const database::Target& live) {
  const auto parts = database::postgres::parseUrl(live.url);
  const auto found = parts.find("host");
  if (found == parts.end()) return true;
  const auto& host = found->second;
  return host.empty() || startsWith(host, "/") || config::loopbackHost(host);
}

// What the server says; it tells the places of its files to members of pg_read_all_settings only.
std::map<std::string, std::string> askServer(const database::Target& live) {
  std::map<std::string, std::string> said;
  for (const auto& row : database::connect(live)->query(
           "SELECT name, setting FROM pg_settings WHERE name IN "
           "('config_file', 'hba_file', 'ident_file', 'data_directory', 'port', 'server_version_num')",
           {}))
    said[row.text(0)] = row.text(1);
  return said;
}

ServerFile read(const fs::path& path) {
  ServerFile file;
  file.path = path.string();
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) file.mode = status.st_mode & 0666;
  try {
    file.content = readFile(path, kFileLimit);
  } catch (const Error& error) {
    file.missing = error.what();
  }
  return file;
}

bool portIs(const fs::path& configuration, const std::string& port) {
  try {
    std::string found = "5432";
    for (const auto& line : split(readFile(configuration, kFileLimit), '\n')) {
      const auto words = split(replaceAll(replaceAll(line, "\t", " "), "=", " "), ' ');
      if (words.size() > 1 && words[0] == "port") found = words[1];
    }
    return found == port;
  } catch (const Error&) {
    return false;
  }
}

std::optional<fs::path> debianDirectory(const std::string& major, const std::string& port) {
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator(fs::path(kDebian) / major, ignored)) {
    if (portIs(item.path() / "postgresql.conf", port)) return item.path();
  }
  return std::nullopt;
}

bool isBelow(const std::string& path, const std::string& directory) {
  return !directory.empty() && startsWith(path, directory + "/");
}
}  // namespace

ServerFiles serverFiles(const database::Target& live) {
  auto said = askServer(live);
  ServerFiles result;
  result.version = fmt::format("{}", parseInteger(said["server_version_num"]).value_or(0) / 10000);
  if (!isHere(live)) {
    result.note = "the server is on another machine: keep the files that configure it there";
    return result;
  }
  std::vector<fs::path> paths;
  if (const auto found = debianDirectory(result.version, said["port"]); found && said.count("config_file") == 0) {
    for (const auto* name : {"postgresql.conf", "pg_hba.conf", "pg_ident.conf"}) paths.push_back(*found / name);
  }
  for (const auto* name : {"config_file", "hba_file", "ident_file"}) {
    // Base backups hold what lies in the data directory.
    if (said.count(name) > 0 && !isBelow(said[name], said["data_directory"])) paths.emplace_back(said[name]);
  }
  if (paths.empty()) {
    result.note = said.count("config_file") > 0
                      ? "they are in the data directory, which base backups hold"
                      : fmt::format(
                            "the server does not tell where they are, and none in {}/{} has port {}; GRANT "
                            "pg_read_all_settings TO the user of DATABASE_URL",
                            kDebian, result.version, said["port"]);
    return result;
  }
  std::error_code ignored;
  std::vector<fs::path> further;
  for (const auto& item : fs::directory_iterator(paths.front().parent_path() / "conf.d", ignored)) {
    if (item.path().extension() == ".conf") further.push_back(item.path());
  }
  std::sort(further.begin(), further.end());
  paths.insert(paths.end(), further.begin(), further.end());
  if (paths.size() > kMostFiles) {
    result.note = fmt::format("only the first {} of {}", kMostFiles, counted(paths.size(), "file"));
    paths.resize(kMostFiles);
  }
  for (const auto& path : paths) result.files.push_back(read(path));
  return result;
}

json::object describe(const ServerFiles& files) {
  json::array list;
  for (const auto& file : files.files) {
    json::object one{{"path", file.path}, {"mode", fmt::format("{:04o}", file.mode)}};
    if (file.content)
      one["content"] = toBase64(*file.content);
    else
      one["missing"] = file.missing;
    list.push_back(std::move(one));
  }
  return {{"version", files.version}, {"note", files.note}, {"files", std::move(list)}};
}

ServerFiles parseServerFiles(const json::object& document) {
  ServerFiles result{jsonTextOr(document, "version", ""), {}, jsonTextOr(document, "note", "")};
  const auto* list = jsonArray(document, "files");
  if (list == nullptr) return result;
  for (const auto& item : *list) {
    ServerFile file;
    if (item.is_object()) file.path = jsonTextOr(item.get_object(), "path", "");
    // It becomes a file's name below a directory of ours.
    if (!startsWith(file.path, "/") || fs::path(file.path).lexically_normal() != fs::path(file.path))
      throw Error(Code::Damaged, fmt::format("the saved configuration names a file '{}'", printable(file.path, 80)));
    const auto& one = item.get_object();
    if (jsonTextOr(one, "mode", "") == "0644") file.mode = 0644;
    file.missing = jsonTextOr(one, "missing", "");
    if (one.if_contains("content") != nullptr) file.content = fromBase64(jsonTextOr(one, "content", ""));
    if (!file.content && file.missing.empty())
      throw Error(Code::Damaged, fmt::format("the saved configuration has no content for {}", file.path));
    result.files.push_back(std::move(file));
  }
  return result;
}

}  // namespace aragora::backup
