"""What retention removes when a clock was wrong, who may write where, and what a drop in numbers says."""
import contextlib
import json
import os
import pathlib
import secrets
import shutil
import sqlite3
import subprocess
import time
import unittest

from recovery import Receiver, deployment
from s3_store import Store
from support import BINARY, Daemon, Sandbox, main


@contextlib.contextmanager
def sqlite_deployment(**environment):
    with Sandbox(**environment) as sandbox:
        sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
        sandbox.run("migrate", check=0)
        yield sandbox


def ids(sandbox, kind="full", *options):
    return [entry["id"] for entry in sandbox.run_json("backup", "list", *options, check=0)["backups"] if entry["kind"] == kind]


class Clocks(unittest.TestCase):
    def test_a_clock_once_ahead_removes_nothing_by_itself(self):
        with sqlite_deployment() as sandbox:
            sandbox.elsewhere()
            for days in range(11, 0, -1):
                sandbox.run("backup", check=0, clock=f"-{days}d")
            before = ids(sandbox)
            # The nightly unit, line by line, with the clock 400 days ahead.
            sandbox.run("backup", "create", "--due", check=0, clock="+400d")
            sandbox.run("backup", "verify", "--every-kind", check=0, clock="+400d")
            refused = sandbox.run("backup", "prune", check=1, clock="+400d")
            self.assertEqual(ids(sandbox)[:11], before)
            self.assertEqual(ids(sandbox, "full", "--from", "offsite")[:11], before, "nor elsewhere")
            number = sandbox.run_json("backup", "prune", "--dry-run", check=0, clock="+400d")["removals"]
            self.assertEqual(number, 2 * 10, "here and elsewhere; two good ones would remain")
            self.assertIn(f"aragora backup prune --yes-remove {number}", refused.stderr)
            self.assertIn("days old", refused.stderr)
            self.assertIn("not 3", sandbox.run("backup", "prune", "--yes-remove", "3", check=1, clock="+400d").stderr)
            self.assertEqual(len(ids(sandbox)), 12)

            # The clock is right again: what was made with the other one is in nobody's way.
            self.assertEqual([made["kind"] for made in sandbox.run_json("backup", "create", "--due", check=0)["backups"] if made["kind"] == "full"], ["full"], "one is due, whatever the future holds")
            newest, ahead = ids(sandbox)[-1], ids(sandbox)[-2]
            self.assertLess(newest, ahead)
            self.assertEqual((sandbox.directory / "backups/latest").readlink().name, newest)
            self.assertIn(newest, sandbox.run("backup", "verify", "--input", "latest", check=0).stdout)
            self.assertEqual(sandbox.run_json("backup", "status")["newest_good"]["id"], newest)
            sandbox.run("backup", "copy", check=0)
            refused = sandbox.run("backup", "prune", check=1)
            self.assertIn(f"{ahead} is dated after", refused.stderr)
            self.assertIn("--yes-remove 2", refused.stderr)  # a good pair of the other kinds is not there yet
            sandbox.run("backup", "prune", "--yes-remove", "2", check=0)
            self.assertEqual(ids(sandbox), [*before, newest])
            sandbox.run("backup", "prune", check=0)

    def test_an_ordinary_day_is_not_asked_about_and_a_long_silence_only_once(self):
        with sqlite_deployment() as sandbox:
            for days in range(34, -1, -1):
                sandbox.run("backup", check=0, clock=f"-{days}d")
            sandbox.run("backup", "prune", check=0)
            self.assertEqual(len(ids(sandbox)), 30)
            # Forty days switched off.
            sandbox.run("backup", check=0, clock="+40d")
            refused = sandbox.run("backup", "prune", check=1, clock="+40d")
            number = refused.stderr.split("--yes-remove ")[1].split()[0]
            self.assertEqual((number, len(ids(sandbox))), ("29", 31))
            sandbox.run("backup", "prune", "--yes-remove", number, check=0, clock="+40d")
            sandbox.run("backup", check=0, clock="+41d")
            sandbox.run("backup", "prune", check=0, clock="+41d")

    def test_many_at_once_are_asked_about(self):
        with sqlite_deployment() as sandbox:
            for days in range(12, -1, -1):
                sandbox.run("backup", check=0, clock=f"-{days}d")
            self.assertIn("ordinary day removes at most 8", sandbox.run("backup", "prune", "--days", "1", check=1).stderr)
            self.assertEqual(len(ids(sandbox)), 13)
            sandbox.run("backup", "prune", "--days", "1", "--yes-remove", "11", check=0)
            self.assertEqual(len(ids(sandbox)), 2)

    def test_a_clock_an_hour_back_neither_hides_the_newest_nor_costs_log(self):
        with deployment() as (cluster, sandbox):
            with Receiver(sandbox) as receiver:
                deadline = time.monotonic() + 60  # the receiver makes the first one
                while not ids(sandbox, "base"):
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.2)
                names = []
                for number in range(6):
                    cluster.sql(f"INSERT INTO settings (name, value, updated_at) VALUES ('k{number}', 'v', 0)")
                    names.append(cluster.sql("SELECT pg_current_wal_insert_lsn()"))
                    cluster.sql("SELECT pg_switch_wal()", user="postgres")
                sandbox.run("backup", "create", "--kind", "base", check=0, clock="-1h")
                first, second = ids(sandbox, "base")
                self.assertLess(second, first, "by its name it is the older one")
                self.assertEqual((sandbox.directory / "backups/latest-base").readlink().name, second)
                self.assertIn(second, sandbox.run("backup", "verify", "--level", "0", "--input", "latest-base", check=0).stdout)
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_insert_lsn()"))
                receiver.stop()
            before = sorted((sandbox.directory / "backups/wal").rglob("*.zst.age"))
            sandbox.run("backup", "prune", check=0)
            gone = [path for path in before if not path.exists()]
            self.assertEqual(ids(sandbox, "base"), [first, second])
            for number in (1, 4):
                target = sandbox.directory / f"at-{number}"
                sandbox.run("restore", "--input", first, "--target-lsn", names[number], "--to", target, "--verify", check=0)
            self.assertLessEqual(len(gone), 2, "only what came before the first base")


