#include "common/storage/s3_storage.h"

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/net/retry.h"
#include "common/storage/s3_answer.h"
#include "common/storage/s3_exchange.h"

namespace aragora::storage {

namespace {
constexpr int kTries = 5;
constexpr std::size_t kTextLimit = 16U << 20;  // of an answer that is not a file
constexpr int kMostPages = 10'000;

// Another try may do better: overload, a broken connection, a digest that broke on the way.
bool worthAnotherTry(int status, const std::string& code) {
  return net::statusWorthAnotherTry(status) || code == "RequestTimeout" || code == "BadDigest" || code == "SlowDown" ||
         code == "XAmzContentSHA256Mismatch";
}
}  // namespace

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

void refuseS3(const std::string& what, int status, const S3Error& error) {
  const auto message = fmt::format("{}: the store answered {} {}{}", what, status, printable(error.code, 60),
                                   error.message.empty() ? "" : " (" + printable(error.message, 160) + ")");
  if (error.code == "RequestTimeTooSkewed") throw Error(Code::CouldNotVerify, message, "set this machine's clock");
  if (error.code == "NoSuchBucket") throw Error(Code::NoInput, message, "create the bucket, or correct backup.offsite");
  if (status == 401 || status == 403)
    throw Error(Code::Permission, message,
                "check backup.offsite_access_key and backup.offsite_secret_key, and what they may do");
  throw Error(Code::Unreachable, message);
}

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
  request.limits = {.patience = options_.timeout};
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
  net::Retry retry({.tries = kTries, .first_pause = options_.first_pause}, Deadline::max(), {});
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
    refuseS3(exchange.what, answer.status, error);
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
  net::Retry retry({.tries = kTries, .first_pause = options_.first_pause}, Deadline::max(), {});
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

void S3Storage::remove(const std::string& name) const {
  Exchange exchange;
  exchange.what = "remove " + describe(name);
  exchange.method = "DELETE";
  exchange.path = pathOf(name);
  exchange.absent_is_normal = true;
  this->exchange(exchange);
}

}  // namespace aragora::storage
