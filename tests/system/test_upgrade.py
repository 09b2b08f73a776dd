"""Upgrade and rollback. The release after this one is aragora_next: the same code with one migration more, a table and a column
that this release does not know. So what is proved is the way there and back and what each binary makes of the other's schema; what
another release's code makes of this one's rows is seen when there is one."""
import contextlib
import copy
import http.client
import json
import pathlib
import re
import secrets
import shutil
import sqlite3
import subprocess
import threading
import unittest
import urllib.parse

from support import BINARY, Daemon, Sandbox, main, postgres_database, production_environment, service, strong_secret
from test_debates import until

NEXT = pathlib.Path(BINARY).parents[1] / "tests/aragora_next"


def following(sandbox):
    """The same place, seen by the next release."""
    other = copy.copy(sandbox)
    other.binary = NEXT
    return other


class Load(contextlib.AbstractContextManager):
    """Creates debates at the daemons in turn, until it is left; what was answered with 200 is in `acknowledged`."""

    def __init__(self, *daemons):
        self.daemons, self.acknowledged, self.refused, self.ended = list(daemons), {}, [], threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(number,)) for number in range(4)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def write(self, number):
        while not self.ended.wait(0.01):
            number += 1
            daemon = self.daemons[number % len(self.daemons)]
            task = f"{secrets.token_hex(8)} at {daemon.port}"
            try:
                status, _, body = daemon.request("POST", "/api/debates", {"task": task, "agents": ["demo-a", "demo-b"], "rounds": 1})
            except (OSError, http.client.HTTPException) as error:
                self.refused.append(repr(error))
                continue
            if status == 200:
                self.acknowledged[json.loads(body)["debate_id"]] = task
            else:
                self.refused.append(body.decode())

    def more(self, number=20):
        """Waits for so many more at every daemon."""
        before = list(self.acknowledged.values())
        wanted = lambda port: sum(task.endswith(f" {port}") for task in [*self.acknowledged.values()]) - sum(task.endswith(f" {port}") for task in before)
        until(lambda: all(wanted(daemon.port) >= number for daemon in self.daemons), 60)


class ThereAndBack(unittest.TestCase):
    def all_there(self, daemon, load):
        for debate_id, task in list(load.acknowledged.items()):
            self.assertEqual(daemon.wait_finished(debate_id, 60)["task"], task)

    def refused_start(self, sandbox):
        """Of this release on the schema of the next: the command that goes back, as it is printed."""
        with Daemon(sandbox, wait=False) as daemon:
            self.assertEqual(daemon.process.wait(30), 78, daemon.text())
            said = daemon.text()
        self.assertIn("aragora does not know it", said)
        command = re.search(r"aragora (migrate down --to \d+) --dry-run", said)[1]
        self.assertIn("would be undone", sandbox.run(*command.split(), "--dry-run", check=0).stdout)
        return command.split()

    def known(self, sandbox):
        return sandbox.run_json("migrate", "status")["version"]

    def test_both_releases_run_side_by_side_on_postgresql_and_the_way_back_loses_nothing(self):
        # As fast as this disk takes commits: one that stands still for two seconds is not what is looked at here.
        with postgres_database() as url, Sandbox(DATABASE_URL=url, ARAGORA_ENCRYPTION_KEY=strong_secret(), ARAGORA_DB_ACQUIRE_TIMEOUT_MS="8000") as sandbox:
            newer = following(sandbox)
            sandbox.run("migrate", check=0)
            before = self.known(sandbox)
            with Daemon(sandbox) as first, Daemon(sandbox) as second, Load(first, second) as load:
                load.more()
                # The next release does not start before its schema is there, and its migration waits for nobody.
                with Daemon(newer, wait=False) as early:
                    self.assertEqual(early.process.wait(30), 78, early.text())
                newer.run("migrate", check=0)
                self.assertEqual(self.known(sandbox), before + 1)
                load.more()
                with Daemon(newer) as third:
                    load.daemons.append(third)
                    load.more()
                    self.all_there(third, load)
                    load.daemons.remove(first)
                    load.more(2)
                    first.stop()  # drains; what it had is the others'
                    down = self.refused_start(sandbox)
                    load.more()
                    # And back: the next release is stopped, then its schema, under the load of the one that stayed.
                    load.daemons.remove(third)
                    load.more(2)
                    self.assertEqual(third.stop(), 0)
                sandbox.run(*down, check=0)
                self.assertEqual(self.known(sandbox), before)
                with Daemon(sandbox) as again:
                    load.daemons.append(again)
                    load.more()
                    load.daemons.remove(again)
                    load.more(2)
                    load.ended.set()
                    for thread in load.threads:
                        thread.join()
                    self.all_there(again, load)
                self.assertEqual(load.refused, [], "nobody was refused on the way there and back")
                self.all_there(second, load)
            sandbox.run("verify", check=0)

    def test_there_and_back_with_sqlite(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=strong_secret()) as sandbox:
            newer = following(sandbox)
            acknowledged = {}
            for release, back in ((sandbox, False), (newer, True), (sandbox, False)):
                with Daemon(release) as daemon:
                    with Load(daemon) as load:
                        load.more()
                    acknowledged.update(load.acknowledged)
                    load.acknowledged = acknowledged
                    self.all_there(daemon, load)
                    self.assertEqual(load.refused, [])
                release.run("verify", check=0)
                if back:
                    for command in (["migrate"], ["validate-env", "--only", "migrations"]):
                        self.assertRegex(sandbox.run(*command, "--json", check=78).stdout, r"migrate down --to \d+ --dry-run")
                    sandbox.run(*self.refused_start(sandbox), check=0)

    def test_rows_that_only_the_next_release_knows_are_not_dropped_unasked(self):
        with Sandbox() as sandbox:
            newer = following(sandbox)
            newer.run("migrate", check=0)
            with Daemon(newer) as daemon:
                debate_id = daemon.post("/api/debates", {"task": "x", "agents": ["demo-a", "demo-b"], "rounds": 0})[1]["debate_id"]
                daemon.wait_finished(debate_id)
            with sqlite3.connect(sandbox.directory / "state/aragora.db") as database:
                database.execute("INSERT INTO next_notes VALUES (?, 'kept')", [debate_id])
            down = self.refused_start(sandbox)
            self.assertIn("would delete the rows of table next_notes", sandbox.run(*down, check=65).stderr)
            sandbox.run(*down, "--allow-data-loss", check=0)
            with Daemon(sandbox) as daemon:
                self.assertEqual(daemon.get(f"/api/debates/{debate_id}")[1]["status"], "completed")


