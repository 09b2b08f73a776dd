"""More than there is room for: clients, open files, memory, work. Somebody is told to come back, the others are served."""
import contextlib
import http.client
import json
import pathlib
import socket
import sqlite3
import threading
import time
import unittest

from support import Authority, Daemon, Sandbox, TinyDisk, main
from test_tls import TlsDaemon

HEALTH = b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n"


def connect(daemon, source="127.0.0.1", timeout=10):
    return socket.create_connection(("127.0.0.1", daemon.port), timeout=timeout, source_address=(source, 0))


def answer(connection):
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, dict((name.lower(), value) for name, value in response.getheaders()), response.read()


def healthy_from(daemon, source):
    with connect(daemon, source) as connection:
        connection.sendall(HEALTH)
        return answer(connection)[0]


def until(condition, limit, said):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit, said
        time.sleep(0.02)
    return time.monotonic() - began


def metric_of(text, name):
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def metric(daemon, name):
    return metric_of(daemon.request("GET", "/metrics")[2].decode(), name)


class Overload(unittest.TestCase):
    def with_few_files(self, sandbox, files=256, **environment):
        sandbox.prefix = ["prlimit", f"--nofile={files}:{files}"]
        return Daemon(sandbox, **environment)

    def test_a_thousand_clients_and_256_open_files(self):
        with Sandbox() as sandbox, self.with_few_files(sandbox) as daemon:
            until(lambda: "no more files may be open" in daemon.text(), 5, "it does not say so")
            with contextlib.ExitStack() as crowd:
                held = []
                for number in range(1000):
                    with contextlib.suppress(OSError):
                        held.append(crowd.enter_context(connect(daemon, f"127.0.1.{number % 20 + 1}")))
                self.assertGreater(len(held), 900)
                # They are there and silent: whoever has something to say is served all the same, and stays so.
                self.assertLess(until(lambda: healthy_from(daemon, "127.0.0.1") == 200, 5, "nobody makes room"), 1)
                for _ in range(10):
                    self.assertEqual(healthy_from(daemon, "127.0.0.1"), 200)
                self.assertEqual(daemon.post("/api/debates", {"task": "still", "rounds": 0})[0], 200)
            self.assertLess(until(lambda: healthy_from(daemon, "127.0.2.1") == 200, 5, "it did not recover"), 1)
            self.assertNotIn("Too many open files", daemon.text())
            self.assertGreater(metric(daemon, 'aragora_http_shed_total{reason="idle"}'), 0)

    def taken(self, daemon, crowd):
        """Every place, each by a request in the middle of its body: none of them makes room. Answers how many."""
        begun = b"POST /api/debates HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
        number, refused = 0, 0
        while refused < 3:  # whoever asked whether the daemon is ready may leave a place late
            connection = crowd.enter_context(connect(daemon, f"127.0.1.{number // 8 + 1}"))
            connection.sendall(begun)
            if connection.recv(12) == b"HTTP/1.1 100":
                number, refused = number + 1, 0
                continue
            refused += 1
            time.sleep(0.1)
        return number

    def assert_told(self, connection, status=503):
        told, headers, body = answer(connection)
        self.assertEqual((told, headers["connection"], headers["retry-after"]), (status, "close", "1"))
        self.assertIn("too many connections", json.loads(body)["error"])
        self.assertEqual(connection.recv(1), b"", "an end, and no reset")

    def test_who_does_not_fit_is_told_to_come_back_each_time(self):
        with Sandbox() as sandbox, self.with_few_files(sandbox, ARAGORA_MAX_CONNECTIONS="32") as daemon, contextlib.ExitStack() as crowd:
            self.assertGreater(self.taken(daemon, crowd), 28)
            for turn in range(50):
                with connect(daemon, "127.0.2.1") as late:
                    late.sendall(HEALTH)
                    self.assert_told(late)
                with connect(daemon, "127.0.2.1") as slow:  # whose request comes in parts, after the answer to it
                    for part in (HEALTH[:10], HEALTH[10:], b"x" * 20_000):
                        time.sleep(0.005)
                        slow.sendall(part)
                    self.assert_told(slow)
            self.assertGreaterEqual(metric_of(self.scraped(daemon, crowd), 'aragora_http_shed_total{reason="connections"}'), 100)
            self.assertEqual(healthy_from(daemon, "127.0.2.1"), 200)

    def test_a_crowd_that_does_not_fit_is_told_too_and_whoever_stays_is_let_go(self):
        with Sandbox() as sandbox, Daemon(sandbox, ARAGORA_MAX_CONNECTIONS="32") as daemon, contextlib.ExitStack() as crowd:
            self.taken(daemon, crowd)
            before = len(list(pathlib.Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
            late = [crowd.enter_context(connect(daemon, f"127.0.3.{number % 20 + 1}")) for number in range(40)]
            for one in late:
                one.sendall(HEALTH)
            for one in late:
                self.assert_told(one)
            stays = crowd.enter_context(connect(daemon, "127.0.4.1"))
            self.assert_told(stays)
            # They do not close; we do.
            descriptors = lambda: len(list(pathlib.Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
            self.assertLess(until(lambda: descriptors() <= before + 2, 5, "who was turned away keeps a descriptor"), 1.5)
            with connect(daemon, "127.0.4.1") as endless, self.assertRaises(OSError):
                for _ in range(1000):
                    endless.sendall(b"x" * 65536)

    @staticmethod
    def scraped(daemon, crowd):
        crowd.close()
        until(lambda: Overload.answers(daemon), 5, "it did not recover")
        return daemon.request("GET", "/metrics")[2].decode()

    def test_one_address_cannot_hold_every_connection(self):
        # The second is a trusted proxy, which stands for many clients: but a sixteenth of all stays free of it, too.
        for address, most in (("127.0.1.1", 50), ("127.0.0.1", 188)):
            with Sandbox() as sandbox, Daemon(sandbox, ARAGORA_MAX_CONNECTIONS="200", ARAGORA_CONNECTIONS_PER_ADDRESS="50") as daemon, contextlib.ExitStack() as crowd:
                for number in range(most + 5):
                    connection = crowd.enter_context(connect(daemon, address))
                    connection.sendall(HEALTH)
                    status, headers, _ = answer(connection)
                    self.assertEqual((status, headers.get("retry-after")), (200, None) if number < most else (429, "1"), (address, number))
                for _ in range(20):
                    with connect(daemon, address) as slow:
                        for part in (HEALTH[:10], HEALTH[10:], HEALTH):
                            time.sleep(0.005)
                            slow.sendall(part)
                        self.assert_told(slow, 429)
                self.assertEqual(healthy_from(daemon, "127.0.3.1"), 200)
                self.assertEqual(daemon.process.poll(), None)

    def test_tls_clients_are_held_to_the_same(self):
        with Authority() as authority, Sandbox() as sandbox:
            sandbox.prefix = ["prlimit", "--nofile=256:256"]
            with TlsDaemon(sandbox, authority) as daemon:
                with contextlib.ExitStack() as crowd:
                    for number in range(600):
                        with contextlib.suppress(OSError):
                            crowd.enter_context(connect(daemon, f"127.0.1.{number % 20 + 1}"))
                    self.assertLess(until(lambda: self.answers(daemon), 15, "handshakes that go nowhere keep everybody out"), 3)
                self.assertLess(until(lambda: self.answers(daemon), 5, "it did not recover"), 1)

    @staticmethod
    def answers(daemon):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return daemon.request("GET", "/api/health", timeout=2)[0] == 200

    def test_memory_that_is_nearly_used_up_refuses_work_and_comes_back(self):
        # A control group of our making, where the daemon looks for its own.
        with Sandbox() as sandbox, TinyDisk(pathlib.Path("/sys/fs/cgroup")) as groups:
            use = lambda used: groups.sh(f'cd "$1" && echo {used} > memory.current && echo 100000000 > memory.max && echo inactive_file 0 > memory.stat')
            use(10_000_000)
            sandbox.prefix = groups.prefix
            with Daemon(sandbox) as daemon:
                self.assertEqual(daemon.get("/api/debates")[0], 200)
                use(95_000_000)
                self.assertLess(until(lambda: daemon.get("/api/debates")[0] == 503, 5, daemon.text()), 1)
                status, headers, body = daemon.request("POST", "/api/debates", {"task": "t"})
                self.assertEqual((status, headers["retry-after"], json.loads(body)["error"]), (503, "1", "the server is short of memory"))
                self.assertEqual((daemon.get("/api/health")[0], daemon.request("GET", "/metrics")[0]), (200, 200))
                use(87_000_000)
                time.sleep(0.5)
                self.assertEqual(daemon.get("/api/debates")[0], 503, "not to and fro at the edge")
                use(50_000_000)
                until(lambda: daemon.get("/api/debates")[0] == 200, 5, daemon.text())
                self.assertEqual((daemon.text().count("memory is scarce"), daemon.text().count("memory is enough again")), (1, 1))

    def test_what_waits_for_too_long_is_answered_and_what_comes_then_is_served(self):
        with Sandbox() as sandbox, Daemon(sandbox, ARAGORA_WORKERS="1", ARAGORA_QUEUE_MS="300") as daemon:
            with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db", timeout=10, isolation_level=None)) as somebody:
                somebody.execute("BEGIN IMMEDIATE")
                statuses, times = [], []

                def create():
                    began = time.monotonic()
                    status, headers, _ = daemon.request("POST", "/api/debates", {"task": "t", "rounds": 0})
                    statuses.append((status, "retry-after" in headers))
                    times.append(time.monotonic() - began)

                threads = [threading.Thread(target=create) for _ in range(40)]
                for thread in threads:
                    thread.start()
                until(lambda: len(statuses) >= 39, 5, "they wait as long as the one that is at work")
                self.assertEqual(statuses[:39], [(503, True)] * 39)
                self.assertLess(sorted(times)[38], 2.5)
                somebody.execute("ROLLBACK")
            for thread in threads:
                thread.join(20)
            self.assertEqual(daemon.post("/api/debates", {"task": "t", "rounds": 0})[0], 200)
            self.assertGreaterEqual(metric(daemon, 'aragora_http_shed_total{reason="queue"}'), 39)


if __name__ == "__main__":
    main()
