"""A database that goes silent instead of away: stopped, or behind a network that drops everything. The daemon lives through it, its
watchdog is fed, callers get their answer, and it works again within three seconds."""
import contextlib
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import threading
import time
import unittest

from support import Cluster, Daemon, Sandbox, free_port, main, service

SILENT = 20  # seconds


def processes(cluster):
    postmaster = int((cluster.data / "postmaster.pid").read_text().split()[0])
    children = subprocess.run(["pgrep", "-P", str(postmaster)], capture_output=True, text=True).stdout.split()
    return [postmaster, *map(int, children)]


def signal_all(cluster, number):
    for pid in processes(cluster):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextlib.contextmanager
def watchdog(sandbox):
    """Moments at which the daemon fed it."""
    path = str(sandbox.directory / "notify")
    fed = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        ended = threading.Event()

        def listen():
            while not ended.is_set():
                if select.select([receiver], [], [], 0.1)[0] and b"WATCHDOG=1" in receiver.recv(4096):
                    fed.append(time.monotonic())

        thread = threading.Thread(target=listen)
        thread.start()
        sandbox.environment.update(NOTIFY_SOCKET=path, WATCHDOG_USEC="30000000")
        try:
            yield fed
        finally:
            ended.set()
            thread.join()


class DropsEverything:
    """A way to the server that can stop carrying anything: what is sent piles up, new connections hear nothing."""

    def __init__(self, port):
        self.target, self.flows, self.open = port, threading.Event(), []
        self.flows.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.flows.wait()
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self.open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self.carry, args=(source, sink), daemon=True).start()

    def carry(self, source, sink):
        with contextlib.suppress(OSError):
            while True:
                self.flows.wait()
                data = source.recv(65536)
                self.flows.wait()
                if not data:
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.flows.set()
        for end in (self.listener, *self.open):
            end.close()


class Outage(unittest.TestCase):
    def lives_through(self, sandbox, silence, speech):
        with watchdog(sandbox) as fed, Daemon(sandbox) as daemon:
            _, before = daemon.post("/api/debates", {"task": "before", "rounds": 0})
            daemon.wait_finished(before["debate_id"])
            silence()
            began = time.monotonic()
            try:
                # More of them than there are connections; a large one, which does not fit into any buffer.
                requests = [threading.Thread(target=self.answered, args=(daemon, {"task": size * "x", "rounds": 0})) for size in [90_000] * 4 + [10] * 12]
                self.answers = []
                for request in requests:
                    request.start()
                for request in requests:
                    request.join()
                self.assertEqual([status for status, _ in self.answers], [503] * len(requests), self.answers)
                self.assertLess(max(took for _, took in self.answers), 2 + 0.5)
                while daemon.get("/api/ready")[1]["database"] != "unreachable":
                    self.assertLess(time.monotonic() - began, 2 + 1, daemon.text()[-3000:])
                    time.sleep(0.02)
                while time.monotonic() - began < SILENT:
                    self.assertIsNone(daemon.process.poll(), daemon.text())
                    time.sleep(0.1)
            finally:
                speech()
            spoke = time.monotonic()
            while daemon.get("/api/ready")[0] != 200:
                self.assertLess(time.monotonic() - spoke, 3, daemon.text()[-3000:])
                time.sleep(0.02)
            _, after = daemon.post("/api/debates", {"task": "after", "rounds": 0})
            self.assertEqual(daemon.wait_finished(after["debate_id"])["status"], "completed")
            moments = [began, *(moment for moment in fed if began < moment < spoke), spoke]
            self.assertLess(max(b - a for a, b in zip(moments, moments[1:])), 14, "the watchdog was not fed")

    def answered(self, daemon, body):
        began = time.monotonic()
        status, _, _ = daemon.request("POST", "/api/debates", body, timeout=60)
        self.answers.append((status, time.monotonic() - began))

    def test_a_server_that_is_stopped(self):
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("migrate", check=0)
            self.lives_through(sandbox, lambda: signal_all(cluster, signal.SIGSTOP), lambda: signal_all(cluster, signal.SIGCONT))

    def test_a_network_that_drops_everything(self):
        with Cluster() as cluster, contextlib.closing(DropsEverything(cluster.port)) as way, Sandbox(DATABASE_URL=cluster.url.replace(str(cluster.port), str(way.port))) as sandbox:
            sandbox.run("migrate", check=0)
            self.lives_through(sandbox, way.flows.clear, way.flows.set)

    def test_a_name_server_that_says_nothing(self):
        """Neither libpq nor the C library's resolver can be told how long to wait for it."""
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url.replace("127.0.0.1", "localhost"), REDIS_URL=service("TEST_REDIS").replace("127.0.0.1", "localhost"),
                                           LD_PRELOAD=os.environ["FAULTS_LIBRARY"]) as sandbox:
            silent = sandbox.environment["FAULT_SILENT_WHILE"] = str(sandbox.directory / "silent")
            sandbox.run("migrate", check=0)

            def silence():
                pathlib.Path(silent).touch()
                cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aragora'", user="postgres")

            self.lives_through(sandbox, silence, pathlib.Path(silent).unlink)


