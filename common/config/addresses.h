// The forms in which addresses are written: what serve can listen on, what a proxy may be named by, what a browser
// sends as its origin. Pure functions; each answers what is wrong, so that loading and reloading refuse the same.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace aragora::config {

bool isAddress(std::string_view text);  // IPv4 or IPv6, without brackets

// What is wrong with it, nullopt when nothing is.
std::optional<std::string> listenProblem(std::string_view host);   // an address or localhost
std::optional<std::string> networkProblem(std::string_view text);  // an address or a CIDR block
std::optional<std::string> urlPathProblem(std::string_view text);  // where everything is served below: /aragora

// As a browser sends it (RFC 6454 section 6.1): lower case, no default port, no slash. nullopt for what is no origin.
std::optional<std::string> canonicalOrigin(std::string_view text);

}  // namespace aragora::config
