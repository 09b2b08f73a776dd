"""Recovery to a moment: a base backup, the log received while the server runs, and what comes back after the cluster is
gone. RECOVERY_ROUNDS sets how often the server is killed (default 3)."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time
import unittest

from recovery import Load, Network, Receiver, deployment, lsn, names, recovered
from support import BINARY, SOURCE, Cluster, Daemon, Sandbox, free_port, main, strong_secret

ROUNDS = int(os.environ.get("RECOVERY_ROUNDS", "3"))


class Loss(unittest.TestCase):
    def kill_and_recover(self, children, **settings):
        with deployment(**settings) as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox) as receiver:
                if settings:
                    cluster.configure(synchronous_standby_names="aragora_wal")
                    cluster.program("pg_ctl", "-D", cluster.data, "reload")
                    receiver.wait(lambda _: cluster.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", user="postgres") == "1")
                load = Load(cluster)
                time.sleep(1.5)
                cluster.kill(children)
                acknowledged = load.stop()
                self.assertGreater(len(acknowledged), 100)
                receiver.wait(lambda status: status["problem"])  # the connection has ended, everything in it is read
                self.assertEqual(receiver.stop(), 0, receiver.text())
            cluster.wait_until_gone()
            shutil.rmtree(cluster.data)
            report = sandbox.run_json("restore", "--latest", "--to", sandbox.directory / "recovered", "--verify", check=0)
            self.assertLess(report["seconds"], 60)
            with recovered(cluster, sandbox.directory / "recovered"):
                return acknowledged, acknowledged - names(cluster)

    def test_nothing_acknowledged_is_lost_when_the_server_waits_for_the_receiver(self):
        """Every process of the server dies at the same moment and its data is thrown away."""
        for number in range(ROUNDS):
            with self.subTest(round=number):
                _, lost = self.kill_and_recover(children=True, synchronous_commit="on")
                self.assertEqual(lost, set())

    def test_without_waiting_only_the_last_instant_can_be_lost(self):
        """What the dying server confirmed after its last word to the receiver: the last few commits of a session."""
        acknowledged, lost = self.kill_and_recover(children=False)
        last = {}
        for name in acknowledged:
            session, count = name.split("-")
            last[session] = max(last.get(session, 0), int(count))
        for name in lost:
            session, count = name.split("-")
            self.assertGreater(int(count), last[session] - 50, f"{name} is not among the last of {last}")

    def test_a_receiver_that_is_killed_goes_on_where_it_was_and_stores_what_pg_receivewal_stores(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            oracle = cluster.directory / "oracle"
            oracle.mkdir()
            if os.geteuid() == 0:
                shutil.chown(oracle, "postgres")
            cluster.sql("SELECT pg_create_physical_replication_slot('oracle', true)")
            load = Load(cluster)
            for _ in range(4):
                with Receiver(sandbox, wait=False) as receiver:
                    time.sleep(0.5)
                    receiver.process.send_signal(signal.SIGKILL)
                    receiver.process.wait()
                cluster.sql("SELECT pg_switch_wal()", user="postgres")
            acknowledged = load.stop()
            end = cluster.sql("SELECT pg_switch_wal()", user="postgres")
            with Receiver(sandbox) as receiver:
                receiver.wait_for_position(end)
                self.assertEqual(receiver.stop(), 0, receiver.text())
            cluster.program("pg_receivewal", "-h", "127.0.0.1", "-p", cluster.port, "-U", "postgres", "-D", oracle, "--slot=oracle", f"--endpos={end}", "--no-loop", check=False)
            compared = 0
            for segment in sorted(oracle.iterdir()):
                if not re.fullmatch("[0-9A-F]{24}", segment.name):
                    continue
                ours = sandbox.directory / "segment"
                sandbox.run("restore", "wal-get", segment.name, ours, check=0)
                self.assertEqual(ours.read_bytes(), segment.read_bytes(), segment.name)
                compared += 1
            self.assertGreaterEqual(compared, 4)
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "recovered", check=0)
            with recovered(cluster, sandbox.directory / "recovered"):
                self.assertEqual(acknowledged - names(cluster), set())

    def test_a_network_that_is_cut_or_goes_silent_loses_nothing(self):
        with deployment() as (cluster, sandbox), Network(cluster.port) as network:
            sandbox.run("backup", "create", "--kind", "base", check=0)
            through = cluster.url.replace(f":{cluster.port}/", f":{network.port}/")
            with Receiver(sandbox, DATABASE_URL=through) as receiver:
                load = Load(cluster, sessions=1)
                for trouble in ("cut", "silent"):
                    network.trouble = trouble
                    receiver.wait(lambda status: status["problem"], limit=40)
                    self.assertEqual(sandbox.run("backup", "status").returncode, 1, trouble)
                    network.trouble = None
                    receiver.wait(lambda status: not status["problem"], limit=60)
                acknowledged = load.stop()
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                self.assertEqual(receiver.stop(), 0)
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "recovered", check=0)
            with recovered(cluster, sandbox.directory / "recovered"):
                self.assertEqual(acknowledged - names(cluster), set())

    def test_the_first_start_makes_the_base_backup_that_leads_to_the_log(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            for _ in range(2):  # log that nobody receives
                cluster.sql("SELECT pg_switch_wal()", user="postgres")
                cluster.sql("CHECKPOINT", user="postgres")
            bases = lambda: [entry for entry in sandbox.run_json("backup", "list")["backups"] if entry["kind"] == "base"]
            with Receiver(sandbox) as receiver:
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('one', '', 0)")
                deadline = time.monotonic() + 30
                while len(bases()) < 2:
                    self.assertLess(time.monotonic(), deadline, receiver.text())
                    time.sleep(0.1)
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                self.assertFalse(sandbox.run_json("backup", "status")["recovery_window"]["gap"])
                self.assertEqual(receiver.stop(), 0)
            with Receiver(sandbox) as receiver:
                time.sleep(2)
                self.assertEqual(len(bases()), 2, "it leads there now")
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "recovered", check=0)

    def test_a_change_of_timeline_is_followed(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox) as receiver:
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('before', '', 0)")
                cluster.stop("fast")
                (cluster.data / "standby.signal").touch()
                cluster.start()
                cluster.program("pg_ctl", "-D", cluster.data, "-w", "promote")
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('after', '', 0)")
                receiver.wait(lambda status: status["timeline"] == 2)
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                self.assertEqual(receiver.stop(), 0)
            self.assertTrue((sandbox.directory / "backups/wal/00000002/00000002.history.zst.age").exists())
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "recovered", "--verify", check=0)
            with recovered(cluster, sandbox.directory / "recovered"):
                self.assertLessEqual({"before", "after"}, names(cluster))

    def test_what_the_server_was_told_is_safe_is_promised_when_the_receiver_stops(self):
        with deployment() as (cluster, sandbox):
            sandbox.elsewhere()
            sandbox.run("backup", "create", "--kind", "base", check=0)
            told = "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'aragora'"
            for number in range(3):
                with Receiver(sandbox) as receiver:
                    receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                    cluster.sql(f"INSERT INTO settings (name, value, updated_at) VALUES ('told {number}', '', 0)")
                    committed = cluster.sql("SELECT pg_current_wal_lsn()")
                    receiver.wait(lambda _: lsn(cluster.sql(told)) >= lsn(committed))
                    self.assertEqual(receiver.stop(), 0)
                    promised = json.loads((receiver.archive / "00000001/confirmed.json").read_text().splitlines()[0])["flushed"]
                    self.assertGreaterEqual(lsn(promised), lsn(cluster.sql(told)))
                sandbox.run("backup", "copy", check=0)
                sandbox.run("drill", "--from", "offsite", check=0)

    def test_a_lost_slot_is_said_and_a_new_base_backup_ends_the_gap(self):
        with deployment(max_slot_wal_keep_size="16MB") as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox) as receiver:
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                receiver.stop()
            for _ in range(6):  # much more than the slot may keep
                cluster.sql("INSERT INTO settings (name, value, updated_at) SELECT gen_random_uuid()::text, repeat('y', 1000), 0 FROM generate_series(1, 5000)")
                cluster.sql("SELECT pg_switch_wal()", user="postgres")
                cluster.sql("CHECKPOINT", user="postgres")
            self.assertEqual(cluster.sql("SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'aragora'"), "lost")
            with Receiver(sandbox) as receiver:
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('afterwards', '', 0)")
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                self.assertIn("the log is interrupted after", receiver.text())
                receiver.wait(lambda _: "made base backup" in receiver.text(), limit=120)
                receiver.stop()
            bases = sandbox.run_json("backup", "list")["backups"]
            self.assertEqual([b["kind"] for b in bases], ["base", "base"])
            window = sandbox.run_json("backup", "status")["recovery_window"]
            self.assertEqual((window["base"], window["gap"]), (bases[1]["id"], False))
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "recovered", check=0)
            # From the old base the end cannot be reached, and nobody pretends so.
            refused = sandbox.run("restore", "--latest", "--input", bases[0]["id"], "--to", sandbox.directory / "other", check=66)
            self.assertIn("gap", refused.stderr)
            with recovered(cluster, sandbox.directory / "recovered"):
                self.assertIn("afterwards", names(cluster))

    def test_a_full_disk_stops_the_receiver_and_loses_nothing(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            load = Load(cluster, sessions=1)
            for number in (3, 10, 25):
                with Receiver(sandbox, wait=False, LD_PRELOAD=os.environ["FAULTS_LIBRARY"], FAULT_KIND="enospc", FAULT_AT=str(number)) as receiver:
                    self.assertIn(receiver.process.wait(30), (73, 74), receiver.text())
                    self.assertIn("No space left on device", receiver.text())
            acknowledged = load.stop()
            with Receiver(sandbox) as receiver:
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                receiver.stop()
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "recovered", check=0)
            with recovered(cluster, sandbox.directory / "recovered"):
                self.assertEqual(acknowledged - names(cluster), set())


class Targets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.cluster, cls.sandbox = cls.stack.enter_context(deployment())
        cls.sandbox.run("backup", "create", "--kind", "base", check=0)
        with Receiver(cls.sandbox) as receiver:
            insert = "INSERT INTO settings (name, value, updated_at) VALUES ('{}', '', 0)"
            cls.cluster.sql(insert.format("one"))
            cls.cluster.sql("SELECT pg_switch_wal()", user="postgres")
            receiver.wait_for_position(cls.cluster.sql("SELECT pg_current_wal_lsn()"))
            cls.cluster.sql("SELECT pg_create_restore_point('after one')", user="postgres")
            time.sleep(0.05)
            cls.time = cls.cluster.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            time.sleep(0.05)
            cls.xid = cls.cluster.sql(f"WITH i AS ({insert.format('two')}) SELECT pg_current_xact_id()")
            cls.position = cls.cluster.sql("SELECT pg_current_wal_lsn()")
            cls.cluster.sql(insert.format("three"))
            receiver.wait_for_position(cls.cluster.sql("SELECT pg_current_wal_lsn()"))
            receiver.wait(lambda status: status["durable_through"] > cls.time)
            assert receiver.stop() == 0

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def recover(self, *target):
        directory = self.sandbox.directory / "target"
        shutil.rmtree(directory, ignore_errors=True)
        self.sandbox.run("restore", *target, "--to", directory, check=0)
        private = object.__new__(Cluster)
        private.directory, private.data, private.port = self.cluster.directory, directory, free_port()
        private.configure(port=private.port)
        private.start()
        try:
            return {name for name in ("one", "two", "three") if name in names(private)}
        finally:
            private.stop("immediate")

    def test_each_kind_of_target(self):
        self.assertEqual(self.recover("--target-name", "after one"), {"one"})
        self.assertEqual(self.recover("--target-time", self.time), {"one"})
        self.assertEqual(self.recover("--target-xid", self.xid), {"one", "two"})
        self.assertEqual(self.recover("--target-lsn", self.position), {"one", "two"})
        self.assertEqual(self.recover("--latest"), {"one", "two", "three"})

    def test_a_finished_recovery_stays_when_its_configuration_cannot_be_put_back(self):
        with deployment() as (cluster, sandbox):
            huge = cluster.data / "conf.d/huge.conf"
            huge.parent.mkdir()
            huge.write_text("# nothing\n" * 500_000)
            if os.geteuid() == 0:
                for path in (huge.parent, huge):
                    shutil.chown(path, "postgres", "postgres")
            sandbox.run("backup", "create", "--kind", "base", check=0)
            target = sandbox.directory / "target"
            failed = sandbox.run("restore", "--latest", "--to", target)
            self.assertNotEqual(failed.returncode, 0)
            self.assertIn(f"what was recovered is in {target}.unproven", failed.stderr)
            self.assertTrue(pathlib.Path(f"{target}.unproven/PG_VERSION").exists())
            self.assertFalse(target.exists())

    @unittest.skipUnless(os.geteuid() == 0, "PostgreSQL runs as whoever recovers")
    def test_a_place_that_the_server_may_not_enter_is_refused_before_anything_is_made(self):
        closed = self.sandbox.directory / "closed"
        closed.mkdir(mode=0o700)
        for dry_run in (["--dry-run"], []):
            refused = self.sandbox.run("restore", "--latest", "--to", closed / "deeper/target", *dry_run, check=77)
            self.assertIn(f"may not enter {closed}", refused.stderr)
        self.assertEqual(list(closed.iterdir()), [])

    def test_targets_outside_of_the_window_are_refused_before_anything_is_made(self):
        for target in (("--target-time", "2020-01-01T00:00:00Z"), ("--target-time", "2099-01-01T00:00:00Z"), ("--target-lsn", "FF/0"), ("--target-name", "nowhere")):
            with self.subTest(target=target):
                refused = self.sandbox.run("restore", *target, "--to", self.sandbox.directory / "no", check=66)
                self.assertRegex(refused.stderr, r"recovery is possible from \d{4}-.* through \d{4}-")
                self.assertFalse((self.sandbox.directory / "no").exists())
        for target in (("--target-time", "yesterday"), ("--target-lsn", "x"), ("--target-xid", "x"), ("--latest", "--target-xid", "7")):
            self.sandbox.run("restore", *target, "--to", self.sandbox.directory / "no", check=64)
        self.sandbox.run("restore", "--latest", check=64)
        existing = self.sandbox.directory / "existing"
        existing.mkdir()
        self.sandbox.run("restore", "--latest", "--to", existing, check=73)

    def test_tablespaces_come_back_beside_the_cluster(self):
        with deployment() as (cluster, sandbox):
            space = cluster.directory / "a space=here"
            space.mkdir()
            if os.geteuid() == 0:
                shutil.chown(space, "postgres")
            cluster.sql(f"CREATE TABLESPACE elsewhere LOCATION '{space}'", user="postgres")
            cluster.sql("GRANT CREATE ON TABLESPACE elsewhere TO aragora", user="postgres")
            cluster.sql("CREATE SCHEMA site; CREATE TABLE site.kept (id int) TABLESPACE elsewhere; INSERT INTO site.kept SELECT generate_series(1, 1000)")
            sandbox.run("backup", "create", "--kind", "base", check=0)
            self.assertEqual([p for p in (sandbox.directory / "backups").rglob("*") if p.name == "cluster"], [], "the plain copy is gone")
            sandbox.run("backup", "verify", "--input", "latest-base", check=0)
            with Receiver(sandbox) as receiver:
                cluster.sql("INSERT INTO site.kept VALUES (1001)")
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                receiver.stop()
            cluster.stop()
            shutil.rmtree(space)
            to = sandbox.directory / "recovered"
            report = sandbox.run_json("restore", "--latest", "--to", to, "--verify", check=0)
            self.assertEqual(report["tablespaces"], 1)
            with recovered(cluster, to):
                self.assertEqual(cluster.sql("SELECT count(*) FROM site.kept"), "1001")
                self.assertEqual(pathlib.Path(cluster.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'elsewhere'")).parent, pathlib.Path(f"{to}.tablespaces"))

    def test_a_dry_run_says_what_it_would_do(self):
        plan = self.sandbox.run_json("restore", "--latest", "--to", self.sandbox.directory / "no", "--dry-run", check=0)
        self.assertEqual(len(plan["plan"]), 3)
        self.assertFalse((self.sandbox.directory / "no").exists())

    def test_a_base_backup_is_proved_by_recovering_it(self):
        result = self.sandbox.run("backup", "verify", "--input", "latest-base", check=0)
        self.assertIn("recovered into scratch and verified there", result.stdout)

    def test_damage_is_found_and_stops_a_recovery(self):
        copy = self.sandbox.directory / "damaged"
        wal = copy / "wal/00000001"
        for victim in ("base", "segment", "record", "missing"):
            with self.subTest(victim=victim):
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(self.sandbox.directory / "backups", copy, symlinks=True)
                # The first is in the base backup too; this one is nowhere else.
                sealed = sorted(wal.glob("*.zst.age"))[1]
                path = {"base": next((copy / "base").glob("2*/base.tar.zst.age")), "segment": sealed, "record": sealed.with_name(sealed.name[:24] + ".json"), "missing": sealed}[victim]
                if victim == "missing":
                    path.unlink()
                else:
                    data = bytearray(path.read_bytes())
                    data[len(data) // 2] ^= 1
                    path.write_bytes(data)
                target = self.sandbox.directory / f"no-{victim}"
                refused = self.sandbox.run("restore", "--latest", "--to", target, ARAGORA_BACKUP_DIR=str(copy))
                self.assertIn(refused.returncode, (65, 66), refused.stdout + refused.stderr)
                self.assertFalse(target.exists())
                if victim == "base":
                    self.sandbox.run("backup", "verify", "--level", "0", "--input", "latest-base", ARAGORA_BACKUP_DIR=str(copy), check=65)


class Files(unittest.TestCase):
    def test_push_and_get(self):
        with deployment() as (cluster, sandbox):
            cluster.sql("SELECT pg_switch_wal()", user="postgres")
            segment = sorted(p for p in (cluster.data / "pg_wal").iterdir() if re.fullmatch("[0-9A-F]{24}", p.name))[0]
            back = sandbox.directory / "back"
            sandbox.run("backup", "wal-push", segment, check=0)
            sandbox.run("backup", "wal-push", segment, check=0)
            sandbox.run("restore", "wal-get", segment.name, back, check=0)
            self.assertEqual(back.read_bytes(), segment.read_bytes())
            other = sandbox.directory / segment.name
            other.write_bytes(segment.read_bytes()[:8192] + b"z" * (16777216 - 8192))
            self.assertIn("other content", sandbox.run("backup", "wal-push", other).stderr)
            other.write_bytes(b"z" * 16777216)
            self.assertIn("of another cluster", sandbox.run("backup", "wal-push", other).stderr)
            sandbox.run("backup", "wal-push", sandbox.write("notes.txt", "x"), check=64)
            # 1 says that the log ends here; anything above 125 stops a recovery.
            sandbox.run("restore", "wal-get", "0000000100000000000000FF", back, check=1)
            sandbox.run("restore", "wal-get", "00000009.history", back, check=1)
            for path in (sandbox.directory / "backups/wal/00000001").glob("*.json"):
                path.write_text(path.read_text().replace("16777216", "16777217"))
            refused = sandbox.run("restore", "wal-get", segment.name, back, check=200)
            self.assertIn("signature", refused.stderr)

    def test_archive_command_and_the_loss_that_it_leaves(self):
        with deployment() as (cluster, sandbox):
            sandbox.environment["ARAGORA_ENCRYPTION_KEY"] = strong_secret()
            sandbox.elsewhere()
            exported = " ".join(f"{name}={value}" for name, value in sandbox.environment.items() if name.startswith(("ARAGORA", "DATABASE", "PATH")))
            sandbox.run("backup", "create", "--kind", "base", check=0)
            if os.geteuid() == 0:  # the archive belongs to whom the server runs as
                for path in [sandbox.directory, *sandbox.directory.rglob("*")]:
                    shutil.chown(path, "postgres")
            program = sandbox.directory / "aragora"
            shutil.copy(BINARY, program)
            cluster.configure(archive_mode="on", archive_command=f"env {exported} {program} backup wal-push %p")
            cluster.stop()
            cluster.start()
            cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('archived', '', 0)")
            last = cluster.sql("SELECT pg_walfile_name(pg_switch_wal())", user="postgres")
            deadline = time.monotonic() + 20
            while not (sandbox.directory / f"backups/wal/00000001/{last}.zst.age").exists():
                self.assertLess(time.monotonic(), deadline, (cluster.data / "server.log").read_text())
                time.sleep(0.05)
            cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('not archived yet', '', 0)")
            cluster.kill()
            sandbox.run("restore", "--latest", "--from", "offsite", "--to", sandbox.directory / "elsewhere", check=0)
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "recovered", check=0)
            with recovered(cluster, sandbox.directory / "recovered"):
                found = names(cluster)
            self.assertIn("archived", found)
            self.assertNotIn("yet", found)


if __name__ == "__main__":
    main()
