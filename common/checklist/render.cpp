#include "common/checklist/render.h"

#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::checklist {

namespace {
constexpr Names<State, 5> kShown{{{State::Proved, "proved"},
                                  {State::Confirmed, "confirmed"},
                                  {State::ForAPerson, "for a person"},
                                  {State::CouldNotVerify, "could not verify"},
                                  {State::Failed, "failed"}}};
constexpr State kOrder[] = {State::Proved, State::Confirmed, State::Failed, State::CouldNotVerify, State::ForAPerson};

constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--text:#1b1f24;--quiet:#59636e;--line:#d8dee4;--page:#fff;--good:#1a7f37;--bad:#cf222e;--open:#9a6700;--person:#0550ae}
@media(prefers-color-scheme:dark){:root{--text:#e6edf3;--quiet:#9198a1;--line:#30363d;--page:#0d1117;--good:#3fb950;--bad:#f85149;--open:#d29922;--person:#79c0ff}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--text);background:var(--page);max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:2rem 0 .4rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}
p{margin:.2rem 0;color:var(--quiet)}table{border-collapse:collapse;width:100%}
td{padding:.35rem .5rem .35rem 0;vertical-align:top;border-bottom:1px solid var(--line)}
td.state{width:9.5rem;font-weight:600;white-space:nowrap}td.box{width:19rem}tr:last-child td{border-bottom:0}
code{font:12px/1.4 ui-monospace,monospace;color:var(--quiet);overflow-wrap:anywhere}
.proved,.confirmed{color:var(--good)}.failed{color:var(--bad)}.could_not_verify{color:var(--open)}.for_a_person{color:var(--person)}
.seen{overflow-wrap:anywhere}.fix{color:var(--quiet)}
@media print{body{max-width:none;margin:0}tr{break-inside:avoid}}
)";

std::string day(Micros at) { return toIso(at).substr(0, 16) + "Z"; }

std::string html(std::string_view text) {
  return replaceAll(replaceAll(replaceAll(replaceAll(std::string(text), "&", "&amp;"), "<", "&lt;"), ">", "&gt;"), "\"",
                    "&quot;");
}

// What Markdown would take for its own.
std::string markdown(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    if (std::string_view("\\`*[]|#").find(c) != std::string_view::npos) safe += '\\';
    if (c == '<' || c == '>' || c == '&')
      safe += c == '<' ? "&lt;" : c == '>' ? "&gt;" : "&amp;";
    else
      safe += c;
  }
  return safe;
}

json::value orNull(const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(text); }

json::object documentOf(const Box& box) {
  json::object object{{"id", box.id},
                      {"section", box.section},
                      {"title", box.title},
                      {"state", name(box.state)},
                      {"evidence", box.evidence},
                      {"fix", orNull(box.fix)},
                      {"document", orNull(box.document)},
                      {"at", toIso(box.at)}};
  if (box.confirmation)
    object["confirmation"] =
        json::object{{"by", box.confirmation->by},          {"note", box.confirmation->note},
                     {"typed_by", box.confirmation->actor}, {"version", box.confirmation->version},
                     {"at", toIso(box.confirmation->at)},   {"until", toIso(box.confirmation->until)}};
  return object;
}

std::string subject(const Report& report) {
  return fmt::format("{} ({}), aragora {} ({}){}", report.host, report.environment, report.version, report.commit,
                     report.url.empty() ? "" : ", " + report.url);
}
}  // namespace

std::string_view shown(State state) { return nameIn(kShown, state); }

std::string tally(const Report& report) {
  std::vector<std::string> parts;
  for (const auto state : kOrder) {
    if (const auto count = report.count(state); count > 0) parts.push_back(fmt::format("{} {}", count, shown(state)));
  }
  return join(parts, ", ");
}

json::object toDocument(const Report& report) {
  json::array boxes;
  for (const auto& box : report.boxes) boxes.push_back(documentOf(box));
  json::object counts;
  for (const auto state : kOrder) counts[name(state)] = report.count(state);
  return {{"kind", "aragora checklist"},
          {"format", 1},
          {"generated_at", toIso(report.at)},
          {"host", report.host},
          {"environment", report.environment},
          {"version", report.version},
          {"commit", report.commit},
          {"url", orNull(report.url)},
          {"counts", counts},
          {"complete", report.exitStatus() == 0},
          {"boxes", boxes}};
}

std::string toMarkdown(const Report& report) {
  auto text = fmt::format("# Production checklist\n\n{}, {}\n\n**{}**\n", markdown(subject(report)), day(report.at),
                          tally(report));
  std::string_view section;
  for (const auto& box : report.boxes) {
    if (box.section != section) text += fmt::format("\n## {}\n\n", box.section);
    section = box.section;
    const bool ticked = box.state == State::Proved || box.state == State::Confirmed;
    text += fmt::format("- [{}] {} (`{}`): **{}**, {}\n", ticked ? "x" : " ", markdown(box.title), box.id,
                        shown(box.state), day(box.at));
    if (!box.evidence.empty()) text += fmt::format("  - {}\n", markdown(box.evidence));
    if (!box.fix.empty()) text += fmt::format("  - to do: {}\n", markdown(box.fix));
    if (!box.document.empty() && !ticked) text += fmt::format("  - see {}\n", box.document);
  }
  return text;
}

std::string toHtml(const Report& report) {
  auto text = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>Production checklist of {}</title>\n<style>{}</style>\n</head>\n<body>\n"
      "<h1>Production checklist</h1>\n<p>{}, {}</p>\n<p><strong>{}</strong></p>\n",
      html(report.host), kStyle, html(subject(report)), day(report.at), tally(report));
  std::string_view section;
  for (const auto& box : report.boxes) {
    if (box.section != section)
      text += fmt::format("{}<h2>{}</h2>\n<table>\n", section.empty() ? "" : "</table>\n", html(box.section));
    section = box.section;
    text += fmt::format(
        "<tr id=\"{0}\"><td class=\"state {1}\">{2}</td><td class=\"box\">{3}<br><code>{0}</code></td><td "
        "class=\"seen\">{4}",
        html(box.id), name(box.state), shown(box.state), html(box.title), html(box.evidence));
    if (!box.fix.empty()) text += fmt::format("<div class=\"fix\">→ {}</div>", html(box.fix));
    if (!box.document.empty() && box.state > State::Confirmed)
      text += fmt::format("<div class=\"fix\">see {}</div>", html(box.document));
    text += fmt::format(" <code>{}</code></td></tr>\n", day(box.at));
  }
  return text + (section.empty() ? "" : "</table>\n") + "</body>\n</html>\n";
}

}  // namespace aragora::checklist
