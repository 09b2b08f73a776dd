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
#include "common/base/json.h"
#include "common/base/reloadable.h"
#include "common/config/agents.h"
#include "common/models/catalogue.h"
#include "common/net/http_client.h"
#include "common/store/states.h"
#include "daemon/providers/breaker.h"
#include "daemon/providers/call_slots.h"
#include "daemon/providers/fallback_counts.h"

namespace aragora::providers {

// A JSON schema that an answer follows, in the subset that every vendor takes as strict: each field required, no
// others, no limits of numbers or lengths.
struct Shape {
  std::string name;
  json::object schema;
};

struct Question {
  std::string agent;  // seat name, for logs
  std::string model;  // empty: the provider's default
  store::Phase phase = store::Phase::Propose;
  std::string system;  // instructions: the only place for them
  std::string user;    // data, as one JSON text
  std::uint64_t seed = 0;
  Deadline deadline;
  std::stop_token stop{};  // ends the call within 100 ms, with Error(Interrupted)
  std::optional<Shape> shape{};
  std::int64_t max_output_tokens = 0;  // 0: as many as are configured
  bool billed_once = false;            // after a try that may have been billed none is made, here or elsewhere
  std::string substitute{};            // at OpenRouter, who may be asked when this one fails; empty: nobody
};

// Tokens as they are billed: each in one of the first five.
struct Usage {
  std::int64_t input = 0;  // neither read from a cache nor written to one
  std::int64_t cache_read = 0;
  std::int64_t cache_write_5m = 0;
  std::int64_t cache_write_1h = 0;
  std::int64_t output = 0;     // with what was reasoned
  std::int64_t reasoning = 0;  // of these
  std::int64_t totalInput() const { return input + cache_read + cache_write_5m + cache_write_1h; }
};

struct Answer {
  std::string text;
  std::string model{};       // who really answered, as the provider says
  std::string provider{};    // the same; another than was asked when a fallback answered
  std::string request_id{};  // the provider's, to ask its support about
  Usage usage{};
  bool usage_known = false;                  // the provider said what it counted
  std::optional<std::int64_t> cost_picos{};  // 10^-12 US dollars, where the provider says what it took
  bool truncated = false;                    // it ran into the most tokens
};

// Takes the text of an answer as it is made, in the caller's thread; what it throws ends the call. Says whether anybody
// was shown something of it.
using OnDelta = std::function<bool(std::string_view text)>;

class Provider {
 public:
  virtual ~Provider() = default;
  virtual std::string_view name() const = 0;
  // Throws Error(Unreachable) when it failed for good, Error(Interrupted) when stopped. With `on_delta` the answer is
  // streamed; once somebody was shown a part nothing is tried again.
  virtual Answer ask(const Question& question, const OnDelta& on_delta = {}) = 0;
  // What Question::substitute may be; empty where there is none.
  virtual std::string substituteFor(const std::string&) const { return {}; }
};

// What one call may take, tries and pauses included.
struct CallTimes {
  std::chrono::milliseconds total{120'000};
  std::chrono::milliseconds connect{5'000};      // of each try: name, connection and TLS
  std::chrono::milliseconds first_byte{45'000};  // of a stream; a whole answer has until the end
  std::chrono::milliseconds idle{30'000};        // between any two bytes after that
};

struct ProvidersOptions {
  struct Remote {
    config::Provider provider;
    std::string base_url;
    std::string model;  // the default
    Secret api_key{};
    std::string why_not{};   // it cannot be asked here; empty: it can
    bool falls_back = true;  // to OpenRouter, for any model; otherwise for those of fallback_models only
    Secret bearer{};         // Anthropic's: a token, also instead of the key
    std::string version{};   // of Anthropic's API
    std::vector<std::pair<std::string, Secret>> headers{};  // the operator's
    std::string organization{};                             // OpenAI's
    std::string project{};
    std::string referer{};  // OpenRouter's
    std::string title{};
    bool deny_data_collection = false;
  };
  std::vector<Remote> remotes{};
  std::string why_no_demo{};
  CallTimes times{};
  int retries = 2;
  std::size_t calls_at_once = 5000;                              // of one provider
  BreakerRules breaker{};                                        // of all but
  BreakerRules openrouter_breaker{};                             // this one, which has many vendors behind it
  std::function<void(const BreakerNews&)> on_breaker = nullptr;  // in the thread of a call
  ProbeLeases* probe_leases = nullptr;                           // none: this instance is alone
  bool fallback = true;                                          // to OpenRouter, where it can be asked
  std::map<std::string, std::string> fallback_models{};          // by model; others: the same under OpenRouter's name
  std::int64_t max_output_tokens = 8192;
  std::shared_ptr<const models::Catalogue>
      models{};                               // shared by what was made before a reload and after; null: built in
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

  // Of those that can be asked on the network, with their default model.
  struct Condition {
    std::string model;
    BreakerState breaker;
    CallSlots::Numbers calls;
  };
  std::vector<Condition> conditions() const;
  // nullptr for a provider that cannot be asked here. Lives as long as this does.
  Breaker* breaker(std::string_view provider) const;
  // What blocked their keys is forgotten: the configuration was read anew.
  void forgetBlocked();
  // Calls for which another was asked, since the start.
  std::vector<Substitution> substitutions() const { return fallbacks_.all(); }

 private:
  struct Entry {
    std::unique_ptr<Provider> provider;  // none: cannot be asked here
    std::string model;                   // the default
    std::string why;
  };
  using Entries = std::map<config::Provider, Entry>;
  Entries entriesOf(ProvidersOptions options);
  Breaker& breakerOf(config::Provider provider, const ProvidersOptions& options);
  void addFallback(Entries& entries, const ProvidersOptions& options);
  const std::function<void(const BreakerNews&)> on_breaker_;
  ProbeLeases* const probe_leases_;
  const net::HttpClient client_;  // one for all, so that connections are kept across debates
  std::map<config::Provider, std::unique_ptr<Breaker>> breakers_;       // for good: calls that run outlive a reload
  const std::map<config::Provider, std::unique_ptr<CallSlots>> slots_;  // of every provider on the network
  FallbackCounts fallbacks_;
  mutable std::mutex mutex_;
  Entries entries_;
  std::vector<Entries> retired_;  // seats of debates that run may still point there
  Reloadable<std::vector<std::string>> default_agents_;
};

std::unique_ptr<Provider> makeDemoProvider();
std::unique_ptr<Provider> makeSimProvider();  // sim.h

}  // namespace aragora::providers
