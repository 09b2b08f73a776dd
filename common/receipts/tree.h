// The Merkle tree of RFC 6962, section 2.1 (SHA-256): every receipt is a leaf, in the order in which they were issued.
// What is kept of it are the hashes of its complete subtrees: the node at `level` and `position` covers the 2^level
// leaves from position * 2^level on; one that is complete never changes. Hashes are 32 bytes. Pure functions, any
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace aragora::receipts {

using Hash = std::string;

Hash leafHash(std::string_view entry);
Hash nodeHash(std::string_view left, std::string_view right);

struct Node {
  std::int64_t level = 0;
  std::int64_t position = 0;
  Hash hash;
};
// Of a complete subtree within the size that is asked for; it may throw where it is not there.
using NodeAt = std::function<Hash(std::int64_t level, std::int64_t position)>;

// What is complete now that was not before leaf `index` was added, from the leaf upwards. Asks for nodes below `index`.
std::vector<Node> grow(std::int64_t index, const Hash& leaf, const NodeAt& node);

// `size` leaves; of none it is the hash of nothing.
Hash rootOf(std::int64_t size, const NodeAt& node);
// 0 <= index < size; 0 < from <= to. Error(Validation) otherwise.
std::vector<Hash> inclusionProof(std::int64_t index, std::int64_t size, const NodeAt& node);
std::vector<Hash> consistencyProof(std::int64_t from, std::int64_t to, const NodeAt& node);

// RFC 9162, sections 2.1.3.2 and 2.1.4.2. Never throw, whatever they are given.
bool includes(const Hash& leaf, std::int64_t index, std::int64_t size, const std::vector<Hash>& proof,
              const Hash& root);
bool continues(std::int64_t from, const Hash& from_root, std::int64_t to, const Hash& to_root,
               const std::vector<Hash>& proof);

// Of leaves that are all at hand.
Hash rootOf(const std::vector<Hash>& leaves);

}  // namespace aragora::receipts
