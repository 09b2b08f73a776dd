#include "cli/audit_trail.h"
#include "cli/commands/commands.h"
#include "cli/schema.h"
#include "common/audit/audit.h"
#include "common/base/text.h"
#include "common/ratings/bradley_terry.h"
#include "common/store/rating_repair.h"
#include "common/store/standings.h"

namespace aragora::cli {

namespace {
struct Options {
  std::optional<std::string> domain;
  std::optional<std::int64_t> limit;
  std::optional<std::int64_t> min_debates;
  bool dry_run = false;
};

std::int64_t within(const char* option, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value < least || value > most)
    throw Error(Code::Usage, fmt::format("{} takes a number from {} to {}, not {}", option, least, most, value));
  return value;
}

json::object describe(const store::Standings::Entry& entry) {
  const auto& rating = entry.rating;
  return {{"rank", entry.rank},
          {"name", rating.name},
          {"elo", rating.elo},
          {"rating", entry.now.rating},
          {"rating_deviation", entry.now.deviation},
          {"lower_bound", entry.now.lower()},
          {"provisional", ratings::provisional(rating)},
          {"matches", rating.matches},
          {"wins", rating.wins},
          {"draws", rating.draws},
          {"losses", rating.losses}};
}

int list(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto domain = ratings::readDomain(options.domain.value_or(""));
  if (!domain)
    throw Error(Code::Usage, fmt::format("--domain: '{}' is no domain", printable(*options.domain, 60)),
                "it has at most 48 of a-z, 0-9, '-', '_' and '.'");
  const auto database = openWithSchema(context);
  const auto page = store::Standings(*database).page(
      {.domain = *domain,
       .min_matches = within("--min-debates", options.min_debates.value_or(0), 0, 1'000'000'000),
       .limit = within("--limit", options.limit.value_or(50), 1, 10'000)});
  json::array entries;
  if (!page.entries.empty()) out.line(" rank      Elo   Glicko-2        debates  name");
  for (const auto& entry : page.entries) {
    entries.push_back(describe(entry));
    out.line(fmt::format("{:5} {:8.1f}  {:7.1f} ± {:5.1f} {:6}  {}{}", entry.rank, entry.rating.elo, entry.now.rating,
                         2 * entry.now.deviation, entry.rating.matches, printable(entry.rating.name, 80),
                         ratings::provisional(entry.rating) ? "  (provisional)" : ""));
  }
  if (page.entries.empty()) out.line("nobody has been rated yet");
  out.document({{"ratings", std::move(entries)}, {"total", page.total}, {"domain", *domain}});
  return 0;
}

json::array listed(const std::vector<std::string>& texts) { return json::array(texts.begin(), texts.end()); }

json::value orNull(const std::optional<double>& value) { return value ? json::value(*value) : json::value(nullptr); }

std::string shown(const std::optional<double>& elo) { return elo ? fmt::format("{:.1f}", *elo) : "none"; }

json::object sayRepair(const Output& out, const store::RatingRepair& repair, bool mended) {
  const auto mark = mended ? Mark::Ok : Mark::Failure;
  const auto say = [&](const std::vector<std::string>& ids, const char* what) {
    for (const auto& id : ids) out.marked(mark, fmt::format("debate {}: its match {}", printable(id, 60), what));
  };
  say(repair.changed, mended ? "is what its events say again" : "is not what its events say");
  say(repair.restored, mended ? "is there again" : "is missing");
  say(repair.removed, mended ? "is gone: its events tell of none" : "is one that its events do not tell of");
  json::array ratings;
  for (const auto& one : repair.ratings) {
    out.marked(mark, fmt::format("{}: Elo {} was stored, the matches give {}", printable(one.name, 80),
                                 shown(one.stored), shown(one.counted)));
    ratings.push_back(
        json::object{{"name", one.name}, {"stored", orNull(one.stored)}, {"counted", orNull(one.counted)}});
  }
  return {{"matches", repair.matches},
          {"changed", listed(repair.changed)},
          {"restored", listed(repair.restored)},
          {"removed", listed(repair.removed)},
          {"ratings", std::move(ratings)}};
}

// The same log once more, in a way that has nothing in common with how ratings are kept.
class CrossCheck {
 public:
  explicit CrossCheck(database::Database& database) : page_(store::Standings(database).page({.limit = kPlayers})) {
    for (const auto& entry : page_.entries) index_.emplace(entry.rating.name, index_.size());
    store::MatchLog log(database);
    store::MatchLog::Place place;
    for (auto batch = log.next(place); !batch.empty(); batch = log.next(place)) {
      for (const auto& logged : batch) take(logged.match);
    }
    if (index_.size() < 2 || matches_.empty()) return;
    fitted_ = ratings::bradleyTerry(wins_, kPrior);
    intervals_ = ratings::bootstrapped(index_.size(), matches_, kPrior, kRounds, kSeed);
  }

  json::array describe(const Output& out) const {
    json::array array;
    if (fitted_.empty()) return array;
    out.line("  Bradley-Terry, mean 1000, 95 %:");
    for (const auto& entry : page_.entries) {
      const auto at = index_.at(entry.rating.name);
      out.line(fmt::format("  {:7.1f}  [{:7.1f} {:7.1f}]  {}", fitted_[at], intervals_[at].lower, intervals_[at].upper,
                           printable(entry.rating.name, 80)));
      array.push_back(json::object{{"name", entry.rating.name},
                                   {"rating", fitted_[at]},
                                   {"lower", intervals_[at].lower},
                                   {"upper", intervals_[at].upper}});
    }
    return array;
  }

  // Pairs of which Glicko-2 is certain that one is better, and Bradley-Terry that it is the other. Who got better or
  // worse over time can be one: that is no mistake of either.
  std::vector<std::string> contradictions() const {
    std::vector<std::string> pairs;
    for (const auto& better : page_.entries) {
      for (const auto& worse : page_.entries) {
        if (fitted_.empty() || better.now.lower() <= worse.now.upper()) continue;
        if (intervals_[index_.at(better.rating.name)].upper < intervals_[index_.at(worse.rating.name)].lower)
          pairs.push_back(fmt::format("{} is better than {} by Glicko-2, and worse by Bradley-Terry",
                                      printable(better.rating.name, 80), printable(worse.rating.name, 80)));
      }
    }
    return pairs;
  }

 private:
  static constexpr std::int64_t kPlayers = 200;
  static constexpr double kPrior = 1;
  static constexpr int kRounds = 200;
  static constexpr std::uint64_t kSeed = 20261128;

  void take(const ratings::Match& match) {
    if (wins_.empty()) wins_.assign(index_.size(), std::vector<double>(index_.size(), 0.0));
    std::vector<ratings::Game> games;
    for (const auto& game : ratings::gamesOf(match)) {
      const auto one = index_.find(ratings::identityOf(match.seats[game.one]));
      const auto other = index_.find(ratings::identityOf(match.seats[game.other]));
      if (one == index_.end() || other == index_.end()) continue;
      games.push_back({one->second, other->second, game.score});
      wins_[one->second][other->second] += game.score;
      wins_[other->second][one->second] += 1 - game.score;
    }
    if (!games.empty()) matches_.push_back(std::move(games));
  }

  store::Standings::Page page_;
  std::map<std::string, std::size_t> index_;
  ratings::Wins wins_;
  std::vector<std::vector<ratings::Game>> matches_;
  std::vector<double> fitted_;
  std::vector<ratings::Interval> intervals_;
};

int recompute(Context& context, const Options& options) {
  const auto& out = context.out();
  auto target = context.target();
  target.statement_timeout = std::chrono::hours(1);
  requireSchema(context);
  const auto database = database::openDatabase(target);
  const auto repair =
      options.dry_run
          ? store::inspectRatings(*database)
          : store::repairRatings(*database, [&](database::Connection& connection, const auto& found) {
              audit::append(connection, context.keyring(),
                            {operatorName(),
                             "ratings.recompute",
                             "ratings",
                             "success",
                             {},
                             {},
                             {{"matches", found.changed.size() + found.restored.size() + found.removed.size()},
                              {"ratings", found.ratings.size()}}});
            });
  auto document = sayRepair(out, repair, !options.dry_run);
  const CrossCheck check(*database);
  document["bradley_terry"] = check.describe(out);
  const auto contradictions = check.contradictions();
  for (const auto& pair : contradictions) out.marked(Mark::Warning, pair);
  const int status = options.dry_run && !repair.sound() ? info(Code::CheckFailed).exit_status : 0;
  if (repair.sound())
    out.marked(Mark::Ok, fmt::format("{}: ratings follow from them", counted(repair.matches, "match")));
  else if (options.dry_run)
    out.marked(Mark::Failure, "ratings do not follow from what was debated; without --dry-run this mends it");
  document["dry_run"] = options.dry_run;
  document["contradictions"] = listed(contradictions);
  document["exit_status"] = status;
  out.document(std::move(document));
  return status;
}
}  // namespace

void declareRatings(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.subcommand("list", "Show the ratings of agents, the best first")
      .option("--domain", options->domain, "Of debates of this domain only")
      .option("--limit", options->limit, "How many at most (50)")
      .option("--min-debates", options->min_debates, "Only those who took part in as many")
      .run([options](Context& context) { return list(context, *options); });
  line.subcommand("recompute", "Make matches and ratings what the events of debates say, and check them another way")
      .flag("--dry-run", options->dry_run, "Say what would change, and change nothing")
      .run([options](Context& context) { return recompute(context, *options); });
  line.run(
      [](Context&) -> int { throw Error(Code::Usage, "ratings needs a subcommand", "try: aragora ratings list"); });
}

}  // namespace aragora::cli
