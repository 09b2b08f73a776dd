#include "common/drill/key_rotation.h"

#include <future>
#include <thread>

#include "common/backup/audit_notes.h"
#include "common/backup/elsewhere.h"
#include "common/backup/repository.h"
#include "common/backup/signed_record.h"
#include "common/backup/told_heads.h"
#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/text.h"

namespace aragora::drill {

namespace {
constexpr std::size_t kRecordLimit = 4U << 20;
constexpr std::string_view kRecord = ".json";
constexpr std::string_view kManifest = "manifest.json";
constexpr const char* kNobody = "?";
constexpr const char* kBackups = "backups";
constexpr const char* kData = "backups with data of its time";
constexpr const char* kRecords = "signed records of backups";

// A manifest says which keys are in what it lists; everything else that is signed says by its signature who did it.
class Scan {
 public:
  explicit Scan(const crypto::Keyring& keyring) : keyring_(keyring) {}

  store::KeyUse all(const storage::Place& place) {
    walk(place);
    return std::move(use_);
  }

 private:
  void walk(const storage::Place& place) {
    const auto items = place.list();
    std::set<std::string> names;
    for (const auto& item : items) names.insert(item.name);
    for (const auto& item : items) {
      interrupt::check();
      if (startsWith(item.name, ".") || item.name == "latest" || startsWith(item.name, "latest-")) continue;
      if (item.folder)
        walk(place / item.name);
      else if (item.name == kManifest)
        manifest(place);
      else if (endsWith(item.name, kRecord))
        record(place, item.name, names.count(item.name + ".sig") > 0);
    }
  }

  void manifest(const storage::Place& place) {
    const auto entry = backup::Repository::read(place);
    if (!entry.manifest) return;  // damaged, which `backup verify` says: no key helps
    ++use_[kBackups][entry.manifest->key_id];
    for (const auto& id : entry.manifest->data_keys) ++use_[kData][id];
  }

  void record(const storage::Place& place, const std::string& name, bool detached) {
    const auto text = place.text(name, kRecordLimit);
    if (!text) return;
    std::optional<std::string> signer;
    if (detached) {
      const auto signature = fromHex(trim(place.text(name + ".sig", kRecordLimit).value_or("")));
      signer = signature ? keyring_.signerOf(*text, *signature) : std::nullopt;
    } else {
      if (!backup::looksSigned(*text)) return;
      signer = backup::signerOf(*text, keyring_);
    }
    ++use_[kRecords][signer.value_or(kNobody)];
  }

