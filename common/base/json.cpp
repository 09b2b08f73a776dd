#include "common/base/json.h"

#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora {

namespace {
constexpr std::size_t kMaxDepth = 32;

json::parse_options options() {
  json::parse_options result;
  result.max_depth = kMaxDepth;
  return result;
}

// RFC 8259, section 7.
void appendQuoted(std::string& out, std::string_view text) {
  out += '"';
  std::size_t copied = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, copied, i - copied);
    copied = i + 1;
    if (c == '"' || c == '\\')
      (out += '\\') += static_cast<char>(c);
    else if (c == '\n')
      out += "\\n";
    else
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
  }
  out.append(text, copied);
  out += '"';
}

// As people write it: 0.8 where Boost.JSON writes 8E-1. A point or an exponent stays, so that it is read as a double
// again.
void appendNumber(std::string& out, double number) {
  const auto from = out.size();
  fmt::format_to(std::back_inserter(out), "{}", number);
  if (out.find_first_of(".e", from) == std::string::npos) out += ".0";
}

void appendCompact(std::string& out, const json::value& value) {
  if (const auto* object = value.if_object()) {
    out += '{';
    for (const auto& member : *object) {
      if (&member != object->begin()) out += ',';
      appendQuoted(out, member.key());
      out += ':';
      appendCompact(out, member.value());
    }
    out += '}';
  } else if (const auto* array = value.if_array()) {
    out += '[';
    for (const auto& element : *array) {
      if (&element != array->begin()) out += ',';
      appendCompact(out, element);
    }
    out += ']';
  } else if (const auto* text = value.if_string()) {
    appendQuoted(out, *text);
  } else if (const auto* number = value.if_double()) {
    appendNumber(out, *number);
  } else if (const auto* integer = value.if_int64()) {
    fmt::format_to(std::back_inserter(out), "{}", *integer);
  } else {
    out += json::serialize(value);  // true, false, null, above the signed range
  }
}

void indent(std::string& out, int depth) { out.append(static_cast<std::size_t>(depth) * 2, ' '); }

void pretty(std::string& out, const json::value& value, int depth) {
  if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
    out += "{\n";
    bool first = true;
    for (const auto& member : *object) {
      if (!first) out += ",\n";
      first = false;
      indent(out, depth + 1);
      appendQuoted(out, member.key());
      out += ": ";
      pretty(out, member.value(), depth + 1);
    }
    out += '\n';
    indent(out, depth);
    out += '}';
  } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
    out += "[\n";
    bool first = true;
    for (const auto& element : *array) {
      if (!first) out += ",\n";
      first = false;
      indent(out, depth + 1);
      pretty(out, element, depth + 1);
    }
    out += '\n';
    indent(out, depth);
    out += ']';
  } else {
    appendCompact(out, value);
  }
}

// Boost.JSON 1.81 reads 0E3333 as not-a-number and 1E999 as infinity, which it then writes as something that is no
// JSON.
bool finite(const json::value& value) {
  if (const auto* number = value.if_double()) return std::isfinite(*number);
  if (const auto* object = value.if_object()) {
    return std::all_of(object->begin(), object->end(), [](const auto& member) { return finite(member.value()); });
  }
  if (const auto* array = value.if_array()) return std::all_of(array->begin(), array->end(), finite);
  return true;
}
}  // namespace

json::value parseJson(std::string_view text, std::string_view what) {
  json::stream_parser parser({}, options());
  json::error_code error;
  const std::size_t used = parser.write_some(text.data(), text.size(), error);
  if (!error) parser.finish(error);
  const bool trailing = !error && text.find_first_not_of(" \t\r\n", used) != std::string_view::npos;
  if (error || trailing) {
    throw Error(Code::InvalidJson,
                fmt::format("{} is not valid JSON near byte {}: {}", what, used,
                            trailing ? std::string("text after the document") : error.message()),
                "send one JSON document in UTF-8");
  }
  auto value = parser.release();
  if (!finite(value)) {
    throw Error(Code::InvalidJson, fmt::format("{} holds a number that is out of range", what),
                "use numbers up to 1e308");
  }
  return value;
}

std::optional<json::value> tryParseJson(std::string_view text) {
  json::error_code error;
  auto value = json::parse(text, error, {}, options());
  if (error) return std::nullopt;
  return value;
}

std::string toJson(const json::value& value) {
  std::string out;
  appendCompact(out, value);
  return out;
}

std::string toPrettyJson(const json::value& value) {
  std::string out;
  pretty(out, value, 0);
  return out;
}

std::optional<std::string> jsonText(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string(value->get_string());
}

std::optional<std::int64_t> jsonInteger(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* number = value->if_int64()) return *number;
  if (const auto* number = value->if_uint64(); number != nullptr && *number <= INT64_MAX) {
    return static_cast<std::int64_t>(*number);
  }
  return std::nullopt;
}

std::string jsonTextOr(const json::object& object, std::string_view key, std::string_view fallback) {
  return jsonText(object, key).value_or(std::string(fallback));
}

std::int64_t jsonIntegerOr(const json::object& object, std::string_view key, std::int64_t fallback) {
  return jsonInteger(object, key).value_or(fallback);
}

double jsonNumberOr(const json::object& object, std::string_view key, double fallback) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_number()) return fallback;
  return value->to_number<double>();
}

bool jsonFlagOr(const json::object& object, std::string_view key, bool fallback) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_bool() ? value->get_bool() : fallback;
}

const json::object* jsonObject(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr ? value->if_object() : nullptr;
}

const json::array* jsonArray(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr ? value->if_array() : nullptr;
}

void JsonObjectText::name(std::string_view name) {
  if (!first_) out_ += ',';
  first_ = false;
  ((out_ += '"') += name) += "\":";
}

void JsonObjectText::text(std::string_view name, std::string_view value) {
  this->name(name);
  appendQuoted(out_, value);
}

void JsonObjectText::textOrNull(std::string_view name, std::string_view value) {
  value.empty() ? raw(name, "null") : text(name, value);
}

void JsonObjectText::integer(std::string_view name, std::int64_t value) {
  this->name(name);
  fmt::format_to(std::back_inserter(out_), "{}", value);
}

void JsonObjectText::number(std::string_view name, double value) {
  this->name(name);
  appendNumber(out_, value);
}

void JsonObjectText::flag(std::string_view name, bool value) { raw(name, value ? "true" : "false"); }

void JsonObjectText::raw(std::string_view name, std::string_view json_text) {
  this->name(name);
  out_ += json_text;
}

}  // namespace aragora
