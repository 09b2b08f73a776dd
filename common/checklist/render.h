// The report as documents: JSON for programs, Markdown, and one HTML page without scripts or anything from elsewhere.
// Pure.
#pragma once

#include "common/checklist/report.h"

namespace aragora::checklist {

json::object toDocument(const Report& report);
std::string toMarkdown(const Report& report);
std::string toHtml(const Report& report);
// "42 proved, 3 confirmed, 1 failed": what there is of each.
std::string tally(const Report& report);
// For people: "proved", "could not verify".
std::string_view shown(State state);

}  // namespace aragora::checklist
