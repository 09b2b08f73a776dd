#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/ids.h"
#include "common/base/interrupt.h"
#include "common/base/json_names.h"
#include "common/base/known_secrets.h"
#include "common/base/log.h"
#include "common/base/memory_file.h"
#include "common/base/redact.h"
#include "common/base/scratch.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"
#include "common/database/sqlite/sqlite_connection.h"
#include "common/net/limits.h"

namespace aragora {
namespace {

TEST(Text, HexAndBase64RoundTripEveryByte) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  EXPECT_EQ(fromHex(toHex(bytes)), bytes);
  for (std::size_t n = 0; n < 70; ++n) {
    EXPECT_EQ(fromBase64(toBase64(bytes.substr(0, n))), bytes.substr(0, n));
    EXPECT_EQ(fromBase64(toBase64(bytes.substr(0, n), false)), bytes.substr(0, n));
  }
}

TEST(Text, RefusesHexAndBase64ThatAreNot) {
  for (const auto* text : {"a", "0g", "+1", " 0"}) EXPECT_FALSE(fromHex(text)) << text;
  for (const auto* text : {"A", "A===", "AB=C", "Zh==", "Zm9=", "Zm9v!"}) EXPECT_FALSE(fromBase64(text)) << text;
}

TEST(Text, PrintableLeavesNothingATerminalWouldObey) {
  EXPECT_EQ(printable("a\x1b[31mb\r\nc\xc2\x9b\xff"
                      "d\xe2\x80\xa8"),
            "a\\x1b[31mb\\x0d\\x0ac\\xc2\\x9b\\xffd\\xe2\\x80\\xa8");
  EXPECT_EQ(printable("größer ✓"), "größer ✓");
}

TEST(Text, Utf8ValidationFollowsRfc3629) {
  for (const auto* good : {"", "abc", "ä", "€", "𝄞"}) EXPECT_TRUE(validUtf8(good)) << good;
  for (const auto* bad :
       {"\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\xc3", "\xf5\x80\x80\x80"})
    EXPECT_FALSE(validUtf8(bad)) << toHex(bad);
}

TEST(Text, NearestFindsTypingErrorsAndNothingElse) {
  const std::vector<std::string> names = {"server.port", "server.workers", "validate-env"};
  EXPECT_EQ(nearest("server.prot", names), "server.port");
  EXPECT_EQ(nearest("validat", names), "validate-env");
  EXPECT_FALSE(nearest("completely-different", names));
}

TEST(Clock, IsoRoundTripsAndTakesOffsets) {
  const Micros at = 1768298400123000;
  EXPECT_EQ(toIso(at), "2026-01-13T10:00:00.123Z");
  EXPECT_EQ(fromIso(toIso(at)), at);
  EXPECT_EQ(fromIso("2026-01-13T12:00:00+02:00"), fromIso("2026-01-13T10:00:00Z"));
  for (const auto* bad : {"", "yesterday", "2026-01-13", "2026-13-01", "2026-01-13T10:00:00X"})
    EXPECT_FALSE(fromIso(bad)) << bad;
}

TEST(Ids, UlidsSortByTimeAndDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(seen.insert(newUlid()).second);
  const auto first = newUlid();
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  EXPECT_LT(first, newUlid());
  EXPECT_EQ(first.size(), 26U);
}

TEST(Json, ANameThatIsThereTwiceIsFound) {
  for (const auto* twice : {R"({"a":1,"a":1})", R"({"a":1,"b":{},"\u0061":2})", R"([{"x":[{"a":{},"a":[]}]}])",
                            R"({"x":{"a":1},"a":{"b":1,"c":{"a":1,"a":2}}})"})
    EXPECT_EQ(repeatedName(twice), "a") << twice;
  for (const auto* once : {"{}", "[]", "1", R"({"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}],"A":"a"})", R"(["a","a"])"})
    EXPECT_FALSE(repeatedName(once)) << once;
}

TEST(Json, AnObjectWrittenAsTextParsesToTheSameValues) {
  std::string every;
  for (int c = 0; c < 0x80; ++c) every += static_cast<char>(c);
  every += "größer ✓ 🙂";
  std::string text;
  JsonObjectText object(text);
  object.text("every", every);
  object.textOrNull("none", "");
  object.integer("least", INT64_MIN);
  object.number("tenth", 0.1);
  object.number("tiny", 1e-300);
  object.flag("yes", true);
  object.raw("list", "[1,2]");
  object.finish();
  const auto parsed = parseJson(text, "text").as_object();
  EXPECT_EQ(parsed.at("every").as_string(), every);
  EXPECT_TRUE(parsed.at("none").is_null());
  EXPECT_EQ(parsed.at("least").as_int64(), INT64_MIN);
  EXPECT_EQ(parsed.at("tenth").as_double(), 0.1);
  EXPECT_EQ(parsed.at("tiny").as_double(), 1e-300);
  EXPECT_TRUE(parsed.at("yes").as_bool());
  EXPECT_EQ(parsed.at("list").as_array().size(), 2U);
}

