"""Recoveries whose source, log or surroundings would have them succeed without the data, act on the outside, or wait for
ever. Every success is held against the rows that were committed."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import unittest

from recovery import Receiver, deployment, lsn, names, recovered
from support import Cluster, Sandbox, free_port, main

INSERT = "INSERT INTO settings (name, value, updated_at) VALUES ('{}', '', 0)"


def commit(cluster, *new):
    for name in new:
        cluster.sql(INSERT.format(name))


def now(cluster):
    """A moment between two commits, by the server's clock."""
    time.sleep(0.05)
    moment = cluster.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    time.sleep(0.05)
    return moment


def position(cluster):
    return cluster.sql("SELECT pg_current_wal_lsn()")


@contextlib.contextmanager
def opened(cluster, directory, **settings):
    """The recovered cluster beside the live one, with nothing of the source's network settings."""
    private = object.__new__(Cluster)
    private.directory, private.data, private.port = cluster.directory, pathlib.Path(directory), free_port()
    private.configure(port=private.port, shared_buffers="128MB", shared_preload_libraries="", archive_mode="off", listen_addresses="127.0.0.1", max_logical_replication_workers=0, **settings)
    private.start()
    try:
        yield private
    finally:
        private.stop("immediate")


class Recoveries(unittest.TestCase):
    def restored_names(self, cluster, sandbox, *options, to="recovered", check=0):
        directory = sandbox.directory / to
        shutil.rmtree(directory, ignore_errors=True)
        self.report = sandbox.run_json("restore", *options, "--to", directory, check=check)
        with opened(cluster, directory) as private:
            return names(private)

    def received(self, sandbox, cluster, *commits):
        """These commits are in the archive, confirmed, and the receiver has stopped."""
        with Receiver(sandbox) as receiver:
            commit(cluster, *commits)
            receiver.wait_for_position(position(cluster))
            moment = now(cluster)
            receiver.wait(lambda status: status["durable_through"] > moment)
            self.assertEqual(receiver.stop(), 0, receiver.text())


