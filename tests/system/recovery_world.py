"""A small deployment that the property test drives, and a model of what it holds: every row that was committed, where in
the log and when, what the receiver had confirmed by then, and how the timelines left each other."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass

from recovery import Receiver, lsn
from support import Cluster, Sandbox, clock_at, free_port

SMALL = dict(fsync="off", shared_buffers="16MB", max_connections="20", max_wal_size="32MB", min_wal_size="2MB", autovacuum="off", track_commit_timestamp="on",
             checkpoint_timeout="1h", max_wal_senders="6", wal_sync_method="fdatasync")


@dataclass(frozen=True)
class Row:
    name: str
    timeline: int
    before: int  # in the log: not yet in it
    after: int  # and in it
    xid: int
    time: int  # of its commit, microseconds


class SameNumber(Exception):
    """Two lives of the database got the same number, because nobody received the first one's log: the receiver refuses
    that with a word of its own, and the model ends here."""


class Template:
    """One cluster and one state directory, made once and copied for every sequence. Segments of 1 MiB: there are many."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="aragora-template-"))
        with SmallCluster(None) as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("migrate", check=0)
            cluster.stop()
            copy_tree(cluster.data, self.directory / "data")
            copy_tree(sandbox.directory / "state", self.directory / "state")

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def copy_tree(source, target):
    if pathlib.Path(source).exists():
        subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)


def promised(path):
    """A line of JSON, a line of signature."""
    return lsn(json.loads(path.read_text().split("\n")[0])["flushed"])


class SmallCluster(Cluster):
    def __init__(self, template):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="aragora-cluster-"))
        self.directory.chmod(0o755)
        self.data = self.directory / "data"
        self.port = free_port()
        self.url = f"postgresql://aragora:n0t-the-sample-pw@127.0.0.1:{self.port}/aragora"
        if template:
            copy_tree(template.directory / "data", self.data)
            self.give(self.directory)
            self.configure(port=self.port, unix_socket_directories=self.directory)
            return self.start()
        self.data.mkdir(mode=0o700)
        self.give(self.directory, self.data)
        self.program("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-instructions", "--no-sync", "--wal-segsize=1")
        self.configure(listen_addresses="127.0.0.1", port=self.port, unix_socket_directories=self.directory, **SMALL)
        self.start()
        self.sql("CREATE ROLE aragora LOGIN CREATEDB REPLICATION PASSWORD 'n0t-the-sample-pw'", user="postgres", database="postgres")
        self.sql("CREATE DATABASE aragora OWNER aragora", user="postgres", database="postgres")

    @staticmethod
    def give(*paths):
        if os.geteuid() == 0:
            for path in paths:
                shutil.chown(path, "postgres")


