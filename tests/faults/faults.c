// Preloaded into aragora by tests: the Nth call that changes a file fails, or every one from the Nth on.
//   FAULT_KIND  enospc, eio: from the Nth call on; short, eintr: the Nth call only; kill: SIGKILL before the Nth call;
//               commit: SIGKILL at the Nth of two moments of each commit, of SQLite before any of it is written, of
//               PostgreSQL before it is asked for, and of both when it is done, before anybody hears of it
//   FAULT_AT    N, from 1
//   FAULT_SINCE a path: commits count once it is there
//   FAULT_WHILE  a path: enospc or eio of all that is written while it is there, whatever FAULT_AT says; files can be made
//   FAULT_MARK  a path that is created when the fault strikes, so that the test knows
//   FAULT_LACKS  what every file system lacks: dirsync (EINVAL), symlink and hardlink (EPERM), flock (EOPNOTSUPP)
//   FAULT_NAMES=silent  the name server takes every question and answers none
//   FAULT_STUCK_WHILE  a path: while it is there one thread of the name FAULT_STUCK_THREAD stands still, the first one
//               that waits for sockets or reads a database
//   FAULT_SILENT_WHILE  a path: while it is there the name server answers nothing
// Only regular files and only the program itself: its children and its output go on as they are.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NONE, ENOSPC_FROM, EIO_FROM, SHORT_ONCE, EINTR_ONCE, KILL, COMMIT };
static enum kind kind;
static long at;
static atomic_long calls;
static const char* while_there;

__attribute__((constructor)) static void configure(void) {
  const char* name = getenv("FAULT_KIND");
  const char* number = getenv("FAULT_AT");
  if (name == NULL || number == NULL || strcmp(program_invocation_short_name, "aragora") != 0) return;
  at = atol(number);
  while_there = getenv("FAULT_WHILE");
  if (strcmp(name, "enospc") == 0) kind = ENOSPC_FROM;
  if (strcmp(name, "eio") == 0) kind = EIO_FROM;
  if (strcmp(name, "short") == 0) kind = SHORT_ONCE;
  if (strcmp(name, "eintr") == 0) kind = EINTR_ONCE;
  if (strcmp(name, "kill") == 0) kind = KILL;
  if (strcmp(name, "commit") == 0) kind = COMMIT;
}

static void mark(void) {
  const char* path = getenv("FAULT_MARK");
  if (path != NULL) close((int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, 0600));
}

// The errno to fail with, 0 to go on, -1 to write less.
static int strike(int transfers) {
  if (kind == NONE || kind == COMMIT) return 0;
  if (while_there != NULL) return !transfers || access(while_there, F_OK) != 0 ? 0 : kind == EIO_FROM ? EIO : ENOSPC;
  if (!transfers && (kind == SHORT_ONCE || kind == EINTR_ONCE)) return 0;
  const long call = atomic_fetch_add(&calls, 1) + 1;
  if (call < at) return 0;
  if (call == at) mark();
  switch (kind) {
    case ENOSPC_FROM: return ENOSPC;
    case EIO_FROM: return EIO;
    case SHORT_ONCE: return call == at ? -1 : 0;
    case EINTR_ONCE: return call == at ? EINTR : 0;
    case KILL: raise(SIGKILL); return 0;
    default: return 0;
  }
}

static int regular(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

static void at_moment(void) {
  const char* since = getenv("FAULT_SINCE");
  if (since != NULL && access(since, F_OK) != 0) return;
  if (atomic_fetch_add(&calls, 1) + 1 != at) return;
  mark();
  raise(SIGKILL);
}

// Of the write-ahead log, which a commit writes and then syncs.
static void at_commit(int fd, int synced) {
  static atomic_int written;
  char link[40];
  char path[4096];
  if (kind != COMMIT) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path);
  if (length < 4 || memcmp(path + length - 4, "-wal", 4) != 0) return;
  if (atomic_exchange(&written, !synced) && !synced) return;  // more of the same commit
  at_moment();
}

