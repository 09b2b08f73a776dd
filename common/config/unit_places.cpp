#include "common/config/unit_places.h"

#include "common/base/text.h"

namespace aragora::config {

namespace {
// How much of `path` the place is around; 0 when it is not.
std::size_t around(const std::string& place, const std::string& path) {
  if (place == "/") return 1;
  return path == place || startsWith(path, place + "/") ? place.size() : 0;
}

std::size_t nearest(const std::vector<std::string>& places, const std::string& path) {
  std::size_t best = 0;
  for (const auto& place : places) best = std::max(best, around(place, path));
  return best;
}

std::vector<std::string> protectedBy(const std::string& setting) {
  if (setting == "strict") return {"/"};
  if (setting == "full") return {"/usr", "/boot", "/efi", "/etc"};
  if (setting == "yes" || setting == "true" || setting == "on" || setting == "1") return {"/usr", "/boot", "/efi"};
  return {};
}
}  // namespace

bool UnitPlaces::mayWrite(const std::filesystem::path& path) const {
  const auto text = path.lexically_normal().string();
  auto all_closed = protectedBy(protect_system);
  all_closed.insert(all_closed.end(), closed.begin(), closed.end());
  const auto shut = nearest(all_closed, text);
  return shut == 0 || nearest(writable, text) > shut;
}

}  // namespace aragora::config
