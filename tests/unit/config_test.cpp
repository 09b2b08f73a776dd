#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/memory_file.h"
#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/config/env_file.h"
#include "common/config/handed_over.h"
#include "common/config/loader.h"
#include "common/config/render.h"
#include "common/config/secret_file.h"
#include "common/config/strength.h"
#include "common/config/unit.h"
#include "common/crypto/hash.h"

namespace aragora::config {
namespace {

std::string valueOf(std::string_view text, const std::string& name) {
  std::string value = "(absent)";
  for (const auto& entry : parseEnvironmentFile(text).entries) {
    if (entry.name == name) value = entry.value;
  }
  return value;
}

struct SystemdCase {
  const char* file;
  const char* name;
  const char* value;
  bool warns;
};

class EnvironmentFileRules : public testing::TestWithParam<SystemdCase> {};

// What a service started by systemd 252 was seen to get for each line.
TEST_P(EnvironmentFileRules, AreSystemds) {
  const auto& expected = GetParam();
  EXPECT_EQ(valueOf(expected.file, expected.name), expected.value);
  EXPECT_EQ(!parseEnvironmentFile(expected.file).warnings.empty(), expected.warns);
}

INSTANTIATE_TEST_SUITE_P(
    Table, EnvironmentFileRules,
    testing::Values(
        SystemdCase{"A=plain\n", "A", "plain", false}, SystemdCase{"B=\"two words\"\n", "B", "two words", false},
        SystemdCase{"A=1\nF=$A\n", "F", "$A", true}, SystemdCase{"G=x # comment\n", "G", "x # comment", true},
        SystemdCase{"H = spaced\n", "H", "spaced", false}, SystemdCase{"E=a\\\nb\n", "E", "ab", false},
        SystemdCase{"export D=4\n", "D", "(absent)", true}, SystemdCase{"I=\"esc \\\" q\"\n", "I", "esc \" q", false},
        SystemdCase{"J='single $x \\n'\n", "J", "single $x \\n", true},
        SystemdCase{"K=trailing   \n", "K", "trailing", false}, SystemdCase{"# A=1\n; B=2\nL=3\n", "L", "3", false},
        SystemdCase{"M=a\r\nN=b\r\n", "N", "b", true}, SystemdCase{"O=1\nO=2\n", "O", "2", true},
        SystemdCase{"P=\n", "P", "", false}, SystemdCase{"Q=no newline", "Q", "no newline", false},
        SystemdCase{"\xEF\xBB\xBFR=1\n", "R", "(absent)", true},
        SystemdCase{"S=\"multi\nline\"\n", "S", "multi\nline", false}, SystemdCase{"nonsense\nT=1\n", "T", "1", true},
        SystemdCase{"U=\"a\"'b'c\n", "U", "abc", false},
        SystemdCase{"V=\"keep\\tthis\"\n", "V", "keep\\tthis", false}));

Loaded loadWith(const Environment& environment, const std::string& toml = {}, Sources sources = {}) {
  static std::vector<std::unique_ptr<TemporaryDirectory>> keep;
  std::string file;
  if (!toml.empty()) {
    keep.push_back(std::make_unique<TemporaryDirectory>());
    file = (keep.back()->path() / "aragora.toml").string();
    writeFileAtomically(file, toml, 0600);
  }
  return loadFrom(sources, environment, file, "");
}

EnvironmentValue env(const std::string& name, const std::string& value) { return {value, "env " + name}; }

TEST(Loader, FlagBeatsEnvironmentBeatsFileBeatsDefaultAndShadowsAreRemembered) {
  Sources sources;
  sources.flags["server.port"] = "3";
  const auto loaded = loadWith({{"ARAGORA_PORT", env("ARAGORA_PORT", "2")}}, "[server]\nport = 1\n", sources);
  EXPECT_TRUE(loaded.problems.empty());
  EXPECT_EQ(loaded.config.integer(key::kPort), 3);
  ASSERT_EQ(loaded.config.candidates(key::kPort).size(), 3U);
  EXPECT_EQ(loaded.config.candidates(key::kPort)[1].origin.text, "env ARAGORA_PORT");
  EXPECT_TRUE(endsWith(loaded.config.candidates(key::kPort)[2].origin.text, "aragora.toml:2"));
  EXPECT_EQ(loadWith({}).config.integer(key::kPort), 8080);
}

TEST(Loader, AnEmptyVariableIsAnUnsetOne) {
  EXPECT_FALSE(loadWith({{"JWT_SECRET", env("JWT_SECRET", "")}}).config.isSet(key::kJwtSecret));
}

TEST(Loader, AliasesMayAgreeButNotDiffer) {
  EXPECT_TRUE(loadWith({{"JWT_SECRET", env("JWT_SECRET", "a")}, {"ARAGORA_JWT_SECRET", env("ARAGORA_JWT_SECRET", "a")}})
                  .problems.empty());
  const auto loaded =
      loadWith({{"JWT_SECRET", env("JWT_SECRET", "a")}, {"ARAGORA_JWT_SECRET", env("ARAGORA_JWT_SECRET", "b")}});
  ASSERT_EQ(loaded.problems.size(), 1U);
  EXPECT_NE(loaded.problems[0].message.find("ARAGORA_JWT_SECRET"), std::string::npos);
}

TEST(Loader, UnknownKeysAreNamedWithTheNearestAndTheirLine) {
  const auto loaded = loadWith({}, "[server]\nprot = 1\n[metrics]\nx = 1\n");
  ASSERT_EQ(loaded.problems.size(), 2U);
  EXPECT_TRUE(endsWith(loaded.problems[0].origin, ":2"));
  EXPECT_NE(loaded.problems[0].hint.find("server.port"), std::string::npos);
}

TEST(Loader, CharactersThatAreNotAsciiBelongInQuotes) {
  for (const auto* bad : {"\xd1\x9b = 1\n", "[s\xc3\xa4]\n", "# ok\nx = '\xff'\n"}) {
    EXPECT_FALSE(loadWith({}, bad).problems.empty()) << bad;
  }
  EXPECT_TRUE(loadWith({}, "# größer\n[log]\nlevel = \"info\" # ✓\n").problems.empty());
}

TEST(Loader, ReadsSecretsFromFilesAndCommandsAndRefusesOpenModes) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "secret";
  writeFileAtomically(file, "from-file\n", 0600);
  auto loaded = loadWith({{"JWT_SECRET_FILE", env("JWT_SECRET_FILE", file.string())}});
  EXPECT_TRUE(loaded.problems.empty());
  EXPECT_EQ(loaded.config.secret(key::kJwtSecret).reveal(), "from-file");

