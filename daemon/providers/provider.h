// What answers for an agent. A provider is asked once a call and knows nothing of debates; retries are its own business
// within the deadline. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/reloadable.h"
#include "common/config/agents.h"
#include "common/net/http_client.h"
#include "common/store/states.h"

namespace aragora::providers {

struct Question {
  std::string agent;  // seat name, for logs
  std::string model;  // empty: the provider's default
  store::Phase phase = store::Phase::Propose;
  std::string system;  // instructions: the only place for them
  std::string user;    // data, as one JSON text
  std::uint64_t seed = 0;
  Deadline deadline;
  std::stop_token stop{};  // ends the call within 100 ms, with Error(Interrupted)
};

struct Answer {
  std::string text;
  std::string model;  // who really answered, as the provider says
  std::int64_t tokens_in = 0;
  std::int64_t tokens_out = 0;
  std::optional<std::int64_t> cost_micros{};  // millionths of a US dollar, where the provider says what it took
  bool truncated = false;                     // it ran into the most tokens
};

// Takes the text of an answer as it is made, in the caller's thread; what it throws ends the call.
using OnDelta = std::function<void(std::string_view text)>;

class Provider {
 public:
  virtual ~Provider() = default;
  virtual std::string_view name() const = 0;
  // Throws Error(Unreachable) when it failed for good, Error(Interrupted) when stopped. With `on_delta` the answer is
  // streamed; once a part was handed over nothing is tried again.
  virtual Answer ask(const Question& question, const OnDelta& on_delta = {}) = 0;
};

struct ProvidersOptions {
  struct Remote {
    config::Provider provider;
    std::string base_url;
    std::string model;  // the default
    Secret api_key{};
    std::string why_not{};  // it cannot be asked here; empty: it can
  };
  std::vector<Remote> remotes{};
  std::string why_no_demo{};
  std::chrono::seconds call_timeout{30};
  std::int64_t max_output_tokens = 8192;
  std::vector<std::string> default_agents{};  // config::defaultAgents
};

// Which provider speaks for an agent's name (config::parseAgent), and whether it can be asked here.
class Providers {
 public:
  explicit Providers(ProvidersOptions options);
  ~Providers();

  struct Seat {
    Provider* provider = nullptr;
    std::string model;
  };
  // nullopt with the reason in `why` when nobody speaks for that name here.
  std::optional<Seat> find(const std::string& agent, std::string& why) const;
  struct Listing {
    std::string agent;
    std::string provider;
    std::string model;
  };
  std::vector<Listing> available() const;

  // Of a debate that names none; empty when there is nobody to ask.
  std::vector<std::string> defaultAgents() const { return *default_agents_.get(); }
  void setDefaultAgents(std::vector<std::string> agents) { default_agents_.set(std::move(agents)); }
  // Other keys, from the next question on; what is being asked goes on with the key it has.
  void reload(ProvidersOptions options);

 private:
  struct Entry {
    std::unique_ptr<Provider> provider;  // none: cannot be asked here
    std::string model;                   // the default
    std::string why;
  };
  using Entries = std::map<config::Provider, Entry>;
  Entries entriesOf(ProvidersOptions options) const;
  const net::HttpClient client_;  // one for all, so that connections are kept across debates
  mutable std::mutex mutex_;
  Entries entries_;
  std::vector<Entries> retired_;  // seats of debates that run may still point there
  Reloadable<std::vector<std::string>> default_agents_;
};

std::unique_ptr<Provider> makeDemoProvider();

}  // namespace aragora::providers
