// JSON for the whole product: Boost.JSON under one name, and the few readers that bodies, manifests and events need.
// Readers never throw on a wrong type: they answer nullopt or the fallback, and the caller says what was expected.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace aragora {

namespace json = boost::json;

// Parses a whole document; depth at most 32. Throws Error(InvalidInput) that names `what`, the byte and the reason.
json::value parseJson(std::string_view text, std::string_view what);
// For our own files and rows, where no document means damage.
std::optional<json::value> tryParseJson(std::string_view text);

std::string toJson(const json::value& value);
// Two-space indented, keys in insertion order: for people.
std::string toPrettyJson(const json::value& value);

std::optional<std::string> jsonText(const json::object& object, std::string_view key);
std::optional<std::int64_t> jsonInteger(const json::object& object, std::string_view key);
std::string jsonTextOr(const json::object& object, std::string_view key, std::string_view fallback);
std::int64_t jsonIntegerOr(const json::object& object, std::string_view key, std::int64_t fallback);
double jsonNumberOr(const json::object& object, std::string_view key, double fallback);
bool jsonFlagOr(const json::object& object, std::string_view key, bool fallback);
const json::object* jsonObject(const json::object& object, std::string_view key);
const json::array* jsonArray(const json::object& object, std::string_view key);

// Writes one object as text, member by member, without a tree: for answers that are rendered thousands of times a
// second. Names must be plain ASCII without quotes. Not reusable after finish().
class JsonObjectText {
 public:
  explicit JsonObjectText(std::string& out) : out_(out) { out_ += '{'; }
  void text(std::string_view name, std::string_view value);
  void textOrNull(std::string_view name, std::string_view value);  // null when empty
  void integer(std::string_view name, std::int64_t value);
  void number(std::string_view name, double value);  // finite
  void flag(std::string_view name, bool value);
  void raw(std::string_view name, std::string_view json_text);  // a document that was serialised before
  void finish() { out_ += '}'; }

 private:
  void name(std::string_view name);
  std::string& out_;
  bool first_ = true;
};

}  // namespace aragora
