"""The audit log against whoever can write to the database: every change is found, a tail that is cut off too."""
import contextlib
import json
import secrets
import signal
import sqlite3
import time
import unittest

from support import Daemon, Sandbox, main


class AuditLog(unittest.TestCase):
    @contextlib.contextmanager
    def deployment(self, entries=8):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                self.act(daemon, entries)
            yield sandbox

    def act(self, daemon, count):
        for number in range(count):
            daemon.wait_finished(daemon.post("/api/debates", {"task": f"task {number}", "rounds": 0})[1]["debate_id"])

    @contextlib.contextmanager
    def database(self, sandbox):
        with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database:
            yield database
            database.commit()

    def finding(self, sandbox, expected):
        result = sandbox.run("verify", "--json", check=expected)
        return next(one for one in json.loads(result.stdout)["findings"] if one["id"] == "audit")["message"]

    def head_noted(self, sandbox, entries):
        path = sandbox.directory / "state/audit-head.json"
        deadline = time.monotonic() + 20
        while not (path.exists() and json.loads(path.read_text().splitlines()[0])["entries"] == entries):
            self.assertLess(time.monotonic(), deadline, "the daemon did not write down where the log ends")
            time.sleep(0.05)

    def said(self, daemon, words):
        deadline = time.monotonic() + 20
        while words not in daemon.text():
            self.assertLess(time.monotonic(), deadline, daemon.text())
            time.sleep(0.05)

    def entries(self, sandbox):
        with self.database(sandbox) as database:
            return database.execute("SELECT count(*) FROM audit_log").fetchone()[0]

    def cut(self, sandbox, after):
        with self.database(sandbox) as database:
            database.execute("DELETE FROM audit_log WHERE seq > ?", (after,))

    def test_a_tail_that_is_cut_is_missed(self):
        with self.deployment() as sandbox:
            sandbox.run("backup", check=0)
            entries = self.entries(sandbox)
            self.assertGreater(entries, 8)
            manifest = json.loads(next((sandbox.directory / "backups/full").glob("*/manifest.json")).read_text())
            self.assertEqual(manifest["audit_head"]["entries"], entries)
            self.assertIn(f"{entries} entries, chain holds, nothing is missing that", self.finding(sandbox, 0))
            for after in (5, 0):
                self.cut(sandbox, after)
                self.assertIn(f"ends at entry {after}, but", self.finding(sandbox, 65))
            # An older state that was restored is not a log that was cut.
            sandbox.run("restore", "--input", "latest", "--yes", check=0)
            self.assertIn(f"{entries + 1} entries, chain holds", self.finding(sandbox, 0))

    def test_a_restore_explains_what_is_gone_and_nothing_else(self):
        with self.deployment(3) as sandbox:
            sandbox.run("backup", check=0)
            then = self.entries(sandbox)
            with Daemon(sandbox) as daemon:
                self.act(daemon, 4)
            sandbox.run("backup", check=0)
            oldest = sorted((sandbox.directory / "backups/full").glob("2*"))[0].name
            sandbox.run("restore", "--input", oldest, "--yes", check=0)
            self.assertIn(f"{then + 1} entries, chain holds", self.finding(sandbox, 0))
            with Daemon(sandbox) as daemon:
                self.act(daemon, 2)
            sandbox.run("backup", check=0)
            now = self.entries(sandbox)
            self.cut(sandbox, now - 1)
            self.assertIn(f"ends at entry {now - 1}, but", self.finding(sandbox, 65))

    def test_the_daemon_writes_down_where_it_ends_and_holds_it_against_it(self):
        with self.deployment(3) as sandbox:
            entries = self.entries(sandbox)
            with Daemon(sandbox) as daemon:  # notes what there is at its start
                self.head_noted(sandbox, entries)
                self.said(daemon, f"audit log: {entries} entries, head ")
                self.assertIn("aragora_audit_log_broken 0", daemon.request("GET", "/metrics")[2].decode())
            self.cut(sandbox, entries - 1)
            self.assertIn(f"ends at entry {entries - 1}, but", self.finding(sandbox, 65))
            with Daemon(sandbox) as daemon:
                self.said(daemon, f"the audit log was cut or replaced: the log ends at entry {entries - 1}")
                self.assertIn("aragora_audit_log_broken 1", daemon.request("GET", "/metrics")[2].decode())
            self.assertIn(f"ends at entry {entries - 1}, but", self.finding(sandbox, 65), "what was cut is not written down as what there was")

    def test_a_note_that_cannot_be_written_is_said_once(self):
        with self.deployment(1) as sandbox:
            note = sandbox.directory / "state/audit-head.json"
            note.unlink(missing_ok=True)
            note.mkdir()
            with Daemon(sandbox) as daemon:
                self.said(daemon, "the end of the audit log is not noted: ")
                self.assertIn("audit-head.json", daemon.text())

    def test_what_an_operator_does_is_recorded(self):
        with self.deployment(0) as sandbox:
            sandbox.environment["USER"] = "ada"
            sandbox.run("migrate", "down", "--to", "4", check=0)
            sandbox.run("migrate", check=0)
            sandbox.run("key", "backup-identity", check=0)
            sandbox.run("backup", check=0)
            sandbox.run("restore", "--input", "latest", "--yes", check=0)
            sandbox.run("backup", "rekey", check=0)
            with Daemon(sandbox) as daemon:
                daemon.process.send_signal(signal.SIGHUP)
                self.said(daemon, "configuration reloaded")
            with self.database(sandbox) as database:
                recorded = database.execute("SELECT actor, action, object, result, details FROM audit_log ORDER BY seq").fetchall()
            actions = [one[1] for one in recorded]
            self.assertEqual(actions[-7:], ["migrate.down", "migrate.up", "key.export", "backup.create", "backup.restore", "backup.rekey", "configuration.reload"], recorded)
            self.assertEqual({one[0] for one in recorded[-7:-1]}, {"cli:ada"})
            self.assertEqual(recorded[-5][2], "backup-identity")
            self.assertNotIn("AGE-SECRET-KEY", str(recorded))
            self.assertRegex(recorded[-3][2], "^backup:2")
            self.finding(sandbox, 0)

    def test_without_a_database_a_key_can_still_be_exported(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            self.assertIn("AGE-SECRET-KEY", sandbox.run("key", "backup-identity", check=0).stdout)
            self.assertFalse((sandbox.directory / "state/aragora.db").exists())
            sandbox.environment["DATABASE_URL"] = "postgresql://nobody:x@127.0.0.1:9/nothing"
            result = sandbox.run("key", "backup-identity", check=0)
            self.assertIn("AGE-SECRET-KEY", result.stdout)
            self.assertIn("key.export is not in the audit log", result.stderr)

    def test_a_note_that_was_forged_is_not_believed(self):
        with self.deployment(3) as sandbox:
            entries = self.entries(sandbox)
            with Daemon(sandbox):
                self.head_noted(sandbox, entries)
            path = sandbox.directory / "state/audit-head.json"
            path.write_text(path.read_text().replace(f'"entries":{entries}', '"entries":2'))
            result = sandbox.run("verify", check=0)
            self.assertIn("the end of the audit log is not compared with", result.stderr)


if __name__ == "__main__":
    main()
