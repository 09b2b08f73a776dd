// A folder of a storage, as a value: what a path is to a file system. A local path converts to one, so that the code
// which reads backups does not care where they are.
#pragma once

#include <memory>

#include "common/storage/storage.h"

namespace aragora::storage {

class Place {
 public:
  Place() = default;
  Place(const fs::path& directory);  // NOLINT(google-explicit-constructor)
  // Shared by every place of one storage.
  Place(std::shared_ptr<const Storage> storage, std::string folder)
      : storage_(std::move(storage)), folder_(std::move(folder)) {}

  Place operator/(const std::string& name) const;
  Place parent() const;
  std::string name() const;  // the last part
  std::string describe() const;

  std::vector<Item> list(const Selection& selection = {}) const;
  // read(), text() and size() ask for the one file and know by the answer whether it is there: who knows the name needs
  // no listing first. From several threads at once, so that files can be fetched ahead.
  std::optional<std::uint64_t> size(const std::string& name) const;
  // False when there is none.
  bool read(const std::string& name, const ByteSink& sink) const;
  // nullopt when there is none; more than `limit` bytes is Error(Damaged).
  std::optional<std::string> text(const std::string& name, std::size_t limit) const;
  void write(const std::string& name, const fs::path& file, Progress* progress = nullptr) const;
  void writeText(const std::string& name, std::string_view content) const;
  void remove(const std::string& name) const;

  bool isLocal() const { return local_.has_value(); }
  // Only of a local place; anything else is a bug.
  const fs::path& path() const;

 private:
  std::string inFolder(const std::string& name) const;
  std::optional<fs::path> local_;
  std::shared_ptr<const Storage> storage_;
  std::string folder_;
};

}  // namespace aragora::storage
