#include "daemon/edge/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <boost/asio/error.hpp>

#include "common/base/error.h"
#include "common/crypto/certificate.h"

namespace aragora::edge {

namespace fs = std::filesystem;
using Wants = TlsStep::Wants;

namespace {
// Mozilla's guideline 6.0, intermediate: forward secrecy and authenticated encryption only, the client's preference.
constexpr const char* kSuites12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* kSuites13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kGroups[] = {"X25519MLKEM768:X25519:P-256:P-384",  // from OpenSSL 3.5 on
                                   "X25519:P-256:P-384"};
// Whoever steals the key of the tickets reads the TLS 1.2 sessions that were resumed with them: it does not live long.
constexpr auto kTicketKeyLife = std::chrono::hours(12);
constexpr long kTicketLife = 2 * 60 * 60;
constexpr unsigned char kHandshakeRecord = 22;  // RFC 8446 section 5.1
constexpr std::string_view kProtocol = "\x08http/1.1";

std::string lastReason() {
  char reason[256] = "no reason given";
  if (const auto code = ERR_peek_last_error(); code != 0) ERR_error_string_n(code, reason, sizeof reason);
  ERR_clear_error();
  return reason;
}

void requireUsable(int result, const fs::path& file) {
  if (result == 1) return;
  throw Error(Code::Config, fmt::format("{} cannot be used for TLS: {}", file.string(), lastReason()),
              "see: aragora validate-env --only certificate");
}

// Refuses instead of prompting for a passphrase on the terminal.
int noPassphrase(char*, int, int, void*) { return 0; }

// RFC 7301: whoever offers protocols and none that is spoken here is told so.
int chooseProtocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                   unsigned offered_size, void*) {
  const auto* ours = reinterpret_cast<const unsigned char*>(kProtocol.data());
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, size, ours, kProtocol.size(), offered, offered_size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

void setRules(SSL_CTX& context) {
  SSL_CTX_set_min_proto_version(&context, TLS1_2_VERSION);
  SSL_CTX_set_options(&context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  bool known = SSL_CTX_set_cipher_list(&context, kSuites12) == 1 && SSL_CTX_set_ciphersuites(&context, kSuites13) == 1;
  known = known && std::any_of(std::begin(kGroups), std::end(kGroups),
                               [&](const char* groups) { return SSL_CTX_set1_groups_list(&context, groups) == 1; });
  ERR_clear_error();
  if (!known) throw Error(Code::Internal, "OpenSSL does not know the suites that TLS is to be spoken with");
  SSL_CTX_set_mode(&context,
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(&context, 1);
  // Tickets only: nothing of a session is kept here.
  SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(&context, 1);
  SSL_CTX_set_timeout(&context, kTicketLife);
  SSL_CTX_set_alpn_select_cb(&context, chooseProtocol, nullptr);
}

std::shared_ptr<SSL_CTX> load(const TlsFiles& files) {
  const auto report = crypto::inspectCertificate(files.certificate, files.key);
  if (!report.key_matches)
    throw Error(
        Code::Config,
        fmt::format("the key {} does not belong to the certificate {}", files.key.string(), files.certificate.string()),
        "name the key the certificate was made with");
  if (report.not_after < nowMicros())
    throw Error(Code::Config,
                fmt::format("the certificate {} expired on {}", files.certificate.string(),
                            toIso(report.not_after).substr(0, 10)),
                "renew it: certbot renew");
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (!context) throw Error(Code::Internal, fmt::format("OpenSSL gave no context: {}", lastReason()));
  setRules(*context);
  SSL_CTX_set_default_passwd_cb(context.get(), noPassphrase);
  requireUsable(SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()), files.certificate);
  requireUsable(SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM), files.key);
  return context;
}

// A new key for tickets, the same certificate.
std::shared_ptr<SSL_CTX> renewed(SSL_CTX& old) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (!context) throw Error(Code::Internal, fmt::format("OpenSSL gave no context: {}", lastReason()));
  setRules(*context);
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs(&old, &chain);
  requireUsable(
      SSL_CTX_use_cert_and_key(context.get(), SSL_CTX_get0_certificate(&old), SSL_CTX_get0_privatekey(&old), chain, 1),
      "the certificate in use");
  return context;
}
}  // namespace

TlsSession::TlsSession(ssl_ctx_st& context, int descriptor)
    : ssl_(SSL_new(&context), SSL_free), descriptor_(descriptor) {
  if (!ssl_ || SSL_set_fd(ssl_.get(), descriptor) != 1)
    throw Error(Code::Internal, fmt::format("OpenSSL gave no session: {}", lastReason()));
  SSL_set_accept_state(ssl_.get());
}

TlsSession::~TlsSession() = default;

TlsStep TlsSession::stepAfter(int result, std::size_t bytes) {
  if (result == 1) return {Wants::Nothing, {}, bytes};
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return {Wants::Reading, {}, 0};
    case SSL_ERROR_WANT_WRITE:
      return {Wants::Writing, {}, 0};
    case SSL_ERROR_ZERO_RETURN:
      return {Wants::Nothing, boost::asio::error::eof, 0};
    case SSL_ERROR_SYSCALL:
      if (errno != 0) return {Wants::Nothing, {errno, boost::system::system_category()}, 0};
      return {Wants::Nothing, boost::asio::error::eof, 0};
    default:
      return {Wants::Nothing, boost::asio::error::connection_aborted, 0};
  }
}

TlsStep TlsSession::handshake() {
  if (!began_) {
    unsigned char first = 0;
    const auto got = ::recv(descriptor_, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return {Wants::Reading, {}, 0};
    if (got < 0) return {Wants::Nothing, {errno, boost::system::system_category()}, 0};
    if (got == 0) return {Wants::Nothing, boost::asio::error::eof, 0};
    began_ = true;
    client_is_plain_ = first != kHandshakeRecord && first < 0x80;  // above: what was said before TLS 1.0
    if (client_is_plain_) return {Wants::Nothing, boost::asio::error::no_protocol_option, 0};
  }
  ERR_clear_error();
  errno = 0;
  return stepAfter(SSL_accept(ssl_.get()), 0);
}

TlsStep TlsSession::read(void* data, std::size_t size) {
  if (size == 0) return {};
  ERR_clear_error();
  errno = 0;
  std::size_t got = 0;
  const int result = SSL_read_ex(ssl_.get(), data, size, &got);
  return stepAfter(result, got);
}

TlsStep TlsSession::write(const void* data, std::size_t size) {
  if (size == 0) return {};
  ERR_clear_error();
  errno = 0;
  std::size_t wrote = 0;
  const int result = SSL_write_ex(ssl_.get(), data, size, &wrote);
  return stepAfter(result, wrote);
}

void TlsSession::sayGoodbye() {
  if (SSL_is_init_finished(ssl_.get()) == 0) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
}

TlsContext::TlsContext(const TlsFiles& files) { reload(files); }

void TlsContext::reload(const TlsFiles& files) {
  auto fresh = load(files);
  const std::lock_guard lock(mutex_);
  handle_ = std::move(fresh);
  made_ = std::chrono::steady_clock::now();
}

TlsContext::Handle TlsContext::current() {
  const std::lock_guard lock(mutex_);
  if (std::chrono::steady_clock::now() - made_ > kTicketKeyLife) {
    handle_ = renewed(*handle_);
    made_ = std::chrono::steady_clock::now();
  }
  return handle_;
}

std::shared_ptr<TlsSession> TlsContext::accept(int descriptor) {
  return std::make_shared<TlsSession>(*current(), descriptor);
}

}  // namespace aragora::edge
