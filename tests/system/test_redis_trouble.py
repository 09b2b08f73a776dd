"""Three instances and everything that may happen to their Redis. Whatever it is: no revoked token is taken, limits hold, events come from the
database, no request waits, each instance says once that it is away and once that it is back, and nothing piles up."""
import asyncio
import contextlib
import secrets
import socket
import threading
import time
import unittest

from support import Daemon, RedisServer, Sandbox, main, postgres_database
from test_debates import slow_endpoint, until
from test_limits import ask, passing
from test_provider import KEY
from test_sisters import BACK, watch_both

AWAY = "until it is back each instance counts limits for itself"
LIMIT = 90
GARBAGE = bytes(range(256))


class Wire:
    """A way to Redis on which answers can be held back, mangled, halved or made endless; changed while it is in use, for what is open and
    what is new. `after` is how many parcels of a connection pass as they are."""

    def __init__(self, port):
        self.target, self.change, self.after, self.open = port, None, 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.mangle(None)
        for end in (self.listener, *self.open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def mangle(self, change, after=0):
        self.change, self.after = change, after

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                self.open += [client, server]
                threading.Thread(target=self.carry, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self.carry, args=(server, client, True), daemon=True).start()

    def carry(self, source, sink, answers):
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                passed += 1
                change = self.change if answers and passed > self.after else None
                for parcel in change(data) if change else (data,):
                    sink.sendall(parcel)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def garbage(_):
    return [GARBAGE]


def halves(data):
    return [data[:len(data) // 2]]


def strangers(data):
    return [b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"]


def endless(_):
    yield b"$2000000000\r\n"
    while True:
        yield b"x" * 65536


def many(_):
    yield b"*2000000000\r\n"
    while True:
        yield b":1\r\n" * 16384


def late(data):
    time.sleep(0.2)
    return [data]


def nothing(_):
    return []


@contextlib.contextmanager
def three(redis_url):
    with postgres_database() as url, slow_endpoint(0.05) as endpoint, contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(DATABASE_URL=url, REDIS_URL=redis_url, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), JWT_SECRET=secrets.token_hex(32), ARAGORA_INSTANCE_COUNT="3", OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY))
        sandbox.run("migrate", check=0)
        yield sandbox, [stack.enter_context(Daemon(sandbox, ARAGORA_IP_RATE_LIMIT=str(LIMIT))) for _ in range(3)]


class Case(unittest.TestCase):
    @contextlib.contextmanager
    def world(self):
        with RedisServer() as self.redis, Wire(self.redis.port) as self.wire, three(self.redis.url.replace(str(self.redis.port), str(self.wire.port))) as (sandbox, self.daemons):
            self.password = sandbox.run("user", "add", "--email", "ada@example.org", "--role", "member", check=0).stdout.strip().splitlines()[-1]
            self.addresses = (f"203.0.113.{number}" for number in range(1, 250))
            yield

    def login(self):
        status, answer = self.daemons[0].post("/api/auth/login", {"email": "ada@example.org", "password": self.password}, **{"X-Forwarded-For": next(self.addresses)})
        self.assertEqual(status, 200, answer)
        return {"Authorization": f"Bearer {answer['access_token']}"}

    def me(self, daemon, token):
        return daemon.request("GET", "/api/auth/me", headers={**token, "X-Forwarded-For": next(self.addresses)})[0]

    def logout(self, token):
        return self.daemons[0].request("POST", "/api/auth/logout", headers={**token, "X-Forwarded-For": next(self.addresses)})[0]

    def counted(self, text):
        return [daemon.text().count(text) for daemon in self.daemons]

    def assert_sessions_end(self, token):
        """At once and everywhere; the ones that ended before, too."""
        self.assertEqual([self.me(daemon, token) for daemon in self.daemons], [200] * 3)
        self.assertEqual(self.logout(token), 200)
        self.assertEqual([self.me(daemon, token) for daemon in self.daemons], [401] * 3)

    def assert_limits(self):
        """A third each, or what was counted together: never more than the limit, and never nothing."""
        passed, took = passing(self.daemons, 2 * LIMIT, address=next(self.addresses))
        self.assertGreaterEqual(passed, LIMIT // 3 - 1)
        self.assertLessEqual(passed, LIMIT + 3 + took * LIMIT / 60 * 1.1)

    def assert_prompt(self):
        taken = []
        for turn in range(60):
            began = time.monotonic()
            self.assertEqual(ask(self.daemons[turn % 3], address=next(self.addresses) if turn % 30 == 0 else "198.51.100.1" + str(turn % 30))[0], 200)
            taken.append(time.monotonic() - began)
        self.assertLess(sorted(taken)[56], 0.15, "requests wait for Redis")

    def assert_follows(self, worst):
        delays = asyncio.run(watch_both(self.daemons[0], self.daemons[2], rounds=0))
        self.assertLess(delays[-1], worst)

    def memory(self):
        def of(daemon):
            with open(f"/proc/{daemon.process.pid}/status") as file:
                return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024
        return max(of(daemon) for daemon in self.daemons)

    def lives_through(self, trouble, mend, within=2 + 0.5):
        before, ended = self.login(), self.login()
        self.logout(ended)
        revoked_meanwhile = self.login()
        memory = self.memory()
        aways, backs = self.counted(AWAY), self.counted(BACK)
        trouble()
        self.assertEqual(self.logout(before), 200)
        self.assertEqual([self.me(daemon, before) for daemon in self.daemons], [401] * 3)
        until(lambda: all(now > then for now, then in zip(self.counted(AWAY), aways)), 4)
        self.assert_sessions_end(revoked_meanwhile)
        self.assertEqual([self.me(daemon, ended) for daemon in self.daemons], [401] * 3)
        self.assert_limits()
        self.assert_prompt()
        self.assert_follows(1.0 + 0.3)
        self.assertEqual([daemon.get("/api/ready", **{"X-Forwarded-For": "192.0.2.1"})[0] for daemon in self.daemons], [200] * 3)
        self.assertLess(self.memory() - memory, 40)
        mend()
        mended = time.monotonic()
        until(lambda: all(now > then for now, then in zip(self.counted(BACK), backs)), 6)
        self.assertLess(time.monotonic() - mended, within)
        until(lambda: passing(self.daemons, 3, address=next(self.addresses))[0] == 3, 2)
        self.assert_follows(0.5)
        self.assertEqual([self.me(daemon, token) for token in (before, ended, revoked_meanwhile) for daemon in self.daemons], [401] * 9)
        self.assertEqual((self.counted(AWAY), self.counted(BACK)), ([n + 1 for n in aways], [n + 1 for n in backs]), "\n".join(line for daemon in self.daemons for line in daemon.text().splitlines() if "edis" in line))


class Server(Case):
    def test_stopped_killed_frozen_and_with_another_password(self):
        def another_password():
            self.redis.cli("CONFIG", "SET", "requirepass", "another-n0t-sample")
            self.old, self.redis.password = self.redis.password, "another-n0t-sample"
            for kind in ("normal", "pubsub"):
                self.redis.cli("CLIENT", "KILL", "TYPE", kind)

        def the_old_password():
            self.redis.cli("CONFIG", "SET", "requirepass", self.old)
            self.redis.password = self.old

        def stop():
            self.redis.cli("SHUTDOWN", "NOSAVE", check=False)
            self.redis.process.wait(10)

        with self.world():
            for name, trouble, mend in (("stopped", stop, self.redis.start), ("killed", self.redis.kill, self.redis.start), ("frozen", self.redis.freeze, lambda: self.redis.freeze(False)),
                                        ("password", another_password, the_old_password)):
                with self.subTest(name):
                    self.lives_through(trouble, mend)

    def test_emptied(self):
        """Nothing that anybody relies on was in it, and nobody has to be told."""
        with self.world():
            token = self.login()
            address = next(self.addresses)
            passing(self.daemons, LIMIT + 20, address=address)
            self.redis.cli("FLUSHALL")
            self.assertLessEqual(passing(self.daemons, 30, address=address)[0], 8, "a full bucket was emptied")
            self.assert_sessions_end(token)
            self.redis.cli("FLUSHALL")
            self.assertEqual([self.me(daemon, token) for daemon in self.daemons], [401] * 3)
            self.assert_limits()
            self.assert_follows(0.5)
            self.assertEqual(sum(self.counted(AWAY)), 0)


class Answers(Case):
    def through(self, *changes):
        with self.world():
            for change, after in changes:
                with self.subTest(change.__name__, after=after):
                    self.lives_through(lambda: self.wire.mangle(change, after), lambda: self.wire.mangle(None), within=3.5)  # what is half through its greeting is waited for

    def test_nonsense(self):
        self.through((garbage, 0), (strangers, 0), (halves, 0))

    def test_nonsense_after_the_greeting_and_answers_without_end(self):  # what a listener is greeted with is one parcel
        self.through((garbage, 1), (endless, 1), (many, 1), (halves, 1))

    def test_late_and_silent(self):
        self.through((late, 0), (nothing, 0))


if __name__ == "__main__":
    main()
