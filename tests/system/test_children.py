"""What the programs that we start are told: none of our secrets, none of our descriptors; and what becomes of us when they hang,
die or leave somebody behind."""
import os
import re
import secrets
import signal
import socket
import time
import unittest
import urllib.parse

from support import Cluster, Daemon, Sandbox, main, postgres_database

TOLD = 'env >"{0}.environment"; ls -l /proc/self/fd >"{0}.descriptors"\n'


def program(path, script):
    path.write_text("#!/bin/bash\n" + script)
    path.chmod(0o755)
    return path


class Children(unittest.TestCase):
    def require_told_nothing(self, note, planted):
        text = note.with_name(note.name + ".environment").read_text()
        for value in planted:
            self.assertNotIn(value, text)
        self.assertNotIn("\nARAGORA_", text)
        held = dict(re.findall(r" (\d+) -> (.*)", note.with_name(note.name + ".descriptors").read_text()))
        # Besides the usual three: what ls reads, and what libpq is given, in memory.
        self.assertEqual([what for number, what in held.items() if int(number) > 2 and not what.startswith("/proc/") and not re.match("/memfd:pg(_service.conf|pass) ", what)], [], held)

    def test_a_program_that_prints_a_secret_sees_no_other_also_when_settings_are_read_again(self):
        planted = {name: secrets.token_hex(32) for name in ("JWT_SECRET", "ARAGORA_API_TOKEN", "ARAGORA_METRICS_TOKEN", "SOMETHING_ELSE")}
        with Sandbox(**planted, VAULT_ADDR="https://vault.example.org") as sandbox:
            note = sandbox.directory / "told"
            key = secrets.token_hex(32)
            sandbox.environment["ARAGORA_ENCRYPTION_KEY_COMMAND"] = str(program(sandbox.directory / "key", TOLD.format(note) + f"echo {key}\n"))
            with Daemon(sandbox) as daemon, socket.create_connection(("127.0.0.1", daemon.port)) as client:
                client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertIn(b"200", client.recv(100))
                self.require_told_nothing(note, [*planted.values(), key])
                self.assertIn("VAULT_ADDR", note.with_name("told.environment").read_text())
                note.with_name("told.environment").unlink()
                daemon.process.send_signal(signal.SIGHUP)
                deadline = time.monotonic() + 20
                while "configuration reloaded" not in daemon.text():
                    self.assertLess(time.monotonic(), deadline, daemon.text())
                    time.sleep(0.05)
                self.require_told_nothing(note, [*planted.values(), key])

    def test_programs_of_postgresql_see_what_is_libpqs(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), JWT_SECRET=secrets.token_hex(32)) as sandbox:
            sandbox.run("migrate", check=0)
            tools = sandbox.directory / "bin"
            tools.mkdir()
            for name in ("pg_dump", "pg_restore"):
                program(tools / name, TOLD.format(tools / (name + "-told")) + f'exec {Cluster.BIN}/{name} "$@"\n')
            path = {"PATH": f"{tools}:{os.environ['PATH']}"}
            sandbox.run("backup", check=0, **path)
            sandbox.run("backup", "verify", check=0, **path)
            sandbox.run("restore", "--input", "latest", "--yes", check=0, **path)
            for name in ("pg_dump", "pg_restore"):
                self.require_told_nothing(tools / (name + "-told"), [sandbox.environment["ARAGORA_ENCRYPTION_KEY"], sandbox.environment["JWT_SECRET"], url, "=" + urllib.parse.unquote(urllib.parse.urlsplit(url).password)])

    def test_a_grandchild_that_keeps_standard_error_open_is_not_waited_for(self):
        with Sandbox() as sandbox:
            script = program(sandbox.directory / "key", f"sleep 45 >/dev/null &\necho {secrets.token_hex(32)}\n")
            started = time.monotonic()
            sandbox.run("config", "show", ARAGORA_ENCRYPTION_KEY_COMMAND=str(script), check=0)
            self.assertLess(time.monotonic() - started, 8)

    def test_a_list_of_a_dump_that_was_killed_proves_nothing(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            sandbox.run("migrate", check=0)
            sandbox.run("backup", check=0)
            tools = sandbox.directory / "bin"
            tools.mkdir()
            for when in ('', f'{Cluster.BIN}/pg_restore "$@"; '):
                # It may have written everything by then.
                program(tools / "pg_restore", f'case "$*" in *--list*) {when}kill -9 $$ ;; *) exec {Cluster.BIN}/pg_restore "$@" ;; esac\n')
                result = sandbox.run("backup", "verify", "--level", "1", PATH=f"{tools}:{os.environ['PATH']}")
                self.assertEqual(result.returncode, 69, result.stdout + result.stderr)
                self.assertIn("killed by signal 9", result.stdout + result.stderr)


if __name__ == "__main__":
    main()
