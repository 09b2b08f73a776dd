// Where backups can be: a tree of files that are written once, whole, and listed by folder. Two kinds: a directory
// (also a mounted one) and an S3-compatible bucket. Names are relative, with slashes, made of plain names.
// Any thread, also several at once: each call works on a connection or descriptor of its own.
#pragma once

#include <optional>
#include <vector>

#include "common/base/file.h"
#include "common/base/progress.h"

namespace aragora::storage {

struct Item {
  std::string name;  // within its folder
  std::uint64_t size = 0;
  bool folder = false;
};

// A part of a folder: the names behind `after` (itself excluded) that begin with `prefix`. What is asked for is all
// that travels: following a folder that grows, or looking for the files of one segment, costs one request of a store
// and not one for every thousand names before it.
struct Selection {
  std::string after;
  std::string prefix;
};

class Storage {
 public:
  Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  virtual ~Storage() = default;

  // In order of their names; empty when there is no such folder. Error(Unreachable | Permission | Io).
  virtual std::vector<Item> list(const std::string& folder, const Selection& selection) const = 0;
  // The size of a file, nullopt when there is none. One cheap round trip, no listing.
  virtual std::optional<std::uint64_t> size(const std::string& name) const = 0;
  // Feeds the whole file to `sink`, nothing and false when there is none. Error(Damaged) for what is no regular file.
  virtual bool read(const std::string& name, const ByteSink& sink) const = 0;
  // Durable, visible as a whole and replacing what was there when this returns. Counts the bytes that have arrived.
  virtual void write(const std::string& name, const fs::path& file, Progress* progress) const = 0;
  // No error when it is gone already. Error(Permission) when it is locked against removal.
  virtual void remove(const std::string& name) const = 0;
  // For people: a path or s3://bucket/name.
  virtual std::string describe(const std::string& name) const = 0;
};

}  // namespace aragora::storage
