#include "common/receipts/canonical.h"

#include <algorithm>
#include <vector>

#include "common/base/error.h"
#include "common/base/json_names.h"
#include "common/base/text.h"

namespace aragora::receipts {

namespace {
// Of valid UTF-8.
std::u16string utf16(std::string_view text) {
  std::u16string units;
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const std::size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    std::uint32_t point = length == 1 ? first : first & (0xFFU >> (length + 1));
    for (std::size_t k = 1; k < length && i + k < text.size(); ++k)
      point = point << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3FU);
    i += length;
    if (point < 0x10000) {
      units += static_cast<char16_t>(point);
    } else {
      units += static_cast<char16_t>(0xD800 + ((point - 0x10000) >> 10));
      units += static_cast<char16_t>(0xDC00 + ((point - 0x10000) & 0x3FF));
    }
  }
  return units;
}

Error refused(const std::string& place, std::string_view what) {
  return {Code::Validation, fmt::format("{} {}", place.empty() ? "the document" : place, what),
          "only whole numbers within ±(2^53-1), texts in UTF-8, true, false and null can be signed"};
}

// RFC 8785, section 3.2.2.2.
void appendText(std::string& out, std::string_view text, const std::string& place) {
  if (!validUtf8(text)) throw refused(place, "is no UTF-8");
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
        else
          out += c;
    }
  }
  out += '"';
}

void append(std::string& out, const json::value& value, const std::string& place);

void appendObject(std::string& out, const json::object& object, const std::string& place) {
  std::vector<std::pair<std::u16string, const json::key_value_pair*>> members;
  members.reserve(object.size());
  for (const auto& member : object) {
    if (!validUtf8(member.key())) throw refused(place, "has a name that is no UTF-8");
    members.emplace_back(utf16(member.key()), &member);
  }
  std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  out += '{';
  for (const auto& [units, member] : members) {
    if (out.back() != '{') out += ',';
    const auto there = place + pointerStep(member->key());
    appendText(out, member->key(), there);
    out += ':';
    append(out, member->value(), there);
  }
  out += '}';
}

void append(std::string& out, const json::value& value, const std::string& place) {
  if (const auto* object = value.if_object()) {
    appendObject(out, *object, place);
  } else if (const auto* array = value.if_array()) {
    out += '[';
    for (std::size_t i = 0; i < array->size(); ++i) {
      if (i > 0) out += ',';
      append(out, (*array)[i], fmt::format("{}/{}", place, i));
    }
    out += ']';
  } else if (const auto* text = value.if_string()) {
    appendText(out, *text, place);
  } else if (value.is_null()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.get_bool() ? "true" : "false";
  } else if (value.is_double()) {
    throw refused(place, "is a number with a fraction or an exponent");
  } else {
    const auto* integer = value.if_int64();
    if (integer == nullptr || *integer > kLargestInteger || *integer < -kLargestInteger)
      throw refused(place, "is a number that not every parser reads alike");
    fmt::format_to(std::back_inserter(out), "{}", *integer);
  }
}

}  // namespace

std::string pointerStep(std::string_view name) {
  return "/" + replaceAll(replaceAll(std::string(name), "~", "~0"), "/", "~1");
}

std::string canonical(const json::value& value) {
  std::string out;
  append(out, value, {});
  return out;
}

json::value parseStrict(std::string_view text, std::string_view what, std::size_t limit) {
  const auto damaged = [&](const std::string& why) { return Error(Code::Damaged, fmt::format("{} {}", what, why)); };
  if (text.size() > limit) throw damaged(fmt::format("is larger than {}", humanBytes(limit)));
  if (!validUtf8(text)) throw damaged("is no UTF-8");
  try {
    auto value = parseJson(text, what);
    if (const auto name = repeatedName(text))
      throw damaged(fmt::format("has the name {} twice in one object", printable(*name, 60)));
    (void)canonical(value);
    return value;
  } catch (const Error& error) {
    if (error.code() == Code::Damaged) throw;
    throw damaged(fmt::format("cannot be read: {}", error.what()));
  }
}

}  // namespace aragora::receipts
