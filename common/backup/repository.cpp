#include "common/backup/repository.h"

#include <unistd.h>

#include "common/backup/elsewhere.h"
#include "common/backup/signed_record.h"
#include "common/base/abilities.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kManifestLimit = 4U << 20;
constexpr std::size_t kKeptVerifications = 50;
constexpr std::size_t kNoteLimit = 1U << 20;
}  // namespace

bool Entry::proven() const {
  if (!good()) return false;
  return std::any_of(verifications.begin(), verifications.end(),
                     [](const Verification& v) { return v.ok && v.level >= 2; });
}

Entry Repository::read(const storage::Place& directory) {
  Entry entry;
  entry.directory = directory;
  if (directory.isLocal()) {  // `latest` is a link
    std::error_code ignored;
    const auto real = fs::canonical(directory.path(), ignored);
    if (!real.empty()) entry.directory = real;
  }
  entry.id = entry.directory.name();
  try {
    const auto text = entry.directory.text("manifest.json", kManifestLimit);
    if (!text) throw Error(Code::Damaged, "it has no manifest");
    entry.manifest_sha256 = crypto::sha256Hex(*text);
    entry.manifest = parseManifest(*text);
    // Else an older backup could pass for a newer one.
    if (entry.manifest->id != entry.id) entry.problem = fmt::format("the manifest is of backup {}", entry.manifest->id);
  } catch (const Error& error) {
    entry.problem = error.what();
  }
  return entry;
}

std::vector<Entry> Repository::list() const {
  std::vector<Entry> entries;
  for (const auto& item : folder().list()) {
    if (startsWith(item.name, ".") || !item.folder) continue;
    auto entry = read(folder() / item.name);
    // Still on its way there. One that was complete is in the ledger, and missed.
    if (!entry.manifest && !entry.directory.size("manifest.json") && holdsCopies(directory_)) continue;
    if (entry.manifest && entry.manifest->kind != kind_)
      entry.problem = fmt::format("the manifest is of kind {}", name(entry.manifest->kind));
    addWhatIsKnown(entry);
    entries.push_back(std::move(entry));
  }
  return inOrder(std::move(entries));
}

namespace {
// Whose manifest can be believed as to its place among the others.
bool placed(const Entry& entry) { return entry.manifest && entry.problem.empty(); }

// What was made after another names its digest: it comes after it, however the clock stood.
void appendAfterParents(std::size_t start, const std::vector<Entry>& entries,
                        const std::map<std::string, std::size_t>& by_digest, std::vector<bool>& done,
                        std::vector<std::size_t>& order) {
  std::vector<std::size_t> chain;
  for (auto at = start; !done[at];) {
    done[at] = true;
    chain.push_back(at);
    const auto parent = by_digest.find(entries[at].manifest->previous_sha256);
    if (parent == by_digest.end()) break;
    at = parent->second;
  }
  order.insert(order.end(), chain.rbegin(), chain.rend());
}
}  // namespace

std::vector<Entry> inOrder(std::vector<Entry> entries) {
  // Names start with the time of the backup.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.id < b.id; });
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return placed(a) && placed(b) ? a.manifest->sequence < b.manifest->sequence : placed(a) && !placed(b);
  });
  const auto readable =
      static_cast<std::size_t>(std::count_if(entries.begin(), entries.end(), [](const Entry& e) { return placed(e); }));
  std::map<std::string, std::size_t> by_digest;
  for (std::size_t i = 0; i < readable; ++i) by_digest[entries[i].manifest_sha256] = i;
  std::vector<bool> done(readable, false);
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < readable; ++i) appendAfterParents(i, entries, by_digest, done, order);
  std::vector<Entry> result;
  result.reserve(entries.size());
  for (const auto i : order) result.push_back(std::move(entries[i]));
  for (auto i = readable; i < entries.size(); ++i) {
    const auto before =
        std::find_if(result.rbegin(), result.rend(), [&](const Entry& e) { return e.id < entries[i].id; });
    result.insert(before.base(), std::move(entries[i]));
  }
  return result;
}

std::int64_t nextSequence(const std::vector<Entry>& entries, Micros now) {
  auto next = now / 1'000'000;
  for (const auto& entry : entries) {
    if (entry.manifest) next = std::max(next, entry.manifest->sequence + 1);
  }
  return next;
}

