// What DATABASE_URL says: a URL or a connection string of libpq's with every parameter that libpq knows, several hosts
// and services (pg_service.conf) too. What is wrong with it is named, as Error(Config), without a part of a password.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/base/secret.h"

namespace aragora::database::postgres {

using Parts = std::map<std::string, std::string>;

// «aragora@host:5432/name», never a password.
std::string describeUrl(const Secret& url);
// keyword -> value of a connection URL or string, user and dbname also where libpq would choose them, and what its
// service says.
Parts parseUrl(const Secret& url);
// The same without what libpq would choose, and with what is named as empty: that keeps libpq from taking it from the
// environment (PGHOSTADDR, PGTARGETSESSIONATTRS…).
Parts namedIn(const Secret& url);
// The other way.
Secret connectionString(const Parts& parts);
// The same URL with another database name.
Secret withDatabase(const Secret& url, const std::string& database);
// One for each server that is to be tried, in this order, with one host and one port.
std::vector<Parts> attemptsOf(const Secret& url);
// A host that is a socket: its directory, or with an @ before it the name of an abstract one (unix(7)).
bool isSocket(std::string_view host);
// The first line of what libpq says.
std::string firstLine(const char* text);
// Does libpq speak of a mistake in the parameters, and not of the server or the network?
bool isMistake(std::string_view message);

}  // namespace aragora::database::postgres
