#include "common/config/toml_file.h"

#include <toml++/toml.h>

#include "common/base/text.h"

namespace aragora::config {

namespace {
std::optional<std::string> asText(const toml::node& node) {
  if (const auto* value = node.as_string()) return value->get();
  if (const auto* value = node.as_integer()) return fmt::format("{}", value->get());
  if (const auto* value = node.as_boolean()) return value->get() ? "true" : "false";
  if (const auto* value = node.as_date()) {
    return fmt::format("{:04}-{:02}-{:02}", value->get().year, value->get().month, value->get().day);
  }
  if (const auto* values = node.as_array()) {
    std::vector<std::string> parts;
    for (const auto& element : *values) {
      const auto* part = element.as_string();
      if (part == nullptr) return std::nullopt;
      parts.push_back(part->get());
    }
    return join(parts, ",");
  }
  return std::nullopt;
}

void flatten(const toml::table& table, const std::string& prefix, const std::string& name,
             std::vector<TomlEntry>& entries, std::vector<Problem>& problems) {
  for (const auto& [raw_key, node] : table) {
    const auto full = prefix + std::string(raw_key.str());
    const int line = static_cast<int>(node.source().begin.line);
    if (const auto* inner = node.as_table()) {
      flatten(*inner, full + ".", name, entries, problems);
    } else if (auto text = asText(node)) {
      entries.push_back({full, std::move(*text), line});
    } else {
      problems.push_back({full, full, fmt::format("{} has a value of a kind that no setting takes", full),
                          fmt::format("{}:{}", name, line),
                          "use a string, a number, true or false, or a list of strings"});
    }
  }
}
}  // namespace

std::vector<TomlEntry> parseToml(std::string_view text, const std::string& name, std::vector<Problem>& problems) {
  std::vector<TomlEntry> entries;
  try {
    const toml::table table = toml::parse(text, std::string_view(name));
    flatten(table, "", name, entries, problems);
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.line < b.line; });
  } catch (const toml::parse_error& error) {
    // The description may quote the text around the error, and that may be a secret: only its first clause is kept.
    const auto reason = std::string(error.description());
    problems.push_back(
        {"config_file", name, fmt::format("syntax error: {}", printable(reason.substr(0, reason.find('\'')), 120)),
         fmt::format("{}:{}", name, error.source().begin.line), "see aragora.toml(5); strings need quotes"});
  }
  return entries;
}

}  // namespace aragora::config
