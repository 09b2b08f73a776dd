"""The audit log against whoever can write to the database: every change is found, a tail that is cut off too."""
import contextlib
import json
import secrets
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

    def test_a_tail_that_is_cut_is_missed(self):
        with self.deployment() as sandbox:
            sandbox.run("backup", check=0)
            manifest = json.loads(next((sandbox.directory / "backups/full").glob("*/manifest.json")).read_text())
            self.assertEqual(manifest["audit_head"]["entries"], 8)
            self.assertIn("8 entries, chain holds, nothing is missing that", self.finding(sandbox, 0))
            for cut, said in (("DELETE FROM audit_log WHERE seq > 5", "ends at entry 5, but backup"), ("DELETE FROM audit_log", "ends at entry 0, but backup")):
                with self.database(sandbox) as database:
                    database.execute(cut)
                self.assertIn(said, self.finding(sandbox, 65))
            # An older state that was restored is not a log that was cut.
            sandbox.run("restore", "--input", "latest", "--yes", check=0)
            self.assertIn("8 entries, chain holds", self.finding(sandbox, 0))

    def test_a_restore_explains_what_is_gone_and_nothing_else(self):
        with self.deployment(3) as sandbox:
            sandbox.run("backup", check=0)
            with Daemon(sandbox) as daemon:
                self.act(daemon, 4)
            sandbox.run("backup", check=0)
            oldest = sorted((sandbox.directory / "backups/full").glob("2*"))[0].name
            sandbox.run("restore", "--input", oldest, "--yes", check=0)
            self.assertIn("3 entries, chain holds", self.finding(sandbox, 0))
            with Daemon(sandbox) as daemon:
                self.act(daemon, 2)
            sandbox.run("backup", check=0)
            with self.database(sandbox) as database:
                database.execute("DELETE FROM audit_log WHERE seq = 5")
            self.assertIn("ends at entry 4, but backup", self.finding(sandbox, 65))

    def test_the_daemon_writes_down_where_it_ends_and_holds_it_against_it(self):
        with self.deployment(0) as sandbox:
            with Daemon(sandbox) as daemon:
                self.act(daemon, 3)
            with Daemon(sandbox) as daemon:  # notes what there is at its start
                self.head_noted(sandbox, 3)
                self.said(daemon, "audit log: 3 entries, head ")
                self.assertIn("aragora_audit_log_broken 0", daemon.request("GET", "/metrics")[2].decode())
            with self.database(sandbox) as database:
                database.execute("DELETE FROM audit_log WHERE seq = 3")
            self.assertIn("ends at entry 2, but", self.finding(sandbox, 65))
            with Daemon(sandbox) as daemon:
                self.said(daemon, "the audit log was cut or replaced: the log ends at entry 2")
                self.assertIn("aragora_audit_log_broken 1", daemon.request("GET", "/metrics")[2].decode())
            self.assertIn("ends at entry 2, but", self.finding(sandbox, 65), "what was cut is not written down as what there was")

    def test_a_note_that_was_forged_is_not_believed(self):
        with self.deployment(3) as sandbox:
            with Daemon(sandbox):
                self.head_noted(sandbox, 3)
            path = sandbox.directory / "state/audit-head.json"
            path.write_text(path.read_text().replace('"entries":3', '"entries":2'))
            result = sandbox.run("verify", check=0)
            self.assertIn("the end of the audit log is not compared with", result.stderr)


if __name__ == "__main__":
    main()
