#include "common/storage/directory_storage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/owner.h"
#include "common/base/text.h"

namespace aragora::storage {

std::vector<Item> DirectoryStorage::list(const std::string& folder, const Selection& selection) const {
  std::vector<Item> items;
  std::error_code failed;
  fs::directory_iterator files(at(folder), failed);
  if (failed == std::errc::no_such_file_or_directory || failed == std::errc::not_a_directory) return items;
  if (failed) throwFileError(Code::Io, "list", at(folder), failed.value());
  for (const auto& entry : files) {
    auto name = entry.path().filename().string();
    if (name <= selection.after || !startsWith(name, selection.prefix)) continue;
    const bool is_folder = entry.is_directory(failed);
    const auto size = is_folder ? 0 : entry.file_size(failed);
    items.push_back({std::move(name), failed ? 0 : size, is_folder});
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.name < b.name; });
  return items;
}

std::optional<std::uint64_t> DirectoryStorage::size(const std::string& name) const {
  struct stat status {};
  if (::lstat(at(name).c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throwFileError(Code::Io, "look at", at(name), errno);
  }
  if (S_ISDIR(status.st_mode)) return std::nullopt;
  if (!S_ISREG(status.st_mode)) throw Error(Code::Damaged, fmt::format("{} is not a regular file", at(name).string()));
  return static_cast<std::uint64_t>(status.st_size);
}

bool DirectoryStorage::read(const std::string& name, const ByteSink& sink) const {
  const auto path = at(name);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid() && (errno == ENOENT || errno == ENOTDIR)) return false;
  if (!fd.valid()) {
    throwFileError(errno == ELOOP ? Code::Damaged : Code::Io, "open", path, errno);
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
    throw Error(Code::Damaged, fmt::format("{} is not a regular file", path.string()));
  readThrough(fd, path, sink);
  return true;
}

void DirectoryStorage::write(const std::string& name, const fs::path& file, Progress* progress) const {
  const auto path = at(name);
  makeDirectories(path.parent_path(), 0750);
  const auto temporary = path.parent_path() / (".tmp-" + path.filename().string());
  {
    const Fd from = openForReading(file);
    const Fd to = createFile(temporary, O_TRUNC, 0640);
    try {
      readThrough(from, file, [&](std::string_view bytes) {
        writeAll(to.get(), bytes, temporary);
        add(progress, bytes.size());
      });
      syncFile(to.get(), temporary);
    } catch (...) {
      ::unlink(temporary.c_str());
      throw;
    }
  }
  renameDurably(temporary, path);
}

void DirectoryStorage::remove(const std::string& name) const {
  if (::unlink(at(name).c_str()) == 0) return;
  if (errno == ENOENT || errno == ENOTDIR) return;
  throwFileError(Code::Io, "remove", at(name), errno);
}

}  // namespace aragora::storage
