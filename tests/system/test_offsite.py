"""The copy elsewhere: a mounted directory, a strict S3 store that can be told to fail, and a real one (Swift)."""
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest

import botocore.config
import botocore.session

from recovery import Load, Receiver, deployment, names, recovered
from s3_store import SECRET_KEY, Fault, Store
from support import BINARY, main, service, sqlite_deployment


def write(sandbox, name, size=1000):
    with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database, database:
        database.execute("INSERT INTO settings (name, value, updated_at) VALUES (?, hex(randomblob(?)), 0)", (name, size))


def lose_this_machine(sandbox):
    for name in ("backups", "state"):
        shutil.rmtree(sandbox.directory / name, ignore_errors=True)


def swift(bucket):
    client = botocore.session.get_session().create_client(
        "s3", endpoint_url=service("TEST_S3"), aws_access_key_id="test:aragora", aws_secret_access_key="swift-test-key", region_name="us-east-1",
        config=botocore.config.Config(s3={"addressing_style": "path"}))
    client.create_bucket(Bucket=bucket)
    return {"ARAGORA_OFFSITE": f"s3://{bucket}/one/site", "ARAGORA_OFFSITE_ENDPOINT": service("TEST_S3"), "ARAGORA_OFFSITE_ACCESS_KEY": "test:aragora",
            "ARAGORA_OFFSITE_SECRET_KEY": "swift-test-key"}