  ::chmod(directory.path().c_str(), 0755);
  ::chmod(file.c_str(), 0644);
  loaded = loadWith({{"JWT_SECRET_FILE", env("JWT_SECRET_FILE", file.string())}});
  ASSERT_EQ(loaded.problems.size(), 1U);
  EXPECT_NE(loaded.problems[0].hint.find("chmod 6"), std::string::npos);

  loaded = loadWith({{"JWT_SECRET_COMMAND", env("JWT_SECRET_COMMAND", "echo from-command")}});
  EXPECT_EQ(loaded.config.secret(key::kJwtSecret).reveal(), "from-command");
  loaded = loadWith({{"JWT_SECRET_COMMAND", env("JWT_SECRET_COMMAND", "false")}});
  EXPECT_EQ(loaded.problems.size(), 1U);

  Sources offline;
  offline.run_commands = false;
  loaded = loadWith({{"JWT_SECRET_COMMAND", env("JWT_SECRET_COMMAND", "echo x")}}, "", offline);
  EXPECT_TRUE(loaded.config.isSet(key::kJwtSecret));
  EXPECT_FALSE(loaded.config.resolved(key::kJwtSecret));
}

TEST(Loader, ReadsASecretFromADescriptorThatItWasHandedAndHandsItOnToNobody) {
  const auto fd = sealedInMemory("secret", Secret("from-memory"));
  ::fcntl(fd.get(), F_SETFD, 0);
  for (int i = 0; i < 2; ++i) {  // reloading reads it again
    const auto loaded = loadWith({{"JWT_SECRET_FILE", env("JWT_SECRET_FILE", pathOf(fd))}});
    EXPECT_TRUE(loaded.problems.empty());
    EXPECT_EQ(loaded.config.secret(key::kJwtSecret).reveal(), "from-memory");
  }
  EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(loadWith({{"JWT_SECRET_FILE", env("JWT_SECRET_FILE", "/proc/self/fd/999")}}).problems.size(), 1U);
}

TEST(Loader, AValueAndItsFileMayNotDiffer) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "secret";
  writeFileAtomically(file, "one", 0600);
  const auto loaded =
      loadWith({{"JWT_SECRET", env("JWT_SECRET", "two")}, {"JWT_SECRET_FILE", env("JWT_SECRET_FILE", file.string())}});
  ASSERT_EQ(loaded.problems.size(), 1U);
  EXPECT_EQ(loaded.problems[0].message.find("one"), std::string::npos);
  EXPECT_EQ(loaded.problems[0].message.find("two"), std::string::npos);
}

