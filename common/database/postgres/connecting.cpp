#include "common/database/postgres/connecting.h"

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/text.h"
#include "common/database/postgres/connection_url.h"
#include "common/net/address.h"
#include "common/net/failure.h"
#include "common/net/resolve.h"

namespace aragora::database::postgres {

namespace {
constexpr auto kSlice = std::chrono::milliseconds(100);
}

void sendCancel(PGconn* handle) {
  constexpr int kMost = 8;  // more of them at once would help nobody
  static std::atomic<int> under_way{0};
  std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> cancel(PQgetCancel(handle), PQfreeCancel);
  if (!cancel || under_way.fetch_add(1) >= kMost) {
    if (cancel) --under_way;
    return;
  }
  try {
    // Detached: nobody waits for it, and it touches nothing but its own.
    std::thread([cancel = std::move(cancel)] {
      char reason[256];
      PQcancel(cancel.get(), reason, sizeof reason);
      --under_way;
    }).detach();
  } catch (const std::system_error&) {
    --under_way;  // no thread, no cancel: the connection is given up instead
  }
}

void noticeSilence(std::map<std::string, std::string>& parts) {
  for (const auto& [name, value] : {std::pair{"keepalives_idle", "10"},
                                    {"keepalives_interval", "5"},
                                    {"keepalives_count", "4"},
                                    {"tcp_user_timeout", "30000"}})
    parts.try_emplace(name, value);
}

bool countsAsAway(const Company& company) {
  return company.outlook != nullptr && company.role == Role::Works && company.outlook->away();
}

bool awaitServer(int descriptor, short events, Deadline deadline, const Company& company) {
  if (company.outlook == nullptr || company.role == Role::Looks)
    return interrupt::waitFor(descriptor, events, deadline);
  while (!countsAsAway(company)) {
    if (interrupt::waitFor(descriptor, events, std::min(deadline, deadlineIn(kSlice)))) return true;
    if (remaining(deadline).count() == 0) break;
  }
  return false;
}

namespace {
constexpr std::chrono::milliseconds kLeastTimeout{2000};  // libpq takes a connect_timeout of 1 for 2

using Handle = std::unique_ptr<PGconn, decltype(&PQfinish)>;

struct Failure {
  Code code;
  std::string reason;
  bool silent = false;
};

std::chrono::milliseconds patienceWith(const Parts& parts, std::chrono::milliseconds share) {
  const auto found = parts.find("connect_timeout");
  const auto seconds = found == parts.end() ? 0 : parseInteger(trim(found->second)).value_or(0);
  if (seconds <= 0) return share;
  return std::min<std::chrono::milliseconds>(
      share, std::max<std::chrono::milliseconds>(std::chrono::seconds(seconds), kLeastTimeout));
}

std::variant<Handle, Failure> tryAddress(const Parts& parts, Deadline deadline, const Company& company) {
  const auto patience = remaining(deadline);
  // As text: PQconnectStartParams takes what is empty from the environment.
  Handle handle(PQconnectStart(connectionString(parts).reveal().c_str()), PQfinish);
  auto state = PGRES_POLLING_WRITING;
  while (handle && PQstatus(handle.get()) != CONNECTION_BAD && state != PGRES_POLLING_OK &&
         state != PGRES_POLLING_FAILED) {
    if (!awaitServer(PQsocket(handle.get()), state == PGRES_POLLING_WRITING ? POLLOUT : POLLIN, deadline, company))
      return Failure{Code::Unreachable, fmt::format("did not answer within {}", humanDuration(patience)), true};
    state = PQconnectPoll(handle.get());
  }
  if (handle && PQstatus(handle.get()) == CONNECTION_OK) return handle;
  const auto reason = handle ? firstLine(PQerrorMessage(handle.get())) : std::string("out of memory");
  return Failure{isMistake(reason) ? Code::Config : Code::Unreachable, reason};
}

std::string part(const Parts& parts, const char* name) {
  const auto found = parts.find(name);
  return found == parts.end() ? std::string() : found->second;
}

// In slices: nobody waits for a name while the server counts as away. One look-up is shared by all of them.
std::vector<net::SocketAddress> resolved(const std::string& host, Deadline deadline, const Company& company) {
  while (true) {
    const auto slice = company.outlook != nullptr ? std::min(deadline, deadlineIn(kSlice)) : deadline;
    try {
      return net::resolve(host, 0, {.deadline = slice, .patience = remaining(deadline)});
    } catch (const net::Failure& failure) {
      const bool late = remaining(deadline).count() == 0 || countsAsAway(company);
      if (failure.cause() != net::Cause::TooLate || late) throw;
    }
  }
}

// One for each address of the host. Its name stays: certificates, Kerberos and .pgpass go by it.
std::vector<Parts> byAddress(const Parts& parts, Deadline deadline, const Company& company) {
  const auto host = part(parts, "host");
  if (host.empty() || isSocket(host) || !part(parts, "hostaddr").empty() || net::Ip::parse(host)) return {parts};
  std::vector<Parts> all;
  for (const auto& address : resolved(host, deadline, company)) {
    all.push_back(parts);
    all.back()["hostaddr"] = net::numeric(address);
  }
  return all;
}

std::variant<Handle, Failure> tryOne(const Parts& parts, std::chrono::milliseconds patience, const Company& company) {
  const auto deadline = deadlineIn(patience);
  std::optional<Failure> first;
  try {
    const auto addresses = byAddress(parts, deadline, company);
    for (std::size_t i = 0; i < addresses.size(); ++i) {
      const auto share = remaining(deadline) / static_cast<int>(addresses.size() - i);
      auto outcome = tryAddress(addresses[i], deadlineIn(share), company);
      if (std::holds_alternative<Handle>(outcome)) return outcome;
      if (!first) first = std::get<Failure>(std::move(outcome));
      if (first->code == Code::Config) break;
    }
  } catch (const net::Failure& failure) {
    return Failure{Code::Unreachable, failure.what()};
  }
  return std::move(*first);
}

// A name may have several addresses, and a socket has none.
Secret serverOf(PGconn* handle, Parts parts) {
  parts["host"] = PQhost(handle);
  parts["port"] = PQport(handle);
  const std::string address = isSocket(parts["host"]) ? "" : PQhostaddr(handle);
  parts["hostaddr"] = address;
  parts["target_session_attrs"] = "any";
  return connectionString(parts);
}

std::string nameOf(const Parts& parts) {
  const auto host = part(parts, "host").empty() ? part(parts, "hostaddr") : part(parts, "host");
  const auto port = part(parts, "port");
  return fmt::format("{}:{}", host.empty() ? "localhost" : host, port.empty() ? "5432" : port);
}

[[noreturn]] void giveUp(std::string_view what, const std::string& where, const std::vector<std::string>& names,
                         const std::vector<Failure>& failures) {
  const bool silent = std::any_of(failures.begin(), failures.end(), [](const Failure& one) { return one.silent; });
  if (failures.size() == 1 && silent)
    throw Error(Code::Unreachable, fmt::format("PostgreSQL {} {}", where, failures[0].reason),
                "check host, port and firewall")
        .with(json::object{{"silent", true}});
  std::vector<std::string> reasons;
  for (std::size_t i = 0; i < failures.size(); ++i)
    reasons.push_back(failures[i].silent ? fmt::format("{} {}", names[i], failures[i].reason) : failures[i].reason);
  throw Error(Code::Unreachable, fmt::format("cannot {} PostgreSQL {}: {}", what, where, join(reasons, "; ")),
              "check that the server runs and that the URL is right")
      .with(json::object{{"silent", silent}});
}
}  // namespace

namespace {
// The server that answered last first: of a list whose first one is silent every connection would wait for that.
std::vector<Parts> inOrder(std::vector<Parts> attempts, const Company& company) {
  const auto last = company.outlook != nullptr ? company.outlook->server() : std::string();
  if (!last.empty())
    std::stable_partition(attempts.begin(), attempts.end(), [&](const Parts& one) { return nameOf(one) == last; });
  return attempts;
}
}  // namespace

Connected connectToOne(const Target& target, const std::string& where, const Wish& wish) {
  const auto deadline = deadlineIn(target.connect_timeout);
  const auto attempts = inOrder(attemptsOf(target.url), wish.company);
  std::vector<std::string> names;
  std::vector<Failure> failures;
  for (std::size_t i = 0; i < attempts.size(); ++i) {
    auto parts = attempts[i];
    names.push_back(nameOf(parts));
    if (wish.left_behind.count(names.back()) > 0) {
      failures.push_back({Code::Unreachable, names.back() + " was left behind when another server took over"});
      continue;
    }
    parts["application_name"] = target.application_name;
    parts["client_encoding"] = "UTF8";
    noticeSilence(parts);
    const auto share =
        attempts.size() == 1 ? target.connect_timeout : remaining(deadline) / static_cast<int>(attempts.size() - i);
    auto outcome = tryOne(parts, patienceWith(parts, share), wish.company);
    if (auto* handle = std::get_if<Handle>(&outcome)) {
      auto server = serverOf(handle->get(), attempts[i]);
      return {handle->release(), std::move(server), names.back()};
    }
    failures.push_back(std::get<Failure>(std::move(outcome)));
    if (failures.back().code == Code::Config)
      throw Error(Code::Config, fmt::format("cannot {} PostgreSQL {}: {}", wish.what, where, failures.back().reason),
                  "correct that parameter of DATABASE_URL");
  }
  giveUp(wish.what, where, names, failures);
}

}  // namespace aragora::database::postgres
