#include "common/base/moment.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora {

namespace {
constexpr Micros kSecond = 1'000'000;
constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> kWeekdays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

// What is still to be read. Each step takes what it says or nothing.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}
  bool atEnd() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

  bool take(std::string_view word) {
    if (!startsWith(rest_, word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  bool takeAny(std::string_view characters) {
    if (rest_.empty() || characters.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // Exactly so many digits.
  bool number(std::size_t digits, int& value) {
    if (rest_.size() < digits) return false;
    int read = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      if (!isDigit(rest_[i])) return false;
      read = read * 10 + (rest_[i] - '0');
    }
    rest_.remove_prefix(digits);
    value = read;
    return true;
  }
  // One digit or more; what is finer than microseconds is cut off.
  bool fraction(Micros& value) {
    if (rest_.empty() || !isDigit(rest_.front())) return false;
    Micros unit = kSecond / 10;
    for (; !rest_.empty() && isDigit(rest_.front()); rest_.remove_prefix(1), unit /= 10)
      value += (rest_.front() - '0') * unit;
    return true;
  }
  template <std::size_t N>
  bool name(const std::array<std::string_view, N>& names, int& index) {
    for (std::size_t i = 0; i < N; ++i) {
      if (!take(names[i])) continue;
      index = static_cast<int>(i);
      return true;
    }
    return false;
  }
  std::string_view word() {
    const auto end = std::min(rest_.find(' '), rest_.size());
    const auto found = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return found;
  }

 private:
  static bool isDigit(char c) { return c >= '0' && c <= '9'; }
  std::string_view rest_;
};

struct Civil {
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  Micros fraction = 0;
};

bool onACalendar(const Civil& at) {
  return (std::chrono::year(at.year) / at.month / at.day).ok() && at.hour < 24 && at.minute < 60 && at.second <= 60;
}

std::chrono::sys_days dayOf(const Civil& at) { return std::chrono::year(at.year) / at.month / at.day; }

// As if its zone were UTC.
Micros asUtc(const Civil& at) {
  const auto days = dayOf(at).time_since_epoch().count();
  return (days * 86'400LL + at.hour * 3'600LL + at.minute * 60LL + at.second) * kSecond + at.fraction;
}

// Leap seconds end a month, in UTC.
bool leapsThere(Micros behind) {
  const auto days = std::chrono::floor<std::chrono::days>(std::chrono::microseconds(behind));
  const std::chrono::year_month_day day{std::chrono::sys_days(days)};
  return day.day() == std::chrono::day(1) && behind - std::chrono::microseconds(days).count() < kSecond;
}

std::optional<Micros> at(const Civil& civil, Micros offset) {
  if (!onACalendar(civil)) return std::nullopt;
  const auto moment = asUtc(civil) - offset;
  if (civil.second == 60 && !leapsThere(moment)) return std::nullopt;
  return moment;
}

// +05:30 or +0530.
bool numericOffset(Reader& reader, Micros& offset) {
  const bool west = startsWith(reader.rest(), "-");
  int hours = 0;
  int minutes = 0;
  if (!reader.takeAny("+-") || !reader.number(2, hours)) return false;
  reader.take(":");
  if (!reader.number(2, minutes) || hours > 23 || minutes > 59) return false;
  offset = (west ? -1 : 1) * (hours * 3'600LL + minutes * 60LL) * kSecond;
  return true;
}

// Of a zone that goes by name: read only where it is what this machine calls its own time at that moment.
std::optional<Micros> atNamedZone(const Civil& civil, std::string_view zone) {
  if (zone == "UTC" || zone == "GMT") return at(civil, 0);
  if (!onACalendar(civil) || civil.second == 60) return std::nullopt;
  for (const int summer : {0, 1}) {
    std::tm parts{};
    parts.tm_year = civil.year - 1900;
    parts.tm_mon = civil.month - 1;
    parts.tm_mday = civil.day;
    parts.tm_hour = civil.hour;
    parts.tm_min = civil.minute;
    parts.tm_sec = civil.second;
    parts.tm_isdst = summer;
    const auto moment = std::mktime(&parts);
    if (moment != -1 && parts.tm_hour == civil.hour && parts.tm_min == civil.minute && zone == parts.tm_zone)
      return static_cast<Micros>(moment) * kSecond + civil.fraction;
  }
  return std::nullopt;
}

bool clockTime(Reader& reader, Civil& civil) {
  return reader.number(2, civil.hour) && reader.take(":") && reader.number(2, civil.minute) && reader.take(":") &&
         reader.number(2, civil.second);
}

bool day(Reader& reader, Civil& civil) {
  return reader.number(4, civil.year) && reader.take("-") && reader.number(2, civil.month) && reader.take("-") &&
         reader.number(2, civil.day);
}

// 2026-01-13T10:00:00.5+05:30; date -Ihours and -Iminutes leave out what is smaller.
std::optional<Micros> iso(Reader reader) {
  Civil civil;
  if (!day(reader, civil) || !reader.takeAny("Tt ") || !reader.number(2, civil.hour)) return std::nullopt;
  const bool minutes = reader.take(":");
  if (minutes && !reader.number(2, civil.minute)) return std::nullopt;
  if (minutes && reader.take(":")) {
    if (!reader.number(2, civil.second)) return std::nullopt;
    if (reader.takeAny(".,") && !reader.fraction(civil.fraction)) return std::nullopt;
  }
  Micros offset = 0;
  if (!reader.takeAny("Zz") && !numericOffset(reader, offset)) return std::nullopt;
  return reader.atEnd() ? at(civil, offset) : std::nullopt;
}

bool rightWeekday(const Civil& civil, int weekday) {
  return onACalendar(civil) && std::chrono::weekday(dayOf(civil)).c_encoding() == static_cast<unsigned>(weekday);
}

// Thu, 26 Nov 2026 04:16:59 +0530
std::optional<Micros> mail(Reader reader) {
  Civil civil;
  int weekday = 0;
  int month = 0;
  Micros offset = 0;
  if (!reader.name(kWeekdays, weekday) || !reader.take(", ") || !reader.number(2, civil.day) || !reader.take(" ") ||
      !reader.name(kMonths, month) || !reader.take(" ") || !reader.number(4, civil.year) || !reader.take(" ") ||
      !clockTime(reader, civil) || !reader.take(" ") || !numericOffset(reader, offset) || !reader.atEnd())
    return std::nullopt;
  civil.month = month + 1;
  return rightWeekday(civil, weekday) ? at(civil, offset) : std::nullopt;
}

// date names zones, or writes +0530 where a zone has no name (there it says just +05 for a whole hour).
std::optional<Micros> atZone(const Civil& civil, std::string_view zone) {
  const bool hours = zone.size() == 3 && (zone[0] == '+' || zone[0] == '-');
  const auto whole = std::string(zone) + (hours ? "00" : "");
  Reader reader(whole);
  Micros offset = 0;
  if (numericOffset(reader, offset) && reader.atEnd()) return at(civil, offset);
  return atNamedZone(civil, zone);
}

// Thu Nov 26 04:16:59 UTC 2026, or 04:16:59 AM
std::optional<Micros> plain(Reader reader) {
  Civil civil;
  int weekday = 0;
  int month = 0;
  if (!reader.name(kWeekdays, weekday) || !reader.take(" ") || !reader.name(kMonths, month) || !reader.take(" ") ||
      !reader.number(reader.take(" ") ? 1 : 2, civil.day) || !reader.take(" ") || !clockTime(reader, civil))
    return std::nullopt;
  civil.month = month + 1;
  const bool morning = reader.take(" AM");
  if (morning || reader.take(" PM")) {
    if (civil.hour < 1 || civil.hour > 12) return std::nullopt;
    civil.hour = civil.hour % 12 + (morning ? 0 : 12);
  }
  if (!reader.take(" ")) return std::nullopt;
  const auto zone = reader.word();
  if (!reader.take(" ") || !reader.number(4, civil.year) || !reader.atEnd()) return std::nullopt;
  return rightWeekday(civil, weekday) ? atZone(civil, zone) : std::nullopt;
}
}  // namespace

std::optional<Micros> fromIso(std::string_view text) { return iso(Reader(text)); }

std::optional<Micros> parseMoment(std::string_view text) {
  for (const auto form : {iso, mail, plain}) {
    if (const auto moment = form(Reader(text))) return moment;
  }
  return std::nullopt;
}

std::optional<Micros> parseDay(std::string_view text) {
  Reader reader(text);
  Civil civil;
  if (!day(reader, civil) || !reader.atEnd() || !onACalendar(civil)) return std::nullopt;
  return asUtc(civil);
}

Micros requireMoment(std::string_view option, std::string_view text) {
  if (const auto moment = parseMoment(text)) return *moment;
  throw Error(
      Code::Usage, fmt::format("{}: {} is not one moment", option, printable(text, 60)),
      fmt::format("write date, time and zone as RFC 3339 has them, such as {}, or what date prints: {} \"$(date "
                  "-d '10 minutes ago')\"",
                  toIso(nowMicros()).substr(0, 19) + "Z", option));
}

std::string toExactIso(Micros at) {
  const auto micros = ((at % kSecond) + kSecond) % kSecond;
  return fmt::format("{}.{:06}Z", toIso(at).substr(0, 19), micros);
}

std::string describeMoment(Micros at) {
  const auto seconds =
      static_cast<std::time_t>(std::chrono::floor<std::chrono::seconds>(std::chrono::microseconds(at)).count());
  std::tm local{};
  ::localtime_r(&seconds, &local);
  char shown[80] = {};
  std::strftime(shown, sizeof shown, "%Y-%m-%d %H:%M:%S %Z, %z", &local);
  return fmt::format("{} (here {})", toExactIso(at), shown);
}

}  // namespace aragora
