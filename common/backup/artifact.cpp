#include "common/backup/artifact.h"

#include <fcntl.h>
#include <unistd.h>
#define ZSTD_STATIC_LINKING_ONLY  // for ZSTD_getFrameProgression
#include <zstd.h>

#include <deque>

#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kQueueBlocks = 8;
constexpr std::size_t kBlock = 256 * 1024;
// What is no larger, a file of the log above all, is read in the thread that asks: each block stays in the core's cache
// from decompression to the disk. Who reads many of them reads several at a time.
constexpr std::uint64_t kReadAlone = 64U << 20;
constexpr int kCompressors = 2;  // threads; each keeps a few MiB
constexpr int kSlowLevel = 13;   // from there on a second of a core is a few megabytes
constexpr int kSlowJob = 8 << 20;
constexpr std::size_t kMaxWindowLog = 27;  // 128 MiB: what a hostile frame may ask for

[[noreturn]] void damaged(const storage::Place& path, const std::string& reason) {
  throw Error(Code::Damaged, fmt::format("{}: {}", path.describe(), reason), "use another backup: aragora backup list");
}

// Blocks on their way from the compressing thread to the sealing one.
class BlockQueue {
 public:
  // False when the consumer has failed.
  bool push(std::string block) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return blocks_.size() < kQueueBlocks || failed_; });
    if (failed_) return false;
    blocks_.push_back(std::move(block));
    changed_.notify_all();
    return true;
  }
  std::optional<std::string> pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !blocks_.empty() || closed_; });
    if (blocks_.empty()) return std::nullopt;
    auto block = std::move(blocks_.front());
    blocks_.pop_front();
    changed_.notify_all();
    return block;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  void fail() {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> blocks_;
  bool closed_ = false;
  bool failed_ = false;
};
}  // namespace

struct ArtifactWriter::Impl {
  fs::path path;
  FileRecord record;
  ArtifactOptions options;
  Fd fd;
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> compressor{ZSTD_createCCtx(), ZSTD_freeCCtx};
  crypto::Sha256 plain_hash;
  crypto::Sha256 stored_hash;
  BlockQueue queue;
  std::exception_ptr failure;
  std::thread sealer;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  bool finished = false;

  void store(std::string_view bytes) {
    stored_hash.update(bytes);
    record.stored_size += bytes.size();
    writeAll(fd.get(), bytes, path);
    if (options.max_rate > 0) {
      const double due = static_cast<double>(record.stored_size) / static_cast<double>(options.max_rate);
      std::this_thread::sleep_until(started + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                                  std::chrono::duration<double>(due)));
    }
  }

  void seal() {
    try {
      crypto::AgeWriter age(options.recipients, [this](std::string_view bytes) { store(bytes); });
      while (const auto block = queue.pop()) age.write(*block);
      if (!finished) return;  // abandoned
      age.finish();
      syncFile(fd.get(), path);
    } catch (...) {
      failure = std::current_exception();
      queue.fail();
    }
  }

  // zstd takes no more once its threads have enough to do, and waits for them: at high levels half a minute, in which
  // nobody could stop it. So it is never given more than they work on.
  void waitForRoom() const {
    if (options.compression_level < kSlowLevel) return;
    while (true) {
      interrupt::check();
      const auto state = ZSTD_getFrameProgression(compressor.get());
      if (state.ingested - state.consumed <= kCompressors * kSlowJob) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  void compress(std::string_view plain, ZSTD_EndDirective directive) {
    ZSTD_inBuffer input{plain.data(), plain.size(), 0};
    std::size_t left = 0;
    do {
      std::string block(kBlock, '\0');
      ZSTD_outBuffer output{block.data(), block.size(), 0};
      waitForRoom();
      left = ZSTD_compressStream2(compressor.get(), &output, &input, directive);
      if (ZSTD_isError(left) != 0U) throw Error(Code::Internal, fmt::format("zstd: {}", ZSTD_getErrorName(left)));
      block.resize(output.pos);
      if (!block.empty() && !queue.push(std::move(block))) {
        sealer.join();
        std::rethrow_exception(failure);
      }
    } while (directive == ZSTD_e_end ? left != 0 : input.pos < input.size);
  }
};

ArtifactOptions sealingFor(const crypto::Keyring& keyring, const std::vector<std::string>& further, int level) {
  ArtifactOptions options;
  options.recipients = {keyring.backupRecipient()};
  for (const auto& recipient : further) options.recipients.push_back(crypto::parseAgeRecipient(recipient));
  options.compression_level = level;
  return options;
}

ArtifactWriter::ArtifactWriter(const fs::path& directory, std::string name, std::string content,
                               const ArtifactOptions& options)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = directory / name;
  impl_->record.path = std::move(name);
  impl_->record.content = std::move(content);
  impl_->options = options;
  impl_->fd = createFile(impl_->path, O_EXCL, 0640);
  ZSTD_CCtx_setParameter(impl_->compressor.get(), ZSTD_c_compressionLevel, options.compression_level);
  ZSTD_CCtx_setParameter(impl_->compressor.get(), ZSTD_c_checksumFlag, 1);
  ZSTD_CCtx_setParameter(impl_->compressor.get(), ZSTD_c_nbWorkers, kCompressors);
  if (options.compression_level >= kSlowLevel)
    ZSTD_CCtx_setParameter(impl_->compressor.get(), ZSTD_c_jobSize, kSlowJob);
  impl_->sealer = std::thread([impl = impl_.get()] { impl->seal(); });
}

namespace {
// zstd's own threads end the work that they have first, at high levels half a minute of it, which nobody wants any
// more.
void letGo(ZSTD_CCtx* compressor) {
  try {
    std::thread([compressor] { ZSTD_freeCCtx(compressor); }).detach();
  } catch (const std::system_error&) {
    ZSTD_freeCCtx(compressor);
  }
}
}  // namespace

