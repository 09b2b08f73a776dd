"""Backups of a server that is not idle: the schema changes meanwhile, the log is recycled under the copy, the source is a
standby. BUSY_ROUNDS sets how many backups are made while the schema changes (default 3)."""
import contextlib
import os
import random
import secrets
import shutil
import subprocess
import threading
import time
import unittest

from recovery import deployment
from support import BINARY, Cluster, Daemon, Sandbox, main, postgres_database

ROUNDS = int(os.environ.get("BUSY_ROUNDS", "3"))


def psql(url, text, check=True):
    return subprocess.run(["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", url, "-c", text], check=check, capture_output=True, text=True, timeout=120).stdout.strip()


@contextlib.contextmanager
def database(**environment):
    """A deployment in a database of its own on the shared server, with a table that takes a while to count."""
    with postgres_database() as url, Sandbox(DATABASE_URL=url, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), **environment) as sandbox:
        sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
        sandbox.run("migrate", check=0)
        yield url, sandbox


class Schema(unittest.TestCase):
    """What is backed up while tables are rewritten, emptied, renamed, made and dropped is consistent, or says that it is not."""

    REWRITES = {
        "type": "ALTER TABLE zzz ALTER COLUMN id TYPE {bigint|integer}",
        "truncate": "BEGIN; TRUNCATE zzz; INSERT INTO zzz SELECT i, 'filled again' FROM generate_series(1, 1000) i; COMMIT",
        "cluster": "CLUSTER zzz USING zzz_pkey",
        "vacuum full": "VACUUM FULL zzz",
        "rename": "ALTER TABLE zzz RENAME TO zzy; ALTER TABLE zzy RENAME TO zzz",
        "drop": "BEGIN; DROP TABLE zzz; CREATE TABLE zzz (id integer PRIMARY KEY, note text); INSERT INTO zzz SELECT i, 'new' FROM generate_series(1, 1000) i; COMMIT",
        "others": "CREATE TABLE other (id integer); INSERT INTO other VALUES (1); DROP TABLE other",
        "partition": "BEGIN; ALTER TABLE parted DETACH PARTITION parted_1; ALTER TABLE parted_1 ADD COLUMN x integer; ALTER TABLE parted_1 DROP COLUMN x; ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES FROM (1) TO (600); COMMIT",
    }

    def fill(self, url):
        psql(url, "CREATE TABLE zzz (id integer PRIMARY KEY, note text); INSERT INTO zzz SELECT i, 'row' FROM generate_series(1, 1000) i;"
                  "CREATE TABLE parted (id integer, note text) PARTITION BY RANGE (id); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (600);"
                  "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (600) TO (2000); INSERT INTO parted SELECT i, 'part' FROM generate_series(1, 1000) i;"
                  "CREATE TABLE aaa AS SELECT i, md5(i::text) AS a, md5((i + 1)::text) AS b FROM generate_series(1, 250000) i")

    def test_a_table_that_is_rewritten_while_it_waits_to_be_counted_is_counted_as_dumped(self):
        with database() as (url, sandbox):
            self.fill(url)
            for name in ("type", "truncate", "vacuum full", "drop"):
                with self.subTest(name):
                    backup = subprocess.Popen([BINARY, "backup", "create"], env=sandbox.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                    locked = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.relation = 'zzz'::regclass AND l.granted AND a.application_name = 'pg_dump'"
                    deadline = time.monotonic() + 30
                    while psql(url, locked) == "0" and backup.poll() is None:
                        self.assertLess(time.monotonic(), deadline)
                    psql(url, self.REWRITES[name].replace("{bigint|integer}", "bigint"))
                    said, _ = backup.communicate(timeout=120)
                    self.assertEqual(backup.returncode, 0, said)
                    sandbox.run("backup", "verify", "--input", "latest", "--level", "2", check=0)

    def test_whatever_changes_meanwhile_a_backup_that_is_made_can_be_restored(self):
        with database() as (url, sandbox):
            self.fill(url)
            stopping, done = threading.Event(), []

            def change():
                generator = random.Random(7)
                while not stopping.is_set():
                    name = generator.choice(list(self.REWRITES))
                    psql(url, self.REWRITES[name].replace("{bigint|integer}", generator.choice(["bigint", "integer"])), check=False)
                    done.append(name)
                    time.sleep(generator.random() * 0.15)

            threads = [threading.Thread(target=change)]
            for thread in threads:
                thread.start()
            made = 0
            try:
                for number in range(ROUNDS):
                    result = sandbox.run("backup", "create")
                    self.assertIn(result.returncode, (0, 75), result.stderr)
                    if result.returncode == 75:
                        self.assertIn("schema", result.stderr)
                        continue
                    made += 1
                    sandbox.run("backup", "verify", "--input", "latest", "--level", "2", check=0)
            finally:
                stopping.set()
                for thread in threads:
                    thread.join()
            self.assertGreaterEqual(made, ROUNDS - 1)
            self.assertGreater(len(done), 10)
            psql(url, "DELETE FROM zzz")
            sandbox.run("restore", "--input", "latest", "--yes", check=0)
            self.assertEqual(psql(url, "SELECT count(*) FROM zzz"), "1000")
            self.assertEqual(psql(url, "SELECT count(*) FROM parted"), "1000")

    def test_a_table_that_somebody_holds_is_named_and_nothing_is_made(self):
        with database() as (url, sandbox):
            self.fill(url)
            holder = subprocess.Popen(["psql", "-qAtX", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            holder.stdin.write("BEGIN; LOCK TABLE zzz; SELECT 'held';\n")
            holder.stdin.flush()
            self.assertEqual(holder.stdout.readline().strip(), "held")
            began = time.monotonic()
            result = sandbox.run("backup", "create")
            self.assertEqual(result.returncode, 75, result.stderr)
            self.assertLess(time.monotonic() - began, 100)
            self.assertIn("zzz", result.stderr)
            self.assertFalse(list((sandbox.directory / "backups/full").glob("2*")))
            holder.stdin.close()
            holder.wait(20)
            holder.stdout.close()
            sandbox.run("backup", "create", check=0)
            sandbox.run("backup", "verify", "--input", "latest", "--level", "2", check=0)


class Churn:
    """Writes log as fast as the server takes it, and has it recycled."""

    def __init__(self, cluster):
        self.cluster, self.stopping = cluster, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            with contextlib.suppress(subprocess.CalledProcessError):
                self.cluster.sql("INSERT INTO churn SELECT i, repeat(md5(random()::text), 60) FROM generate_series(1, 3000) i; TRUNCATE churn; CHECKPOINT", user="postgres")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()


class Copy(unittest.TestCase):
    """A base backup of a server that writes more log during the copy than it keeps."""

    RECYCLES = {"max_wal_size": "32MB", "min_wal_size": "32MB", "wal_keep_size": 0}

    @contextlib.contextmanager
    def busy(self, **settings):
        with deployment(**self.RECYCLES, **settings) as (cluster, sandbox):
            cluster.sql("CREATE TABLE churn (id integer, text text)", user="postgres")
            cluster.sql("INSERT INTO settings (name, value, updated_at) SELECT 'before-' || i, repeat(md5(i::text), 200), 0 FROM generate_series(1, 8000) i")
            with Churn(cluster):
                yield cluster, sandbox

    def prove(self, sandbox):
        base, = (sandbox.directory / "backups/base").glob("2*")
        sandbox.run("backup", "verify", "--input", base, "--level", "2", check=0)

    def written(self, cluster, since="0/0"):
        return int(cluster.sql(f"SELECT pg_current_wal_lsn() - '{since}'", user="postgres"))

    def test_the_log_of_a_slow_copy_is_kept_for_it_and_let_go_afterwards(self):
        with self.busy() as (cluster, sandbox):
            since = cluster.sql("SELECT pg_current_wal_lsn()")
            sandbox.run("backup", "create", "--kind", "base", "--max-rate", "8M", check=0)
            self.assertGreater(self.written(cluster, since), 64 << 20, "too little happened for this test to say anything")
            self.assertEqual(cluster.sql("SELECT count(*) FROM pg_replication_slots"), "0")
            self.prove(sandbox)

    def test_a_cluster_with_tablespaces_too(self):
        with self.busy() as (cluster, sandbox):
            space = cluster.directory / "space"
            space.mkdir()
            if os.geteuid() == 0:
                shutil.chown(space, "postgres", "postgres")
            cluster.sql(f"CREATE TABLESPACE space LOCATION '{space}'", user="postgres")
            cluster.sql("CREATE TABLE there TABLESPACE space AS SELECT generate_series(1, 1000) i", user="postgres")
            sandbox.run("backup", "create", "--kind", "base", "--max-rate", "8M", check=0)
            self.prove(sandbox)

    def test_a_server_that_may_not_keep_it_is_told_from_one_that_does_not_answer(self):
        with self.busy(max_slot_wal_keep_size="32MB") as (cluster, sandbox):
            result = sandbox.run("backup", "create", "--kind", "base", "--max-rate", "8M")
            self.assertEqual(result.returncode, 69, result.stderr)
            self.assertIn("max_slot_wal_keep_size", result.stderr)
            self.assertFalse(list((sandbox.directory / "backups/base").glob("2*")))

    def test_without_a_free_slot_it_is_tried_and_said(self):
        with self.busy(max_replication_slots=0) as (cluster, sandbox):
            result = sandbox.run("backup", "create", "--kind", "base", "--max-rate", "8M")
            self.assertEqual(result.returncode, 69, result.stderr)
            self.assertIn("max_replication_slots", result.stderr)
        with deployment(max_replication_slots=0) as (cluster, sandbox):
            self.assertIn("max_replication_slots", sandbox.run("backup", "create", "--kind", "base", check=0).stderr)
            self.prove(sandbox)


class Standby(unittest.TestCase):
    """A standby is as good a source as its primary; what it cannot do is said, and never a bug (70)."""

    def test_every_kind_of_backup_is_made_from_a_standby(self):
        with deployment() as (cluster, sandbox):
            sandbox.environment["ARAGORA_ENCRYPTION_KEY"] = secrets.token_hex(32)
            cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('a', 'b', 0)")
            with Cluster(standby_of=cluster) as standby:
                there = {"DATABASE_URL": standby.url, "ARAGORA_BACKUP_DIR": str(sandbox.directory / "from-standby")}
                for kind in ("full", "base"):
                    result = sandbox.run("backup", "create", "--kind", kind, **there)
                    self.assertEqual(result.returncode, 78, result.stderr)
                    self.assertIn("run once against the primary", result.stderr)
                sandbox.run("backup", "create", check=0)
                deadline = time.monotonic() + 30
                while standby.sql("SELECT count(*) FROM settings WHERE name = 'instance.id'") != "1":
                    self.assertLess(time.monotonic(), deadline)
                for kind in ("full", "base", "configuration", "artifacts"):
                    sandbox.run("backup", "create", "--kind", kind, check=0, **there)
                self.assertEqual(standby.sql("SELECT count(*) FROM pg_replication_slots"), "0")
                # Restored on the primary, into a database of its own: the rows are there.
                full, = (sandbox.directory / "from-standby/full").glob("2*")
                sandbox.run("backup", "verify", "--input", full, "--level", "2", check=0, ARAGORA_BACKUP_DIR=there["ARAGORA_BACKUP_DIR"])
                sandbox.run("restore", "--input", full, "--to", "landed", "--verify", check=0, ARAGORA_BACKUP_DIR=there["ARAGORA_BACKUP_DIR"])
                self.assertEqual(cluster.sql("SELECT value FROM settings WHERE name = 'a'", database="landed"), "b")
                base, = (sandbox.directory / "from-standby/base").glob("2*")
                sandbox.run("backup", "verify", "--input", base, "--level", "1", check=0, **there)
                for command in (["migrate"], ["restore", "--input", full, "--yes"], ["backup", "verify", "--input", full, "--level", "2"], ["verify"]):
                    result = sandbox.run(*command, **there)
                    self.assertIn(result.returncode, (69, 78), f"{command}: {result.stderr}")
                    self.assertIn("primary", result.stderr + result.stdout, command)


class Place(unittest.TestCase):
    """What a restore needs of the place that it restores to is looked for before anything is loaded, in a dry run too."""

    def both(self, sandbox, *arguments, **environment):
        """The dry run and the run: the same refusal, or none."""
        results = [sandbox.run("restore", "--input", "latest", "--yes", *arguments, *dry, **environment) for dry in (["--dry-run"], [])]
        self.assertEqual(results[0].returncode, results[1].returncode, results[0].stderr + results[1].stderr)
        return results[1]

    def made(self, cluster):
        return (cluster.data / "server.log").read_text().count("CREATE DATABASE")

    def test_a_server_where_the_database_does_not_exist_yet(self):
        with deployment() as (cluster, sandbox):
            cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('a', 'b', 0)")
            sandbox.run("backup", "create", check=0)
            with Cluster() as fresh:
                fresh.sql("DROP DATABASE aragora", user="postgres", database="postgres")
                result = self.both(sandbox, "--verify", DATABASE_URL=fresh.url)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertEqual(fresh.sql("SELECT value FROM settings WHERE name = 'a'"), "b")
                databases = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate"
                self.assertEqual(fresh.sql(databases), "aragora postgres")
                # A second time there is something to keep.
                fresh.sql("DELETE FROM settings WHERE name = 'a'")
                self.assertEqual(self.both(sandbox, DATABASE_URL=fresh.url).returncode, 0)
                self.assertEqual(fresh.sql("SELECT value FROM settings WHERE name = 'a'"), "b")
                self.assertRegex(fresh.sql(databases), r"^aragora aragora_pre_restore_\d{8}t\d{6}z postgres$")

    def test_what_refuses_the_swap_refuses_before_the_load(self):
        with deployment(log_statement="ddl") as (cluster, sandbox):
            sandbox.run("backup", "create", check=0)
            before = self.made(cluster)
            client = subprocess.Popen(["psql", "-qAtX", cluster.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            client.stdin.write("SELECT 1;\n")
            client.stdin.flush()
            client.stdout.readline()
            busy = self.both(sandbox)
            self.assertEqual(busy.returncode, 75, busy.stderr)
            client.communicate()
            cluster.sql("ALTER ROLE aragora NOCREATEDB", user="postgres")
            refused = self.both(sandbox)
            self.assertEqual(refused.returncode, 77, refused.stderr)
            self.assertIn("CREATEDB", refused.stderr)
            cluster.sql("ALTER ROLE aragora CREATEDB; CREATE ROLE other; ALTER DATABASE aragora OWNER TO other", user="postgres")
            refused = self.both(sandbox)
            self.assertEqual(refused.returncode, 77, refused.stderr)
            self.assertIn("belongs to other", refused.stderr)
            refused = self.both(sandbox, "--to", "postgres")
            self.assertEqual(refused.returncode, 73, refused.stderr)
            self.assertEqual(self.made(cluster), before, "something was loaded before the refusal")
            cluster.sql("ALTER DATABASE aragora OWNER TO aragora", user="postgres")
            self.assertEqual(self.both(sandbox).returncode, 0)

    def test_who_connects_during_the_load_refuses_the_swap_and_what_was_loaded_is_kept(self):
        with deployment() as (cluster, sandbox):
            cluster.sql("CREATE TABLE large AS SELECT i, md5(i::text) AS a FROM generate_series(1, 400000) i")
            sandbox.run("backup", "create", check=0)
            restore = subprocess.Popen([BINARY, "restore", "--input", "latest", "--yes"], env=sandbox.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            deadline = time.monotonic() + 30
            while cluster.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'aragora_restore_%'", user="postgres", database="postgres") == "0":
                self.assertLess(time.monotonic(), deadline)
            client = subprocess.Popen(["psql", "-qAtX", cluster.url, "-c", "SELECT pg_sleep(60)"])
            said, _ = restore.communicate(timeout=100)
            client.kill()
            client.wait()
            self.assertEqual(restore.returncode, 75, said)
            kept = said.strip().rsplit(" ", 1)[1]
            self.assertRegex(kept, r"^aragora_restored_")
            self.assertEqual(cluster.sql("SELECT count(*) FROM large", database=kept), "400000")

    def test_sqlite_says_the_same_in_a_dry_run(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            sandbox.run("migrate", check=0)
            sandbox.run("backup", "create", check=0)
            with Daemon(sandbox):
                self.assertEqual(self.both(sandbox).returncode, 75)
            if os.geteuid() == 0:
                small = sandbox.directory / "small"
                small.mkdir()
                subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
                try:
                    full = self.both(sandbox, "--to", str(small / "new.db"))
                    self.assertEqual(full.returncode, 73, full.stderr)
                    self.assertIn("free", full.stderr)
                    self.assertEqual(list(small.iterdir()), [])
                finally:
                    subprocess.run(["umount", small], check=True)
            self.assertEqual(self.both(sandbox).returncode, 0)


if __name__ == "__main__":
    main()
