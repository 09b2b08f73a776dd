"""docs/runbooks/recovery.md, run as it stands: the blocks of each section in a shell, with other paths and with systemctl
and PostgreSQL's programs in the place of the machine's."""
import contextlib
import os
import pathlib
import re
import secrets
import shutil
import sqlite3
import subprocess
import time
import unittest

from recovery import Receiver, deployment, names
from support import BINARY, SOURCE, Sandbox, free_port, main


def sections():
    found, title = {}, None
    for line in (SOURCE / "docs/runbooks/recovery.md").read_text().splitlines():
        if line.startswith("## "):
            title = line[3:]
            found[title] = []
        elif line.startswith("    ") and title:
            found[title].append(line[4:])
        elif title and found[title] and found[title][-1]:
            found[title].append("")
    return {title: ["\n".join(block.splitlines()) for block in "\n".join(lines).strip().split("\n\n")] for title, lines in found.items()}


class Shell:
    """Where the blocks run: `aragora`, `systemctl` and PostgreSQL's programs are scripts in a directory of its own."""

    def __init__(self, sandbox, cluster=None):
        self.sandbox, self.cluster = sandbox, cluster
        self.bin = sandbox.directory / "bin"
        self.home = sandbox.directory / "work"
        self.home.mkdir(mode=0o755)
        self.port = free_port()
        self.paths = {"/backups": sandbox.environment["ARAGORA_BACKUP_DIR"], "/mnt/backups": str(sandbox.directory / "mnt"), "5433": str(self.port)}
        self.script("aragora", f'PATH={os.environ["PATH"]} exec {BINARY} "$@"')
        serve = sandbox.directory / "serve.pid"
        stop = f'[ ! -f {serve} ] || {{ kill $(cat {serve}); while kill -0 $(cat {serve}) 2>/dev/null; do sleep 0.05; done; rm {serve}; }}'
        start = f'(setsid {BINARY} serve >{sandbox.directory}/serve.log 2>&1 & echo $! >{serve}); for _ in $(seq 100); do curl -fs http://127.0.0.1:$ARAGORA_PORT/api/ready >/dev/null && exit 0; sleep 0.1; done; exit 1'
        user = "setpriv --reuid=postgres --regid=postgres --init-groups" if os.geteuid() == 0 else ""
        units = {"start aragora": start, "stop aragora": stop}
        if cluster:
            self.paths["/var/lib/postgresql/15/main"] = str(cluster.data)
            self.paths["/var/lib/postgresql/15/main.lost"] = str(cluster.directory / "main.lost")
            self.paths["/var/lib/postgresql/15/recovered"] = str(cluster.directory / "recovered")
            pg = f"cd / && {user} {cluster.BIN}/pg_ctl -D {cluster.data} -l {cluster.data}/server.log -w"
            units.update({"start postgresql": f"rm -f {cluster.directory}/.s.PGSQL.*; {pg} start >/dev/null", "stop postgresql": f"{pg} -m fast stop >/dev/null || true"})
            for program in ("pg_ctl", "psql", "pg_dump", "pg_restore", "createdb"):
                # As the user postgres, to the test's own server.
                options = f"-l {cluster.directory}/log" if program == "pg_ctl" else ""
                self.script(program, f"exec {user} env PGHOST=127.0.0.1 PGPORT={cluster.port} PGUSER=postgres {cluster.BIN}/{program} {options} \"$@\"")
        self.script("systemctl", "case \"$*\" in\n" + "\n".join(f'"{unit}") {command} ;;' for unit, command in units.items()) + "\n*) exit 5 ;;\nesac")

    def script(self, name, text):
        self.sandbox.write(f"bin/{name}", f"#!/bin/bash\n{text}\n", 0o755)
        self.bin.chmod(0o755)

    def run(self, block, **environment):
        for path, other in sorted(self.paths.items(), key=lambda pair: -len(pair[0])):
            block = re.sub(rf"(?<![\w/.]){re.escape(path)}(?![\w.])", other, block)
        result = subprocess.run(["bash", "-c", f"set -euo pipefail\n{block}"], cwd=self.home, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL,
                                env={**self.sandbox.environment, **environment, "PATH": f"{self.bin}:{os.environ['PATH']}"})
        if result.returncode != 0:
            raise AssertionError(f"{block}\nexit {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result.stdout


class Runbook(unittest.TestCase):
    sections = sections()
    ran = set()

    def blocks(self, title):
        self.ran.add(title)
        return self.sections[title]

    @contextlib.contextmanager
    def postgres(self):
        with deployment() as (cluster, sandbox):
            cluster.configure(hba_file=str(cluster.data / "pg_hba.conf"))
            sandbox.environment.update(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), ARAGORA_OFFSITE=str(sandbox.directory / "mnt"), ARAGORA_PORT=str(free_port()))
            shell = Shell(sandbox, cluster)
            try:
                yield cluster, sandbox, shell
            finally:
                subprocess.run([shell.bin / "systemctl", "stop", "aragora"], env={**sandbox.environment, "PATH": f"{shell.bin}:{os.environ['PATH']}"}, check=False)
                with contextlib.suppress(subprocess.CalledProcessError):
                    cluster.program("pg_ctl", "-D", cluster.directory / "recovered", "-m", "immediate", "stop")

    def prepared(self, cluster, sandbox, shell):
        """The first section; what was written before and after its backups."""
        cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('before', '', 0)")
        preparation, = self.blocks("Before it happens")
        keygen, rest = preparation.split("\n", 1)
        recipient = re.search("ARAGORA_BACKUP_RECIPIENTS=(age1\\w+)", shell.run(keygen))[1]
        sandbox.environment["ARAGORA_BACKUP_RECIPIENTS"] = recipient
        with Receiver(sandbox, "--seal-interval", "1") as receiver:
            out = shell.run(rest)
            self.assertIn("Last drill", out)
            cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('after', '', 0)")
            receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
            time.sleep(1)
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            time.sleep(1.2)
            cluster.sql("DELETE FROM settings WHERE name = 'after'")
            receiver.wait_for_position(cluster.sql("SELECT pg_switch_wal()", user="postgres"))
            time.sleep(2.5)
            receiver.stop()
        return moment

    def test_back_to_a_moment_and_the_lost_server(self):
        with self.postgres() as (cluster, sandbox, shell):
            moment = self.prepared(cluster, sandbox, shell)
            shell.paths["2026-01-13T10:00:00Z"] = moment
            for block in self.blocks("A table was emptied, a migration went wrong: back to a moment"):
                if "pg_ctl" in block:  # as postgres: into a directory that it may write to
                    shell.home.chmod(0o777)
                shell.run(block)
            self.assertIn("after", (shell.home / "missing.sql").read_text())
            shutil.rmtree(cluster.directory / "recovered")
            shell.run("systemctl start aragora")
            for block in self.blocks("The server or its disk is gone"):
                shell.run(block)
            self.assertIn("before", names(cluster))
            self.assertNotIn("after", names(cluster))

    def test_only_the_copy_elsewhere_and_the_recovery_key_are_left(self):
        with self.postgres() as (cluster, sandbox, shell):
            self.prepared(cluster, sandbox, shell)
            cluster.kill(children=True)
            cluster.wait_until_gone()
            shutil.rmtree(cluster.data)
            shutil.rmtree(sandbox.environment["ARAGORA_BACKUP_DIR"])
            del sandbox.environment["ARAGORA_ENCRYPTION_KEY"]
            block, = self.blocks("This machine is gone: only the copy elsewhere and the recovery key are left")
            shell.run(block)
            shutil.move(cluster.directory / "recovered", cluster.data)
            shell.run("systemctl start postgresql")
            self.assertIn("before", names(cluster))

    def test_a_dump_a_new_key_and_no_aragora_at_all(self):
        with self.postgres() as (cluster, sandbox, shell):
            self.prepared(cluster, sandbox, shell)
            dump, whole, sqlite = self.blocks("Without Aragora")
            shell.home.chmod(0o777)
            subprocess.run(["chmod", "-R", "a+rX", sandbox.environment["ARAGORA_BACKUP_DIR"], shell.home], check=True)
            # Each line as its user: what reads the backups need not be postgres, what writes the cluster must be.
            shell.run(dump)
            self.assertIn("before", cluster.sql("SELECT string_agg(name, ' ') FROM settings", user="postgres", database="new"))
            # The server runs restore_command in its data directory.
            whole = whole.replace("-i recovery.key /backups/wal", f"-i {shell.home}/recovery.key /backups/wal")
            if os.geteuid() == 0:
                cluster.directory.chmod(0o777)
                start = whole.splitlines()[-1]
                shell.run("\n".join(whole.splitlines()[:-1]))
                subprocess.run(["chown", "-R", "postgres", cluster.directory / "recovered"], check=True)
                shell.run(start)
            else:
                shell.run(whole)
            deadline = time.monotonic() + 30
            found = ""
            while time.monotonic() < deadline and shell.run("psql -p 5433 -qAtX -d aragora -c 'SELECT pg_is_in_recovery()'").strip() != "f":
                time.sleep(0.2)
            found = shell.run("psql -p 5433 -qAtX -d aragora -c \"SELECT string_agg(name, ' ') FROM settings\"")
            self.assertIn("before", found)
            self.assertNotIn("after", found, "the log was replayed, too")
            shell.run("pg_ctl -D /var/lib/postgresql/15/recovered -m fast -w stop")
            # Only a dump.
            cluster.sql("DELETE FROM settings WHERE name = 'before'")
            block, = self.blocks("Only a dump is left")
            shell.run(block)
            self.assertIn("before", names(cluster))
            # A new key.
            sandbox.environment.update(ARAGORA_ENCRYPTION_PREVIOUS_KEYS=sandbox.environment["ARAGORA_ENCRYPTION_KEY"], ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32))
            block, = self.blocks("A key leaked, or somebody left who knew it")
            shell.run(block)
            del sandbox.environment["ARAGORA_ENCRYPTION_PREVIOUS_KEYS"]
            sandbox.run("backup", "verify", "--level", "1", "--from", "offsite", check=0)

    def test_sqlite(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), ARAGORA_PORT=str(free_port()), ARAGORA_JWT_SECRET=secrets.token_urlsafe(48)) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            shell = Shell(sandbox)
            recipient = re.search("age1\\w+", shell.run("aragora backup keygen --out recovery.key"))[0]
            sandbox.environment["ARAGORA_BACKUP_RECIPIENTS"] = recipient
            sandbox.run("migrate", check=0)
            shell.run("systemctl start aragora")
            try:
                sandbox.run("backup", check=0)
                before = sqlite3.connect(sandbox.directory / "state/aragora.db").execute("SELECT count(*) FROM settings WHERE name <> 'database.epoch'").fetchone()
                with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database, database:
                    database.execute("INSERT INTO settings (name, value, updated_at) VALUES ('later', '', 0)")
                block, = self.blocks("The database is SQLite")
                shell.run(block)
                self.assertEqual(sqlite3.connect(sandbox.directory / "state/aragora.db").execute("SELECT count(*) FROM settings WHERE name <> 'database.epoch'").fetchone(), before)
                shell.run(self.blocks("Without Aragora")[2])
                self.assertEqual(sqlite3.connect(shell.home / "aragora.db").execute("PRAGMA integrity_check").fetchone(), ("ok",))
            finally:
                shell.run("systemctl stop aragora")

    def test_every_block_has_a_test(self):
        self.assertEqual(len(self.sections), 8)
        source = pathlib.Path(__file__).read_text()
        for title in self.sections:
            self.assertIn(f'self.blocks("{title}")', source)


if __name__ == "__main__":
    main()
