"""The daemon stops within drain_seconds and two seconds more, whatever it is doing: a backup, a copy to a store that hangs, a debate
whose provider does, a database that was stopped, a start, a reload. Nothing half-made is left, and the next start goes on at once. So does
the receiver of the log."""
import contextlib
import fcntl
import os
import random
import resource
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

import s3_store
from recovery import Receiver
from support import BINARY, Cluster, Daemon, Sandbox, main, sqlite_deployment
from test_outage import signal_all
from test_provider import KEY, Endpoint, speak

DRAIN = 1
SLACK = 0.7  # of a machine that does other things, too


class Silent:
    """Takes connections and what is sent, and never says a word."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.open = []
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.open.append(self.listener.accept()[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for end in self.open:
            end.close()


def provider(url):
    return {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY, "ARAGORA_DEFAULT_AGENTS": "openai:a,openai:b,openai:c"}


def until(true, what, limit=30):
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.01)


class Stopping(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def stops(self, daemon):
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        try:
            daemon.process.wait(60)
        except subprocess.TimeoutExpired:
            daemon.kill()
        took = time.monotonic() - began
        print(f"{self._testMethodName}: {took:.2f} s", file=sys.stderr)
        self.assertEqual(daemon.process.returncode, 0, daemon.text()[-4000:])
        self.assertLess(took, DRAIN + 2 + SLACK, daemon.text()[-4000:])
        return took

    def goes_on(self, sandbox, ids, **environment):
        """The next start has them at once, not after the leases of the one before have run out."""
        with Endpoint(lambda _, body: speak(body)) as endpoint, Daemon(sandbox, **provider(endpoint.url), **environment) as daemon:
            until(lambda: endpoint.requests, daemon.text, limit=4)
            for debate in ids:
                self.assertEqual(daemon.wait_finished(debate)["status"], "completed")

    def nothing_half_made(self, backups):
        left = [str(path) for path in backups.rglob("*") if ".tmp" in path.name or path.name.startswith(".partial")]
        self.assertEqual(left, [])
        folders = [path for kind in ("full", "base", "artifacts", "configuration") for path in (backups / kind).glob("*") if path.is_dir() and not path.name.startswith(".")]
        for folder in folders:
            self.assertTrue((folder / "manifest.json").exists(), folder)

    def test_leases_are_released_although_a_table_of_debates_is_locked(self):
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url, ARAGORA_DRAIN_SECONDS=str(DRAIN)) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                for number in range(10):
                    daemon.post("/api/debates", {"task": f"locked out {number}", "rounds": 6})
                held = "SELECT count(*) FROM debate_leases WHERE expires_at > 0"
                until(lambda: int(cluster.sql(held)) > 0, "no lease")
                locker = subprocess.Popen(["psql", "-qX", cluster.url, "-c", "BEGIN", "-c", "LOCK TABLE debates", "-c", "SELECT pg_sleep(8)"],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    until(lambda: cluster.sql("SELECT count(*) FROM pg_locks WHERE relation = 'debates'::regclass AND mode = 'AccessExclusiveLock' AND granted") == "1", "no lock")
                    time.sleep(0.5)  # until all of them wait
                    self.stops(daemon)
                    self.assertEqual(cluster.sql(held), "0")
                finally:
                    locker.kill()
                    locker.wait()

    def test_while_debates_wait_for_providers(self):
        with Silent() as silent, Sandbox(ARAGORA_DRAIN_SECONDS=str(DRAIN)) as sandbox:
            with Daemon(sandbox, **provider(f"http://127.0.0.1:{silent.port}/v1")) as daemon:
                ids = [daemon.post("/api/debates", {"task": "t", "rounds": 0})[1]["debate_id"] for _ in range(20)]
                until(lambda: len(silent.open) >= 60, daemon.text)
                self.stops(daemon)
            self.goes_on(sandbox, ids)

    def test_while_a_thousand_debates_wait_for_providers(self):
        with Cluster() as cluster, Silent() as silent, Sandbox(DATABASE_URL=cluster.url, ARAGORA_DRAIN_SECONDS=str(DRAIN), ARAGORA_MAX_CONCURRENT_DEBATES="1000") as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox, **provider(f"http://127.0.0.1:{silent.port}/v1")) as daemon:
                ids = [daemon.post("/api/debates", {"task": "t", "rounds": 0})[1]["debate_id"] for _ in range(1000)]
                until(lambda: len(silent.open) >= 3000, lambda: f"{len(silent.open)} calls", limit=120)
                self.stops(daemon)
            self.assertEqual(cluster.sql("SELECT count(*) FROM debates WHERE status IN ('pending', 'running')"), "1000")
            self.goes_on(sandbox, ids[:1], ARAGORA_MAX_CONCURRENT_DEBATES="10")

    def test_while_a_thousand_sockets_are_subscribed(self):
        with Silent() as silent, Sandbox(ARAGORA_DRAIN_SECONDS=str(DRAIN), ARAGORA_SOCKETS_PER_ADDRESS="0") as sandbox:
            with Daemon(sandbox, **provider(f"http://127.0.0.1:{silent.port}/v1")) as daemon, contextlib.ExitStack() as sockets:
                debate = daemon.post("/api/debates", {"task": "t", "rounds": 0})[1]["debate_id"]
                head = (f"GET /ws?debate_id={debate} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode()
                for _ in range(1000):  # none of them reads on, or answers a goodbye
                    one = sockets.enter_context(socket.create_connection(("127.0.0.1", daemon.port)))
                    one.sendall(head)
                    self.assertIn(b" 101 ", one.recv(300))
                self.stops(daemon)
            self.goes_on(sandbox, [debate])

    def test_while_the_database_server_is_stopped(self):
        with Cluster() as cluster, Silent() as silent, Sandbox(DATABASE_URL=cluster.url, ARAGORA_DRAIN_SECONDS=str(DRAIN)) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox, **provider(f"http://127.0.0.1:{silent.port}/v1")) as daemon:
                ids = [daemon.post("/api/debates", {"task": "t", "rounds": 0})[1]["debate_id"] for _ in range(20)]
                until(lambda: len(silent.open) >= 60, daemon.text)
                signal_all(cluster, signal.SIGSTOP)
                try:
                    # Everybody has something to ask it: debates whose calls broke, requests, the prober, the leases.
                    for end in silent.open:
                        end.close()
                    with contextlib.ExitStack() as clients:
                        for _ in range(30):
                            one = clients.enter_context(socket.create_connection(("127.0.0.1", daemon.port)))
                            one.sendall(b"GET /api/debates/nobody HTTP/1.1\r\nHost: x\r\n\r\n")
                        time.sleep(3)
                        self.stops(daemon)
                finally:
                    signal_all(cluster, signal.SIGCONT)
            with Endpoint(lambda _, body: speak(body)) as endpoint, Daemon(sandbox, **provider(endpoint.url)) as daemon:
                for debate in ids:  # their leases ran out
                    self.assertEqual(daemon.wait_finished(debate, limit=60)["status"], "completed")

    def big_sqlite(self, sandbox, megabytes):
        database = next((sandbox.directory / "state").glob("*.db"))
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE filler (content BLOB)")
            words = [secrets.token_hex(8) for _ in range(2000)]
            for _ in range(megabytes):
                connection.execute("INSERT INTO filler VALUES (?)", (" ".join(random.choices(words, k=62_000)),))
            connection.commit()

    def test_while_a_full_backup_of_the_embedded_database_is_made(self):
        with sqlite_deployment(ARAGORA_DRAIN_SECONDS=str(DRAIN), ARAGORA_BACKUP_CONTINUOUS="true", ARAGORA_BACKUP_COMPRESSION_LEVEL="19") as sandbox:
            self.big_sqlite(sandbox, 120)
            full = sandbox.directory / "backups" / "full"
            with Daemon(sandbox) as daemon:
                until(lambda: any(full.rglob("db.sqlite.zst.age")), daemon.text)
                time.sleep(0.5)
                self.stops(daemon)
                self.assertIn("made anew", daemon.text())
            self.nothing_half_made(sandbox.directory / "backups")
            self.assertEqual(sandbox.run_json("backup", "list")["backups"], [])
            self.assertNotIn("interrupted", sandbox.run("backup", "status").stdout)

    def test_while_a_full_backup_waits_for_a_database_server_that_was_stopped(self):
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url, ARAGORA_DRAIN_SECONDS=str(DRAIN), ARAGORA_BACKUP_CONTINUOUS="true",
                                           ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), ARAGORA_BACKUP_COMPRESSION_LEVEL="19") as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            sandbox.run("migrate", check=0)
            cluster.sql("CREATE TABLE filler AS SELECT md5(i::text) || md5((i * 7)::text) AS content FROM generate_series(1, 2000000) i")
            full = sandbox.directory / "backups" / "full"
            with Daemon(sandbox) as daemon:
                until(lambda: any(full.rglob("db.dump.zst.age")), daemon.text)
                signal_all(cluster, signal.SIGSTOP)
                try:
                    time.sleep(0.5)
                    self.stops(daemon)
                    self.assertEqual(subprocess.run(["pgrep", "-P", str(daemon.process.pid)], capture_output=True, text=True).stdout, "")
                finally:
                    signal_all(cluster, signal.SIGCONT)
            self.nothing_half_made(sandbox.directory / "backups")

    def test_backup_run_gives_up_a_full_backup(self):
        with sqlite_deployment(ARAGORA_BACKUP_COMPRESSION_LEVEL="19") as sandbox:
            self.big_sqlite(sandbox, 120)
            full = sandbox.directory / "backups" / "full"
            with subprocess.Popen([BINARY, "backup", "run"], env=sandbox.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
                until(lambda: any(full.rglob("db.sqlite.zst.age")), "no backup begins")
                began = time.monotonic()
                running.terminate()
                try:
                    _, said = running.communicate(timeout=20)
                finally:
                    running.kill()
            self.assertLess(time.monotonic() - began, 2, said)
            self.assertEqual(running.returncode, 0, said)
            self.nothing_half_made(sandbox.directory / "backups")

    def test_backup_run_gives_up_a_copy_to_a_store_that_says_nothing(self):
        with Silent() as silent:
            with s3_store.Store() as store:
                environment = dict(store.environment, ARAGORA_OFFSITE_ENDPOINT=f"http://127.0.0.1:{silent.port}")
            with sqlite_deployment(**environment) as sandbox, subprocess.Popen([BINARY, "backup", "run", "--interval", "1"], env=sandbox.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
                until(lambda: silent.open and any((sandbox.directory / "backups/full").glob("2*/manifest.json")), "no copy begins")
                began = time.monotonic()
                running.terminate()
                try:
                    _, said = running.communicate(timeout=20)
                finally:
                    running.kill()
                self.assertLess(time.monotonic() - began, 2, said)
                self.assertEqual(running.returncode, 0, said)

    def copies(self, environment, begun):
        """A daemon that copies to a store which keeps it waiting."""
        with sqlite_deployment(ARAGORA_DRAIN_SECONDS=str(DRAIN), ARAGORA_BACKUP_CONTINUOUS="true", ARAGORA_BACKUP_INTERVAL_SECONDS="1", **environment) as sandbox:
            with Daemon(sandbox) as daemon:
                until(lambda: begun() and any((sandbox.directory / "backups/full").glob("2*/manifest.json")), daemon.text)
                self.stops(daemon)
            self.nothing_half_made(sandbox.directory / "backups")
            noted = sandbox.directory / "backups" / "offsite.json"
            if noted.exists():
                self.assertNotIn("stopped", noted.read_text())
                self.assertNotIn("interrupted", noted.read_text())

    def test_while_a_copy_goes_to_a_slow_store(self):
        with s3_store.Store() as store:
            store.faults.append(s3_store.Fault("slow", times=1000))
            self.copies(store.environment, lambda: store.requests)

    def test_while_a_copy_waits_between_two_tries(self):
        with s3_store.Store() as store:
            store.faults.append(s3_store.Fault(503, times=1000))
            self.copies(store.environment, lambda: len(store.requests) > 2)

    def test_while_a_copy_waits_for_a_store_that_says_nothing(self):
        with Silent() as silent:
            with s3_store.Store() as store:
                environment = dict(store.environment, ARAGORA_OFFSITE_ENDPOINT=f"http://127.0.0.1:{silent.port}")
            self.copies(environment, lambda: silent.open)

    def test_while_a_name_server_says_nothing(self):
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url.replace("127.0.0.1", "localhost"), ARAGORA_DRAIN_SECONDS=str(DRAIN), LD_PRELOAD=os.environ["FAULTS_LIBRARY"]) as sandbox:
            silent = sandbox.environment["FAULT_SILENT_WHILE"] = str(sandbox.directory / "silent")
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                open(silent, "w").close()
                cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aragora'", user="postgres")
                until(lambda: daemon.get("/api/ready")[0] == 503, daemon.text)
                self.stops(daemon)

    def test_while_it_starts_and_the_database_server_is_stopped(self):
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url, ARAGORA_DRAIN_SECONDS=str(DRAIN)) as sandbox:
            sandbox.run("migrate", check=0)
            signal_all(cluster, signal.SIGSTOP)
            try:
                with Daemon(sandbox, wait=False) as daemon:
                    until(lambda: "generated" in daemon.text(), daemon.text)  # then it looks at the database
                    time.sleep(0.5)
                    self.stops(daemon)
            finally:
                signal_all(cluster, signal.SIGCONT)

    def test_while_it_reloads_and_the_database_server_is_stopped(self):
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url, ARAGORA_DRAIN_SECONDS=str(DRAIN), ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            settings = sandbox.write("settings.toml", "")
            sandbox.environment["ARAGORA_CONFIG"] = str(settings)
            sandbox.run("migrate", check=0)
            sandbox.run("backup", "create", check=0)
            with Daemon(sandbox) as daemon:
                until(lambda: "is kept as" in daemon.text(), daemon.text)
                signal_all(cluster, signal.SIGSTOP)
                try:
                    settings.write_text("[debates]\ndefault_agents = [\"demo-skeptic\", \"demo-optimist\"]\n")
                    daemon.process.send_signal(signal.SIGHUP)
                    time.sleep(0.5)
                    self.stops(daemon)
                finally:
                    signal_all(cluster, signal.SIGCONT)


class Receiving(unittest.TestCase):
    """`aragora backup wal` ends at once, whatever is under way beside the log; what it had received is confirmed."""

    @contextlib.contextmanager
    def receiver(self, cluster, wait=True, **environment):
        with Sandbox(DATABASE_URL=cluster.url, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), **environment) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            sandbox.run("migrate", check=0)
            with Receiver(sandbox, wait=wait) as receiver:
                yield sandbox, receiver

    def stops(self, receiver, number=signal.SIGTERM):
        began = time.monotonic()
        receiver.process.send_signal(number)
        try:
            receiver.process.wait(60)
        except subprocess.TimeoutExpired:
            receiver.process.kill()
            receiver.process.wait()
        took = time.monotonic() - began
        print(f"{self._testMethodName}: {took:.2f} s", file=sys.stderr)
        self.assertEqual(receiver.process.returncode, 0, receiver.text()[-4000:])
        self.assertLess(took, 2, receiver.text()[-4000:])

    def test_while_its_base_backup_waits_for_another_command(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Cluster() as cluster, self.receiver(cluster, wait=False) as (sandbox, receiver):
                backups = sandbox.directory / "backups"
                backups.mkdir(exist_ok=True)
                with open(backups / ".lock", "w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    until(lambda: "making one" in receiver.text(), receiver.text)
                    self.stops(receiver, number)

    def test_while_its_base_backup_is_made(self):
        with Cluster() as cluster:
            cluster.sql("CREATE TABLE filler AS SELECT md5(i::text) || md5((i * 7)::text) AS content FROM generate_series(1, 2000000) i")
            with self.receiver(cluster, ARAGORA_BACKUP_COMPRESSION_LEVEL="19") as (sandbox, receiver):
                backups = sandbox.directory / "backups"
                until(lambda: any((backups / "base").rglob("*.zst.age")), receiver.text, limit=120)
                self.stops(receiver)  # segments are being sealed, too, which takes its time at that level
                self.assertIn("given up", receiver.text())
                self.assertEqual([str(path) for path in (backups / "base").rglob("*") if ".tmp" in path.name or path.name.startswith(".partial")], [])
                self.assertEqual(sandbox.run_json("backup", "list")["backups"], [])
                sandbox.environment["ARAGORA_BACKUP_COMPRESSION_LEVEL"] = "1"
                with Receiver(sandbox) as again:
                    until(lambda: "made base backup" in again.text(), again.text, limit=60)
                    self.stops(again)

    def test_what_had_come_is_confirmed(self):
        with Cluster() as cluster, self.receiver(cluster) as (sandbox, receiver):
            until(lambda: "made base backup" in receiver.text(), receiver.text, limit=60)
            cluster.sql("CREATE TABLE many AS SELECT md5(i::text) AS content FROM generate_series(1, 100000) i")
            self.stops(receiver)
            status = receiver.status()
            until(lambda: cluster.sql(f"SELECT restart_lsn = '{status['flushed']}' FROM pg_replication_slots", user="postgres") == "t", lambda: f"{status}: {receiver.text()}")
            with Receiver(sandbox) as again:
                again.wait_for_position(cluster.sql("SELECT pg_current_wal_flush_lsn()"))
                self.stops(again)
            sandbox.run("backup", "verify", "--input", "latest-base", check=0)

    def test_what_had_come_is_confirmed_to_a_server_that_goes_on_sending(self):
        with Cluster() as cluster, self.receiver(cluster) as (sandbox, receiver):
            until(lambda: "made base backup" in receiver.text(), receiver.text, limit=60)
            self.stops(receiver)
            cluster.sql("CREATE TABLE many (content text)")
            for _ in range(12):
                with self.writing(cluster), Receiver(sandbox) as again:
                    self.waits_for_more(again)
                    self.stops(again)
                    flushed = again.status()["flushed"]
                    self.waits_until_left(cluster)
                    self.assertEqual(cluster.sql("SELECT restart_lsn FROM pg_replication_slots", user="postgres"), flushed)

    @staticmethod
    def waits_for_more(receiver):
        began = receiver.status()["flushed"]
        until(lambda: receiver.status()["flushed"] != began, receiver.text)

    @staticmethod
    def waits_until_left(cluster):
        until(lambda: cluster.sql("SELECT active FROM pg_replication_slots", user="postgres") == "f", "the server still sends")

    @contextlib.contextmanager
    def writing(self, cluster):
        stop = threading.Event()

        def write():
            while not stop.is_set():
                cluster.sql("INSERT INTO many SELECT md5(i::text) FROM generate_series(1, 200000) i")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            yield
        finally:
            stop.set()
            writer.join()

    def test_while_the_server_says_nothing(self):
        with Cluster() as cluster, self.receiver(cluster) as (_, receiver):
            until(lambda: "made base backup" in receiver.text(), receiver.text, limit=60)
            signal_all(cluster, signal.SIGSTOP)
            try:
                # It asks for the state of its slot every ten seconds, and waits for the answer.
                waits = lambda: int(subprocess.run(["ss", "-Htn", "state", "established", f"dport = :{cluster.port}"], capture_output=True, text=True, check=True).stdout.count("\n")) > 1
                until(waits, receiver.text)
                self.stops(receiver)
            finally:
                signal_all(cluster, signal.SIGCONT)

    def test_while_the_log_is_copied_to_a_store_that_says_nothing(self):
        with Silent() as silent:
            with s3_store.Store() as store:
                environment = dict(store.environment, ARAGORA_OFFSITE_ENDPOINT=f"http://127.0.0.1:{silent.port}")
            with Cluster() as cluster, self.receiver(cluster, ARAGORA_SEAL_INTERVAL_SECONDS="1", **environment) as (_, receiver):
                until(lambda: silent.open and "made base backup" in receiver.text(), receiver.text, limit=60)
                self.stops(receiver)


if __name__ == "__main__":
    main()
