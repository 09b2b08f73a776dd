// What somebody who was not there verifies a receipt with, offline: one JSON document.
//
//   {"schema": "aragora.receipt-bundle/v1", "receipt": {…}, "signature": base 64,
//    "inclusion": {"index", "size", "hashes": [hex…]}, "checkpoint": a signed note,
//    "rotations": [{"statement": {…}, "signed_by_previous": base 64, "signed_by_next": base 64}…],
//    "contents": {"salt": hex, "owner", "context", "events": [{"seq","type","round","seat","at","payload"}…]} or null}
//
// With its contents, everything in the receipt that was made of them is made anew and compared; without them (erased,
// or taken out by whoever passes it on) the receipt holds all the same. Every member is looked at: there is nothing in
// a bundle that can be changed and still verifies. Pure functions, any thread.
#pragma once

#include "common/receipts/receipt.h"

namespace aragora::receipts {

inline constexpr std::string_view kBundleSchema = "aragora.receipt-bundle/v1";

struct Finding {
  bool holds = false;
  std::string subject;  // "signature", "ballots/2", "inclusion"
  std::string message;
};

struct Verdict {
  std::vector<Finding> findings;
  std::string debate_id;  // as the receipt says
  std::int64_t index = -1;
  std::string winner;  // empty: none
  bool with_contents = false;
  bool holds() const;
};

struct Trust {
  std::vector<PublicKey> keys;                 // at least one
  std::optional<SignedCheckpoint> checkpoint;  // one that was kept before or elsewhere
};

// Error(Damaged) for what is no bundle at all; everything else is a finding.
Verdict verifyBundle(std::string_view text, const Trust& trust);

// What a log says of its keys: {"schema": "aragora.receipt-keys/v1", "origin", "keys": [{"id", "public_key" (base 64),
// "verifier_key" (C2SP), "pem", "created_at", "active"}…], "rotations": as above}. Error(Damaged).
std::vector<PublicKey> parseKeysDocument(std::string_view text, std::string_view what);

}  // namespace aragora::receipts
