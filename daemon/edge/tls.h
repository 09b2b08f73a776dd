// TLS for a listener, on OpenSSL: one TlsContext a daemon (certificate, key and rules: Mozilla's guideline 6.0,
// intermediate), one TlsSession a connection. The context is thread-safe; a session lives in its I/O thread, never
// waits and knows nothing of Asio: it says what it wants the socket to be ready for.
#pragma once

#include <boost/asio/ip/tcp.hpp>

#include <filesystem>
#include <memory>
#include <mutex>

struct ssl_st;
struct ssl_ctx_st;

namespace aragora::edge {

struct TlsFiles {
  std::filesystem::path certificate;  // PEM, this host's first, then those that signed it
  std::filesystem::path key;          // PEM, without a passphrase
};

struct TlsStep {
  enum class Wants { Nothing, Reading, Writing };
  Wants wants = Wants::Nothing;  // with Nothing it is done, one way or the other
  boost::system::error_code error;
  std::size_t bytes = 0;
};

class TlsSession {
 public:
  // Of a connected socket that is non-blocking; it stays the caller's.
  TlsSession(ssl_ctx_st& context, int descriptor);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  TlsStep handshake();
  TlsStep read(void* data, std::size_t size);
  // Of one record at most; what is tried again begins with the same bytes.
  TlsStep write(const void* data, std::size_t size);
  void sayGoodbye();  // close_notify, when the socket takes it at once
  // The client began in clear text: it takes this for a port without TLS.
  bool clientIsPlain() const { return client_is_plain_; }

  // Where the socket is now; null once it is gone. Kept by the stream: operations under way ask.
  boost::asio::ip::tcp::socket* socket = nullptr;

 private:
  TlsStep stepAfter(int result, std::size_t bytes);
  std::unique_ptr<ssl_st, void (*)(ssl_st*)> ssl_;
  int descriptor_;
  bool began_ = false;
  bool client_is_plain_ = false;
};

class TlsContext {
 public:
  // Throws Error(Config) naming the file: not PEM, a key of another certificate, expired, too weak for OpenSSL.
  explicit TlsContext(const TlsFiles& files);

  std::shared_ptr<TlsSession> accept(int descriptor);
  // For connections from now on; those that are open keep theirs. When it throws, as the constructor does, the
  // certificate stays what it was.
  void reload(const TlsFiles& files);

 private:
  using Handle = std::shared_ptr<ssl_ctx_st>;  // shared by the context and those who make a session of it just now
  Handle current();
  std::mutex mutex_;
  Handle handle_;
  std::chrono::steady_clock::time_point made_;
};

}  // namespace aragora::edge
