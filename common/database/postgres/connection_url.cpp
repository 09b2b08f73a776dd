#include "common/database/postgres/connection_url.h"

#include <libpq-fe.h>
#include <unistd.h>

#include <cstring>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/text.h"

namespace aragora::database::postgres {

namespace {
using Options = std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)>;

constexpr const char* kForm =
    "write it as postgresql://user:password@host:5432/name, special characters percent-encoded";
constexpr const char* kSeeLibpq = "see the parameters of libpq: https://www.postgresql.org/docs/15/libpq-connect.html";

Error mistake(const std::string& what, const char* hint = kSeeLibpq) {
  return {Code::Config, fmt::format("the database URL: {}", what), hint};
}

const std::string* find(const Parts& parts, const char* name) {
  const auto found = parts.find(name);
  return found == parts.end() || found->second.empty() ? nullptr : &found->second;
}

// As libpq chooses them when it connects: from the environment, the system's user.
void addDefaults(Parts& parts, std::initializer_list<std::string_view> wanted) {
  const Options defaults(PQconndefaults(), PQconninfoFree);
  for (const auto* option = defaults.get(); option != nullptr && option->keyword != nullptr; ++option) {
    if (std::find(wanted.begin(), wanted.end(), option->keyword) != wanted.end() && option->val != nullptr &&
        *option->val != '\0')
      parts.try_emplace(option->keyword, option->val);
  }
}

// libpq's reasons quote parts of the URL, which holds the password: only the name of a parameter is taken from them,
// and only where nothing of a password can stand (an unescaped ? or blank in it makes libpq read on in the wrong
// place).
std::string reasonOf(const std::string& url, std::string_view reason) {
  for (const std::string_view known : {"invalid URI query parameter: \"", "invalid connection option \""}) {
    if (!startsWith(reason, known)) continue;
    const auto rest = reason.substr(known.size());
    const auto name = rest.substr(0, rest.find('"'));
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) { return std::isalpha(c) != 0 || c == '_'; });
    const auto query = url.find('?');
    const bool behind_password = url.find("://") != std::string::npos
                                     ? query != std::string::npos && url.find('@', query) == std::string::npos
                                     : url.find("password") == std::string::npos;
    if (plain && behind_password) return fmt::format("{} is not a parameter of a PostgreSQL connection", name);
  }
  return "it cannot be read by libpq";
}

// libpq ends the password of a URL at the first @, and would name the rest of it as the host that cannot be found.
bool moreThanOneAt(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return false;
  const auto begin = scheme + 3;
  const auto authority = url.substr(begin, url.find_first_of("/?", begin) - begin);
  return std::count(authority.begin(), authority.end(), '@') > 1;
}

// Sockets may have one in their name, those of a directory and abstract ones; a machine has none.
bool anyWithAt(const std::string& hosts) {
  const auto all = split(hosts, ',');
  return std::any_of(all.begin(), all.end(),
                     [](const std::string& host) { return !isSocket(host) && host.find('@') != std::string::npos; });
}

Parts parsed(const Secret& url) {
  char* reason = nullptr;
  const Options options(PQconninfoParse(url.reveal().c_str(), &reason), PQconninfoFree);
  const auto said = firstLine(reason);
  PQfreemem(reason);
  if (!options) {
    const auto what = reasonOf(url.reveal(), said);
    throw mistake(what, endsWith(what, "connection") ? kSeeLibpq : kForm);
  }
  Parts result;
  for (auto* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) result[option->keyword] = option->val;
  }
  const auto host = result.find("host");
  if (moreThanOneAt(url.reveal()) || (host != result.end() && anyWithAt(host->second)))
    throw mistake("it has more than one @ before the host; write an @ in the user or password as %40", kForm);
  return result;
}