TEST(Json, NumbersAreWrittenAsPeopleWriteThemAndReadBackTheSame) {
  const json::value value = json::array{0.8, 1.0, 1e300, -0.0, 5, INT64_MIN, UINT64_MAX, true, nullptr, json::object{}};
  const auto text = toJson(value);
  EXPECT_EQ(text, "[0.8,1.0,1e+300,-0.0,5,-9223372036854775808,18446744073709551615,true,null,{}]");
  EXPECT_EQ(parseJson(text, "text"), value);
}

TEST(Json, RefusesDeepAndTrailingInput) {
  EXPECT_THROW(parseJson(std::string(100, '[') + std::string(100, ']'), "x"), Error);
  EXPECT_THROW(parseJson("{} {}", "x"), Error);
  EXPECT_THROW(parseJson("{\"a\":", "x"), Error);
  EXPECT_THROW(parseJson("{\"a\": [0E3333]}", "x"), Error);
  EXPECT_THROW(parseJson("{\"a\": 1E999}", "x"), Error);
  EXPECT_EQ(parseJson(" {\"a\": 1} \n", "x").at("a").as_int64(), 1);
}

TEST(Redact, RemovesWhatHasTheShapeOfASecret) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"sk-ant-api03-hunter22222", "‹redacted›"},
      {"postgresql://u:hunter22222@h/db", "postgresql://u:‹redacted›@h/db"},
      {"postgresql://u:Zx81@hunter22222@h/db failed", "postgresql://u:‹redacted›@h/db failed"},
      {"'redis://:hunter22222@h:1/0'", "'redis://:‹redacted›@h:1/0'"},
      {"Authorization: Bearer hunter22222", "Authorization: Bearer ‹redacted›"},
      {"host=h password=hunter22222 user=u", "host=h password=‹redacted› user=u"},
      {"host=h password='hunter22222 with \\' more' user=u", "host=h password='‹redacted›' user=u"},
      {"?user=u&password=hunter22222&sslmode=off", "?user=u&password=‹redacted›&sslmode=off"},
      {"api_key: hunter22222", "api_key: ‹redacted›"},
      {R"({"token": "hunter", "id": 1})", R"({"token": "‹redacted›", "id": 1})"},
      {"eyJhbGciOiJIUzI1NiJ9.hunter22222.c2ln", "‹redacted›"},
      {"recipient AGE-SECRET-KEY-1HUNTER22222QQQ is not one", "recipient ‹redacted› is not one"},
      {"-----BEGIN EC PRIVATE KEY-----\nhunter22222\n-----END EC PRIVATE KEY-----\nrest", "‹redacted›\nrest"},
      {"-----BEGIN PRIVATE KEY-----\nhunter22222", "‹redacted›"}};
  for (const auto& [text, shown] : table) EXPECT_EQ(redact(text), shown);
}

// What people and models say keeps its words, and a JSON text stays one.
TEST(Redact, OfCredentialsInATextTakesNothingElse) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {R"({"position":"use sk-ant-api03-hunter22222","claims":[]})", R"({"position":"use ‹redacted›","claims":[]})"},
      {R"({"position":"send Bearer hunter22222XYZ","claims":[]})",
       R"({"position":"send Bearer ‹redacted›","claims":[]})"},
      {R"({"id":"AKIAIOSFODNN7EXAMPLE","key":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"})",
       R"({"id":"‹redacted›","key":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"})"},
      {"-----BEGIN EC PRIVATE KEY-----\\nhunter22222\\n-----END EC PRIVATE KEY-----\"}", "‹redacted›\"}"},
      {"a file that says -----BEGIN PRIVATE KEY----- holds one\"}",
       "a file that says -----BEGIN PRIVATE KEY----- holds one\"}"},
      {"token = next(); password: the user's; a bearer of news; Basic research",
       "token = next(); password: the user's; a bearer of news; Basic research"}};
  for (const auto& [text, shown] : table) EXPECT_EQ(redactCredentials(text), shown);
  // Who guesses a secret of this service is not told that it is one.
  neverShow("Mai-2019-guessed", Looks::Any);
  EXPECT_EQ(redactCredentials("is it Mai-2019-guessed?"), "is it Mai-2019-guessed?");
  EXPECT_EQ(redact("is it Mai-2019-guessed?"), "is it ‹redacted›?");
}

