"""SQLite between two full backups: increments while the database is written to, and every moment of it restored."""
import contextlib
import fcntl
import json
import secrets
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
            # A target that SQLite cannot keep to is never left out of a restore, with a backup that is named neither.
            newest = sandbox.directory / "never.db"
            for wrong, status in ((["--target-lsn", "0/0"], 64), (["--target-time", "yesterday"], 64), (["--target-xid", "7"], 64),
                                  (["--target-time", moments[0], "--exclusive"], 64)):
                for named in ([], ["--input", "latest"]):
                    sandbox.run("restore", *wrong, *named, "--to", newest, check=status)
            refused = sandbox.run("restore", "--input", "latest", "--target-time", "2020-01-01T00:00:00Z", "--to", newest, check=66)
            self.assertIn("leave --input out", refused.stderr)
            self.assertFalse(newest.exists())

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

    def wait_for_backup(self):
        deadline = time.monotonic() + 10
        while not (self.backups / "latest").exists():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def test_increments_that_were_made_and_are_gone_are_missed(self):
        """The last ones leave no hole in the chain, all of them no chain."""
        with self.deployment() as sandbox:
            elsewhere = sandbox.directory / "mnt"
            elsewhere.mkdir()
            sandbox.elsewhere(elsewhere)
            with self.running(sandbox) as process:
                deadline = time.monotonic() + 20
                while not (self.backups / "latest").exists():
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.02)
                time.sleep(1.2)
                for number in range(3):
                    before = len(self.increments())
                    self.write(f"k{number}")
                    self.wait_for(before + 1)
                deadline = time.monotonic() + 20
                while len(list(elsewhere.glob("increments/*/*.json"))) < 3 or not list(elsewhere.glob("increments/*.json")):
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.05)
                process.terminate()
                process.wait(20)
            made = self.increments()
            self.assertGreaterEqual(len(made), 3)
            to = sandbox.directory / "restored.db"
            sandbox.run("restore", "--latest", "--to", to, check=0)
            self.assertEqual(self.names(to), {"k0", "k1", "k2"})
            for place, options in ((self.backups, ()), (elsewhere, ("--from", elsewhere))):
                folder = next(path for path in (place / "increments").iterdir() if path.is_dir())
                last = sorted(folder.glob("*.json"))[-1]
                last.unlink()
                (folder / (last.stem + ".pages.zst.age")).unlink()
                refused = sandbox.run("restore", "--latest", *options, "--to", sandbox.directory / "no", check=65)
                self.assertRegex(refused.stderr, r"\d+ increments? (was|were) made, the last at .*; \d+ are there")
                self.assertFalse((sandbox.directory / "no").exists())
                self.assertNotEqual(sandbox.run("drill", *options).returncode, 0)
                before = refused.stderr.split("--target-time ")[1].strip()
                kept = sandbox.directory / f"kept-{len(options)}"
                sandbox.run("restore", "--target-time", before, *options, "--to", kept, check=0)
                self.assertEqual(self.names(kept), {"k0", "k1"})
            sandbox.run("backup", "verify", "--level", "0", check=65)
            shutil.rmtree(next(path for path in (self.backups / "increments").iterdir() if path.is_dir()))
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "no", check=65)
            # Saving goes on, from a full backup.
            with self.running(sandbox):
                self.write("k3")
                deadline = time.monotonic() + 20
                while len(list(self.backups.glob("full/2*"))) < 2:
                    self.assertLess(time.monotonic(), deadline, (sandbox.directory / "run.log").read_text())
                    time.sleep(0.05)
            again = sandbox.directory / "again"
            sandbox.run("restore", "--latest", "--to", again, check=0)
            self.assertEqual(self.names(again), {"k0", "k1", "k2", "k3"})

    def test_it_follows_the_file_over_a_restore(self):
        with self.deployment() as sandbox:
            with self.running(sandbox) as process:
                self.wait_for_backup()
                for number, name in enumerate(("ka", "kb", "kc"), 1):
                    self.write(name)
                    self.wait_for(number)
                inode = self.path.stat().st_ino
                sandbox.run("restore", "--latest", "--yes", check=0)
                self.assertNotEqual(self.path.stat().st_ino, inode)
                for name in ("kd", "ke", "kf"):
                    before = len(self.increments())
                    self.write(name)
                    self.wait_for(before + 1)
                moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1)) + "Z"
                # Back to the full backup alone: what was lost by it is lost in what can be restored, too.
                full = sandbox.run_json("backup", "list")["backups"][0]["id"]
                time.sleep(2.1)
                before = len(self.increments())
                sandbox.run("restore", "--input", full, "--yes", check=0)
                self.wait_for(before + 1)
                self.write("kg")
                self.wait_for(before + 2)
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(20), 0)
            self.assertEqual(self.names(), {"kg"})
            for target, expected in ((["--latest"], {"kg"}), (["--target-time", moment], {"ka", "kb", "kc", "kd", "ke", "kf"})):
                file = sandbox.directory / f"at{len(expected)}.db"
                sandbox.run("restore", *target, "--to", file, check=0)
                self.assertEqual(self.names(file), expected)
            epochs = [json.loads(path.read_text().split("\n")[0])["epoch"] for path in self.increments()]
            self.assertEqual(len(set(epochs)), 3, "before, after the first restore, after the second")
            sandbox.run("backup", "verify", "--input", "latest", check=0)

    def test_the_daemon_follows_the_file_too(self):
        with self.deployment(ARAGORA_BACKUP_CONTINUOUS="true", ARAGORA_BACKUP_INTERVAL_SECONDS="1") as sandbox:
            with Daemon(sandbox):
                self.wait_for_backup()
                self.write("ka")
                self.wait_for(1)
                self.assertIn("a daemon uses", sandbox.run("restore", "--latest", "--yes", check=75).stderr)
            self.write("kb")  # nobody saves it
            sandbox.run("restore", "--latest", "--yes", check=0)
            before = len(self.increments())
            with Daemon(sandbox):
                self.write("kc")
                self.wait_for(before + 1)
            file = sandbox.directory / "restored.db"
            sandbox.run("restore", "--latest", "--to", file, check=0)
            self.assertEqual(self.names(file), {"ka", "kc"})

    def test_the_database_of_another_deployment_is_refused(self):
        with self.deployment(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox, Sandbox(ARAGORA_ENCRYPTION_KEY=sandbox.environment["ARAGORA_ENCRYPTION_KEY"]) as other:
            other.run("migrate", check=0)
            other.run("backup", check=0)
            with self.running(sandbox) as process:
                self.wait_for_backup()
                self.write("ka")
                self.wait_for(1)
                shutil.copy(other.directory / "state/aragora.db", self.path.with_suffix(".new"))
                self.path.with_suffix(".new").rename(self.path)
                for suffix in "-wal", "-shm":  # of the file before: would be applied to this one
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
                deadline = time.monotonic() + 20
                while "of another deployment" not in (sandbox.directory / "run.log").read_text():
                    self.assertLess(time.monotonic(), deadline, (sandbox.directory / "run.log").read_text())
                    time.sleep(0.05)
                process.send_signal(signal.SIGTERM)
                process.wait(20)
            self.assertEqual(len(self.increments()), 1)

    def test_two_writers_of_one_chain_do_not_break_it(self):
        with self.deployment() as sandbox:
            with self.running(sandbox), self.running(sandbox):
                self.wait_for_backup()
                for number in range(1, 8):
                    self.write(f"k{number}")
                    self.wait_for(number)
                    time.sleep(0.3)
            sandbox.run("backup", "verify", "--input", "latest", check=0)
            file = sandbox.directory / "restored.db"
            sandbox.run("restore", "--latest", "--to", file, check=0)
            self.assertEqual(self.names(file), {f"k{number}" for number in range(1, 8)})


class Names(unittest.TestCase):
    """One file, several names."""

    @contextlib.contextmanager
    def deployment(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), JWT_SECRET=secrets.token_hex(32)) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            self.real = sandbox.directory / "data/aragora.db"
            sandbox.run("migrate", check=0, ARAGORA_STATE_DIR=str(self.real.parent))
            self.write(self.real, "one")
            sandbox.run("backup", check=0, ARAGORA_STATE_DIR=str(self.real.parent))
            self.write(self.real, "two")
            yield sandbox

    def write(self, path, name):
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("INSERT INTO settings (name, value, updated_at) VALUES (?, '', 0)", (name,))

    def names(self, path):
        with contextlib.closing(sqlite3.connect(path)) as database:
            return {row[0] for row in database.execute("SELECT name FROM settings WHERE name IN ('one', 'two')")}

    def other_names(self, sandbox):
        file, folder, hard = (sandbox.directory / name for name in ("by-file", "by-folder", "by-hard-link"))
        file.mkdir()
        (file / "aragora.db").symlink_to("../data/aragora.db")
        folder.symlink_to("data")
        hard.mkdir()
        (hard / "aragora.db").hardlink_to(self.real)
        return file, folder, hard

    def test_a_restore_is_refused_by_whatever_name_a_daemon_uses_the_file(self):
        with self.deployment() as sandbox:
            for state in (self.real.parent, *self.other_names(sandbox)):
                for restored in (self.real.parent, *(sandbox.directory / name for name in ("by-file", "by-folder", "by-hard-link"))):
                    with self.subTest(daemon=state.name, restore=restored.name), Daemon(sandbox, ARAGORA_STATE_DIR=str(state)):
                        inode = self.real.stat().st_ino
                        refused = sandbox.run("restore", "--input", "latest", "--yes", check=75, ARAGORA_STATE_DIR=str(restored))
                        self.assertIn("a daemon uses", refused.stderr)
                        self.assertEqual((self.real.stat().st_ino, self.names(self.real)), (inode, {"one", "two"}))

    def test_a_restore_through_a_link_keeps_the_link(self):
        with self.deployment() as sandbox:
            state = self.other_names(sandbox)[0]
            report = sandbox.run_json("restore", "--input", "latest", "--yes", check=0, ARAGORA_STATE_DIR=str(state))
            self.assertTrue((state / "aragora.db").is_symlink())
            self.assertEqual((self.names(self.real), report["restored_to"]), ({"one"}, str(self.real)))
            self.assertEqual(self.names(report["kept"]), {"one", "two"})

    def test_a_link_to_a_file_that_is_not_there_yet_is_kept(self):
        with self.deployment() as sandbox:
            (sandbox.directory / "new").mkdir()
            state = sandbox.directory / "by-new"
            state.mkdir()
            (state / "aragora.db").symlink_to("../new/aragora.db")
            sandbox.run("restore", "--input", "latest", "--yes", check=0, ARAGORA_STATE_DIR=str(state))
            self.assertTrue((state / "aragora.db").is_symlink())
            self.assertEqual(self.names(sandbox.directory / "new/aragora.db"), {"one"})


if __name__ == "__main__":
    main()
