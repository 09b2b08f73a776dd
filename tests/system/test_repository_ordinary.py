"""What looks as if somebody had attacked the backups and is an ordinary day: an older version's repository, two machines, retention,
a run that was killed, a restored database, a copy that is behind. Each works, or says what to type."""
import contextlib
import json
import os
import shutil
import sqlite3
import unittest

from recovery import deployment
from support import main, sqlite_deployment


def ids(sandbox, *options):
    return [entry["id"] for entry in sandbox.run_json("backup", "list", *options, check=0)["backups"]]


@contextlib.contextmanager
def another_machine(sandbox):
    """Commands run under another host name."""
    sandbox.prefix = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "--uts", "sh", "-c", 'hostname the-other-machine && exec "$@"', "sh"]
    try:
        yield
    finally:
        sandbox.prefix = []


def killed_at(number):
    return {"LD_PRELOAD": os.environ["FAULTS_LIBRARY"], "FAULT_KIND": "kill", "FAULT_AT": str(number)}


class Ordinary(unittest.TestCase):
    def made_by_an_older_version(self, sandbox):
        """Which had no record of what there is, and signed nothing of what verification found."""
        for place in (sandbox.directory / "backups", sandbox.directory / "mnt"):
            shutil.rmtree(place / "ledger")
            for mark in place.glob("verified/*.json"):
                mark.write_text(json.dumps(json.loads(mark.read_text().splitlines()[0])["found"]))
        (sandbox.directory / "state/.aragora.db.backups").unlink()

    def test_a_repository_of_an_older_version(self):
        with sqlite_deployment() as sandbox:
            sandbox.elsewhere()
            for days in (40, 30, 20, 10, 1):
                sandbox.run("backup", check=0, clock=f"-{days}d")
            sandbox.run("backup", "verify", check=0)
            sandbox.run("backup", "copy", check=0)
            self.made_by_an_older_version(sandbox)
            self.assertEqual([entry["proven"] for entry in sandbox.run_json("backup", "list", check=0)["backups"]], [False] * 5)
            statements = sandbox.run_json("backup", "status")["statements"]
            proof = next(s for s in statements if s["subject"] == "proof")
            self.assertIn("aragora backup verify", proof["hint"])
            for options in ((), ("--from", "offsite")):
                self.assertIn("not recorded", sandbox.run("backup", "verify", *options, check=0).stdout)
                sandbox.run("restore", "--input", "latest", *options, "--to", sandbox.directory / f"restored{len(options)}", check=0)
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "latest", check=0)
            sandbox.run("backup", check=0)
            sandbox.run("backup", "copy", check=0)
            number = str(sandbox.run_json("backup", "prune", "--days", "15", "--dry-run")["removals"])
            sandbox.run("backup", "prune", "--days", "15", "--yes-remove", number, check=0)
            self.assertEqual((len(ids(sandbox)), len(ids(sandbox, "--from", "offsite"))), (3, 3))
            for options in ((), ("--from", "offsite")):
                self.assertNotIn("not recorded", sandbox.run("backup", "verify", *options, check=0).stdout)
            sandbox.run("backup", "status", check=0)
            sandbox.run("drill", check=0)

    def test_runs_that_were_killed_between_two_steps(self):
        with sqlite_deployment() as sandbox:
            place, told = sandbox.directory / "backups", sandbox.directory / "state/.aragora.db.backups"
            sandbox.run("backup", check=0)
            for before in (place / "ledger/full.json", told):
                # The backup is there; the record, or what the database was told, is not.
                kept = [(path, path.read_text()) for path in (place / "ledger/full.json", told)]
                sandbox.run("backup", check=0)
                for path, text in kept[0 if before != told else 1:]:
                    path.write_text(text)
                sandbox.run("backup", "verify", check=0)
                sandbox.run("backup", "status", check=0)
                sandbox.run("restore", "--input", "latest", "--to", sandbox.directory / f"{before.name}.db", check=0)
                sandbox.run("backup", check=0)
                recorded = json.loads((place / "ledger/full.json").read_text().splitlines()[0])["present"]
                self.assertEqual(sorted(recorded), sorted(ids(sandbox)), "the next one adopts it")
            # Before the very first record.
            shutil.rmtree(place / "ledger")
            told.unlink()
            sandbox.run("backup", "verify", check=0)
            # Taken from the record, and not yet removed.
            sandbox.run("backup", check=0)
            record = place / "ledger/full.json"
            first = ids(sandbox)[0]
            kept = record.read_text()
            shutil.move(place / "full" / first, sandbox.directory / first)
            sandbox.run("backup", "forget", check=0)
            self.assertNotEqual(record.read_text(), kept)
            shutil.move(sandbox.directory / first, place / "full" / first)
            sandbox.run("backup", "verify", check=0)
            sandbox.run("backup", "prune", check=0)
            sandbox.run("backup", "verify", check=0)

    def test_a_run_that_is_killed_before_any_of_its_writes(self):
        with sqlite_deployment() as sandbox:
            sandbox.elsewhere()
            for days in (40, 30):
                sandbox.run("backup", check=0, clock=f"-{days}d")
            commands = {"backup": ("backup",), "verify": ("backup", "verify", "--level", "0")}
            for name, arguments in commands.items():
                for number in range(1, 1000, 7):
                    result = sandbox.run(*arguments, **killed_at(number))
                    for options in ((), ("--from", "offsite")):
                        looked = sandbox.run("backup", "verify", "--level", "0", *options)
                        self.assertEqual(looked.returncode, 0, (name, number, looked.stdout, looked.stderr))
                    if result.returncode == 0:
                        break
                self.assertEqual(result.returncode, 0, (name, result.stderr))
                self.assertGreater(number, 3, name)
                sandbox.run("backup", "copy", check=0)
                self.assertEqual(sandbox.run_json("backup", "forget", check=0)["forgotten"], [])
                self.assertEqual(sandbox.run_json("backup", "forget", "--from", "offsite", check=0)["forgotten"], [])

    def test_a_copy_that_is_behind(self):
        with sqlite_deployment() as sandbox:
            mount = sandbox.elsewhere()
            sandbox.run("backup", check=0)
            mount.rename(sandbox.directory / "unmounted")
            for _ in range(2):
                sandbox.run("backup")
            (sandbox.directory / "unmounted").rename(mount)
            newest = ids(sandbox)[-1]
            sandbox.run("backup", "verify", "--from", "offsite", check=0)
            sandbox.run("restore", "--from", "offsite", "--input", "latest", "--to", sandbox.directory / "old.db", check=0)
            status = sandbox.run_json("backup", "status")["statements"]
            self.assertTrue(any(s["subject"] == "offsite" and s["level"] != "ok" for s in status), status)
            # Killed before what came there was recorded.
            record = mount / "ledger/full.json"
            kept = record.read_text()
            sandbox.run("backup", "copy", check=0)
            record.write_text(kept)
            sandbox.run("backup", "verify", "--from", "offsite", check=0)
            sandbox.run("backup", "copy", check=0)
            self.assertIn(newest, record.read_text())
            # Gone there, still here: the line that was named brings it back.
            shutil.rmtree(mount / "full" / newest)
            self.assertIn("aragora backup copy", sandbox.run("backup", "verify", "--from", "offsite", check=65).stdout)
            sandbox.run("backup", "copy", check=0)
            sandbox.run("backup", "verify", "--from", "offsite", check=0)
            # Gone there and here: the other line takes note, there and here.
            first = ids(sandbox)[0]
            for place in (mount, sandbox.directory / "backups"):
                shutil.rmtree(place / "full" / first)
            self.assertIn("aragora backup forget --from offsite", sandbox.run("backup", "verify", "--from", "offsite", check=65).stdout)
            self.assertEqual(sandbox.run_json("backup", "forget", "--from", "offsite", check=0)["forgotten"], [first])
            sandbox.run("backup", "verify", "--from", "offsite", check=0)
            sandbox.run("backup", "verify", check=65)
            self.assertEqual(sandbox.run_json("backup", "forget", check=0)["forgotten"], [first])
            sandbox.run("backup", "copy", check=0)
            sandbox.run("backup", "verify", "--from", "offsite", check=0)

    def test_two_machines_that_copy_to_one_place(self):
        with sqlite_deployment() as sandbox:
            sandbox.elsewhere()
            other = {"ARAGORA_BACKUP_DIR": str(sandbox.directory / "of the other")}
            for days in (40, 30, 20, 1):
                sandbox.run("backup", check=0, clock=f"-{days}d")
                with another_machine(sandbox):
                    sandbox.run("backup", check=0, clock=f"-{days}d", **other)
            self.assertEqual(len(ids(sandbox, "--from", "offsite")), 8)
            for environment in ({}, other):
                number = str(sandbox.run_json("backup", "prune", "--days", "15", "--dry-run", **environment)["removals"])
                sandbox.run("backup", "prune", "--days", "15", "--yes-remove", number, check=0, **environment)
                for looks in ({}, other):
                    sandbox.run("backup", "copy", check=0, **looks)
                    sandbox.run("backup", "verify", "--from", "offsite", check=0, **looks)
                    sandbox.run("backup", "verify", check=0, **looks)
            sandbox.run("backup", check=0)
            taken = ids(sandbox)[-1]
            shutil.rmtree(sandbox.directory / "mnt/full" / taken)
            for looks in ({}, other):
                self.assertIn(taken, sandbox.run("backup", "verify", "--from", "offsite", check=65, **looks).stdout)