TEST(Redact, ANameTakesNothingFromTheNextLine) {
  const std::string key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----";
  const std::vector<std::pair<std::string, std::string>> table = {
      {"CLIENT_SECRET=\nTLS_KEY=" + key + "\nrest", "CLIENT_SECRET=\nTLS_KEY=‹redacted›\nrest"},
      {"TLS_SECRET=" + key + "\nrest", "TLS_SECRET=‹redacted›\nrest"},
      {"token = \"" + key + "\", x", "token = \"‹redacted›\", x"},
      {"token=abc" + key + " x", "token=abc‹redacted› x"},
      {"API_TOKEN=\nPORT=8080", "API_TOKEN=\nPORT=8080"},
      {"password\n= 1", "password\n= 1"},
      {"password:\r\n  an innocent line", "password:\r\n  an innocent line"},
      {"token: 'hunter22222\nnext", "token: '‹redacted›\nnext"}};
  for (const auto& [text, shown] : table)
    EXPECT_EQ(redact(text), replaceAll(shown, "abc‹redacted›", "‹redacted›‹redacted›"));
}

TEST(Redact, RemovesSecretsThatNobodyConfigured) {
  const std::string aws = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzKEY";
  const std::vector<std::pair<std::string, std::string>> table = {
      {R"(body {\"password\":\"hunter\",\"id\":1})", R"(body {\"password\":\"‹redacted›\",\"id\":1})"},
      {R"({\\\"token\\\": \\\"a\\\\\\\"b\\\"} x)", R"({\\\"token\\\": \\\"‹redacted›\\\"} x)"},
      {"DB_PWD=hunter x", "DB_PWD=‹redacted› x"},
      {"dbpass=hunter x", "dbpass=‹redacted› x"},
      {"smtp_pass = 'hunter'", "smtp_pass = '‹redacted›'"},
      {"passphrase=hunter", "passphrase=‹redacted›"},
      {R"("private_key": "hunter")", R"("private_key": "‹redacted›")"},
      {R"("SecretAccessKey": "hunter")", R"("SecretAccessKey": "‹redacted›")"},
      {"x-api-key: hunter", "x-api-key: ‹redacted›"},
      {"Cookie: a=hunter; b=two\nnext", "Cookie: ‹redacted›\nnext"},
      {"set-cookie: sid=hunter; Path=/\r\nnext", "set-cookie: ‹redacted›\r\nnext"},
      {"session=hunter22222", "session=‹redacted›"},
      {"db.example.org:5432:aragora:aragora:hunter\nnext", "db.example.org:5432:aragora:aragora:‹redacted›\nnext"},
      {"*:*:*:postgres:hun\\:ter", "*:*:*:postgres:‹redacted›"},
      {"AKIAIOSFODNN7EXAMPLE," + aws + " x", "‹redacted› x"},
      {"id AKIAIOSFODNN7EXAMPLE with " + aws, "id ‹redacted›"},
      {"gho_16C7e42F292c6912E7710c838347Ae178B4a x", "‹redacted› x"},
      {"glpat-hunter22222hunter x", "‹redacted› x"},
      {"hvs.CAESIJhunter22222hunter x", "‹redacted› x"},
      {"AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe x", "‹redacted› x"},
      {"whsec_hunter22222 x", "‹redacted› x"},
      {"xoxp-hunter22222-1 x", "‹redacted› x"},
      {"clone https://hunter22222@example.org/x", "clone https://‹redacted›@example.org/x"},
      {"GET /x?key=hunter&a=b", "GET /x?key=‹redacted›&a=b"},
      {"GET /x?a=b&sig=hunter%2B x", "GET /x?a=b&sig=‹redacted› x"},
      {"GET /x?token=hunter x", "GET /x?token=‹redacted› x"},
      {"Authorization: Basic dXNlcjpodW50ZXI= x", "Authorization: Basic ‹redacted› x"},
      {"tls.key: " + toBase64("-----BEGIN PRIVATE KEY-----\nhunter22222") + " x", "tls.key: ‹redacted› x"},
      {"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBGhunter\n-----END PGP PRIVATE KEY BLOCK-----\nx",
       "‹redacted›\nx"}};
  for (const auto& [text, shown] : table) EXPECT_EQ(redact(text), shown);
}

