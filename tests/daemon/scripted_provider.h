// A server that speaks Chat Completions as a test wants it: built from our own edge, in this process.
#pragma once

#include <condition_variable>

#include "common/base/json.h"
#include "daemon/edge/listener.h"

namespace aragora {

class ScriptedProvider : public edge::Site {
 public:
  // Decides from the request's body how long its answer takes; waiting ends when the provider goes.
  using Script = std::function<std::chrono::milliseconds(const std::string& body)>;
  explicit ScriptedProvider(Script script) : script_(std::move(script)) {
    edge::ListenerOptions options;
    options.entrances[0].address.port = 0;
    listener_ = std::make_unique<edge::Listener>(options, io_, *this, workers_);
    io_.start();
    listener_->start();
  }
  ~ScriptedProvider() override {
    {
      const std::lock_guard lock(mutex_);
      leaving_ = true;
    }
    left_.notify_all();
    workers_.stop(std::chrono::seconds(5));
    listener_->closeAll();
    io_.stop(deadlineIn(std::chrono::seconds(5)));
  }

  std::string url() const { return fmt::format("http://127.0.0.1:{}/v1", listener_->port()); }
  std::size_t calls() const { return calls_; }
  std::unique_ptr<edge::Exchange> open(edge::Request) override { return std::make_unique<Exchange>(*this); }

 private:
  class Exchange : public edge::Exchange {
   public:
    explicit Exchange(ScriptedProvider& provider) : provider_(provider) {}
    std::optional<edge::Response> admit() override { return std::nullopt; }
    std::size_t bodyLimit() const override { return 1U << 20; }
    void setBody(std::string body) override { body_ = std::move(body); }
    std::optional<edge::Response> answerNow() override { return std::nullopt; }
    edge::Response answer() override {
      ++provider_.calls_;
      std::unique_lock lock(provider_.mutex_);
      provider_.left_.wait_for(lock, provider_.script_(body_), [this] { return provider_.leaving_; });
      // Another answer to each question, so that there is something to debate.
      const json::object said{{"choice", "P1"},   {"confidence", 80},
                              {"continue", true}, {"weakness", "none"},
                              {"severity", 1},    {"answer", fmt::format("{}", std::hash<std::string>{}(body_))}};
      edge::Response response;
      response.body = toJson(json::object{
          {"model", "scripted"},
          {"choices",
           json::array{json::object{{"message", json::object{{"role", "assistant"}, {"content", toJson(said)}}},
                                    {"finish_reason", "stop"}}}},
          {"usage", json::object{{"prompt_tokens", 1}, {"completion_tokens", 1}}}});
      return response;
    }
    edge::Response refuse(const edge::Refusal& refusal) override {
      edge::Response response;
      response.status = refusal.status;
      return response;
    }
    void finish(edge::Response&, std::chrono::steady_clock::duration) override {}

   private:
    ScriptedProvider& provider_;
    std::string body_;
  };

  Script script_;
  std::mutex mutex_;
  std::condition_variable left_;
  bool leaving_ = false;
  std::atomic<std::size_t> calls_{0};
  edge::WorkerPool workers_{64, 4096};
  edge::IoThreads io_{1};
  std::unique_ptr<edge::Listener> listener_;
};

}  // namespace aragora
