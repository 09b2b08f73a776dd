#include "cli/notices.h"

#include <unistd.h>

#include <cstdlib>

#include "common/base/text.h"
#include "common/notify/notifier.h"
#include "common/systemd/service_manager.h"

namespace aragora::cli {

namespace {
constexpr std::chrono::seconds kBefore{5};  // nobody's backup waits for a switch
constexpr std::chrono::seconds kAfter{20};
constexpr std::chrono::seconds kTelling{60};  // mail servers may think long before they take it

notify::Until within(std::chrono::milliseconds span) { return {deadlineIn(span), {}}; }

std::string invocation() {
  const char* id = std::getenv("INVOCATION_ID");
  return id == nullptr ? std::string() : std::string(id);
}

bool tellsNobody(Code code) { return code == Code::Busy || code == Code::Interrupted || code == Code::Usage; }

class Notices {
 public:
  Notices(Context& context, const Job& job)
      : out_(context.out()), job_(job), notifier_(notify::optionsOf(context.loaded().config)) {}

  void begun() { ping(notify::Ping::Start, job_.what + " begins", within(kBefore), 1); }

  void succeeded() {
    if (job_.pings_success) ping(notify::Ping::Success, job_.what + " is done", within(kAfter), 3);
    const auto settle = [&](const std::string& key, const std::string& what) {
      show(notifier_.settle(key, what + " works again", within(kTelling)));
    };
    settle(key(), job_.what);
    if (const auto unit = systemd::ownUnit(); !unit.empty()) settle("unit:" + unit, unit);
    finish();
  }

  void failed(const std::string& why, std::vector<std::string> details) {
    const auto summary = fmt::format("{} failed: {}", job_.what, why);
    ping(notify::Ping::Fail, summary + "\n" + join(details, "\n"), within(kAfter), 3);
    if (::isatty(STDERR_FILENO) != 1)
      show(notifier_.report({key(), job_.kind, summary, std::move(details)}, within(kTelling), invocation()));
    finish();
  }

 private:
  std::string key() const { return std::string(notify::name(job_.kind)); }

  void ping(notify::Ping what, const std::string& text, const notify::Until& until, int tries) {
    if (job_.ping && notifier_.options().has(*job_.ping))
      show({notify::ping(notifier_.options(), *job_.ping, what, text, until, tries)});
  }

  void show(const std::vector<notify::Outcome>& outcomes) {
    for (const auto& outcome : outcomes) {
      told_.push_back(notify::toDocument(outcome));
      if (!outcome.delivered) out_.marked(Mark::Warning, "not told by " + notify::describe(outcome));
    }
  }

  void finish() {
    notifier_.tellKept(within(kTelling));
    if (!told_.empty()) out_.document({{"told", told_}});
  }

  const Output& out_;
  const Job& job_;
  notify::Notifier notifier_;
  json::array told_;
};

// What goes wrong with telling must not hide what it would tell.
template <typename Telling>
void safely(const Output& out, const Telling& telling) {
  try {
    telling();
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    out.marked(Mark::Warning, fmt::format("nobody could be told: {}", error.what()));
  }
}
}  // namespace

int watched(Context& context, const Job& job, const std::function<int()>& work) {
  const auto& out = context.out();
  Notices notices(context, job);
  if (job.pings_success) safely(out, [&] { notices.begun(); });
  try {
    const int status = work();
    safely(out, [&] {
      if (status == 0)
        notices.succeeded();
      else
        notices.failed(fmt::format("exit status {}", status), out.failures());
    });
    return status;
  } catch (const Error& error) {
    if (!tellsNobody(error.code()) && !interrupt::signal())
      safely(out, [&] {
        auto details = out.failures();
        if (!error.hint().empty()) details.push_back("→ " + error.hint());
        notices.failed(error.what(), std::move(details));
      });
    throw;
  }
}

}  // namespace aragora::cli
