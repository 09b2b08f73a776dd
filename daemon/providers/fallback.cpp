#include "daemon/providers/fallback.h"

#include <regex>

#include "common/base/log.h"
#include "common/base/text.h"
#include "daemon/providers/breaker_machine.h"

namespace aragora::providers {

namespace {
// Whether somebody else may do better.
bool worthAsking(FailureKind kind) {
  return kind != FailureKind::Request && kind != FailureKind::Refused && kind != FailureKind::Empty;
}

class Fallback : public Provider {
 public:
  Fallback(std::unique_ptr<Provider> first, Provider& other, FallbackCounts& counts, FallbackOptions options)
      : first_(std::move(first)), other_(other), counts_(counts), options_(std::move(options)) {
    for (std::size_t i = 0; i < kFailureKinds; ++i) {
      const auto kind = static_cast<FailureKind>(i);
      if (worthAsking(kind)) counts_.expect(std::string(first_->name()), std::string(other_.name()), kind);
    }
  }

  std::string_view name() const override { return first_->name(); }

  Answer ask(const Question& question, const OnDelta& on_delta) override {
    if (question.substitute.empty()) return first_->ask(question, on_delta);
    bool shown = false;
    const auto show = [&](std::string_view text) {
      const bool now = on_delta(text);
      shown = shown || now;
      return now;
    };
    auto mine = question;
    mine.deadline = leavingTime(question.deadline);
    try {
      return first_->ask(mine, on_delta ? OnDelta(show) : OnDelta());
    } catch (const Failure& failure) {
      if (shown || !worthAsking(failure.kind()) || (question.billed_once && failure.maybeBilled()) ||
          question.stop.stop_requested() || remaining(question.deadline).count() == 0)
        throw;
      return askOther(question, on_delta, failure);
    }
  }

  std::string substituteFor(const std::string& model) const override {
    return model.empty() ? modelOf(options_.default_model) : modelOf(model);
  }

 private:
  std::string modelOf(const std::string& model) const {
    if (const auto found = options_.models.find(model); found != options_.models.end()) return found->second;
    return options_.any_model ? openRouterModel(first_->name(), model) : std::string();
  }

  // A third of it for the other.
  static Deadline leavingTime(Deadline deadline) {
    if (deadline == Deadline::max()) return deadline;
    return deadline - remaining(deadline) / 3;
  }

  Answer askOther(const Question& question, const OnDelta& on_delta, const Failure& why) {
    log::info("{}: {}; {} is asked for {} instead", question.agent, printable(why.what(), 200), other_.name(),
              question.substitute);
    auto theirs = question;
    theirs.model = std::exchange(theirs.substitute, {});
    const std::string from(first_->name());
    const std::string to(other_.name());
    try {
      auto answer = other_.ask(theirs, on_delta);
      counts_.note(from, to, why.kind(), true);
      return answer;
    } catch (const Failure& failure) {
      counts_.note(from, to, why.kind(), false);
      throw failure.retold(fmt::format("{}; and {}", why.what(), failure.what())).workedOn(why.maybeBilled());
    }
  }

  std::unique_ptr<Provider> first_;
  Provider& other_;
  FallbackCounts& counts_;
  FallbackOptions options_;
};
}  // namespace

std::string openRouterModel(std::string_view provider, std::string_view model) {
  if (model.empty() || model.find('/') != std::string_view::npos) return std::string(model);
  if (provider == "openai") return fmt::format("openai/{}", model);
  if (provider == "gemini") return fmt::format("google/{}", model);
  if (provider != "anthropic") return {};
  // Without the date of a snapshot, and versions with a dot.
  static const std::regex dated("-(20[0-9]{6}|latest)$");
  static const std::regex version("([0-9])-([0-9]{1,2})(?=-|$)");
  const auto name = std::regex_replace(std::string(model), dated, "");
  return "anthropic/" + std::regex_replace(name, version, "$1.$2");
}

std::unique_ptr<Provider> makeFallback(std::unique_ptr<Provider> first, Provider& other, FallbackCounts& counts,
                                       FallbackOptions options) {
  return std::make_unique<Fallback>(std::move(first), other, counts, std::move(options));
}

}  // namespace aragora::providers
