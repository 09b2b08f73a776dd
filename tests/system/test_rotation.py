"""docs/runbooks/rotation.md, typed as it stands beside a running daemon: debates, audit entries, second factors, API keys, recovery
codes, backups here and in a bucket, made before and after. What is said to be next is the next block, at the end the old key is gone
and nothing misses it; and it is never said that it may go while something needs it."""
import contextlib
import json
import os
import pathlib
import random
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest
import urllib.parse

import s3_store
from accounts import AccountTests
from runbooks import Book, RunbookTests
from support import BINARY, Daemon, Sandbox, clock_at, free_port, main, postgres_database, strong_secret
from test_totp import code, settle

SYSTEMCTL = r"""#!/bin/bash
# What the runbook asks of systemd: the daemon, and a receiver that is not there.
set -e
case "$1 $2" in
*" aragora-wal") exit 0 ;;
"stop aragora"|"restart aragora")
  if [ -e "$ROOM/pid" ]; then kill "$(cat "$ROOM/pid")"; while kill -0 "$(cat "$ROOM/pid")" 2>/dev/null; do sleep 0.02; done; rm "$ROOM/pid"; fi ;;
esac
case "$1 $2" in
"start aragora"|"restart aragora")
  setsid aragora serve >>"$ROOM/serve.log" 2>&1 </dev/null & echo $! >"$ROOM/pid"
  for _ in $(seq 1000); do
    kill -0 "$(cat "$ROOM/pid")" || { tail -5 "$ROOM/serve.log" >&2; exit 1; }
    (exec 3<>"/dev/tcp/127.0.0.1/$PORT" && printf 'GET /api/ready HTTP/1.0\r\n\r\n' >&3 && head -1 <&3 | grep -q ' 200') 2>/dev/null && exit 0
    sleep 0.02
  done
  exit 1 ;;
esac
"""


