// Private to common/database/postgres: the way to a connection. libpq's own list of hosts is not used: its asynchronous
// connect knows no time limit, so that one host which takes connections and never answers would be the last one tried.
// Nor does it look up names: it would wait for a name server for as long as that says nothing.
#pragma once

#include <libpq-fe.h>

#include <set>

#include "common/base/clock.h"
#include "common/database/connection.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::database::postgres {

// Asks the server to give up what runs on this connection, and returns at once: libpq's cancel waits for as long as a
// host that drops packets, or a server that is stopped, lets it.
void sendCancel(PGconn* handle);
// A peer that is gone without a word is noticed within half a minute, unless the parameters say otherwise.
void noticeSilence(std::map<std::string, std::string>& parts);

struct Connected {
  PGconn* handle = nullptr;
  Secret server;     // a connection string of this server alone
  std::string name;  // "host:port"
};

// True once the descriptor is ready; false at the deadline, or as soon as the server counts as away.
bool awaitServer(int descriptor, short events, Deadline deadline, const Company& company);
bool countsAsAway(const Company& company);

// The first server of the target's list that answers and has the session attributes that are asked for. Each gets its
// connect_timeout, at most an even share of what is left of target.connect_timeout. Throws Error(Config) for a mistake
// in the parameters and Error(Unreachable) with what each host said.
struct Wish {
  std::string_view what = "connect to";  // what cannot be done: "stream from"
  Company company{};
  std::set<std::string> left_behind{};  // servers that are passed by
};
Connected connectToOne(const Target& target, const std::string& where, const Wish& wish = {});

}  // namespace aragora::database::postgres
