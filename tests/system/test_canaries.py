"""Secrets that were planted, through every command there is, what can go wrong, the log at its most talkative and a crash: none is found
where people or programs look, in any form that it may take. The list of commands is the binary's own, the list of secrets the
catalogue's, so that those of tomorrow are held to it, too."""
import base64
import contextlib
import json
import os
import pathlib
import re
import resource
import secrets
import signal
import subprocess
import time
import unittest
import urllib.parse

import s3_store
from accounts import AccountTests
from receivers import Receiver
from support import BINARY, Authority, Cluster, Daemon, RedisServer, Sandbox, free_port, main, production_environment, strong_secret
from test_every_command import COMMANDS, UNTIL_STOPPED
from test_provider import Endpoint
from test_totp import code, settle

# What a command is there to print, and nothing else of it.
PRINTS = {("key", "backup-identity"): {"age identity"}, ("key", "backup-writer"): {"backup writer key"}}
PROGRAMS = ("pg_dump", "pg_restore", "pg_basebackup", "pg_verifybackup", "psql", "pg_ctl", "postgres")


def forms(value):
    """How a secret may stand in a text: as it is, in hexadecimal, in an address, in base 64 wherever it begins there."""
    raw = value if isinstance(value, bytes) else value.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), urllib.parse.quote(raw, safe="").encode(), urllib.parse.quote(raw, safe="").lower().encode(), json.dumps(raw.decode(errors="replace"))[1:-1].encode()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            text = encode(b"\0" * before + raw).rstrip(b"=")
            # The characters at either end are of the neighbours, too.
            found.add(text[(0, 2, 3)[before]:-1])
    return {form for form in found if len(form) >= 8}


class Canaries:
    def __init__(self):
        self.planted, self.needles = {}, {}

    def plant(self, name, value, *more):
        self.planted[name] = value
        self.needles[name] = set().union(*(forms(one) for one in (value, *more)))
        return value

    def found(self, data, allowed=()):
        data = data.encode(errors="surrogateescape") if isinstance(data, str) else data
        return {name for name, needles in self.needles.items() if name not in allowed and any(needle in data for needle in needles)}

    def found_below(self, directory, but=()):
        found = {}
        for path in pathlib.Path(directory).rglob("*"):
            if path.is_file() and not path.is_symlink() and not any(part in but for part in path.relative_to(directory).parts):
                if names := self.found(path.read_bytes()):
                    found[str(path)] = names
        return found


def password():
    """What has to be written otherwise in an address, in JSON and in base 64."""
    return "p@ss/" + secrets.token_hex(8) + "+q:" + secrets.token_urlsafe(8) + "=%7"


class TheScannerBites(unittest.TestCase):
    def test_every_form_is_found(self):
        canaries = Canaries()
        value = canaries.plant("one", password())
        canaries.plant("another", strong_secret())
        for text in (value, f"x{value}y", value.encode().hex(), value.encode().hex().upper(), f"postgresql://u:{urllib.parse.quote(value, safe='')}@h/d", json.dumps({"a": value}),
                     *(base64.b64encode(f"{'u' * size}:{value}{'v' * after}".encode()).decode() for size in range(6) for after in range(4)),
                     *(base64.urlsafe_b64encode(f"{'u' * size}{value}".encode()).decode() for size in range(3))):
            self.assertEqual(canaries.found("some text " + text + " and more"), {"one"}, text)
        for text in ("", value[:-9], secrets.token_hex(64)):
            self.assertEqual(canaries.found(text), set())

    def test_a_core_would_be_seen(self):
        """What would be dumped of a program that does nothing against it."""
        with Sandbox() as sandbox:
            value = strong_secret()
            status = crash(["sleep", "60"], {**sandbox.environment, "CANARY": value}, sandbox.directory, lambda _: True, signal.SIGSEGV)
            self.assertTrue(os.WCOREDUMP(status), "this machine writes no cores: nothing is proved by there being none")
            cores = [path for path in sandbox.directory.iterdir() if "core" in path.name]
            if cores:
                self.assertIn(value.encode(), cores[0].read_bytes())