TEST(Redact, AKeyThatWasCutIsOneStill) {
  std::string body;
  for (int line = 0; line < 12; ++line)
    body += fmt::format("MIIEvQ{:02}ADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n", line);
  const std::string begin = "-----BEGIN RSA PRIVATE KEY-----\n";
  const std::string end = "-----END RSA PRIVATE KEY-----\n";
  for (const auto& text : {begin + body + "an innocent line\n", "first\n" + begin + body.substr(0, 400),
                           body.substr(30) + "kQ==\n" + end + "an innocent line\n", body + "an innocent line\n",
                           body.substr(30) + "an innocent line\n", "an innocent line\n" + body,
                           "an innocent line\n" + body.substr(0, 401)}) {
    const auto shown = redact(text);
    EXPECT_EQ(shown.find("MIIEvQ"), std::string::npos) << shown;
    EXPECT_EQ(shown.find("Us8cKj"), std::string::npos) << shown;
    EXPECT_EQ(shown.find("kQ=="), std::string::npos) << shown;
    EXPECT_EQ(shown.find("an innocent line") == std::string::npos, text.find("an innocent line") == std::string::npos);
  }
  std::string log;
  for (const auto& line : split(begin + body + end, '\n'))
    log += "2026-11-28T02:30:01+0000 host aragora[7]: " + line + "\n";
  for (const auto& text : {log, log.substr(200), log.substr(0, 700)}) {
    EXPECT_EQ(redact(text).find("Us8cKj"), std::string::npos) << redact(text);
  }
  const std::string certificate = "-----BEGIN CERTIFICATE-----\n" + body + "-----END CERTIFICATE-----\n";
  EXPECT_EQ(redact(certificate), certificate);
  EXPECT_EQ(redact("TOKEN_CERT=" + certificate), "TOKEN_CERT=" + certificate);
}

TEST(Redact, WhatIsConfiguredIsRemovedInEachForm) {
  const std::string value = "Kq7/\"quoted\"&more+of it";
  neverShow(value, Looks::Any);
  const auto once = toJson(json::string(value));
  for (const auto& form :
       {value, once, toJson(json::string(once)), replaceAll(once, "/", "\\/"), toHex(value), toBase64(value),
        toBase64("u:" + value), toBase64("me:" + value + "!"), toBase64Url("you:" + value)}) {
    const auto shown = redact("before " + form + " after");
    EXPECT_NE(shown.find("‹redacted›"), std::string::npos) << form;
    EXPECT_EQ(shown.find("quoted"), std::string::npos) << shown;
    EXPECT_LE(shown.size(), form.size() / 2 + 40) << shown;
  }
  neverShow("zmyk", Looks::Any);
  neverShow("lowercaseonly", Looks::Any);
  neverShow("postgresql://u:qvnt@h/db", Looks::Any);
  neverShow("host=h password='wzy q\\'x' user=zzdb", Looks::Any);
  neverShow("zmy", Looks::Any);  // too short
  EXPECT_EQ(redact("zmyk, zmyks, azmyk, zmy, %3Dzmyk (zmyk)"),
            "‹redacted›, zmyks, azmyk, zmy, %3D‹redacted› (‹redacted›)");
  EXPECT_EQ(redact("xlowercaseonlyy; qvnt of zzdb on h; wzy q'x"), "x‹redacted›y; ‹redacted› of zzdb on h; ‹redacted›");
  for (int i = 0; i < 2000; ++i) neverShow(fmt::format("number-{}-of-them", i));
  EXPECT_EQ(redact("number-1999-of-them"), "‹redacted›") << "none is forgotten, however many there are";
  const auto started = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i)
    redact("an ordinary line of a log, such as there are many, with number-x in it, of debate 01ABC");
  EXPECT_LT(secondsSince(started), 2);
}

TEST(Redact, WordsAreNotSecrets) {
  for (const auto* words : {"debate 01ABC ended",
                            "cannot open /etc/aragora/JWT_SECRET: Permission denied",
                            "OPENROUTER_API_KEY: not set; there is no fallback",
                            "postgresql://user:password@host/name",
                            "Bearer token for programs",
                            "ARAGORA_API_TOKEN: the value ends with a blank (U+0020)",
                            "the secret: keep it",
                            "see https://example.org:8443/a?b=c@d",
                            "token: /run/secrets/token2",
                            "PWD=/var/lib/aragora",
                            "pass=12 fail=0",
                            "bypass=hunter22",
                            "session: opened for root",
                            "https://someone@example.org/",
                            "link/ether 00:11:22:aa:bb:cc",
                            "at 2026-11-28T02:30:01+00:00 it ended",
                            "a.cpp:12:5: error: x",
                            "Basic authentication",
                            "3f786850e387550fdab836ed7e6dc881de23001b",
                            "a cookie: it is set"})
    EXPECT_EQ(redact(words), words);
}

