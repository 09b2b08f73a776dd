"""Keys of backups: a recovery key that is kept elsewhere opens everything, also when this machine and its keys are gone;
a change of keys reaches backups, increments and log without touching a payload."""
import contextlib
import json
import pathlib
import secrets
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest

from recovery import Receiver, deployment, names, recovered
from support import BINARY, Daemon, Sandbox, main


def age_open(identity, file):
    return subprocess.run(f"age -d -i '{identity}' '{file}' | zstd -dq", shell=True, check=True, capture_output=True, executable="/bin/bash").stdout


def stored(directory):
    """What lies behind the header of every sealed file."""
    return {path.relative_to(directory): path.read_bytes()[path.read_bytes().index(b"\n", path.read_bytes().index(b"\n---") + 1):] for path in directory.rglob("*.age")}


class Keys(unittest.TestCase):
    def test_the_recovery_key_alone_brings_everything_back(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            mounted, recovery = sandbox.directory / "mnt", sandbox.directory / "recovery.key"
            made = sandbox.run_json("backup", "keygen", "--out", recovery, check=0)
            self.assertEqual(recovery.stat().st_mode & 0o777, 0o600)
            self.assertEqual(sandbox.run("backup", "keygen", "--out", recovery).returncode, 73, "never over another key")
            self.assertIn("AGE-SECRET-KEY-1", sandbox.run("backup", "keygen", check=0).stdout)
            sandbox.environment.update(ARAGORA_BACKUP_DIR=str(sandbox.directory / "backups"), ARAGORA_BACKUP_RECIPIENTS=made["recipient"], ARAGORA_API_TOKEN="planted-token-9d1f")
            sandbox.elsewhere(mounted)
            sandbox.run("migrate", check=0)
            sandbox.run("backup", "create", "--due", check=0)
            with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database, database:
                database.execute("INSERT INTO settings (name, value, updated_at) VALUES ('kept', '', 0)")
            sandbox.run("backup", check=0)
            # This machine, its database and its key are gone; what is left is the copy and the recovery key.
            for lost in ("state", "backups"):
                shutil.rmtree(sandbox.directory / lost)
            key = sandbox.environment.pop("ARAGORA_ENCRYPTION_KEY")
            configuration, = mounted.glob("configuration/*/configuration.json.zst.age")
            self.assertNotIn(b"planted-token-9d1f", b"".join(path.read_bytes() for path in mounted.rglob("*") if path.is_file()))
            settings = json.loads(age_open(recovery, configuration))["settings"]
            self.assertEqual(settings["encryption.key"]["value"], key)
            self.assertEqual(settings["auth.api_token"]["value"], "planted-token-9d1f")
            sandbox.environment["ARAGORA_ENCRYPTION_KEY"] = settings["encryption.key"]["value"]
            sandbox.run("restore", "--from", mounted, "--input", "latest", "--yes", "--verify", check=0)
            with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database:
                self.assertEqual(database.execute("SELECT count(*) FROM settings WHERE name = 'kept'").fetchone(), (1,))

    def test_a_key_that_is_not_the_backups_says_nothing_about_it(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            sandbox.run("migrate", check=0)
            sandbox.run("backup", check=0)
            other = {**sandbox.environment, "ARAGORA_ENCRYPTION_KEY": secrets.token_hex(32)}
            refused = subprocess.run([BINARY, "backup", "verify"], env=other, capture_output=True, text=True)
            self.assertEqual((refused.returncode, "the active key is" in refused.stderr), (65, True), refused.stderr)
            self.assertEqual([backup["good"] for backup in sandbox.run_json("backup", "list", check=0)["backups"]], [True])
            self.assertEqual(sandbox.run_json("backup", "status", check=0)["not_good"], 0)
            refused = sandbox.run("restore", "--input", "latest", "--identity", "/nowhere", check=64)
            self.assertIn("--identity goes with --configuration", refused.stderr)

    def test_a_configuration_is_kept_when_it_changes_and_only_then(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            sandbox.run("migrate", check=0)
            kinds = lambda: [entry["kind"] for entry in sandbox.run_json("backup", "list")["backups"]]
            sandbox.run("backup", "create", "--due", check=0)
            self.assertEqual(sorted(kinds()), ["artifacts", "configuration", "full"])
            verified = sandbox.run_json("backup", "verify", "--every-kind", check=0)["backups"]
            self.assertEqual([(report["verified"], report["level"]) for report in verified], [(True, 2), (True, 1), (True, 1)])
            damaged, = (sandbox.directory / "state/backups").glob("artifacts/*/*.age")
            good = damaged.read_bytes()
            damaged.write_bytes(good[:-1])
            verified = sandbox.run_json("backup", "verify", "--every-kind", check=65)["backups"]
            self.assertEqual([report["verified"] for report in verified], [True, True, False], "one does not hide the others")
            damaged.write_bytes(good)
            sandbox.run("backup", "verify", "--every-kind", check=0)
            self.assertIn("Nothing is due", sandbox.run("backup", "create", "--due", check=0).stdout)
            sandbox.environment["ARAGORA_MAX_ROUNDS"] = "9"
            sandbox.run("backup", "create", "--due", check=0)
            self.assertEqual(kinds().count("configuration"), 2)
            self.assertEqual(kinds().count("full"), 1)
            # The daemon, too: when it starts with other settings, and when it is told to read them again.
            settings = sandbox.write("aragora.toml", "[log]\nlevel = 'info'\n")
            with Daemon(sandbox, ARAGORA_CONFIG=str(settings)) as daemon:
                def wait(count):
                    deadline = time.monotonic() + 10
                    while kinds().count("configuration") < count:
                        self.assertLess(time.monotonic(), deadline, daemon.text())
                        time.sleep(0.05)

                wait(3)
                settings.write_text("[log]\nlevel = 'debug'\n")
                daemon.process.send_signal(signal.SIGHUP)
                wait(4)
                daemon.process.send_signal(signal.SIGHUP)
                time.sleep(0.5)
                self.assertEqual(kinds().count("configuration"), 4)
            with Sandbox() as fresh, Daemon(fresh):
                time.sleep(0.3)
                self.assertFalse((fresh.directory / "state/backups").exists(), "nobody makes backups here")

    def test_rekey_reaches_everything_and_touches_no_payload(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            backups, old = sandbox.directory / "backups", sandbox.environment["ARAGORA_ENCRYPTION_KEY"]
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(backups)
            sandbox.elsewhere()
            sandbox.run("migrate", check=0)
            process = subprocess.Popen([BINARY, "backup", "run", "--interval", "1"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline, number = time.monotonic() + 30, 0
            while len(list(backups.glob("increments/*/*.json"))) < 2:
                self.assertLess(time.monotonic(), deadline)
                if (backups / "latest").exists():
                    with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db", timeout=10)) as database, database:
                        database.execute("INSERT INTO settings (name, value, updated_at) VALUES (?, '', 0)", (f"k{number}",))
                    number += 1
                time.sleep(0.4)
            process.terminate()
            process.wait(30)
            sandbox.run("backup", check=0)
            before, listed = stored(backups), sandbox.run_json("backup", "list")["backups"]
            damaged = next(entry for entry in listed if entry["kind"] == "artifacts")
            file = pathlib.Path(damaged["path"]) / "debates.jsonl.zst.age"
            good = file.read_bytes()
            new, recipient = secrets.token_hex(32), sandbox.run_json("backup", "keygen", "--out", sandbox.directory / "recovery.key")["recipient"]
            sandbox.environment.update(ARAGORA_ENCRYPTION_KEY=new, ARAGORA_BACKUP_RECIPIENTS=recipient)
            self.assertEqual(sandbox.run("backup", "verify", "--level", "1").returncode, 65, "the new key alone opens nothing")
            sandbox.environment["ARAGORA_ENCRYPTION_PREVIOUS_KEYS"] = old
            for entry in listed:
                sandbox.run("backup", "verify", "--level", "1", "--input", entry["id"], check=0)
            file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
            result = sandbox.run("backup", "rekey", check=65)
            self.assertIn(damaged["id"], result.stdout)
            self.assertEqual(file.read_bytes()[-1], good[-1] ^ 1, "what is damaged is left as it is")
            file.write_bytes(good)
            again = sandbox.run_json("backup", "rekey", check=0)
            self.assertEqual(again["untouched"], [])
            self.assertEqual(stored(backups), before)
            sandbox.run("backup", "copy", "--again", check=0)
            del sandbox.environment["ARAGORA_ENCRYPTION_PREVIOUS_KEYS"]
            for entry in listed:
                for place in ([], ["--from", "offsite"]):
                    sandbox.run("backup", "verify", "--level", "1", "--input", entry["id"], *place, check=0)
            database = next(backups.glob("full/*/db.sqlite.zst.age"))
            self.assertTrue(age_open(sandbox.directory / "recovery.key", database).startswith(b"SQLite format 3"))
            sandbox.environment["ARAGORA_ENCRYPTION_KEY"] = old
            self.assertEqual(sandbox.run("backup", "verify", "--level", "1").returncode, 65, "the old key opens nothing any more")

    def test_rekey_reaches_the_log(self):
        with deployment() as (cluster, sandbox):
            old = sandbox.environment["ARAGORA_ENCRYPTION_KEY"] = secrets.token_hex(32)
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox) as receiver:
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('one', '', 0)")
                receiver.wait_for_position(cluster.sql("SELECT pg_switch_wal()", user="postgres"))
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('two', '', 0)")
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                sandbox.environment.update(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), ARAGORA_ENCRYPTION_PREVIOUS_KEYS=old)
                self.assertEqual(sandbox.run("backup", "rekey").returncode, 75, "not while the receiver writes")
                self.assertEqual(receiver.stop(), 0)
            report = sandbox.run_json("backup", "rekey", check=0)
            self.assertGreaterEqual(report["log_files"], 1)
            del sandbox.environment["ARAGORA_ENCRYPTION_PREVIOUS_KEYS"]
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "recovered", check=0)
            with recovered(cluster, sandbox.directory / "recovered"):
                self.assertLessEqual({"one", "two"}, names(cluster))

    def test_a_machine_that_makes_backups_need_not_be_able_to_read_them(self):
        with deployment() as (cluster, sandbox):
            sandbox.environment["ARAGORA_ENCRYPTION_KEY"] = secrets.token_hex(32)
            sandbox.run("backup", "create", "--kind", "base", check=0)
            writer = sandbox.run("key", "backup-writer", check=0).stdout.strip()
            full = dict(sandbox.environment)
            del sandbox.environment["ARAGORA_ENCRYPTION_KEY"]
            sandbox.environment["ARAGORA_BACKUP_WRITER_KEY"] = writer
            self.assertNotIn(full["ARAGORA_ENCRYPTION_KEY"], writer)
            for kind in ("full", "base"):
                sandbox.run("backup", "create", "--kind", kind, check=0)
            with Receiver(sandbox) as receiver:
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('one', '', 0)")
                receiver.wait_for_position(cluster.sql("SELECT pg_switch_wal()", user="postgres"))
                receiver.stop()
            sandbox.run("backup", "create", "--due", check=0)
            sandbox.run("backup", "verify", "--level", "0", "--every-kind", check=0)
            refused = sandbox.run("backup", "verify", "--level", "1", check=78)
            self.assertIn("only the key that writes backups", refused.stderr)
            self.assertEqual(sandbox.run("restore", "--input", "latest", "--dry-run").returncode, 78)
            for wrong in ("x", writer[:-1], writer + "0", writer.replace("WRITER-1", "WRITER-2")):
                result = sandbox.run("backup", "status", ARAGORA_BACKUP_WRITER_KEY=wrong)
                self.assertEqual(result.returncode, 78, wrong)
                self.assertNotIn(writer[-20:-1], result.stdout + result.stderr)
            self.assertFalse((sandbox.directory / "state/secrets/encryption_key").exists(), "none is made here")
            checked = sandbox.run("validate-env").stdout
            self.assertIn("only the one that writes backups", checked)
            self.assertNotIn("Key check", checked)
            other = sandbox.run("key", "backup-writer", ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), check=0).stdout.strip()
            self.assertIn("not the key this database was used with", sandbox.run("validate-env", ARAGORA_BACKUP_WRITER_KEY=other).stdout)
            self.assertIn("not the one this database was used with", sandbox.run("backup", ARAGORA_BACKUP_WRITER_KEY=other).stderr)
            self.assertIn("ARAGORA_BACKUP_WRITER_KEY", sandbox.run("validate-env", ARAGORA_BACKUP_WRITER_KEY=writer[:-1]).stdout)
            # Where the encryption key is, all of it is as good as any other.
            sandbox.environment = full
            for input in ("latest", "latest-base"):
                sandbox.run("backup", "verify", "--input", input, check=0)
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "recovered", check=0)
            with recovered(cluster, sandbox.directory / "recovered"):
                self.assertIn("one", names(cluster))

    def test_a_pin_holds_here_and_elsewhere(self):
        with Sandbox() as sandbox:
            sandbox.elsewhere()
            sandbox.run("migrate", check=0)
            for days in (60, 59, 58, 57):
                sandbox.run("backup", check=0, clock=f"-{days}d")
            sandbox.run("backup", check=0)
            ids = [entry["id"] for entry in sandbox.run_json("backup", "list")["backups"]]
            sandbox.run("backup", "pin", "--input", ids[1], "--reason", "asked for by an auditor", check=0)
            self.assertEqual(sandbox.run("backup", "pin", "--input", "nothing").returncode, 66)
            self.assertEqual(sandbox.run("backup", "unpin", "--input", ids[0]).returncode, 66)
            sandbox.run("backup", "copy", check=0)
            planned = sandbox.run_json("backup", "prune", "--dry-run", check=0)
            plan = planned["items"]
            self.assertEqual([(item["id"], "auditor" in item["reason"]) for item in plan if not item["remove"] and item["id"] == ids[1]], [(ids[1], True)] * 2)
            sandbox.run("backup", "prune", "--yes-remove", planned["removals"], check=0)  # nothing was made for eight weeks
            for place in ([], ["--from", "offsite"]):
                left = [entry["id"] for entry in sandbox.run_json("backup", "list", *place)["backups"]]
                self.assertIn(ids[1], left)
                self.assertNotIn(ids[0], left)
            sandbox.run("backup", "unpin", "--input", ids[1], check=0)
            sandbox.run("backup", "copy", check=0)
            self.assertNotIn("pinned", json.dumps(sandbox.run_json("backup", "list", "--from", "offsite")))


if __name__ == "__main__":
    main()