#define REAL(name) \
  static __typeof__(name)* real; \
  if (real == NULL) real = (__typeof__(name)*)dlsym(RTLD_NEXT, #name)

#define FAIL_OR_SHORTEN(fd, size)              \
  const int fault = regular(fd) ? strike(1) : 0; \
  if (fault > 0) {                             \
    errno = fault;                             \
    return -1;                                 \
  }                                            \
  if (fault < 0 && (size) > 1) (size) /= 2

#define FAIL()                     \
  do {                             \
    const int fault = strike(0);   \
    if (fault > 0) {               \
      errno = fault;               \
      return -1;                   \
    }                              \
  } while (0)

ssize_t write(int fd, const void* data, size_t size) {
  REAL(write);
  at_commit(fd, 0);
  FAIL_OR_SHORTEN(fd, size);
  return real(fd, data, size);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  REAL(pwrite);
  at_commit(fd, 0);
  FAIL_OR_SHORTEN(fd, size);
  return real(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  REAL(pwrite64);
  at_commit(fd, 0);
  FAIL_OR_SHORTEN(fd, size);
  return real(fd, data, size, offset);
}

static int lacks(const char* what) {
  const char* list = getenv("FAULT_LACKS");
  return list != NULL && strcmp(program_invocation_short_name, "aragora") == 0 && strstr(list, what) != NULL;
}

static int directory(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
}

#define LACK(condition, number) \
  do {                          \
    if (condition) {            \
      errno = number;           \
      return -1;                \
    }                           \
  } while (0)

int flock(int fd, int operation) {
  REAL(flock);
  LACK(lacks("flock"), EOPNOTSUPP);
  return real(fd, operation);
}

int fsync(int fd) {
  REAL(fsync);
  at_commit(fd, 1);
  LACK(lacks("dirsync") && directory(fd), EINVAL);
  FAIL();
  return real(fd);
}

int fdatasync(int fd) {
  REAL(fdatasync);
  at_commit(fd, 1);
  FAIL();
  return real(fd);
}

int ftruncate(int fd, off_t size) {
  REAL(ftruncate);
  FAIL();
  return real(fd, size);
}

int ftruncate64(int fd, off64_t size) {
  REAL(ftruncate64);
  FAIL();
  return real(fd, size);
}

int rename(const char* from, const char* to) {
  REAL(rename);
  FAIL();
  return real(from, to);
}

int link(const char* from, const char* to) {
  REAL(link);
  LACK(lacks("hardlink"), EPERM);
  FAIL();
  return real(from, to);
}

int symlink(const char* target, const char* path) {
  REAL(symlink);
  LACK(lacks("symlink"), EPERM);
  FAIL();
  return real(target, path);
}

int mkdir(const char* path, mode_t mode) {
  REAL(mkdir);
  FAIL();
  return real(path, mode);
}

// Deleting needs no space: it only dies.
int unlink(const char* path) {
  REAL(unlink);
  if (kind == KILL) strike(0);
  return real(path);
}

int unlinkat(int directory, const char* path, int flags) {
  REAL(unlinkat);
  if (kind == KILL) strike(0);
  return real(directory, path, flags);
}

#define OPEN(name)                                                                     \
  int name(const char* path, int flags, ...) {                                         \
    static int (*real)(const char*, int, ...);                                         \
    if (real == NULL) real = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, #name);  \
    va_list arguments;                                                                 \
    va_start(arguments, flags);                                                        \
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;        \
    va_end(arguments);                                                                 \
    if ((flags & O_CREAT) != 0) FAIL();                                                \
    return real(path, flags, mode);                                                    \
  }
OPEN(open)
OPEN(open64)

static int numeric(const char* host) {
  unsigned char address[16];
  return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

int getaddrinfo(const char* host, const char* service, const struct addrinfo* hints, struct addrinfo** result) {
  REAL(getaddrinfo);
  const char* names = getenv("FAULT_NAMES");
  if (names != NULL && strcmp(names, "silent") == 0 && host != NULL && !numeric(host)) {
    sleep(300);
    return EAI_AGAIN;
  }
  const char* path = getenv("FAULT_SILENT_WHILE");
  while (path != NULL && host != NULL && !numeric(host) && access(path, F_OK) == 0) usleep(20000);
  return real(host, service, hints, result);
}

static void stand_still(void) {
  static atomic_flag one = ATOMIC_FLAG_INIT;
  const char* path = getenv("FAULT_STUCK_WHILE");
  const char* name = getenv("FAULT_STUCK_THREAD");
  char own[16] = "";
  if (path == NULL || name == NULL || access(path, F_OK) != 0) return;
  if (pthread_getname_np(pthread_self(), own, sizeof own) != 0 || strcmp(own, name) != 0) return;
  if (atomic_flag_test_and_set(&one)) return;
  mark();
  while (access(path, F_OK) == 0) usleep(20000);
}

int epoll_wait(int fd, struct epoll_event* events, int most, int timeout) {
  REAL(epoll_wait);
  stand_still();
  return real(fd, events, most, timeout);
}

#define PREAD(name, offset_type)                                        \
  ssize_t name(int fd, void* data, size_t size, offset_type offset) {   \
    REAL(name);                                                         \
    stand_still();                                                      \
    return real(fd, data, size, offset);                                \
  }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

// Of libpq, whose own header is not needed: by which name each connection has COMMIT prepared.
static struct {
  const void* connection;
  char name[16];
} prepared[64];

int PQsendPrepare(void* connection, const char* name, const char* sql, int count, const unsigned* types) {
  static int (*real)(void*, const char*, const char*, int, const unsigned*);
  if (real == NULL) real = (__typeof__(real))dlsym(RTLD_NEXT, "PQsendPrepare");
  for (int i = 0; kind == COMMIT && strcmp(sql, "COMMIT") == 0 && i < 64; ++i) {
    const void* nobody = NULL;
    if (prepared[i].connection != connection && !__atomic_compare_exchange_n(&prepared[i].connection, &nobody, connection, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) continue;
    snprintf(prepared[i].name, sizeof prepared[i].name, "%s", name);
    break;
  }
  return real(connection, name, sql, count, types);
}

int PQsendQueryPrepared(void* connection, const char* name, int count, const char* const* values, const int* lengths, const int* formats, int format) {
  static int (*real)(void*, const char*, int, const char* const*, const int*, const int*, int);
  if (real == NULL) real = (__typeof__(real))dlsym(RTLD_NEXT, "PQsendQueryPrepared");
  for (int i = 0; kind == COMMIT && i < 64 && prepared[i].connection != NULL; ++i) {
    if (prepared[i].connection == connection && strcmp(prepared[i].name, name) == 0) at_moment();
  }
  return real(connection, name, count, values, lengths, formats, format);
}

int PQsendQuery(void* connection, const char* sql) {
  static int (*real)(void*, const char*);
  if (real == NULL) real = (__typeof__(real))dlsym(RTLD_NEXT, "PQsendQuery");
  if (kind == COMMIT && strcmp(sql, "COMMIT") == 0) at_moment();
  return real(connection, sql);
}

void* PQgetResult(void* connection) {
  static void* (*real)(void*);
  static char* (*command_of)(void*);
  if (real == NULL) real = (__typeof__(real))dlsym(RTLD_NEXT, "PQgetResult");
  if (command_of == NULL) command_of = (__typeof__(command_of))dlsym(RTLD_NEXT, "PQcmdStatus");
  void* result = real(connection);
  if (kind == COMMIT && result != NULL && strcmp(command_of(result), "COMMIT") == 0) at_moment();
  return result;
}
