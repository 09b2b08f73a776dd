#include "common/base/redact.h"

#include "common/base/known_secrets.h"
#include "common/base/secret_shapes.h"
#include "common/base/text.h"

namespace aragora {

namespace {
constexpr std::size_t kShortest = 8;

void rememberOne(std::string_view value, Looks looks) {
  if (looks == Looks::Any || (value.size() >= kShortest && looksSecret(value))) remember(value);
}

bool isUrl(std::string_view value, std::size_t scheme) {
  return scheme != std::string_view::npos && scheme > 1 &&
         value.substr(0, scheme).find_first_not_of("abcdefghijklmnopqrstuvwxyz+") == std::string_view::npos;
}

using Look = std::optional<Span> (*)(std::string_view text, std::size_t at);

std::string without(std::string_view view, Look look, const std::vector<Span>& cut) {
  auto next = cut.begin();
  std::string result;
  for (std::size_t at = 0; at < view.size();) {
    while (next != cut.end() && next->begin < at) ++next;
    const bool rest_of_key = next != cut.end() && next->begin == at;
    const auto span = rest_of_key ? std::optional(*next) : look(view, at);
    if (!span) {
      result += view[at++];
      continue;
    }
    result += view.substr(at, span->begin - at);
    result += kRedacted;
    at = span->end;
  }
  return result;
}
}  // namespace

void neverShow(std::string_view value) { neverShow(value, Looks::OfSecret); }

void neverShow(std::string_view value, Looks looks) {
  // Of a URL and a connection string only the password: the rest is what an operator has to see.
  const auto scheme = value.find("://");
  const bool url = isUrl(value, scheme);
  if (url) {
    if (const auto span = urlPassword(value, scheme))
      rememberOne(value.substr(span->begin, span->end - span->begin), looks);
  }
  bool parameters = false;
  for (std::size_t at = value.find("password"); at != std::string_view::npos; at = value.find("password", at + 8)) {
    const auto span = secretAt(value, at);
    if (!span || value.find('=') == std::string_view::npos) continue;
    parameters = true;
    const auto one = value.substr(span->begin, span->end - span->begin);
    rememberOne(one, looks);
    rememberOne(replaceAll(replaceAll(std::string(one), "\\'", "'"), "\\\\", "\\"), looks);
  }
  if (!url && !parameters) rememberOne(value, looks);
}

std::string redact(std::string_view given) {
  const auto text = withoutKnown(given, kRedacted);
  return without(text, secretAt, cutKeys(text));
}

std::string redactCredentials(std::string_view text) { return without(text, credentialAt, {}); }

}  // namespace aragora
