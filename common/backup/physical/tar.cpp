#include "common/backup/physical/tar.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kBlock = 512;

[[noreturn]] void damaged(const std::string& what) { throw Error(Code::Damaged, "the archive is damaged: " + what); }

std::string field(std::string_view header, std::size_t at, std::size_t size) {
  const auto text = header.substr(at, size);
  return std::string(text.substr(0, text.find('\0')));
}

std::uint64_t number(std::string_view header, std::size_t at, std::size_t size) {
  const auto bytes = header.substr(at, size);
  std::uint64_t value = 0;
  if ((static_cast<unsigned char>(bytes[0]) & 0x80U) != 0) {  // base-256, as GNU and PostgreSQL write large sizes
    if (bytes.substr(0, 4) != std::string_view("\x80\0\0\0", 4)) damaged("a number is too large");
    for (const char c : bytes.substr(4)) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  const auto text = field(header, at, size);
  for (const char c : trim(text)) {
    if (c < '0' || c > '7') damaged("a number is not octal");
    value = value << 3 | static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

bool sumHolds(std::string_view header) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < header.size(); ++i)
    sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(header[i]);
  return sum == number(header, 148, 8);
}

// Nothing may land outside of the directory that the archive is unpacked into.
std::string insideName(std::string name) {
  while (startsWith(name, "./")) name.erase(0, 2);
  while (!name.empty() && name.back() == '/') name.pop_back();
  for (const auto& part : split(name, '/')) {
    if (part.empty() || part == "." || part == "..")
      damaged(fmt::format("the name '{}' leads outside", printable(name, 80)));
  }
  if (name.empty() || name[0] == '/' || name.find("//") != std::string::npos)
    damaged(fmt::format("the name '{}' leads outside", printable(name, 80)));
  return name;
}
}  // namespace

void TarReader::write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (data_left_ > 0) {
      const auto part = bytes.substr(0, data_left_);
      events_.data(part);
      data_left_ -= part.size();
      bytes.remove_prefix(part.size());
      if (data_left_ == 0) events_.end_of_file();
    } else if (padding_left_ > 0) {
      const auto skipped = std::min<std::uint64_t>(padding_left_, bytes.size());
      padding_left_ -= skipped;
      bytes.remove_prefix(skipped);
    } else {
      const auto taken = std::min(kBlock - header_.size(), bytes.size());
      header_.append(bytes.substr(0, taken));
      bytes.remove_prefix(taken);
      if (header_.size() == kBlock) readHeader();
    }
  }
}

void TarReader::readHeader() {
  const auto header = std::exchange(header_, {});
  if (header.find_first_not_of('\0') == std::string::npos) {
    ended_ = true;
    return;
  }
  if (ended_) damaged("it goes on after its end");
  if (!sumHolds(header)) damaged("a header does not have its sum");
  entry_ = {};
  entry_.name = field(header, 0, 100);
  if (header.compare(257, 5, "ustar") == 0 && header[345] != '\0')
    entry_.name = field(header, 345, 155) + "/" + entry_.name;
  entry_.mode = static_cast<unsigned>(number(header, 100, 8)) & 0777U;
  entry_.size = number(header, 124, 12);
  switch (header[156]) {
    case '0':
    case '\0':
      entry_.type = TarEntry::Type::File;
      break;
    case '5':
      entry_.type = TarEntry::Type::Directory;
      break;
    case '2':
      entry_.type = TarEntry::Type::Symlink;
      entry_.link = field(header, 157, 100);
      break;
    default:
      damaged(fmt::format("'{}' is neither file, directory nor link", printable(entry_.name, 80)));
  }
  if (entry_.type != TarEntry::Type::File && entry_.size != 0) damaged("only files have content");
  entry_.name = insideName(std::move(entry_.name));
  data_left_ = entry_.size;
  padding_left_ = (kBlock - entry_.size % kBlock) % kBlock;
  events_.entry(entry_);
  if (entry_.type == TarEntry::Type::File && entry_.size == 0) events_.end_of_file();
}

void TarReader::finish() {
  if (!ended_ || !header_.empty() || data_left_ > 0 || padding_left_ > 0) damaged("it ends before its end");
}

void TarWriter::header(const std::string& name, char type, std::uint64_t size) {
  if (name.size() > 100)
    throw Error(Code::Io, fmt::format("{} is too long a name for the archive", printable(name, 120)));
  std::string block(kBlock, '\0');
  block.replace(0, name.size(), name);
  block.replace(100, 7, type == '5' ? "0000700" : "0000600");
  block.replace(108, 7, "0000000");
  block.replace(116, 7, "0000000");
  block.replace(124, 11, fmt::format("{:011o}", size));
  block.replace(136, 11, "00000000000");
  block.replace(148, 8, "        ");
  block[156] = type;
  block.replace(257, 8,
                std::string("ustar\0"
                            "00",
                            8));
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  block.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  sink_(block);
}

void TarWriter::directory(const std::string& name) { header(name + "/", '5', 0); }

void TarWriter::file(const std::string& name, const fs::path& path) {
  const auto size = fs::file_size(path);
  header(name, '0', size);
  std::uint64_t written = 0;
  readThrough(path, [&](std::string_view bytes) {
    written += bytes.size();
    if (written <= size) sink_(bytes);
  });
  if (written != size) throw Error(Code::Io, fmt::format("{} changed its size while it was read", path.string()));
  sink_(std::string((kBlock - size % kBlock) % kBlock, '\0'));
}

void TarWriter::finish() { sink_(std::string(2 * kBlock, '\0')); }

}  // namespace aragora::backup
