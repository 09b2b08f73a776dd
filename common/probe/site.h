// A deployment as a client meets it: its URL, whom to trust and the key to show. The key leaves this process over a
// connection whose certificate was verified, or to this machine itself, and on no other way. Every request has its
// deadline. One thread.
#pragma once

#include "common/base/json.h"
#include "common/base/secret.h"
#include "common/net/http_client.h"
#include "common/net/websocket.h"

namespace aragora::probe {

struct SiteOptions {
  net::Url url;                    // of the deployment; its path is where it is mounted
  std::string named_by = "--url";  // said when nobody answers there
  Secret key{};                    // an API key or the access token; empty: none
  std::string authorities;         // a PEM file; empty: the system's
  std::stop_token stop{};
  Deadline deadline = Deadline::max();     // of all, whatever until() says
  std::chrono::milliseconds each{10'000};  // request
};

struct Answer {
  int status = 0;
  net::Head head;
  std::string body;
  double seconds = 0;
  std::string_view field(std::string_view name) const { return head.field(name); }
  std::vector<std::string> fields(std::string_view name) const;  // each line of that name that says something
  json::object object() const;                                   // empty when it is none
};

enum class As { Stranger, Caller };  // the second shows the key, when there is one that may be shown

class Site {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;
  explicit Site(SiteOptions options);

  bool encrypted() const { return options_.url.scheme == "https"; }
  bool local() const;  // this machine alone
  bool hasKey() const { return !options_.key.empty(); }
  bool showsKey() const { return hasKey() && (encrypted() || local()); }
  const net::Url& url() const { return options_.url; }
  const net::TlsOptions& tls() const { return tls_; }
  // Throws net::Failure, which says what was asked, who named it and what to do.
  Answer ask(const std::string& method, const std::string& path, As as, Headers headers = {},
             const json::object& body = {}) const;
  Answer get(const std::string& path, As as = As::Stranger) const { return ask("GET", path, as); }
  // At another URL, as a stranger. Throws net::Failure, which says what was asked.
  Answer getElsewhere(const net::Url& url) const;
  net::WebSocketOptions socketAt(const std::string& path) const;
  net::Limits limits() const;
  void until(Deadline deadline) { until_ = deadline; }  // of what is asked from now on
  Deadline until() const { return until_; }
  // Of what was asked there by another way, its socket or its certificate: says what ask() says.
  net::Failure explained(const net::Failure& failure) const;

  net::Url at(const std::string& path) const;

 private:
  Answer exchange(const net::Request& request) const;
  SiteOptions options_;
  Deadline until_ = Deadline::max();
  net::TlsOptions tls_;
  net::HttpClient client_;
};

}  // namespace aragora::probe