TEST(Redact, WhatWasLoadedIsRemovedWhereverItStands) {
  neverShow("Tr0ub4dor&3-of-the-test");
  neverShow("postgresql://u:p%40ss-W0rd-of-the-test@h/db");
  neverShow("permission");  // a word
  neverShow("s3cret");      // too short
  EXPECT_EQ(redact("xTr0ub4dor&3-of-the-testy"), "x‹redacted›y");
  EXPECT_EQ(redact("FATAL: p%40ss-W0rd-of-the-test is wrong"), "FATAL: ‹redacted› is wrong");
  EXPECT_EQ(redact("no permission for s3cret"), "no permission for s3cret");
  const std::string large(200'000, 'a');
  EXPECT_EQ(redact(large).size(), large.size());
}

// The literals of a source text, those that stand beside each other as one; what is formatted in as a word.
std::vector<std::string> literalsOf(const std::string& source) {
  std::vector<std::string> found;
  std::size_t end_of_last = std::string::npos;
  for (std::size_t at = 0; at < source.size(); ++at) {
    if (source.compare(at, 2, "//") == 0) at = std::min(source.find('\n', at), source.size());
    const bool separates_digits = at > 0 && std::isalnum(static_cast<unsigned char>(source[at - 1])) != 0;
    if (at + 2 < source.size() && source[at] == '\'' && !separates_digits)
      at = source.find('\'', at + (source[at + 1] == '\\' ? 3 : 2));
    if (at >= source.size()) break;
    if (source[at] != '"') continue;
    std::string text;
    for (++at; at < source.size() && source[at] != '"'; ++at) {
      if (source[at] == '\\') {
        ++at;
        text += source[at] == 'n' || source[at] == 't' ? ' ' : source[at];
      } else {
        text += source[at];
      }
    }
    const auto between = end_of_last == std::string::npos ? "x" : source.substr(end_of_last, at - end_of_last);
    const bool beside = trim(between.substr(0, between.find('"'))).empty();
    beside ? found.back() += text : found.emplace_back(text);
    end_of_last = at + 1;
  }
  for (auto& text : found) {
    for (std::size_t open = 0; (open = text.find('{', open)) != std::string::npos; ++open)
      if (const auto close = text.find('}', open); close != std::string::npos && close - open < 6)
        text.replace(open, close - open + 1, "word");
  }
  return found;
}

// Of all sources: what is left out here is no message.
TEST(Redact, NoMessageOfOursIsTakenForASecret) {
  std::size_t seen = 0;
  std::size_t of_settings = 0;
  for (const auto* folder : {"common", "cli", "daemon"}) {
    for (const auto& file : fs::recursive_directory_iterator(fs::path(SOURCE_DIR) / folder)) {
      if (file.path().extension() != ".cpp" || file.path().filename() == "redact.cpp") continue;
      for (const auto& text : literalsOf(readFile(file.path()))) {
        if (text.find(' ') == std::string::npos || startsWith(text, "*:*:*:*:")) continue;  // .pgpass itself
        ++seen;
        EXPECT_EQ(redact(text), text) << file.path();
        // What is said of a setting: prose, which begins with a word.
        const auto word = text.substr(0, text.find(' '));
        if (word.empty() || !std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; }))
          continue;
        ++of_settings;
        for (const auto* name :
             {"OPENROUTER_API_KEY: ", "ARAGORA_ENCRYPTION_KEY: ", "ARAGORA_API_TOKEN: ", "JWT_SECRET: "})
          EXPECT_EQ(redact(name + text), name + text) << file.path();
      }
    }
  }
  EXPECT_GT(seen, 1000U) << "the sources were not read";
  EXPECT_GT(of_settings, 500U) << "of " << seen;
}