class World:
    """What exists now, and what the model knows of it. Its methods are the steps; each says in a few words what it did."""

    def __init__(self, template, random):
        self.random = random
        self.rows, self.confirmed = [], {}
        self.parents = {1: None}  # timeline → (parent, where it was left)
        self.timeline = 1
        self.damaged = []
        self.receiver = None
        self.offset = 0
        self.count = 0
        self.stack = contextlib.ExitStack()
        self.cluster = self.stack.enter_context(SmallCluster(template))
        self.sandbox = self.stack.enter_context(Sandbox(DATABASE_URL=self.cluster.url))
        self.sandbox.directory.chmod(0o755)
        self.backups = self.sandbox.directory / "backups"
        self.scratch = self.sandbox.directory / "scratch"
        self.scratch.mkdir(mode=0o755)
        self.sandbox.environment.update(ARAGORA_BACKUP_DIR=str(self.backups), TMPDIR=str(self.scratch))
        copy_tree(template.directory / "state", self.sandbox.directory / "state")

    def close(self):
        if self.receiver:
            self.receiver.__exit__()
        self.stack.close()

    # ---- the model

    def branch(self, timeline):
        """[(timeline, until)], the newest first."""
        steps, until = [], None
        while timeline:
            steps.append((timeline, until))
            timeline, left = self.parents[timeline] or (None, None)
            until = min(until or left, left) if left else None  # a parent can be left below its own beginning
        return steps

    def on_branch(self, timeline):
        """Rows of one life of the database, in order."""
        return [row for step, until in reversed(self.branch(timeline)) for row in self.rows if row.timeline == step and (until is None or row.after <= until)]

    def note_confirmed(self):
        """What the receiver promised so far."""
        if self.damaged:
            return
        for path in (self.backups / "wal").glob("0*/confirmed.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                timeline = int(path.parent.name, 16)
                self.confirmed[timeline] = max(self.confirmed.get(timeline, 0), promised(path))

    def confirmed_rows(self, timeline):
        steps = self.branch(timeline)
        newest = max((self.confirmed.get(step, 0) for step, _ in steps[:1]), default=0)
        return [row for row in self.on_branch(timeline) if row.after <= self.confirmed.get(row.timeline, 0) or (row.timeline != timeline and newest > 0)]

    def newest_confirmed(self):
        return max(self.confirmed, default=0)

    def where(self):
        return lsn(self.cluster.sql("SELECT pg_current_wal_flush_lsn()", user="postgres"))

    # ---- the steps

    def commit(self):
        number, size = self.random.randint(1, 4), self.random.choice((10, 10, 3000, 40000))
        self.commit_rows(number, size)
        if self.random.random() < 0.7:
            self.catch_up()
        return f"{number} rows of {size}"

    def commit_rows(self, number, size):
        script = []
        for _ in range(number):
            self.count += 1
            name = f"row-{self.count}"
            script.append(f"SELECT pg_current_wal_insert_lsn(); WITH i AS (INSERT INTO settings (name, value, updated_at) SELECT '{name}', coalesce((SELECT string_agg(md5(random()::text), '') FROM generate_series(1, {size // 32})), ''), 0 RETURNING name) "
                          "SELECT name || ' ' || pg_current_xact_id() FROM i; SELECT pg_current_wal_insert_lsn(); SELECT pg_sleep(0.002);")
        result = subprocess.run([self.cluster.BIN / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.cluster.port), "-U", "postgres", "-d", "aragora"],
                                input="\n".join(script), check=True, capture_output=True, text=True, timeout=60).stdout.split("\n")
        lines = [line for line in result if line.strip()]
        made = []
        for at in range(0, len(lines), 3):
            name, xid = lines[at + 1].split()
            made.append((name, int(xid), lsn(lines[at]), lsn(lines[at + 2])))
        times = self.cluster.sql("; ".join(f"SELECT (extract(epoch FROM pg_xact_commit_timestamp('{xid}')) * 1000000)::bigint" for _, xid, _, _ in made), user="postgres").split()
        self.rows += [Row(name, self.timeline, before, after, xid, int(when)) for (name, xid, before, after), when in zip(made, times)]

    def catch_up(self, limit=12):
        """Until the receiver has confirmed what there is; False when it does not come to that."""
        if not self.receiver:
            return False
        end, deadline = self.where(), time.monotonic() + limit
        while time.monotonic() < deadline and self.receiver.process.poll() is None:
            self.note_confirmed()
            with contextlib.suppress(OSError, ValueError, KeyError):
                status = self.receiver.status()
                if status["timeline"] == self.timeline and promised(self.backups / f"wal/{self.timeline:08X}/confirmed.json") >= end:
                    return True
                if status["problem"] and self.damaged:
                    return False
            time.sleep(0.05)
        return False

    def base(self):
        result = self.run("backup", "create", "--kind", "base")
        if result.returncode != 0 and not self.damaged:
            raise AssertionError(f"a base backup fails: {result.stderr}")
        return f"base, exit {result.returncode}"

    def start_receiver(self):
        if self.receiver and self.receiver.process.poll() is None:
            return "the receiver runs"
        fake = self.clock() if self.random.random() < 0.5 else {}
        self.receiver = Receiver(self.sandbox, wait=False, **fake)
        reached = self.catch_up(20)
        if not reached and not self.damaged:
            raise AssertionError(f"the receiver does not get to the end: {self.receiver.text()[-1500:]}")
        return f"the receiver is started{', with that clock' if fake else ''}{'' if reached else ', and does not come along'}"

    def end_receiver(self):
        if not self.receiver:
            return "no receiver"
        hard = self.random.random() < 0.5
        self.receiver.process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
        self.receiver.process.wait(30)
        self.receiver.__exit__()
        self.receiver = None
        self.note_confirmed()
        return "the receiver is killed" if hard else "the receiver is stopped"

    def switch(self):
        self.cluster.sql("SELECT pg_switch_wal()", user="postgres")
        return "the log is switched"

    def crash(self):
        self.cluster.stop("immediate")
        self.cluster.start()
        return "the server crashes and comes back"

    def promote(self):
        self.cluster.stop("fast")
        signal_file = self.cluster.data / "standby.signal"
        signal_file.touch()
        self.cluster.give(signal_file)
        self.cluster.start()
        self.cluster.program("pg_ctl", "-D", self.cluster.data, "-w", "promote")
        self.follow_server()
        return f"promoted to timeline {self.timeline}"

    def follow_server(self):
        """The timeline that the server is on now, and where it left the one before."""
        self.cluster.sql("CHECKPOINT", user="postgres")
        timeline = int(self.cluster.sql("SELECT timeline_id FROM pg_control_checkpoint()", user="postgres"))
        if timeline != self.timeline:
            history = (self.cluster.data / f"pg_wal/{timeline:08X}.history").read_text()
            parent, left = [line.split("\t")[:2] for line in history.splitlines() if re.match(r"\d", line)][-1]
            if timeline in self.parents:
                raise SameNumber  # the archive never heard of the first one, so PostgreSQL could not either
            self.parents[timeline] = (int(parent), lsn(left))
        self.timeline = timeline
        self.catch_up()

    def swap(self, directory):
        """The recovered directory takes the place of the live one."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.cluster.stop("immediate")
        shutil.rmtree(self.cluster.data)
        shutil.move(directory, self.cluster.data)
        for stale in self.cluster.directory.glob(".s.PGSQL.*"):
            stale.unlink()
        self.cluster.start()
        self.follow_server()
        return f"swapped in: timeline {self.timeline} left {self.parents[self.timeline]}"

    def clock(self):
        return clock_at(f"{self.offset:+d}s") if self.offset else {}

    def step_clock(self):
        self.offset = self.random.choice((-7200, -90, 0, 90, 7200, 40 * 86400))
        return f"our clock is {self.offset:+d} s off"

    def prune(self):
        result = self.run("backup", "prune")
        asked = re.search(r"--yes-remove (\d+)", result.stdout + result.stderr)
        if result.returncode != 0 and asked and self.random.random() < 0.5:
            result = self.run("backup", "prune", "--yes-remove", asked.group(1))
        return f"prune, exit {result.returncode}{' (asked)' if asked else ''}"

    def stored(self):
        """Everything that damage can fall upon, by what it is."""
        wal = self.backups / "wal"
        kinds = {"segment": wal.glob("0*/*[0-9A-F].zst.age"), "record": wal.glob("0*/0*.json"), "open": wal.glob("0*/*.partial"), "confirmed": wal.glob("0*/confirmed.json"),
                 "base": self.backups.glob("base/2*/base.tar.zst.age"), "manifest": self.backups.glob("base/2*/manifest.json"), "history": wal.glob("0*/*.history.*")}
        found = {kind: sorted(path for path in paths if path.is_file() and path.stat().st_size > 0) for kind, paths in kinds.items()}
        return {kind: paths for kind, paths in found.items() if paths}

    def damage(self):
        self.note_confirmed()
        found = self.stored()
        if not found:
            return "nothing to damage"
        kind = self.random.choice(sorted(found))
        path = self.random.choice(found[kind])
        how = self.random.choice(("flip", "truncate", "delete"))
        if self.random.random() < 0.15 and list((self.backups / "wal").glob("0*")):
            path, kind, how = self.random.choice(sorted((self.backups / "wal").glob("0*"))), "timeline", "delete"
            shutil.rmtree(path)
        elif how == "delete":
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            at = self.random.randrange(len(data))
            # Of the open segment what was confirmed: what comes behind it promises nothing.
            if kind == "open" and how == "flip":
                at = self.random.randrange(max(1, min(len(data), self.confirmed.get(int(path.parent.name, 16), 0) % (1 << 20))))
            if how == "flip":
                data[at] ^= 1 << self.random.randrange(8)
            else:
                del data[at:]
            path.write_bytes(data)
        self.damaged.append((kind, how))
        return f"damage: {how} {kind} {path.relative_to(self.backups)}"

    # ---- looking

    def bases(self):
        """What the manifests that can be read say: id → timeline and end."""
        found = {}
        for path in self.backups.glob("base/2*/manifest.json"):
            with contextlib.suppress(ValueError, KeyError):
                physical = json.loads(path.read_text())["physical"]
                found[path.parent.name] = {"timeline": physical["timeline"], "stop": lsn(physical["stop_lsn"])}
        return found

    def lies_on(self, base, timeline):
        return any(step == base["timeline"] and (until is None or base["stop"] <= until) for step, until in self.branch(timeline))

    def live_state(self):
        """What nobody who tries a recovery out may touch."""
        return self.cluster.sql("SELECT (SELECT count(*) FROM settings), (SELECT count(*) FROM users), (SELECT count(*) FROM debates), "
                                "(SELECT string_agg(datname, ' ' ORDER BY 1) FROM pg_database), (SELECT count(*) FROM pg_replication_slots)", user="postgres")

    def servers_in_scratch(self):
        """PostgreSQL servers of somebody who is done; the receiver starts none, only pg_waldump."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if command.split(" ")[0].endswith("/postgres") and str(self.sandbox.directory) in command:
                    found.append(command)
        return found

    def run(self, *arguments, **environment):
        return self.sandbox.run(*arguments, timeout=200, **{**self.clock(), **environment})

    def read(self, directory, keep=False):
        """The rows in a recovered directory. To be kept, a copy of it is opened."""
        copy = directory
        if keep:
            copy = self.sandbox.directory / "opened"
            copy_tree(directory, copy)
        private = object.__new__(SmallCluster)
        private.directory, private.data, private.port = self.cluster.directory, copy, free_port()
        private.configure(port=private.port, synchronous_standby_names="")
        private.start()
        try:
            return set(private.sql("SELECT name FROM settings WHERE name LIKE 'row-%'", user="postgres").split())
        finally:
            private.stop("immediate")
            shutil.rmtree(copy, ignore_errors=True)
