// Pages of the debates list, newest first, found from remembered keys: page 5,000 costs what page 1 costs.
//
// New debates come at one end only, so the n-th oldest debate stays the n-th oldest. The key of every 64th is
// remembered once its place is final: nothing older can still be committed, and, in the list of a final status, no
// older debate can still end in it. A page counts off at most 63 index entries from the nearest key; the total is 64
// for each key and what is newer. Keys are kept per status (an id and a time for 64 debates), extended at most once a
// second, and read anew every ten minutes in case rows were removed by hand. Statuses that debates leave again have
// short lists and no keys. Debates that are removed shift the others: the keys are read anew where the database says
// that there were any, within a second. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "common/store/debates.h"

namespace aragora::store {

class DebatePages {
 public:
  explicit DebatePages(database::Database& database) : database_(database) {}

  struct Page {
    std::vector<Debate> debates;
    std::int64_t total = 0;  // of the same snapshot
  };
  // Debates were removed here.
  void forget();
  Page page(std::optional<DebateStatus> status, std::int64_t limit, std::int64_t offset);

 private:
  struct Key {
    Micros created_at = 0;
    std::string id;
  };
  struct Keys {
    std::vector<Key> list;  // of the 64th oldest, the 128th oldest…
    std::chrono::steady_clock::time_point read;
    std::chrono::steady_clock::time_point extended;
    std::optional<std::string> removed;  // how many debates had been, ever
  };
  std::shared_ptr<const Keys> keys(database::Connection& connection, std::optional<DebateStatus> status);
  static void extend(database::Connection& connection, std::optional<DebateStatus> status, Keys& keys);

  database::Database& database_;
  std::mutex mutex_;
  std::map<std::optional<DebateStatus>, std::shared_ptr<const Keys>> keys_;  // by status, nullopt for all
  std::mutex extending_;  // one thread reads keys, the others use what there is
};

}  // namespace aragora::store
