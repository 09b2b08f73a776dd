#include "daemon/cluster/hint.h"

#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::cluster {

namespace {
constexpr Names<HintKind, 6> kKinds{{{HintKind::Event, "event"},
                                     {HintKind::Lists, "lists"},
                                     {HintKind::Cancel, "cancel"},
                                     {HintKind::Breaker, "breaker"},
                                     {HintKind::Listen, "listen"},
                                     {HintKind::Minded, "minded"}}};
constexpr std::string_view kVersion = "1";
constexpr std::string_view kNothing = "-";
constexpr std::size_t kLongest = 1024;
}  // namespace

std::string encode(const Hint& hint, std::string_view instance) {
  return fmt::format("{} {} {} {} {} {}", kVersion, instance, nameIn(kKinds, hint.kind),
                     hint.debate_id.empty() ? kNothing : std::string_view(hint.debate_id), hint.seq, hint.ticket);
}

std::optional<Heard> parse(std::string_view line) {
  if (line.size() > kLongest) return std::nullopt;
  const auto parts = split(line, ' ');
  if (parts.size() != 6 || parts[0] != kVersion || parts[1].empty() || parts[3].empty()) return std::nullopt;
  const auto kind = parseIn(kKinds, parts[2]);
  const auto seq = parseInteger(parts[4]);
  const auto ticket = parseInteger(parts[5]);
  if (!kind || !seq || *seq < 0 || !ticket || *ticket < 0) return std::nullopt;
  Heard heard{std::string(parts[1]), {*kind, {}, *seq, *ticket}};
  if (parts[3] != kNothing) heard.hint.debate_id = std::string(parts[3]);
  const bool of_something = *kind != HintKind::Lists && *kind != HintKind::Minded;
  if (of_something && heard.hint.debate_id.empty()) return std::nullopt;
  return heard;
}

}  // namespace aragora::cluster