  const crypto::Keyring& keyring_;
  store::KeyUse use_;
};

// In a thread of its own, which may outlive the call.
void lookElsewhere(const KeyPlaces& places, const crypto::Keyring& keyring, KeyState& state) {
  constexpr auto kLook = std::chrono::milliseconds(50);
  const auto& place = *places.elsewhere;
  state.unknown = backup::whyNotElsewhere(place);
  if (!state.unknown.empty()) return;
  const interrupt::Switch enough;
  std::packaged_task<store::KeyUse()> task([place, keyring, enough] {
    const interrupt::Minding minding(enough);
    return Scan(keyring).all(place);
  });
  auto answer = task.get_future();
  std::thread(std::move(task)).detach();
  for (const auto deadline = deadlineIn(places.patience); remaining(deadline).count() > 0;) {
    interrupt::check();
    if (answer.wait_for(std::min(remaining(deadline), kLook)) != std::future_status::ready) continue;
    try {
      state.elsewhere = answer.get();
    } catch (const Error& error) {
      state.unknown = error.what();
    }
    return;
  }
  enough.turn();
  state.unknown = fmt::format("{} did not tell within {}", place.describe(),
                              humanDuration(std::chrono::duration_cast<std::chrono::seconds>(places.patience)));
}

// Of «audit entries», «backups».
std::string singular(const std::string& plural) {
  for (const auto* of : {"sets of ", "seals of ", "backups with ", "signed records of "}) {
    const std::string_view start(of);
    const auto word = start.substr(0, start.find(' ', startsWith(start, "signed ") ? 7 : 0));
    if (startsWith(plural, of)) return singular(std::string(word)) + plural.substr(word.size());
  }
  constexpr std::string_view kIes = "ies";
  if (endsWith(plural, kIes)) return plural.substr(0, plural.size() - kIes.size()) + "y";
  return plural.substr(0, plural.size() - 1);
}

std::int64_t countOf(const store::KeyUse& use, const std::string& what, const std::string& key_id) {
  const auto kind = use.find(what);
  if (kind == use.end()) return 0;
  const auto found = kind->second.find(key_id);
  return found == kind->second.end() ? 0 : found->second;
}

std::int64_t allOf(const store::KeyUse& use, const std::string& key_id) {
  std::int64_t total = 0;
  for (const auto& [what, by_key] : use) total += countOf(use, what, key_id);
  return total;
}
}  // namespace

KeyState keyState(const KeyPlaces& places, const crypto::Keyring& keyring) {
  KeyState state;
  const auto database = database::openDatabase(places.target);
  database->read([&](database::Connection& connection) {
    state.here = store::keyUse(connection, keyring);
    state.before = store::signedBefore(connection, keyring);
  });
  auto notes = backup::notesBy(places.state_directory, keyring);
  for (const auto& [id, count] : backup::toldBy(places.target, keyring)) notes[id] += count;
  notes.erase(kNobody);  // somebody else's: `audit verify` says so, and no key helps
  if (!notes.empty()) state.here["signed notes"] = std::move(notes);
  state.backups = Scan(keyring).all(places.backups);
  if (places.elsewhere) lookElsewhere(places, keyring, state);
  return state;
}

std::set<std::string> KeyState::ids() const {
  std::set<std::string> all;
  for (const auto* use : {&here, &backups, &elsewhere}) {
    for (const auto& [what, by_key] : *use) {
      for (const auto& [id, count] : by_key) all.insert(id);
    }
  }
  return all;
}

std::vector<std::string> KeyState::needs(const std::string& key_id) const {
  std::vector<std::string> needs;
  const auto add = [&](const store::KeyUse& use, const char* where) {
    for (const auto& [what, by_key] : use) {
      if (const auto count = countOf(use, what, key_id); count > 0)
        needs.push_back(counted(count, singular(what)) + where);
    }
  };
  add(here, "");
  add(backups, "");
  add(elsewhere, " elsewhere");
  return needs;
}

bool KeyState::mayGo(const std::string& key_id, const crypto::Keyring& keyring) const {
  return key_id != keyring.activeId() && keyring.has(key_id) && unknown.empty() && needs(key_id).empty();
}

std::string nextStep(const KeyState& state, const crypto::Keyring& keyring) {
  for (const auto& id : state.ids()) {
    if (!keyring.has(id) && id != kNobody)
      return fmt::format("add the key {} to ARAGORA_ENCRYPTION_PREVIOUS_KEYS: it is needed and not configured", id);
  }
  std::vector<std::string> free;
  for (const auto& id : keyring.ids()) {
    if (id == keyring.activeId()) continue;
    if (allOf(state.here, id) > 0) return "aragora key rotate";
    if (countOf(state.backups, kBackups, id) + countOf(state.backups, kRecords, id) > 0) return "aragora backup rekey";
    if (countOf(state.elsewhere, kBackups, id) + countOf(state.elsewhere, kRecords, id) > 0)
      return "aragora backup copy --again";
    if (!state.unknown.empty())
      return fmt::format("see that the place elsewhere answers ({}): what is there may need the key {}", state.unknown,
                         id);
    if (const auto left = countOf(state.backups, kData, id) + countOf(state.elsewhere, kData, id); left > 0)
      return fmt::format(
          "keep the key {} until retention has removed {} with data of its time (aragora backup prune); there has to "
          "be a "
          "newer one: aragora backup create",
          id, counted(left, "backup"));
    free.push_back(id);
  }
  if (free.empty()) return {};
  return fmt::format("take the key {} out of ARAGORA_ENCRYPTION_PREVIOUS_KEYS and restart: nothing needs it",
                     join(free, " and "));
}

}  // namespace aragora::drill