// libpq reads a file of services only on its way to a connection. What it has made of everything is asked of one that
// ends before a socket is opened, because one value is refused; what that value hides is asked a second time.
Parts throughService(const Parts& named) {
  constexpr const char* kRefused = "what-does-the-service-say";
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of ours sets it
  if (const char* services = std::getenv("PGSERVICEFILE"); services != nullptr)
    refuseNamedPipe("PGSERVICEFILE", services);
  Parts result;
  for (const std::string hidden : {"target_session_attrs", "gssencmode"}) {
    auto asked = named;
    asked[hidden] = kRefused;
    const std::unique_ptr<PGconn, decltype(&PQfinish)> handle(PQconnectStart(connectionString(asked).reveal().c_str()),
                                                              PQfinish);
    const auto said = firstLine(PQerrorMessage(handle.get()));
    if (said.find(kRefused) == std::string::npos) throw mistake(said);
    const Options options(PQconninfo(handle.get()), PQconninfoFree);
    for (const auto* option = options.get(); option != nullptr && option->keyword != nullptr; ++option) {
      if (option->keyword != hidden && option->val != nullptr && *option->val != '\0')
        result.try_emplace(option->keyword, option->val);
    }
  }
  // libpq names its own ~/.pgpass, which nobody has to have.
  if (const auto* file = find(result, "passfile");
      file != nullptr && endsWith(*file, "/.pgpass") && ::access(file->c_str(), F_OK) != 0)
    result.erase("passfile");
  for (const auto& [name, value] : named) result[name] = value;
  result.erase("service");
  return result;
}

// What libpq opens by itself.
void requireNoPipes(const Parts& parts) {
  for (const auto* name : {"passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl"}) {
    const auto* file = find(parts, name);
    if (file != nullptr) refuseNamedPipe(fmt::format("the database URL: {}", name), *file);
  }
}

// libpq takes no notice of a file that is not there, and says later that a password is missing.
void requireFiles(const Parts& parts) {
  requireNoPipes(parts);
  const auto* password_file = find(parts, "passfile");
  if (password_file != nullptr && find(parts, "password") == nullptr && ::access(password_file->c_str(), R_OK) != 0)
    throw mistake(fmt::format("passfile {}: {}", *password_file, systemError(errno)),
                  "name a file that this user can read, mode 0600");
  const auto* mode = find(parts, "sslmode");
  const auto* root = find(parts, "sslrootcert");
  if (mode != nullptr && startsWith(*mode, "verify") && root != nullptr && *root != "system" &&
      ::access(root->c_str(), R_OK) != 0)
    throw mistake(fmt::format("sslrootcert {}: {}", *root, systemError(errno)),
                  "name the certificate of the authority that signed the server's");
}

void requireNumber(const Parts& parts, const char* name, std::int64_t least, std::int64_t most) {
  const auto* text = find(parts, name);
  if (text == nullptr) return;
  const auto number = parseInteger(trim(*text));
  if (number && *number >= least && *number <= most) return;
  // A password with an unescaped slash is read as a port and the name of a database.
  const auto* database = find(parts, "dbname");
  const bool may_be_secret = !number || (database != nullptr && database->find('@') != std::string::npos);
  throw mistake(fmt::format("{}{} is not a number from {} to {}", name, may_be_secret ? "" : " " + *text, least, most),
                may_be_secret ? kForm : kSeeLibpq);
}

std::vector<std::string> listOf(const Parts& parts, const char* name) {
  const auto* text = find(parts, name);
  return text == nullptr ? std::vector<std::string>{} : split(*text, ',');
}

void set(Parts& parts, const char* name, const std::vector<std::string>& list, std::size_t i) {
  if (!list.empty()) parts[name] = trim(list.size() == 1 ? list[0] : list[i]);
}

