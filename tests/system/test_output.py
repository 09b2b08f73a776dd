"""Success is looked at: output that cannot be written is exit 74, of every command there is."""
import contextlib
import json
import os
import secrets
import sqlite3
import subprocess
import threading
import unittest

from receivers import Receiver
from support import BINARY, Daemon, Sandbox, main
from test_provider import KEY, Endpoint
from test_streaming import paced


def run_into(sandbox, arguments, redirection):
    """As a shell does it: >/dev/full, >&-."""
    return subprocess.run(["sh", "-c", f'exec "$0" "$@" {redirection}', BINARY, *map(str, arguments)], env=sandbox.environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=120)


@contextlib.contextmanager
def deployment():
    with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
        sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
        sandbox.elsewhere()
        sandbox.run("migrate", check=0)
        sandbox.run("user", "add", "--email", "ada@example.org", check=0)
        sandbox.run("backup", check=0)
        yield sandbox


class CannotBeWritten(unittest.TestCase):
    # Servers, and what is no more than a part of PostgreSQL's own work, print nothing.
    SILENT = {("serve",), ("backup", "run"), ("backup", "wal"), ("backup", "wal-push"), ("restore", "wal-get")}

    def require_74(self, sandbox, arguments, redirection=">/dev/full"):
        with self.subTest(arguments=list(map(str, arguments)), redirection=redirection):
            result = run_into(sandbox, arguments, redirection)
            self.assertEqual(result.returncode, 74, result.stderr)
            self.assertIn("cannot write the output", result.stderr)

    def commands(self, sandbox):
        """Each with what has to come before it, so that it can be run again and again."""
        name = lambda: secrets.token_hex(4)
        id = sandbox.run_json("backup", "list", check=0)["backups"][0]["id"]
        email = ("--email", "ada@example.org")
        yield from ((arguments, None) for arguments in (
            ("validate-env",), ("validate-env", "--only", "environment"), ("migrate",), ("migrate", "up"), ("migrate", "status"), ("migrate", "plan"), ("migrate", "down", "--to", "1", "--dry-run"), ("migrate", "wait"),
            ("verify",), ("checklist",), ("checklist", "--report", "html"), ("audit", "verify"), ("audit", "accept", "--reason", "x"), ("backup",), ("backup", "create", "--due"), ("backup", "copy"), ("backup", "copy", "--init"), ("backup", "list"), ("backup", "status"), ("backup", "verify"), ("backup", "prune", "--dry-run"), ("backup", "prune", "--days", "1000"),
            ("backup", "pin", "--input", id), ("backup", "forget"), ("backup", "keygen"), ("backup", "rekey"), ("restore", "--input", "latest", "--dry-run"), ("restore", "--input", "latest", "--yes"), ("restore", "--latest", "--dry-run"),
            ("drill",), ("drill", "list"), ("user", "list"), ("user", "password", *email), ("user", "disable", *email), ("user", "enable", *email), ("user", "reset", *email), ("user", "unlock", *email), ("user", "sessions", *email), ("user", "setup-link"),
            ("user", "key", "list"), ("user", "key", "create", *email), ("user", "mfa", "enrol", *email), ("user", "mfa", "remove", *email), ("config", "show"), ("config", "show", "--origin"), ("config", "example"), ("config", "manpage"), ("config", "environment"),
            ("key", "show"), ("key", "status"), ("key", "rotate"), ("key", "backup-identity"), ("key", "backup-writer"), ("completion", "bash"), ("completion", "zsh"), ("completion", "fish"), ("completion", "json"), ("version",), ("version", "-v"),
            ("providers",), ("notify", "test"), ("notify", "unit", "aragora.service"), ("notify", "status")))
        yield ("backup", "unpin", "--input", id), ("backup", "pin", "--input", id)
        yield lambda: ("user", "add", "--email", f"{name()}@example.org"), None
        key = lambda: sandbox.run_json("user", "key", "create", *email, check=0)["api_key"]["id"]
        yield lambda: ("user", "key", "rotate", key()), None
        yield lambda: ("user", "key", "revoke", key()), None
        yield lambda: ("init", "--directory", sandbox.directory / name()), None
        yield lambda: ("support-bundle", "--output", sandbox.directory / name()), None
        yield lambda: ("restore", "--configuration", "--input", "latest-configuration", "--to", sandbox.directory / name()), None
        yield lambda: ("backup", "keygen", "--out", sandbox.directory / name()), None

    def of_debates(self, sandbox):
        """Those that ask a daemon, or show what a debate left."""
        sandbox.environment["ARAGORA_API_TOKEN"] = secrets.token_hex(32)
        hold_one = ("debate", "Should we ship on Friday?", "--agents", "demo,demo,demo", "--rounds", "1")
        with Daemon(sandbox) as daemon:
            sandbox.environment["ARAGORA_PORT"] = str(daemon.port)
            id = sandbox.run_json(*hold_one)["debate"]["id"]
            receipt, checkpoint, key = (sandbox.directory / name for name in ("receipt.json", "checkpoint.txt", "receipt-key"))
            key.write_text(sandbox.run("receipt", "keys", check=0).stdout)
            sandbox.run("receipt", "export", id, "--output", receipt, check=0)
            sandbox.run("receipt", "checkpoint", "--output", checkpoint, check=0)
            for arguments in (hold_one, (*hold_one, "--watch"), ("debate", "--test"), ("debate", "list"), ("debate", "show", id), ("debate", "export", id), ("debate", "replay", id), ("ratings", "list"), ("ratings", "recompute"), ("ratings", "recompute", "--dry-run"),
                              ("receipt", "show", id), ("receipt", "export", id), ("receipt", "verify", receipt, "--key", key, "--checkpoint", checkpoint), ("receipt", "keys"), ("receipt", "checkpoint"), ("receipt", "rotate")):
                for json_too in ((), ("--json",)):
                    with self.subTest(arguments):
                        self.assertIn(sandbox.run(*arguments, *json_too).returncode, (0, 1) if arguments[:2] == hold_one[:2] else (0,))
                    self.require_74(sandbox, (*arguments, *json_too))
                yield arguments
        with Endpoint(paced(hold=threading.Event())) as endpoint, Daemon(sandbox, OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as daemon:
            sandbox.environment["ARAGORA_PORT"] = str(daemon.port)
            for json_too in ((), ("--json",)):  # nobody answers: such a debate runs until it is cancelled
                status, running = daemon.post("/api/debates", {"question": "Should we ship on Friday?", "agents": ["openai", "demo"]}, Authorization="Bearer " + sandbox.environment["ARAGORA_API_TOKEN"])
                self.assertEqual(status, 200, running)
                self.require_74(sandbox, ("debate", "cancel", running["id"], *json_too))
            yield ("debate", "cancel")

    def paths(self, command, before=()):
        for sub in command["commands"]:
            yield (*before, sub["name"])
            yield from self.paths(sub, (*before, sub["name"]))

    def test_every_command_that_prints(self):
        with Receiver() as receiver, deployment() as sandbox:
            sandbox.run("backup", "create", "--kind", "configuration", check=0)
            sandbox.environment.update({"ARAGORA_NOTIFY_WEBHOOK_URL": receiver.url, "ARAGORA_NOTIFY_WEBHOOK_KEY": secrets.token_hex(32)})
            every = set(self.paths(json.loads(sandbox.run("completion", "json", check=0).stdout)))
            ran = set()
            for command, before in self.commands(sandbox):
                arguments = command if callable(command) else lambda: command
                if before:
                    sandbox.run(*before, check=0)
                normal = sandbox.run(*arguments())
                path = tuple(a for a in map(str, arguments()) if not a.startswith("-"))
                ran |= {known for known in every if path[:len(known)] == known}
                if normal.returncode not in (0, 1):
                    self.fail(f"{arguments()}: {normal.returncode} {normal.stderr}")
                for json_too in ((), ("--json",)):
                    if before:
                        sandbox.run(*before)
                    usual = sandbox.run(*arguments(), *json_too)
                    if usual.returncode != 0 or not usual.stdout:
                        continue
                    if before:
                        sandbox.run(*before)
                    self.require_74(sandbox, (*arguments(), *json_too))
            for arguments in self.of_debates(sandbox):
                ran |= {known for known in every if arguments[:len(known)] == known}
            # Those need what is not here (a changed migration, a database made otherwise), or a subcommand.
            for arguments in (("migrate", "baseline"), ("migrate", "repair"), ("audit",), ("config",), ("debate",), ("key",), ("notify",), ("ratings",), ("receipt",), ("user",), ("user", "role"), ("user", "delete"), ("user", "key"), ("user", "mfa"), ("user", "mfa", "confirm"), ("user", "mfa", "codes")):
                result = run_into(sandbox, (*arguments, "--json"), ">/dev/full")
                self.assertEqual(result.returncode, 64, "an error of its own stays")
                ran.add(arguments)
            self.assertEqual(run_into(sandbox, ("reload", "--json"), ">/dev/full").returncode, 69, "there is no daemon")
            ran.add(("reload",))
            self.require_74(sandbox, ("help",))
            ran.add(("help",))
            self.assertEqual(every - ran, self.SILENT)
            for path in [(), *every]:
                self.require_74(sandbox, (*path, "--help"))
            self.require_74(sandbox, ("--version",))
            self.require_74(sandbox, ())

    def test_a_closed_output_is_not_the_next_file_opened(self):
        with deployment() as sandbox:
            for arguments in (("version",), ("--help",), ("config", "show"), ("migrate", "status"), ("backup",), ("user", "list", "--json"), ("key", "backup-identity")):
                self.require_74(sandbox, arguments, ">&-")
                self.require_74(sandbox, arguments, "<&- >&-")
            self.assertEqual(run_into(sandbox, ("verify",), "<&- 2>&-").returncode, 0)
            with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database:
                self.assertEqual(database.execute("PRAGMA integrity_check").fetchone(), ("ok",))
            sandbox.run("backup", "verify", check=0)
            sandbox.run("verify", check=0)

    def test_what_was_done_stays_done_and_quiet_commands_need_no_output(self):
        with Sandbox() as sandbox:
            self.require_74(sandbox, ("migrate",))
            self.assertTrue(sandbox.run_json("migrate", "status", check=0)["current"])
            for arguments in (("migrate", "-q"), ("verify", "-q"), ("migrate", "status", "-q")):
                self.assertEqual(run_into(sandbox, arguments, ">/dev/full").returncode, 0)
            failed = run_into(sandbox, ("restore", "--input", "/no/such", "--yes", "--json"), ">/dev/full")
            self.assertEqual(failed.returncode, 66, "why it failed says more than that nobody heard it")

    def test_a_reader_that_leaves_is_told_by_the_status_alone(self):
        with Sandbox() as sandbox:
            reading, writing = os.pipe()
            os.close(reading)
            result = subprocess.run([BINARY, "completion", "bash"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
            os.close(writing)
            self.assertEqual((result.returncode, result.stderr), (74, ""))


if __name__ == "__main__":
    main()
