#include "common/base/known_secrets.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "common/base/json.h"
#include "common/base/text.h"

namespace aragora {

namespace {
constexpr std::size_t kShortest = 4;
constexpr std::size_t kShortOfBase64 = 5;  // fewer stand in other texts by chance
constexpr std::size_t kWord = 8;           // shorter ones are looked for between the ends of words

struct Form {
  std::string text;
  bool word = false;
  bool base64 = false;
};

// By their first four bytes: most places of a text are passed with one look.
struct Known {
  std::mutex mutex;
  std::unordered_map<std::uint32_t, std::vector<Form>> forms;  // longest first
  std::bitset<1U << 16> begins;
};
Known& known() {
  static Known all;
  return all;
}

std::uint32_t beginOf(const char* text) {
  std::uint32_t first = 0;
  std::memcpy(&first, text, sizeof first);
  return first;
}
std::size_t slotOf(std::uint32_t first) { return (first * 2654435761U) >> 16; }

bool isOfWord(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }
bool isOfBase64(char c) { return isOfWord(c) || c == '+' || c == '/' || c == '-' || c == '='; }
bool isHex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// What is before it may be an escape of JSON or of an address, whose last letter is none of the word.
bool endsWordBefore(std::string_view text, std::size_t at) {
  if (at == 0 || !isOfWord(text[at]) || !isOfWord(text[at - 1])) return true;
  return (at > 1 && text[at - 2] == '\\') ||
         (at > 2 && text[at - 3] == '%' && isHex(text[at - 2]) && isHex(text[at - 1]));
}
bool endsWordAfter(std::string_view text, std::size_t end) {
  return end == text.size() || !isOfWord(text[end - 1]) || !isOfWord(text[end]);
}

void put(Form form) {
  if (form.text.size() < (form.base64 ? kShortOfBase64 : kShortest)) return;
  auto& all = known();
  const auto first = beginOf(form.text.data());
  auto& same = all.forms[first];
  for (const auto& other : same) {
    if (other.text == form.text) return;
  }
  all.begins.set(slotOf(first));
  const auto place =
      std::find_if(same.begin(), same.end(), [&](const Form& other) { return other.text.size() < form.text.size(); });
  same.insert(place, std::move(form));
}

std::string escaped(std::string_view value) {
  const auto quoted = toJson(json::string(value));
  return quoted.substr(1, quoted.size() - 2);
}

// Without the characters at either end, which are of the neighbours, too.
void putBase64(std::string_view value) {
  constexpr std::array<std::size_t, 3> kOfThoseBefore{0, 2, 3};
  for (std::size_t before = 0; before < kOfThoseBefore.size(); ++before) {
    const auto bytes = std::string(before, '\0') + std::string(value);
    for (auto text : {toBase64(bytes, false), toBase64Url(bytes)}) {
      if (bytes.size() % 3 != 0) text.pop_back();
      if (text.size() > kOfThoseBefore[before]) put({text.substr(kOfThoseBefore[before]), false, true});
    }
  }
}

const Form* formAt(const Known& all, std::string_view text, std::size_t at) {
  const auto first = beginOf(text.data() + at);
  if (!all.begins.test(slotOf(first))) return nullptr;
  const auto found = all.forms.find(first);
  if (found == all.forms.end()) return nullptr;
  for (const auto& form : found->second) {
    if (text.compare(at, form.text.size(), form.text) == 0 &&
        (!form.word || (endsWordBefore(text, at) && endsWordAfter(text, at + form.text.size()))))
      return &form;
  }
  return nullptr;
}
}  // namespace

void remember(std::string_view value) {
  if (value.size() < kShortest) return;
  const bool word = value.size() < kWord;
  const std::lock_guard lock(known().mutex);
  put({std::string(value), word});
  auto once = escaped(value);
  put({replaceAll(once, "/", "\\/"), word});
  put({escaped(once), word});
  put({std::move(once), word});
  put({toHex(value)});
  put({upper(toHex(value))});
  putBase64(value);
}

std::string withoutKnown(std::string_view text, std::string_view instead) {
  auto& all = known();
  const std::lock_guard lock(all.mutex);
  std::string result;
  std::size_t shown = 0;  // all before is in the result
  std::size_t begin = 0;
  std::size_t end = 0;  // of what is hidden, which grows while others overlap it
  const auto hide = [&] {
    if (end == 0) return;
    result += text.substr(shown, begin - shown);
    result += instead;
    shown = end;
  };
  for (std::size_t at = 0; at + kShortest <= text.size(); ++at) {
    const auto* form = formAt(all, text, at);
    if (form == nullptr) continue;
    auto from = at;
    auto to = at + form->text.size();
    if (form->base64) {
      while (from > end && at - from < 3 && isOfBase64(text[from - 1])) --from;
      for (int more = 0; more < 3 && to < text.size() && isOfBase64(text[to]); ++more) ++to;
    }
    if (end == 0 || from >= end) {
      hide();
      begin = from;
    }
    end = std::max(end, to);
  }
  hide();
  return result += text.substr(shown);
}

}  // namespace aragora
