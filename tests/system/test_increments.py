"""SQLite between two full backups: increments while the database is written to, and every moment of it restored."""
import contextlib
import fcntl
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest

from support import BINARY, Daemon, Sandbox, main


class Increments(unittest.TestCase):
    @contextlib.contextmanager
    def deployment(self, **environment):
        with Sandbox(**environment) as sandbox:
            self.backups = sandbox.directory / "backups"
            self.path = sandbox.directory / "state/aragora.db"
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(self.backups)
            sandbox.run("migrate", check=0)
            yield sandbox

    @contextlib.contextmanager
    def running(self, sandbox, interval=1):
        log = open(sandbox.directory / "run.log", "a")
        process = subprocess.Popen([BINARY, "backup", "run", "--interval", str(interval)], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            log.close()

    def write(self, name):
        with contextlib.closing(sqlite3.connect(self.path)) as database, database:
            database.execute("INSERT INTO settings (name, value, updated_at) VALUES (?, hex(randomblob(20000)), 0)", (name,))

    def increments(self):
        return sorted(self.backups.glob("increments/*/*.json"))

    def wait_for(self, count):
        deadline = time.monotonic() + 20
        while len(self.increments()) < count:
            self.assertLess(time.monotonic(), deadline, f"{len(self.increments())} increments")
            time.sleep(0.02)

    def names(self, path=None):
        with contextlib.closing(sqlite3.connect(path or self.path)) as database:
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchone(), ("ok",))
            return {row[0] for row in database.execute("SELECT name FROM settings WHERE name LIKE 'k%'")}

    def test_every_increment_can_be_restored_and_the_newest_is_the_newest_moment(self):
        with self.deployment() as sandbox:
            moments = []
            with self.running(sandbox) as process:
                deadline = time.monotonic() + 10
                while not (self.backups / "latest").exists():
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.02)
                for number in range(1, 5):
                    self.write(f"k{number}")
                    self.wait_for(number)
                    moments.append(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".999Z")
                    time.sleep(1.1)
                quiet = len(self.increments())
                time.sleep(2.5)
                self.assertEqual(len(self.increments()), quiet, "nothing changed, nothing is written")
                self.write("k5")
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(20), 0)  # the last change is saved on the way out
            self.assertEqual(len(self.increments()), 5)
            self.assertIn("5 increments", sandbox.run("backup", "verify", "--input", "latest", check=0).stdout)
            for number, moment in enumerate(moments, 1):
                target = sandbox.directory / f"at-{number}.db"
                sandbox.run("restore", "--target-time", moment, "--to", target, check=0)
                self.assertEqual(self.names(target), {f"k{i}" for i in range(1, number + 1)})
            self.write("k6")  # after the last increment: lost with the disk
            report = sandbox.run_json("restore", "--latest", "--yes", "--verify", check=0)
            self.assertEqual((report["increments"], self.names()), (5, {"k1", "k2", "k3", "k4", "k5"}))
            sandbox.run("restore", "--target-time", "2020-01-01T00:00:00Z", "--yes", check=66)
            sandbox.run("restore", "--target-lsn", "0/0", "--yes", check=64)

    def test_a_kill_at_any_time_loses_at_most_the_interval(self):
        with self.deployment() as sandbox:
            for round in range(4):
                with self.running(sandbox) as process:
                    before = len(self.increments())
                    self.write(f"k{round}")
                    if (self.backups / "latest").exists():
                        self.wait_for(before + 1)
                    time.sleep(0.2 + round * 0.3)
                    process.kill()
                    process.wait()
            with self.running(sandbox) as process:
                self.write("k9")
                self.wait_for(len(self.increments()) + 1)
            target = sandbox.directory / "restored.db"
            sandbox.run("restore", "--latest", "--to", target, check=0)
            self.assertEqual(self.names(target), {"k0", "k1", "k2", "k3", "k9"})

    def test_the_daemon_does_it_itself_and_a_drill_sees_it(self):
        with self.deployment(ARAGORA_BACKUP_CONTINUOUS="true", ARAGORA_BACKUP_INTERVAL_SECONDS="1") as sandbox:
            with Daemon(sandbox) as daemon:
                ids = []
                for number in range(3):
                    ids.append(daemon.post("/api/debates", {"task": f"question {number}", "rounds": 0})[1]["debate_id"])
                    daemon.wait_finished(ids[-1])
                    time.sleep(1.2)
                self.wait_for(1)
            evidence = sandbox.run_json("drill", check=0)
            self.assertTrue(evidence["passed"])
            self.path.unlink()
            sandbox.run("restore", "--latest", "--yes", "--verify", check=0)
            with Daemon(sandbox) as daemon:
                self.assertEqual({d["id"] for d in daemon.get("/api/debates")[1]["items"]}, set(ids))

    def test_another_run_is_waited_for(self):
        with self.deployment() as sandbox:
            self.backups.mkdir()
            with open(self.backups / ".lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                refused = sandbox.run("backup", "--wait", "0", check=75)
                self.assertIn("another backup run works in", refused.stderr)
                waiting = subprocess.Popen([BINARY, "backup"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                self.assertIn("waiting for up to 10 min", waiting.stderr.readline())
                self.assertIsNone(waiting.poll())
            self.assertEqual((waiting.communicate(timeout=30), waiting.returncode)[1], 0)
            sandbox.run("backup", "verify", check=0)

    def test_damage_exchange_and_removal_are_found(self):
        with self.deployment() as sandbox:
            with self.running(sandbox):
                deadline = time.monotonic() + 10
                while not (self.backups / "latest").exists():
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.02)
                for number in range(1, 4):
                    self.write(f"k{number}")
                    self.wait_for(number)
            folder = self.increments()[0].parent
            original = sandbox.directory / "original"
            shutil.copytree(folder, original)

            def flip(path):
                data = bytearray(path.read_bytes())
                data[len(data) // 2] ^= 1
                path.write_bytes(data)

            def exchange(a, b):
                for suffix in (".json", ".pages.zst.age"):
                    first, second = folder / (a + suffix), folder / (b + suffix)
                    content = first.read_bytes()
                    first.write_bytes(second.read_bytes())
                    second.write_bytes(content)

            cases = {"pages": lambda: flip(folder / "000002.pages.zst.age"), "record": lambda: flip(folder / "000002.json"), "truncated": lambda: (folder / "000003.pages.zst.age").write_bytes(b""),
                     "exchanged": lambda: exchange("000001", "000002"), "missing record": lambda: (folder / "000002.json").unlink(), "missing pages": lambda: (folder / "000002.pages.zst.age").unlink()}
            before = self.path.read_bytes()
            for name, harm in cases.items():
                with self.subTest(harm=name):
                    shutil.rmtree(folder)
                    shutil.copytree(original, folder)
                    harm()
                    for level in "0", "2":
                        sandbox.run("backup", "verify", "--level", level, "--input", "latest", check=65)
                    (self.backups / "verified" / f"{folder.name}.json").unlink()
                    sandbox.run("restore", "--latest", "--yes", check=65)
                    self.assertEqual(self.path.read_bytes(), before)


if __name__ == "__main__":
    main()