class Postgres(unittest.TestCase):
    def test_two_machines_that_share_one_place_and_a_database_that_was_restored(self):
        with deployment() as (cluster, sandbox):
            for _ in range(2):
                sandbox.run("backup", check=0)
                with another_machine(sandbox):
                    sandbox.run("backup", check=0)
            made = ids(sandbox)
            self.assertEqual(len(made), 4)
            sandbox.run("backup", "verify", check=0)
            with another_machine(sandbox):
                sandbox.run("backup", "verify", check=0)
            self.assertEqual(cluster.sql("SELECT count(*) FROM settings WHERE name LIKE 'backup.head.full.%'"), "2")
            # The database of before knows an older head, or none.
            for id in made[0], made[1]:
                sandbox.run("restore", "--input", id, "--yes", check=0)
                self.assertLess(int(cluster.sql("SELECT count(*) FROM settings WHERE name LIKE 'backup.head.full.%'")), 2)
                sandbox.run("backup", "verify", check=0)
                sandbox.run("restore", "--input", "latest", "--dry-run", check=0)
                self.assertFalse([s for s in sandbox.run_json("backup", "status")["statements"] if s["subject"] == "backups" and s["level"] == "failure"])
            sandbox.run("backup", check=0)
            with another_machine(sandbox):
                sandbox.run("backup", "verify", check=0)
            # One of them takes something away: both miss it.
            shutil.rmtree(sandbox.directory / "backups/full" / ids(sandbox)[-1])
            sandbox.run("backup", "verify", check=65)
            with another_machine(sandbox):
                sandbox.run("backup", "verify", check=65)
                sandbox.run("backup", "forget", check=0)
            sandbox.run("backup", "verify", check=0)

    def test_an_archive_that_was_interrupted_before_its_first_promise(self):
        """Here and in a copy: log of which nothing was said yet is not log about which somebody took the word away."""
        with deployment() as (cluster, sandbox):
            mount = sandbox.elsewhere()
            sandbox.run("backup", "create", "--kind", "base", check=0)
            segment = cluster.sql("SELECT pg_walfile_name(pg_switch_wal())", user="postgres")
            sandbox.run("backup", "wal-push", cluster.data / "pg_wal" / segment, check=0)
            for log in (sandbox.directory / "backups/wal", mount / "wal"):
                self.assertEqual(json.loads((log / "00000001/confirmed.json").read_text().splitlines()[0])["timeline"], 1)
            # Killed before each of its writes, with nothing there yet.
            for number in range(1, 200):
                shutil.rmtree(mount / "wal", ignore_errors=True)
                shutil.rmtree(sandbox.directory / "backups/wal/00000001", ignore_errors=True)
                (sandbox.directory / "backups/wal/timelines.json").unlink(missing_ok=True)
                pushed = sandbox.run("backup", "wal-push", cluster.data / "pg_wal" / segment, **killed_at(number))
                if pushed.returncode == 0:
                    break
                for options in ((), ("--from", "offsite")):
                    sandbox.run("restore", "--latest", *options, "--to", sandbox.directory / "never", "--dry-run", check=0)
            self.assertGreater(number, 10)
            self.assertEqual(pushed.returncode, 0)
            for options in ((), ("--from", "offsite")):
                sandbox.run("restore", "--latest", *options, "--to", sandbox.directory / f"recovered{len(options)}", check=0)


if __name__ == "__main__":
    main()
