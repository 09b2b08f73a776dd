"""The table that scripts/bench prints, and its rows about commands, backups and recovery."""
import json
import os
import pathlib
import random
import re
import secrets
import shutil
import sqlite3
import statistics
import subprocess
import sys
import sysconfig
import time

from measure import ROUNDS, in_turn, row, rows, timed
import daemon_rows
import token_rows
import edge_rows
from recovery import Receiver
from support import BINARY, Cluster, Daemon, Sandbox, postgres_database

# npm: @flydotio/litestream-linux-x64; the rows say so when it is not there.
LITESTREAM = os.environ.get("LITESTREAM") or shutil.which("litestream")


def read_corpus():
    """Real text and code, as debates hold it: random words compress unlike anything that is written."""
    library = pathlib.Path(sysconfig.get_paths()["stdlib"])
    return "".join(path.read_text(errors="ignore") for path in sorted(library.rglob("*.py"))).replace("\0", "")


CORPUS = read_corpus()


def prose(size):
    start = random.randrange(len(CORPUS) - size)
    return CORPUS[start:start + size]


def bench_backup_sqlite():
    with Sandbox() as sandbox:
        sandbox.run("migrate", check=0)
        path = sandbox.directory / "state/aragora.db"
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE filler (id INTEGER PRIMARY KEY, body TEXT)")
            database.executemany("INSERT INTO filler (body) VALUES (?)", ((prose(2000),) for _ in range(110_000)))
        database.close()
        sandbox.run("backup", "--output", sandbox.directory / "warm", check=0)
        size = path.stat().st_size / 1e6
        copy = sandbox.directory / "peer.db"

        def ours():
            started = time.monotonic()
            sandbox.run("backup", "-q", "--output", sandbox.directory / "backups", check=0)
            return time.monotonic() - started

        def peer():
            copy.unlink(missing_ok=True)
            return timed("sh", "-c", f"sqlite3 {path} '.backup {copy}' && sync -f {copy}")

        def restic():
            repository = fresh("restic")
            environment = {**os.environ, "RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(sandbox.directory / "cache")}
            subprocess.run(["restic", "-q", "-r", repository, "init"], check=True, env=environment)
            return timed("sh", "-c", f"restic -q -r {repository} backup {path} && sync -f {repository}", env=environment)

        def borg():
            repository = fresh("borg")
            environment = {**os.environ, "BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": str(sandbox.directory)}
            subprocess.run(["borg", "init", "-e", "repokey-blake2", repository], check=True, env=environment, capture_output=True)
            return timed("sh", "-c", f"borg create --compression zstd,1 {repository}::one {path} && sync -f {repository}", env=environment)

        def litestream():
            replica = fresh("litestream")
            started = time.monotonic()
            process = subprocess.Popen([LITESTREAM, "replicate", path, f"file://{replica}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not list(replica.glob("generations/*/snapshots/*.snapshot.lz4")):
                if process.poll() is not None or time.monotonic() - started > 60:
                    raise AssertionError("litestream made no snapshot")
                time.sleep(0.01)
            seconds = time.monotonic() - started
            process.kill()
            process.wait()
            shutil.rmtree(path.with_name(f".{path.name}-litestream"), ignore_errors=True)
            return seconds

        def fresh(name):
            directory = sandbox.directory / name
            shutil.rmtree(directory, ignore_errors=True)
            return directory

        peers = {"restic": restic, "borg": borg, **({"litestream": litestream} if LITESTREAM else {})}
        mine, other, *others = in_turn(ours, peer, *peers.values())
        row(f"backup, SQLite {size:.0f} MB (encrypted, compressed)", f"{mine:.2f} s", f"sqlite3 .backup {other:.2f} s ({mine / other:.2f})", "<= 1.2 x", mine <= 1.2 * other)
        shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in zip(peers, others)) + ("" if LITESTREAM else ", litestream is not here")
        row("the same beside others", f"{mine:.2f} s", shown, "faster", all(mine < seconds for seconds in others))


def bench_backup_postgres():
    with postgres_database() as url, Sandbox(DATABASE_URL=url) as sandbox:
        sandbox.run("migrate", check=0)
        loader = subprocess.Popen(["psql", "-qX", url, "-c", "CREATE TABLE filler (id bigserial PRIMARY KEY, body text)", "-c", "COPY filler (body) FROM stdin"], stdin=subprocess.PIPE, text=True)
        for _ in range(90_000):
            loader.stdin.write(prose(2000).replace("\\", "/").replace("\n", "\\n").replace("\t", " ").replace("\r", " ") + "\n")
        loader.stdin.close()
        loader.wait()
        subprocess.run(["psql", "-qX", url, "-c", "VACUUM ANALYZE filler"], check=True)
        sandbox.run("backup", "--output", sandbox.directory / "warm", check=0)
        dump = sandbox.directory / "peer.dump"
        memory = []

        def ours():
            started = time.monotonic()
            result = subprocess.run(["/usr/bin/env", "time", "-f", "%M", __import__("support").BINARY, "backup", "-q", "--output", str(sandbox.directory / "backups")], env=sandbox.environment, capture_output=True, text=True) \
                if pathlib.Path("/usr/bin/time").exists() else sandbox.run("backup", "-q", "--output", sandbox.directory / "backups", check=0)
            if result.returncode != 0:
                raise AssertionError(result.stderr)
            if result.stderr.strip().isdigit():
                memory.append(int(result.stderr) / 1024)
            return time.monotonic() - started

        def peer():
            return timed("sh", "-c", f"pg_dump -Fc -f {dump} '{url}' && sync -f {dump}")

        mine, other = in_turn(ours, peer)
        stored = sum(p.stat().st_size for p in (sandbox.directory / "backups/latest/").iterdir()) / 1e6
        row("backup, PostgreSQL, 180 MB of text (encrypted, digests)", f"{mine:.2f} s, {stored:.0f} MB" + (f", {max(memory):.0f} MB memory" if memory else ""),
            f"pg_dump -Fc {other:.2f} s, {dump.stat().st_size / 1e6:.0f} MB ({mine / other:.2f})", "<= 0.35 x", mine <= 0.35 * other)


def bench_physical():
    """A cluster of 600 MB: half of it pgbench's, half of it text."""
    with Cluster(max_wal_size="2GB", max_slot_wal_keep_size="-1") as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
        sandbox.directory.chmod(0o755)
        sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
        sandbox.run("migrate", check=0)
        # Not among aragora's own tables: `verify` would say that they are not of this version.
        cluster.sql("CREATE SCHEMA site")
        site = {**os.environ, "PGOPTIONS": "-c search_path=site"}
        subprocess.run([cluster.BIN / "pgbench", "-i", "-q", "-s", "30", cluster.url], check=True, capture_output=True, env=site)
        loader = subprocess.Popen(["psql", "-qX", cluster.url, "-c", "CREATE TABLE filler (id bigserial PRIMARY KEY, body text)", "-c", "COPY filler (body) FROM stdin"], stdin=subprocess.PIPE, text=True, env=site)
        for _ in range(60_000):
            loader.stdin.write(prose(2000).replace("\\", "/").replace("\n", "\\n").replace("\t", " ").replace("\r", " ") + "\n")
        loader.stdin.close()
        loader.wait()
        cluster.sql("VACUUM ANALYZE")
        cluster.sql("CHECKPOINT", user="postgres")
        size = sum(p.stat().st_size for p in (cluster.data / "base").rglob("*") if p.is_file()) / 1e6
        repository = cluster.directory / "pgbackrest"
        repository.mkdir(mode=0o777)
        repository.chmod(0o777)
        configuration = cluster.directory / "pgbackrest.conf"
        configuration.write_text(f"[global]\nrepo1-path={repository}\nlog-path={repository}\nlock-path={repository}\ncompress-type=zst\ncompress-level=3\nprocess-max=2\nstart-fast=y\narchive-check=n\narchive-copy=n\n"
                                 f"log-level-console=off\nrepo1-retention-full=1\n[bench]\npg1-path={cluster.data}\npg1-port={cluster.port}\npg1-socket-path={cluster.directory}\n")
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
        pgbackrest = [*user, "pgbackrest", f"--config={configuration}", "--stanza=bench"]
        cluster.configure(archive_mode="on", archive_command="true")
        cluster.stop()
        cluster.start()
        subprocess.run([*pgbackrest, "stanza-create"], check=True, cwd="/", capture_output=True)
        sandbox.run("backup", "create", "--kind", "base", check=0)
        memory = []

        def ours():
            memory.append(peak_memory(sandbox, "backup", "create", "--kind", "base", "-q"))
            return memory[-1][1]

        def basebackup():
            target = cluster.directory / "peer"
            subprocess.run(["rm", "-rf", target], check=True)
            return timed(*user, cluster.BIN / "pg_basebackup", "-h", "127.0.0.1", "-p", cluster.port, "-U", "postgres", "-D", target, "-Ft", "-X", "fetch", "-c", "fast", "--compress=server-zstd:3", cwd="/")

        def pgbackrest_full():
            return timed(*pgbackrest, "backup", "--type=full", cwd="/")

        mine, plain, rest = in_turn(ours, basebackup, pgbackrest_full)
        row(f"base backup, {size:.0f} MB cluster (encrypted)", f"{mine:.2f} s, {max(m for m, _ in memory):.0f} MB memory", f"pg_basebackup server-zstd {plain:.2f} s ({mine / plain:.2f})", "<= 1.15 x, < 64 MB", mine <= 1.15 * plain and max(m for m, _ in memory) < 64)
        row("base backup, the same", f"{mine:.2f} s", f"pgBackRest full, unencrypted {rest:.2f} s ({mine / rest:.2f})", "<= 0.5 x", mine <= 0.5 * rest)
        with Receiver(sandbox) as receiver:
            sandbox.run("backup", "create", "--kind", "base", check=0)
            subprocess.run([cluster.BIN / "pgbench", "-n", "-c", "4", "-T", "5", cluster.url], check=True, capture_output=True, env=site)
            receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
            peak = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{receiver.process.pid}/status").read_text())[1]) / 1024
            row("receiver of the log under pgbench, 4 clients", f"{peak:.0f} MB memory", "", "< 64 MB", peak < 64)
            drill = sandbox.run_json("drill")
            if not drill["recovered"]:
                raise AssertionError(json.dumps(drill["steps"], indent=1))
            row("drill of that cluster (physical)", f"RTO {drill['rto_seconds']:.1f} s, RPO {drill['rpo_seconds']:.1f} s", "", "RTO < 15 s", drill["passed"] and drill["rto_seconds"] < 15)
            receiver.stop()

        def restore():
            target = sandbox.directory / "recovered"
            subprocess.run(["rm", "-rf", target], check=True)
            text = sandbox.run("restore", "--latest", "--to", target, check=0).stdout
            return float(re.search(r"unpacked in ([\d.]+) s", text)[1]), float(re.search(r"\(([\d.]+) s: unpacked", text)[1])

        def pgbackrest_restore():
            target = cluster.directory / "restored"
            subprocess.run(["rm", "-rf", target], check=True)
            target.mkdir(mode=0o700)
            if os.geteuid() == 0:
                shutil.chown(target, "postgres")
            return timed(*pgbackrest, f"--pg1-path={target}", "--type=none", "restore", cwd="/")

        (unpacked, whole), other = in_turn(restore, pgbackrest_restore)
        row("physical restore, files on disk", f"{unpacked:.2f} s (with digests; {whole:.2f} s with the log replayed and promoted)", f"pgBackRest restore {other:.2f} s ({unpacked / other:.2f})", "<= 0.6 x", unpacked <= 0.6 * other)


def peak_memory(sandbox, *arguments):
    """MB and seconds of one command."""
    started = time.monotonic()
    result = subprocess.run(["/usr/bin/time", "-f", "%M", BINARY, *arguments], env=sandbox.environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return int(result.stderr.split()[-1]) / 1024, time.monotonic() - started


def bench_commands():
    with Sandbox() as sandbox:
        ready = []
        for _ in range(ROUNDS + 1):
            with Daemon(sandbox) as daemon:
                ready.append(daemon.ready_after)
        row("start to ready, SQLite (first start migrates)", f"{statistics.median(ready[1:]) * 1000:.0f} ms, first {ready[0] * 1000:.0f} ms", "", "200 ms", statistics.median(ready) < 0.2)

        def command(*arguments):
            times = []
            for _ in range(10):
                started = time.monotonic()
                sandbox.run(*arguments)
                times.append(time.monotonic() - started)
            return statistics.median(times) * 1000

        offline = command("validate-env", "--offline")
        row("validate-env --offline", f"{offline:.0f} ms", "", "50 ms", offline < 50)
        status = command("migrate", "status")
        row("migrate status, SQLite", f"{status:.0f} ms", "", "50 ms", status < 50)
    with postgres_database() as url, Sandbox(DATABASE_URL=url) as sandbox:
        sandbox.run("migrate", check=0)
        times = []
        for _ in range(10):
            started = time.monotonic()
            sandbox.run("migrate", "status", check=0)
            times.append(time.monotonic() - started)
        status = statistics.median(times) * 1000
        row("migrate status, PostgreSQL", f"{status:.0f} ms", "", "50 ms", status < 50)


PARTS = {"commands": bench_commands, **daemon_rows.PARTS, **token_rows.PARTS, **edge_rows.PARTS,
         "backup-sqlite": bench_backup_sqlite, "backup-postgres": bench_backup_postgres, "physical": bench_physical}


if __name__ == "__main__":
    random.seed(1)
    for name in sys.argv[1:] or PARTS:
        print(name, flush=True)
        PARTS[name]()
    print("\n| what | aragora | peer, same run | target | |\n|---|---|---|---|---|")
    for entry in rows:
        print("| " + " | ".join(entry) + " |")
