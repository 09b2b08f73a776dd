#include "common/backup/manifest.h"

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
[[noreturn]] void damaged(const std::string& what) { throw Error(Code::Damaged, "the manifest is damaged: " + what); }

std::string needText(const json::object& object, std::string_view key) {
  auto text = jsonText(object, key);
  if (!text) damaged(fmt::format("'{}' is missing", key));
  return *text;
}

template <typename Value>
Value needOneOf(std::optional<Value> value, std::string_view key) {
  if (!value) damaged(fmt::format("'{}' is unknown", key));
  return *value;
}

std::int64_t needNumber(const json::object& object, std::string_view key) {
  const auto number = jsonInteger(object, key);
  if (!number || *number < 0) damaged(fmt::format("'{}' is not a number", key));
  return *number;
}

const json::array& needArray(const json::object& object, std::string_view key) {
  const auto* array = jsonArray(object, key);
  if (array == nullptr) damaged(fmt::format("'{}' is missing", key));
  return *array;
}

std::string needDigest(const json::object& object, std::string_view key) {
  auto text = needText(object, key);
  const auto bytes = fromHex(text);
  if (!bytes || bytes->size() != 32) damaged(fmt::format("'{}' is not a SHA-256", key));
  return text;
}

PhysicalRecord needPhysical(const json::object& object) {
  const auto* physical = jsonObject(object, "physical");
  if (physical == nullptr) damaged("'physical' is missing");
  const auto start = parseLsn(needText(*physical, "start_lsn"));
  const auto stop = parseLsn(needText(*physical, "stop_lsn"));
  const auto timeline = needNumber(*physical, "timeline");
  if (!start || !stop || *stop < *start || timeline < 1 || timeline > UINT32_MAX)
    damaged("'physical' is no range of WAL");
  return {needText(*physical, "system_identifier"), static_cast<std::uint32_t>(timeline), *start, *stop,
          fromIso(jsonTextOr(*physical, "stopped_at", "")).value_or(0)};
}

// Without which a backup is none.
const char* mainContent(Kind kind) {
  if (kind == Kind::Configuration) return content::kConfiguration;
  return kind == Kind::Artifacts ? content::kArtifacts : content::kDatabase;
}

bool plainName(std::string_view name) {
  return !name.empty() && name.size() <= 100 && name[0] != '.' &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
             std::string_view::npos;
}
}  // namespace

const FileRecord* Manifest::file(std::string_view content) const {
  for (const auto& record : files) {
    if (record.content == content) return &record;
  }
  return nullptr;
}

std::uint64_t Manifest::storedSize() const {
  std::uint64_t total = 0;
  for (const auto& record : files) total += record.stored_size;
  return total;
}

std::string serialise(const Manifest& manifest) {
  json::array files;
  for (const auto& file : manifest.files) {
    json::object entry{{"path", file.path},
                       {"content", file.content},
                       {"plain_size", file.plain_size},
                       {"stored_size", file.stored_size},
                       {"stored_sha256", file.stored_sha256},
                       {"compression", "zstd"},
                       {"encryption", "age-encryption.org/v1"}};
    if (!file.plain_sha256.empty()) entry["plain_sha256"] = file.plain_sha256;
    files.push_back(std::move(entry));
  }
  json::array tables;
  for (const auto& table : manifest.tables)
    tables.push_back(json::object{{"name", table.name}, {"rows", table.rows}, {"digest", table.digest}});
  json::object object{{"format", manifest.format},
                      {"id", manifest.id},
                      {"kind", name(manifest.kind)},
                      {"engine", database::storedName(manifest.engine)},
                      {"server_version", manifest.server_version},
                      {"tool_version", manifest.tool_version},
                      {"instance_id", manifest.instance_id},
                      {"key_id", manifest.key_id},
                      {"started_at", toIso(manifest.started_at)},
                      {"finished_at", toIso(manifest.finished_at)},
                      {"migration_version", manifest.migration_version},
                      {"files", files},
                      {"tables", tables},
                      {"recipients", json::array(manifest.recipients.begin(), manifest.recipients.end())},
                      {"previous_sha256", manifest.previous_sha256}};
  if (!manifest.data_keys.empty())
    object["data_keys"] = json::array(manifest.data_keys.begin(), manifest.data_keys.end());
  if (manifest.sequence > 0) object["sequence"] = manifest.sequence;
  if (manifest.audit_head.entries > 0)
    object["audit_head"] = json::object{{"entries", manifest.audit_head.entries}, {"hash", manifest.audit_head.hash}};
  if (manifest.physical) {
    object["physical"] = json::object{{"system_identifier", manifest.physical->system_identifier},
                                      {"timeline", manifest.physical->timeline},
                                      {"start_lsn", formatLsn(manifest.physical->start)},
                                      {"stop_lsn", formatLsn(manifest.physical->stop)}};
    if (manifest.physical->stopped_at > 0)
      object["physical"].as_object()["stopped_at"] = toIso(manifest.physical->stopped_at);
  }
  return toPrettyJson(object) + "\n";
}

