#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/net/address.h"

namespace aragora::net {
namespace {

using Lines = std::vector<std::string_view>;

std::vector<Block> blocks(const std::vector<std::string>& texts) {
  std::vector<Block> result;
  for (const auto& text : texts) result.push_back(Block::parse(text).value());
  return result;
}

TEST(Block, IsAnAddressAndAsManyBitsAsItHas) {
  for (const auto* text : {"10.0.0.0/8", "0.0.0.0/0", "192.168.1.1", "192.168.1.1/32", "::1", "::/0", "2001:db8::/32",
                           "::1/128", "::ffff:10.0.0.0/104"})
    EXPECT_TRUE(Block::parse(text)) << text;
}

TEST(Block, RefusesWhatIsNone) {
  for (const auto* text : {"",
                           "*",
                           "nginx",
                           "localhost",
                           "10.0.0.0/33",
                           "10.0.0.0/",
                           "/8",
                           "10.0.0.0/-1",
                           "10.0.0.0/+8",
                           "10.0.0.0/08",
                           "10.0.0.0/8/8",
                           "10.0.0/8",
                           "10",
                           "010.0.0.1",
                           "256.0.0.1",
                           "::1/129",
                           "[::1]",
                           "10.0.0.1:80",
                           " 10.0.0.1",
                           "10.0.0.1 ",
                           "::ffff:10.0.0.0/8",
                           "10.0.0.0/8,10.0.0.1",
                           "1.2.3.4.5",
                           ":::",
                           "2001:db8::/ 32",
                           "::1%lo"})
    EXPECT_FALSE(Block::parse(text)) << text;
  EXPECT_FALSE(Block::parse(std::string_view("10.0.0.1\0x", 10)));
}

TEST(Block, ContainsWhatSharesItsBits) {
  const auto block = Block::parse("10.16.0.0/12").value();
  EXPECT_TRUE(block.contains("10.16.0.0"));
  EXPECT_TRUE(block.contains("10.31.255.255"));
  EXPECT_TRUE(block.contains("::ffff:10.20.0.1"));
  EXPECT_FALSE(block.contains("10.32.0.0"));
  EXPECT_FALSE(block.contains("10.15.255.255"));
  EXPECT_FALSE(block.contains("::1"));
  EXPECT_FALSE(block.contains("nonsense"));
  EXPECT_FALSE(block.contains(""));
  EXPECT_TRUE(Block::parse("2001:db8::/33")->contains("2001:db8:7fff::1"));
  EXPECT_FALSE(Block::parse("2001:db8::/33")->contains("2001:db8:8000::1"));
  EXPECT_TRUE(Block::parse("::ffff:10.0.0.0/104")->contains("10.1.2.3"));
  EXPECT_TRUE(Block::parse("0.0.0.0/0")->contains("203.0.113.9"));
  EXPECT_FALSE(Block::parse("0.0.0.0/0")->contains("2001:db8::1"));
}

TEST(ThisMachine, IsLocalhostAndTheLoopbackAsTheyAreWritten) {
  for (const auto* here : {"localhost", "127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "0:0::1"})
    EXPECT_TRUE(isThisMachine(here)) << here;
  for (const auto* elsewhere : {"", "127.attacker.example", "127.0.0.1.attacker.example", "evil.localhost",
                                "localhost.", "localhost.example", "127.1", "127.", "127.0.0.256", "128.0.0.1",
                                "0.0.0.0", "::", "::2", "::ffff:128.0.0.1", "7f00::", "2130706433"})
    EXPECT_FALSE(isThisMachine(elsewhere)) << elsewhere;
}

TEST(Address, HasOneText) {
  const std::pair<const char*, const char*> cases[] = {{"10.0.0.1", "10.0.0.1"},
                                                       {"10.0.0.1:80", "10.0.0.1"},
                                                       {"[::1]", "::1"},
                                                       {"[::1]:65535", "::1"},
                                                       {"2001:DB8:0:0::1", "2001:db8::1"},
                                                       {"::ffff:10.0.0.1", "10.0.0.1"},
                                                       {"[::ffff:a00:1]:80", "10.0.0.1"},
                                                       {"fe80::1%eth0", "fe80::1"},
                                                       {"10.0.0.1:_hidden", "10.0.0.1"}};
  for (const auto& [text, expected] : cases) EXPECT_EQ(normalised(text), expected) << text;
  for (const auto* text : {"", "unknown", "_hidden", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:x", "[10.0.0.1]", "[::1",
                           "[::1]80", "[::1]:", "[::1]x", "::1]", "host:80", "10.0.0.1:80:80", "10.0.0.1%eth0", "::1%"})
    EXPECT_FALSE(normalised(text)) << text;
}

TEST(Client, OfAPeerThatIsNotTrustedIsThePeer) {
  const auto trusted = blocks({"10.0.0.0/8"});
  const auto client = clientOf("203.0.113.5", {"1.2.3.4"}, {"for=1.2.3.4;proto=https"}, "https", trusted);
  EXPECT_EQ(client.address, "203.0.113.5");
  EXPECT_FALSE(client.secure);
  EXPECT_EQ(clientOf("::ffff:203.0.113.5", {}, {}, "", trusted).address, "203.0.113.5");
  // Nobody reads a stranger's header, so that nothing in it can be refused.
  EXPECT_EQ(clientOf("203.0.113.5", {std::string(5000, 'x')}, {"\"", "="}, "", trusted).address, "203.0.113.5");
}

TEST(Client, IsTheFirstFromTheRightThatIsNoProxyOfOurs) {
  const auto trusted = blocks({"127.0.0.1", "10.0.0.0/8"});
  const auto of = [&](const Lines& lines) { return clientOf("127.0.0.1", lines, {}, "", trusted).address; };
  EXPECT_EQ(of({"203.0.113.5"}), "203.0.113.5");
  EXPECT_EQ(of({"198.51.100.1, 203.0.113.5, 10.1.1.1"}), "203.0.113.5");
  // A proxy that adds a line of its own leaves the client's above it.
  EXPECT_EQ(of({"198.51.100.1", "203.0.113.5"}), "203.0.113.5");
  EXPECT_EQ(of({"198.51.100.1", "203.0.113.5", "10.1.1.1,10.1.1.2"}), "203.0.113.5");
  EXPECT_EQ(of({"203.0.113.5:1234"}), "203.0.113.5");
  EXPECT_EQ(of({"[2001:db8::7]:1234"}), "2001:db8::7");
  EXPECT_EQ(of({"2001:db8::7"}), "2001:db8::7");
  EXPECT_EQ(of({"203.0.113.5, ::ffff:10.1.1.1"}), "203.0.113.5");
  EXPECT_EQ(of({"10.2.2.2, 10.1.1.1"}), "10.2.2.2");
  EXPECT_EQ(of({"", " , "}), "127.0.0.1");
  // What a client wrote left of its own address is never looked at.
  EXPECT_EQ(of({"unknown, 203.0.113.5"}), "203.0.113.5");
}

TEST(Client, OfForwardedIsFoundTheSameWay) {
  const auto trusted = blocks({"127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"});
  const auto of = [&](const Lines& lines) { return clientOf("127.0.0.1", {}, lines, "", trusted); };
  EXPECT_EQ(of({"for=203.0.113.5"}).address, "203.0.113.5");
  EXPECT_EQ(of({"For=\"[2001:db8:cafe::17]:4711\""}).address, "2001:db8:cafe::17");
  EXPECT_EQ(of({"for=198.51.100.1, for=203.0.113.5;proto=https;by=10.0.0.1 , for=10.0.0.7"}).address, "203.0.113.5");
  EXPECT_TRUE(of({"for=203.0.113.5;proto=HTTPS, for=10.0.0.7;proto=http"}).secure);
  EXPECT_FALSE(of({"for=203.0.113.5;proto=http, for=10.0.0.7;proto=https"}).secure);
  EXPECT_EQ(of({"for=198.51.100.1", "for=203.0.113.5"}).address, "203.0.113.5");
  EXPECT_EQ(of({"for=\"203.0.113.5:80\";host=\"a,b;c\\\"d\""}).address, "203.0.113.5");
  EXPECT_EQ(of({"for=203.0.113.5;, ;"}).address, "203.0.113.5");
  EXPECT_TRUE(of({"proto=https"}).secure);
  EXPECT_EQ(of({"proto=https"}).address, "127.0.0.1");
}

TEST(Client, SpeaksTlsWhenTheNearestProxySaysSo) {
  const auto trusted = blocks({"127.0.0.1"});
  const auto secure = [&](std::string_view proto) { return clientOf("127.0.0.1", {}, {}, proto, trusted).secure; };
  EXPECT_TRUE(secure("https"));
  EXPECT_TRUE(secure("HTTPS"));
  EXPECT_TRUE(secure("wss"));
  EXPECT_TRUE(secure("http, https"));
  EXPECT_FALSE(secure("https, http"));
  EXPECT_FALSE(secure("http"));
  EXPECT_FALSE(secure("gopher"));
}

TEST(Client, ThatCannotBeToldIsRefused) {
  const auto trusted = blocks({"127.0.0.1", "10.0.0.0/8"});
  const auto refused = [&](const Lines& x, const Lines& forwarded) {
    try {
      clientOf("127.0.0.1", x, forwarded, "", trusted);
      return false;
    } catch (const Error& error) {
      return error.code() == Code::Validation;
    }
  };
  std::string hops;
  for (int i = 0; i < 33; ++i) hops += "10.0.0.1,";
  std::string elements;
  for (int i = 0; i < 33; ++i) elements += "for=10.0.0.1,";
  const std::string half(520, ' ');
  const Lines bad_x[] = {{"unknown"}, {"nonsense"}, {"1.2.3.4, 10.0.0.1, x"}, {"1.2.3.4:99999"},   {"[::1"},
                         {hops},      {half, half}, {std::string(1025, '1')}, {"1.2.3.4 5.6.7.8"}, {"1.2.3.4\x01"}};
  for (const auto& lines : bad_x) EXPECT_TRUE(refused(lines, {})) << lines.front();
  const Lines bad[] = {{"for"},
                       {"for="},
                       {"=1.2.3.4"},
                       {"for=\"1.2.3.4"},
                       {"for=unknown"},
                       {"for=_hidden"},
                       {"for=::1"},
                       {"for=1.2.3.4:80"},
                       {"for=1.2.3.4;for=1.2.3.4"},
                       {"for=\"\\"},
                       {"for = 1.2.3.4"},
                       {"for=1.2.3.4 x=y"},
                       {"for=1.2.3.4, proto=https"},
                       {elements},
                       {"\xff"},
                       {std::string(1025, ',')}};
  for (const auto& lines : bad) EXPECT_TRUE(refused({}, lines)) << lines.front();
  EXPECT_TRUE(refused({"203.0.113.5"}, {"for=203.0.113.6"}));
  EXPECT_FALSE(refused({"203.0.113.5"}, {"for=203.0.113.5"}));
}

}  // namespace
}  // namespace aragora::net