TEST(Redact, TakesTimeInProportionWhateverItIsGiven) {
  for (const auto* piece : {"a",
                            "token=",
                            "token:/",
                            "token: ",
                            "://",
                            "://a:",
                            "bearer ",
                            "bearer /",
                            "-----BEGIN ",
                            "-----BEGIN PRIVATE KEY-----",
                            "password='",
                            "password='\\",
                            "secret\t",
                            "sk-",
                            "eyJ",
                            "api_key=\"",
                            "=",
                            "\xc3",
                            "\\",
                            "\\\"",
                            "token\\\":\\\"",
                            "?key=",
                            "a:",
                            "aaaa:1234:",
                            "AKIA",
                            "AKIA1234567890123456 ",
                            "-----END ",
                            "-----END PRIVATE KEY-----\n",
                            "-----BEGIN PRIVATE KEY-----\n",
                            "LS0tLS1CRUdJTi",
                            "MIIEvQ7ADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTU\n",
                            "\n",
                            "cookie: ",
                            "https://",
                            "-----",
                            "basic "}) {
    std::string text = "token=";
    while (text.size() < 60'000) text += piece;
    for (const auto& given : {text, text.substr(6), text + std::string(60'000, 'x'), text + "'"}) {
      const auto started = std::chrono::steady_clock::now();
      redact(given);
      EXPECT_LT(secondsSince(started), 20) << piece;  // hours, were it the square; some seconds under a sanitizer
    }
  }
}

TEST(File, AtomicWriteReplacesWholeAndKeepsMode) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "file";
  writeFileAtomically(path, "one", 0600);
  writeFileAtomically(path, "two", 0600);
  EXPECT_EQ(readFile(path), "two");
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_THROW(createFileExclusively(path, "three", 0600), Error);
  EXPECT_EQ(readFile(path), "two");
}

TEST(File, WhatIsNoFileHoldsNobody) {
  const TemporaryDirectory directory;
  const auto pipe = directory.path() / "pipe";
  const auto link = directory.path() / "link";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  fs::create_symlink(pipe, link);
  for (const auto& path : {pipe, link, directory.path(), fs::path("/dev/fd/-1")}) {
    const auto began = std::chrono::steady_clock::now();
    try {
      readFile(path);
      ADD_FAILURE() << path << " was read";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    }
    EXPECT_LT(secondsSince(began), 1) << path;
  }
  EXPECT_EQ(readFile("/dev/null"), "");
  EXPECT_FALSE(readFile("/proc/self/status").empty());
}

TEST(File, APipeOfAShellIsReadToItsEndAndOnce) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const auto path = fmt::format("/dev/fd/{}", ends[0]);
  const std::string first(40'000, 'a');
  std::jthread writer([&] {
    writeAll(ends[1], first, "pipe");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    writeAll(ends[1], "b", "pipe");
    ::close(ends[1]);
  });
  EXPECT_EQ(readFile(path), first + "b");
  writer.join();
  try {
    readFile(path);
    ADD_FAILURE() << "what is empty was read";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("is a pipe that holds nothing"), std::string::npos) << error.what();
  }
  ::close(ends[0]);
}

TEST(File, ALockIsHeldOnceAndFreedWithItsOwner) {
  const TemporaryDirectory directory;
  auto lock = FileLock::tryAcquire(directory.path() / "lock");
  ASSERT_TRUE(lock);
  EXPECT_FALSE(FileLock::tryAcquire(directory.path() / "lock"));
  lock.reset();
  EXPECT_TRUE(FileLock::tryAcquire(directory.path() / "lock"));
}

TEST(Scratch, WhatAKilledRunLeftIsSweptAndTheLivingAreLeftAlone) {
  const TemporaryDirectory place;
  const TemporaryDirectory living(place.path());
  const auto dead = place.path() / "aragora-scratch-abcdef";
  const auto foreign = place.path() / "aragora-scratch-abcdef-mine";
  fs::create_directories(dead / "cluster");
  writeFileAtomically(dead / "cluster" / "file", "plain", 0600);
  fs::create_directory(foreign);
  fs::create_directory_symlink(foreign, place.path() / "aragora-scratch-linked");
  sweepScratch(place.path());
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(living.path()));
  EXPECT_TRUE(fs::exists(foreign));
  EXPECT_TRUE(fs::is_symlink(place.path() / "aragora-scratch-linked"));
  EXPECT_EQ(fs::status(living.path()).permissions(), fs::perms::owner_all);
}

