#include "common/net/forwarded.h"

#include <algorithm>
#include <set>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/net/address.h"

namespace aragora::net {

namespace {
constexpr std::size_t kMostBytes = 1024;
constexpr std::size_t kMostHops = 32;

[[noreturn]] void refuse(std::string_view header, std::string_view reason) {
  throw Error(Code::Validation, fmt::format("{}: {}", header, reason),
              "let the proxy in front of this service replace what clients send in it");
}

// Several lines of one header are one list (RFC 9110, 5.3).
std::string joined(std::string_view header, const std::vector<std::string_view>& lines) {
  std::string text;
  for (const auto line : lines) {
    if (text.size() + line.size() > kMostBytes) refuse(header, fmt::format("more than {} bytes", kMostBytes));
    if (!text.empty()) text += ',';
    text += line;
  }
  if (text.size() > kMostBytes) refuse(header, fmt::format("more than {} bytes", kMostBytes));
  return text;
}

void add(std::string_view header, std::vector<Hop>& hops, Hop hop) {
  if (hops.size() == kMostHops) refuse(header, fmt::format("more than {} hops", kMostHops));
  hops.push_back(std::move(hop));
}

constexpr std::string_view kForwarded = "Forwarded";

bool tokenCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// Reads forwarded-element = [ pair ] *( ";" [ pair ] ), comma separated, with white space where RFC 9110 has it.
class ForwardedReader {
 public:
  explicit ForwardedReader(std::string_view text) : text_(text) {}

  std::vector<Hop> read() {
    std::vector<Hop> hops;
    while (true) {
      auto [hop, said_something] = element();
      if (said_something) add(kForwarded, hops, std::move(hop));
      if (at_ == text_.size()) return hops;
      expect(',');
    }
  }

 private:
  std::pair<Hop, bool> element() {
    Hop hop;
    std::set<std::string> seen;
    while (true) {
      skipSpace();
      if (at_ < text_.size() && text_[at_] != ',' && text_[at_] != ';') {
        const auto name = lower(token());
        expect('=');
        auto value = at_ < text_.size() && text_[at_] == '"' ? quoted() : std::string(token());
        if (!seen.insert(name).second) refuse(kForwarded, "a parameter twice in one element");
        if (name == "for")
          hop.node = std::move(value);
        else if (name == "proto")
          hop.proto = lower(value);
        skipSpace();
      }
      if (at_ == text_.size() || text_[at_] != ';') return {std::move(hop), !seen.empty()};
      ++at_;
    }
  }

  void skipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }

  std::string_view token() {
    const auto from = at_;
    while (at_ < text_.size() && tokenCharacter(text_[at_])) ++at_;
    if (at_ == from) refuse(kForwarded, "malformed");
    return text_.substr(from, at_ - from);
  }

  std::string quoted() {
    std::string value;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '"') {
        ++at_;
        return value;
      }
      if (text_[at_] == '\\' && ++at_ == text_.size()) break;
      value += text_[at_];
    }
    refuse(kForwarded, "a quoted text without an end");
  }

  void expect(char wanted) {
    if (at_ == text_.size() || text_[at_] != wanted) refuse(kForwarded, "malformed");
    ++at_;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

struct Found {
  std::string address;
  std::string proto;  // as said by the hop that names the client
};

// nullopt when no hop names anybody.
std::optional<Found> walk(std::string_view header, const std::vector<Hop>& hops, const std::vector<Block>& trusted) {
  std::optional<Found> found;
  if (std::all_of(hops.begin(), hops.end(), [](const Hop& hop) { return hop.node.empty(); })) return std::nullopt;
  for (auto hop = hops.rbegin(); hop != hops.rend(); ++hop) {
    const auto address = normalised(hop->node);
    if (!address) refuse(header, fmt::format("«{}» is no address", printable(hop->node, 60)));
    found = Found{*address, hop->proto};
    if (!anyContains(trusted, *address)) break;
  }
  return found;
}

bool meansTls(std::string_view proto) { return proto == "https" || proto == "wss"; }
}  // namespace

std::vector<Hop> parseXForwardedFor(const std::vector<std::string_view>& lines) {
  constexpr std::string_view kHeader = "X-Forwarded-For";
  std::vector<Hop> hops;
  for (auto& hop : split(joined(kHeader, lines), ',')) add(kHeader, hops, {std::move(hop), {}});
  return hops;
}

std::vector<Hop> parseForwarded(const std::vector<std::string_view>& lines) {
  const auto text = joined(kForwarded, lines);
  return ForwardedReader(text).read();
}

Client clientOf(const std::string& peer, const std::vector<std::string_view>& x_forwarded_for_lines,
                const std::vector<std::string_view>& forwarded_lines, std::string_view x_forwarded_proto,
                const std::vector<Block>& trusted) {
  Client client{normalised(peer).value_or(peer), false};
  const bool nothing_said = x_forwarded_for_lines.empty() && forwarded_lines.empty() && x_forwarded_proto.empty();
  if (nothing_said || !anyContains(trusted, client.address)) return client;
  const auto forwarded_hops = parseForwarded(forwarded_lines);
  const auto x_found = walk("X-Forwarded-For", parseXForwardedFor(x_forwarded_for_lines), trusted);
  const auto found = walk(kForwarded, forwarded_hops, trusted);
  if (x_found && found && x_found->address != found->address)
    refuse("X-Forwarded-For and Forwarded", "they name different clients");
  // A list grows to the right, like that of the hops: the last word is the nearest proxy's.
  const auto said = split(x_forwarded_proto, ',');
  auto proto = said.empty() ? std::string() : lower(said.back());
  if (proto.empty() && found) proto = found->proto;
  if (proto.empty() && !found && !forwarded_hops.empty()) proto = forwarded_hops.back().proto;
  if (x_found || found) client.address = x_found ? x_found->address : found->address;
  client.secure = meansTls(proto);
  return client;
}

}  // namespace aragora::net