TEST(Loader, CredentialsDirectoryIsRead) {
  const TemporaryDirectory directory;
  writeFileAtomically(directory.path() / "JWT_SECRET", "credential", 0400);
  const auto loaded = loadFrom({}, {}, "", directory.path().string());
  EXPECT_EQ(loaded.config.secret(key::kJwtSecret).reveal(), "credential");
  EXPECT_EQ(loaded.config.origin(key::kJwtSecret).source, Source::Credential);
}

// The backups' own user: the daemon's settings, and of its secrets what its unit hands over.
TEST(Loader, WhatIsNotHandedOverDoesNotCount) {
  const TemporaryDirectory copies;
  const TemporaryDirectory directory;
  writeFileAtomically(copies.path() / "JWT_SECRET", "handed over\n", 0400);
  writeFileAtomically(copies.path() / "OPENAI_API_KEY", fmt::format("{}\n", kNotHandedOver), 0400);
  writeFileAtomically(copies.path() / "aragora_GEMINI_API_KEY", "with all the others", 0400);
  const auto file = directory.path() / "aragora.toml";
  writeFileAtomically(file,
                      "environment = \"staging\"\n[auth]\njwt_secret_file = \"/closed/JWT_SECRET\"\n[providers]\n"
                      "anthropic_api_key_file = \"/closed/ANTHROPIC_API_KEY\"\nopenrouter_api_key = \"inline\"\n",
                      0600);
  const auto load = [&](const std::string& how) {
    return loadFrom({},
                    {{"ARAGORA_SECRETS", env("ARAGORA_SECRETS", how)},
                     {"ARAGORA_LOCAL_API_KEY", env("ARAGORA_LOCAL_API_KEY", "of the environment")}},
                    file.string(), copies.path().string());
  };
  const auto apart = load("handed-over");
  EXPECT_TRUE(apart.problems.empty()) << apart.problems[0].message;
  EXPECT_EQ(apart.config.text(key::kEnvironment), "staging");
  EXPECT_EQ(apart.config.secret(key::kJwtSecret).reveal(), "handed over");
  for (const auto& setting : catalogue()) {
    if (!ofProviders(setting) || !setting.secret) continue;
    EXPECT_FALSE(apart.config.isSet(setting.key)) << setting.key;
  }
  const auto all = load("");
  EXPECT_TRUE(all.config.isSet(key::kOpenRouterKey) && all.config.isSet(key::kGeminiKey));
  EXPECT_FALSE(all.problems.empty()) << "files that are not there";
  const auto misspelt = load("handed_over");
  EXPECT_TRUE(std::any_of(misspelt.problems.begin(), misspelt.problems.end(),
                          [](const Problem& one) { return one.variable == kSecretsVariable; }));
}

