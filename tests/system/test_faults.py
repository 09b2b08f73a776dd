"""The Nth call that changes a file fails or never returns: what was there stays, what is incomplete never passes for a
backup, and the next run cleans up. FAULT_STEP says how many calls lie between two that are struck (1: every one); where
each sweep begins is left to chance, so that all are struck in the course of some runs."""
import contextlib
import json
import os
import pathlib
import random
import secrets
import sqlite3
import subprocess
import tempfile
import time
import unittest

from recovery import Receiver, deployment, lsn, names, recovered
from support import BINARY, Sandbox, main, postgres_database

tempfile.tempdir = "/dev/shm"  # thousands of fsyncs; the disk is not what is tested
LIBRARY = os.environ["FAULTS_LIBRARY"]
MOST = 200
STEP = int(os.environ.get("FAULT_STEP", "4"))
STRIKES = ["enospc", "eio", "short", "eintr", "kill"]


def calls(step):
    return range(random.randint(1, step), MOST + 1, step)


class Faults(Sandbox):
    def sweep(self, kind, *arguments, step=STEP, before=None):
        """Runs the command once for each N until the fault no longer strikes; yields N and the result."""
        mark = self.directory / "struck"
        for number in calls(step):
            if before:
                before()
            mark.unlink(missing_ok=True)
            # Well below any deadline of the product: a broken disk is not waited for.
            result = self.run(*arguments, timeout=15, LD_PRELOAD=LIBRARY, FAULT_KIND=kind, FAULT_AT=str(number), FAULT_MARK=str(mark))
            if not mark.exists():
                assert number > step, f"{kind} never struck: is {LIBRARY} loaded?\n{result.stderr}"
                return
            yield number, result

    def backups(self):
        return self.directory / "backups"

    def ids(self):
        return sorted(p.name for p in (self.backups() / "full").iterdir() if not p.name.startswith("."))

    def fill(self, megabytes):
        with contextlib.closing(sqlite3.connect(self.directory / "state/aragora.db")) as database, database:
            database.execute("CREATE TABLE filler (id INTEGER PRIMARY KEY, body BLOB)")
            database.executemany("INSERT INTO filler (body) VALUES (?)", ((secrets.token_bytes(65536),) for _ in range(16 * megabytes)))


