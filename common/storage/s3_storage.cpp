#include "common/storage/s3_storage.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/net/retry.h"
#include "common/storage/s3_answer.h"

namespace aragora::storage {

namespace {
constexpr int kTries = 5;
constexpr std::size_t kBlock = 256 * 1024;
constexpr std::size_t kTextLimit = 16U << 20;  // of an answer that is not a file
constexpr std::uint64_t kMostParts = 9000;     // S3 allows 10,000
constexpr int kMostPages = 10'000;

// Another try may do better: overload, a broken connection, a digest that broke on the way.
bool worthAnotherTry(int status, const std::string& code) {
  return net::statusWorthAnotherTry(status) || code == "RequestTimeout" || code == "BadDigest" || code == "SlowDown" ||
         code == "XAmzContentSHA256Mismatch";
}

[[noreturn]] void refuse(const std::string& what, int status, const S3Error& error) {
  const auto message = fmt::format("{}: the store answered {} {}{}", what, status, printable(error.code, 60),
                                   error.message.empty() ? "" : " (" + printable(error.message, 160) + ")");
  if (error.code == "RequestTimeTooSkewed") throw Error(Code::CouldNotVerify, message, "set this machine's clock");
  if (error.code == "NoSuchBucket") throw Error(Code::NoInput, message, "create the bucket, or correct backup.offsite");
  if (status == 401 || status == 403)
    throw Error(Code::Permission, message,
                "check backup.offsite_access_key and backup.offsite_secret_key, and what they may do");
  throw Error(Code::Unreachable, message);
}
}  // namespace

// A stretch of a file, or of a text.
struct S3Storage::Range {
  const Fd* fd = nullptr;
  fs::path path;
  std::string_view text;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  static Range of(std::string_view text) { return {nullptr, {}, text, 0, text.size()}; }
  Range part(std::uint64_t from, std::uint64_t size) const { return {fd, path, text, offset + from, size}; }

  void feed(const ByteSink& sink) const {
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
};

struct S3Storage::Exchange {
  std::string what;  // for messages
  std::string method;
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;
  std::map<std::string, std::string> headers;
  Range body;
  bool absent_is_normal = false;  // 404 is an answer
  ByteSink sink;                  // takes the body of a 200 or 206 as it comes
};

struct S3Storage::Answer {
  int status = 0;
  std::string text;
  std::string etag;
  std::int64_t length = -1;                        // of the object, as the header says
  bool broken = false;                             // the body did not come to its end
  bool hopeless = false;                           // nor would it the next time
  std::string problem;                             // of a connection that gave no answer
  std::optional<std::chrono::milliseconds> asked;  // to wait before the next try
};

namespace {
net::Url endpointOf(std::string endpoint) {
  while (endsWith(endpoint, "/")) endpoint.pop_back();
  const auto url = net::Url::parse(endpoint);
  const bool http = url && (url->scheme == "https" || url->scheme == "http");
  if (http && !url->host.empty() && url->path.empty() && url->query.empty() && url->user_info.empty()) return *url;
  throw Error(Code::Config, fmt::format("the S3 endpoint {} is no URL of a host", printable(endpoint, 120)),
              "write it as https://s3.example.net");
}
}  // namespace

S3Storage::S3Storage(S3Options options) : options_(std::move(options)), endpoint_(endpointOf(options_.endpoint)) {}
S3Storage::~S3Storage() = default;

std::string S3Storage::describe(const std::string& name) const {
  return fmt::format("s3://{}/{}{}", options_.bucket, options_.prefix, name);
}

S3Storage::Answer S3Storage::tryOnce(const Exchange& exchange) const {
  crypto::Sha256 sha256;
  crypto::Md5 md5;
  exchange.body.feed([&](std::string_view bytes) {
    sha256.update(bytes);
    md5.update(bytes);
  });
  SignedRequest signing{exchange.method, exchange.path, exchange.query, exchange.headers, sha256.finishHex()};
  signing.headers["host"] = endpoint_.authority();
  // Required where object lock is on, checked everywhere (RFC 1864).
  if (exchange.body.length > 0) signing.headers["content-md5"] = toBase64(md5.finish());
  sign(signing, options_.credentials, nowMicros());
  return send(exchange, signing);
}

S3Storage::Answer S3Storage::send(const Exchange& exchange, const SignedRequest& signed_request) const {
  net::Request request{.method = exchange.method, .url = endpoint_};
  request.url.path = uriEncode(exchange.path, true);
  request.url.query = canonicalQuery(exchange.query);
  request.headers.assign(signed_request.headers.begin(), signed_request.headers.end());
  request.content = {exchange.body.length, [&](const ByteSink& sink) { exchange.body.feed(sink); }};
  request.limits = {.patience = options_.timeout, .stop = options_.stop};
  Answer answer;
  const auto take_head = [&](const net::Head& head) {
    answer.status = head.status;
    answer.etag = std::string(head.field("etag"));
    answer.length = head.length() ? static_cast<std::int64_t>(*head.length()) : -1;
    answer.asked = net::askedPause(head.field("retry-after"), "", nowMicros());
  };
  const auto take_body = [&](std::string_view bytes) {
    if (exchange.sink && (answer.status == 200 || answer.status == 206)) return exchange.sink(bytes);
    answer.text += bytes;
    if (answer.text.size() > kTextLimit) throw Error(Code::Unreachable, exchange.what + ": the answer is too long");
  };
  try {
    client_.exchange(request, {take_head, take_body});
  } catch (const net::Failure& failure) {
    answer.broken = true;
    answer.hopeless = !failure.worthAnotherTry();
    answer.problem = failure.what();
  }
  return answer;
}

S3Storage::Answer S3Storage::exchange(const Exchange& exchange) const {
  net::Retry retry({.tries = kTries, .first_pause = options_.first_pause}, Deadline::max(), options_.stop);
  while (true) {
    auto answer = tryOnce(exchange);
    if (!answer.broken && answer.status >= 200 && answer.status < 300) return answer;
    if (answer.broken && exchange.sink && (answer.status == 200 || answer.status == 206))
      return answer;  // read() goes on from there
    if (!answer.broken && answer.status == 404 && exchange.absent_is_normal) {
      if (parseS3Error(answer.text).code != "NoSuchBucket") return answer;
    }
    const auto error = parseS3Error(answer.text);
    const bool again = answer.broken ? !answer.hopeless : worthAnotherTry(answer.status, error.code);
    if (again && retry.again(answer.asked)) {
      log::info("{}: {}; trying again", exchange.what,
                answer.broken ? answer.problem : fmt::format("{} {}", answer.status, printable(error.code, 60)));
      continue;
    }
    if (answer.broken)
      throw Error(Code::Unreachable, fmt::format("{}: {}", exchange.what, answer.problem),
                  "check the network, and backup.offsite_endpoint");
    refuse(exchange.what, answer.status, error);
  }
}

std::vector<Item> S3Storage::list(const std::string& folder, const Selection& selection) const {
  const auto prefix = options_.prefix + (folder.empty() ? "" : folder + "/");
  std::vector<Item> items;
  std::string token;
  for (int page = 0; page < kMostPages; ++page) {
    Exchange exchange;
    exchange.what = "list " + describe(folder);
    exchange.method = "GET";
    exchange.path = "/" + options_.bucket;
    exchange.query = {{"list-type", "2"}, {"delimiter", "/"}, {"prefix", prefix + selection.prefix}};
    if (!token.empty())
      exchange.query.emplace_back("continuation-token", token);
    else if (!selection.after.empty())
      exchange.query.emplace_back("start-after", prefix + selection.after);
    const auto listing = parseS3Listing(this->exchange(exchange).text);
    for (const auto& object : listing.objects) {
      if (object.key.size() > prefix.size() && startsWith(object.key, prefix))
        items.push_back({object.key.substr(prefix.size()), object.size, false});
    }
    for (const auto& found : listing.prefixes) {
      if (found.size() > prefix.size() + 1 && startsWith(found, prefix))
        items.push_back({found.substr(prefix.size(), found.size() - prefix.size() - 1), 0, true});
    }
    token = listing.next;
    if (token.empty()) break;
  }
  // A folder's own name ends in a slash there, which some stores count as behind it.
  std::erase_if(items, [&](const Item& item) { return item.name <= selection.after; });
  if (!token.empty()) throw Error(Code::Unreachable, "the listing of " + describe(folder) + " does not end");
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.name < b.name; });
  return items;
}

