"""A restore takes the live database's place only when somebody said so: at a terminal that asks first, or with --yes."""
import contextlib
import os
import pty
import secrets
import select
import signal
import sqlite3
import subprocess
import time
import unittest

from support import BINARY, Sandbox, main, postgres_database


class Terminal:
    """A command with a terminal to ask at."""

    def __init__(self, sandbox, *arguments):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([BINARY, *map(str, arguments)], env=sandbox.environment, stdin=slave, stdout=subprocess.PIPE, stderr=slave, start_new_session=True)
        os.close(slave)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        os.close(self.master)

    def read_until(self, words, limit=60):
        deadline = time.monotonic() + limit
        while words not in self.text:
            assert time.monotonic() < deadline, f"{words!r} did not come:\n{self.text}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self.master, 4096).decode(errors="replace")
                except OSError:
                    break
            elif self.process.poll() is not None:
                break
        assert words in self.text, f"{words!r} did not come: exit {self.process.wait()}\n{self.text}"

    def answer(self, text):
        os.write(self.master, (text + "\n").encode())

    def end(self, limit=60):
        """Whatever else it says, and its status."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.master, 4096).decode(errors="replace")
                except OSError:
                    break  # nobody has the terminal open any more
            elif self.process.poll() is not None:
                break
        return self.process.wait(10)


class Consent(unittest.TestCase):
    def sqlite(self, sandbox):
        sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
        sandbox.run("migrate", check=0)
        sandbox.run("backup", check=0)
        live = sandbox.directory / "state/aragora.db"
        with contextlib.closing(sqlite3.connect(live)) as database, database:
            database.execute("INSERT INTO settings (name, value, updated_at) VALUES ('later', '', 0)")
        return live

    def later_is_there(self, live):
        with contextlib.closing(sqlite3.connect(live)) as database:
            return database.execute("SELECT count(*) FROM settings WHERE name = 'later'").fetchone()[0] == 1

    def test_without_a_terminal_nothing_is_swapped_unasked(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            live = self.sqlite(sandbox)
            before = sorted(live.parent.iterdir())
            for arguments in (("--input", "latest"), ("--latest",), ("--input", "latest", "--verify"), ("--input", sandbox.directory / "backups/latest"), ("--input", "/no/such")):
                refused = sandbox.run("restore", *arguments, check=64)
                self.assertIn("--yes", refused.stderr)
            self.assertEqual(sorted(live.parent.iterdir()), before)
            self.assertTrue(self.later_is_there(live))
            sandbox.run("restore", "--input", "latest", "--dry-run", check=0)
            sandbox.run("restore", "--input", "latest", "--to", sandbox.directory / "beside.db", check=0)
            self.assertTrue(self.later_is_there(live))
            sandbox.run("restore", "--input", "latest", "--yes", check=0)
            self.assertFalse(self.later_is_there(live))

    def test_at_a_terminal_it_asks_before_the_work_and_shows_what_goes(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            live = self.sqlite(sandbox)
            id = sandbox.run_json("backup", "list", check=0)["backups"][0]["id"]
            for answer in ("no", "", "y"):
                with Terminal(sandbox, "restore", "--input", "latest") as terminal:
                    terminal.read_until("Type yes to go on:")
                    for words in (str(live), "newest change 2", " kB, ", "Z (here ", f"backup {id}", "tables, ", "kept beside it"):
                        self.assertIn(words, terminal.text)
                    self.assertEqual(list(live.parent.glob("*.restore-*")), [], "nothing was begun")
                    terminal.answer(answer)
                    self.assertEqual(terminal.end(), 130, terminal.text)
                    self.assertIn("nothing was changed", terminal.text)
                self.assertTrue(self.later_is_there(live))
            with Terminal(sandbox, "restore", "--input", "latest") as terminal:
                terminal.read_until("Type yes to go on:")
                terminal.process.send_signal(signal.SIGINT)
                self.assertEqual(terminal.end(10), 130, terminal.text)
            self.assertTrue(self.later_is_there(live))
            with Terminal(sandbox, "restore", "--latest") as terminal:
                terminal.read_until("Type yes to go on:")
                self.assertIn("increment", terminal.text)
                terminal.answer("yes")
                self.assertEqual(terminal.end(), 0, terminal.text)
            self.assertFalse(self.later_is_there(live))

    def test_where_nothing_is_replaced_nothing_is_asked(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            live = self.sqlite(sandbox)
            live.rename(sandbox.directory / "lost.db")
            for leftover in live.parent.glob("aragora.db-*"):
                leftover.unlink()
            with Terminal(sandbox, "restore", "--input", "latest") as terminal:
                self.assertEqual(terminal.end(), 0, terminal.text)
                self.assertNotIn("Type yes", terminal.text)
            self.assertTrue(live.exists())

    def test_postgres(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            sandbox.run("migrate", check=0)
            sandbox.run("backup", check=0)
            self.assertIn("--yes", sandbox.run("restore", "--input", "latest", check=64).stderr)
            databases = lambda: subprocess.run(["psql", "-qAtX", url, "-c", "SELECT datname FROM pg_database WHERE datname LIKE 'system%' OR datname LIKE 'aragora_restore%'"], capture_output=True, text=True, check=True).stdout
            with Terminal(sandbox, "restore", "--input", "latest") as terminal:
                terminal.read_until("Type yes to go on:")
                self.assertRegex(terminal.text, r"database system_\w+ \([\d.]+ MB, newest change 2")
                before = databases()
                terminal.answer("no")
                self.assertEqual(terminal.end(), 130, terminal.text)
            self.assertEqual(databases(), before)
            with Terminal(sandbox, "restore", "--input", "latest") as terminal:
                terminal.read_until("Type yes to go on:")
                terminal.answer("yes")
                self.assertEqual(terminal.end(), 0, terminal.text)
            self.assertIn("pre_restore", databases())


if __name__ == "__main__":
    main()