class BackupFaults(unittest.TestCase):
    def create_sweep(self, sandbox, kinds, step=STEP):
        sandbox.run("backup", "--output", sandbox.backups(), check=0)
        create = ("backup", "create", "--output", sandbox.backups())
        struck = 0
        for kind in kinds:
            for number, result in sandbox.sweep(kind, *create, step=step):
                struck += 1
                with self.subTest(kind=kind, number=number):
                    if kind in ("short", "eintr"):
                        self.assertEqual(result.returncode, 0, f"one interrupted call is no failure: {result.stderr}")
                    elif kind != "kill" and result.returncode != 0:
                        self.assertNotEqual(result.returncode, -6, result.stderr)
                        self.assertIn("aragora:", result.stderr)
                    latest = pathlib.Path(os.readlink(sandbox.backups() / "latest")).name
                    self.assertIn(latest, sandbox.ids())
                    # Whatever is listed is whole: published under the fault, or from before.
                    newest = sandbox.ids()[-1]
                    sandbox.run("backup", "verify", "--level", "1", "--input", newest, ARAGORA_BACKUP_DIR=str(sandbox.backups()), check=0)
            sandbox.run(*create, check=0)
            self.assertEqual([p.name for p in (sandbox.backups() / "full").iterdir() if p.name.startswith(".")], [], "leftovers")
            self.assertEqual(os.readlink(sandbox.backups() / "latest"), f"full/{sandbox.ids()[-1]}")
            sandbox.run("backup", "verify", "--input", "latest", ARAGORA_BACKUP_DIR=str(sandbox.backups()), check=0)
            for old in sandbox.ids()[:-1]:  # the others were looked at when they came
                sandbox.run("backup", "verify", "--level", "0", "--input", old, ARAGORA_BACKUP_DIR=str(sandbox.backups()), check=0)
        return struck

    def test_create_from_sqlite(self):
        with Faults() as sandbox:
            sandbox.run("migrate", check=0)
            sandbox.fill(2)
            self.assertGreater(self.create_sweep(sandbox, STRIKES), 200 // STEP)

    def test_create_from_postgres(self):
        with postgres_database() as url, Faults(DATABASE_URL=url) as sandbox:
            sandbox.run("migrate", check=0)
            self.assertGreater(self.create_sweep(sandbox, ["enospc", "kill"]), 30 // STEP)

    def test_prune_removes_a_backup_as_a_whole_or_not_at_all(self):
        with Faults() as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.backups())
            sandbox.run("migrate", check=0)

            def aged():
                if (sandbox.backups() / "full").exists() and len(sandbox.ids()) >= 4:
                    return
                for _ in range(2):
                    sandbox.run("backup", "create", check=0, clock="-5d")
                for _ in range(2):
                    sandbox.run("backup", "create", check=0)
                sandbox.run("backup", "verify", "--input", "latest", check=0)

            for kind in ("eio", "kill"):
                for number, _ in sandbox.sweep(kind, "backup", "prune", "--days", "1", before=aged):
                    with self.subTest(kind=kind, number=number):
                        self.assertGreaterEqual(len(sandbox.ids()), 2)
                        for name in sandbox.ids():
                            sandbox.run("backup", "verify", "--level", "1", "--input", name, check=0)
                sandbox.run("backup", "prune", "--days", "1", check=0)
                self.assertEqual([p.name for p in (sandbox.backups() / "full").iterdir() if p.name.startswith(".")], [], "leftovers")


class RestoreFaults(unittest.TestCase):
    def test_the_database_is_the_old_one_or_the_restored_one(self):
        with Faults() as sandbox:
            sandbox.run("migrate", check=0)
            sandbox.fill(1)
            sandbox.run("backup", "--output", sandbox.backups(), check=0)
            path = sandbox.directory / "state/aragora.db"

            def rows():
                with contextlib.closing(sqlite3.connect(path)) as database:
                    self.assertEqual(database.execute("PRAGMA integrity_check").fetchone(), ("ok",))
                    return database.execute("SELECT count(*) FROM filler").fetchone()[0]

            def one_more():
                for kept in path.parent.glob("*.pre-restore-*"):
                    kept.unlink()
                with contextlib.closing(sqlite3.connect(path)) as database, database:
                    database.execute("INSERT INTO filler (body) VALUES (x'00')")

            restore = ("restore", "--input", str(sandbox.backups() / "latest"), "--yes")
            outcomes = set()
            for kind in STRIKES:
                for number, result in sandbox.sweep(kind, *restore, before=one_more):
                    with self.subTest(kind=kind, number=number):
                        found = rows()
                        self.assertTrue(found == 16 or result.returncode != 0, f"exit {result.returncode} with {found} rows: {result.stderr}")
                        if kind in ("short", "eintr"):
                            self.assertEqual(result.returncode, 0, result.stderr)
                        outcomes.add(found == 16)
                sandbox.run(*restore, check=0)
                self.assertEqual(rows(), 16)
                self.assertEqual([p.name for p in path.parent.glob("*.restore-*") if ".pre-restore-" not in p.name], [])
            self.assertEqual(outcomes, {True, False})


class WalFaults(unittest.TestCase):
    STEP = 4 * STEP  # a receiver is started for each

    def test_a_receiver_that_fails_at_the_nth_call_loses_nothing_and_the_next_goes_on(self):
        with deployment(max_slot_wal_keep_size="-1") as (cluster, sandbox):
            sandbox.elsewhere()
            sandbox.run("backup", "create", "--kind", "base", check=0)
            mark, struck, written = sandbox.directory / "struck", 0, 0
            wal = sandbox.directory / "backups/wal"

            def write():
                nonlocal written
                written += 1
                cluster.sql(f"INSERT INTO settings (name, value, updated_at) VALUES ('f{written}', repeat('x', 3000), 0)")
                if written % 4 == 0:
                    cluster.sql("SELECT pg_switch_wal()", user="postgres")

            for kind in STRIKES:
                for number in calls(self.STEP):
                    mark.unlink(missing_ok=True)
                    with Receiver(sandbox, "--seal-interval", "1", wait=False, LD_PRELOAD=LIBRARY, FAULT_KIND=kind, FAULT_AT=str(number), FAULT_MARK=str(mark)) as receiver:
                        deadline = time.monotonic() + 3
                        while not mark.exists() and time.monotonic() < deadline and receiver.process.poll() is None:
                            write()
                            time.sleep(0.02)
                        if mark.exists() and kind in ("eio", "enospc"):
                            time.sleep(0.1)
                        receiver.process.kill()
                        receiver.process.wait()
                    struck += mark.exists()
                    if written % 10 == 0:  # what is there is whole, at any time
                        sandbox.run("backup", "verify", "--level", "1", "--input", "latest-base", check=0)
            self.assertGreater(struck, len(STRIKES) * MOST // self.STEP * 3 // 4, "the faults strike")
            with Receiver(sandbox, "--seal-interval", "1") as receiver:
                end = cluster.sql("SELECT pg_switch_wal()", user="postgres")
                receiver.wait(lambda status: lsn(status["flushed"]) >= lsn(end), limit=200)
                deadline = time.monotonic() + 60
                while json.loads((wal / "offsite.json").read_text())["flushed"] != receiver.status()["flushed"]:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.1)
                self.assertEqual(receiver.stop(), 0)
            self.assertEqual([p.name for p in wal.rglob("*.tmp-*")], [], "leftovers")
            for place in ([], ["--from", "offsite"]):
                if place:
                    sandbox.run("backup", "copy", check=0)
                sandbox.run("backup", "verify", "--level", "1", "--input", "latest-base", *place, check=0)
                with self.subTest(place=place):
                    to = sandbox.directory / f"recovered{len(place)}"
                    sandbox.run("restore", "--latest", "--to", to, *place, check=0)
            with recovered(cluster, sandbox.directory / "recovered2"):
                self.assertEqual({f"f{n}" for n in range(1, written + 1)} - names(cluster), set())


class IncrementFaults(unittest.TestCase):
    def test_backup_run_that_fails_at_the_nth_call_leaves_only_whole_increments(self):
        with Faults() as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.backups())
            sandbox.elsewhere()
            sandbox.run("migrate", check=0)
            sandbox.run("backup", "create", "--due", check=0)
            mark, struck = sandbox.directory / "struck", 0
            for kind in STRIKES:
                for number in calls(6 * STEP):
                    mark.unlink(missing_ok=True)
                    process = subprocess.Popen([BINARY, "backup", "run", "--interval", "1"], env={**sandbox.environment, "LD_PRELOAD": LIBRARY, "FAULT_KIND": kind, "FAULT_AT": str(number), "FAULT_MARK": str(mark)},
                                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    deadline = time.monotonic() + 0.8
                    while time.monotonic() < deadline and not mark.exists() and process.poll() is None:
                        with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db", timeout=10)) as database, database:
                            database.execute("INSERT INTO settings (name, value, updated_at) VALUES (hex(randomblob(8)), hex(randomblob(3000)), 0)")
                        time.sleep(0.05)
                    time.sleep(0.05)
                    process.kill()
                    process.wait()
                    struck += mark.exists()
                    sandbox.run("backup", "verify", "--level", "1", check=0)
            self.assertGreater(struck, 30 // STEP)
            live = sandbox.directory / "state/aragora.db"
            process = subprocess.Popen([BINARY, "backup", "run", "--interval", "1"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(2.5)
            process.terminate()
            process.wait(60)
            for place in ([], ["--from", "offsite"]):
                back = sandbox.directory / f"back{len(place)}.db"
                sandbox.run("restore", "--latest", "--to", back, *place, check=0)
                count = lambda path: sqlite3.connect(path).execute("SELECT count(*), sum(length(value)) FROM settings").fetchone()
                self.assertEqual(count(back), count(live))


if __name__ == "__main__":
    main()
