#include "daemon/web/refusal_log.h"

#include "common/base/error.h"
#include "common/base/log.h"

namespace aragora::web {

namespace {
constexpr auto kPause = std::chrono::seconds(5);  // between two entries of one network
constexpr auto kLastWords = std::chrono::milliseconds(200);
}  // namespace

RefusalLog::RefusalLog(database::Database& database, const crypto::Keyring& keyring)
    : database_(database), keyring_(keyring) {}

void RefusalLog::start() {
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

void RefusalLog::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLastWords, [this] { return done_; });
  }
  at_once_.turn();
  thread_.join();
  for (const auto& [key, refused] : std::exchange(refused_, {}))
    log::warning("not in the audit log: {} refused credentials of {}, the last in request {}", refused.count,
                 refused.address.empty() ? "other networks" : refused.address, refused.request_id);
}

void RefusalLog::note(const Request& request, std::string_view route) {
  note(request.client_address, request.request_id, route);
}

void RefusalLog::note(const std::string& address, const std::string& request_id, std::string_view route) {
  const auto now = nowMicros();
  ++noted_;
  const std::lock_guard lock(mutex_);
  add({address, request_id, std::string(route), 1, now, now});
  changed_.notify_all();
}

// With the lock held.
void RefusalLog::add(Refused refused) {
  auto key = networkKey(refused.address);
  if (refused.address.empty() || (refused_.size() >= kMostNetworks && refused_.count(key) == 0)) {
    key = {};
    refused.address.clear();
  }
  auto& place = refused_[key];
  if (refused.last < place.last) std::swap(refused, place);  // of the last is told
  refused.count += place.count;
  refused.first = place.first == 0 ? refused.first : std::min(place.first, refused.first);
  refused.last = std::max(place.last, refused.last);
  place = std::move(refused);
}

void RefusalLog::run(const std::stop_token& stop) {
  const interrupt::Minding minding(at_once_);
  bool said = false;
  std::unique_lock lock(mutex_);
  // Once more after it was stopped, when there is something.
  for (bool last = false; !last;) {
    if (!changed_.wait(lock, stop, [this] { return !refused_.empty(); })) break;
    last = stop.stop_requested();
    auto taken = std::exchange(refused_, {});
    lock.unlock();
    try {
      write(taken);
      taken.clear();
      said = false;
    } catch (const std::exception& error) {  // the thread's boundary
      if (!std::exchange(said, true)) log::error("refused credentials are not in the audit log yet: {}", error.what());
    }
    lock.lock();
    for (auto& [key, refused] : taken) add(std::move(refused));
    if (!last) changed_.wait_for(lock, stop, kPause, [] { return false; });
  }
  done_ = true;
  changed_.notify_all();
}

void RefusalLog::write(const Table& refused) {
  std::vector<audit::Entry> entries;
  entries.reserve(refused.size());
  for (const auto& [key, one] : refused) entries.push_back(entryOf(one));
  database_.write([&](database::Connection& connection) { audit::append(connection, keyring_, entries); });
}

audit::Entry RefusalLog::entryOf(const Refused& refused) {
  audit::Entry entry;
  entry.actor = refused.address.empty() ? "address:others" : "address:" + refused.address;
  entry.action = "credentials.refused";
  entry.object = "route:" + refused.route;
  entry.result = "denied";
  entry.ip_address = refused.address;
  entry.request_id = refused.request_id;
  entry.details = {{"count", refused.count}, {"first", toIso(refused.first)}, {"last", toIso(refused.last)}};
  return entry;
}

}  // namespace aragora::web
