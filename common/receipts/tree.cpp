#include "common/receipts/tree.h"

#include <bit>

#include "common/base/error.h"
#include "common/crypto/hash.h"

namespace aragora::receipts {

namespace {
// The largest power of two below n, for n > 1.
std::int64_t splitOf(std::int64_t n) {
  return static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(n - 1)));
}

// Of the leaves from `begin` up to `end`, which a tree of this kind has as a subtree.
Hash subtree(std::int64_t begin, std::int64_t end, const NodeAt& node) {
  const auto count = static_cast<std::uint64_t>(end - begin);
  if (std::has_single_bit(count)) {
    const auto level = std::countr_zero(count);
    return node(level, begin >> level);
  }
  const auto split = splitOf(end - begin);
  return nodeHash(subtree(begin, begin + split, node), subtree(begin + split, end, node));
}

void prove(std::int64_t index, std::int64_t begin, std::int64_t end, const NodeAt& node, std::vector<Hash>& proof) {
  if (end - begin == 1) return;
  const auto middle = begin + splitOf(end - begin);
  if (index < middle) {
    prove(index, begin, middle, node, proof);
    proof.push_back(subtree(middle, end, node));
  } else {
    prove(index, middle, end, node, proof);
    proof.push_back(subtree(begin, middle, node));
  }
}

// SUBPROOF(from, D[begin:end], known) of RFC 6962; `from` counts from `begin`.
void proveOlder(std::int64_t from, std::int64_t begin, std::int64_t end, bool known, const NodeAt& node,
                std::vector<Hash>& proof) {
  const auto count = end - begin;
  if (from == count) {
    if (!known) proof.push_back(subtree(begin, end, node));
    return;
  }
  const auto split = splitOf(count);
  if (from <= split) {
    proveOlder(from, begin, begin + split, known, node, proof);
    proof.push_back(subtree(begin + split, end, node));
  } else {
    proveOlder(from - split, begin + split, end, false, node, proof);
    proof.push_back(subtree(begin, begin + split, node));
  }
}

NodeAt nodesOf(const std::vector<Hash>& leaves) {
  return [&leaves](std::int64_t level, std::int64_t position) {
    std::vector<Hash> row(leaves.begin() + (position << level), leaves.begin() + ((position + 1) << level));
    while (row.size() > 1) {
      for (std::size_t i = 0; i < row.size() / 2; ++i) row[i] = nodeHash(row[2 * i], row[2 * i + 1]);
      row.resize(row.size() / 2);
    }
    return row.front();
  };
}
}  // namespace

Hash leafHash(std::string_view entry) {
  crypto::Sha256 digest;
  digest.update(std::string_view("\0", 1));
  digest.update(entry);
  return digest.finish();
}

Hash nodeHash(std::string_view left, std::string_view right) {
  crypto::Sha256 digest;
  digest.update("\1");
  digest.update(left);
  digest.update(right);
  return digest.finish();
}

std::vector<Node> grow(std::int64_t index, const Hash& leaf, const NodeAt& node) {
  std::vector<Node> grown = {{0, index, leaf}};
  while (grown.back().position % 2 == 1) {
    const auto& [level, position, hash] = grown.back();
    grown.push_back({level + 1, position / 2, nodeHash(node(level, position - 1), hash)});
  }
  return grown;
}

Hash rootOf(std::int64_t size, const NodeAt& node) { return size == 0 ? crypto::sha256("") : subtree(0, size, node); }

Hash rootOf(const std::vector<Hash>& leaves) {
  return rootOf(static_cast<std::int64_t>(leaves.size()), nodesOf(leaves));
}

std::vector<Hash> inclusionProof(std::int64_t index, std::int64_t size, const NodeAt& node) {
  if (index < 0 || index >= size)
    throw Error(Code::Validation, fmt::format("there is no leaf {} in a tree of {}", index, size));
  std::vector<Hash> proof;
  prove(index, 0, size, node, proof);
  return proof;
}

std::vector<Hash> consistencyProof(std::int64_t from, std::int64_t to, const NodeAt& node) {
  if (from < 1 || from > to)
    throw Error(Code::Validation, fmt::format("a tree of {} is no continuation of one of {}", to, from));
  std::vector<Hash> proof;
  proveOlder(from, 0, to, true, node, proof);
  return proof;
}

bool includes(const Hash& leaf, std::int64_t index, std::int64_t size, const std::vector<Hash>& proof,
              const Hash& root) {
  if (index < 0 || index >= size) return false;
  auto at = index;
  auto last = size - 1;
  auto hash = leaf;
  for (const auto& other : proof) {
    if (last == 0) return false;
    if (at % 2 == 1 || at == last) {
      hash = nodeHash(other, hash);
      while (at % 2 == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      hash = nodeHash(hash, other);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && hash == root;
}

bool continues(std::int64_t from, const Hash& from_root, std::int64_t to, const Hash& to_root,
               const std::vector<Hash>& proof) {
  if (from < 1 || from > to) return false;
  if (from == to) return proof.empty() && from_root == to_root;
  auto path = proof;
  if (std::has_single_bit(static_cast<std::uint64_t>(from))) path.insert(path.begin(), from_root);
  if (path.empty()) return false;
  auto at = from - 1;
  auto last = to - 1;
  while (at % 2 == 1) {
    at >>= 1;
    last >>= 1;
  }
  auto older = path.front();
  auto newer = path.front();
  for (std::size_t i = 1; i < path.size(); ++i) {
    if (last == 0) return false;
    if (at % 2 == 1 || at == last) {
      older = nodeHash(path[i], older);
      newer = nodeHash(path[i], newer);
      while (at % 2 == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      newer = nodeHash(newer, path[i]);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && older == from_root && newer == to_root;
}

}  // namespace aragora::receipts