class Due(unittest.TestCase):
    def test_runs_that_overlap_make_one(self):
        with sqlite_deployment(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), JWT_SECRET=secrets.token_hex(32)) as sandbox:
            with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database, database:
                database.execute("INSERT INTO settings (name, value, updated_at) VALUES ('large', hex(randomblob(20000000)), 0)")
            runs = [subprocess.Popen([BINARY, "backup", "create", "--due"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(3)]
            for run in runs:
                self.assertEqual((run.communicate(timeout=120), run.returncode)[1], 0)
            for kind in ("full", "configuration", "artifacts"):
                self.assertEqual(len(ids(sandbox, kind)), 1, kind)


class Owners(unittest.TestCase):
    """A place belongs to one deployment; the keys are the same, so that only the mark keeps the other out."""

    KEYS = {"ARAGORA_ENCRYPTION_KEY": "5" * 63 + "a", "JWT_SECRET": "6" * 63 + "b"}

    def refused(self, sandbox, owner, *command, **environment):
        tree = self.tree(owner)
        result = sandbox.run(*command, **environment)
        self.assertNotEqual(result.returncode, 0, command)
        text = result.stdout + result.stderr
        self.assertRegex(text, "of another deployment|of another cluster|belongs to deployment", command)
        self.assertIn("of its own", text)
        self.assertEqual(self.tree(owner), tree, command)

    def tree(self, places):
        """Every file with its content, but for what a look leaves: locks and what the owner's own side notes."""
        return {path: path.read_bytes() for place in places for path in sorted(place.rglob("*")) if path.is_file() and path.name not in (".lock", ".offsite.lock", "offsite.json")}

    def test_every_writer_of_a_shared_directory_here(self):
        with sqlite_deployment(**self.KEYS) as one, sqlite_deployment(**self.KEYS) as two:
            backups = one.directory / "backups"
            one.run("backup", check=0)
            self.assertEqual(json.loads((backups / "deployment.json").read_text())["instance_id"], json.loads((backups / "latest/manifest.json").read_text())["instance_id"])
            two.environment["ARAGORA_BACKUP_DIR"] = str(backups)
            newest = ids(one)[-1]
            for command in (["backup"], *(["backup", "create", "--kind", kind] for kind in ("full", "configuration", "artifacts")), ["backup", "create", "--due"], ["backup", "prune"],
                            ["backup", "prune", "--days", "1"], ["backup", "pin", "--input", newest], ["backup", "verify"], ["drill"]):
                self.refused(two, [backups], *command)
            # Directories of before the mark tell by their manifests.
            (backups / "deployment.json").unlink()
            self.refused(two, [backups], "backup", "create", "--kind", "artifacts")
            one.run("backup", check=0)
            self.assertTrue((backups / "deployment.json").exists())
            (backups / "deployment.json").write_text("{")
            self.assertIn("deployment.json cannot be read", one.run("backup", check=65).stderr)

    def test_every_writer_of_a_shared_place_elsewhere(self):
        for kind in ("directory", "store"):
            with self.subTest(kind), contextlib.ExitStack() as stack:
                one, two = (stack.enter_context(sqlite_deployment(**self.KEYS)) for _ in range(2))
                if kind == "store":
                    place = stack.enter_context(Store()).environment
                else:
                    place = {"ARAGORA_OFFSITE": str(one.elsewhere())}
                one.environment.update(place)
                one.run("backup", check=0)
                listed = ids(one, "full", "--from", "offsite")
                two.run("backup", check=0)
                two.environment.update(place)
                for command in (["backup", "create", "--kind", "configuration"], ["backup", "create", "--kind", "artifacts"], ["backup"], ["backup", "copy"], ["backup", "copy", "--again"],
                                ["backup", "prune"]):
                    self.refused(two, [one.directory / "mnt"] if kind == "directory" else [], *command)
                run = stack.enter_context(contextlib.closing(open(two.directory / "run.log", "w")))
                process = subprocess.Popen([BINARY, "backup", "run", "--interval", "1"], env=two.environment, stdin=subprocess.DEVNULL, stdout=run, stderr=run)
                try:
                    deadline = time.monotonic() + 20
                    while "of another deployment" not in (two.directory / "run.log").read_text():
                        self.assertLess(time.monotonic(), deadline)
                        time.sleep(0.05)
                finally:
                    process.kill()
                    process.wait()
                for what in ("full", "configuration", "artifacts"):
                    self.assertEqual(ids(one, what, "--from", "offsite"), listed if what == "full" else [])
                status = two.run("backup", "status")
                self.assertIn("of another deployment", status.stdout + status.stderr)
                self.assertEqual(status.returncode, 1)

    def test_the_log_of_another_cluster_or_deployment(self):
        with deployment() as (first, one), deployment() as (second, two):
            place = {"ARAGORA_OFFSITE": str(one.elsewhere()), **self.KEYS}
            one.environment.update(place)
            with Receiver(one, "--seal-interval", "1") as receiver:
                deadline = time.monotonic() + 60
                while not (one.directory / "mnt/wal/cluster.json").exists() or not ids(one, "base"):
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.2)
                receiver.stop()
            one.run("backup", "copy", check=0)
            mounted = self.tree([one.directory / "mnt"])
            two.environment.update(place)
            with Receiver(two, "--seal-interval", "1") as receiver:
                deadline = time.monotonic() + 60
                while "is not copied elsewhere" not in receiver.text():
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.2)
                second.sql("SELECT pg_switch_wal()", user="postgres")
                receiver.wait_for_position(second.sql("SELECT pg_current_wal_insert_lsn()"))
                receiver.stop()
            self.refused(two, [one.directory / "mnt"], "backup", "create", "--kind", "base")
            segment = max(path for path in (second.data / "pg_wal").iterdir() if len(path.name) == 24)
            local = one.directory / "backups"
            self.refused(two, [local], "backup", "wal-push", segment, ARAGORA_BACKUP_DIR=str(local))
            pushed = two.run("backup", "wal-push", segment, check=0)
            self.assertRegex(pushed.stderr, "of another deployment|of another cluster")
            with self.subTest("the receiver in the directory of another"):
                self.refused(two, [local], "backup", "wal", ARAGORA_BACKUP_DIR=str(local), timeout=20)
            self.assertEqual(self.tree([one.directory / "mnt"]), mounted)

    def test_of_two_that_come_first_at_once_one_has_it(self):
        for kind in ("directory", "store"):
            with self.subTest(kind), contextlib.ExitStack() as stack:
                both = [stack.enter_context(sqlite_deployment(**self.KEYS)) for _ in range(2)]
                place = stack.enter_context(Store()).environment if kind == "store" else {"ARAGORA_OFFSITE": str(both[0].elsewhere())}
                for sandbox in both:
                    sandbox.environment["ARAGORA_OFFSITE"] = ""
                    sandbox.run("backup", check=0)
                    sandbox.environment.update(place)
                runs = [subprocess.Popen([BINARY, "backup", "copy"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for sandbox in both]
                ends = [(run.communicate(timeout=60)[0], run.returncode) for run in runs]
                self.assertEqual(sorted(code == 0 for _, code in ends), [False, True], ends)
                winner = both[[code for _, code in ends].index(0)]
                self.assertEqual(ids(winner, "full", "--from", "offsite"), ids(winner))


class Numbers(unittest.TestCase):
    """A backup of a source that was emptied is whole, and still nothing to be content with."""

    def hold(self, sandbox, count):
        with Daemon(sandbox) as daemon:
            for number in range(count):
                daemon.wait_finished(daemon.post("/api/debates", {"task": f"question {number}", "rounds": 0})[1]["debate_id"])

    def history(self, evidence):
        return next(box for box in evidence["checklist"] if box["text"].startswith("Verify debate history intact"))

    def delete(self, sandbox, some=""):
        with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database, database:
            database.execute("PRAGMA foreign_keys = ON")
            database.executescript(f"BEGIN; DELETE FROM debates WHERE id IN (SELECT id FROM debates {some}); COMMIT")
        sandbox.run("ratings", "recompute", check=0)  # as if they had never been played

    def require_said(self, sandbox, numbers, *drill_options):
        for command in (["backup", "status"], ["backup", "verify"], ["backup", "verify", "--every-kind"]):
            result = sandbox.run(*command)
            self.assertIn(numbers, result.stdout, (command, result.stderr))
        evidence = sandbox.run_json("drill", *drill_options)
        self.assertIn(numbers, self.history(evidence)["text"])
        self.assertIn(numbers, pathlib.Path(evidence["evidence"]).read_text())
        return evidence

    def test_an_emptied_sqlite_database(self):
        with sqlite_deployment() as sandbox:
            self.hold(sandbox, 20)
            sandbox.run("backup", check=0)
            self.assertTrue(self.history(sandbox.run_json("drill", check=0))["ticked"])
            full = ids(sandbox)[0]
            self.delete(sandbox, "ORDER BY id LIMIT 12")
            sandbox.run("backup", check=0)
            evidence = self.require_said(sandbox, f"debates: 8 rows, 20 in backup {full}")
            self.assertTrue(self.history(evidence)["ticked"] and evidence["passed"], "some may have been deleted")
            self.delete(sandbox)
            sandbox.run("backup", check=0)
            evidence = self.require_said(sandbox, f"debates: 0 rows, 20 in backup {full}")
            self.assertFalse(self.history(evidence)["ticked"] or evidence["passed"])
            # The one from before is as good as it was.
            evidence = sandbox.run_json("drill", "--input", full, check=0)
            self.assertEqual((self.history(evidence), evidence["warnings"]), ({"text": "Verify debate history intact", "ticked": True}, []))

    def test_an_emptied_cluster(self):
        with deployment() as (cluster, sandbox):
            self.hold(sandbox, 3)
            sandbox.run("backup", check=0)
            full = ids(sandbox)[0]
            cluster.sql("TRUNCATE debates, ratings CASCADE")
            sandbox.run("backup", "create", "--kind", "base", check=0)
            evidence = sandbox.run_json("drill", "--kind", "physical")
            self.assertEqual([step["detail"] for step in evidence["steps"] if step["outcome"] != "done"], [])
            self.assertIn(f"debates: 0 rows, 3 in backup {full}", self.history(evidence)["text"])
            self.assertFalse(self.history(evidence)["ticked"] or evidence["passed"])
            sandbox.run("backup", check=0)
            self.assertFalse(self.history(self.require_said(sandbox, f"debates: 0 rows, 3 in backup {full}", "--kind", "logical"))["ticked"])


if __name__ == "__main__":
    main()
