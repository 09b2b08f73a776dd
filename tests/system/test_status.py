"""What `backup status`, validate-env and the metrics say of the state of recovery: that it is true, and that they agree.
Whatever is ✓ is broken here once, and must not be ✓ then."""
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest

from recovery import Network, Receiver, deployment, lsn, recovered, signed
from s3_store import Fault, Store
from support import BINARY, SOURCE, Daemon, Sandbox, TinyDisk, main, strong_secret

CHECKS = {"backups": "backup_age", "proof": "backup_proof", "keys": "backup_keys", "window": "recovery_window", "loss": "recovery_loss", "offsite": "backup_offsite", "time": "recovery_time",
          "drill": "recovery_drill", "space": "backup_space"}
INSERT = "INSERT INTO settings (name, value, updated_at) VALUES ('{}', '', 0)"


def iso(offset=0):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + offset))


def series(daemon):
    status, _, body = daemon.request("GET", "/metrics")
    assert status == 200
    return dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if line and not line.startswith("#"))


class Truth(unittest.TestCase):
    def failures(self, sandbox, **environment):
        status = sandbox.run_json("backup", "status", **environment)
        return {(s["subject"], s["message"]) for s in status["statements"] if s["level"] == "failure"}

    def require_right(self, sandbox, **environment):
        result = sandbox.run("backup", "status", **environment)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertNotIn("✗", result.stdout)
        checks = sandbox.run_json("validate-env", **environment)["checks"]
        for check in CHECKS.values():
            self.assertNotEqual(checks[check]["status"], "error", checks[check])

    def require_wrong(self, sandbox, subject, *words, metrics=True, **environment):
        """All three say that it fails, and why."""
        result = sandbox.run("backup", "status", **environment)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertNotRegex(result.stdout, r"-\d+(\.\d+)? (ms|s|min|h|d)\b", "no age is negative")
        said = [message for about, message in self.failures(sandbox, **environment) if about == subject]
        for word in words:
            self.assertTrue(any(word in message for message in said), f"{word}: {said}\n{result.stdout}")
            self.assertIn(word, result.stdout)
        checked = sandbox.run("validate-env", "--json", **environment)
        self.assertNotEqual(checked.returncode, 0)
        check = json.loads(checked.stdout)["checks"][CHECKS[subject]]
        self.assertEqual(check["status"], "error", check)
        for word in words:
            self.assertIn(word, json.dumps(check, ensure_ascii=False))
        if metrics:
            with Daemon(sandbox, **environment) as daemon:
                self.assertGreaterEqual(float(series(daemon)[f'aragora_recovery_problems{{subject="{subject}"}}']), 1)