class Room:
    """A machine's /etc/aragora for the commands that are typed here, in a mount namespace of its own."""

    def __init__(self, directory):
        self.directory, self.port = directory, free_port()
        for name in ("etc", "bin"):
            (directory / name).mkdir()
        (directory / "bin/aragora").symlink_to(BINARY)
        (directory / "bin/systemctl").write_text(SYSTEMCTL)
        (directory / "bin/systemctl").chmod(0o755)
        mounts = 'mount -t tmpfs etc /mnt && mkdir /mnt/upper /mnt/work && mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work etc /etc && rm -rf /etc/aragora && mkdir /etc/aragora && mount --bind "$1/etc" /etc/aragora && echo ready && exec sleep 1800'
        self.holder = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", mounts, "room", str(directory)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n", "needs root: a file system of our own could not be mounted"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.directory / "pid").read_text()), signal.SIGKILL)
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()

    @property
    def prefix(self):
        return ["nsenter", "-t", str(self.holder.pid), "-m"]

    @property
    def environment(self):
        return {"PATH": f"{self.directory}/bin:{os.environ['PATH']}", "HOME": str(self.directory), "ROOM": str(self.directory), "PORT": str(self.port)}

    def type(self, text, check=0, **environment):
        result = subprocess.run([*self.prefix, "bash", "-e", "-c", text], env={**self.environment, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, cwd=self.directory)
        if check is not None and result.returncode != check:
            raise AssertionError(f"{text}\nexit {result.returncode}, not {check}\n{result.stdout}\n{result.stderr}\n{(self.directory / 'serve.log').read_text()[-2000:] if (self.directory / 'serve.log').exists() else ''}")
        return result.stdout + result.stderr

    def json(self, command, check=0):
        return json.loads(subprocess.run([*self.prefix, "aragora", *command.split(), "--json"], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False).stdout) if check is None else self.checked(command, check)

    def checked(self, command, check):
        result = subprocess.run([*self.prefix, "aragora", *command.split(), "--json"], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240)
        assert result.returncode == check, f"{command}: exit {result.returncode}, not {check}\n{result.stdout}\n{result.stderr}"
        return json.loads(result.stdout)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


class Rotation(RunbookTests, AccountTests):
    book = Book("rotation.md", without=["A secret leaked"])  # test_incidents
    books = [book]

    def block(self, room, title, number, **environment):
        return self.book.type(lambda text, user, **more: room.type(text, **more), title, [number], **environment)

    def configure(self, room, store, url):
        credentials = room.directory / "etc/credentials"
        credentials.mkdir(mode=0o750)
        values = {"ARAGORA_ENCRYPTION_KEY": strong_secret(), "JWT_SECRET": strong_secret(), "ARAGORA_API_TOKEN": strong_secret(), "ARAGORA_METRICS_TOKEN": strong_secret(), "S3": s3_store.SECRET_KEY, **({"DATABASE_URL": url} if url else {})}
        for name, value in values.items():
            (credentials / name).write_text(value + "\n")
            (credentials / name).chmod(0o640)
        named = lambda setting, name: f'{setting}_file = "/etc/aragora/credentials/{name}"\n'
        there = store.environment
        (room.directory / "etc/aragora.toml").write_text(
            f'[server]\nport = {room.port}\nstate_directory = "{room.directory}/state"\nrate_limit = 0\n'
            "[auth]\n" + named("jwt_secret", "JWT_SECRET") + named("api_token", "ARAGORA_API_TOKEN") + "[metrics]\n" + named("token", "ARAGORA_METRICS_TOKEN")
            + "[encryption]\n" + named("key", "ARAGORA_ENCRYPTION_KEY") + ("[database]\n" + named("url", "DATABASE_URL") if url else "")
            + f'[backup]\ndirectory = "{room.directory}/backups"\nrecipients = []\noffsite = "{there["ARAGORA_OFFSITE"]}"\noffsite_endpoint = "{there["ARAGORA_OFFSITE_ENDPOINT"]}"\noffsite_region = "{there["ARAGORA_OFFSITE_REGION"]}"\n'
            + f'offsite_access_key = "{there["ARAGORA_OFFSITE_ACCESS_KEY"]}"\n' + named("offsite_secret_key", "S3"))
        return values

    @contextlib.contextmanager
    def deployment(self, postgres):
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(postgres_database()) if postgres else None
            sandbox = stack.enter_context(Sandbox())
            store = stack.enter_context(s3_store.Store())
            room = stack.enter_context(Room(sandbox.directory))
            values = self.configure(room, store, url)
            room.type("aragora migrate")
            daemon = Daemon.__new__(Daemon)  # what is started by systemctl, with the ways to ask it
            daemon.port = room.port
            room.type("systemctl start aragora")
            yield room, store, daemon, values

    def person(self, room, daemon, email, role="member"):
        """With a second factor, an API key and recovery codes."""
        password = room.type(f"aragora user add {email} --role {role} 2>/dev/null").strip().splitlines()[-1]
        login = daemon.post("/api/auth/login", {"email": email, "password": password})[1]
        secret = daemon.post("/api/auth/mfa/setup", {"password": password}, **bearer(login["access_token"]))[1]["secret"]
        now = settle()
        recovery = daemon.post("/api/auth/mfa/enable", {"code": code(secret, now - 1)}, **bearer(login["access_token"]))[1]["backup_codes"]
        key = daemon.post("/api/auth/api-keys", {"password": password}, **bearer(login["access_token"]))[1]["key"]
        return {"email": email, "password": password, "secret": secret, "recovery": recovery, "key": key, "access": login["access_token"], "refresh": login["refresh_token"]}

    def debate(self, daemon, who):
        status, made = daemon.post("/api/debates", {"task": "kept", "rounds": 0}, **bearer(who["key"]))
        self.assertEqual(status, 200, made)
        deadline = time.monotonic() + 30
        while daemon.get(f"/api/debates/{made['debate_id']}", **bearer(who["key"]))[1]["status"] not in ("completed", "failed"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        return made["debate_id"]

    def works(self, daemon, who, debates):
        """The API key, a recovery code, the second factor, the debates."""
        for debate in debates:
            self.assertEqual(daemon.get(f"/api/debates/{debate}", **bearer(who["key"]))[0], 200)
        status, answer = daemon.post("/api/auth/login", {"email": who["email"], "password": who["password"], "mfa_code": who["recovery"].pop()})
        self.assertEqual((status, "access_token" in answer), (200, True), answer)
        pending = daemon.post("/api/auth/login", {"email": who["email"], "password": who["password"]})[1]["pending_token"]
        self.assertEqual(daemon.post("/api/auth/mfa/verify", {"pending_token": pending, "code": "000000x"})[0], 401)

    def old_may(self, room, old, expected, check=0):
        state = room.checked("key status", check)
        self.assertEqual(state["keys"][old]["may_go"], expected, state)
        return state

    def says_next(self, room, state, said):
        """In one voice: key status, verify, validate-env."""
        self.assertIn(said, state["next"])
        self.assertIn(said, room.type("aragora key status"))
        self.assertIn(said, room.type("aragora verify", check=None))
        self.assertIn(said, room.type("aragora validate-env --only key_steps", check=None))

    def killed(self, room, command, times=12):
        """At any moment; what was there opens under one key or the other."""
        dice = random.Random(20261127)
        for number in range(times):
            process = subprocess.Popen([*room.prefix, "aragora", *command.split()], env=room.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(dice.uniform(0, 0.12))
            process.kill()
            process.wait()
            if number % 4 == 3:
                room.type("aragora verify --quiet")

    def walk(self, postgres):
        title = "The encryption key"
        with self.deployment(postgres) as (room, store, daemon, values):
            first, second = self.person(room, daemon, "ada@example.org", "admin"), self.person(room, daemon, "eve@example.org")
            debates = [self.debate(daemon, first) for _ in range(3)]
            # Of two months ago, by the clock of then.
            store.own_clock = False
            for kind in ("full", "configuration", "artifacts"):
                room.type(f"aragora backup create --kind {kind}", **clock_at("-60d"))
            room.type("aragora backup verify --every-kind", **clock_at("-60d"))
            store.own_clock = True
            room.type("aragora drill", check=1)  # it passes, but for what two months would lose
            old = self.block(room, title, 0) and room.checked("key status", 0)["active"]
            before = (room.directory / "etc/credentials/ARAGORA_ENCRYPTION_KEY").read_text()

            self.block(room, title, 1)
            new = room.checked("key status", 0)["active"]
            self.assertNotEqual(old, new)
            self.assertEqual((room.directory / "etc/credentials/ARAGORA_ENCRYPTION_PREVIOUS_KEYS").read_text(), before)
            self.says_next(room, self.old_may(room, old, False), self.only_command(title, 2))
            self.works(daemon, first, debates)
            debates.append(self.debate(daemon, second))

            self.killed(room, "key rotate")
            self.block(room, title, 2)
            self.assertEqual(room.checked("key rotate", 0)["second_factors"], 0)
            state = self.old_may(room, old, False)
            self.says_next(room, state, self.only_command(title, 4))
            self.assertEqual(set(state["use"]["second factors"]), {new})
            self.assertGreater(state["signed_before"]["audit entries"][old], 0)
            self.assertIn("stays so", room.type("aragora key status"))

            self.block(room, title, 3)
            self.killed(room, "backup rekey")
            self.block(room, title, 4)
            self.block(room, title, 5)
            self.says_next(room, self.old_may(room, old, False), self.only_command(title, 6))

            # The place elsewhere does not answer: nothing is said of it.
            store.faults.append(s3_store.Fault(403, times=10_000))
            state = self.old_may(room, old, False)
            self.assertTrue(state["elsewhere_unknown"])
            store.faults.clear()
            self.killed(room, "backup copy --again", times=4)
            self.block(room, title, 6)
            state = self.old_may(room, old, False)
            self.says_next(room, state, f"keep the key {old} until retention")
            self.says_next(room, state, "aragora backup create")
            self.assertEqual({what: by_key.get(old) for what, by_key in state["use"].items() if old in by_key}, {"backups with data of its time": 1})

            self.block(room, title, 7)
            self.old_may(room, old, False)
            # Two months in which nothing was written down are not believed without a word from somebody: the line to type is said.
            asked = room.type("aragora backup prune", check=1)
            room.type(re.search(r"aragora backup prune --yes-remove \d+", asked)[0])
            self.block(room, title, 8)
            state = self.old_may(room, old, True)
            self.says_next(room, state, f"take the key {old} out of ARAGORA_ENCRYPTION_PREVIOUS_KEYS")
            self.works(daemon, first, debates)

            # It goes, and nothing misses it.
            self.block(room, title, 9)
            self.block(room, title, 10)
            state = room.checked("key status", 0)
            self.assertEqual((set(state["keys"]), state["next"]), ({new}, ""))
            self.assertNotIn("key rotation", room.type("aragora verify"))
            self.assertIn("chain holds", room.type("aragora audit verify"))
            self.works(daemon, first, debates)
            self.works(daemon, second, debates)
            debates.append(self.debate(daemon, second))
            listed = room.checked("drill list", 0)
            self.assertTrue(all(one.get("authentic", True) for one in listed.get("drills", [])), listed)
            status = room.json("backup status", check=None)
            self.assertNotIn("signature does not hold", json.dumps(status))
            self.assertNotIn("is not known", json.dumps(status))
            # A backup of now, restored in the place of the database; and one that was made under the old key is gone.
            room.type("aragora backup create; aragora backup verify")
            room.type("systemctl stop aragora; aragora restore --input latest --yes --verify; systemctl start aragora")
            room.type("aragora verify")
            self.works(daemon, first, debates)
            self.assertNotIn(before.strip(), room.type("grep -rs '' /etc/aragora || true"))

    def only_command(self, title, number):
        """The one line of a block that changes something."""
        return next(line for line in self.book.sections[title][number].text.splitlines() if line.startswith("aragora ") and "status" not in line)

    def test_the_encryption_key_with_sqlite(self):
        self.walk(postgres=False)

    def test_the_encryption_key_with_postgresql(self):
        self.walk(postgres=True)

    def test_jwt_secret_tokens_and_the_recovery_key(self):
        with self.deployment(postgres=False) as (room, store, daemon, values):
            who = self.person(room, daemon, "ada@example.org", "admin")
            me = lambda token: daemon.get("/api/auth/me", **bearer(token))[0]
            title = "JWT_SECRET"
            self.block(room, title, 0)
            self.assertEqual(me(who["access"]), 200)
            said = room.type("aragora validate-env --only jwt_secret", check=None)
            self.assertIn("take it away 24 hours after", said)
            fresh = daemon.post("/api/auth/refresh", {"refresh_token": who["refresh"]})[1]
            self.block(room, title, 1)
            self.assertEqual([me(who["access"]), me(fresh["access_token"])], [401, 200])
            self.assertFalse((room.directory / "etc/credentials/JWT_SECRET_PREVIOUS").exists())

            token = lambda name: (room.directory / "etc/credentials" / name).read_text().strip()
            before = {name: token(name) for name in ("ARAGORA_API_TOKEN", "ARAGORA_METRICS_TOKEN")}
            self.block(room, "API token and metrics token", 0)
            for name, path in (("ARAGORA_API_TOKEN", "/api/debates"), ("ARAGORA_METRICS_TOKEN", "/metrics")):
                ask = lambda value: daemon.request("GET", path, headers=bearer(value))[0]
                self.assertEqual([ask(before[name]), ask(token(name))], [401, 200], name)

            title = "The recovery key of backups"
            room.type("aragora backup create")
            here = lambda text, user, **more: room.type(text.replace("/root/recovery.key", f"{room.directory}/recovery.key"), **more)  # /root is this machine's
            self.book.type(here, title, [0])
            recipient = re.search("age1\\w+", (room.directory / "recovery.key").read_text())[0]
            self.block(room, title, 1)
            self.block(room, title, 2)
            for text in [path.read_text() for path in (room.directory / "backups").glob("*/2*/manifest.json")] + [body.decode() for name, body in store.objects.items() if name.endswith("manifest.json")]:
                self.assertIn(recipient, text)
            room.type(f"age -d -i {room.directory}/recovery.key {room.directory}/backups/latest/db.sqlite.zst.age | zstd -dq >{room.directory}/opened")
            self.assertEqual((room.directory / "opened").read_bytes()[:15], b"SQLite format 3")


if __name__ == "__main__":
    main()
