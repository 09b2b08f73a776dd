#include "common/backup/repository.h"

#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kManifestLimit = 4U << 20;
constexpr std::size_t kKeptVerifications = 50;
}  // namespace

bool Entry::proven() const {
  if (!good()) return false;
  return std::any_of(verifications.begin(), verifications.end(),
                     [](const Verification& v) { return v.ok && v.level >= 2; });
}

Entry Repository::read(const fs::path& directory) {
  Entry entry;
  std::error_code ignored;
  const auto real = fs::canonical(directory, ignored);
  entry.directory = real.empty() ? directory : real;
  entry.id = entry.directory.filename().string();
  try {
    const auto text = readFile(entry.directory / "manifest.json", kManifestLimit);
    entry.manifest_sha256 = crypto::sha256Hex(text);
    entry.manifest = parseManifest(text);
  } catch (const Error& error) {
    entry.problem = error.what();
  }
  return entry;
}

std::vector<Entry> Repository::list() const {
  std::vector<Entry> entries;
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator(folder(), ignored)) {
    const auto name = item.path().filename().string();
    if (startsWith(name, ".") || !item.is_directory(ignored)) continue;
    auto entry = read(item.path());
    if (entry.manifest && entry.manifest->kind != kind_)
      entry.problem = fmt::format("the manifest is of kind {}", entry.manifest->kind);
    if (entry.manifest && entry.manifest->id != name)
      entry.problem = fmt::format("the manifest is of backup {}", entry.manifest->id);
    entry.verifications = verificationsOf(name);
    entries.push_back(std::move(entry));
  }
  // Names start with the time of the backup.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.id < b.id; });
  return entries;
}

Entry Repository::resolve(const std::string& input) const {
  std::error_code ignored;
  fs::path candidate;
  if (input.find('/') != std::string::npos)
    candidate = input;
  else if (input == "latest" || input == link())
    candidate = directory_ / link();
  else
    candidate = folder() / input;
  if (!fs::is_directory(candidate, ignored)) {
    std::vector<std::string> ids;
    for (const auto& entry : list()) ids.push_back(entry.id);
    const auto close = nearest(input, ids);
    throw Error(Code::NoInput, fmt::format("there is no backup {}", candidate.string()),
                close         ? fmt::format("did you mean {}?", *close)
                : ids.empty() ? "make one with: aragora backup"
                              : "see: aragora backup list");
  }
  auto entry = read(candidate);
  entry.verifications = verificationsOf(entry.id);
  return entry;
}

void Repository::requireAuthentic(const Entry& entry, const crypto::Keyring& keyring) {
  if (!entry.manifest || !entry.problem.empty())
    throw Error(Code::Damaged, fmt::format("backup {}: {}", entry.id, entry.problem),
                "use another backup: aragora backup list");
  std::string text;
  std::optional<std::string> signature;
  try {
    text = readFile(entry.directory / "manifest.json", kManifestLimit);
    signature = fromHex(trim(readFile(entry.directory / "manifest.json.sig", 1024)));
  } catch (const Error& error) {
    throw Error(Code::Damaged, fmt::format("backup {}: {}", entry.id, error.what()),
                "use another backup: aragora backup list");
  }
  if (crypto::sha256Hex(text) != entry.manifest_sha256)
    throw Error(Code::Damaged, fmt::format("backup {}: the manifest changed while it was read", entry.id));
  if (!signature || !keyring.verifyManifest(text, *signature)) {
    const bool other_key = entry.manifest->key_id != keyring.activeId();
    throw Error(Code::Damaged, fmt::format("backup {}: the signature of the manifest does not hold", entry.id),
                other_key ? fmt::format("it names key {}; the active key is {}", printable(entry.manifest->key_id, 20),
                                        keyring.activeId())
                          : "somebody changed it; use another backup");
  }
}

FileLock Repository::lock() const {
  makeDirectories(directory_, 0750);
  const auto path = directory_ / ".lock";
  if (auto lock = FileLock::tryAcquire(path)) return std::move(*lock);
  throw Error(Code::Busy,
              fmt::format("another backup run works in {} ({})", directory_.string(), FileLock::holder(path)),
              "wait for it to end");
}

fs::path Repository::beginTemporary(const std::string& id) const {
  makeDirectories(folder(), 0750);
  const auto path = folder() / (".tmp-" + id);
  makeDirectories(path, 0750);
  return path;
}

void Repository::publish(const fs::path& temporary, const std::string& id) const {
  syncDirectory(temporary);
  renameDurably(temporary, folder() / id);
  pointLatestAt(id);
}

void Repository::pointLatestAt(const std::string& id) const {
  const auto temporary = directory_ / fmt::format(".latest-{}", ::getpid());
  std::error_code ignored;
  fs::remove(temporary, ignored);
  if (::symlink((kind_ + "/" + id).c_str(), temporary.c_str()) != 0)
    throwSystemError(Code::CannotCreate, "create link", temporary.string(), errno);
  renameDurably(temporary, directory_ / link());
}

void Repository::removeLeftovers() const {
  std::error_code ignored;
  for (const auto& folder : {folder(), directory_}) {
    for (const auto& item : fs::directory_iterator(folder, ignored)) {
      const auto name = item.path().filename().string();
      if (startsWith(name, ".tmp-") || startsWith(name, ".trash-") || startsWith(name, ".latest-"))
        fs::remove_all(item.path(), ignored);
    }
  }
}

void Repository::remove(const Entry& entry) const {
  const auto trash = folder() / (".trash-" + entry.id);
  renameDurably(entry.directory, trash);
  std::error_code failed;
  fs::remove_all(trash, failed);
  if (failed)
    throw Error(Code::Io, fmt::format("cannot remove {}: {}", trash.string(), failed.message()),
                "remove it by hand; it is no longer listed");
  fs::remove(directory_ / "verified" / (entry.id + ".json"), failed);
  fs::remove_all(directory_ / "increments" / entry.id, failed);  // worth nothing without it
}

std::vector<Verification> Repository::verificationsOf(const std::string& id) const {
  std::vector<Verification> result;
  const auto text = readFileIfExists(directory_ / "verified" / (id + ".json"), 1 << 20);
  const auto value = text ? tryParseJson(*text) : std::nullopt;
  if (!value || !value->is_array()) return result;
  for (const auto& element : value->get_array()) {
    const auto* object = element.if_object();
    if (object == nullptr) continue;
    result.push_back({static_cast<int>(jsonIntegerOr(*object, "level", 0)), jsonFlagOr(*object, "ok", false),
                      fromIso(jsonTextOr(*object, "at", "")).value_or(0), jsonTextOr(*object, "message", "")});
  }
  return result;
}

void Repository::recordVerification(const std::string& id, const Verification& verification) const {
  auto all = verificationsOf(id);
  all.push_back(verification);
  if (all.size() > kKeptVerifications) all.erase(all.begin(), all.end() - kKeptVerifications);
  json::array array;
  for (const auto& v : all)
    array.push_back(json::object{{"level", v.level}, {"ok", v.ok}, {"at", toIso(v.at)}, {"message", v.message}});
  makeDirectories(directory_ / "verified", 0750);
  writeFileAtomically(directory_ / "verified" / (id + ".json"), toPrettyJson(array) + "\n", 0640);
}

std::optional<Micros> newestBackup(const fs::path& directory) {
  const auto entries = Repository(directory).list();
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (entry->manifest && entry->problem.empty()) return entry->manifest->finished_at;
  }
  return std::nullopt;
}

}  // namespace aragora::backup
