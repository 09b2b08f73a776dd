"""Somebody who can write where the backups are takes some away, brings old ones back and plants files: what was made last is
missed, and nothing that nobody signed decides a recovery."""
import contextlib
import json
import shutil
import sqlite3
import subprocess
import unittest

from recovery import Receiver, deployment, signed
from support import BINARY, Sandbox, main


class Backups(unittest.TestCase):
    @contextlib.contextmanager
    def made(self, number=3):
        with Sandbox() as sandbox:
            self.place, self.path = sandbox.directory / "backups", sandbox.directory / "state/aragora.db"
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(self.place)
            sandbox.run("migrate", check=0)
            for count in range(number):
                with contextlib.closing(sqlite3.connect(self.path)) as database, database:
                    database.execute("INSERT INTO settings (name, value, updated_at) VALUES (?, '', 0)", (f"k{count}",))
                sandbox.run("backup", check=0)
            self.ids = [entry["id"] for entry in sandbox.run_json("backup", "list", check=0)["backups"]]
            sandbox.run("backup", "verify", check=0)
            yield sandbox

    def take(self, name, sandbox):
        shutil.move(self.place / "full" / name, sandbox.directory / name)

    def require_missed(self, sandbox, *words):
        verify = sandbox.run("backup", "verify", check=65)
        for word in words:
            self.assertIn(word, verify.stdout + verify.stderr)
        self.assertIn(words[0], sandbox.run("backup", "verify", "--every-kind", check=65).stdout)
        status = sandbox.run_json("backup", "status", check=1)
        self.assertTrue(any(words[0] in s["message"] for s in status["statements"] if s["level"] == "failure"), status["statements"])
        check = json.loads(sandbox.run("validate-env", "--json").stdout)["checks"]["backup_age"]
        self.assertEqual(check["status"], "error")

    def require_no_latest(self, sandbox):
        to = sandbox.directory / "never.db"
        for options in (("--input", "latest"), ("--latest",)):
            refused = sandbox.run("restore", *options, "--to", to, check=65)
            self.assertIn("gone", refused.stderr)
            sandbox.run("restore", *options, "--to", to, "--dry-run", check=65)
        self.assertFalse(to.exists())
        self.assertNotEqual(sandbox.run("drill").returncode, 0)
        sandbox.run("restore", "--input", "latest", "--accept-loss", "--to", to, check=0)
        self.assertTrue(to.exists())

    def test_the_newest_is_missed(self):
        with self.made() as sandbox:
            self.take(self.ids[-1], sandbox)
            self.require_missed(sandbox, self.ids[-1], "gone")
            self.require_no_latest(sandbox)
            # One that was named is what it is.
            sandbox.run("restore", "--input", self.ids[0], "--to", sandbox.directory / "old.db", check=0)
            # A new backup does not silence it; bringing it back, or taking note, does.
            sandbox.run("backup", check=0)
            self.require_missed(sandbox, self.ids[-1])
            shutil.move(sandbox.directory / self.ids[-1], self.place / "full")
            sandbox.run("backup", "verify", check=0)

    def test_one_in_the_middle_is_missed_until_somebody_takes_note(self):
        with self.made() as sandbox:
            self.take(self.ids[1], sandbox)
            self.require_missed(sandbox, self.ids[1], "gone")
            sandbox.run("restore", "--input", "latest", "--to", sandbox.directory / "new.db", check=0)  # it is the latest
            self.assertEqual(sandbox.run_json("backup", "forget", check=0)["forgotten"], [self.ids[1]])
            sandbox.run("backup", "verify", check=0)
            self.assertEqual(sandbox.run_json("backup", "forget", check=0)["forgotten"], [])

    def test_two_that_were_swapped_are_none(self):
        with self.made() as sandbox:
            one, two = (self.place / "full" / name for name in self.ids[-2:])
            one.rename(self.place / "other")
            two.rename(one)
            (self.place / "other").rename(two)
            self.assertEqual(sandbox.run("backup", "verify").returncode, 65)
            self.assertEqual(sandbox.run("backup", "status").returncode, 1)

    def test_an_old_state_of_everything_is_no_latest(self):
        with self.made(1) as sandbox:
            shutil.copytree(self.place, sandbox.directory / "old", symlinks=True)
            sandbox.run("backup", check=0)
            shutil.rmtree(self.place)
            shutil.move(sandbox.directory / "old", self.place)
            self.require_missed(sandbox, "old state")
            self.require_no_latest(sandbox)
            sandbox.run("backup", check=0)
            self.require_missed(sandbox, "gone")
            self.assertEqual(len(sandbox.run_json("backup", "forget", check=0)["forgotten"]), 1)
            sandbox.run("backup", "verify", check=0)

    def test_a_record_that_somebody_wrote_or_took_away(self):
        with self.made() as sandbox:
            record = self.place / "ledger/full.json"
            kept = record.read_text()
            self.take(self.ids[-1], sandbox)
            record.write_text(kept.replace(self.ids[-1], self.ids[0]))
            self.require_missed(sandbox, "signature does not hold")
            record.unlink()
            self.require_missed(sandbox, "old state")
            # The record of another kind, rightly signed, is none of this one.
            sandbox.run("backup", "create", "--kind", "artifacts", check=0)
            shutil.copy(self.place / "ledger/artifacts.json", record)
            self.require_missed(sandbox, "another kind")

    def test_retention_an_older_repository_and_a_restored_database_are_no_attack(self):
        with self.made(1) as sandbox:
            for days in range(35, 0, -5):
                sandbox.run("backup", check=0, clock=f"-{days}d")
            number = str(sandbox.run_json("backup", "prune", "--days", "7", "--dry-run")["removals"])
            sandbox.run("backup", "prune", "--days", "7", "--yes-remove", number, check=0)
            sandbox.run("backup", "verify", check=0)
            sandbox.run("restore", "--input", "latest", "--yes", check=0)
            sandbox.run("backup", "verify", check=0)
            # Of before there was a record: said, and begun by the next backup.
            shutil.rmtree(self.place / "ledger")
            (self.path.parent / ".aragora.db.backups").unlink()
            self.assertIn("not recorded", sandbox.run("backup", "verify", check=0).stdout)
            sandbox.run("backup", check=0)
            self.assertNotIn("not recorded", sandbox.run("backup", "verify", check=0).stdout)
            newest = sandbox.run_json("backup", "list", check=0)["backups"][0]["id"]
            self.take(newest, sandbox)
            self.require_missed(sandbox, newest)

    def test_elsewhere_too(self):
        with self.made() as sandbox:
            sandbox.elsewhere()
            sandbox.run("backup", "copy", check=0)
            sandbox.run("backup", "verify", "--from", "offsite", check=0)
            shutil.rmtree(sandbox.directory / "mnt/full" / self.ids[-1])
            self.assertIn(self.ids[-1], sandbox.run("backup", "verify", "--from", "offsite", check=65).stdout)
            sandbox.run("restore", "--from", "offsite", "--input", "latest", "--to", sandbox.directory / "no.db", check=65)
            sandbox.run("backup", "copy", check=0)  # brings it there again
            sandbox.run("backup", "verify", "--from", "offsite", check=0)

    def test_what_verification_found_is_believed_of_whoever_has_the_key_only(self):
        """A planted mark proves nothing and fails nothing, an altered one is noticed, one that is gone is missing only."""
        with self.made() as sandbox:
            marks = {name: self.place / "verified" / f"{name}.json" for name in self.ids}
            entry = lambda name: next(e for e in sandbox.run_json("backup", "list", check=0)["backups"] if e["id"] == name)
            kept = marks[self.ids[-1]].read_text()
            self.assertTrue(entry(self.ids[-1])["proven"])
            self.assertFalse(entry(self.ids[0])["proven"])
            said = {"level": 2, "ok": True, "at": "2026-01-01T00:00:00Z", "message": "fine"}
            # As an older version wrote it, unsigned.
            marks[self.ids[0]].write_text(json.dumps([said]))
            self.assertFalse(entry(self.ids[0])["proven"])
            marks[self.ids[-1]].write_text(json.dumps([{**said, "ok": False}]))
            self.assertTrue(entry(self.ids[-1])["good"])
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "latest.db", check=0)
            # Altered, of another backup, signed with another key, with more than was signed.
            forged = json.dumps({"id": self.ids[0], "found": [said]})
            for text in (kept.replace('"level":2', '"level":1'), forged + "\n" + "0" * 128 + "\n", kept + "\n", kept[:-3], ""):
                marks[self.ids[0]].write_text(text)
                found = entry(self.ids[0])
                self.assertEqual((found["proven"], found["good"], "verification_disbelieved" in found), (False, True, True), text)
                self.assertIn("none of ours", sandbox.run("backup", "list", check=0).stdout)
                status = sandbox.run_json("backup", "status", check=1)
                self.assertTrue(any("is not believed" in s["message"] for s in status["statements"] if s["level"] == "failure"), status["statements"])
            marks[self.ids[0]].write_text(kept)
            self.assertIn("of another backup", entry(self.ids[0])["verification_disbelieved"])
            # Looked at again it is written anew.
            sandbox.run("backup", "verify", "--input", self.ids[0], check=0)
            self.assertTrue(entry(self.ids[0])["proven"])
            sandbox.run("backup", "verify", check=0)
            sandbox.run("backup", "status", check=0)
            marks[self.ids[0]].unlink()
            self.assertFalse(entry(self.ids[0])["proven"])
            sandbox.run("backup", "status", check=0)

    def test_planted_backups_are_not_the_good_ones_that_remain(self):
        with self.made(1) as sandbox:
            for days in (40, 39, 38):
                sandbox.run("backup", check=0, clock=f"-{days}d")
            before = sorted(path.name for path in self.place.glob("full/2*"))
            newest = self.place / "full" / self.ids[0]
            for number in range(2):  # newer than every other, by a manifest that nobody signed
                manifest = json.loads((newest / "manifest.json").read_text())
                name = f"29991231T00000{number}Z-01KZ0000000000000000000000"
                manifest.update(id=name, sequence=manifest["sequence"] + 10**6 + number)
                shutil.copytree(newest, self.place / "full" / name)
                (self.place / "full" / name / "manifest.json").write_text(json.dumps(manifest))
            self.assertEqual(sandbox.run("backup", "prune", "--days", "7").returncode, 1)
            self.assertLessEqual(set(before), {path.name for path in self.place.glob("full/2*")})
            # Nor is the next one not due because of them.
            shutil.move(newest, sandbox.directory / "moved")
            sandbox.run("backup", "forget", check=0)
            self.assertIn("full", [made["kind"] for made in sandbox.run_json("backup", "create", "--due", check=0)["backups"]])

    def test_that_the_clock_was_right_says_whoever_has_the_key(self):
        with self.made(1) as sandbox:
            for days in range(35, 0, -1):
                sandbox.run("backup", check=0, clock=f"-{days}d")
            (self.place / "retention.json").write_text(json.dumps({"confirmed_at": "2999-01-01T00:00:00Z"}))
            refused = sandbox.run("backup", "prune", "--days", "7", check=1, clock="+400d")
            self.assertIn("nobody has said that the clock was right", refused.stderr)
            self.assertEqual(len(list(self.place.glob("full/2*"))), 36)

    def test_a_key_that_was_rotated_goes_on(self):
        with self.made() as sandbox:
            old = (sandbox.directory / "state/secrets/encryption_key").read_text().strip()
            environment = {"ARAGORA_ENCRYPTION_KEY": "ab" * 32, "ARAGORA_ENCRYPTION_PREVIOUS_KEYS": old}
            sandbox.run("backup", "rekey", check=0, **environment)
            listed = sandbox.run_json("backup", "list", check=0, ARAGORA_ENCRYPTION_KEY="ab" * 32)["backups"]
            self.assertTrue(listed[-1]["proven"], "what verification found is signed anew, too")
            sandbox.run("backup", check=0, **environment)
            sandbox.run("backup", "verify", check=0, ARAGORA_ENCRYPTION_KEY="ab" * 32)

    def test_two_first_runs_share_their_secrets(self):
        with Sandbox() as sandbox:
            runs = [subprocess.Popen([BINARY, "init"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(6)]
            said = [run.communicate()[0] for run in runs]
            self.assertEqual([run.returncode for run in runs], [0] * 6, said)
            self.assertEqual(len((sandbox.directory / "state/secrets/encryption_key").read_text().strip()), 64)
            self.assertEqual(list((sandbox.directory / "state/secrets").glob("*.tmp-*")), [])

    def test_a_drill_that_cannot_be_one_leaves_nothing(self):
        with self.made(1) as sandbox:
            sandbox.run("drill", "--output", sandbox.directory / "mistyped", check=66)
            self.assertFalse((sandbox.directory / "mistyped").exists())
            sandbox.run("drill", check=78, ARAGORA_ENCRYPTION_KEY="cd" * 32)
            self.assertFalse((self.place / "drills").exists())


class Log(unittest.TestCase):
    def test_an_open_segment_in_the_copy_and_forged_interruptions_decide_nothing(self):
        with deployment() as (cluster, sandbox):
            copy = sandbox.directory / "mnt"
            sandbox.elsewhere(copy)
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox, "--seal-interval", "1") as receiver:
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('wanted', '', 0)")
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                self.assertEqual(receiver.stop(), 0)
            sandbox.run("backup", "copy", check=0)
            here = sandbox.directory / "backups/wal"
            partial = next(here.glob("0*/*.partial"))
            to = sandbox.directory / "recovered"

            def recover(*options, check=0):
                shutil.rmtree(to, ignore_errors=True)
                shutil.rmtree(f"{to}.unproven", ignore_errors=True)
                return sandbox.run("restore", "--latest", "--to", to, *options, check=check)

            # In the copy: an older one beside the pieces, and one in the place of the pieces.
            planted = copy / "wal" / partial.parent.name / partial.name
            planted.write_bytes(partial.read_bytes()[:8192])
            recover("--from", copy)
            pieces = [piece for piece in planted.parent.glob(partial.name[:24] + ".*-*")]
            self.assertTrue(pieces)
            for piece in pieces:
                piece.rename(sandbox.directory / piece.name)
            planted.write_bytes(partial.read_bytes())
            self.assertIn("missing", recover("--from", copy, check=65).stderr)
            planted.unlink()
            for piece in pieces:
                (sandbox.directory / piece.name).rename(piece)
            recover("--from", copy)

            # Here: pages of another place, another cluster, another timeline.
            good = partial.read_bytes()
            confirmed = next(here.glob("0*/confirmed.json"))
            for at, wrong in ((8, b"\x00" * 8), (24, b"\x01" * 8), (4, b"\x09\x00\x00\x00")):
                partial.write_bytes(good[:at] + wrong + good[at + len(wrong):])
                recover(check=65)
            partial.write_bytes(good)
            recover()

            # What the log is said to lack: an entry that nobody signed, one that was signed and taken out, the file of before.
            end = sandbox.run_json("backup", "status")["recovery_window"]["end"]
            record = here / "interruptions.json"
            what = {"interruptions": [{"at": "2026-01-01T00:00:00Z", "timeline": 1, "after": end, "replayable": True, "why": "lost"}]}
            record.write_text(signed(sandbox, what).replace("lost", "gone"))
            self.assertIn("signature does not hold", sandbox.run("backup", "verify", "--input", "latest-base", "--level", "0", check=65).stdout)
            record.unlink()
            (here / "gaps.jsonl").write_text(json.dumps(what["interruptions"][0]) + "\n")
            self.assertEqual(sandbox.run_json("backup", "status")["recovery_window"]["holes"], [])
            self.assertTrue(confirmed.exists())

    def test_names_of_restore_points_and_subtransactions(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox) as receiver:
                cluster.sql("SELECT pg_create_restore_point('before ')", user="postgres")
                whole, part = cluster.sql("DO $$ DECLARE whole text := pg_current_xact_id()::text; BEGIN INSERT INTO settings (name, value, updated_at) VALUES ('whole', whole, 0); BEGIN INSERT INTO settings (name, value, updated_at) "
                                          "SELECT 'part', '', 0; UPDATE settings SET value = xmin::text WHERE name = 'part'; EXCEPTION WHEN others THEN RAISE; END; END $$; "
                                          "SELECT value FROM settings WHERE name IN ('whole', 'part') ORDER BY name DESC").split()
                cluster.sql("SELECT pg_switch_wal()", user="postgres")
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                self.assertEqual(receiver.stop(), 0)
            self.assertNotEqual(whole, part)
            to = sandbox.directory / "recovered"
            refused = sandbox.run("restore", "--target-xid", part, "--to", to, "--dry-run", check=66)
            self.assertIn(f"transaction {part} is a subtransaction of {whole}", refused.stderr)
            sandbox.run("restore", "--target-xid", whole, "--to", to, "--dry-run", check=0)
            for wrong in ("", "x" * 64, "before\n", "\tbefore"):
                sandbox.run("restore", "--target-name", wrong, "--to", to, "--dry-run", check=64)
            sandbox.run("restore", "--target-name", "before", "--to", to, "--dry-run", check=66)
            sandbox.run("restore", "--target-name", "before ", "--to", to, check=0)


if __name__ == "__main__":
    main()
