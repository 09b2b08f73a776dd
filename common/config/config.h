// The merged configuration: every value with its origin and what it shadows. Immutable once loaded, any thread.
// Typed readers abort on a key of another type (a bug) and answer the catalogue's default when nothing was set.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/secret.h"
#include "common/config/catalogue.h"
#include "common/net/listen_address.h"

namespace aragora::config {

enum class Source { Default, File, Command, SecretFile, Credential, Environment, Flag, Generated };

struct Origin {
  Source source = Source::Default;
  std::string text = "default";  // "/etc/aragora/aragora.toml:12", "env JWT_SECRET", "/etc/default/aragora:3"
  std::string written{};         // what the operator wrote: "server.port", "JWT_SECRET_FILE"; empty when nothing was
  std::string handed_over{};     // the file, where it is one that systemd handed over
};

struct Candidate {
  Secret text;
  Origin origin;
  bool resolved = true;  // false: a *_COMMAND that was not run (offline)
};

// Something wrong with the configuration itself. Never contains a secret.
struct Problem {
  std::string setting;   // catalogue key, or the unknown name
  std::string variable;  // the name the operator wrote or should write
  std::string message;
  std::string origin;
  std::string hint;
  bool warning = false;
  bool forbidden = false;  // this user may not read it
};

// Whether a host of an address or URL is this machine alone.
bool loopbackHost(std::string_view host);

class Config {
 public:
  bool isSet(std::string_view key) const;  // by anything but the default
  bool resolved(std::string_view key) const;
  std::string text(std::string_view key) const;
  std::int64_t integer(std::string_view key) const;
  bool flag(std::string_view key) const;
  std::vector<std::string> list(std::string_view key) const;
  Secret secret(std::string_view key) const;
  Origin origin(std::string_view key) const;
  // Effective value first, then what it shadows, in order of precedence.
  const std::vector<Candidate>& candidates(std::string_view key) const;
  // What the operator wrote: the variable, the key of aragora.toml, the credential's file, --set KEY; the canonical
  // variable when nothing was.
  std::string variable(std::string_view key) const;

  bool production() const { return text(key::kEnvironment) == "production"; }
  // Without credentials everybody may do everything: in development on loopback addresses and local sockets only.
  bool anonymousAllowed() const;
  // Those of a setting of the kind Listen, what is none left out; server.listen falls back to bind_host and port.
  std::vector<net::ListenAddress> addresses(std::string_view key) const;
  bool listensOnLoopbackOnly() const;  // server.listen
  bool speaksTls() const { return isSet(key::kTlsCertificate) && isSet(key::kTlsKey); }
  bool usesPostgres() const { return isSet(key::kDatabaseUrl); }
  // Whether Redis must be there: asked for, several instances, or production that is not declared single.
  bool sharedStateRequired() const;
  std::string sharedStateReason() const;
  // server.state_directory; the unit's own directory first for a process that stands apart.
  std::filesystem::path stateDirectory() const;
  std::filesystem::path sqlitePath() const;
  std::filesystem::path backupDirectory() const;

  void add(std::string_view key, Candidate candidate);  // lower precedence than those already there
  // Of a user beside the daemon's, with the daemon's settings and some of its secrets (ARAGORA_SECRETS).
  void standApart() { stands_apart_ = true; }

 private:
  bool stands_apart_ = false;
  std::map<std::string, std::vector<Candidate>, std::less<>> values_;
};

}  // namespace aragora::config