class Restart(unittest.TestCase):
    def test_what_ran_when_the_database_was_restarted_goes_on_although_the_instance_is_busy(self):
        """Their leases were renewed with all others of the instance, and nobody ran them."""
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                busy = threading.Event()
                busy.set()

                def others():
                    while busy.is_set():
                        daemon.post("/api/debates", {"task": "busy", "rounds": 6})
                        time.sleep(0.5)

                thread = threading.Thread(target=others)
                thread.start()
                self.addCleanup(thread.join)
                self.addCleanup(busy.clear)
                for _ in range(12):
                    daemon.post("/api/debates", {"task": "first", "rounds": 6})
                time.sleep(0.5)
                cluster.stop()
                time.sleep(0.5)
                cluster.start()
                open_ones = "SELECT count(*) FROM debates WHERE status IN ('created', 'running') AND task = 'first'"
                deadline = time.monotonic() + 40
                while cluster.sql(open_ones) != "0":
                    self.assertLess(time.monotonic(), deadline, daemon.text()[-3000:])
                    time.sleep(0.5)
                busy.clear()
                thread.join()

    def test_what_only_this_server_has_is_not_acknowledged(self):
        """With synchronous replication a commit whose wait was broken off is local, and PostgreSQL only warns of it."""
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                self.assertEqual(daemon.post("/api/debates", {"task": "before", "rounds": 0})[0], 200)
                cluster.configure(synchronous_standby_names="nobody")
                cluster.program("pg_ctl", "-D", cluster.data, "reload")
                time.sleep(0.5)
                status, headers, _ = daemon.request("POST", "/api/debates", {"task": "local", "rounds": 0}, timeout=40)
                self.assertEqual(status, 503)
                self.assertIn("retry-after", headers)
                self.assertIn("did not confirm that it committed", daemon.text())


class Counted(unittest.TestCase):
    """aragora_db_errors_total: what the database failed, and nothing else."""

    def errors(self, daemon):
        _, _, body = daemon.request("GET", "/metrics")
        return float(re.search(r"^aragora_db_errors_total (\S+)$", body.decode(), re.M)[1])

    def test_reads_and_writes_that_the_database_failed_are_counted_and_nothing_else(self):
        nobody = f"http://127.0.0.1:{free_port()}/v1"
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url, OPENAI_API_KEY="sk-test-0123456789abcdef", ARAGORA_OPENAI_BASE_URL=nobody, ARAGORA_CALL_TIMEOUT_SECONDS="1") as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                # Somebody else who is out of reach, and answers that are no success.
                _, made = daemon.post("/api/debates", {"task": "who", "agents": ["openai", "openai"], "rounds": 0, "deadline_seconds": 5})
                self.assertEqual(daemon.wait_finished(made["debate_id"])["status"], "failed")
                self.assertEqual(daemon.get("/api/debates/nobody")[0], 404)
                self.assertEqual(self.errors(daemon), 0)
                cluster.stop()
                for _ in range(3):
                    self.assertEqual(daemon.get(f"/api/debates/{made['debate_id']}")[0], 503)
                    self.assertEqual(daemon.post("/api/debates", {"task": "not now", "rounds": 0})[0], 503)
                self.assertGreaterEqual(self.errors(daemon), 6)
                deadline = time.monotonic() + 20
                while daemon.get("/api/ready")[0] != 503:  # else what is ready below is what was ready before
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.02)
                cluster.start()
                daemon.started = time.monotonic()
                daemon.wait_ready()
                after = self.errors(daemon)
                for _ in range(5):
                    status, answer = daemon.get(f"/api/debates/{made['debate_id']}")
                    self.assertEqual(status, 200, (answer, daemon.text()))
                self.assertEqual(self.errors(daemon), after)


class RoundTrips(unittest.TestCase):
    def test_a_read_of_one_statement_is_one_round_trip(self):
        with Cluster(log_statement="all") as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                _, made = daemon.post("/api/debates", {"task": "one", "rounds": 0})
                daemon.wait_finished(made["debate_id"])
                log = cluster.data / "server.log"
                read = lambda: daemon.get(f"/api/debates/{made['debate_id']}")
                for _ in range(20):
                    read()
                before = len(log.read_text())
                for _ in range(20):
                    read()
                told = log.read_text()[before:]
                self.assertEqual(len(re.findall(r"FROM debates d WHERE d\.id = \$1", told)), 20, told)
                # The prober, too, looks without a transaction.
                self.assertNotIn("READ ONLY", told)


if __name__ == "__main__":
    main()
