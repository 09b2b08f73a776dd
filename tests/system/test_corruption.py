"""A thousand random corruptions of everything that is stored: each is found by `backup verify` and refused by `restore`
before anything is touched. CORRUPTIONS sets how many (default 1000), CORRUPTION_SEED which."""
import contextlib
import hashlib
import json
import os
import pathlib
import random
import secrets
import shutil
import sqlite3
import subprocess
import tempfile
import time
import unittest

from recovery import Receiver, deployment
from support import BINARY, Sandbox, main

COUNT = int(os.environ.get("CORRUPTIONS", "1000"))
SEED = int(os.environ.get("CORRUPTION_SEED", "7"))


class Artefact:
    """Files that stand for one thing, the commands that must find damage in them, and older ones of their kind."""

    def __init__(self, files, verify, restore, older=(), removable=True):
        self.files, self.verify, self.restore, self.older, self.removable = files, verify, restore, older, removable


def flip(content, chance):
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1:]


def edited(content, chance):
    """Another value somewhere in the JSON, still JSON."""
    lines = content.decode().splitlines(keepends=True)
    document = json.loads(lines[0]) if len(lines) == 2 else json.loads(content)

    def places(value, path=()):
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from places(inner, (*path, key))
        elif isinstance(value, list):
            for key, inner in enumerate(value):
                yield from places(inner, (*path, key))
        elif isinstance(value, (int, str)):
            yield path, value

    path, value = chance.choice(list(places(document)))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value + 1 if isinstance(value, int) else (value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x")
    return (json.dumps(document) + "\n" + lines[1]).encode() if len(lines) == 2 else (json.dumps(document, indent=2) + "\n").encode()


def corrupt(artefact, chance):
    """Changes files; answers what was done."""
    kind = chance.choice(["flip", "flip", "truncate", "append", "remove", "swap", "edit", "rollback"])
    file = chance.choice(artefact.files)
    content = file.read_bytes()
    if kind == "remove" and not artefact.removable:
        kind = "flip"
    if kind in ("swap", "rollback") and not artefact.older:
        kind = "truncate"
    if kind == "edit":
        described = [f for f in artefact.files if f.suffix == ".json"]
        file = chance.choice(described)
        changed = edited(file.read_bytes(), chance)
        file.write_bytes(changed)
    elif kind == "flip":
        file.write_bytes(flip(content, chance))
    elif kind == "truncate":
        file.write_bytes(content[:chance.randrange(len(content))])
    elif kind == "append":
        file.write_bytes(content + chance.randbytes(chance.choice([1, 16, 4096])))
    elif kind == "remove":
        file.unlink()
    elif kind == "swap":  # one file of another one's place
        other = next(f for f in chance.choice(artefact.older) if f.name.split(".", 1)[1] == file.name.split(".", 1)[1])
        if other.read_bytes() == content:
            file.write_bytes(flip(content, chance))
        else:
            file.write_bytes(other.read_bytes())
    elif kind == "rollback":  # all of an older one, under this one's name
        older = chance.choice(artefact.older)
        for mine in artefact.files:
            theirs = next(f for f in older if f.name.split(".", 1)[1] == mine.name.split(".", 1)[1])
            mine.write_bytes(theirs.read_bytes())
    return f"{kind} {file.name}"


class Campaign(unittest.TestCase):
    def run_campaign(self, sandbox, artefacts, count, untouched):
        chance = random.Random(SEED)
        done = {}
        for number in range(count):
            name, artefact = chance.choice(sorted(artefacts.items()))
            kept = {file: file.read_bytes() for file in artefact.files}
            before = untouched()
            what = corrupt(artefact, chance)
            verify = sandbox.run(*artefact.verify)
            self.assertEqual(verify.returncode, 65, f"{number}: {what} of {name} was not found: {verify.stdout}{verify.stderr}")
            if artefact.restore:
                restore = sandbox.run(*artefact.restore)
                self.assertIn(restore.returncode, (65, 66), f"{number}: {what} of {name} was restored: {restore.stdout}{restore.stderr}")
                self.assertEqual(untouched(), before, f"{number}: {what} of {name}: something was touched")
            for file, content in kept.items():
                if not file.exists() or file.read_bytes() != content:
                    file.write_bytes(content)
            done[what.split()[0]] = done.get(what.split()[0], 0) + 1
        print(f"{sum(done.values())} corruptions, all found and refused: {done}", flush=True)
        self.assertEqual(len(done), 7)
        for artefact in artefacts.values():
            sandbox.run(*artefact.verify, check=0)

    def files(self, directory):
        return sorted(f for f in directory.iterdir() if f.is_file())

    def test_of_a_sqlite_deployment(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            backups, live = sandbox.directory / "backups", sandbox.directory / "state/aragora.db"
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(backups)
            sandbox.run("migrate", check=0)
            for rounds in range(3):
                for kind in ("full", "configuration", "artifacts"):
                    sandbox.run("backup", "create", "--kind", kind, check=0, ARAGORA_MAX_ROUNDS=str(5 + rounds))
                with contextlib.closing(sqlite3.connect(live)) as database, database:
                    database.execute("INSERT INTO settings (name, value, updated_at) VALUES (?, hex(randomblob(2000)), 0)", (f"k{rounds}",))
            process = subprocess.Popen([BINARY, "backup", "run", "--interval", "1"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for number in range(100):
                time.sleep(0.3)
                with contextlib.closing(sqlite3.connect(live, timeout=10)) as database, database:
                    database.execute("INSERT INTO settings (name, value, updated_at) VALUES (?, hex(randomblob(2000)), 0)", (f"i{number}",))
                if len(list(backups.glob("increments/*/*.json"))) >= 4:
                    break
            process.kill()
            process.wait()
            artefacts = {}
            for kind in ("full", "configuration", "artifacts"):
                made = sorted(d for d in (backups / kind).iterdir() if not d.name.startswith("."))
                older = [self.files(d) for d in made[:-1]]
                id = made[-1].name
                restore = ("restore", "--yes", "--input", id) if kind == "full" else None
                artefacts[kind] = Artefact(self.files(made[-1]), ("backup", "verify", "--level", "0", "--input", id), restore, older)
            full = max(d.name for d in (backups / "increments").iterdir())
            records = sorted((backups / "increments" / full).glob("*.json"))
            pair = lambda record: [record, record.with_name(record.name.replace(".json", ".pages.zst.age"))]
            # The last one that is missing looks like one that was never made, so it is not removed.
            for number, record in enumerate(records):
                artefacts[f"increment {number + 1}"] = Artefact(pair(record), ("backup", "verify", "--level", "0", "--input", full), ("restore", "--yes", "--input", full, "--latest"),
                                                                [pair(other) for other in records[:number]], removable=record != records[-1])
            self.run_campaign(sandbox, artefacts, COUNT * 7 // 10, lambda: (hashlib.sha256(live.read_bytes()).hexdigest(), sorted(p.name for p in live.parent.iterdir())))

    def test_of_a_postgres_deployment(self):
        with deployment() as (cluster, sandbox):
            sandbox.environment["ARAGORA_ENCRYPTION_KEY"] = secrets.token_hex(32)
            backups = sandbox.directory / "backups"
            for kind in ("full", "full", "base", "base"):
                sandbox.run("backup", "create", "--kind", kind, check=0)
            base = max(d.name for d in (backups / "base").iterdir() if not d.name.startswith("."))
            with Receiver(sandbox) as receiver:
                for number in range(6):
                    cluster.sql(f"INSERT INTO settings (name, value, updated_at) VALUES ('w{number}', '', 0)")
                    end = cluster.sql("SELECT pg_switch_wal()", user="postgres")
                receiver.wait_for_position(end)
                self.assertEqual(receiver.stop(), 0)
            to = sandbox.directory / "recovered"
            artefacts = {}
            for kind, restore in (("full", ("restore", "--to", "not_this_one", "--input")), ("base", ("restore", "--latest", "--to", to, "--input"))):
                made = sorted(d for d in (backups / kind).iterdir() if not d.name.startswith("."))
                artefacts[kind] = Artefact(self.files(made[-1]), ("backup", "verify", "--level", "0", "--input", made[-1].name), (*restore, made[-1].name), [self.files(made[0])])
            manifest = json.loads((backups / "base" / base / "manifest.json").read_text())["physical"]
            stop = int(manifest["stop_lsn"].split("/")[1], 16)
            sealed = sorted(f for f in (backups / "wal/00000001").glob("*.zst.age") if int(f.name[16:24], 16) * (16 << 20) >= stop)
            self.assertGreaterEqual(len(sealed), 4)
            pair = lambda segment: [segment.with_name(segment.name.replace(".zst.age", ".json")), segment]
            for number, segment in enumerate(sealed):
                artefacts[f"log {segment.name[:24]}"] = Artefact(pair(segment), ("backup", "verify", "--level", "0", "--input", base), ("restore", "--latest", "--input", base, "--to", to),
                                                                 [pair(other) for other in sealed[:number]], removable=segment != sealed[-1])
            databases = lambda: (cluster.sql("SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database"), to.exists())
            self.run_campaign(sandbox, artefacts, COUNT * 3 // 10, databases)


if __name__ == "__main__":
    tempfile.tempdir = "/dev/shm"
    main()
