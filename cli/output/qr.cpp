#include "cli/output/qr.h"

#include <qrencode.h>

#include <memory>

namespace aragora::cli {

namespace {
constexpr int kMargin = 2;  // the light frame that readers want
}

// Light modules are drawn, dark ones left out: terminals are dark. Two rows of modules make a line.
std::string qrCode(const Secret& text) {
  const std::unique_ptr<QRcode, void (*)(QRcode*)> code(QRcode_encodeString8bit(text.reveal().c_str(), 0, QR_ECLEVEL_M),
                                                        QRcode_free);
  if (!code) return {};
  const auto light = [&](int x, int y) {
    if (x < 0 || y < 0 || x >= code->width || y >= code->width) return true;
    return (code->data[y * code->width + x] & 1U) == 0;
  };
  std::string drawn;
  for (int y = -kMargin; y < code->width + kMargin; y += 2) {
    for (int x = -kMargin; x < code->width + kMargin; ++x) {
      const bool upper = light(x, y);
      const bool lower = y + 1 < code->width + kMargin && light(x, y + 1);
      drawn += upper && lower ? "█" : upper ? "▀" : lower ? "▄" : " ";
    }
    drawn += '\n';
  }
  return drawn;
}

}  // namespace aragora::cli