class Sqlite(Truth):
    @contextlib.contextmanager
    def deployment(self, **environment):
        with Sandbox(**environment) as sandbox:
            self.backups, self.path = sandbox.directory / "backups", sandbox.directory / "state/aragora.db"
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(self.backups)
            sandbox.run("migrate", check=0)
            yield sandbox

    @contextlib.contextmanager
    def saving(self, sandbox, interval=1):
        with open(sandbox.directory / "run.log", "a") as log:
            process = subprocess.Popen([*sandbox.prefix, BINARY, "backup", "run", "--interval", str(interval)], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def write(self, name):
        with contextlib.closing(sqlite3.connect(self.path)) as database, database:
            database.execute("INSERT INTO settings (name, value, updated_at) VALUES (?, hex(randomblob(20000)), 0)", (name,))

    def wait_until(self, sandbox, condition, limit=20):
        deadline = time.monotonic() + limit
        while not condition(status := sandbox.run_json("backup", "status")):
            self.assertLess(time.monotonic(), deadline, status)
            time.sleep(0.1)

    def saved(self, status):
        increments = status["increments"]
        return increments and increments["newest"] and increments["somebody_saves"] and not increments["changed_since"] and not increments["problem"]

    def saved_once(self, sandbox):
        self.wait_until(sandbox, lambda status: status.get("count") and (status["increments"] or {}).get("saved_through"))
        self.write("k1")
        self.wait_until(sandbox, self.saved)

    def test_a_full_disk_is_said_although_nothing_can_be_written_there(self):
        with self.deployment() as sandbox, TinyDisk(self.backups) as disk:
            sandbox.prefix = disk.prefix
            with self.saving(sandbox):
                self.saved_once(sandbox)
                sandbox.run("backup", "verify", check=0)
                self.require_right(sandbox)
                disk.fill()
                self.write("k2")
                time.sleep(5)
                self.require_wrong(sandbox, "window", "rounds in a row failed", "No space left on device")
                self.require_wrong(sandbox, "space", "is full")
                with Daemon(sandbox) as daemon:
                    self.assertGreater(float(series(daemon)["aragora_backup_saving_failures"]), 1)
                disk.empty()
                self.wait_until(sandbox, self.saved)
                self.require_right(sandbox)

    def test_a_repository_mounted_read_only_is_said(self):
        with self.deployment() as sandbox, TinyDisk(self.backups) as disk:
            sandbox.prefix = disk.prefix
            sandbox.run("backup", check=0)
            disk.remount("ro")
            self.require_wrong(sandbox, "space", "read-only")

    def test_changes_that_nobody_saves_are_said_and_quiet_is_not(self):
        with self.deployment() as sandbox:
            with self.saving(sandbox) as process:
                self.saved_once(sandbox)
                process.send_signal(signal.SIGKILL)
                process.wait()
            self.require_right(sandbox)
            self.assertIn("nobody saves now", sandbox.run("backup", "status").stdout)
            self.write("k2")
            time.sleep(13)
            self.require_wrong(sandbox, "window", "the database was written to", "nobody saves")
            self.assertGreater(sandbox.run_json("backup", "status")["durable_lag_seconds"], 10)
            with self.saving(sandbox):
                self.wait_until(sandbox, self.saved)
                self.require_right(sandbox)

    def test_another_database_in_its_place_is_not_saved(self):
        with self.deployment() as sandbox:
            with self.saving(sandbox) as process:
                self.saved_once(sandbox)
                process.terminate()
                process.wait()
            self.assertFalse(sandbox.run_json("backup", "status")["increments"]["changed_since"], "copying the WAL back is no change")
            other = sandbox.directory / "other.db"
            shutil.copy2(self.path, other)
            other.rename(self.path)
            self.assertTrue(sandbox.run_json("backup", "status")["increments"]["changed_since"])

    def test_what_is_gone_or_cut_short_is_not_good(self):
        with self.deployment() as sandbox:
            with self.saving(sandbox):
                self.saved_once(sandbox)
            self.require_right(sandbox)
            increment = next(self.backups.glob("increments/*/*.json"))
            kept = increment.read_bytes()
            increment.unlink()
            self.require_wrong(sandbox, "window", "was written and is not there")
            increment.write_bytes(kept.replace(b'"changed":', b'"changed": '))
            self.require_wrong(sandbox, "window", "was written and is not there")
            increment.write_bytes(kept)
            stored = next(self.backups.glob("full/2*/db.sqlite.zst.age"))
            whole = stored.read_bytes()
            stored.write_bytes(whole[:-1])
            self.require_wrong(sandbox, "backups", f"has {len(whole) - 1} bytes, not {len(whole)}")
            stored.unlink()
            self.require_wrong(sandbox, "backups", "No such file")
            stored.write_bytes(whole)
            self.require_right(sandbox)
            manifest = stored.with_name("manifest.json")
            manifest.write_text(manifest.read_text().replace('"engine": "sqlite"', '"engine":  "sqlite"'))
            self.require_wrong(sandbox, "keys", "the signature of the manifest does not hold")

    def test_an_increment_that_is_missing_in_the_middle(self):
        with self.deployment() as sandbox:
            with self.saving(sandbox):
                self.saved_once(sandbox)
                for name in ("k2", "k3"):
                    self.write(name)
                    self.wait_until(sandbox, self.saved)
            self.require_right(sandbox)
            records = sorted(self.backups.glob("increments/*/*.json"))
            self.assertGreaterEqual(len(records), 3)
            for victim, words in ((records[1], "increment 2 of"), (records[1].with_suffix(".pages.zst.age"), "is missing or empty")):
                kept = victim.read_bytes()
                victim.unlink()
                self.require_wrong(sandbox, "window", words, metrics=False)
                victim.write_bytes(kept)
            self.require_right(sandbox)

    def test_a_copy_elsewhere_that_lost_something_is_not_complete(self):
        for kind in ("directory", "store"):
            with self.subTest(kind), contextlib.ExitStack() as stack:
                sandbox = stack.enter_context(self.deployment())
                if kind == "store":
                    store = stack.enter_context(Store())
                    sandbox.environment.update(store.environment)
                else:
                    mount = sandbox.elsewhere()
                sandbox.run("backup", check=0)
                self.require_right(sandbox)
                self.assertIn("the newest of each kind is there", sandbox.run("backup", "status").stdout)
                if kind == "store":
                    lost = [name for name in store.objects if name.endswith("db.sqlite.zst.age")]
                    for name in lost:
                        del store.objects[name]
                else:
                    lost = list(mount.glob("full/2*/db.sqlite.zst.age"))
                    lost[0].write_bytes(lost[0].read_bytes()[:-1])
                self.assertEqual(len(lost), 1)
                self.require_wrong(sandbox, "offsite", "1 thing that was copied is not there", "db.sqlite.zst.age")
                sandbox.run("backup", "copy", "--again", check=0)
                self.require_right(sandbox)
                if kind == "store":
                    store.faults.append(Fault("drop", times=10**6))
                    self.require_wrong(sandbox, "offsite", "Copy elsewhere", metrics=False)

    def test_a_key_that_is_gone_opens_nothing(self):
        """Rotated, and the previous one not named."""
        with self.deployment(ARAGORA_ENCRYPTION_KEY=(old := strong_secret())) as sandbox:
            with self.saving(sandbox):
                self.saved_once(sandbox)
            status = sandbox.run_json("backup", "status", check=0)
            self.assertEqual({key["kind"]: key["opens"] for key in status["keys"]}, {"full": True, "configuration": True, "artifacts": True, "increments": True})
            new = {"ARAGORA_ENCRYPTION_KEY": strong_secret()}
            self.require_wrong(sandbox, "keys", "not open with the keys at hand", metrics=False, **new)
            self.assertEqual({key["kind"] for key in sandbox.run_json("backup", "status", **new)["keys"] if key["opens"]}, set())
            named = {**new, "ARAGORA_ENCRYPTION_PREVIOUS_KEYS": old}
            self.require_right(sandbox, **named)
            sandbox.run("backup", "rekey", check=0, **named)
            self.require_right(sandbox, **new)
            self.require_wrong(sandbox, "keys", "not open with the keys at hand", metrics=False)
            # The signature may hold while what is sealed does not open.
            stored = next(self.backups.glob("full/2*/db.sqlite.zst.age"))
            data = bytearray(stored.read_bytes())
            data[60] ^= 1
            stored.write_bytes(data)
            self.require_wrong(sandbox, "keys", "db.sqlite.zst.age", metrics=False, **new)

    def test_a_backup_from_the_future_is_called_one(self):
        with self.deployment() as sandbox:
            sandbox.run("backup", check=0)
            now = sandbox.run_json("backup", "status", check=0)["newest_good"]["id"]
            sandbox.run("backup", check=0, clock="+400d")
            self.require_wrong(sandbox, "backups", "dated ahead of this machine's clock")
            status = sandbox.run_json("backup", "status")
            self.assertEqual(status["newest_good"]["id"], now)
            self.assertEqual(status["kinds"][0]["in_the_future"], 1)
            # It is no reason to make none until then.
            future = next(path for path in self.backups.glob("full/2*") if path.name != now)
            (self.backups / "full" / now).rename(sandbox.directory / "away")
            made = sandbox.run_json("backup", "create", "--due", check=0)["backups"]
            self.assertIn("full", [entry["kind"] for entry in made])
            sandbox.run("backup", "forget", check=0)
            sandbox.run("backup", "verify", check=0)
            self.assertIn("dated ahead", sandbox.run("backup", "status", check=0).stdout)
            shutil.rmtree(future)
            self.require_wrong(sandbox, "backups", future.name, metrics=False)
            sandbox.run("backup", "forget", check=0)
            self.require_right(sandbox)

    def test_every_other_date_that_lies_ahead_is_said(self):
        with self.deployment() as sandbox:
            sandbox.elsewhere()
            sandbox.run("backup", check=0)
            sandbox.run("backup", "verify", check=0)
            self.require_right(sandbox)
            run = lambda *arguments: sandbox.run(*arguments, clock="+3d")
            run("backup", "copy")
            self.require_wrong(sandbox, "offsite", "ahead of this machine's clock", metrics=False)
            sandbox.run("backup", "copy", check=0)
            run("backup", "verify")
            self.require_wrong(sandbox, "proof", "ahead of this machine's clock", metrics=False)
            sandbox.run("backup", check=0)
            run("drill")
            self.require_wrong(sandbox, "drill", "ahead of this machine's clock", metrics=False)

    def test_what_was_once_proven_and_copied_gets_old(self):
        with self.deployment() as sandbox:
            mount = sandbox.elsewhere()
            sandbox.environment.update(ARAGORA_BACKUP_EVERY_HOURS="1000", ARAGORA_RPO_MINUTES="10080")
            run = lambda days, *arguments: sandbox.run(*arguments, check=0, clock=f"-{days}d")
            run(130, "backup")
            self.require_wrong(sandbox, "proof", "Newest proven backup: none", metrics=False, ARAGORA_BACKUP_EVERY_HOURS="24")
            run(130, "backup", "verify")
            self.require_wrong(sandbox, "proof", "verified 130 d", metrics=False, ARAGORA_BACKUP_EVERY_HOURS="24")
            self.require_wrong(sandbox, "backups", "130 d", metrics=False)
            run(1, "backup")
            sandbox.run("backup", "verify", check=0)
            self.require_right(sandbox)
            self.require_wrong(sandbox, "offsite", "the schedule is every 12 h", metrics=False, ARAGORA_BACKUP_EVERY_HOURS="12")
            mount.rename(sandbox.directory / "away")
            self.require_wrong(sandbox, "offsite", "it is not there")

    def test_a_drill_that_did_not_pass_and_one_that_was_forged(self):
        with self.deployment() as sandbox:
            sandbox.run("backup", check=0)
            sandbox.run("drill", check=0)
            self.require_right(sandbox)
            self.assertEqual(sandbox.run_json("backup", "status")["kinds"][0]["proof"]["how"], "drilled")
            evidence = next(self.backups.glob("drills/*.json"))
            evidence.write_text(evidence.read_text().replace('"rto_seconds": ', '"rto_seconds":  '))
            self.require_wrong(sandbox, "drill", "its signature does not hold")
            sandbox.run("drill", ARAGORA_RPO_MINUTES="10080", check=0)
            self.require_right(sandbox)
            next(self.backups.glob("full/2*/db.sqlite.zst.age")).write_bytes(b"")
            sandbox.run("drill", check=1)
            self.require_wrong(sandbox, "drill", "not passed", metrics=False)

    def test_what_a_drill_proved_counts_while_it_is_there(self):
        with self.deployment() as sandbox:
            sandbox.run("backup", check=0)
            sandbox.run("drill", check=0)
            proven = "✓ Newest proven backup"
            self.assertIn(proven, sandbox.run("backup", "status").stdout)
            for name in ("manifest.json", "manifest.json.sig", "db.sqlite.zst.age"):
                file = next(self.backups.glob(f"full/*/{name}"))
                away = file.rename(sandbox.directory / name)
                self.assertNotIn(proven, sandbox.run("backup", "status").stdout, name)
                away.rename(file)
            self.assertIn(proven, sandbox.run("backup", "status").stdout)

    def test_without_continuous_saving_the_schedule_is_what_would_be_lost(self):
        with self.deployment() as sandbox:
            sandbox.run("backup", check=0)
            said = [s for s in sandbox.run_json("backup", "status", check=0)["statements"] if s["subject"] == "loss"]
            self.assertEqual([s["level"] for s in said], ["unset"])
            self.assertIn("up to 24 h would be lost, the objective is 5 min", said[0]["message"])


class Postgres(Truth):
    def write_status(self, sandbox, **changes):
        path = sandbox.directory / "backups/wal/status.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "updated_at": iso(), "durable_through": iso(), "problem": "", **changes}))

    @contextlib.contextmanager
    def received(self, **environment):
        """A base backup, log after it, and a receiver that has just stopped."""
        with deployment() as (cluster, sandbox):
            sandbox.environment.update(environment)
            for kind in ("full", "base"):
                sandbox.run("backup", "create", "--kind", kind, check=0)
            with Receiver(sandbox) as receiver:
                for name in ("one", "two"):
                    cluster.sql(INSERT.format(name))
                    receiver.wait_for_position(cluster.sql("SELECT pg_switch_wal()", user="postgres"))
                cluster.sql(INSERT.format("three"))
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                self.assertEqual(receiver.stop(), 0)
            yield cluster, sandbox

    def test_a_base_that_nobody_receives_log_for_is_no_recovery_to_a_moment(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", check=0)
            self.require_right(sandbox)
            sandbox.run("backup", "create", "--kind", "base", check=0)
            self.require_wrong(sandbox, "window", "not possible behind base backup", "nothing receives the log")
            self.require_wrong(sandbox, "loss", "up to 24 h would be lost, the objective is 5 min", metrics=False)
            self.require_right(sandbox, ARAGORA_RPO_MINUTES="10080")
            self.assertIn("not possible behind base backup", sandbox.run("backup", "status", ARAGORA_RPO_MINUTES="10080").stdout)

    def test_a_lag_beyond_the_objective_fails(self):
        with self.received() as (cluster, sandbox):
            self.write_status(sandbox)
            self.require_right(sandbox)
            self.write_status(sandbox, durable_through=iso(-180))
            self.require_right(sandbox)  # five minutes are allowed
            self.require_wrong(sandbox, "loss", "commits of the last 3 min", "objective 1 min", ARAGORA_RPO_MINUTES="1")
            self.write_status(sandbox, durable_through="")
            self.require_wrong(sandbox, "loss", "is not known yet", metrics=False)
            self.write_status(sandbox, durable_through=iso(7200))
            self.require_wrong(sandbox, "loss", "ahead of this machine's clock", metrics=False)
            self.write_status(sandbox, updated_at=iso(7200))
            self.require_wrong(sandbox, "window", "ahead of this machine's clock", metrics=False)

    def test_a_lag_of_the_copy_elsewhere_counts(self):
        with deployment() as (cluster, sandbox):
            mount = sandbox.elsewhere()
            sandbox.environment.update(ARAGORA_RPO_MINUTES="1")
            for kind in ("full", "base"):
                sandbox.run("backup", "create", "--kind", kind, check=0)
            with Receiver(sandbox, "--seal-interval", "1") as receiver:
                path = sandbox.directory / "backups/wal/offsite.json"
                cluster.sql(INSERT.format("one"))
                deadline = time.monotonic() + 30
                while self.failures(sandbox):
                    self.assertLess(time.monotonic(), deadline, self.failures(sandbox))
                    time.sleep(0.2)
                self.require_right(sandbox)
                self.assertEqual(receiver.stop(), 0)
            cluster.sql(INSERT.format("two"))
            with Receiver(sandbox, "--seal-interval", "3600") as receiver:
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                path.write_text(json.dumps({**json.loads(path.read_text()), "durable_through": iso(-180), "flushed": "0/1", "problem": ""}))
                self.require_wrong(sandbox, "loss", "Lost with this machine: commits of the last 3 min", metrics=False)
                receiver.process.kill()

    def test_log_that_is_missing_elsewhere_is_missed(self):
        with deployment() as (cluster, sandbox):
            mount = sandbox.elsewhere()
            for kind in ("full", "base"):
                sandbox.run("backup", "create", "--kind", kind, check=0)
            with Receiver(sandbox, "--seal-interval", "1") as receiver:
                cluster.sql(INSERT.format("one"))
                receiver.wait_for_position(cluster.sql("SELECT pg_switch_wal()", user="postgres"))
                cluster.sql(INSERT.format("two"))
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                offsite = sandbox.directory / "backups/wal/offsite.json"
                deadline = time.monotonic() + 30
                while not offsite.exists() or json.loads(offsite.read_text())["flushed"] != receiver.status()["flushed"]:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.1)
                self.assertEqual(receiver.stop(), 0)
            self.write_status(sandbox)
            self.require_right(sandbox)
            for piece in mount.glob("wal/0*/*.????????-????????.*"):  # of the open segment
                piece.unlink()
            self.require_wrong(sandbox, "offsite", "confirmed bytes are missing")

    def test_archive_command_alone_loses_what_is_not_archived_yet(self):
        with deployment() as (cluster, sandbox):
            for kind in ("full", "base"):
                sandbox.run("backup", "create", "--kind", kind, check=0)
            for number in range(2):
                cluster.sql(INSERT.format(f"row-{number}"))  # first: a position between two segments is called by the one before
                segment = cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())", user="postgres")
                cluster.sql("SELECT pg_switch_wal()", user="postgres")
                sandbox.run("backup", "wal-push", cluster.data / "pg_wal" / segment, check=0)
            self.require_right(sandbox)
            for path in (sandbox.directory / "backups/wal").glob("0*/*.zst.age"):
                os.utime(path, (time.time() - 3600,) * 2)
            self.require_wrong(sandbox, "loss", "commits of the last 1 h", metrics=False)

    def test_a_full_disk_under_the_receiver(self):
        with deployment() as (cluster, sandbox), TinyDisk(sandbox.directory / "backups", "120m") as disk:
            sandbox.prefix = disk.prefix
            for kind in ("full", "base"):
                sandbox.run("backup", "create", "--kind", kind, check=0)
            with open(sandbox.directory / "wal.log", "w") as log:
                process = subprocess.Popen([*disk.prefix, BINARY, "backup", "wal"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                deadline = time.monotonic() + 30
                while sandbox.run("backup", "status").returncode:
                    self.assertLess(time.monotonic(), deadline, sandbox.run("backup", "status").stdout)
                    time.sleep(0.2)
                disk.fill()
                cluster.sql("INSERT INTO settings (name, value, updated_at) SELECT gen_random_uuid()::text, repeat('y', 1000), 0 FROM generate_series(1, 40000)")
                self.assertIn(process.wait(30), (73, 74))
            self.assertIn("No space left", (sandbox.directory / "wal.log").read_text())
            self.require_wrong(sandbox, "space", "is full")
            time.sleep(31)
            self.require_wrong(sandbox, "window", "nothing since", metrics=False)

    def test_a_break_in_the_log_is_said_until_a_base_backup_begins_behind_it(self):
        with self.received() as (cluster, sandbox):
            self.write_status(sandbox)
            end = sandbox.run_json("backup", "status", check=0)["recovery_window"]["end"]
            record = sandbox.directory / "backups/wal/interruptions.json"
            what = {"interruptions": [{"at": iso(), "timeline": 1, "after": end, "replayable": True, "why": "wal_level was minimal"}]}
            record.write_text(json.dumps(what) + "\n" + "0" * 128 + "\n")
            self.require_wrong(sandbox, "window", "signature does not hold", metrics=False)
            record.write_text(signed(sandbox, what))
            self.require_wrong(sandbox, "window", "Recovery cannot pass position", "wal_level was minimal")
            self.assertEqual([hole["healed"] for hole in sandbox.run_json("backup", "status")["recovery_window"]["holes"]], [False])
            cluster.sql("SELECT pg_switch_wal()", user="postgres")
            with Receiver(sandbox) as receiver:
                sandbox.run("backup", "create", "--kind", "base", check=0)
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                self.require_right(sandbox)
                self.assertEqual([hole["healed"] for hole in sandbox.run_json("backup", "status")["recovery_window"]["holes"]], [True])

    def test_log_that_was_confirmed_and_is_gone_is_missed(self):
        with self.received() as (cluster, sandbox):
            self.write_status(sandbox)
            self.require_right(sandbox)
            wal = sandbox.directory / "backups/wal"
            partial = next(wal.glob("0*/*.partial"))
            kept = partial.read_bytes()
            partial.unlink()
            self.require_wrong(sandbox, "window", "was confirmed through", "the archive ends at")
            # The server knows what it was told, whatever became of our own note.
            (wal / "status.json").rename(sandbox.directory / "status.json")
            self.require_wrong(sandbox, "window", "it was told that", metrics=False)
            (sandbox.directory / "status.json").rename(wal / "status.json")
            partial.write_bytes(kept[: len(kept) // 2])
            self.require_wrong(sandbox, "window", "was confirmed through", metrics=False)
            partial.write_bytes(kept)
            self.require_right(sandbox)
            confirmed = lsn(json.loads((wal / "status.json").read_text())["flushed"]) % 16777216
            for byte in (0, confirmed // 2, confirmed - 1):
                data = bytearray(kept)
                data[byte] ^= 1
                partial.write_bytes(data)
                self.require_wrong(sandbox, "window", "does not hold what was confirmed", metrics=False)
            partial.write_bytes(kept)
            record = sorted(wal.glob("0*/" + "[0-9A-F]" * 24 + ".json"))[-1]
            record.rename(sandbox.directory / "away")
            self.require_wrong(sandbox, "window", "that a recovery needs", record.name, metrics=False)
            (sandbox.directory / "away").rename(record)
            self.require_right(sandbox)
            sealed = sorted(wal.glob("0*/*.zst.age"))[-2]
            sealed.rename(sandbox.directory / "away")
            self.assertIn(("window", True), {(subject, "gap" in message) for subject, message in self.failures(sandbox)})
            (sandbox.directory / "away").rename(sealed)
            cluster.sql("SELECT pg_drop_replication_slot('aragora')", user="postgres")
            self.require_wrong(sandbox, "window", "there is no slot aragora", metrics=False)

    def test_the_live_database_is_asked_once_and_what_could_not_be_asked_is_said(self):
        """Over one connection and within two seconds, whatever it is that does not answer."""
        with deployment() as (cluster, sandbox), Network(cluster.port) as network:
            for kind in ("full", "base", "configuration"):
                sandbox.run("backup", "create", "--kind", kind, check=0)
            sandbox.environment["DATABASE_URL"] = cluster.url.replace(f":{cluster.port}/", f":{network.port}/") + "?sslmode=disable&gssencmode=disable"

            def asked():
                network.accepted, began = 0, time.monotonic()
                status = sandbox.run_json("backup", "status")
                return status, network.accepted, time.monotonic() - began

            status, connections, _ = asked()
            self.assertEqual((status["not_asked"], connections), ([], 1))

            def require_said():
                status, connections, seconds = asked()
                self.assertEqual(connections, 1)
                self.assertLess(seconds, 2 + 2)
                self.assertEqual([one["what"] for one in status["not_asked"]], ["the newest backups that the database was told of", "the server's end of the log, its slot and wal_level"])
                said = [one["level"] for one in status["statements"] if one["subject"] == "backups" and "not compared with what the database was told" in one["message"]]
                self.assertEqual(said, ["warning"])
                self.assertRegex(sandbox.run("backup", "status").stdout, r"! Newest backups: not compared")
                self.assertEqual(sandbox.run_json("validate-env", check=None)["checks"]["backup_age"]["status"], "warning")

            holder = subprocess.Popen([cluster.BIN / "psql", "-qAtX", cluster.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            holder.stdin.write("BEGIN; LOCK TABLE settings IN ACCESS EXCLUSIVE MODE; SELECT 1;\n")
            holder.stdin.flush()
            self.assertEqual(holder.stdout.readline(), "1\n")
            status, connections, seconds = asked()
            self.assertEqual(connections, 1)
            self.assertLess(seconds, 2 + 2)
            self.assertEqual(status["not_asked"][0]["what"], "the newest backups that the database was told of")
            holder.communicate("ROLLBACK;\n")
            for network.trouble in ("cut", "silent"):
                with self.subTest(network.trouble):
                    require_said()
                    network.accepted = 0
                    verified = sandbox.run_json("backup", "verify", "--every-kind", "--level", "0", check=0)
                    self.assertIn("is not known", verified["not_asked"])
                    self.assertLessEqual(network.accepted, 2)  # whose the backups are is asked, too

    def test_log_that_was_written_with_wal_level_minimal_is_a_break(self):
        with self.received() as (cluster, sandbox):
            for level, senders in (("minimal", "0"), ("replica", "10")):
                cluster.stop()
                cluster.configure(wal_level=level, max_wal_senders=senders)
                # A slot keeps the server from starting with less than replica.
                if level == "minimal":
                    (cluster.data / "pg_replslot/aragora").rename(sandbox.directory / "slot")
                else:
                    (sandbox.directory / "slot").rename(cluster.data / "pg_replslot/aragora")
                cluster.start()
                cluster.sql(INSERT.format(level))
            with Receiver(sandbox) as receiver:
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                deadline = time.monotonic() + 20
                while not (holes := (status := sandbox.run_json("backup", "status"))["recovery_window"]["holes"]):
                    self.assertLess(time.monotonic(), deadline, receiver.text())
                    time.sleep(0.2)
                self.assertIn("minimal", holes[0]["why"])
                self.assertTrue(holes[0]["log_is_there"])
                # A failure until the base backup that the receiver makes begins behind it.
                levels = [s["level"] for s in status["statements"] if "Recovery cannot pass position" in s["message"]]
                self.assertEqual(levels, ["ok" if holes[0]["healed"] else "failure"])
                while self.failures(sandbox):
                    self.assertLess(time.monotonic(), deadline + 30, self.failures(sandbox))
                    time.sleep(0.2)
                self.assertTrue(sandbox.run_json("backup", "status")["recovery_window"]["holes"][0]["healed"])

    def test_the_ways_that_the_database_went_are_listed(self):
        """A recovery to an earlier moment took its place; what came after on the old way is still there."""
        with deployment() as (cluster, sandbox):
            for kind in ("full", "base"):
                sandbox.run("backup", "create", "--kind", kind, check=0)
            with Receiver(sandbox) as receiver:
                cluster.sql(INSERT.format("one"))
                target = cluster.sql("SELECT pg_current_wal_lsn()")
                cluster.sql(INSERT.format("two"))
                receiver.wait_for_position(cluster.sql("SELECT pg_switch_wal()", user="postgres"))
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                self.assertEqual(receiver.stop(), 0)
            sandbox.run("restore", "--target-lsn", target, "--to", sandbox.directory / "recovered", check=0)
            with recovered(cluster, sandbox.directory / "recovered"):
                with Receiver(sandbox) as receiver:
                    cluster.sql(INSERT.format("three"))
                    receiver.wait(lambda status: status["timeline"] == 2)
                    receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                    deadline = time.monotonic() + 40
                    while self.failures(sandbox):
                        self.assertLess(time.monotonic(), deadline, self.failures(sandbox))
                        time.sleep(0.2)
                    status = sandbox.run("backup", "status", check=0).stdout
                    window = sandbox.run_json("backup", "status")["recovery_window"]
                    self.assertEqual([(t["timeline"], t["parent"]) for t in window["timelines"]], [(1, None), (2, 1)])
                    self.assertEqual(window["timeline"], 2)
                    self.assertIn("Timeline 2, which left timeline 1 at", status)
                    self.assertEqual(receiver.stop(), 0)
            # A history that cannot be read is said, not the end of all that is said.
            next((sandbox.directory / "backups/wal/00000002").glob("*.history.json")).unlink()
            self.require_wrong(sandbox, "window", "00000002.history.json", metrics=False)

    def test_a_receiver_that_is_silent_or_in_trouble(self):
        with self.received() as (cluster, sandbox):
            self.write_status(sandbox, updated_at=iso(-60))
            self.require_wrong(sandbox, "window", "nothing since")
            self.write_status(sandbox, problem="gone")
            self.require_wrong(sandbox, "window", "gone", metrics=False)
            for state in ("unreserved", "lost"):
                self.write_status(sandbox, slot_state=state)
                self.require_wrong(sandbox, "window", f"slot aragora is {state}", metrics=False)
            shutil.rmtree(sandbox.directory / "backups/base")
            self.write_status(sandbox)
            self.require_wrong(sandbox, "window", "there is no base backup", metrics=False)

    def test_keys_of_base_and_log_and_a_machine_that_only_writes(self):
        with self.received(ARAGORA_ENCRYPTION_KEY=(old := strong_secret())) as (cluster, sandbox):
            self.write_status(sandbox)
            opens = {key["kind"]: key["opens"] for key in sandbox.run_json("backup", "status", check=0)["keys"]}
            self.assertEqual(opens, {"full": True, "base": True, "log": True})
            self.require_wrong(sandbox, "keys", "base backup", "file of log does not open", metrics=False, ARAGORA_ENCRYPTION_KEY=strong_secret())
            writer = sandbox.run("key", "backup-writer", check=0).stdout.strip()
            del sandbox.environment["ARAGORA_ENCRYPTION_KEY"]
            self.require_right(sandbox, ARAGORA_BACKUP_WRITER_KEY=writer)
            result = sandbox.run("backup", "status", check=0, ARAGORA_BACKUP_WRITER_KEY=writer)
            self.assertIn("signs and opens nothing, as it is meant to", result.stdout)
            self.assertEqual({key["opens"] for key in sandbox.run_json("backup", "status", ARAGORA_BACKUP_WRITER_KEY=writer)["keys"]}, {False})

    def test_the_predicted_time_counts_the_log_and_where_it_comes_from(self):
        with deployment() as (cluster, sandbox):
            mount = sandbox.elsewhere()
            for kind in ("full", "base"):
                sandbox.run("backup", "create", "--kind", kind, check=0)
            predictions = lambda: {p["place"]: p for p in sandbox.run_json("backup", "status")["predictions"]}
            before = predictions()
            self.assertEqual([before[place]["measured"] for place in ("local", "offsite")], [False, False])
            self.assertIn("never measured", sandbox.run("backup", "status").stdout)
            with Receiver(sandbox) as receiver:
                cluster.sql(INSERT.format("one"))
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                evidence = sandbox.run_json("drill", check=0)
                for name in ("unpack_seconds", "replay_seconds", "log_bytes", "backup_bytes"):
                    self.assertGreater(evidence[name], 0, name)
                drilled = predictions()
                self.assertEqual([drilled[place]["measured"] for place in ("local", "offsite")], [True, False])
                self.assertAlmostEqual(drilled["local"]["seconds"], evidence["rto_seconds"], delta=max(2, evidence["rto_seconds"] / 2))
                for _ in range(12):
                    cluster.sql("INSERT INTO settings (name, value, updated_at) SELECT gen_random_uuid()::text, repeat('y', 1000), 0 FROM generate_series(1, 14000)")
                    cluster.sql("DELETE FROM settings WHERE value LIKE 'y%'")
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                after = predictions()
                self.assertEqual(receiver.stop(), 0)
            self.assertGreater(after["local"]["log_bytes"], 150_000_000)
            report = sandbox.run_json("restore", "--latest", "--to", sandbox.directory / "recovered", check=0)
            took = report["seconds"]
            self.assertGreater(after["local"]["seconds"], drilled["local"]["seconds"] + 2)
            self.assertGreater(after["local"]["seconds"], took / 3, f"took {took}")
            self.assertGreater(after["offsite"]["seconds"], after["local"]["seconds"])
            self.write_status(sandbox)
            sandbox.run("backup", "copy", check=0)
            self.require_wrong(sandbox, "time", "A recovery from here would take", metrics=False, ARAGORA_RTO_MINUTES="1") if after["local"]["seconds"] > 60 else None
            sandbox.run("drill", "--from", "offsite", check=0)
            self.assertTrue(predictions()["offsite"]["measured"])


class State(unittest.TestCase):
    """What `backup status`, validate-env and the metrics say, and that they say the same."""

    def test_status_checks_and_metrics_see_the_window_the_lag_and_the_drill(self):
        with deployment() as (cluster, sandbox):
            sandbox.elsewhere()
            with Daemon(sandbox) as daemon:
                before = series(daemon)
                self.assertNotIn('aragora_backup_last_success_timestamp_seconds{kind="full"}', before, "never is not 1970")
                self.assertNotIn("aragora_recovery_drill_passed", before)
            for kind in ("full", "base"):
                sandbox.run("backup", "create", "--kind", kind, check=0)
            with Receiver(sandbox, "--seal-interval", "1") as receiver:
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('one', '', 0)")
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                sandbox.run("backup", "verify", check=0)
                sandbox.run("drill", check=0)
                deadline = time.monotonic() + 20
                while sandbox.run_json("backup", "status")["offsite_lag_seconds"] is None:
                    self.assertLess(time.monotonic(), deadline)
                status = sandbox.run_json("backup", "status", check=0)
                self.assertLess(status["durable_lag_seconds"], 15)
                self.assertLess(status["offsite_lag_seconds"], 30)
                self.assertTrue(status["last_drill"]["passed"])
                self.assertGreater(status["predicted_rto_seconds"], 0)
                self.assertEqual([kind["kind"] for kind in status["kinds"] if kind["count"]], ["full", "base"])
                with Daemon(sandbox) as daemon:
                    after = series(daemon)
                self.assertEqual(after["aragora_recovery_drill_passed"], "1")
                self.assertEqual(after["aragora_recovery_window_gap"], "0")
                self.assertLess(float(after['aragora_recovery_loss_seconds{place="local"}']), 15)
                self.assertIn('aragora_recovery_loss_seconds{place="offsite"}', after)
                self.assertAlmostEqual(float(after['aragora_recovery_predicted_rto_seconds{measured="yes",place="local"}']), status["predicted_rto_seconds"])
                used = set(re.findall(r"aragora_\w+", "".join(line for line in (SOURCE / "deploy/prometheus/recovery.rules.yml").read_text().splitlines() if "expr:" in line)))
                self.assertGreater(len(used), 12)
                self.assertEqual(used - {name.split("{")[0] for name in after} - {"aragora_backup_failures_total", "aragora_recovery_state_failures_total", "aragora_backup_saving_failures"}, set(), "rules on what nobody exposes")
                checks = sandbox.run_json("validate-env", check=0)["checks"]
                for name in ("recovery_window", "recovery_drill", "backup_offsite"):
                    self.assertEqual(checks[name]["status"], "ok", checks[name])
                self.assertEqual(checks["slot_guard"]["status"], "warning", "a slot without a limit, and nobody decided")
                self.assertNotEqual(sandbox.run("validate-env", ARAGORA_SLOT_GUARD="keep-production").returncode, 0)
                self.assertIn("of the last instant are lost", checks["last_commits"]["message"])
                cluster.configure(max_slot_wal_keep_size="1GB", synchronous_standby_names="aragora_wal")
                cluster.program("pg_ctl", "-D", cluster.data, "reload")
                time.sleep(0.5)
                self.assertIn("before it is answered", sandbox.run_json("validate-env")["checks"]["last_commits"]["message"])
                cluster.configure(synchronous_standby_names="")
                cluster.program("pg_ctl", "-D", cluster.data, "reload")
                self.assertEqual(sandbox.run_json("validate-env", ARAGORA_SLOT_GUARD="keep-production")["checks"]["slot_guard"]["status"], "ok")
                self.assertNotEqual(sandbox.run("validate-env", ARAGORA_SLOT_GUARD="keep-log").returncode, 0)
                receiver.stop()
            (sandbox.directory / "backups/wal/status.json").write_text(json.dumps({**json.loads((sandbox.directory / "backups/wal/status.json").read_text()), "updated_at": "2026-01-01T00:00:00.000Z", "problem": "gone"}))
            self.assertEqual(sandbox.run("backup", "status").returncode, 1)
            self.assertEqual(sandbox.run_json("validate-env")["checks"]["recovery_window"]["status"], "error")
            shutil.rmtree(sandbox.directory / "mnt")
            self.assertEqual(sandbox.run_json("validate-env")["checks"]["backup_offsite"]["status"], "error")


if __name__ == "__main__":
    main()
