"""The audit log against whoever can write to the database: every change is found, a tail that is cut off too."""
import contextlib
import json
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import time
import unittest

import s3_store
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
            sandbox.environment.update(USER="eve", LOGNAME="eve", SUDO_USER="ada\n")
            sandbox.run("user", "add", "--email", "ada@example.org", check=0)
            sandbox.run("migrate", "down", "--to", "4", "--allow-data-loss", "--no-backup", check=0)
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
            itself = f"cli:{pwd.getpwuid(os.getuid()).pw_name} uid {os.getuid()} sudo ada"
            self.assertEqual({re.sub(r"(?<=ada).*", "", one[0]) for one in recorded[-8:-1]}, {itself}, "one operator has one name, which no variable sets")
            self.assertEqual(recorded[-8][1], "user.add")
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

    def broken(self, daemon):
        return re.search(r"^aragora_audit_log_broken (\d)", daemon.request("GET", "/metrics")[2].decode(), re.M)[1]

    def test_a_note_that_was_forged_is_evidence_until_somebody_has_looked(self):
        for how in ("another number", "another signature", "no note at all", "nothing"):
            with self.subTest(how), self.deployment(3) as sandbox:
                entries = self.entries(sandbox)
                with Daemon(sandbox):
                    self.head_noted(sandbox, entries)
                path = sandbox.directory / "state/audit-head.json"
                genuine = path.read_text()
                line, signature = genuine.splitlines()
                path.write_text({"another number": genuine.replace(f'"entries":{entries}', '"entries":2'), "another signature": f"{line}\n{signature[::-1]}\n", "no note at all": "hello\n", "nothing": ""}[how])
                forged = path.read_text()
                self.assertIn("audit-head.json", self.finding(sandbox, 65))
                self.cut(sandbox, 2)
                with Daemon(sandbox) as daemon:
                    self.said(daemon, "audit-head.json")
                    self.assertEqual(self.broken(daemon), "1")
                    self.act(daemon, 1)
                    self.assertEqual(self.broken(daemon), "1")
                self.assertEqual(path.read_text(), forged, "nothing is written in its place while nobody has looked")
                self.assertEqual(sandbox.run_json("audit", "verify", check=65)["verified"], False)
                sandbox.run("audit", "accept", check=64)
                sandbox.run("audit", "accept", "--reason", " ", check=64)
                self.finding(sandbox, 65)
                accepted = sandbox.run_json("audit", "accept", "--reason", "a disk was exchanged", check=0)
                self.assertEqual([pathlib.Path(one).read_text() for one in accepted["kept"]], [forged], "it is kept")
                self.assertIn("chain holds", self.finding(sandbox, 0))
                sandbox.run("audit", "verify", check=0)
                with self.database(sandbox) as database:
                    self.assertEqual(database.execute("SELECT actor <> '', details FROM audit_log WHERE action = 'audit.accept'").fetchall(), [(1, '{"reason":"a disk was exchanged"}')])
                    database.rollback()
                with Daemon(sandbox) as daemon:
                    self.head_noted(sandbox, self.entries(sandbox))
                    self.assertEqual(self.broken(daemon), "0")
                # What is cut from now on is missed again.
                self.cut(sandbox, 3)
                self.assertIn("ends at entry 3", self.finding(sandbox, 65))

    def test_of_the_other_notes_too(self):
        with self.deployment(2) as sandbox:
            sandbox.run("backup", check=0)
            sandbox.run("restore", "--input", "latest", "--yes", check=0)
            note = sandbox.directory / "state/restored.json"
            genuine = note.read_text()
            note.write_text(genuine.replace('"at":1', '"at":2', 1))
            self.assertIn("restored.json", self.finding(sandbox, 65))
            # One that a restore finds there is kept, too.
            sandbox.run("restore", "--input", "latest", "--yes", check=0)
            kept = list((sandbox.directory / "state/audit-evidence").iterdir())
            self.assertEqual(len(kept), 1)
            self.assertIn("audit-evidence", self.finding(sandbox, 65))
            sandbox.run("audit", "accept", "--reason", "looked at", check=0)
            self.finding(sandbox, 0)

    def test_an_older_file_in_the_place_of_the_database_is_missed(self):
        with self.deployment(2) as sandbox:
            with Daemon(sandbox):
                self.head_noted(sandbox, self.entries(sandbox))
            file = sandbox.directory / "state/aragora.db"
            with self.database(sandbox) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            old, seen = file.read_bytes(), self.entries(sandbox)
            with Daemon(sandbox) as daemon:
                self.act(daemon, 3)
            with Daemon(sandbox):
                self.head_noted(sandbox, self.entries(sandbox))
            for extra in ("-wal", "-shm"):
                file.with_name(file.name + extra).unlink(missing_ok=True)
            file.write_bytes(old)
            self.assertIn(f"ends at entry {seen}, but", self.finding(sandbox, 65))
            with Daemon(sandbox) as daemon:
                self.said(daemon, "the audit log was cut or replaced")
                self.act(daemon, 4)  # as many as there were: others, and found
                self.assertEqual(self.broken(daemon), "1")
            self.assertRegex(self.finding(sandbox, 65), f"entry {seen + 3} is not the one that|ends at entry")

    def test_a_tail_that_is_cut_beside_the_running_daemon_is_missed(self):
        with self.deployment(2) as sandbox:
            with Daemon(sandbox):
                self.head_noted(sandbox, self.entries(sandbox))
                with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db", timeout=20)) as database, database:
                    database.execute("DELETE FROM audit_log WHERE seq > 1")
            entries = self.entries(sandbox)
            self.assertIn(f"ends at entry {entries}, but", self.finding(sandbox, 65))

    def test_every_kind_of_backup_and_every_increment_says_where_the_log_ended(self):
        with self.deployment(2) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_CONTINUOUS"] = "true"
            sandbox.environment["ARAGORA_BACKUP_INTERVAL_SECONDS"] = "1"
            sandbox.run("backup", "create", "--due", check=0)
            manifests = {path.parent.parent.name: json.loads(path.read_text()) for path in (sandbox.directory / "backups").glob("*/2*/manifest.json")}
            self.assertLessEqual({"full", "configuration", "artifacts"}, set(manifests))
            for kind, manifest in manifests.items():
                self.assertGreater(manifest["audit_head"]["entries"], 2, kind)
            with Daemon(sandbox) as daemon:
                self.act(daemon, 3)
                entries = self.entries(sandbox)
                deadline = time.monotonic() + 30
                said = 0
                while said < entries:
                    self.assertLess(time.monotonic(), deadline, daemon.text())
                    time.sleep(0.1)
                    for path in (sandbox.directory / "backups/increments").glob("2*.json"):
                        said = json.loads(path.read_text().splitlines()[0]).get("audit_head", {}).get("entries", 0)
            (sandbox.directory / "state/audit-head.json").unlink()
            self.cut(sandbox, entries - 1)
            self.assertIn(f"ends at entry {entries - 1}, but an increment of backup", self.finding(sandbox, 65))

    def test_what_was_copied_elsewhere_is_asked_too(self):
        with s3_store.Store() as store, self.deployment(3) as sandbox:
            sandbox.environment.update(store.environment)
            sandbox.run("backup", check=0)
            entries = self.entries(sandbox)
            self.assertIn("nothing is missing that", self.finding(sandbox, 0))
            # Whoever has this machine takes away what is here.
            shutil.rmtree(sandbox.directory / "backups")
            (sandbox.directory / "state/audit-head.json").unlink(missing_ok=True)
            self.cut(sandbox, 2)
            said = self.finding(sandbox, 65)
            self.assertIn("ends at entry 2, but backup", said)
            self.assertIn("s3://bucket/site one", said)
            with Daemon(sandbox) as daemon:
                self.said(daemon, "the audit log was cut or replaced")
                self.assertEqual(self.broken(daemon), "1")
            # Away: nothing is claimed, and nobody waits long.
            sandbox.environment["ARAGORA_OFFSITE_ENDPOINT"] = "http://127.0.0.1:9"
            began = time.monotonic()
            self.assertIn("not compared with the backups in s3://", self.finding(sandbox, 69))
            self.assertIn("could not be checked", sandbox.run("audit", "verify", check=69).stdout)
            self.assertLess(time.monotonic() - began, 40)
            with socket.create_server(("127.0.0.1", 0)) as silent:
                sandbox.environment["ARAGORA_OFFSITE_ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
                began = time.monotonic()
                self.finding(sandbox, 69)
                self.assertLess(time.monotonic() - began, 25)
                with Daemon(sandbox) as daemon:
                    self.said(daemon, "the audit log could not be compared with the backups in s3://")
                    began = time.monotonic()
                    daemon.stop()
                    self.assertLess(time.monotonic() - began, 12)
            self.assertGreater(entries, 2)


if __name__ == "__main__":
    main()
