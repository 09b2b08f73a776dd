// Where backups can be: a tree of files that are written once, whole, and listed by folder. Two kinds: a directory
// (also a mounted one) and an S3-compatible bucket. Names are relative, with slashes, made of plain names. Any thread.
#pragma once

#include <vector>

#include "common/base/file.h"

namespace aragora::storage {

struct Item {
  std::string name;  // within its folder
  std::uint64_t size = 0;
  bool folder = false;
};

class Storage {
 public:
  Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  virtual ~Storage() = default;

  // In order of their names; empty when there is no such folder. Error(Unreachable | Permission | Io).
  virtual std::vector<Item> list(const std::string& folder) const = 0;
  // Feeds the whole file to `sink`, nothing and false when there is none. Error(Damaged) for what is no regular file.
  virtual bool read(const std::string& name, const ByteSink& sink) const = 0;
  // Durable, visible as a whole and replacing what was there when this returns.
  virtual void write(const std::string& name, const fs::path& file) const = 0;
  // No error when it is gone already. Error(Permission) when it is locked against removal.
  virtual void remove(const std::string& name) const = 0;
  // For people: a path or s3://bucket/name.
  virtual std::string describe(const std::string& name) const = 0;
};

}  // namespace aragora::storage
