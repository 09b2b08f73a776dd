#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/scratch.h"
#include "common/crypto/hash.h"
#include "common/storage/place.h"
#include "common/storage/s3_answer.h"
#include "common/storage/s3_storage.h"
#include "tests/unit/scripted_server.h"

namespace aragora::storage {
namespace {

struct Vector {
  std::string method;
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;
  std::map<std::string, std::string> headers;
  std::string body;
  std::string signature;  // made by botocore 1.29, S3SigV4Auth
};

TEST(SignatureV4, IsWhatBotocoreMakes) {
  const std::vector<Vector> vectors = {
      {"GET", "/bucket/a b/ü+~.txt", {}, {}, "", "dc79d94ae9cdb0af84ecb688f837b2a17a8315923d2956d0e882194e3914f63d"},
      {"GET",
       "/bucket",
       {{"list-type", "2"}, {"prefix", "x/y z&="}, {"delimiter", "/"}, {"continuation-token", "a+/b=="}},
       {},
       "",
       "e2880f89c7d28296822f8bae9f1f007c48980be86780ad788f1f5fa72b982211"},
      {"POST",
       "/bucket/key",
       {{"uploads", ""}},
       {},
       "",
       "4ce1d2902fe6864a8d0e8d6217ab9ca71508e90b9b24f2a491c2b0b72e924e3f"},
      {"PUT",
       "/bucket/key",
       {{"partNumber", "12"}, {"uploadId", "U~/ +=&"}},
       {{"content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="}},
       "hello",
       "79947cfdcc5d72aa7525b0c7b111f73332c41551db88a88d85b15bb8f21a326c"},
      {"PUT",
       "/bucket/it's (1)*",
       {},
       {{"x-amz-object-lock-mode", "GOVERNANCE"},
        {"x-amz-object-lock-retain-until-date", "2026-12-01T00:00:00Z"},
        {"content-md5", "x  y"}},
       std::string("\0\xff", 2),
       "e637905878c79b28b99528211aa83b93a7e411475f35312767074292bdd1df5f"},
      {"DELETE",
       "/bucket/a//b/../c",
       {{"versionId", "null"}},
       {{"range", "bytes=5-"}},
       "",
       "03dc7e3f649b0b401fe2e6c3e67cd328f485e4332d6559f07cda31353fe231ac"},
  };
  const Credentials credentials{"AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), "eu-central-1"};
  for (const auto& vector : vectors) {
    SignedRequest request{vector.method, vector.path, vector.query, vector.headers, crypto::sha256Hex(vector.body)};
    request.headers["host"] = "localhost:9000";
    sign(request, credentials, *fromIso("2026-01-13T10:00:00Z"));
    const auto authorization = request.headers["authorization"];
    EXPECT_EQ(authorization.substr(authorization.find("Signature=") + 10), vector.signature)
        << vector.method << " " << vector.path;
  }
}

TEST(S3Answer, ListingsAndErrorsAreRead) {
  const auto listing = parseS3Listing(
      "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
      "<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>"
      "<Contents><Key>x/a&lt;b</Key><Size>12</Size></Contents><CommonPrefixes><Prefix>x/y/</Prefix></CommonPrefixes>"
      "</ListBucketResult>");
  ASSERT_EQ(listing.objects.size(), 1U);
  EXPECT_EQ(listing.objects[0].key, "x/a<b");
  EXPECT_EQ(listing.objects[0].size, 12U);
  EXPECT_EQ(listing.prefixes, std::vector<std::string>{"x/y/"});
  EXPECT_EQ(listing.next, "a&b");
  EXPECT_EQ(parseS3Error("<Error><Code>SlowDown</Code><Message>later</Message></Error>").code, "SlowDown");
  EXPECT_EQ(parseS3Error("<html>a proxy</html>").code, "");
}

TEST(S3Answer, WhatIsNoListingIsRefused) {
  for (const auto* text :
       {"", "no xml", "<html/>", "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><ListBucketResult>&a;</ListBucketResult>",
        "<ListBucketResult><Contents></ListBucketResult>"})
    EXPECT_THROW(parseS3Listing(text), Error) << text;
}

TEST(S3Storage, EndsAtOnceWhenItIsStopped) {
  const test::ScriptedServer server([](test::Connection& connection) {
    if (connection.number() % 2 == 0) return connection.hold();  // says nothing
    connection.request();
    connection.answer("<Error><Code>SlowDown</Code></Error>", "Retry-After: 30\r\n", 503);
    connection.hold();
  });
  double shortest = 1e9;
  for (int i = 0; i < 6; ++i) {  // within the pause before another try, and waiting for an answer
    const interrupt::Switch stop;
    const interrupt::Minding minding(stop);
    const S3Storage store({.endpoint = server.url(""), .bucket = "b"});
    std::chrono::steady_clock::time_point stopped;
    std::jthread stopping([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(60));
      stopped = std::chrono::steady_clock::now();
      stop.turn();
    });
    try {
      store.read("x", [](std::string_view) {});
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::Interrupted) << error.what();
    }
    stopping.join();
    shortest = std::min(shortest, secondsSince(stopped));
  }
  EXPECT_LT(shortest, 0.1);
}

TEST(S3Storage, AnEndpointThatIsNoHostIsRefused) {
  for (const auto* endpoint : {"", "host", "ftp://host", "http://", "https://host/path", "http://[::1"})
    EXPECT_THROW(S3Storage({.endpoint = endpoint, .bucket = "b"}), Error) << endpoint;
  EXPECT_EQ(S3Storage({.endpoint = "https://host:9000/", .bucket = "b", .prefix = "p/"}).describe("x"), "s3://b/p/x");
}

TEST(Place, ADirectoryKeepsWhatIsWrittenAndListsIt) {
  const TemporaryDirectory directory;
  const Place place = Place(directory.path()) / "new" / "folder";
  EXPECT_TRUE(place.list().empty());
  EXPECT_FALSE(place.text("a", 10));
  place.writeText("b", "second");
  place.writeText("a", "first");
  place.writeText("a", "again");
  EXPECT_EQ(place.text("a", 10), "again");
  EXPECT_THROW(place.text("b", 3), Error) << "longer than asked for";
  const auto items = place.list();
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0].name, "a");
  EXPECT_EQ(items[1].size, 6U);
  EXPECT_TRUE(place.parent().list().front().folder);
  fs::create_symlink("a", place.path() / "link");
  EXPECT_THROW(place.text("link", 10), Error);
  place.remove("a");
  place.remove("a");
  EXPECT_FALSE(place.text("a", 10));
}

}  // namespace
}  // namespace aragora::storage
