#include "common/storage/place.h"

#include "common/base/error.h"
#include "common/base/scratch.h"
#include "common/storage/directory_storage.h"

namespace aragora::storage {

Place::Place(const fs::path& directory) : local_(directory), storage_(std::make_shared<DirectoryStorage>(directory)) {}

Place Place::operator/(const std::string& name) const {
  return local_ ? Place(*local_ / name) : Place(storage_, inFolder(name));
}

Place Place::parent() const {
  if (local_) return Place(local_->parent_path());
  const auto slash = folder_.rfind('/');
  return {storage_, slash == std::string::npos ? std::string() : folder_.substr(0, slash)};
}

std::string Place::name() const { return local_ ? local_->filename().string() : fs::path(folder_).filename().string(); }

std::string Place::describe() const { return local_ ? local_->string() : storage_->describe(folder_); }

std::vector<Item> Place::list(const Selection& selection) const { return storage_->list(folder_, selection); }

std::optional<std::uint64_t> Place::size(const std::string& name) const { return storage_->size(inFolder(name)); }

bool Place::read(const std::string& name, const ByteSink& sink) const { return storage_->read(inFolder(name), sink); }

std::optional<std::string> Place::text(const std::string& name, std::size_t limit) const {
  std::string content;
  const bool found = read(name, [&](std::string_view bytes) {
    if (content.size() + bytes.size() > limit)
      throw Error(Code::Damaged, fmt::format("{} is longer than {} bytes", storage_->describe(inFolder(name)), limit));
    content += bytes;
  });
  return found ? std::optional(content) : std::nullopt;
}

void Place::write(const std::string& name, const fs::path& file, Progress* progress) const {
  storage_->write(inFolder(name), file, progress);
}

void Place::writeText(const std::string& name, std::string_view content) const {
  const TemporaryDirectory scratch;
  createFileExclusively(scratch.path() / "text", content, 0600);
  write(name, scratch.path() / "text");
}

void Place::remove(const std::string& name) const { storage_->remove(inFolder(name)); }

const fs::path& Place::path() const {
  ARAGORA_CHECK(local_);
  return *local_;
}

std::string Place::inFolder(const std::string& name) const { return folder_.empty() ? name : folder_ + "/" + name; }

}  // namespace aragora::storage