// A reload reads the copy that systemd made at the start once more.
TEST(HandedOver, IsHeldAgainstTheFileThatItWasMadeOf) {
  const TemporaryDirectory copies;
  const TemporaryDirectory sources;
  const auto copy = copies.path() / "aragora_JWT_SECRET";
  const auto source = sources.path() / "JWT_SECRET";
  writeFileAtomically(copy, "handed over\n", 0400);
  writeFileAtomically(copies.path() / "OPENAI_API_KEY", "of a drop-in\n", 0400);
  const auto look = [&](const std::string& file = {}) {
    return lookAtHandedOver(loadFrom({}, {}, file, copies.path().string()).config, sources.path());
  };
  const std::vector<std::string> nothing;
  const std::vector<std::string> other{std::string(key::kOpenAiKey)};
  EXPECT_EQ(look().unseen, (std::vector<std::string>{std::string(key::kJwtSecret), other[0]}));
  EXPECT_EQ(look().outdated, nothing) << "nobody knows its file";
  writeFileAtomically(source, "handed over", 0600);
  EXPECT_EQ(look().unseen, other);
  EXPECT_EQ(look().outdated, nothing) << "it says the same, whenever it was written";
  writeFileAtomically(source, "another one", 0600);
  EXPECT_EQ(look().outdated,
            std::vector<std::string>{fmt::format("auth.jwt_secret ({} was changed after the start)", source.string())});
  EXPECT_EQ(look().unseen, other);
  // One that may not be read goes by its times.
  writeFileAtomically(source, std::string(100'000, 'x'), 0600);
  EXPECT_EQ(look().outdated.size(), 1U);
  fs::last_write_time(copy, fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_EQ(look().outdated, nothing);
  EXPECT_EQ(look().unseen, other);
  // What the configuration names is read anew.
  fs::remove(source);
  writeFileAtomically(copies.path() / "aragora.toml",
                      fmt::format("[auth]\njwt_secret_file = \"{}\"\n", (sources.path() / "named").string()), 0600);
  writeFileAtomically(sources.path() / "named", "named\n", 0600);
  EXPECT_EQ(look((copies.path() / "aragora.toml").string()).unseen, other);
}

TEST(Loader, KubernetesServiceLinksAreNotTaken) {
  const auto loaded = loadWith({{"ARAGORA_PORT", env("ARAGORA_PORT", "tcp://10.0.0.1:80")}});
  EXPECT_TRUE(loaded.problems.empty());
  EXPECT_EQ(loaded.config.integer(key::kPort), 8080);
}

// A directory of units, where readUnit() looks for them.
class UnitDirectory {
 public:
  UnitDirectory() { ::setenv("SYSTEMD_UNIT_PATH", directory_.path().c_str(), 1); }
  ~UnitDirectory() { ::unsetenv("SYSTEMD_UNIT_PATH"); }
  fs::path write(const std::string& name, const std::string& text) const {
    const auto path = directory_.path() / name;
    makeDirectories(path.parent_path());
    writeFileAtomically(path, text, 0600);
    return path;
  }

 private:
  TemporaryDirectory directory_;
};

TEST(Unit, EnvironmentFilesDropInsAndCredentialsOfAServiceAreSeen) {
  const UnitDirectory units;
  const auto file = units.write("default", "ARAGORA_PORT=9000\n");
  const auto secret = units.write("secret", "s3cret\n");
  units.write("aragora.service",
              fmt::format("[Unit]\nEnvironment=NOT=this\n[Service]\nUser=somebody\nStateDirectory=one two\n"
                          "Environment=ARAGORA_ENV=production \"X=two words\" \\\n  # between\n  Y=%N\n"
                          "Environment=JWT_SECRET_FILE=%d/JWT_SECRET\nEnvironmentFile=-{}\n"
                          "EnvironmentFile=-/no/such/file\nLoadCredential=JWT_SECRET:{}\n",
                          file.string(), secret.string()));
  units.write("aragora.service.d/20-later.conf", "[Service]\nUser=later\nUnsetEnvironment=Y\n");
  units.write("aragora.service.d/10-first.conf", "[Service]\nUser=first\nSetCredential=redis_url:redis://x\n");
  const auto unit = readUnit("aragora");
  EXPECT_TRUE(unit.found);
  EXPECT_TRUE(unit.problems.empty());
  EXPECT_EQ(unit.environment.at("ARAGORA_ENV").value, "production");
  EXPECT_EQ(unit.environment.at("X").value, "two words");
  EXPECT_EQ(unit.environment.count("Y") + unit.environment.count("NOT"), 0U);
  EXPECT_EQ(unit.environment.at("ARAGORA_PORT").origin, file.string() + ":1");
  EXPECT_EQ(unit.user, "later");
  EXPECT_EQ(unit.state_directory, "/var/lib/one");
  EXPECT_EQ(unit.credentials.at("JWT_SECRET").content->reveal(), "s3cret\n");
  units.write("token/api", "t0ken");
  units.write("many.service",
              fmt::format("[Service]\nLoadCredential=old:/gone\nLoadCredential=\nLoadCredential = many : \\\n {}\n",
                          (file.parent_path() / "token").string()));
  EXPECT_EQ(readUnit("many").credentials.at("many_api").content->reveal(), "t0ken");
  EXPECT_TRUE(readUnit("many").problems.empty()) << "an empty assignment forgets those before";
  const auto loaded = loadFrom({}, unit.environment, "", "", &unit);
  EXPECT_TRUE(loaded.problems.empty());
  EXPECT_EQ(loaded.config.secret(key::kJwtSecret).reveal(), "s3cret");
  EXPECT_EQ(loaded.config.secret(key::kRedisUrl).reveal(), "redis://x");
}

TEST(Unit, TheNearestPlaceThatIsNamedDecidesWhereItMayWrite) {
  const UnitDirectory units;
  units.write("aragora.service",
              "[Service]\nStateDirectory=aragora\nProtectSystem=strict\n"
              "ReadOnlyPaths=-/var/lib/aragora/backups -/backups\nReadWritePaths=/srv/a\n");
  const auto places = readUnit("aragora").places;
  for (const auto* open : {"/var/lib/aragora", "/var/lib/aragora/x", "/var/lib/aragora/backups2", "/srv/a/b"})
    EXPECT_TRUE(places.mayWrite(open)) << open;
  for (const auto* shut : {"/var/lib/aragora/backups", "/var/lib/aragora/x/../backups/full", "/backups", "/srv", "/"})
    EXPECT_FALSE(places.mayWrite(shut)) << shut;
  units.write("aragora.service.d/own.conf", "[Service]\nReadOnlyPaths=\n");
  EXPECT_TRUE(readUnit("aragora").places.mayWrite("/var/lib/aragora/backups"));
  EXPECT_FALSE(readUnit("aragora").places.mayWrite("/backups")) << "strict";
  units.write("aragora.service.d/more.conf", "[Service]\nProtectSystem=full\n");
  EXPECT_TRUE(readUnit("aragora").places.mayWrite("/backups"));
  EXPECT_FALSE(readUnit("aragora").places.mayWrite("/etc/x"));
}

TEST(Unit, WhatItHandsOverOfADirectoryComesLastAndOnlySettingsCount) {
  const UnitDirectory units;
  const auto secret = units.write("secrets/JWT_SECRET", "handed over\n");
  units.write("secrets/JWT_SECRET.old", "nobody asks\n");
  units.write("aragora.service", fmt::format("[Service]\nLoadCredential=aragora:{}\nSetCredential=aragora:none\n",
                                             secret.parent_path().string()));
  units.write("bare.service", "[Service]\nLoadCredential=aragora:/no/such\nSetCredential=aragora:none\n");
  const auto unit = readUnit("aragora");
  EXPECT_EQ(unit.credentials.count("aragora_JWT_SECRET.old"), 0U);
  EXPECT_EQ(loadFrom({}, unit.environment, "", "", &unit).config.secret(key::kJwtSecret).reveal(), "handed over");
  EXPECT_TRUE(readUnit("bare").problems.empty());
  // As the service itself finds it; what aragora.toml names is read anew by a reload and so comes first.
  units.write("handed/aragora_JWT_SECRET", "handed over\n");
  const auto given = (secret.parent_path().parent_path() / "handed").string();
  EXPECT_EQ(loadFrom({}, {}, "", given).config.secret(key::kJwtSecret).reveal(), "handed over");
  const auto named = units.write("named", "named\n");
  const auto file = units.write("aragora.toml", fmt::format("[auth]\njwt_secret_file = \"{}\"\n", named.string()));
  const auto both = loadFrom({}, {}, file.string(), given);
  EXPECT_EQ(both.config.secret(key::kJwtSecret).reveal(), "named");
  EXPECT_TRUE(both.problems.empty());
}

TEST(Unit, WhatSystemdCannotStartIsSaid) {
  const UnitDirectory units;
  EXPECT_FALSE(readUnit("aragora").found);
  EXPECT_EQ(readUnit("nothing").problems.size(), 1U);
  units.write("gone.service", "[Service]\nEnvironmentFile=/no/such/file\nLoadCredential=JWT_SECRET:/no/such/secret\n");
  const auto gone = readUnit("gone.service");
  ASSERT_EQ(gone.problems.size(), 2U);
  EXPECT_NE(gone.problems[1].message.find("/no/such/secret"), std::string::npos);
  units.write("many@.service", "[Service]\nEnvironment=A=%i B=1\nEnvironment=\nEnvironment=A=%i\n");
  const auto many = readUnit("many@7");
  EXPECT_EQ(many.environment.at("A").value, "7");
  EXPECT_EQ(many.environment.count("B"), 0U);
}

// What Kubernetes mounts, what Compose bind-mounts, and what neither does.
TEST(SecretFile, LinksStayBelowTheirDirectoryAndModesBehindADoor) {
  const TemporaryDirectory place;
  ::chmod(place.path().c_str(), 0755);
  const auto mount = place.path() / "mount";
  fs::create_directories(mount / "..2026_11_27");
  writeFileAtomically(mount / "..2026_11_27/key", "s3cret\n", 0444);
  fs::create_directory_symlink("..2026_11_27", mount / "..data");
  fs::create_symlink("..data/key", mount / "key");
  writeFileAtomically(place.path() / "outside", "x\n", 0600);
  fs::create_symlink("../outside", mount / "out");
  fs::create_symlink("nowhere", mount / "nothing");
  ::chmod(mount.c_str(), 0700);
  const auto read = [&](const char* name) { return readSecretFile((mount / name).string(), false); };
  EXPECT_EQ(read("key").text, "s3cret");
  EXPECT_TRUE(read("key").troubles.empty()) << "nobody else enters the directory";
  ::chmod(mount.c_str(), 0755);
  ::setenv("container", "", 1);
  ASSERT_EQ(read("key").troubles.size(), 1U);
  EXPECT_FALSE(read("key").troubles[0].warning);
  ::setenv("container", "docker", 1);
  EXPECT_TRUE(read("key").troubles[0].warning);
  ::chmod((mount / "..2026_11_27/key").c_str(), 0466);
  EXPECT_FALSE(read("key").troubles[0].warning) << "others can change it";
  ::unsetenv("container");
  for (const auto* name : {"out", "nothing", ".."}) {
    EXPECT_FALSE(read(name).text) << name;
    EXPECT_EQ(read(name).troubles.size(), 1U) << name;
  }
}

TEST(SecretFile, WhatNobodySeesIsNamedAndOneNewlineIsNot) {
  EXPECT_EQ(withoutFinalNewline("a\r\n"), "a");
  EXPECT_EQ(withoutFinalNewline("a\n\n"), "a\n");
  EXPECT_EQ(withoutFinalNewline("a\r"), "a\r");
  const std::vector<std::pair<std::string, std::string>> table = {
      {"\xEF\xBB\xBFkey", "begins with a byte order mark (U+FEFF)"},
      {"key ", "ends with a blank (U+0020)"},
      {" key", "begins with a blank (U+0020)"},
      {"key\r", "ends with a carriage return (U+000D)"},
      {"key\n", "ends with a line end (U+000A)"},
      {"k\xE2\x80\x8By", "has a zero-width space (U+200B) after 1 bytes"},
      {"key\xC2\xA0", "ends with a no-break space (U+00A0)"},
      {std::string("k\0yyyy", 6), "has a control character (U+0000) after 1 bytes"},
      {"key\t\t", "ends with a tab (U+0009)"}};
  for (const auto& [text, said] : table) EXPECT_EQ(invisibleIn(text), said);
  for (const auto* fine : {"", "key", "two words", "h\xC3\xA4rt", "p@ss:w0rd/%20"})
    EXPECT_FALSE(invisibleIn(fine)) << fine;
}

TEST(Loader, AnEmptyEnvironmentIsNotDevelopment) {
  EXPECT_EQ(loadWith({}, "environment = \"\"\n").problems.size(), 1U);
  EXPECT_EQ(loadWith({{"ARAGORA_ENV", env("ARAGORA_ENV", "")}}).problems.size(), 1U);
  EXPECT_TRUE(loadWith({{"ARAGORA_ENV", env("ARAGORA_ENV", "")}}, "environment = \"test\"\n").problems.empty());
  EXPECT_TRUE(
      loadWith({{"ARAGORA_ENV", env("ARAGORA_ENV", "test")}, {"ARAGORA_ENVIRONMENT", env("x", "")}}).problems.empty());
}

TEST(Strength, RandomSecretsAreHardlyEverRefused) {
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    const auto bytes = crypto::randomBytes(32);
    refused += weaknessOf(toHex(bytes)) ? 1 : 0;
    refused += weaknessOf(toBase64(bytes)) ? 1 : 0;
  }
  EXPECT_LE(refused, 10);  // fewer than 1 in 1,000
}

TEST(Strength, PlaceholdersAndPatternsAreAlwaysRefused) {
  for (const auto* weak :
       {"your-32-char-secret", "your-32-byte-hex-key", "sk-ant-xxx", "change-me-change-me-change-me-change-me",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abcdefghijklmnopqrstuvwxyz0123456789",
        "0123456789012345678901234567890123456789", "abababababababababababababababababababab", "short",
        "$(openssl rand -hex 32)", "1111111111111111111111111111111122222222222222222222222222222222"}) {
    EXPECT_TRUE(weaknessOf(weak)) << weak;
  }
}

TEST(Documents, AreWhatTheCatalogueSays) {
  const std::string root = SOURCE_DIR;
  EXPECT_EQ(readFile(root + "/docs/aragora.toml.example"), renderExampleFile())
      << "run: aragora config example > docs/aragora.toml.example";
  EXPECT_EQ(readFile(root + "/man/aragora.toml.5"), renderManPage())
      << "run: aragora config manpage > man/aragora.toml.5";
  EXPECT_EQ(readFile(root + "/man/aragora-environment.7"), renderEnvironmentManPage())
      << "run: aragora config environment > man/aragora-environment.7";
}

TEST(Documents, TheExampleFileIsValidWithEveryLineUncommented) {
  std::string text;
  for (const auto& line : split(renderExampleFile(), '\n')) {
    const bool setting =
        startsWith(line, "# ") && line.find(" = ") != std::string::npos && line.find(' ', 2) == line.find(" = ");
    text += (setting ? line.substr(2) : line) + "\n";
  }
  const auto loaded = loadWith({}, text);
  for (const auto& problem : loaded.problems) ADD_FAILURE() << problem.variable << ": " << problem.message;
}

TEST(Config, CallsNoNameALoopbackButLocalhost) {
  for (const auto* here : {"localhost", "127.0.0.1", "::1", "[::1]"}) EXPECT_TRUE(loopbackHost(here)) << here;
  for (const auto* elsewhere : {"127.attacker.example", "a.localhost", "[::1", "[]", "[localhost", "0.0.0.0"})
    EXPECT_FALSE(loopbackHost(elsewhere)) << elsewhere;
}

}  // namespace
}  // namespace aragora::config