TEST(Scratch, AMarkIsAbandonedOnlyWhenItsRunIsDead) {
  const auto name = fmt::format("aragora_drill_{}", ::getpid());
  const auto listed = [&] {
    const auto names = ScratchMark::abandoned();
    return std::count(names.begin(), names.end(), name);
  };
  {
    const ScratchMark mark(name);
    EXPECT_EQ(listed(), 0);
  }
  EXPECT_EQ(listed(), 0);
  if (const pid_t child = ::fork(); child == 0) {
    const ScratchMark mark(name);
    ::_exit(0);  // without its destructor
  } else {
    ::waitpid(child, nullptr, 0);
  }
  EXPECT_EQ(listed(), 1);
  ScratchMark::forget(name);
  EXPECT_EQ(listed(), 0);
}

TEST(MemoryFile, ReachesTheProgramItIsForAndNoOther) {
  const auto fd = sealedInMemory("key", Secret("only in memory"));
  EXPECT_EQ(descriptorOf(pathOf(fd)), fd.get());
  EXPECT_FALSE(descriptorOf("/proc/self/fd/../maps"));
  EXPECT_EQ(::write(fd.get(), "x", 1), -1);
  Command reader{{"cat", pathOf(fd)}, {}, false};
  EXPECT_NE(runCommand(reader, std::chrono::seconds(5)).status, 0);
  reader.descriptors = {fd.get()};
  EXPECT_EQ(runCommand(reader, std::chrono::seconds(5)).output, "only in memory");
  EXPECT_EQ(runCommand(reader, std::chrono::seconds(5)).output, "only in memory") << "it can be read again";
}

TEST(Subprocess, DoesNotOutliveTheThreadThatStartedIt) {
  Subprocess* child = nullptr;
  std::unique_ptr<Subprocess> kept;
  std::thread([&] {
    kept = std::make_unique<Subprocess>(Command{{"sleep", "60"}, {}, false});
    child = kept.get();
  }).join();
  EXPECT_EQ(child->wait(deadlineIn(std::chrono::seconds(5))), 128 + SIGTERM);
}

TEST(Subprocess, GivesOutputStatusAndErrors) {
  const auto result =
      runCommand({{"sh", "-c", "printf out; printf err >&2; exit 3"}, {}, false}, std::chrono::seconds(10));
  EXPECT_EQ(result.output, "out");
  EXPECT_EQ(result.error_output, "err");
  EXPECT_EQ(result.status, 3);
}

TEST(Subprocess, DoesNotTakeAnUnknownEndForAGoodOne) {
  const auto before = std::signal(SIGCHLD, SIG_IGN);
  EXPECT_THROW(runCommand({{"sh", "-c", "exit 3"}, {}, false}, std::chrono::seconds(10)), Error);
  std::signal(SIGCHLD, before);
}

TEST(Subprocess, WhatWasCutShortHasNoStatus) {
  const pid_t other = ::fork();
  if (other == 0) ::_exit(0);  // a good end that is not the program's
  const auto soon = [] { return deadlineIn(std::chrono::milliseconds(100)); };
  Subprocess silent(Command{{"sleep", "30"}, {}, true});
  std::vector<char> buffer(10);
  EXPECT_THROW(silent.read(buffer, soon()), Error);
  EXPECT_THROW(silent.wait(soon()), Error);
  Subprocess full(Command{{"sleep", "30"}, {}, true});
  EXPECT_THROW(full.write(std::string(1U << 22U, 'x'), soon()), Error);
  EXPECT_THROW(full.wait(soon()), Error);
  EXPECT_THROW(full.wait(soon()), Error);
  EXPECT_EQ(::waitpid(other, nullptr, 0), other) << "it was taken by somebody else";
}

TEST(Subprocess, AGrandchildThatKeepsStandardErrorOpenIsNotWaitedFor) {
  const auto started = std::chrono::steady_clock::now();
  const auto result =
      runCommand({{"sh", "-c", "printf before >&2; sleep 20 >/dev/null & printf out; printf ' after' >&2"}, {}, false},
                 std::chrono::seconds(10));
  EXPECT_EQ(result.output, "out");
  EXPECT_EQ(result.error_output, "before after");
  EXPECT_LT(secondsSince(started), 5);
}