Manifest parseManifest(std::string_view text) {
  const auto value = tryParseJson(text);
  if (!value || !value->is_object()) damaged("it is not a JSON object");
  const auto& object = value->get_object();
  Manifest manifest;
  manifest.format = static_cast<int>(needNumber(object, "format"));
  if (manifest.format != 1) damaged(fmt::format("format {} is unknown to this version", manifest.format));
  manifest.id = needText(object, "id");
  if (!plainName(manifest.id)) damaged("'id' is not a plain name");
  manifest.kind = needOneOf(parseKind(needText(object, "kind")), "kind");
  manifest.engine = needOneOf(database::parseEngine(needText(object, "engine")), "engine");
  manifest.server_version = needText(object, "server_version");
  manifest.tool_version = needText(object, "tool_version");
  manifest.instance_id = needText(object, "instance_id");
  manifest.key_id = needText(object, "key_id");
  const auto started = fromIso(needText(object, "started_at"));
  const auto finished = fromIso(needText(object, "finished_at"));
  if (!started || !finished) damaged("a time cannot be read");
  manifest.started_at = *started;
  manifest.finished_at = *finished;
  manifest.migration_version = static_cast<int>(needNumber(object, "migration_version"));
  std::set<std::string> names;
  for (const auto& element : needArray(object, "files")) {
    if (!element.is_object()) damaged("a file entry is not an object");
    const auto& entry = element.get_object();
    FileRecord file{needText(entry, "path"),
                    needText(entry, "content"),
                    static_cast<std::uint64_t>(needNumber(entry, "plain_size")),
                    static_cast<std::uint64_t>(needNumber(entry, "stored_size")),
                    manifest.kind == Kind::Base && !entry.contains("plain_sha256") ? std::string()
                                                                                   : needDigest(entry, "plain_sha256"),
                    needDigest(entry, "stored_sha256")};
    if (!plainName(file.path) || !names.insert(file.path).second) damaged("a file name is not a plain, single name");
    manifest.files.push_back(std::move(file));
  }
  const std::string_view content = mainContent(manifest.kind);
  if (manifest.file(content) == nullptr) damaged(fmt::format("it lists no {}", content));
  for (const auto& element : needArray(object, "tables")) {
    if (!element.is_object()) damaged("a table entry is not an object");
    const auto& entry = element.get_object();
    manifest.tables.push_back({needText(entry, "name"), needNumber(entry, "rows"), jsonTextOr(entry, "digest", "")});
  }
  for (const auto& element : needArray(object, "recipients")) {
    if (!element.is_string()) damaged("a recipient is not a text");
    manifest.recipients.emplace_back(element.get_string());
  }
  if (object.contains("data_keys")) {
    for (const auto& element : needArray(object, "data_keys")) {
      if (!element.is_string()) damaged("a key of the data is not a text");
      manifest.data_keys.emplace_back(element.get_string());
    }
  } else if (manifest.kind == Kind::Full || manifest.kind == Kind::Base) {
    manifest.data_keys = {manifest.key_id};  // of a version that did not say, and never sealed anew since
  }
  manifest.previous_sha256 = jsonTextOr(object, "previous_sha256", "");
  if (object.contains("sequence")) manifest.sequence = needNumber(object, "sequence");
  if (const auto* head = jsonObject(object, "audit_head"))
    manifest.audit_head = {needNumber(*head, "entries"), needText(*head, "hash")};
  if (manifest.kind == Kind::Base) manifest.physical = needPhysical(object);
  return manifest;
}

}  // namespace aragora::backup