def crash(arguments, environment, directory, ready, by):
    """The status with which it died, where cores are welcome."""
    child = os.fork()
    if child == 0:
        try:
            os.chdir(directory)
            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
            with open(directory / "crash.log", "wb") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            os.execvpe(arguments[0], arguments, environment)
        finally:
            os._exit(99)
    try:
        deadline = time.monotonic() + 20
        while not (pathlib.Path(f"/proc/{child}/comm").read_text().strip() == pathlib.Path(arguments[0]).name[:15] and ready(child)):
            assert time.monotonic() < deadline, (directory / "crash.log").read_text()
            time.sleep(0.02)
        os.kill(child, by)
    finally:
        status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == by, status
    return status


class Deployment(AccountTests):
    """PostgreSQL, Redis, a bucket and a provider, each with a secret of its own, and people with theirs."""

    @classmethod
    def setUpClass(cls):
        with contextlib.ExitStack() as stack:
            cls.canaries = Canaries()
            plant = cls.canaries.plant
            cls.s3_secret, s3_store.SECRET_KEY = s3_store.SECRET_KEY, plant("S3 secret", secrets.token_urlsafe(30))
            stack.callback(setattr, s3_store, "SECRET_KEY", cls.s3_secret)
            cls.cluster = stack.enter_context(Cluster(wal_level="replica", password_encryption="scram-sha-256"))
            # So that it is spelled nowhere as a whole but where it is planted.
            cls.database_password = plant("database password", password())
            cls.cluster.sql(f"ALTER ROLE aragora PASSWORD '{cls.database_password}'", user="postgres", database="postgres")
            (cls.cluster.data / "pg_hba.conf").write_text("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n")
            cls.cluster.sql("SELECT pg_reload_conf()", user="postgres", database="postgres")
            cls.redis = stack.enter_context(RedisServer(password=plant("Redis password", secrets.token_urlsafe(24))))
            cls.store = stack.enter_context(s3_store.Store())
            cls.provider = stack.enter_context(Endpoint(lambda number, body: (401, {}, json.dumps({"error": {"message": f"{cls.canaries.planted['OpenAI key']} is wrong"}}).encode())))
            cls.receiver = stack.enter_context(Receiver())
            cls.authority = stack.enter_context(Authority())
            plant("TLS key", "".join(cls.authority.key.read_text().splitlines()[1:-1]), cls.authority.key.read_text().splitlines()[1])
            cls.sandbox = stack.enter_context(Sandbox())
            cls.environment = cls.environment_with(plant)
            cls.sandbox.environment.update(cls.environment)
            cls.make_people(plant)
            cls.stack = stack.pop_all()

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    @classmethod
    def url(cls, text, host=None):
        return f"postgresql://aragora:{urllib.parse.quote(text, safe='')}@{host or f'127.0.0.1:{cls.cluster.port}'}/aragora"

    @classmethod
    def environment_with(cls, plant):
        of_key = lambda name: plant(name, (value := strong_secret()), bytes.fromhex(value)) and value
        environment = production_environment(cls.url(cls.database_password), f"redis://:{urllib.parse.quote(cls.redis.password, safe='')}@127.0.0.1:{cls.redis.port}/0")
        environment.update({"JWT_SECRET": plant("JWT secret", secrets.token_urlsafe(40)), "JWT_SECRET_PREVIOUS": plant("previous JWT secret", secrets.token_urlsafe(40)),
                            "ARAGORA_ENCRYPTION_KEY": of_key("encryption key"), "ARAGORA_ENCRYPTION_PREVIOUS_KEYS": of_key("previous encryption key"),
                            "ARAGORA_API_TOKEN": plant("API token", secrets.token_urlsafe(32)), "ARAGORA_METRICS_TOKEN": plant("metrics token", secrets.token_urlsafe(32)),
                            "ANTHROPIC_API_KEY": plant("Anthropic key", "sk-ant-api03-" + secrets.token_hex(20)), "OPENROUTER_API_KEY": plant("OpenRouter key", "sk-or-v1-" + secrets.token_hex(20)),
                            "OPENAI_API_KEY": plant("OpenAI key", "sk-proj-" + secrets.token_hex(20)), "OPENAI_BASE_URL": cls.provider.url, "ARAGORA_DEMO": "true", "ARAGORA_LOG_LEVEL": "debug",
                            "GEMINI_API_KEY": plant("Gemini key", "AIza" + secrets.token_hex(20)), "ARAGORA_LOCAL_API_KEY": plant("key of a local server", secrets.token_urlsafe(30)),
                            "ANTHROPIC_AUTH_TOKEN": plant("Anthropic token", secrets.token_urlsafe(40)), "ANTHROPIC_CUSTOM_HEADERS": "X-Gateway: " + plant("header for Anthropic", secrets.token_urlsafe(30)),
                            "OPENAI_CUSTOM_HEADERS": "X-First: 1\nX-Gateway: " + plant("header for OpenAI", secrets.token_urlsafe(30)),
                            "ARAGORA_NOTIFY_WEBHOOK_URL": f"{cls.receiver.url}/{plant('webhook address', secrets.token_urlsafe(24))}", "ARAGORA_NOTIFY_WEBHOOK_KEY": plant("webhook key", secrets.token_urlsafe(40)),
                            "ARAGORA_NOTIFY_BACKUP_PING_URL": f"{cls.receiver.url}/{plant('backup ping', secrets.token_urlsafe(24))}", "ARAGORA_NOTIFY_DRILL_PING_URL": f"{cls.receiver.url}/{plant('drill ping', secrets.token_urlsafe(24))}",
                            "ARAGORA_NOTIFY_SMTP_PASSWORD": plant("SMTP password", secrets.token_urlsafe(24)), "ARAGORA_NOTIFY_INTERVAL_SECONDS": "1",
                            "ARAGORA_BACKUP_DIR": str(cls.sandbox.directory / "backups"), **cls.store.environment})
        return environment

    @classmethod
    def make_people(cls, plant):
        run = cls.sandbox.run
        run("migrate", check=0)
        plant("age identity", run("key", "backup-identity", check=0).stdout.split()[-1])
        plant("backup writer key", run("key", "backup-writer", check=0).stdout.split()[-1])
        cls.password = plant("a user's password", "their pass phrase " + secrets.token_hex(8))
        file = cls.sandbox.write("password", cls.password + "\n")
        run("user", "add", "boss@example.org", "--role", "admin", "--password-file", str(file), check=0)
        file.unlink()
        with Daemon(cls.sandbox, ARAGORA_LOGIN_RATE_LIMIT="0") as daemon:
            login = daemon.post("/api/auth/login", {"email": "boss@example.org", "password": cls.password})[1]
            bearer = {"Authorization": f"Bearer {login['access_token']}"}
            plant("access token", login["access_token"].split(".")[2], login["access_token"])
            plant("refresh token", login["refresh_token"])
            secret = daemon.post("/api/auth/mfa/setup", {"password": cls.password}, **bearer)[1]["secret"]
            plant("TOTP secret", secret, base64.b32decode(secret + "=" * (-len(secret) % 8)))
            now = settle()
            plant("recovery code", daemon.post("/api/auth/mfa/enable", {"code": code(secret, now - 1)}, **bearer)[1]["backup_codes"][0])
            daemon.post("/api/auth/mfa/step-up", {"code": code(secret, now)}, **bearer)
            key = daemon.post("/api/auth/api-keys", {"password": cls.password}, **bearer)[1]["key"]
            plant("API key", key, key[17:])
            plant("reset token", run("user", "reset", "boss@example.org", check=0).stdout.split()[-1])
            cls.bearer = bearer
            cls.made = cls.answers(daemon, bearer, key)
            cls.made.append(("daemon", daemon.text()))

    @classmethod
    def answers(cls, daemon, bearer, key):
        """What the API says to those who may ask for everything; and to those who ask with what is wrong."""
        said = []
        document = daemon.get("/api/openapi.json")[1]
        debate = daemon.post("/api/debates", {"task": "x", "agents": ["openai", "demo-a"], "rounds": 0}, Authorization=f"Bearer {cls.canaries.planted['API token']}")[1]["debate_id"]
        deadline = time.monotonic() + 30
        while daemon.get(f"/api/debates/{debate}", Authorization=f"Bearer {key}")[1]["status"] not in ("completed", "failed"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for path, operations in document["paths"].items():
            if "get" in operations and path != "/ws":
                for headers in (bearer, {"Authorization": f"Bearer {cls.canaries.planted['API token']}"}, {"Authorization": f"Bearer {cls.canaries.planted['metrics token']}"}, {}):
                    status, sent, body = daemon.request("GET", re.sub("{[a-z]+}", debate, path), headers=headers)
                    said.append((f"GET {path} {status}", body + json.dumps(sent).encode()))
        for path, body in (("/api/auth/login", {"email": "boss@example.org", "password": cls.password + "x"}), ("/api/auth/refresh", {"refresh_token": cls.canaries.planted["refresh token"] + "x"}),
                           ("/api/auth/password/reset", {"token": cls.canaries.planted["reset token"], "new_password": "short"}), ("/api/auth/mfa/verify", {"pending_token": cls.canaries.planted["access token"], "code": "1"}),
                           ("/api/auth/password/change", {"current_password": cls.password + "x", "new_password": cls.password})):
            status, _, answer = daemon.request("POST", path, body, bearer)
            said.append((f"POST {path} {status}", answer))
        # Where they do not belong: only the log is looked at, the answer is for whoever sent it.
        for path in (f"/api/debates/{key}", f"/api/auth/setup?token={cls.canaries.planted['reset token']}", f"/api/debates?token={key}", f"/ws?token={key}", f"/{cls.canaries.planted['API token']}"):
            daemon.request("GET", path, headers={"Authorization": f"Bearer {key}x", "X-Request-ID": "r-1", "Cookie": f"t={key}"})
        daemon.raw(f"GET /api/debates HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nBad Header: {key}\r\n\r\n".encode(), timeout=1)
        daemon.raw(b'POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60\r\nConnection: close\r\n\r\n' + ('{"password": "' + cls.password).encode().ljust(60)[:60], timeout=2)
        return said

    def clean(self, what, data, allowed=()):
        self.assertEqual(self.canaries.found(data, allowed), set(), f"{what}:\n{data if isinstance(data, str) else data[:4000]}")


class Everything(Deployment):
    def test_the_api_and_the_log_of_the_daemon(self):
        self.assertGreater(len(self.made), 60)
        for what, data in self.made:
            self.clean(what, data)

    def test_at_least_a_dozen_are_planted_and_every_secret_of_the_catalogue(self):
        self.assertGreaterEqual(len(self.canaries.planted), 12)
        # A setting is a secret where the manual offers it as a file and as a program.
        manual = self.sandbox.run("config", "manpage", check=0).stdout + self.sandbox.run("config", "environment", check=0).stdout
        for name in set(re.findall(r"\b([A-Z][A-Z0-9_]+)_COMMAND\b", manual)) - {"NAME"}:
            alias = {"ARAGORA_JWT_SECRET": "JWT_SECRET", "ARAGORA_JWT_SECRET_PREVIOUS": "JWT_SECRET_PREVIOUS", "ARAGORA_POSTGRES_DSN": "DATABASE_URL", "ARAGORA_REDIS_URL": "REDIS_URL", "AWS_SECRET_ACCESS_KEY": "ARAGORA_OFFSITE_SECRET_KEY"}.get(name, name)
            if alias != "ARAGORA_BACKUP_WRITER_KEY":
                self.assertIn(alias, self.environment, f"{name} is a secret that nobody planted")

    def test_every_command_quiet_and_talkative(self):
        run = self.sandbox.run
        made = run("backup", "create", check=0)
        id = json.loads(run("backup", "list", "--json", check=0).stdout)["backups"][-1]["id"]
        boss, new = ["boss@example.org"], lambda: f"{secrets.token_hex(4)}@example.org"
        arguments = {("backup", "pin"): ["--input", id, "--reason", "x"], ("backup", "unpin"): ["--input", id], ("restore",): ["--input", "latest", "--dry-run"], ("backup", "prune"): ["--dry-run"], ("migrate", "down"): ["--to", "1", "--dry-run"],
                     ("user", "add"): [new], ("user", "unlock"): boss, ("user", "sessions"): boss, ("user", "key", "create"): boss, ("audit", "accept"): ["--reason", "x"], ("notify", "unit"): ["aragora.service"], ("support-bundle",): [lambda: "--output", lambda: str(self.sandbox.directory / secrets.token_hex(4))],
                     ("init",): ["--directory", lambda: str(self.sandbox.directory / secrets.token_hex(4))], ("backup", "keygen"): ["--out", lambda: str(self.sandbox.directory / secrets.token_hex(4))]}
        watched = self.watch_programs()
        walked = 0
        for path, _, _ in COMMANDS:
            if path in UNTIL_STOPPED:
                continue
            for extra in ([], ["--json"], ["-v"]):
                given = [one() if callable(one) else one for one in arguments.get(path, [])]
                result = run(*path, *given, *extra, PATH=f"{watched}:{os.environ['PATH']}", timeout=300)
                self.clean(f"{' '.join(path)} {extra}", result.stdout, PRINTS.get(path, ()))
                self.clean(f"{' '.join(path)} {extra}", result.stderr)
                walked += 1
        self.assertGreater(walked, 120)
        self.clean("backup create", made.stdout + made.stderr)
        # A base, a restore for good, a recovery, and what the programs of PostgreSQL were told by then.
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(open(self.sandbox.directory / "wal.log", "w"))
            receiver = subprocess.Popen([BINARY, "backup", "wal", "-v"], env={**self.sandbox.environment, "PATH": f"{watched}:{os.environ['PATH']}"}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            stack.callback(lambda: (receiver.terminate(), receiver.wait(60)))
            deadline = time.monotonic() + 60
            while not (self.sandbox.directory / "backups/latest-base").exists():
                self.assertLess(time.monotonic(), deadline, (self.sandbox.directory / "wal.log").read_text())
                time.sleep(0.1)
            self.clean("arguments of the receiver", pathlib.Path(f"/proc/{receiver.pid}/cmdline").read_bytes())
        self.clean("backup wal", (self.sandbox.directory / "wal.log").read_text())
        for command in (["backup", "verify", "--every-kind", "-v"], ["restore", "--input", "latest", "--yes", "--verify", "-v"], ["verify", "-v"]):
            result = run(*command, PATH=f"{watched}:{os.environ['PATH']}", timeout=300)
            self.clean(str(command), result.stdout + result.stderr)
        told = list(watched.glob("*.told"))
        self.assertTrue(told, "no program of PostgreSQL was started")
        for note in told:
            self.clean(note.name, note.read_bytes())
        # What people and switches were told.
        self.assertGreater(len(self.receiver.requests), 10)
        for request in self.receiver.requests:
            self.clean("told", request["body"])
        # What lies on the disk: everything is sealed, or no secret.
        self.assertEqual(self.canaries.found_below(self.sandbox.directory, but=("none.toml",)), {})
        for name, body in self.store.objects.items():
            self.clean(f"elsewhere: {name}", body)
        dumped = subprocess.run([Cluster.BIN / "pg_dump", "-h", "127.0.0.1", "-p", str(self.cluster.port), "-U", "postgres", "aragora"], capture_output=True, check=True).stdout
        self.clean("the database", dumped)

    def watch_programs(self):
        """In front of the real ones: each writes down what it can see of us."""
        directory = self.sandbox.directory / "watched"
        directory.mkdir(exist_ok=True)
        for name in PROGRAMS:
            real = Cluster.BIN / name
            if real.exists():
                (directory / name).write_text(f'#!/bin/bash\n{{ cat /proc/$$/cmdline; cat /proc/$$/environ; }} >>"{directory}/{name}.told"\nexec {real} "$@"\n')
                (directory / name).chmod(0o755)
        return directory


class Failures(Deployment):
    SECRETS = ("DATABASE_URL", "REDIS_URL", "JWT_SECRET", "JWT_SECRET_PREVIOUS", "ARAGORA_ENCRYPTION_KEY", "ARAGORA_ENCRYPTION_PREVIOUS_KEYS", "ARAGORA_API_TOKEN", "ARAGORA_METRICS_TOKEN", "ANTHROPIC_API_KEY", "OPENAI_API_KEY",
               "OPENROUTER_API_KEY", "ARAGORA_OFFSITE_SECRET_KEY", "ARAGORA_BACKUP_WRITER_KEY")

    def tried(self, arguments, **environment):
        result = self.sandbox.run(*arguments, timeout=120, **environment)
        self.clean(f"{arguments} with {sorted(environment)}: exit {result.returncode}", result.stdout + result.stderr)
        return result

    def everywhere(self, **environment):
        for arguments in (["validate-env", "-v"], ["validate-env", "--offline", "--json"], ["config", "show", "--origin"], ["verify"], ["serve"]):
            if arguments == ["serve"]:
                arguments = ["serve", "--set", f"server.listen=unix:{self.sandbox.directory}/none/a.sock"]  # never for long
            self.tried(arguments, **environment)

    def test_malformed_values_of_the_very_secret(self):
        values = {name: self.environment.get(name, self.canaries.planted["backup writer key"]) for name in self.SECRETS}
        for name, value in values.items():
            for wrong in (value + " x", " " + value, value + "\n\n", value[:-1] + "\u200b", '"' + value + '"', value + "\x01", "$(" + value + ")", value * 300, value + "#", "\ufeff" + value):
                with self.subTest(name, wrong=wrong.replace(value, "…")):
                    self.tried(["validate-env", "--offline"], **{name: wrong})
            with self.subTest(name):
                self.everywhere(**{name: value + " x"})

    def test_wrong_hosts_and_passwords(self):
        there, wrong = self.database_password, self.canaries.plant("wrong password", password())
        for url in (self.url(wrong), self.url(there, "127.0.0.1:1"), self.url(there, "no-such-host.invalid"), self.url(there).replace("/aragora", "/nothing"), self.url(there) + "?sslmode=verify-full", self.url(there) + "?nonsense=1",
                    self.url(there).replace("postgresql", "postgres "), self.url(there).replace("@", "@@"), self.url(there).replace("%", "%zz", 1), f"postgresql://aragora:{there}@127.0.0.1:{self.cluster.port}/aragora",
                    f"host=127.0.0.1 port={self.cluster.port} user=aragora password='{wrong}' dbname=aragora", f"host=127.0.0.1 port={self.cluster.port} user=aragora password={there} x dbname=aragora", f"mysql://u:{wrong}@h/d", f"u:{wrong}@h/d"):
            self.everywhere(DATABASE_URL=url)
            for arguments in (["backup", "create"], ["migrate"], ["user", "list"], ["key", "status"], ["audit", "verify"], ["backup", "status"], ["drill"]):
                self.tried(arguments, DATABASE_URL=url)
        secret = self.redis.password
        for url in (f"redis://:{urllib.parse.quote(wrong, safe='')}@127.0.0.1:{self.redis.port}/0", f"redis://:{secret}@127.0.0.1:1/0", f"redis://:{secret}@no-such-host.invalid/0", f"rediss://:{secret}@127.0.0.1:{self.redis.port}/0",
                    f"redis://:{secret}@127.0.0.1:{self.redis.port}/x", f"http://:{secret}@h", f"redis://u:{secret}@127.0.0.1:{self.redis.port}/0?x=1"):
            self.everywhere(REDIS_URL=url)
        for change in ({"ARAGORA_OFFSITE_SECRET_KEY": wrong}, {"ARAGORA_OFFSITE_ENDPOINT": f"http://u:{wrong}@127.0.0.1:9"}, {"ARAGORA_OFFSITE": "s3://nothing/x"}, {"OPENAI_BASE_URL": f"http://u:{wrong}@127.0.0.1:9/v1"}):
            for arguments in (["validate-env", "-v"], ["backup", "copy"], ["backup", "list", "--from", "offsite"], ["config", "show"]):
                self.tried(arguments, **change)
        self.canaries.needles.pop("wrong password")

    def test_files_programs_and_places_where_they_do_not_belong(self):
        for name in self.SECRETS:
            value = self.environment.get(name, self.canaries.planted["backup writer key"])
            unset = {name: ""}
            write = lambda text, mode=0o600: str(self.sandbox.write("secret", text, mode))
            for text, mode in ((value + "\n" + value, 0o600), (value, 0o644), (value, 0o000), (value + "\x00", 0o600), (value + " ", 0o600)):
                self.tried(["validate-env", "--offline"], **unset, **{f"{name}_FILE": write(text, mode)})
            (self.sandbox.directory / "secret").chmod(0o600)
            (self.sandbox.directory / "secret").unlink()
            program = self.sandbox.write("program", "", 0o700)
            for script in (f"echo '{value}'; exit 3", f"echo '{value}' >&2; exit 3", f"printf '%s\\n%s\\n' '{value}' '{value}'", f"echo '{value} x'", f"echo '{value}' >&2; echo"):
                program.write_text(f"#!/bin/sh\n{script}\n")
                self.tried(["validate-env", "-v", "--only", "configuration"], **unset, **{f"{name}_COMMAND": str(program)})
            program.unlink()
            # Into a name that nobody knows, a file that cannot be read, on the command line.
            self.tried(["validate-env", "-v", "--offline"], **{("ARAGORA_" + name.removeprefix("ARAGORA_"))[:-1] + "X": value})
            for text in (f"[auth]\njwt_secret = '{value}\n", f"[auth]\njwt_secret = {value}\n", f"[auth]\n'{value}'\n", f"{value}\n", f"[auth]\njwt_secrett = \"{value}\"\n", f"[server]\nport = \"{value}\"\n"):
                self.tried(["validate-env", "--offline"], ARAGORA_CONFIG=str(self.sandbox.write("wrong.toml", text)), **unset)
            for text in (f"{name}='{value}\n", f"{name} = {value}\n", f"{value}\n", f"export {name}={value}\n"):
                self.tried(["validate-env", "--offline", "--env-file", str(self.sandbox.write("wrong.env", text))], ARAGORA_CONFIG=str(self.sandbox.write("empty.toml", "")))
            for leftover in ("wrong.toml", "wrong.env"):
                (self.sandbox.directory / leftover).unlink()
            self.tried(["config", "show", "--set", f"auth.jwt_secret={value}"])
            self.tried(["config", "show", value])
            self.tried(["verify", value])
            self.tried([value])
            self.tried(["user", value])
            for stray in ("ARAGORA_PORT", "ARAGORA_ENV", "ARAGORA_LOG_LEVEL", "ARAGORA_BIND_HOST"):
                self.tried(["validate-env", "--offline", "-v"], **{stray: value}, **unset)

    def test_an_error_of_the_provider_that_repeats_the_key(self):
        with Daemon(self.sandbox) as daemon:
            token = {"Authorization": f"Bearer {self.canaries.planted['API token']}"}
            debate = daemon.post("/api/debates", {"task": "x", "agents": ["openai", "openai"], "rounds": 1}, **token)[1]["debate_id"]
            deadline = time.monotonic() + 30
            while daemon.get(f"/api/debates/{debate}", **token)[1]["status"] not in ("completed", "failed"):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
            for what in ("", "/events", "/export", "/timeline"):
                self.clean(what, daemon.request("GET", f"/api/debates/{debate}{what}", headers=token)[2])
            self.clean("metrics", daemon.request("GET", "/metrics", headers={"Authorization": f"Bearer {self.canaries.planted['metrics token']}"})[2])
            self.clean("log", daemon.text())


class Crashes(Deployment):
    def test_no_core_and_nothing_in_the_log(self):
        tls = {"ARAGORA_TLS_CERT_PATH": str(self.authority.certificate), "ARAGORA_TLS_KEY_PATH": str(self.authority.key)}
        for by in (signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT, signal.SIGBUS):
            with self.subTest(by.name):
                directory = self.sandbox.directory / f"crash-{by.name}"
                directory.mkdir()
                log = directory / "crash.log"
                # SIGQUIT is a stop for the daemon; a command that waits for nothing else dies of it.
                if by == signal.SIGQUIT:
                    continue
                environment = {**self.sandbox.environment, **tls, "ARAGORA_PORT": str(free_port())}
                status = crash([BINARY, "serve"], environment, directory, lambda _: " listens on " in log.read_text(), by)
                self.assertFalse(os.WCOREDUMP(status), "a core was written")
                self.assertEqual([path.name for path in directory.iterdir()], ["crash.log"])
                self.clean(by.name, log.read_text())

    def test_nobody_else_reads_its_memory(self):
        with Daemon(self.sandbox) as daemon:
            pid = daemon.process.pid
            self.clean("arguments", pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
            # Not dumpable: what is in /proc belongs to root, and so does tracing.
            self.assertEqual(os.stat(f"/proc/{pid}/mem").st_uid, 0)
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
            self.assertRegex(limits, r"Max core file size\s+0\s+0\s")


if __name__ == "__main__":
    main()
