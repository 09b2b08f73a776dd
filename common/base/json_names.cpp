#include "common/base/json_names.h"

#include <boost/json/basic_parser_impl.hpp>

#include <set>
#include <vector>

#include "common/base/json.h"

namespace aragora {

namespace {
// What a parser reads, of which only the names of members count.
class NameWatch {
 public:
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  using Failure = json::error_code;

  bool on_object_begin(Failure&) {
    objects_.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t, Failure&) {
    objects_.pop_back();
    return true;
  }
  bool on_key_part(json::string_view part, std::size_t, Failure&) {
    name_ += std::string_view(part);
    return true;
  }
  bool on_key(json::string_view part, std::size_t, Failure&) {
    name_ += std::string_view(part);
    if (!objects_.back().insert(name_).second && !repeated) repeated = name_;
    name_.clear();
    return true;
  }

  bool on_document_begin(Failure&) { return true; }
  bool on_document_end(Failure&) { return true; }
  bool on_array_begin(Failure&) { return true; }
  bool on_array_end(std::size_t, Failure&) { return true; }
  bool on_string_part(json::string_view, std::size_t, Failure&) { return true; }
  bool on_string(json::string_view, std::size_t, Failure&) { return true; }
  bool on_number_part(json::string_view, Failure&) { return true; }
  bool on_int64(std::int64_t, json::string_view, Failure&) { return true; }
  bool on_uint64(std::uint64_t, json::string_view, Failure&) { return true; }
  bool on_double(double, json::string_view, Failure&) { return true; }
  bool on_bool(bool, Failure&) { return true; }
  bool on_null(Failure&) { return true; }
  bool on_comment_part(json::string_view, Failure&) { return true; }
  bool on_comment(json::string_view, Failure&) { return true; }

  std::optional<std::string> repeated;

 private:
  std::vector<std::set<std::string>> objects_;  // the open ones: their names so far
  std::string name_;
};
}  // namespace

std::optional<std::string> repeatedName(std::string_view text) {
  json::basic_parser<NameWatch> parser({});
  json::error_code error;
  parser.write_some(false, text.data(), text.size(), error);
  return parser.handler().repeated;
}

}  // namespace aragora
