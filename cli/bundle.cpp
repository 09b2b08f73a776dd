#include "cli/bundle.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cli/output/output.h"
#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/redact.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
constexpr std::size_t kMost = 2U << 20;          // of a piece
constexpr std::size_t kOutputLimit = 64U << 20;  // of what a program says
constexpr std::chrono::seconds kPacking{60};

struct End {
  std::string text;
  std::uint64_t left_out = 0;  // before it
};

// Whole lines.
End endOf(std::string text) {
  if (text.size() <= kMost) return {std::move(text)};
  const auto cut = text.size() - kMost;
  const auto line = text.find('\n', cut);
  const auto begin = line == std::string::npos ? cut : line + 1;
  return {text.substr(begin), begin};
}

End readEnd(const fs::path& path, Deadline deadline) {
  const auto fd = openForReading(path);
  struct stat status {};
  struct statfs system {};
  // Of /proc some are regular files that never end, or are no more once they were read.
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode) || ::fstatfs(fd.get(), &system) != 0 ||
      system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC || system.f_type == TRACEFS_MAGIC)
    throw Error(Code::Io, fmt::format("{} is not a regular file", path.string()), "name the file itself");
  End end;
  if (status.st_size > static_cast<off_t>(kMost)) {
    end.left_out = static_cast<std::uint64_t>(status.st_size) - kMost;
    ::lseek(fd.get(), static_cast<off_t>(end.left_out), SEEK_SET);
  }
  // It may grow while it is read.
  std::vector<char> buffer(64U << 10);
  while (end.text.size() < kMost) {
    interrupt::check();
    const auto got = ::read(fd.get(), buffer.data(), std::min(buffer.size(), kMost - end.text.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;  // all there is
    if (got < 0) throwSystemError(Code::Io, "read", path.string(), errno);
    if (got == 0) break;
    end.text.append(buffer.data(), static_cast<std::size_t>(got));
    if (remaining(deadline).count() == 0)
      throw Error(Code::Io, fmt::format("{} was not read to its end in time", path.string()),
                  "copy what matters of it");
  }
  return end;
}

std::map<std::string, std::string> wholeEnvironment() {
  std::map<std::string, std::string> all;
  for (char** one = environ; *one != nullptr; ++one) {
    const std::string text(*one);
    if (const auto equals = text.find('='); equals != std::string::npos)
      all[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return all;
}
}  // namespace

fs::path Bundle::place(const std::string& name) const {
  const auto path = directory_.path() / "bundle" / name;
  makeDirectories(path.parent_path(), 0700);
  return path;
}

void Bundle::add(const std::string& name, const std::string& source, std::string text, int status) {
  // Of a document the texts in it: as a whole it would be one no more.
  if (endsWith(name, ".json") && text.size() <= 4 * kMost) {
    if (const auto document = tryParseJson(text)) {
      text = toPrettyJson(redacted(*document)) + "\n";
      writeFileAtomically(place(name), text, 0600);
      pieces_.push_back({name, source, {}, status, text.size()});
      return;
    }
  }
  const auto end = endOf(std::move(text));
  addText(name, source, end.text, end.left_out, status);
}

// What says that something is left out comes after redaction, which minds where a text begins.
void Bundle::addText(const std::string& name, const std::string& source, const std::string& text,
                     std::uint64_t left_out, int status) {
  auto shown = redact(text);
  if (left_out > 0) shown = fmt::format("[the first {} are left out]\n", humanBytes(left_out)) + shown;
  writeFileAtomically(place(name), shown, 0600);
  pieces_.push_back({name, source, {}, status, shown.size()});
}

void Bundle::miss(const std::string& name, const std::string& source, const std::string& why) {
  pieces_.push_back({name, source, printable(redact(why), 300)});
}

void Bundle::addOutput(const std::string& name, const std::string& source, const std::vector<std::string>& argv,
                       std::chrono::seconds patience) {
  const auto span = within(patience);
  if (span.count() == 0) return miss(name, source, "there was no time left");
  try {
    const auto result = runCommand({argv, wholeEnvironment()}, span, kOutputLimit);
    auto text = result.output;
    if (text.empty()) text = result.error_output;
    if (trim(text).empty()) return miss(name, source, fmt::format("it said nothing (exit status {})", result.status));
    add(name, source, std::move(text), result.status);
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    miss(name, source, error.what());
  }
}

void Bundle::addFile(const std::string& name, const fs::path& path) {
  try {
    add(name, path.string(), readFile(path, kMost));
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    miss(name, path.string(), error.what());
  }
}

void Bundle::addLog(const std::string& name, const fs::path& path) {
  if (late()) return miss(name, path.string(), "there was no time left");
  try {
    const auto end = readEnd(path, deadline_);
    addText(name, path.string(), end.text, end.left_out, 0);
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    miss(name, path.string(), error.what());
  }
}

json::object Bundle::contents() const {
  json::array taken;
  json::array missing;
  for (const auto& piece : pieces_) {
    if (piece.missing.empty())
      taken.push_back(json::object{
          {"name", piece.name}, {"source", piece.source}, {"bytes", piece.bytes}, {"exit_status", piece.status}});
    else
      missing.push_back(json::object{{"name", piece.name}, {"source", piece.source}, {"why", piece.missing}});
  }
  return {{"taken", std::move(taken)}, {"not_taken", std::move(missing)}};
}

void Bundle::write(const fs::path& archive) {
  auto document = contents();
  document["schema_version"] = 1;
  document["at"] = toIso(nowMicros());
  writeFileAtomically(place("contents.json"), toPrettyJson(document) + "\n", 0600);
  auto folder = archive.filename().string();
  folder = folder.substr(0, folder.find('.'));
  const auto named = directory_.path() / (folder.empty() ? "bundle-of-aragora" : folder);
  fs::rename(directory_.path() / "bundle", named);
  createFileExclusively(archive, "", 0600);  // tar writes into it
  try {
    const auto packed =
        runCommand({{"tar", "--create", "--gzip", "--file", archive.string(), "--owner=0", "--group=0", "--sort=name",
                     "--directory", directory_.path().string(), "--", named.filename().string()}},
                   kPacking);
    if (packed.status != 0)
      throw Error(Code::Io, fmt::format("tar could not pack it: {}", printable(packed.error_output, 200)),
                  "free space where the archive goes, or name another place with --output");
  } catch (...) {
    std::error_code ignored;
    fs::remove(archive, ignored);
    throw;
  }
}

}  // namespace aragora::cli
