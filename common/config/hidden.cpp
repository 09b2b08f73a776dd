#include "common/config/hidden.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/net/url.h"

namespace aragora::config {

namespace {
void hideForms(std::string_view value, Looks looks) {
  neverShow(value, looks);
  auto encoded = net::percentEncoded(value);
  neverShow(encoded, looks);
  neverShow(replaceAll(encoded, "%20", "+"), looks);
  for (std::size_t at = 0; (at = encoded.find('%', at)) != std::string::npos; at += 3)
    encoded.replace(at, 3, lower(encoded.substr(at, 3)));
  neverShow(encoded, looks);
  if (const auto decoded = net::percentDecoded(value); decoded && *decoded != value) hideForms(*decoded, looks);
}

// A single part of a path may be a word, such as services.
void hideTarget(const net::Url& url, Looks looks) {
  constexpr std::size_t kTelling = 9;
  if (const auto target = url.target(); target.size() >= kTelling) hideForms(target, Looks::Any);
  if (url.path.size() >= kTelling) hideForms(url.path, Looks::Any);
  const auto parts = split(url.path, '/');
  for (const auto& part : parts) {
    const bool number = std::any_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    hideForms(part, number || &part == &parts.back() ? looks : Looks::OfSecret);
  }
  for (const auto& part : split(url.query, '&')) hideForms(part.substr(part.find('=') + 1), looks);
}
}  // namespace

void hideSecret(std::string_view value, Looks looks) {
  neverShow(value, looks);
  const auto url = net::Url::parse(value);
  if (!url) {
    hideForms(value, looks);
    const auto list = split(value, ',');
    for (const auto& one : list) {
      if (list.size() > 1) hideForms(one, looks);
    }
    return;
  }
  const bool http = startsWith(url->scheme, "http");
  const auto colon = url->user_info.find(':');
  if (colon != std::string::npos || http)
    hideForms(colon == std::string::npos ? url->user_info : url->user_info.substr(colon + 1), looks);
  if (http) hideTarget(*url, looks);
}

}  // namespace aragora::config
