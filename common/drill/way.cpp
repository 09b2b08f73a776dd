#include "common/drill/way.h"

#include "common/base/names.h"

namespace aragora::drill {

namespace {
constexpr Names<Way, 2> kWays{{{Way::Logical, "logical"}, {Way::Physical, "physical"}}};
constexpr Names<Where, 2> kPlaces{{{Where::Local, "local"}, {Where::Offsite, "offsite"}}};
}  // namespace

std::string_view name(Way way) { return nameIn(kWays, way); }
std::string_view name(Where where) { return nameIn(kPlaces, where); }
std::optional<Way> parseWay(std::string_view name) { return parseIn(kWays, name); }

std::vector<std::string> wayNames() { return {std::string(name(Way::Logical)), std::string(name(Way::Physical))}; }

backup::Kind kindFor(Way way) { return way == Way::Physical ? backup::Kind::Base : backup::Kind::Full; }

}  // namespace aragora::drill