ArtifactWriter::~ArtifactWriter() {
  if (!impl_->finished) letGo(impl_->compressor.release());
  if (impl_->sealer.joinable()) {
    impl_->queue.close();
    impl_->sealer.join();
  }
}

void ArtifactWriter::write(std::string_view plain) {
  if (impl_->options.plain_digest) impl_->plain_hash.update(plain);
  impl_->record.plain_size += plain.size();
  impl_->compress(plain, ZSTD_e_continue);
}

FileRecord ArtifactWriter::finish() {
  impl_->compress({}, ZSTD_e_end);
  impl_->finished = true;
  impl_->queue.close();
  impl_->sealer.join();
  if (impl_->failure) std::rethrow_exception(impl_->failure);
  if (impl_->options.plain_digest) impl_->record.plain_sha256 = impl_->plain_hash.finishHex();
  impl_->record.stored_sha256 = impl_->stored_hash.finishHex();
  return impl_->record;
}

namespace {
// Feeds the stored file to `sink` and compares its size and digest with the record at the end.
void streamStored(const storage::Place& directory, const FileRecord& record, const ByteSink& sink) {
  const auto path = directory / record.path;
  crypto::Sha256 hash;
  std::uint64_t size = 0;
  const bool found = directory.read(record.path, [&](std::string_view bytes) {
    hash.update(bytes);
    size += bytes.size();
    if (size > record.stored_size) damaged(path, "is longer than the manifest says");
    sink(bytes);
  });
  if (!found) damaged(path, "is missing");
  if (size != record.stored_size)
    damaged(path, fmt::format("is {} bytes long, the manifest says {}", size, record.stored_size));
  if (hash.finishHex() != record.stored_sha256) damaged(path, "does not have the digest that the manifest gives");
}
}  // namespace

void checkStored(const storage::Place& directory, const FileRecord& record, Progress* progress) {
  streamStored(directory, record, [progress](std::string_view bytes) { add(progress, bytes.size()); });
}

void checkStored(const storage::Place& directory, const Manifest& manifest, Progress* progress) {
  begin(progress, {"checking what is stored", manifest.storedSize()});
  for (const auto& file : manifest.files) checkStored(directory, file, progress);
}

namespace {
// Decrypts and decompresses.
void open(const storage::Place& directory, const FileRecord& record, const std::vector<crypto::AgeIdentity>& identities,
          const ByteSink& take) {
  const auto path = directory / record.path;
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> decompressor(ZSTD_createDCtx(), ZSTD_freeDCtx);
  ZSTD_DCtx_setParameter(decompressor.get(), ZSTD_d_windowLogMax, kMaxWindowLog);
  std::vector<char> block(kBlock);
  std::uint64_t size = 0;
  std::size_t frame_left = 1;
  crypto::AgeReader age(identities, [&](std::string_view compressed) {
    ZSTD_inBuffer input{compressed.data(), compressed.size(), 0};
    bool more = false;
    while (input.pos < input.size || more) {
      ZSTD_outBuffer output{block.data(), block.size(), 0};
      frame_left = ZSTD_decompressStream(decompressor.get(), &output, &input);
      if (ZSTD_isError(frame_left) != 0U) damaged(path, fmt::format("zstd: {}", ZSTD_getErrorName(frame_left)));
      more = frame_left != 0 && output.pos == output.size;  // after its end zstd would wait for another frame
      size += output.pos;
      if (size > record.plain_size) damaged(path, "holds more than the manifest says");
      if (output.pos > 0) take({block.data(), output.pos});
    }
  });
  streamStored(directory, record, [&](std::string_view bytes) { age.write(bytes); });
  age.finish();
  if (frame_left != 0 || size != record.plain_size) damaged(path, "ends before its content does");
}

// The same into a queue, in a thread of its own: hashing and writing overlap with it.
class Opener {
 public:
  Opener(const storage::Place& directory, const FileRecord& record, const std::vector<crypto::AgeIdentity>& identities)
      : thread_([&] { run(directory, record, identities); }) {}
  ~Opener() {
    queue_.fail();
    if (thread_.joinable()) thread_.join();
  }
  std::optional<std::string> next() { return queue_.pop(); }
  // After the last block: throws what went wrong.
  void finish() {
    thread_.join();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void run(const storage::Place& directory, const FileRecord& record,
           const std::vector<crypto::AgeIdentity>& identities) {
    try {
      open(directory, record, identities, [&](std::string_view bytes) {
        // Seen by nobody either.
        if (!queue_.push(std::string(bytes))) throw Error(Code::Interrupted, "nobody reads on");
      });
    } catch (...) {
      failure_ = std::current_exception();
    }
    queue_.close();
  }

  BlockQueue queue_;
  std::exception_ptr failure_;
  std::thread thread_;
};
}  // namespace

void readArtifact(const storage::Place& directory, const FileRecord& record,
                  const std::vector<crypto::AgeIdentity>& identities, const ByteSink& sink, Progress* progress) {
  crypto::Sha256 hash;
  const bool hashed = !record.plain_sha256.empty();
  const auto take = [&](std::string_view bytes) {
    if (hashed) hash.update(bytes);
    sink(bytes);
    add(progress, bytes.size());
  };
  if (record.plain_size <= kReadAlone) {
    open(directory, record, identities, take);
  } else {
    Opener opener(directory, record, identities);
    while (const auto block = opener.next()) take(*block);
    opener.finish();
  }
  if (hashed && hash.finishHex() != record.plain_sha256)
    damaged(directory / record.path, "its content does not have the digest that the manifest gives");
}

}  // namespace aragora::backup
