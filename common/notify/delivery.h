// One event to one channel: an HTTP request that is signed, a mail, or the ping of a dead-man switch. Tried again while
// another try may do better, within the deadline. Any thread.
#pragma once

#include "common/net/http_client.h"
#include "common/net/limits.h"
#include "common/net/retry.h"
#include "common/notify/options.h"

namespace aragora::notify {

struct Outcome {
  Channel channel = Channel::Webhook;
  std::string place;  // "host:port"
  bool delivered = false;
  std::string answer;  // what the other side said, or why there is no answer
  std::string hint{};
  int tries = 0;
  double seconds = 0;
  bool unsure = false;  // it may have been delivered
  bool kept = false;    // to be tried again
  std::string lost{};   // why it could not be kept
};

struct Until {
  Deadline deadline;
  std::stop_token stop{};
};

// Of a dead-man switch. Log says something and changes nothing.
enum class Ping { Start, Success, Fail, Log };

// Webhook or Email.
Outcome deliver(const Options& options, Channel channel, const Event& event, const Until& until, int tries = 3);
// `text` goes with it, for people.
Outcome ping(const Options& options, Channel channel, Ping what, const std::string& text, const Until& until,
             int tries = 3);
// Whether somebody answers there; nothing is sent.
Outcome lookAt(const Options& options, Channel channel, const Until& until);

// What the receiver computes (Standard Webhooks 1.0): "v1," and the base 64 of the HMAC-SHA256 of id.timestamp.body.
std::string signatureOf(const Secret& key, std::string_view id, std::string_view timestamp, std::string_view body);

// Each as a line for people: "webhook (hooks.example.org:443): 200 OK".
std::string describe(const Outcome& outcome);
json::object toDocument(const Outcome& outcome);

}  // namespace aragora::notify