TEST(Subprocess, GetsNoSecretAndNoDescriptorOfOurs) {
  ::setenv("ARAGORA_ENCRYPTION_KEY", "not-for-children", 1);
  ::setenv("SOME_TOOL_TOKEN", "for-this-one", 1);
  const Fd open(::open("/dev/null", O_RDONLY));  // as a library might, without O_CLOEXEC
  Command command{{"sh", "-c", "env; ls /proc/self/fd"}, {{"GIVEN", "yes"}}, false};
  command.passes = {"SOME_TOOL_*"};
  const auto output = runCommand(command, std::chrono::seconds(10)).output;
  EXPECT_EQ(output.find("not-for-children"), std::string::npos) << output;
  for (const auto* needed : {"SOME_TOOL_TOKEN=for-this-one\n", "GIVEN=yes\n", "PATH=", "\n0\n1\n2\n3\n"})
    EXPECT_NE(output.find(needed), std::string::npos) << needed << output;
  EXPECT_TRUE(endsWith(output, "\n2\n3\n")) << output;  // 3 is the directory that ls reads
  ::unsetenv("ARAGORA_ENCRYPTION_KEY");
  ::unsetenv("SOME_TOOL_TOKEN");
}

TEST(Subprocess, KillsWhatHasLeftItsProcessGroup) {
  // Two levels, each in a session of its own, the inner one deaf to whatever can be ignored.
  Subprocess child(
      Command{{"sh", "-c", "setsid sh -c 'trap \"\" TERM INT HUP; echo $$; setsid sleep 60; :' & wait"}, {}, false});
  std::string said(16, 0);
  said.resize(child.read(said, deadlineIn(std::chrono::seconds(5))));
  const auto inner = static_cast<pid_t>(std::stoi(said));
  ASSERT_EQ(::getsid(inner), inner);
  EXPECT_THROW(child.wait(deadlineIn(std::chrono::milliseconds(50))), Error);
  const auto ended = [&] {
    const auto state = readFileIfExists("/proc/" + std::to_string(inner) + "/stat").value_or(") Z");
    return state.find(") Z") != std::string::npos;
  };
  EXPECT_TRUE(ended());
}

TEST(Subprocess, KillsWhatRunsPastItsDeadline) {
  const auto started = std::chrono::steady_clock::now();
  EXPECT_THROW(runCommand({{"sleep", "30"}, {}, false}, std::chrono::milliseconds(200)), Error);
  EXPECT_LT(secondsSince(started), 5);
  EXPECT_THROW(runCommand({{"no-such-program-anywhere"}, {}, false}, std::chrono::seconds(1)), Error);
}

TEST(ErrorTable, EveryCodeHasItsRowOnce) {
  std::set<std::string_view> names;
  for (const auto& row : codeTable()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(info(row.code).name, row.name);
  }
}

// Every wait that minds a signal; each would take a minute.
TEST(Switch, EndsEveryWaitOfTheThreadThatMindsIt) {
  const TemporaryDirectory directory;
  const auto held = FileLock::tryAcquire(directory.path() / "lock");
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const std::map<std::string, std::function<void()>> waits = {
      {"a descriptor", [&] { interrupt::waitFor(ends[0], POLLIN, deadlineIn(std::chrono::minutes(1))); }},
      {"a program",
       [] {
         runCommand({.argv = {"sleep", "60"}}, std::chrono::minutes(1));
       }},
      {"a lock", [&] { FileLock::acquire(directory.path() / "lock", "held", std::chrono::seconds(60)); }},
      {"a pipe that nobody writes to", [&] { readFile(fmt::format("/dev/fd/{}", ends[0])); }},
      {"a pause of the network", [] { net::pause(std::chrono::minutes(1), {}); }},
      {"a long statement",
       [] {
         database::sqlite::SqliteConnection(":memory:", database::OpenMode::Create)
             .query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n", {});
       }},
  };
  for (const auto& [what, wait] : waits) {
    SCOPED_TRACE(what);
    const interrupt::Switch stop;
    std::optional<Code> ended;
    std::chrono::steady_clock::time_point turned;
    {
      std::jthread waiting([&, &body = wait] {
        const interrupt::Minding minding(stop);
        try {
          body();
        } catch (const Error& error) {
          ended = error.code();
        }
      });
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      turned = std::chrono::steady_clock::now();
      stop.turn();
    }
    EXPECT_EQ(ended, Code::Interrupted);
    EXPECT_LT(secondsSince(turned), 0.5);
  }
  EXPECT_NO_THROW(interrupt::check()) << "a switch of another thread's";
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Switch, DoesNotKeepWhoTidiesUp) {
  const interrupt::Switch stop;
  stop.turn();
  const interrupt::Minding minding(stop);
  EXPECT_THROW(interrupt::check(), Error);
  const interrupt::Shield shield;
  EXPECT_EQ(runCommand({.argv = {"true"}}, std::chrono::seconds(10)).status, 0);
  const interrupt::Minding nobody(std::nullopt);
  EXPECT_FALSE(interrupt::due());
}

}  // namespace
}  // namespace aragora
