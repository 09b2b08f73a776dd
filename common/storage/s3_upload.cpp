// What is written to a bucket: a small file in one request, a large one in parts.
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/storage/s3_exchange.h"

namespace aragora::storage {

namespace {
constexpr std::size_t kBlock = 256 * 1024;
constexpr std::uint64_t kMostParts = 9000;  // S3 allows 10,000
}  // namespace

void S3Storage::Range::feed(const ByteSink& sink) const {
  if (fd == nullptr) return sink(text.substr(offset, length));
  std::vector<char> buffer(kBlock);
  std::uint64_t done = 0;
  while (done < length) {
    const ssize_t got = ::pread(fd->get(), buffer.data(), std::min<std::uint64_t>(buffer.size(), length - done),
                                static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throwSystemError(Code::Io, "read", path.string(), errno);
    if (got == 0) throw Error(Code::Io, fmt::format("{} became shorter while it was read", path.string()));
    sink(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
    done += static_cast<std::uint64_t>(got);
  }
}

void S3Storage::lock(Exchange& exchange) const {
  if (options_.lock_days == 0) return;
  exchange.headers["x-amz-object-lock-mode"] = "GOVERNANCE";
  exchange.headers["x-amz-object-lock-retain-until-date"] =
      toIso(nowMicros() + options_.lock_days * 86'400'000'000LL).substr(0, 19) + "Z";
}

void S3Storage::put(const std::string& name, const Range& content) const {
  Exchange exchange;
  exchange.what = "write " + describe(name);
  exchange.method = "PUT";
  exchange.path = pathOf(name);
  exchange.body = content;
  lock(exchange);
  this->exchange(exchange);
}

// A run that was killed leaves parts which cost money and are never listed.
void S3Storage::abortLeftovers(const std::string& name) const {
  Exchange listing;
  listing.what = "list uploads of " + describe(name);
  listing.method = "GET";
  listing.path = "/" + options_.bucket;
  listing.query = {{"uploads", ""}, {"prefix", options_.prefix + name}};
  for (const auto& upload : parseS3Uploads(exchange(listing).text)) {
    if (upload.key != options_.prefix + name) continue;
    Exchange abort;
    abort.what = "abort an upload of " + describe(name);
    abort.method = "DELETE";
    abort.path = pathOf(name);
    abort.query = {{"uploadId", upload.id}};
    abort.absent_is_normal = true;
    exchange(abort);
  }
}

void S3Storage::putInParts(const std::string& name, const Range& content, Progress* progress) const {
  abortLeftovers(name);
  Exchange begin;
  begin.what = "write " + describe(name);
  begin.method = "POST";
  begin.path = pathOf(name);
  begin.query = {{"uploads", ""}};
  lock(begin);
  const auto id = textOfElement(exchange(begin).text, "UploadId");
  if (id.empty()) throw Error(Code::Unreachable, begin.what + ": the store began no upload");
  const auto size = std::max(options_.part_size, content.length / kMostParts + 1);
  std::string parts;
  int number = 0;
  for (std::uint64_t offset = 0; offset < content.length; offset += size) {
    Exchange part;
    part.what = fmt::format("{}, part {}", begin.what, ++number);
    part.method = "PUT";
    part.path = begin.path;
    part.query = {{"partNumber", std::to_string(number)}, {"uploadId", id}};
    part.body = content.part(offset, std::min(size, content.length - offset));
    const auto etag = replaceAll(exchange(part).etag, "\"", "");
    if (etag.empty() || etag.find_first_of("<>&") != std::string::npos)
      throw Error(Code::Unreachable, part.what + ": the store gave no ETag");
    add(progress, part.body.length);  // the whole part: one that is sent again counts once
    parts += fmt::format("<Part><PartNumber>{}</PartNumber><ETag>\"{}\"</ETag></Part>", number, etag);
  }
  Exchange complete;
  complete.what = begin.what;
  complete.method = "POST";
  complete.path = begin.path;
  complete.query = {{"uploadId", id}};
  const auto body = fmt::format("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts);
  complete.body = Range::of(body);
  complete.absent_is_normal = true;  // tried again after an answer that was lost: the upload is an object by then
  const auto answer = exchange(complete);
  // S3 may say 200 first and find out later that it failed.
  const auto error = parseS3Error(answer.text);
  if (answer.status != 404 && !error.code.empty()) refuseS3(begin.what, answer.status, error);
  Exchange look;
  look.what = begin.what;
  look.method = "HEAD";
  look.path = begin.path;
  look.absent_is_normal = true;
  const auto stored = exchange(look);
  if (stored.status != 200 || stored.length != static_cast<std::int64_t>(content.length))
    throw Error(Code::Unreachable, fmt::format("{}: the store put the parts together to something else", begin.what));
}

void S3Storage::write(const std::string& name, const fs::path& file, Progress* progress) const {
  const Fd fd = openForReading(file);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) throwSystemError(Code::Io, "look at", file.string(), errno);
  const Range content{&fd, file, {}, 0, static_cast<std::uint64_t>(status.st_size)};
  if (content.length > options_.part_size) return putInParts(name, content, progress);
  put(name, content);
  add(progress, content.length);
}

}  // namespace aragora::storage
