#include "cli/bundle.h"

#include <unistd.h>

#include "cli/output/output.h"
#include "common/base/error.h"
#include "common/base/redact.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
constexpr std::size_t kMost = 2U << 20;          // of a piece
constexpr std::size_t kOutputLimit = 64U << 20;  // of what a program says
constexpr std::chrono::seconds kPacking{60};

// Whole lines.
std::string endOf(std::string text) {
  if (text.size() <= kMost) return text;
  const auto cut = text.size() - kMost;
  const auto line = text.find('\n', cut);
  return fmt::format("[the first {} are left out]\n", humanBytes(cut)) +
         text.substr(line == std::string::npos ? cut : line + 1);
}

std::string readEnd(const fs::path& path) {
  const auto fd = openForReading(path);
  const auto size = ::lseek(fd.get(), 0, SEEK_END);
  const auto begin = size > static_cast<off_t>(kMost) ? size - static_cast<off_t>(kMost) : 0;
  ::lseek(fd.get(), begin, SEEK_SET);
  std::string text;
  readThrough(fd, path, [&](std::string_view bytes) {
    text += bytes.substr(0, 2 * kMost - std::min(2 * kMost, text.size()));  // it may grow while it is read
  });
  if (begin > 0)
    text = fmt::format("[the first {} are left out]\n", humanBytes(static_cast<std::uint64_t>(begin))) + text;
  return text;
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
  const auto document = endsWith(name, ".json") && text.size() <= 4 * kMost ? tryParseJson(text) : std::nullopt;
  text = document ? toPrettyJson(redacted(*document)) + "\n" : redact(endOf(std::move(text)));
  writeFileAtomically(place(name), text, 0600);
  pieces_.push_back({name, source, {}, status, text.size()});
}

void Bundle::miss(const std::string& name, const std::string& source, const std::string& why) {
  pieces_.push_back({name, source, printable(redact(why), 300)});
}

void Bundle::addOutput(const std::string& name, const std::string& source, const std::vector<std::string>& argv,
                       std::chrono::seconds patience) {
  const auto span = std::min<std::chrono::milliseconds>(patience, remaining(deadline_));
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
    add(name, path.string(), readEnd(path));
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
                     "--directory", directory_.path().string(), named.filename().string()}},
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
