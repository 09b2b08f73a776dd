// Whatever the forwarding headers say, a client has an address of the one form, or the request is refused; and a header
// that only strangers sent changes nothing.
#include <cstdlib>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/net/address.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace aragora;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto lines = split(text, '\n');
  const std::vector<std::string_view> views(lines.begin(), lines.end());
  const std::vector<net::Block> trusted{*net::Block::parse("127.0.0.1"), *net::Block::parse("10.0.0.0/8")};
  for (const bool forwarded : {false, true}) {
    const std::vector<std::string_view> none;
    try {
      const auto client = net::clientOf("127.0.0.1", forwarded ? none : views, forwarded ? views : none, "", trusted);
      if (net::normalised(client.address) != client.address) std::abort();
    } catch (const Error& error) {
      if (error.code() != Code::Validation) std::abort();
    }
    if (net::clientOf("192.0.2.1", forwarded ? none : views, forwarded ? views : none, "", trusted).address !=
        "192.0.2.1")
      std::abort();
  }
  if (const auto block = net::Block::parse(text); block && !block->contains(block->network.text())) std::abort();
  return 0;
}
