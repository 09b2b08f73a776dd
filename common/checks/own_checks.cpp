#include "common/checks/own_checks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "common/base/file.h"
#include "common/base/names.h"
#include "common/base/text.h"
#include "common/checks/settings_checks.h"
#include "common/config/toml_file.h"

namespace aragora::checks {

namespace {
constexpr std::size_t kLongestFile = 256 * 1024;
constexpr Names<OwnKind, 5> kKinds{{{OwnKind::Command, "command"},
                                    {OwnKind::Http, "http"},
                                    {OwnKind::File, "file"},
                                    {OwnKind::Port, "port"},
                                    {OwnKind::Certificate, "certificate"}}};
const std::set<std::string_view> kEverywhere{"id", "title", "kind", "severity", "timeout", "fix"};
const std::set<std::string_view>& keysOf(OwnKind kind) {
  static const std::map<OwnKind, std::set<std::string_view>> keys{
      {OwnKind::Command, {"command", "user", "exit_status", "contains"}},
      {OwnKind::Http, {"url", "ca", "status", "contains"}},
      {OwnKind::File, {"path", "exists", "mode", "owner", "max_age_hours"}},
      {OwnKind::Port, {"host", "port", "open"}},
      {OwnKind::Certificate, {"file", "host", "port", "ca", "days"}}};
  return keys.at(kind);
}

// Reads one [[check]]; every mistake is a problem with its line.
class Reader {
 public:
  Reader(const config::TomlTable& table, std::string file, std::vector<Finding>& problems)
      : table_(table), file_(std::move(file)), problems_(problems) {}

  std::optional<OwnCheck> read() {
    OwnCheck check;
    check.origin = at(table_.line);
    check.id = text("id");
    const auto valid = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    if (check.id.empty() || check.id.size() > 60 || check.id.find_first_not_of(valid) != std::string::npos)
      complain("id", "id is missing, or has other characters than a-z, 0-9, '.', '_' and '-'");
    check.title = text("title");
    if (check.title.empty() || check.title != printable(check.title, 100))
      complain("title", "title is missing or too long");
    const auto kind = parseIn(kKinds, text("kind"));
    if (!kind) {
      complain("kind", "kind is none of command, http, file, port and certificate");
      return std::nullopt;
    }
    check.kind = *kind;
    refuseUnknown(*kind);
    const auto severity = text("severity", "error");
    if (severity != "error" && severity != "warning") complain("severity", "severity is neither error nor warning");
    check.severity = severity == "warning" ? Level::Warning : Level::Failure;
    check.timeout = std::chrono::seconds(number("timeout", 5, 1, 60));
    check.fix = printable(text("fix"), 300);
    readKind(check);
    return failed_ ? std::nullopt : std::optional(std::move(check));
  }

 private:
  std::string at(int line) const { return fmt::format("{}:{}", file_, line); }

  void complain(const std::string& key, const std::string& message) {
    failed_ = true;
    const auto found = table_.values.find(key);
    problems_.push_back(misconfigured("Own checks: " + message,
                                      at(found == table_.values.end() ? table_.line : found->second.line),
                                      "see aragora-checks.d(5)"));
  }

  template <typename T>
  std::optional<T> get(const std::string& key, const char* what) {
    const auto found = table_.values.find(key);
    if (found == table_.values.end()) return std::nullopt;
    if (const auto* value = std::get_if<T>(&found->second.value)) return *value;
    complain(key, fmt::format("{} takes {}", key, what));
    return std::nullopt;
  }

  std::string text(const std::string& key, std::string fallback = {}) {
    return get<std::string>(key, "a string").value_or(std::move(fallback));
  }
  bool flag(const std::string& key, bool fallback) { return get<bool>(key, "true or false").value_or(fallback); }
  std::int64_t number(const std::string& key, std::int64_t fallback, std::int64_t least, std::int64_t most) {
    const auto value = get<std::int64_t>(key, "a whole number").value_or(fallback);
    if (value < least || value > most) complain(key, fmt::format("{} takes {} to {}", key, least, most));
    return value;
  }