Entry Repository::resolve(const std::string& input) const {
  const bool path = input.find('/') != std::string::npos;
  const auto name = fs::path(input).filename().string();
  // What the link says is not believed: it may be old, or have been bent to an old backup. A copy elsewhere has none.
  if (name == "latest" || name == link()) {
    const Repository repository(path ? storage::Place(fs::path(input).parent_path()) : directory_, keyring_, kind_);
    const auto entries = repository.list();
    if (!entries.empty()) return entries.back();
  }
  const storage::Place candidate = path ? storage::Place(fs::path(input)) : folder() / input;
  if (candidate.list().empty()) {
    std::vector<std::string> ids;
    for (const auto& entry : list()) ids.push_back(entry.id);
    const auto close = nearest(input, ids);
    throw Error(Code::NoInput, fmt::format("there is no backup {}", candidate.describe()),
                close         ? fmt::format("did you mean {}?", *close)
                : ids.empty() ? "make one with: aragora backup"
                              : "see: aragora backup list");
  }
  auto entry = read(candidate);
  addWhatIsKnown(entry);
  return entry;
}

void Repository::addWhatIsKnown(Entry& entry) const {
  addVerifications(entry);
  if (const auto reason = (directory_ / "pinned").text(entry.id, kNoteLimit)) entry.pinned = trim(*reason);
}

void Repository::requireAuthentic(const Entry& entry, const crypto::Keyring& keyring) {
  if (!entry.manifest || !entry.problem.empty())
    throw Error(Code::Damaged, fmt::format("backup {}: {}", entry.id, entry.problem),
                "use another backup: aragora backup list");
  const auto text = entry.directory.text("manifest.json", kManifestLimit);
  const auto written = entry.directory.text("manifest.json.sig", 1024);
  if (!text || !written)
    throw Error(Code::Damaged, fmt::format("backup {}: the {} is missing", entry.id, text ? "signature" : "manifest"),
                "use another backup: aragora backup list");
  if (crypto::sha256Hex(*text) != entry.manifest_sha256)
    throw Error(Code::Damaged, fmt::format("backup {}: the manifest changed while it was read", entry.id));
  const auto signature = fromHex(trim(*written));
  if (!signature || *written != toHex(*signature) + "\n" || !keyring.verifyManifest(*text, *signature)) {
    const bool other_key = entry.manifest->key_id != keyring.activeId();
    throw Error(Code::Damaged, fmt::format("backup {}: the signature of the manifest does not hold", entry.id),
                other_key ? fmt::format("it names key {}; the active key is {}", printable(entry.manifest->key_id, 20),
                                        keyring.activeId())
                          : "somebody changed it; use another backup");
  }
}

std::vector<Entry> authentic(std::vector<Entry> entries, const crypto::Keyring& keyring) {
  for (auto& entry : entries) {
    try {
      if (entry.manifest && entry.problem.empty()) Repository::requireAuthentic(entry, keyring);
    } catch (const Error& error) {
      if (error.code() != Code::Damaged) throw;
      entry.problem = error.what();
    }
  }
  return entries;
}

FileLock Repository::lock(std::chrono::seconds wait) const {
  makeDirectories(directory_.path(), 0750);
  return FileLock::acquire(directory_.path() / ".lock",
                           fmt::format("another backup run works in {}", directory_.describe()), wait);
}

fs::path Repository::beginTemporary(const std::string& id) const {
  makeDirectories(folder().path(), 0750);
  const auto path = folder().path() / (".tmp-" + id);
  makeDirectories(path, 0750);
  return path;
}

void Repository::publish(const fs::path& temporary, const std::string& id) const {
  syncDirectory(temporary);
  renameDurably(temporary, folder().path() / id);
  pointLatestAt(id);
}

void Repository::pointLatestAt(const std::string& id) const {
  const auto temporary = directory_.path() / fmt::format(".latest-{}", ::getpid());
  std::error_code ignored;
  fs::remove(temporary, ignored);
  const auto target = name(kind_) + "/" + id;
  if (::symlink(target.c_str(), temporary.c_str()) != 0) {
    if (!hasNoLinks(errno)) throwSystemError(Code::CannotCreate, "create link", temporary.string(), errno);
    createFileExclusively(temporary, target + "\n", 0640);
  }
  adoptOwner(temporary);
  renameDurably(temporary, directory_.path() / link());
}

