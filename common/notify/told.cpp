#include "common/notify/told.h"

#include <algorithm>

#include "common/base/json.h"

namespace aragora::notify {

namespace {
constexpr const char* kFile = "told.json";
constexpr std::size_t kMost = 500;
constexpr std::chrono::seconds kLockWait{5};

json::object written(const Known& known) {
  return {{"key", known.what.key},         {"kind", name(known.what.kind)}, {"summary", known.what.summary},
          {"weight", known.what.weight},   {"since", known.since},          {"told_at", known.told_at},
          {"invocation", known.invocation}};
}

std::optional<Known> read(const json::value& value) {
  const auto* object = value.if_object();
  const auto kind = object != nullptr ? parseKind(jsonTextOr(*object, "kind", "")) : std::nullopt;
  if (!kind) return std::nullopt;
  Known known;
  known.what = {jsonTextOr(*object, "key", ""),
                *kind,
                jsonTextOr(*object, "summary", ""),
                {},
                static_cast<std::size_t>(std::max<std::int64_t>(1, jsonIntegerOr(*object, "weight", 1)))};
  known.since = jsonIntegerOr(*object, "since", 0);
  known.told_at = jsonIntegerOr(*object, "told_at", 0);
  known.invocation = jsonTextOr(*object, "invocation", "");
  return known;
}

auto at(std::vector<Known>& all, std::string_view key) {
  return std::find_if(all.begin(), all.end(), [&](const Known& one) { return one.what.key == key; });
}
}  // namespace

// What cannot be read is told again.
std::vector<Known> Told::all() const {
  std::vector<Known> found;
  const auto text = readFileIfExists(directory_ / kFile);
  const auto document = text ? tryParseJson(*text) : std::nullopt;
  const auto* object = document ? document->if_object() : nullptr;
  const auto* problems = object != nullptr ? jsonArray(*object, "problems") : nullptr;
  if (problems == nullptr) return found;
  for (const auto& one : *problems) {
    if (auto known = read(one)) found.push_back(std::move(*known));
  }
  return found;
}

std::optional<Known> Told::find(std::string_view key) const {
  auto known = all();
  const auto found = at(known, key);
  return found == known.end() ? std::nullopt : std::optional(*found);
}

std::optional<State> Told::due(const Problem& problem, std::chrono::seconds remind, Micros now) const {
  const auto known = find(problem.key);
  if (!known || known->told_at == 0 || known->what.weight < problem.weight) return State::Problem;
  const auto since = now - known->told_at;  // of a clock that was set back: told anew
  if (since >= std::chrono::microseconds(remind).count() || since < 0) return State::Reminder;
  return std::nullopt;
}

void Told::change(const std::function<void(std::vector<Known>&)>& how) const {
  makeDirectories(directory_.parent_path(), 0750);
  makeDirectories(directory_, 0700);
  const auto lock = FileLock::acquire(directory_ / "told.lock", "what was told is being written", kLockWait);
  auto known = all();
  how(known);
  if (known.size() > kMost) known.erase(known.begin(), known.end() - kMost);
  json::array problems;
  for (const auto& one : known) problems.push_back(written(one));
  writeFileAtomically(directory_ / kFile,
                      toPrettyJson(json::object{{"schema_version", 1}, {"problems", problems}}) + "\n", 0600);
}

void Told::note(const Problem& problem, bool told, const std::string& invocation, Micros now) const {
  change([&](std::vector<Known>& known) {
    auto found = at(known, problem.key);
    if (found == known.end()) found = known.insert(known.end(), Known{problem, now, 0, {}});
    found->what.kind = problem.kind;
    found->what.summary = problem.summary;
    found->what.weight = problem.weight;
    if (told) found->told_at = now;
    if (!invocation.empty()) found->invocation = invocation;
  });
}

void Told::heard(std::string_view key, Micros now) const {
  if (!find(key)) return;
  change([&](std::vector<Known>& known) {
    if (const auto found = at(known, key); found != known.end()) found->told_at = now;
  });
}

void Told::forget(std::string_view key) const {
  change([&](std::vector<Known>& known) {
    const auto found = at(known, key);
    if (found != known.end()) known.erase(found);
  });
}

std::optional<Known> Told::ofRun(const std::string& invocation) const {
  const auto known = all();
  const auto found = std::find_if(known.begin(), known.end(), [&](const Known& one) {
    return !invocation.empty() && one.invocation == invocation;
  });
  return found == known.end() ? std::nullopt : std::optional(*found);
}

}  // namespace aragora::notify