std::vector<Parts> serversOf(const Parts& parts) {
  const auto hosts = listOf(parts, "host");
  const auto addresses = listOf(parts, "hostaddr");
  const auto ports = listOf(parts, "port");
  const auto count = std::max<std::size_t>({hosts.size(), addresses.size(), 1});
  if (!hosts.empty() && !addresses.empty() && hosts.size() != addresses.size())
    throw mistake(fmt::format("{} hosts, but {} addresses in hostaddr", hosts.size(), addresses.size()));
  if (ports.size() > 1 && ports.size() != count)
    throw mistake(fmt::format("{} hosts, but {} ports", count, ports.size()), "give one port for all, or one for each");
  std::vector<Parts> servers(count, parts);
  for (std::size_t i = 0; i < count; ++i) {
    set(servers[i], "host", hosts, i);
    set(servers[i], "hostaddr", addresses, i);
    set(servers[i], "port", ports, i);
    requireNumber(servers[i], "port", 1, 65535);
  }
  return servers;
}

std::string quoteValue(const std::string& value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}
}  // namespace

bool isSocket(std::string_view host) { return startsWith(host, "/") || startsWith(host, "@"); }

std::string firstLine(const char* text) {
  const std::string_view all(text != nullptr ? text : "");
  return std::string(trim(all.substr(0, all.find('\n'))));
}

bool isMistake(std::string_view message) {
  // «connection to server at "db", port 5432 failed: root certificate file "/x" does not exist»
  if (const auto behind = message.find(" failed: "); startsWith(message, "connection to ") && behind != message.npos)
    message.remove_prefix(behind + std::strlen(" failed: "));
  for (const std::string_view start :
       {"invalid ", "could not match ", "root certificate file ", "could not read root certificate file ",
        "could not open certificate file ", "could not read certificate file ", "certificate present, but not ",
        "private key file ", "could not load private key file ", "certificate does not match private key file ",
        "FATAL:  unrecognized configuration parameter ", "FATAL:  invalid value for parameter ",
        "FATAL:  invalid command-line argument"}) {
    if (startsWith(message, start)) return true;
  }
  return false;
}

Parts namedIn(const Secret& url) {
  auto parts = parsed(url);
  const char* everywhere = std::getenv("PGSERVICE");  // NOLINT(concurrency-mt-unsafe): nothing of ours sets it
  if (find(parts, "service") != nullptr || (everywhere != nullptr && *everywhere != '\0'))
    parts = throughService(parts);
  return parts;
}

Parts parseUrl(const Secret& url) {
  auto result = namedIn(url);
  std::erase_if(result, [](const auto& one) { return one.second.empty(); });
  addDefaults(result, {"user", "dbname"});
  if (const auto user = result.find("user"); user != result.end()) result.try_emplace("dbname", user->second);
  return result;
}

std::string describeUrl(const Secret& url) {
  const auto parts = parseUrl(url);
  const auto part = [&](const char* name, const char* fallback) {
    const auto found = parts.find(name);
    return found == parts.end() ? std::string(fallback) : found->second;
  };
  return fmt::format("{}@{}:{}/{}", part("user", "?"), part("host", part("hostaddr", "localhost").c_str()),
                     part("port", "5432"), part("dbname", part("user", "?").c_str()));
}

Secret connectionString(const Parts& parts) {
  std::string text;
  for (const auto& [keyword, value] : parts) text += fmt::format("{}={} ", keyword, quoteValue(value));
  return Secret(std::move(text));
}

Secret withDatabase(const Secret& url, const std::string& database) {
  auto parts = namedIn(url);
  parts["dbname"] = database;
  return connectionString(parts);
}

std::vector<Parts> attemptsOf(const Secret& url) {
  auto parts = namedIn(url);
  addDefaults(parts, {"host", "hostaddr", "port", "target_session_attrs", "connect_timeout"});
  requireFiles(parts);
  requireNumber(parts, "connect_timeout", -1, 86400);
  auto attempts = serversOf(parts);
  if (const auto* wanted = find(parts, "target_session_attrs"); wanted != nullptr && *wanted == "prefer-standby") {
    const auto servers = attempts;
    for (auto& one : attempts) one["target_session_attrs"] = "standby";
    for (auto one : servers) {
      one["target_session_attrs"] = "any";
      attempts.push_back(std::move(one));
    }
  }
  return attempts;
}

}  // namespace aragora::database::postgres