class SealedRoom(Recoveries):
    def test_settings_and_commands_of_the_source_neither_steer_nor_run(self):
        with deployment() as (cluster, sandbox):
            traces = pathlib.Path(cluster.directory / "traces")
            commit(cluster, "one")
            past = now(cluster)
            for setting in (f"recovery_target_time = '{past}'", "recovery_min_apply_delay = '1h'", "shared_buffers = '400GB'", "shared_preload_libraries = 'auto_explain'",
                            f"recovery_end_command = 'touch {traces}-end'", f"archive_cleanup_command = 'touch {traces}-cleanup'", f"archive_command = 'touch {traces}-archive'", "archive_mode = 'on'"):
                cluster.sql(f"ALTER SYSTEM SET {setting}", user="postgres")
            (cluster.data / "standby.signal").touch()
            shutil.chown(cluster.data / "standby.signal", "postgres" if os.geteuid() == 0 else os.getuid())
            sandbox.run("backup", "create", "--kind", "base", check=0)
            more = [f"later-{number}" for number in range(50)]
            self.received(sandbox, cluster, *more)
            self.assertEqual(self.restored_names(cluster, sandbox, "--latest", "--verify") & {"one", *more}, {"one", *more})
            for removed in ("recovery_target_time in postgresql.auto.conf", "recovery_end_command in postgresql.auto.conf", "standby.signal"):
                self.assertIn(f"removed: {removed}", self.report["notes"])
            kept = (sandbox.directory / "recovered/postgresql.auto.conf").read_text()
            self.assertIn("400GB", kept, "what is no recovery setting comes back")
            self.assertNotRegex(kept, "recovery_|archive_cleanup")
            sandbox.run("drill", "--kind", "physical", check=0)
            sandbox.run("backup", "verify", "--input", "latest-base", check=0)
            self.assertEqual([path.name for path in cluster.directory.glob("traces*")], [])

    def test_a_drill_takes_nothing_from_the_publisher_that_the_live_database_waits_for(self):
        with Cluster(wal_level="logical") as publisher, deployment() as (cluster, sandbox):
            for one in (publisher, cluster):
                one.sql("CREATE SCHEMA feed; CREATE TABLE feed.items (id int PRIMARY KEY)", user="postgres")
            publisher.sql("CREATE PUBLICATION items FOR TABLE feed.items", user="postgres")
            cluster.sql(f"CREATE SUBSCRIPTION items CONNECTION 'host=127.0.0.1 port={publisher.port} user=postgres dbname=aragora' PUBLICATION items", user="postgres")
            publisher.sql("INSERT INTO feed.items VALUES (0)", user="postgres")
            count = lambda: cluster.sql("SELECT count(*) FROM feed.items", user="postgres")
            self.eventually(lambda: count() == "1")
            sandbox.run("backup", "create", "--kind", "base", check=0)
            cluster.configure(max_logical_replication_workers=0)  # paused here, enabled in the catalogue
            cluster.stop()
            cluster.start()
            self.received(sandbox, cluster, "one")
            publisher.sql("INSERT INTO feed.items SELECT generate_series(1, 1000)", user="postgres")
            before = publisher.sql("SELECT confirmed_flush_lsn FROM pg_replication_slots", user="postgres")
            sandbox.run("drill", "--kind", "physical", check=0)
            sandbox.run("backup", "verify", "--input", "latest-base", check=0)
            report = sandbox.run_json("restore", "--latest", "--to", sandbox.directory / "recovered", check=0)
            self.assertIn("max_logical_replication_workers=0", " ".join(report["notes"]))
            self.assertEqual(publisher.sql("SELECT confirmed_flush_lsn FROM pg_replication_slots", user="postgres"), before)
            cluster.configure(max_logical_replication_workers=4)
            cluster.stop()
            cluster.start()
            self.eventually(lambda: count() == "1001")

    def eventually(self, condition, limit=30):
        deadline = time.monotonic() + limit
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def test_limits_that_the_log_raises_are_raised(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            cluster.configure(max_connections=300, max_prepared_transactions=40, max_worker_processes=20, max_locks_per_transaction=200)
            cluster.stop()
            cluster.start()
            with Receiver(sandbox) as receiver:
                cluster.sql(f"BEGIN; {INSERT.format('prepared')}; PREPARE TRANSACTION 'kept'")
                commit(cluster, "after")
                receiver.wait_for_position(position(cluster))
                time.sleep(1.2)
                receiver.stop()
            began = time.monotonic()
            directory = sandbox.directory / "recovered"
            notes = " ".join(sandbox.run_json("restore", "--latest", "--to", directory, "--verify", check=0)["notes"])
            self.assertLess(time.monotonic() - began, 60)
            self.assertIn("-c max_prepared_transactions=40", notes)
            with opened(cluster, directory, max_prepared_transactions=40) as private:
                self.assertIn("after", names(private))
                private.sql("COMMIT PREPARED 'kept'")
                self.assertIn("prepared", names(private))

    def test_a_server_that_does_not_move_ends_the_recovery_with_its_last_word(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            self.received(sandbox, cluster, "one")
            directory = sandbox.directory / "recovered"
            process = subprocess.Popen([os.environ["ARAGORA_BINARY"], "restore", "--latest", "--to", directory], env=sandbox.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            stopped = False
            while process.poll() is None and not stopped:
                for pid in subprocess.run(["pgrep", "-f", "postgres: startup"], capture_output=True, text=True).stdout.split():
                    with contextlib.suppress(OSError):
                        if os.readlink(f"/proc/{pid}/cwd").startswith(str(directory)):
                            os.kill(int(pid), signal.SIGSTOP)
                            stopped = True
            self.assertTrue(stopped)
            _, error = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 69, error)
            self.assertRegex(error, r"does not move: PostgreSQL has done nothing for 60 s; its last word: \d{4}-")
            self.assertFalse(directory.exists())

    def test_a_database_that_the_backup_does_not_have_is_named_with_those_that_it_has(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            self.received(sandbox, cluster, "one")
            directory = sandbox.directory / "recovered"
            refused = sandbox.run("restore", "--latest", "--to", directory, DATABASE_URL=cluster.url.removesuffix("aragora") + "elsewhere", check=78)
            self.assertIn("elsewhere", refused.stderr)
            self.assertIn("its databases: aragora, postgres", refused.stderr)
            self.assertIn(f"what was recovered is in {directory}.unproven", refused.stderr)
            with opened(cluster, f"{directory}.unproven") as private:
                self.assertIn("one", names(private))

    def test_an_index_that_is_not_ours_is_said_and_nothing_else(self):
        with deployment() as (cluster, sandbox):
            cluster.sql("CREATE INDEX of_the_site ON settings (value); CREATE TABLE public.notes (id int)")
            sandbox.run("backup", "create", "--kind", "base", check=0)
            self.received(sandbox, cluster, "one")
            self.assertIn("one", self.restored_names(cluster, sandbox, "--latest", "--verify"))
            self.assertIsNone(self.report["against"])
            sandbox.run("backup", "verify", "--input", "latest-base", check=0)
            self.assertTrue(all(backup["good"] for backup in sandbox.run_json("backup", "list")["backups"]))

    def test_settings_of_roles_and_databases_do_not_reach_our_look(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox) as receiver:
                commit(cluster, "one")
                for setting in ("statement_timeout = '1ms'", "idle_session_timeout = '1ms'", "search_path = pg_catalog", "default_transaction_read_only = on"):
                    cluster.sql(f"ALTER ROLE aragora SET {setting}", user="postgres")
                cluster.sql("ALTER DATABASE aragora SET search_path = information_schema", user="postgres")
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()", user="postgres"))
                time.sleep(1.2)
                receiver.process.kill()
            directory = sandbox.directory / "recovered"
            report = sandbox.run_json("restore", "--latest", "--verify", "--to", directory, check=0)
            self.assertIsNone(report["against"])
            with opened(cluster, directory) as private:
                self.assertIn("one", private.sql("SELECT name FROM public.settings", user="postgres"))


class Promises(Recoveries):
    """What the receiver confirmed is there and replayed, or the recovery is no success."""

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.cluster, cls.sandbox = cls.stack.enter_context(deployment())
        cls.sandbox.elsewhere()
        cls.sandbox.run("backup", "create", "--kind", "base", check=0)
        with Receiver(cls.sandbox, "--seal-interval", "1") as receiver:
            cls.committed = {f"row-{number}" for number in range(40)}
            for number in range(40):
                commit(cls.cluster, f"row-{number}")
                if number % 8 == 0:
                    time.sleep(1.1)  # a sealed piece elsewhere
            receiver.wait_for_position(position(cls.cluster))
            time.sleep(2.5)
            assert receiver.stop() == 0
        cls.cluster.stop()

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.copy = self.sandbox.directory / "copy"
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.sandbox.directory / "backups", self.copy, symlinks=True)
        self.log = self.copy / "wal/00000001"
        self.to = self.sandbox.directory / "recovered"

    def restore(self, *options, check, **environment):
        shutil.rmtree(self.to, ignore_errors=True)
        return self.sandbox.run("restore", "--latest", "--to", self.to, *options, check=check, ARAGORA_BACKUP_DIR=str(self.copy), **environment)

    def test_all_of_it_is_there(self):
        self.restore(check=0)
        with opened(self.cluster, self.to) as private:
            self.assertLessEqual(self.committed, names(private))

    def test_damage_that_ends_the_log_early_is_no_end(self):
        open_segment, = self.log.glob("*.partial")
        good = open_segment.read_bytes()

        def flip():
            data = bytearray(good)
            data[len(data) // 2] ^= 1
            open_segment.write_bytes(data)

        for how, damage in {"flipped": flip, "shorter": lambda: open_segment.write_bytes(good[:len(good) // 2]), "gone": open_segment.unlink,
                            "no promise": (self.log / "confirmed.json").unlink,
                            "another promise": lambda: (self.log / "confirmed.json").write_text(self.kept.replace('"flushed":"', '"flushed":"0'))}.items():
            with self.subTest(how=how):
                open_segment.write_bytes(good)
                self.kept = (self.sandbox.directory / "backups/wal/00000001/confirmed.json").read_text()
                (self.log / "confirmed.json").write_text(self.kept)
                damage()
                refused = self.restore(check=65)
                self.assertRegex(refused.stderr, "confirmed|signature")
                self.assertFalse(self.to.exists(), "nothing was made")
                self.sandbox.run("backup", "verify", "--input", "latest-base", "--level", "0", check=65, ARAGORA_BACKUP_DIR=str(self.copy)) if how != "no promise" else None
                status = self.sandbox.run("backup", "status", ARAGORA_BACKUP_DIR=str(self.copy))
                self.assertEqual(status.returncode, 1, status.stdout)
                if how in ("flipped", "shorter", "gone"):
                    report = json.loads(self.restore("--accept-loss", "--json", check=0).stdout)
                    self.assertIn("confirmed", report["losses"][0])

    def test_a_damaged_promise_does_not_keep_new_log_away(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            self.received(sandbox, cluster, "one")
            promise = sandbox.directory / "backups/wal/00000001/confirmed.json"
            promise.write_text(promise.read_text().replace("1", "2"))
            sandbox.run("restore", "--latest", "--to", sandbox.directory / "no", check=65)
            self.received(sandbox, cluster, "two")
            self.assertEqual(len(list(promise.parent.glob("confirmed.json.damaged-*"))), 1)
            self.assertLessEqual({"one", "two"}, self.restored_names(cluster, sandbox, "--latest"))

    def test_a_base_that_is_damaged_is_named(self):
        manifest = next(self.copy.glob("base/*/manifest.json"))
        manifest.write_text(manifest.read_text().replace("{", "", 1))
        refused = self.restore(check=66)
        self.assertIn(f"none of the 1 base backups in {self.copy}/base is good; {manifest.parent.name}", refused.stderr)

    def test_pieces_elsewhere_that_are_gone_are_missed(self):
        elsewhere = self.sandbox.directory / "elsewhere"
        shutil.copytree(self.sandbox.directory / "mnt", elsewhere)
        self.sandbox.run("drill", "--kind", "physical", "--from", elsewhere, check=0)
        pieces = sorted(elsewhere.glob("wal/00000001/*.*-*.zst.age"))
        self.assertGreater(len(pieces), 3)
        for piece in pieces[len(pieces) // 2:]:
            piece.unlink()
        refused = self.sandbox.run("restore", "--latest", "--from", elsewhere, "--to", self.to, check=65)
        self.assertIn("confirmed bytes are missing", refused.stderr)
        self.assertNotEqual(self.sandbox.run("drill", "--kind", "physical", "--from", elsewhere).returncode, 0)

    def test_the_server_remembers_what_it_was_told(self):
        """An older promise with less log behind it: only the slot knows."""
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            self.received(sandbox, cluster, "one")
            older = sandbox.directory / "older"
            shutil.copytree(sandbox.directory / "backups", older, symlinks=True)
            self.received(sandbox, cluster, "two")
            refused = sandbox.run("restore", "--latest", "--to", sandbox.directory / "no", check=65, ARAGORA_BACKUP_DIR=str(older))
            self.assertIn("the server was told that its log is safe through", refused.stderr)


class Nightly(Recoveries):
    def test_verification_replays_the_log_behind_the_newest_base_and_behind_an_older_one(self):
        with deployment() as (cluster, sandbox):
            with Receiver(sandbox) as receiver:
                for number in range(2):
                    sandbox.run("backup", "create", "--kind", "base", check=0)
                    commit(cluster, f"day-{number}")
                    damaged = cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())", user="postgres")
                    receiver.wait_for_position(cluster.sql("SELECT pg_switch_wal()", user="postgres"))
                end = position(cluster)
                receiver.wait_for_position(end)
                time.sleep(1.2)
                receiver.stop()
            found = sandbox.run_json("backup", "verify", "--every-kind", check=0)["backups"]
            self.assertEqual(len(found), len({backup["id"] for backup in found}))
            self.assertGreaterEqual(sum("of log replayed through" in backup["message"] for backup in found), 2, found)
            # Whole, signed and of no use: only a replay finds that it is the log of another time.
            key = sandbox.directory / "segment"
            sandbox.run("restore", "wal-get", damaged, key, check=0)
            data = bytearray(key.read_bytes())
            data[8192 + 100:8192 + 4000] = os.urandom(3900)
            data[60:4000] = os.urandom(3940)
            forged = sandbox.directory / damaged
            forged.write_bytes(data)
            for name in (f"{damaged}.zst.age", f"{damaged}.json"):
                (sandbox.directory / "backups/wal/00000001" / name).unlink()
            sandbox.run("backup", "wal-push", forged, check=0)
            result = sandbox.run("backup", "verify", "--every-kind")
            self.assertEqual(result.returncode, 65, result.stdout)
            self.assertIn("✗", result.stdout)


class Timelines(Recoveries):
    def test_after_a_swap_both_histories_can_be_reached_and_the_receiver_goes_on(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox) as receiver:
                commit(cluster, "common")
                moment = now(cluster)
                old = [f"old-{number}" for number in range(10)]
                commit(cluster, *old)
                cluster.sql("SELECT pg_switch_wal()", user="postgres")  # the receiver is ahead by more than a segment
                commit(cluster, "old-last")
                cluster.sql("SELECT pg_switch_wal()", user="postgres")
                commit(cluster, "old-end")
                receiver.wait_for_position(position(cluster))
                later = now(cluster)
                receiver.wait(lambda status: status["durable_through"] > later)
                directory = sandbox.directory / "recovered"
                sandbox.run("restore", "--target-time", moment, "--to", directory, "--verify", check=0)
                with recovered(cluster, directory):
                    self.assertNotIn("old-0", names(cluster))
                    commit(cluster, "new")
                    receiver.wait(lambda status: status["timeline"] == 2 and not status["problem"], limit=60)
                    receiver.wait_for_position(position(cluster))
                    newest = now(cluster)
                    receiver.wait(lambda status: status["durable_through"] > newest)
                    self.assertIn("is kept as a branch of its own", receiver.text())
                    self.assertEqual(receiver.stop(), 0)
                    branches = {branch["timeline"]: branch for branch in sandbox.run_json("backup", "status")["recovery_window"]["timelines"]}
                    self.assertEqual(sorted(branches), [1, 2])
                    self.assertEqual(self.restored_names(cluster, sandbox, "--latest") & {"common", "new", "old-0"}, {"common", "new"})
                    self.assertEqual(self.report["timeline"], 2)
                    self.assertIn("--target-timeline 1", " ".join(self.report["notes"]))
                    # Timeline 2 began when `later` was past: the time lies on timeline 1 alone.
                    self.assertLessEqual({"common", *old, "old-last", "old-end"}, self.restored_names(cluster, sandbox, "--target-time", later))
                    self.assertEqual(self.report["timeline"], 1)
                    self.assertLessEqual({"old-end"}, self.restored_names(cluster, sandbox, "--latest", "--target-timeline", "1"))
                    # A position behind the fork lies on both.
                    fork = max(lsn(branches[2]["left_parent_at"]), 0) + 64
                    both = f"{fork >> 32:X}/{fork & 0xffffffff:X}"
                    asked = sandbox.run("restore", "--target-lsn", both, "--to", sandbox.directory / "no", check=64)
                    self.assertIn("--target-timeline", asked.stderr)
                    for timeline in ("1", "2"):
                        sandbox.run("restore", "--target-lsn", both, "--target-timeline", timeline, "--dry-run", "--to", sandbox.directory / "no", check=0)

    def test_a_failover_to_a_standby_that_is_behind_is_followed(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            # The receiver first: the backup that the standby begins with begins a new segment.
            with Receiver(sandbox) as receiver, Cluster(standby_of=cluster) as standby:
                commit(cluster, "common")
                replayed = f"SELECT pg_last_wal_replay_lsn() >= '{position(cluster)}'"
                while standby.sql(replayed) != "t":
                    time.sleep(0.05)
                standby.stop()  # it misses what comes now
                for number in range(3):
                    commit(cluster, f"lost-{number}")
                    cluster.sql("SELECT pg_switch_wal()", user="postgres")
                receiver.wait_for_position(position(cluster))
                cluster.stop("immediate")
                standby.configure(port=cluster.port, primary_conninfo="")
                standby.port = cluster.port
                standby.start()
                standby.program("pg_ctl", "-D", standby.data, "-w", "promote")
                commit(standby, "afterwards")
                receiver.wait(lambda status: status["timeline"] == 2 and not status["problem"], limit=60)
                receiver.wait_for_position(position(standby))
                time.sleep(1.2)
                receiver.stop()
                found = self.restored_names(standby, sandbox, "--latest")
                self.assertEqual(found & {"common", "afterwards", "lost-0"}, {"common", "afterwards"})
                self.assertLessEqual({"common", "lost-0", "lost-1", "lost-2"}, self.restored_names(standby, sandbox, "--latest", "--target-timeline", "1"))

    def test_a_server_that_was_set_back_is_refused_with_the_remedy(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            cluster.stop()
            snapshot = cluster.directory / "snapshot"
            subprocess.run(["cp", "-a", cluster.data, snapshot], check=True)
            cluster.start()
            self.received(sandbox, cluster, "one")
            cluster.stop()
            shutil.rmtree(cluster.data)
            snapshot.rename(cluster.data)
            cluster.start()
            with Receiver(sandbox, wait=False) as receiver:
                receiver.wait(lambda status: "set back without a new timeline" in status["problem"])
                self.assertIn("new timeline", receiver.status()["problem"].split(";", 1)[1])
                self.assertEqual(sandbox.run("backup", "status").returncode, 1)
                commit(cluster, "another one", "and another")
                cluster.sql("SELECT pg_switch_wal()", user="postgres")
                commit(cluster, "beyond")
                time.sleep(2)
                self.assertIn("was set back", receiver.status()["problem"])
            self.assertIn("one", self.restored_names(cluster, sandbox, "--latest", "--accept-loss"))

    def test_log_that_says_too_little_is_an_interruption(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            self.received(sandbox, cluster, "before")
            cluster.sql("SELECT pg_drop_replication_slot('aragora')")  # a slot would forbid it
            for settings in (dict(wal_level="minimal", max_wal_senders=0), dict(wal_level="replica", max_wal_senders=5)):
                cluster.configure(**settings)
                cluster.stop()
                cluster.start()
                commit(cluster, f"under-{settings['wal_level']}")
            with Receiver(sandbox) as receiver:
                commit(cluster, "afterwards")
                receiver.wait_for_position(position(cluster))
                deadline = time.monotonic() + 60
                while "made base backup" not in receiver.text():
                    self.assertLess(time.monotonic(), deadline, receiver.text())
                    time.sleep(0.1)
                self.assertIn("wal_level was minimal", receiver.text())
                commit(cluster, "last")
                receiver.wait_for_position(position(cluster))
                time.sleep(1.2)
                receiver.stop()
            bases = [backup["id"] for backup in sandbox.run_json("backup", "list")["backups"]]
            refused = sandbox.run("restore", "--latest", "--input", bases[0], "--to", sandbox.directory / "no", check=66)
            self.assertIn("gap", refused.stderr)
            window = sandbox.run_json("backup", "status")["recovery_window"]
            self.assertEqual((window["base"], window["gap"]), (bases[1], False))
            self.assertLessEqual({"before", "under-minimal", "afterwards", "last"}, self.restored_names(cluster, sandbox, "--latest"))


class Surroundings(Recoveries):
    def test_large_segments_and_commit_times_come_back(self):
        """PostgreSQL's defaults do not start with segments of 64 MB, and remove the times of commits."""
        with Cluster(initdb=("--wal-segsize=64",), track_commit_timestamp="on") as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
            sandbox.directory.chmod(0o755)
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            sandbox.run("migrate", check=0)
            sandbox.run("backup", "create", "--kind", "base", check=0)
            self.received(sandbox, cluster, "one")
            when = "SELECT pg_xact_commit_timestamp(xmin) FROM settings WHERE name = 'one'"
            committed = cluster.sql(when)
            self.assertTrue(committed)
            directory = sandbox.directory / "recovered"
            sandbox.run("restore", "--latest", "--to", directory, "--verify", check=0)
            with opened(cluster, directory) as private:
                self.assertIn("one", names(private))
                self.assertEqual(private.sql(when), committed)

    def test_the_place_may_end_with_a_slash_and_a_link_to_nowhere_is_there(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            self.received(sandbox, cluster, "one")
            sandbox.run("restore", "--latest", "--to", f"{sandbox.directory}/slash/", check=0)
            with opened(cluster, sandbox.directory / "slash") as private:
                self.assertIn("one", names(private))
            nowhere = sandbox.directory / "link"
            nowhere.symlink_to("/nonexistent/place")
            refused = sandbox.run("restore", "--latest", "--to", nowhere, check=73)
            self.assertIn("exists already", refused.stderr)

    def test_an_address_in_the_environment_does_not_have_another_server_looked_at(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            self.received(sandbox, cluster, "one")
            for number, variable in enumerate(({"PGHOSTADDR": "127.0.0.1"}, {"PGTARGETSESSIONATTRS": "read-only"}, {"PGCHANNELBINDING": "require"})):
                with self.subTest(variable=variable):
                    directory = sandbox.directory / f"place-{number}"
                    sandbox.run("restore", "--latest", "--to", directory, "--verify", check=0, **variable)
                    with opened(cluster, directory) as private:
                        self.assertIn("one", names(private))


class Targets(Recoveries):
    def test_targets_before_the_newest_base_and_behind_the_last_commit(self):
        with deployment() as (cluster, sandbox):
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox) as receiver:
                commit(cluster, "one")
                cluster.sql("SELECT pg_create_restore_point('before two')", user="postgres")
                xid = cluster.sql(f"WITH i AS ({INSERT.format('two')}) SELECT pg_current_xact_id()")
                commit(cluster, "three")
                receiver.wait_for_position(position(cluster))
                sandbox.run("backup", "create", "--kind", "base", check=0)
                commit(cluster, "four")
                cluster.sql("SELECT pg_switch_wal()", user="postgres")
                end = position(cluster)
                receiver.wait_for_position(end)
                time.sleep(1)
                idle = now(cluster)
                receiver.wait(lambda status: status["durable_through"] > idle)
                receiver.stop()
            some = {"one", "two", "three", "four"}
            for target, expected in ((("--target-name", "before two"), {"one"}), (("--target-xid", xid), {"one", "two"}), (("--target-xid", xid, "--exclusive"), {"one"}),
                                     (("--target-time", idle), some), (("--target-lsn", end), some)):
                with self.subTest(target=target):
                    plan = sandbox.run_json("restore", *target, "--to", sandbox.directory / "no", "--dry-run", check=0)
                    self.assertEqual(self.restored_names(cluster, sandbox, *target) & some, expected)
                    self.assertEqual(plan["base"], self.report["base"], "the dry run is the plan of the real one")
            for target in (("--target-xid", "4000000"), ("--target-name", "nowhere"), ("--target-lsn", "FF/0"), ("--target-time", "2099-01-01T00:00:00Z")):
                for more in ((), ("--dry-run",)):
                    sandbox.run("restore", *target, "--to", sandbox.directory / "no", *more, check=66)
            sandbox.run("restore", "--latest", "--exclusive", "--to", sandbox.directory / "no", check=64)


if __name__ == "__main__":
    main()
