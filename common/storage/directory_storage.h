// A directory, also a mounted one. Files become visible by rename and are on disk when write() returns.
#pragma once

#include "common/storage/storage.h"

namespace aragora::storage {

class DirectoryStorage : public Storage {
 public:
  explicit DirectoryStorage(fs::path directory) : directory_(std::move(directory)) {}
  std::vector<Item> list(const std::string& folder, const Selection& selection) const override;
  std::optional<std::uint64_t> size(const std::string& name) const override;
  bool read(const std::string& name, const ByteSink& sink) const override;
  void write(const std::string& name, const fs::path& file, Progress* progress) const override;
  void remove(const std::string& name) const override;
  std::string describe(const std::string& name) const override { return at(name).string(); }

 private:
  fs::path at(const std::string& name) const { return name.empty() ? directory_ : directory_ / name; }
  fs::path directory_;
};

}  // namespace aragora::storage