void Repository::removeLeftovers() const {
  std::error_code ignored;
  for (const auto& folder : {folder(), directory_}) {
    for (const auto& item : fs::directory_iterator(folder.path(), ignored)) {
      const auto name = item.path().filename().string();
      if (startsWith(name, ".tmp-") || startsWith(name, ".trash-") || startsWith(name, ".latest-"))
        fs::remove_all(item.path(), ignored);
    }
  }
}

namespace {
// What goes with a backup that goes.
void removeFolder(const storage::Place& place) {
  for (const auto& item : place.list()) place.remove(item.name);
}
}  // namespace

void Repository::remove(const Entry& entry) const {
  if (!directory_.isLocal()) {
    entry.directory.remove("manifest.json");  // without it nothing else counts
    removeFolder(entry.directory);
    removeFolder(directory_ / "increments" / entry.id);
    (directory_ / "increments").remove(entry.id + ".json");
    (directory_ / "verified").remove(entry.id + ".json");
    return;
  }
  const auto trash = folder().path() / (".trash-" + entry.id);
  renameDurably(entry.directory.path(), trash);
  std::error_code failed;
  fs::remove_all(trash, failed);
  if (failed)
    throw Error(Code::Io, fmt::format("cannot remove {}: {}", trash.string(), failed.message()),
                "remove it by hand; it is no longer listed");
  fs::remove(directory_.path() / "verified" / (entry.id + ".json"), failed);
  fs::remove_all(directory_.path() / "increments" / entry.id, failed);  // worth nothing without it
  fs::remove(directory_.path() / "increments" / (entry.id + ".json"), failed);
}

// One that an older version wrote is not signed: as if there were none. What it says of another backup is no word about
// this one.
void Repository::addVerifications(Entry& entry) const {
  const auto name = entry.id + ".json";
  const auto text = keyring_ != nullptr ? (directory_ / "verified").text(name, kNoteLimit) : std::nullopt;
  if (!text || startsWith(*text, "[")) return;
  try {
    const auto where = (directory_ / "verified" / name).describe();
    const auto record = parseSignedRecord(*text, where, *keyring_);
    if (jsonTextOr(record, "id", "") != entry.id)
      throw Error(Code::Damaged, fmt::format("{}: is of another backup", where));
    const auto* list = jsonArray(record, "found");
    for (const auto& element : list != nullptr ? *list : json::array()) {
      const auto* object = element.if_object();
      if (object == nullptr) continue;
      entry.verifications.push_back(
          {static_cast<int>(jsonIntegerOr(*object, "level", 0)), jsonFlagOr(*object, "ok", false),
           fromIso(jsonTextOr(*object, "at", "")).value_or(0), jsonTextOr(*object, "message", "")});
    }
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    entry.disbelieved = error.what();
  }
}

void Repository::recordVerification(const Entry& entry, const Verification& verification) const {
  ARAGORA_CHECK(keyring_ != nullptr);
  Entry now;  // another run may have added to it
  now.id = entry.id;
  addVerifications(now);
  if (!now.disbelieved.empty()) log::warning("{}; it is written anew", now.disbelieved);
  auto& all = now.verifications;
  all.push_back(verification);
  if (all.size() > kKeptVerifications) all.erase(all.begin(), all.end() - kKeptVerifications);
  json::array found;
  for (const auto& v : all)
    found.push_back(json::object{{"level", v.level}, {"ok", v.ok}, {"at", toIso(v.at)}, {"message", v.message}});
  const auto folder = directory_.path() / "verified";
  makeDirectories(folder, 0750);
  writeFileAtomically(folder / (entry.id + ".json"),
                      signedRecord({{"id", entry.id}, {"found", std::move(found)}}, *keyring_), 0640);
}

void Repository::pin(const Entry& entry, const std::string& reason) const {
  const auto folder = directory_.path() / "pinned";
  makeDirectories(folder, 0750);
  writeFileAtomically(folder / entry.id, reason + "\n", 0640);
}

void Repository::unpin(const Entry& entry) const { (directory_ / "pinned").remove(entry.id); }

}  // namespace aragora::backup
