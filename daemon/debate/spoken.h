// What people can read of an answer while it is still being made. A model that was told to answer in JSON says its text
// in one member of it: that member's text is what is spoken, without its escapes; of an answer in prose all is. Pure.
#pragma once

#include <string>
#include <string_view>

#include "common/store/states.h"

namespace aragora::debate {

class Spoken {
 public:
  // The member of an answer in JSON that is its text.
  explicit Spoken(std::string_view member) : member_(member) {}
  // What became readable by the next part; whole characters only.
  std::string take(std::string_view part);

 private:
  enum class Form { Unknown, Prose, Json };
  enum class In { Structure, Key, Member, OtherText };
  void read(char c, std::string& said);
  void readText(char c, std::string& said);
  void readEscape(char c, std::string& said);
  void put(std::uint32_t code_point, std::string& said);

  std::string member_;
  Form form_ = Form::Unknown;
  std::string waiting_;  // bytes of a character, or of a code fence, that is not whole yet
  // Of JSON.
  In in_ = In::Structure;
  int depth_ = 0;
  bool value_next_ = false;  // behind a colon
  bool escaped_ = false;
  std::string key_;
  std::string hex_;  // of \uXXXX
  bool in_hex_ = false;
  std::uint32_t surrogate_ = 0;  // the first half of a pair
};

// Of a phase; empty where nothing is to be read before it is whole: ballots are blind.
std::string_view spokenMember(store::Phase phase);

}  // namespace aragora::debate