class Copies(unittest.TestCase):
    def there_and_back(self, sandbox):
        for number in range(3):
            write(sandbox, f"k{number}", 12_000_000 if number == 1 else 1000)  # hex: half of it once compressed, above one part
            sandbox.run("backup", check=0)
        sandbox.run("backup", "create", "--kind", "configuration", check=0)
        sandbox.run("backup", "pin", "--input", "latest", "--reason", "before the move", check=0)
        sandbox.run("drill", check=0)
        sandbox.run("backup", "copy", check=0)
        self.assertEqual(sandbox.run_json("backup", "copy", check=0)["files"], 0, "everything is there")
        lose_this_machine(sandbox)
        listed = sandbox.run_json("backup", "list", "--from", "offsite", check=0)["backups"]
        self.assertEqual(sorted(entry["kind"] for entry in listed), ["configuration", "full", "full", "full"])
        self.assertEqual([entry.get("pinned") for entry in listed].count("before the move"), 1)
        for entry in listed:
            sandbox.run("backup", "verify", "--from", "offsite", "--input", entry["id"], check=0)
        sandbox.run("restore", "--from", "offsite", "--input", "latest", "--yes", "--verify", check=0)
        with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database:
            self.assertEqual({row[0] for row in database.execute("SELECT name FROM settings WHERE name LIKE 'k%'")}, {"k0", "k1", "k2"})
        sandbox.run("drill", "--from", "offsite", check=0)

    def test_a_mounted_directory(self):
        with sqlite_deployment() as sandbox:
            sandbox.elsewhere()
            self.there_and_back(sandbox)

    def test_a_strict_store(self):
        with Store() as store, sqlite_deployment(**store.environment) as sandbox:
            self.there_and_back(sandbox)
            self.assertEqual(store.uploads, {})
            self.assertTrue(any("partNumber=2" in path for _, path in store.requests), "the large one went in parts")

    def test_swift(self):
        with sqlite_deployment(**swift(f"copies-{os.getpid()}")) as sandbox:
            self.there_and_back(sandbox)

    def test_increments_go_there_as_they_are_made(self):
        with Store() as store, sqlite_deployment(**store.environment) as sandbox:
            process = subprocess.Popen([BINARY, "backup", "run", "--interval", "1"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                written, copied = 0, lambda: sum("/increments/" in key and key.endswith(".pages.zst.age") for key in list(store.objects))
                deadline = time.monotonic() + 40
                while copied() < 3:
                    self.assertLess(time.monotonic(), deadline)
                    write(sandbox, f"k{written}")
                    written += 1
                    time.sleep(0.5)
                store.faults.append(Fault(503, method="PUT", times=10**6))  # the store is gone: increments go on here
                before = len(list(sandbox.directory.glob("backups/increments/*/*.json")))
                while len(list(sandbox.directory.glob("backups/increments/*/*.json"))) < before + 3:
                    self.assertLess(time.monotonic(), deadline)
                    write(sandbox, f"k{written}")
                    written += 1
                    time.sleep(0.3)
            finally:
                process.kill()
                process.wait()
            store.faults.clear()
            shutil.rmtree(sandbox.directory / "backups")
            report = sandbox.run_json("restore", "--from", "offsite", "--latest", "--to", sandbox.directory / "back.db", check=0)
            self.assertGreaterEqual(report["increments"], 3)


class Trouble(unittest.TestCase):
    def test_what_passes_is_tried_again_and_what_does_not_is_named(self):
        with Store() as store, sqlite_deployment(**store.environment) as sandbox:
            write(sandbox, "big", 12_000_000)
            store.faults += [Fault(503, times=2), Fault("drop", method="PUT"), Fault(500, key="partNumber=2"), Fault("drop", method="POST"), Fault(400, method="PUT", skip=2)]
            sandbox.run("backup", check=0)
            self.assertTrue(all(fault.times == 0 for fault in store.faults), "each fault happened")
            shutil.rmtree(sandbox.directory / "backups")
            store.objects.clear()
            store.faults[:] = [Fault("lost", method="POST", skip=1), Fault("lost", method="PUT", key="manifest.json")]
            sandbox.run("backup", check=0)
            self.assertTrue(all(fault.times == 0 for fault in store.faults), "each fault happened")
            store.faults[:] = [Fault("half", method="GET", key="db.sqlite", times=4), Fault(503, method="GET", skip=3)]
            sandbox.run("backup", "verify", "--from", "offsite", check=0)
            self.assertTrue(all(fault.times == 0 for fault in store.faults), "each fault happened")
            for changed, status, words in (({"ARAGORA_OFFSITE_SECRET_KEY": "wrong"}, 77, "SignatureDoesNotMatch"), ({"ARAGORA_OFFSITE_ACCESS_KEY": "nobody"}, 77, "InvalidAccessKeyId"),
                                           ({"ARAGORA_OFFSITE": "s3://other/x"}, 66, "NoSuchBucket"), ({"ARAGORA_OFFSITE_REGION": "us-east-1"}, 77, "SignatureDoesNotMatch"),
                                           ({"ARAGORA_OFFSITE_ENDPOINT": "http://127.0.0.1:1"}, 69, "refused"), ({"ARAGORA_OFFSITE": "relative"}, 78, "no place")):
                result = sandbox.run("backup", "copy", **changed)
                self.assertEqual(result.returncode, status, result.stderr)
                self.assertIn(words, result.stderr)
                self.assertNotIn(SECRET_KEY, result.stdout + result.stderr)

    def test_connections_are_used_again_and_one_that_was_closed_meanwhile_is_no_failure(self):
        with Store() as store, sqlite_deployment(**store.environment) as sandbox:
            sandbox.run("backup", "create", check=0)
            self.assertGreater(len(store.requests), 5)
            self.assertLessEqual(store.connections, 2)
            store.hangs_up = True
            before = len(store.requests)
            result = sandbox.run("backup", "create", "--verbose", check=0)
            self.assertNotIn("trying again", result.stderr + result.stdout)
            self.assertGreater(len(store.requests) - before, 5)
            self.assertEqual(len(sandbox.run_json("backup", "list", "--from", "offsite", check=0)["backups"]), 2)

    def test_a_store_that_fails_leaves_the_backup_here_and_says_so(self):
        with Store() as store, sqlite_deployment(**store.environment) as sandbox:
            store.faults.append(Fault(403, method="PUT", times=10**6))
            self.assertEqual(sandbox.run("backup").returncode, 77)
            self.assertEqual(len(sandbox.run_json("backup", "list")["backups"]), 1)
            result = sandbox.run("backup", "status", check=1)
            self.assertIn("AccessDenied", result.stdout)
            store.faults.clear()
            sandbox.run("backup", "copy", check=0)
            sandbox.run("backup", "status", check=0)

    def test_a_copy_that_is_killed_is_nothing_until_it_is_whole(self):
        with Store() as store, sqlite_deployment() as sandbox:
            write(sandbox, "big", 9_000_000)
            sandbox.run("backup", check=0)
            sandbox.environment.update(store.environment)
            for skip in range(0, 12):
                store.faults[:] = [Fault("slow", skip=skip)]
                process = subprocess.Popen([BINARY, "backup", "copy"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                deadline = time.monotonic() + 10
                while process.poll() is None and store.faults[0].times > 0:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
                process.wait()
                with store.mutex:
                    store.faults.clear()
                for entry in sandbox.run_json("backup", "list", "--from", "offsite", check=0)["backups"]:
                    sandbox.run("backup", "verify", "--level", "1", "--from", "offsite", "--input", entry["id"], check=0)
            sandbox.run("backup", "copy", check=0)
            sandbox.run("backup", "verify", "--from", "offsite", check=0)
            self.assertEqual(store.uploads, {}, "parts of killed runs are gone")

    def test_damage_there_is_found_and_damage_here_is_not_copied(self):
        with Store() as store, sqlite_deployment(**store.environment) as sandbox:
            sandbox.run("backup", check=0)
            for key in [key for key in store.objects if "/full/" in key]:
                good = store.objects[key]
                store.objects[key] = good[:20] + bytes([good[20] ^ 1]) + good[21:]
                self.assertEqual(sandbox.run("backup", "verify", "--level", "0", "--from", "offsite").returncode, 65, key)
                self.assertEqual(sandbox.run("restore", "--from", "offsite", "--input", "latest", "--to", sandbox.directory / "no.db").returncode, 65, key)
                self.assertFalse((sandbox.directory / "no.db").exists())
                store.objects[key] = good
            write(sandbox, "more")
            sandbox.environment["ARAGORA_OFFSITE"] = ""
            sandbox.run("backup", check=0)
            database = (sandbox.directory / "backups/latest").resolve() / "db.sqlite.zst.age"
            good = database.read_bytes()
            database.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
            sandbox.environment.update(store.environment)
            result = sandbox.run("backup", "copy")
            self.assertEqual(result.returncode, 65)
            self.assertIn("not copied", result.stdout + result.stderr)

    def test_another_deployment_is_kept_out(self):
        with Store() as store, sqlite_deployment(**store.environment) as one, sqlite_deployment(**store.environment) as two:
            one.run("backup", check=0)
            result = two.run("backup")
            self.assertIn("another deployment", result.stderr)

    def test_what_is_locked_stays_and_the_rest_goes_by_retention(self):
        with Store() as store, sqlite_deployment(**store.environment) as sandbox:
            for number in range(4):
                locked = {"ARAGORA_OFFSITE_LOCK_DAYS": "100"} if number == 0 else {}
                sandbox.run("backup", check=0, clock=f"-{60 - number}d", **{**locked, "ARAGORA_OFFSITE": ""})
                sandbox.run("backup", "copy", check=0, **locked)
            sandbox.run("backup", check=0)
            ids = [entry["id"] for entry in sandbox.run_json("backup", "list", "--from", "offsite")["backups"]]
            self.assertEqual(len(ids), 5)
            self.assertTrue(all(ids[0] in key for key in store.locks if "/full/" in key))
            number = sandbox.run_json("backup", "prune", "--dry-run", check=0)["removals"]
            result = sandbox.run("backup", "prune", "--yes-remove", number, check=0)  # nothing was made for eight weeks
            self.assertIn("stays", result.stderr)
            left = [entry["id"] for entry in sandbox.run_json("backup", "list", "--from", "offsite")["backups"]]
            self.assertIn(ids[0], left, "locked")
            self.assertNotIn(ids[1], left)
            sandbox.run("backup", "verify", "--from", "offsite", "--input", ids[0], check=0)


class Log(unittest.TestCase):
    INTERVAL = int(os.environ.get("SEAL_INTERVAL", "2"))

    def lose_everything_here(self, cluster, sandbox, before=None):
        """The machine is gone at one moment: server, receiver, data and repository. Answers seconds of commits lost."""
        sandbox.run("backup", "create", "--kind", "base", check=0)
        with Receiver(sandbox, "--seal-interval", str(self.INTERVAL)) as receiver:
            load = Load(cluster)
            time.sleep(3 * self.INTERVAL + random.uniform(0, self.INTERVAL))  # at any moment between two copies
            if before:
                before()
            receiver.process.send_signal(signal.SIGKILL)
            lost_at = time.monotonic()
            cluster.kill(children=True)
            load.stop()
        cluster.wait_until_gone()
        shutil.rmtree(cluster.data)
        shutil.rmtree(sandbox.directory / "backups")
        sandbox.run("restore", "--from", "offsite", "--latest", "--to", sandbox.directory / "recovered", "--verify", check=0)
        with recovered(cluster, sandbox.directory / "recovered"):
            lost = set(load.acknowledged) - names(cluster)
            return len(load.acknowledged), len(lost), max([lost_at - load.acknowledged[name] for name in lost], default=0)

    def check(self, outcome):
        acknowledged, lost, seconds = outcome
        print(f"{acknowledged} acknowledged, {lost} lost, of the last {seconds:.1f} s", flush=True)
        self.assertGreater(acknowledged, 100)
        self.assertLess(seconds, self.INTERVAL + 10)

    def test_a_mounted_directory_loses_at_most_the_interval(self):
        with deployment() as (cluster, sandbox):
            sandbox.elsewhere()
            self.check(self.lose_everything_here(cluster, sandbox))

    def test_a_store_loses_at_most_the_interval_over_several_segments(self):
        with Store() as store, deployment() as (cluster, sandbox):
            sandbox.environment.update(store.environment)

            whole = lambda: {key for key in list(store.objects) if "/wal/0" in key and key.endswith(".zst.age") and key.count("-") == 0 and not key.endswith(".history.zst.age")}

            def switch():
                for number in (1, 2):
                    cluster.sql("SELECT pg_switch_wal()", user="postgres")
                    deadline = time.monotonic() + 60
                    while len(whole()) < number:
                        self.assertLess(time.monotonic(), deadline)
                        time.sleep(0.1)
                time.sleep(self.INTERVAL)

            self.check(self.lose_everything_here(cluster, sandbox, switch))
            complete = {key.split("/")[-1][:24] for key in whole()}
            self.assertGreaterEqual(len(complete), 2)
            self.assertFalse([key for key in store.objects if key.split("/")[-1][:24] in complete and "-" in key.split("/")[-1]], "pieces of whole segments are gone")

    def test_swift_loses_at_most_the_interval_and_a_receiver_that_was_killed_goes_on(self):
        with deployment() as (cluster, sandbox):
            sandbox.environment.update(swift(f"log-{os.getpid()}"))
            sandbox.run("backup", "create", "--kind", "base", check=0)
            for _ in range(2):
                with Receiver(sandbox, "--seal-interval", "1") as receiver:
                    cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES (gen_random_uuid(), repeat('x', 9000), 0)")
                    time.sleep(2.5)
                    receiver.process.send_signal(signal.SIGKILL)
                    receiver.process.wait()
            self.check(self.lose_everything_here(cluster, sandbox))

    def test_a_store_that_is_away_is_caught_up_with_and_the_log_goes_on_here(self):
        with Store() as store, deployment() as (cluster, sandbox):
            sandbox.environment.update(store.environment)
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox, "--seal-interval", "1") as receiver:
                store.faults.append(Fault("drop", times=10**6))
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('away', '', 0)")
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                offsite = sandbox.directory / "backups/wal/offsite.json"
                deadline = time.monotonic() + 40
                while not offsite.exists() or not json.loads(offsite.read_text())["problem"]:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.1)
                self.assertEqual(sandbox.run("backup", "status").returncode, 1)
                store.faults.clear()
                while json.loads(offsite.read_text())["problem"] or json.loads(offsite.read_text())["flushed"] != receiver.status()["flushed"]:
                    self.assertLess(time.monotonic(), deadline + 30)
                    time.sleep(0.1)
                self.assertEqual(receiver.stop(), 0)
            shutil.rmtree(sandbox.directory / "backups")
            sandbox.run("restore", "--from", "offsite", "--latest", "--to", sandbox.directory / "recovered", check=0)
            with recovered(cluster, sandbox.directory / "recovered"):
                self.assertIn("away", names(cluster))


if __name__ == "__main__":
    main()