  void refuseUnknown(OwnKind kind) {
    std::vector<std::string> known(kEverywhere.begin(), kEverywhere.end());
    known.insert(known.end(), keysOf(kind).begin(), keysOf(kind).end());
    for (const auto& [key, value] : table_.values) {
      if (std::find(known.begin(), known.end(), key) != known.end()) continue;
      const auto close = nearest(key, known);
      complain(key, fmt::format("{} is not for a check of this kind{}", printable(key, 60),
                                close ? ": " + *close + "?" : ""));
    }
  }

  void readKind(OwnCheck& check) {
    switch (check.kind) {
      case OwnKind::Command:
        check.command = get<std::vector<std::string>>("command", R"(a list of words: ["program", "argument"])")
                            .value_or(std::vector<std::string>{});
        if (check.command.empty() || !startsWith(check.command.front(), "/"))
          complain("command", "command is missing, or does not begin with the full path of a program");
        check.user = text("user");
        check.exit_status = number("exit_status", 0, 0, 255);
        break;
      case OwnKind::Http:
        check.url = text("url");
        if (!startsWith(check.url, "http://") && !startsWith(check.url, "https://"))
          complain("url", "url is missing, or is neither http:// nor https://");
        check.status = number("status", 200, 100, 599);
        break;
      case OwnKind::File:
        readFileKind(check);
        break;
      case OwnKind::Port:
        readAddress(check, "127.0.0.1");
        check.open = flag("open", true);
        break;
      case OwnKind::Certificate:
        check.path = text("file");
        if (check.path.empty()) readAddress(check, "");
        if (!check.path.empty() && !startsWith(check.path, "/")) complain("file", "file is no full path");
        check.days = number("days", 21, 0, 3650);
        break;
    }
    check.contains = text("contains");
    check.authorities = text("ca");
  }

  void readFileKind(OwnCheck& check) {
    check.path = text("path");
    if (!startsWith(check.path, "/")) complain("path", "path is missing, or no full path");
    check.exists = flag("exists", true);
    check.owner = text("owner");
    if (table_.values.count("max_age_hours") > 0) check.max_age_hours = number("max_age_hours", 0, 1, 1'000'000);
    const auto mode = text("mode");
    if (mode.empty()) return;
    if (mode.size() > 4 || mode.find_first_not_of("01234567") != std::string::npos)
      complain("mode", R"(mode takes octal digits in quotes: "0640")");
    else
      check.mode = static_cast<unsigned>(std::stoul(mode, nullptr, 8));
  }

  void readAddress(OwnCheck& check, std::string host) {
    check.host = text("host", std::move(host));
    if (check.host.empty()) complain("host", "host is missing");
    check.port = static_cast<std::uint16_t>(number("port", check.kind == OwnKind::Certificate ? 443 : 0, 1, 65535));
  }

  const config::TomlTable& table_;
  std::string file_;
  std::vector<Finding>& problems_;
  bool failed_ = false;
};

// Root's or our own, and nobody else may write it: who could would run commands as us.
std::optional<Finding> untrustworthy(const struct stat& status, const std::string& path) {
  if (status.st_uid != 0 && status.st_uid != ::geteuid())
    return Finding{Level::Failure,
                   fmt::format("Own checks: {} belongs to user {}: nothing in it is run", path, status.st_uid), path,
                   "chown root " + path, Code::Config};
  if ((status.st_mode & 022) != 0)
    return Finding{Level::Failure,
                   fmt::format("Own checks: {} has mode {:04o}, others may write it: nothing in it is run", path,
                               status.st_mode & 07777),
                   path, "chmod go-w " + path, Code::Config};
  return std::nullopt;
}

std::optional<std::string> textOf(const fs::path& path, std::vector<Finding>& problems) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    problems.push_back(
        misconfigured(fmt::format("Own checks: {} cannot be read, or is no file of its own", path.string()),
                      path.string(), "put a regular file there that this user may read"));
    return std::nullopt;
  }
  if (auto bad = untrustworthy(status, path.string())) {
    problems.push_back(std::move(*bad));
    return std::nullopt;
  }
  std::string text;
  readThrough(file, path, [&](std::string_view bytes) {
    if (text.size() + bytes.size() > kLongestFile)
      throw Error(Code::Damaged, fmt::format("Own checks: {} is too long", path.string()));
    text += bytes;
  });
  return text;
}

