#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "common/base/subprocess.h"
#include "common/storage/place.h"
#include "common/storage/s3_storage.h"
#include "tests/integration/services.h"

namespace aragora::storage {
namespace {

const Credentials kCredentials{"test:aragora", Secret("swift-test-key"), "us-east-1"};

// The product makes no buckets; the operator does.
void makeBucket(const std::string& bucket) {
  const auto script = fmt::format(
      "import botocore.config, botocore.session\n"
      "botocore.session.get_session().create_client('s3', endpoint_url='{}', aws_access_key_id='{}', "
      "aws_secret_access_key='{}', region_name='us-east-1', config=botocore.config.Config(s3={{'addressing_style': "
      "'path'}})).create_bucket(Bucket='{}')\n",
      service("TEST_S3"), kCredentials.access_key, kCredentials.secret_key.reveal(), bucket);
  const auto outcome = runCommand({{"/usr/bin/python3", "-c", script}, {}, true}, std::chrono::seconds(60));
  ASSERT_EQ(outcome.status, 0) << outcome.error_output;
}

// One suite for what every storage promises.
class Contract : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "Directory") {
      place_ = Place(directory_.path()) / "copies";
      return;
    }
    S3Options options;
    options.endpoint = service("TEST_S3");
    options.bucket = "contract-" + lower(newUlid());
    options.prefix = "site one/";
    options.credentials = kCredentials;
    makeBucket(options.bucket);
    place_ = Place(std::make_shared<S3Storage>(options), "") / "copies";
  }
  static std::vector<std::string> namesOf(const std::vector<Item>& items) {
    std::vector<std::string> names;
    for (const auto& item : items) names.push_back(item.name);
    return names;
  }
  TemporaryDirectory directory_;
  Place place_;
};

TEST_P(Contract, AFileIsReadOrSizedByItsNameWithoutAListing) {
  place_.writeText("there", "twelve bytes");
  place_.writeText("empty", "");
  (place_ / "folder").writeText("inside", "x");
  EXPECT_EQ(place_.size("there"), 12U);
  EXPECT_EQ(place_.size("empty"), 0U);
  EXPECT_EQ(place_.text("there", 100), "twelve bytes");
  EXPECT_EQ(place_.text("empty", 100), "");
  for (const auto* absent : {"absent", "no/such/folder", "there/below"}) {
    EXPECT_EQ(place_.size(absent), std::nullopt) << absent;
    EXPECT_EQ(place_.text(absent, 100), std::nullopt) << absent;
  }
  EXPECT_EQ(place_.size("folder"), std::nullopt) << "a folder is no file";
}

TEST_P(Contract, AListingCanBeginAfterANameAndKeepToAPrefix) {
  for (const auto* name : {"a1", "a2", "a3", "b1", "b2"}) place_.writeText(name, name);
  (place_ / "a2-folder").writeText("x", "x");
  using Names = std::vector<std::string>;
  EXPECT_EQ(namesOf(place_.list()), (Names{"a1", "a2", "a2-folder", "a3", "b1", "b2"}));
  EXPECT_EQ(namesOf(place_.list({.after = "a2"})), (Names{"a2-folder", "a3", "b1", "b2"}));
  EXPECT_EQ(namesOf(place_.list({.after = "a2", .prefix = "a"})), (Names{"a2-folder", "a3"}));
  EXPECT_EQ(namesOf(place_.list({.prefix = "b"})), (Names{"b1", "b2"}));
  EXPECT_EQ(namesOf(place_.list({.after = "b2"})), Names{});
  EXPECT_EQ(namesOf(place_.list({.after = "a2-folder"})), (Names{"a3", "b1", "b2"}));
}

TEST_P(Contract, ManyThreadsReadDifferentFilesAtOnce) {
  constexpr int kFiles = 64;
  constexpr int kThreads = 8;
  for (int i = 0; i < kFiles; ++i)
    place_.writeText(fmt::format("file-{}", i), std::string(20'000, static_cast<char>('a' + i % 26)));
  std::atomic<int> next{0};
  std::atomic<int> right{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&] {
        for (int i = next++; i < 5 * kFiles; i = next++) {
          if (i % 5 == 4) {
            right += place_.size(fmt::format("file-{}", i % kFiles)) == 20'000U ? 1 : 0;
            continue;
          }
          const auto text = place_.text(fmt::format("file-{}", i % kFiles), 100'000);
          right += text == std::string(20'000, static_cast<char>('a' + i % kFiles % 26)) ? 1 : 0;
        }
      });
  }
  EXPECT_EQ(right, 5 * kFiles);
}

TEST(S3Storage, AMissingBucketIsNoMissingFile) {
  S3Options options;
  options.endpoint = service("TEST_S3");
  options.bucket = "absent-" + lower(newUlid());
  options.credentials = kCredentials;
  const Place place(std::make_shared<S3Storage>(options), "");
  EXPECT_THROW(place.size("file"), Error);
  EXPECT_THROW(place.text("file", 10), Error);
  EXPECT_THROW(place.list(), Error);
}

INSTANTIATE_TEST_SUITE_P(Storages, Contract, testing::Values("Directory", "Swift"),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace
}  // namespace aragora::storage
