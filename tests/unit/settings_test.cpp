#include <gtest/gtest.h>

#include "common/base/file.h"
#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/config/addresses.h"
#include "common/config/loader.h"

namespace aragora::config {
namespace {

TEST(SecretText, IsLookedAtWhateverItCameFrom) {
  const TemporaryDirectory directory;
  const auto file = (directory.path() / "token").string();
  const auto toml = (directory.path() / "aragora.toml").string();
  writeFileAtomically(file, "\xEF\xBB\xBFtoken-of-the-api\n", 0600);
  writeFileAtomically(toml, "[metrics]\ntoken = \"metrics-token \"\n[server]\nbind_host = \"127.0.0.1\\u200b\"\n",
                      0600);
  const auto loaded = loadFrom({},
                               {{"ARAGORA_API_TOKEN_FILE", {file, "env ARAGORA_API_TOKEN_FILE"}},
                                {"OPENAI_API_KEY", {"sk-0123456789abcdef\t", "env OPENAI_API_KEY"}},
                                {"REDIS_URL_COMMAND", {"printf redis://h\\r", "env REDIS_URL_COMMAND"}}},
                               toml, "");
  std::map<std::string, std::string> found;
  for (const auto& problem : loaded.problems) found[problem.variable] += problem.message + "; ";
  EXPECT_NE(found["ARAGORA_API_TOKEN_FILE"].find("begins with a byte order mark (U+FEFF)"), std::string::npos);
  EXPECT_NE(found["OPENAI_API_KEY"].find("ends with a tab"), std::string::npos);
  EXPECT_NE(found["metrics.token"].find("ends with a blank (U+0020)"), std::string::npos);
  EXPECT_NE(found["server.bind_host"].find("U+200B"), std::string::npos);
  for (const auto& [variable, message] : found) {
    EXPECT_EQ(message.find("token-of-the-api"), std::string::npos);
    EXPECT_EQ(message.find("metrics-token"), std::string::npos);
  }
}

TEST(Addresses, AreTheOnesThatServeUnderstands) {
  for (const auto* good : {"127.0.0.1", "0.0.0.0", "::", "::1", "localhost", "fe80::1%eth0"})
    EXPECT_FALSE(listenProblem(good)) << good;
  for (const auto* bad : {"*", "example.org", "[::1]", "0.0.0.0:80", "256.1.1.1", "10.0.0", ""})
    EXPECT_TRUE(listenProblem(bad)) << bad;
  for (const auto* good : {"10.0.0.0/8", "10.1.2.3", "::1", "fd00::/8", "0.0.0.0/0"})
    EXPECT_FALSE(networkProblem(good)) << good;
  for (const auto* bad : {"nginx", "10.0.0.0/33", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/x", "*"})
    EXPECT_TRUE(networkProblem(bad)) << bad;
}

TEST(Addresses, BasePathsAreThoseThatNobodyWritesInAnotherWay) {
  for (const auto* good : {"/aragora", "/a/b-c_D", "/api", "/api/v10", "/x/api/v1"})
    EXPECT_FALSE(urlPathProblem(good)) << good;
  const std::string long_one = "/" + std::string(128, 'a');
  for (const auto* bad : {"", "/", "aragora", "/aragora/", "/a//b", "/a/../b", "/a.b", "/a%20b", "/a b", "/ä", "/a?x",
                          "/a#x", "/api/v1", "/api/v2/x", "https://host/a", long_one.c_str()})
    EXPECT_TRUE(urlPathProblem(bad)) << bad;
  const auto loaded = loadFrom({}, {{"ARAGORA_BASE_PATH", {"/aragora/", "env ARAGORA_BASE_PATH"}}}, "", "");
  ASSERT_EQ(loaded.problems.size(), 1U);
  EXPECT_EQ(loaded.problems[0].message, "'/aragora/' ends with /");
}

TEST(Addresses, OfListenersAreReadAndWrittenAlike) {
  for (const auto* good : {"127.0.0.1:8080", "0.0.0.0:0", "[::]:65535", "[::1]:80", "localhost:1", "unix:/run/a.sock",
                           "[fe80::1%eth0]:1", "http://127.0.0.1:1", "http://[::1]:1"}) {
    const auto address = net::ListenAddress::parse(good);
    ASSERT_TRUE(address) << good;
    EXPECT_EQ((address->plain ? "http://" : "") + address->text(), good);
    EXPECT_FALSE(net::listenAddressProblem(good)) << good;
  }
  const std::pair<const char*, const char*> bad[] = {{"", "has no port"},
                                                     {"8080", "has no port"},
                                                     {"127.0.0.1", "has no port"},
                                                     {"127.0.0.1:", "from 0"},
                                                     {"127.0.0.1:65536", "from 0"},
                                                     {"127.0.0.1:-1", "from 0"},
                                                     {"::1:80", "without brackets"},
                                                     {"[::1]", "has no port"},
                                                     {"[::1:80", "has no ]"},
                                                     {"[1.2.3.4]:80", "brackets"},
                                                     {"example.org:80", "not an address"},
                                                     {"*:80", "not an address"},
                                                     {"unix:run/a", "absolute"},
                                                     {"unix:", "absolute"},
                                                     {"https://127.0.0.1:1", "brackets"}};
  for (const auto& [text, said] : bad) {
    EXPECT_FALSE(net::ListenAddress::parse(text)) << text;
    EXPECT_NE(net::listenAddressProblem(text).value_or("").find(said), std::string::npos)
        << text << ": " << net::listenAddressProblem(text).value_or("nothing");
  }
  EXPECT_TRUE(net::listenAddressProblem("unix:/" + std::string(107, 'a')));
  EXPECT_FALSE(net::listenAddressProblem("unix:/" + std::string(106, 'a')));
}

TEST(Addresses, ListenIsWhereItListensAndTheOldSettingsStandForIt) {
  const auto load = [](const std::string& listen, const std::string& host = "") {
    return loadFrom({}, {{"ARAGORA_LISTEN", {listen, "env"}}, {"ARAGORA_BIND_HOST", {host, "env"}}}, "", "").config;
  };
  EXPECT_EQ(load("").addresses(key::kListen).at(0).text(), "127.0.0.1:8080");
  EXPECT_EQ(load("", "::").addresses(key::kListen).at(0).text(), "[::]:8080");
  const auto several = load("127.0.0.1:1, [::1]:2,unix:/run/a.sock", "0.0.0.0");
  ASSERT_EQ(several.addresses(key::kListen).size(), 3U);
  EXPECT_EQ(several.addresses(key::kListen)[1].text(), "[::1]:2");
  EXPECT_TRUE(several.anonymousAllowed());
  EXPECT_FALSE(load("127.0.0.1:1,10.0.0.1:1").anonymousAllowed());
  EXPECT_FALSE(load("", "0.0.0.0").anonymousAllowed());
  EXPECT_TRUE(several.addresses(key::kMetricsListen).empty());
}

TEST(Addresses, OriginsAreWrittenAsBrowsersSendThem) {
  const std::pair<const char*, const char*> cases[] = {{"https://Example.org", "https://example.org"},
                                                       {"https://x:443", "https://x"},
                                                       {"http://x:80", "http://x"},
                                                       {"https://x:80", "https://x:80"},
                                                       {"https://x/", "https://x"},
                                                       {"HTTPS://x:0443", "https://x"},
                                                       {"http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"},
                                                       {"https://[2001:DB8::1]", "https://[2001:db8::1]"}};
  for (const auto& [given, right] : cases) {
    EXPECT_EQ(canonicalOrigin(given).value_or("none"), right);
    const auto loaded = loadFrom({}, {{"ARAGORA_ALLOWED_ORIGINS", {given, "env ARAGORA_ALLOWED_ORIGINS"}}}, "", "");
    EXPECT_EQ(loaded.problems.size(), std::string(given) == right ? 0U : 1U) << given;
    for (const auto& problem : loaded.problems) EXPECT_EQ(problem.hint, fmt::format("write {}", right));
  }
  for (const auto* none :
       {"null", "*", "https://*.x", "x", "https://", "https://x:0", "https://x:70000", "https://x/p", "https://u@x",
        "https://b\xC3\xBC"
        "cher.example",
        "ftp://x", "https://1.2.3", "https://x?"})
    EXPECT_FALSE(canonicalOrigin(none)) << none;
}

TEST(Loader, NamesWhatTheOperatorWrote) {
  const TemporaryDirectory directory;
  const auto toml = (directory.path() / "aragora.toml").string();
  writeFileAtomically(
      toml,
      "[server]\nbind_host = \"127.0.0.1\"\nport = 70000\ntrusted_proxies = [\"nginx\", \"10.0.0.0/33\"]\n"
      "[backup]\ndirectory = \"backups\"\n",
      0600);
  Sources sources;
  sources.flags["server.workers"] = "none";
  const auto loaded = loadFrom(sources, {{"ARAGORA_ENVIRONMENT", {"prod", "env ARAGORA_ENVIRONMENT"}}}, toml, "");
  std::vector<std::string> seen;
  for (const auto& problem : loaded.problems)
    seen.push_back(
        fmt::format("{} in {}", problem.variable, replaceAll(problem.origin, directory.path().string(), "")));
  EXPECT_EQ(seen, (std::vector<std::string>{
                      "ARAGORA_ENVIRONMENT in env ARAGORA_ENVIRONMENT", "server.port in /aragora.toml:3",
                      "--set server.workers in command line", "server.trusted_proxies in /aragora.toml:4",
                      "server.trusted_proxies in /aragora.toml:4", "backup.directory in /aragora.toml:6"}));
}

TEST(Loader, NamesAKeyThatIsWrittenTwiceWithBothLines) {
  const std::pair<std::string, std::string> cases[] = {
      {"[server]\nport = 1\nworkers = 2\nport = 3\n", "port is written twice (first in line 2)"},
      {"[auth]\njwt_secret = \"a-secret\"\njwt_secret = 'b-secret'\n", "jwt_secret is written twice (first in line 2)"},
      {"environment = \"test\"\n[log]\nlevel = \"info\"\n[log]\nformat = \"json\"\n",
       "log is written twice (first in line 3)"}};
  for (const auto& [text, expected] : cases) {
    const TemporaryDirectory directory;
    const auto file = (directory.path() / "aragora.toml").string();
    writeFileAtomically(file, text, 0600);
    const auto loaded = loadFrom({}, {}, file, "");
    ASSERT_EQ(loaded.problems.size(), 1U);
    EXPECT_EQ(loaded.problems[0].message, expected);
    EXPECT_EQ(loaded.problems[0].message.find("secret'"), std::string::npos);
  }
}

TEST(Loader, RefusesUrlsThatNothingCouldCall) {
  for (const auto* bad : {"ftp://x", "https://", "example.org"})
    EXPECT_EQ(loadFrom({}, {{"OPENAI_BASE_URL", {bad, "env OPENAI_BASE_URL"}}}, "", "").problems.size(), 1U) << bad;
}

}  // namespace
}  // namespace aragora::config