void readOne(const fs::path& path, OwnChecks& own, std::set<std::string>& known) {
  const auto text = textOf(path, own.problems);
  if (!text) return;
  std::vector<config::Problem> problems;
  const auto tables = config::parseTomlTables(*text, "check", path.string(), problems);
  for (const auto& problem : problems)
    own.problems.push_back(misconfigured("Own checks: " + problem.message, problem.origin, "see aragora-checks.d(5)"));
  std::vector<OwnCheck> read;
  bool all = problems.empty();
  for (const auto& table : tables) {
    auto check = Reader(table, path.string(), own.problems).read();
    all = all && check;
    if (!check) continue;
    if (!known.insert(check->id).second) {
      own.problems.push_back(misconfigured(fmt::format("Own checks: there is a check '{}' already", check->id),
                                           check->origin,
                                           "give it an id of its own; see: aragora validate-env --list"));
      all = false;
    }
    read.push_back(std::move(*check));
  }
  if (!all) return;
  for (auto& check : read) own.entries.push_back(std::make_shared<const OwnCheck>(std::move(check)));
}

bool reachesOut(const OwnCheck& check) {
  return check.kind == OwnKind::Command || check.kind == OwnKind::Http || check.kind == OwnKind::Port ||
         (check.kind == OwnKind::Certificate && check.path.empty());
}
}  // namespace

std::shared_ptr<const OwnChecks> loadOwnChecks(const std::string& config_file) {
  auto own = std::make_shared<OwnChecks>();
  const fs::path beside =
      config_file.empty() ? fs::path(config::kInstalledDirectory) : fs::absolute(config_file).parent_path();
  own->directory = (beside / "checks.d").string();
  struct stat status {};
  if (::stat(own->directory.c_str(), &status) != 0) return own;
  if (auto bad = untrustworthy(status, own->directory)) {
    own->problems.push_back(std::move(*bad));
    return own;
  }
  std::vector<fs::path> files;
  std::error_code failed;
  for (fs::directory_iterator item(own->directory, failed), end; !failed && item != end; item.increment(failed)) {
    if (item->path().extension() == ".toml") files.push_back(item->path());
  }
  if (failed)
    own->problems.push_back(misconfigured(fmt::format("Own checks: {} cannot be read", own->directory), own->directory,
                                          "run as a user who may"));
  std::sort(files.begin(), files.end());
  std::set<std::string> known;
  for (const auto& check : allChecks()) known.emplace(check.id);
  for (const auto& file : files) readOne(file, *own, known);
  for (const auto& entry : own->entries) {
    own->checks.push_back(
        {.id = entry->id, .title = entry->title, .needs_network = reachesOut(*entry), .look = [entry](const Context&) {
           return lookAtOwn(*entry);
         }});
  }
  return own;
}

std::vector<Finding> checkOwnFiles(const Context& context) {
  if (!context.own) return {skipped("Own checks: not looked at")};
  if (!context.own->problems.empty()) return context.own->problems;
  const auto count = context.own->checks.size();
  return {ok(count == 0 ? fmt::format("Own checks: none in {}", context.own->directory)
                        : fmt::format("Own checks: {} in {}", count, context.own->directory))};
}

}  // namespace aragora::checks
