// What answers for an agent. A provider is asked once a call and knows nothing of debates; retries are its own business
// within the deadline. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/config/config.h"

namespace aragora::providers {

struct Question {
  std::string agent;   // seat name, for logs
  std::string model;   // empty: the provider's default
  std::string phase;   // propose, critique, revise, vote, synthesize
  std::string system;  // instructions: the only place for them
  std::string user;    // data, as one JSON text
  std::uint64_t seed = 0;
  Deadline deadline;
  const std::atomic<bool>* cancelled = nullptr;
};

struct Answer {
  std::string text;
  std::string model;
  std::int64_t tokens_in = 0;
  std::int64_t tokens_out = 0;
};

class Provider {
 public:
  virtual ~Provider() = default;
  virtual std::string_view name() const = 0;
  // Throws Error(Unreachable) when it failed for good, Error(Interrupted) when cancelled.
  virtual Answer ask(const Question& question) = 0;
};

// Which provider speaks for an agent name: «demo-…» the built-in one, «openai», «openai:MODEL», «gpt-…» the
// OpenAI-compatible endpoint.
class Providers {
 public:
  explicit Providers(const config::Config& config);

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

 private:
  std::unique_ptr<Provider> demo_;
  std::unique_ptr<Provider> openai_;
  std::string openai_model_;
};

std::unique_ptr<Provider> makeDemoProvider();
struct OpenAiOptions {
  std::string base_url;
  Secret api_key;
  std::string default_model;
  std::chrono::seconds call_timeout{30};
};
std::unique_ptr<Provider> makeOpenAiProvider(OpenAiOptions options);

}  // namespace aragora::providers