class Guard(unittest.TestCase):
    """In production a schema with data in it is changed only when yesterday's state can be had back."""

    def refused(self, newer, why, **how):
        result = newer.run("migrate", check=1, **how)
        self.assertRegex(result.stderr, r"without a backup of the last 24 hours that was proved by restoring it: .*" + why)
        self.assertIn("aragora migrate --no-backup", result.stderr)
        self.assertEqual(len(newer.run_json("migrate", "status", check=0)["pending"]), 1, "nothing was changed")
        # A dry run changes nothing and says so, too.
        self.assertRegex(newer.run("migrate", "--dry-run", check=0, **how).stdout, why + r".*: up refuses without --no-backup")
        return newer.run_json("migrate", "plan", check=0, **how)["backup"]

    def wants_a_proof(self, sandbox):
        newer = following(sandbox)
        sandbox.run("migrate", check=0)  # of an empty database
        self.assertIsNone(newer.run_json("migrate", "--dry-run", check=0)["backup"])
        sandbox.run("user", "add", "ada@example.org", check=0)
        self.assertEqual(self.refused(newer, "there is no good backup in ")["proved"], None)
        made = sandbox.run_json("backup", check=0)["backup"]["id"]
        self.refused(newer, f"{made} was never restored to prove it")
        self.assertIsNone(newer.run_json("migrate", "--dry-run", check=0, ARAGORA_ENV="development")["backup"])
        sandbox.run("backup", "verify", check=0)
        self.assertIn(f"Backup: {made}, verified", newer.run("migrate", "--dry-run", check=0).stdout)
        self.refused(newer, f"{made} was begun ", clock="+25h")
        self.refused(newer, "there is no good backup in ", ARAGORA_BACKUP_DIR=str(sandbox.directory / "elsewhere"))
        # A file that is gone or cut short is no backup, whatever was proved of it.
        payload = next((sandbox.directory / "backups/full" / made).glob("db.*"), None) or next((sandbox.directory / "backups" / made).glob("db.*"))
        kept = payload.read_bytes()
        payload.write_bytes(kept[:-1])
        self.refused(newer, "there is no good backup in ")
        payload.write_bytes(kept)
        self.assertEqual(newer.run_json("migrate", check=0)["backup"], {"proved": made, "lacks": None})
        self.assertIsNone(newer.run_json("migrate", check=0)["backup"], "nothing pending, nothing asked")
        # Back with the backup of before the upgrade, which is a way back to before; not when rows are given up that it cannot have.
        down = ["migrate", "down", "--to", str(newer.run_json("migrate", "status")["version"] - 1)]
        refused = sandbox.run(*down, "--allow-data-loss", check=1).stderr
        self.assertRegex(refused, f"{made} was made at version {down[-1]} of the schema")
        self.assertIn(f"aragora {' '.join(down)} --allow-data-loss --no-backup", refused)
        self.assertRegex(sandbox.run(*down, check=1, clock="+25h").stderr, f"{made} was begun ")
        self.assertRegex(sandbox.run(*down, "--dry-run", check=0, clock="+25h").stdout, f"{made} was begun .*: down refuses without --no-backup")
        self.assertIn(f"Backup: {made}, verified", sandbox.run(*down, "--dry-run", check=0).stdout)
        self.assertEqual(sandbox.run_json(*down, check=0)["backup"]["proved"], made)
        self.assertEqual(sandbox.run_json(*down, check=0, clock="+25h")["undone"], [], "nothing to undo, nothing asked")

    def foreign(self, newer, **how):
        self.refused(newer, "is not of this database", **how)

    def clone_of(self, sandbox):
        """Settings and keys of another's, a state of its own."""
        own = ("HOME", "ARAGORA_STATE_DIR", "ARAGORA_CONFIG")
        return Sandbox(**{name: value for name, value in sandbox.environment.items() if name not in own})

    def proved_by(self, clone, clock=None):
        clone.environment["ARAGORA_BACKUP_DIR"] = str(clone.directory / "place")
        clone.run("backup", check=0, clock=clock)
        clone.run("backup", "verify", check=0, clock=clock)
        return clone.environment["ARAGORA_BACKUP_DIR"]

    def a_clone_is_another(self, sandbox, url):
        """It has the identity, the keys and the past of what it was copied from; what was written since is not in its backups."""
        name = urllib.parse.urlparse(url).path[1:]
        with postgres_database(template=name) as copied, self.clone_of(sandbox) as clone:
            clone.environment["DATABASE_URL"] = copied
            clone.run("user", "add", "only@clone.example.org", check=0)
            sandbox.run("user", "add", "only@here.example.org", check=0)
            self.foreign(following(sandbox), ARAGORA_BACKUP_DIR=self.proved_by(clone))

    def a_copied_file_is_another(self, sandbox):
        with self.clone_of(sandbox) as clone:
            shutil.copytree(sandbox.directory / "state", clone.directory / "state", dirs_exist_ok=True)
            # Nothing was written to the copy: only the time tells that its backup lacks what was written here.
            sandbox.run("user", "add", "early@here.example.org", check=0)
            self.foreign(following(sandbox), clock="+2h", ARAGORA_BACKUP_DIR=self.proved_by(clone, "+1h"))

    def test_on_sqlite(self):
        with Sandbox(ARAGORA_ENV="production", ARAGORA_ENCRYPTION_KEY=strong_secret()) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            self.wants_a_proof(sandbox)
            newer = following(sandbox)
            self.a_copied_file_is_another(sandbox)
            self.assertEqual(newer.run_json("migrate", "--no-backup", check=0, clock="+25h")["backup"]["proved"], None)
            with sqlite3.connect(sandbox.directory / "state/aragora.db") as database:
                noted = [json.loads(row[0])["backup"] for row in database.execute("SELECT details FROM audit_log WHERE action = 'migrate.up' ORDER BY seq")]
            self.assertEqual([note and bool(note["proved"]) for note in noted], [None, True, False], "what was given up is on record")

    def test_on_postgresql(self):
        with postgres_database() as url, Sandbox(**production_environment(url, service("TEST_REDIS"))) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            self.wants_a_proof(sandbox)
            self.a_clone_is_another(sandbox, url)
            # A drill proves it as well; that of another deployment proves nothing.
            sandbox.run("drill", check=0)
            with postgres_database() as other, Sandbox(**{**sandbox.environment, "DATABASE_URL": other}) as stranger:
                stranger.run("migrate", check=0)
                stranger.run("user", "add", "eve@example.org", check=0)
                self.refused(following(stranger), "of another deployment")


if __name__ == "__main__":
    main()