// The answer to HEAD says 404 for a file and for a bucket that is not there, and has no text to tell them apart.
void S3Storage::requireBucket() const {
  if (bucket_seen_) return;
  Exchange exchange;
  exchange.what = "list " + describe("");
  exchange.method = "GET";
  exchange.path = "/" + options_.bucket;
  exchange.query = {{"list-type", "2"}, {"max-keys", "1"}, {"prefix", options_.prefix}};
  parseS3Listing(this->exchange(exchange).text);
  bucket_seen_ = true;
}

std::optional<std::uint64_t> S3Storage::size(const std::string& name) const {
  Exchange exchange;
  exchange.what = "look at " + describe(name);
  exchange.method = "HEAD";
  exchange.path = pathOf(name);
  exchange.absent_is_normal = true;
  const auto answer = this->exchange(exchange);
  if (answer.status == 404) {
    requireBucket();
    return std::nullopt;
  }
  if (answer.length < 0) throw Error(Code::Unreachable, exchange.what + ": the store gave no length");
  return static_cast<std::uint64_t>(answer.length);
}

bool S3Storage::read(const std::string& name, const ByteSink& sink) const {
  std::uint64_t received = 0;
  std::string etag;
  net::Retry retry({.tries = kTries, .first_pause = options_.first_pause}, Deadline::max(), options_.stop);
  while (true) {
    Exchange exchange;
    exchange.what = "read " + describe(name);
    exchange.method = "GET";
    exchange.path = pathOf(name);
    exchange.absent_is_normal = received == 0;
    const auto before = received;
    if (received > 0) {
      exchange.headers["range"] = fmt::format("bytes={}-", received);
      exchange.headers["if-match"] = etag;  // the same object, not one that took its place
    }
    exchange.sink = [&](std::string_view bytes) {
      sink(bytes);
      received += bytes.size();
    };
    const auto answer = this->exchange(exchange);
    if (answer.status == 404) return false;
    if (before > 0 && answer.status != 206)
      throw Error(Code::Unreachable, fmt::format("{}: the store cannot go on from the middle", exchange.what));
    if (!answer.broken) return true;
    if (received > before) retry.progress();
    if (answer.etag.empty() || !retry.again())
      throw Error(Code::Unreachable, fmt::format("{}: {}", exchange.what, answer.problem), "check the network");
    etag = answer.etag;
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
  if (answer.status != 404 && !error.code.empty()) refuse(begin.what, answer.status, error);
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

void S3Storage::remove(const std::string& name) const {
  Exchange exchange;
  exchange.what = "remove " + describe(name);
  exchange.method = "DELETE";
  exchange.path = pathOf(name);
  exchange.absent_is_normal = true;
  this->exchange(exchange);
}

}  // namespace aragora::storage
