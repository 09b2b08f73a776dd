"""How far a command is: on a terminal one line that is rewritten, cut to its width and gone at the end; elsewhere
nothing for a short run and a plain line now and then for a long one; with the totals that the result names."""
import base64
import contextlib
import fcntl
import os
import pty
import re
import secrets
import shutil
import sqlite3
import struct
import subprocess
import termios
import unittest

from support import BINARY, Cluster, main, postgres_database, sqlite_deployment

ERASE = "\r\x1b[K"
SIZE = r"[0-9.]+ [kMGT]?B"


def at_terminal(sandbox, *arguments, columns=200, check=0, separate=True, **environment):
    """What it said on a terminal's standard error, and on standard output (that terminal too, unless `separate`)."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([BINARY, *map(str, arguments)], env={"TERM": "xterm", **sandbox.environment, **environment}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE if separate else slave, stderr=slave)
    os.close(slave)
    text = b""
    with contextlib.suppress(OSError):  # EIO: nobody has it open any more
        while chunk := os.read(master, 65536):
            text += chunk
    os.close(master)
    out = process.stdout.read().decode() if separate else ""
    if separate:
        process.stdout.close()
    status = process.wait(60)
    assert status == check, f"{arguments}: exit {status}\n{text.decode()}\n{out}"
    return text.decode(), out


def frames(text):
    """The states of the line, without what was printed for good."""
    return [frame for part in text.split("\r\n") for frame in part.split(ERASE)[1:] if frame]


def fill(sandbox, megabytes):
    """With what cannot be compressed, so that --max-rate decides how long it takes."""
    with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database, database:
        for _ in range(megabytes):
            database.execute("INSERT INTO settings (name, value, updated_at) VALUES (?, ?, 0)", (secrets.token_hex(8), base64.b64encode(os.urandom(1_000_000)).decode()))


class OnATerminal(unittest.TestCase):
    def last(self, text, what):
        """The last state of a phase."""
        found = [frame for frame in frames(text) if what in frame]
        self.assertTrue(found, text)
        return found[-1]

    def require_gone(self, text):
        self.assertTrue(text.endswith(ERASE), repr(text[-200:]))
        self.assertNotIn("\n", text.rsplit(ERASE, 2)[-2])

    def test_a_backup_has_a_total_a_rate_and_the_time_left(self):
        with sqlite_deployment() as sandbox:
            fill(sandbox, 45)  # far more than compression takes in before it writes
            text, out = at_terminal(sandbox, "backup", "--max-rate", "6M")
            self.require_gone(text)
            reading = [frame for frame in frames(text) if "reading the database" in frame]
            size = re.search(rf" of ({SIZE}) in ", out)[1]
            for frame in reading:
                self.assertRegex(frame, rf"^backup: reading the database, {SIZE} of {re.escape(size)}(, {SIZE}/s(, (about )?\d+ s left)?)?$")
            self.assertTrue(any(frame.endswith(" s left") for frame in reading), reading)
            stored = re.search(rf": ({SIZE}) of ", out)[1]
            self.assertRegex(self.last(text, "checking what is stored"), rf"^backup: checking what is stored, {re.escape(stored)} of {re.escape(stored)}$")

    def test_every_long_command_and_its_last_state_is_complete(self):
        with sqlite_deployment() as sandbox:
            text, _ = at_terminal(sandbox, "migrate", "down", "--to", "0", "--allow-data-loss")
            self.assertRegex(self.last(text, "undoing"), r"^migrate: undoing 0001_\w+, (\d+) of \1 statements?$")
            text, _ = at_terminal(sandbox, "migrate")
            self.require_gone(text)
            self.assertRegex(self.last(text, "applying"), r"^migrate: migration (\d+) of \1: applying \d{4}_\w+, (\d+) of \2 statements?$")
            fill(sandbox, 3)
            mnt = sandbox.elsewhere()
            text, _ = at_terminal(sandbox, "backup")
            backup = sandbox.run_json("backup", "list", check=0)["backups"][0]
            stored = sum(file.stat().st_size for file in (sandbox.directory / "backups/full" / backup["id"]).glob("*.age"))
            self.assertEqual(stored, backup["bytes"])
            shown = f"{stored / 1e6:.1f} MB of {stored / 1e6:.1f} MB"
            self.assertIn(shown, self.last(text, "backup: checking what is stored"))
            shutil.rmtree(mnt / "full")
            text, _ = at_terminal(sandbox, "backup", "copy")
            self.require_gone(text)
            self.assertTrue(all(frame.startswith(f"backup: copy to {mnt}") for frame in frames(text)), text)
            for arguments in (("backup", "verify"), ("restore", "--input", "latest", "--yes", "--verify"), ("drill",), ("verify",)):
                with self.subTest(arguments=arguments):
                    text, out = at_terminal(sandbox, *arguments)
                    self.require_gone(text)
                    command = "verify" if arguments == ("backup", "verify") else arguments[0]
                    for frame in frames(text):
                        self.assertTrue(frame.startswith(f"{command}: "), frame)
                    self.assertNotIn("\x1b[K", out)
            text, _ = at_terminal(sandbox, "drill")
            self.assertTrue(self.last(text, "drill").startswith("drill: step 8 of 8, smoke test"), text)

    def test_other_output_steps_in_between(self):
        """With one terminal for both, what is printed for good begins at the margin and no state of the line is left in it."""
        with sqlite_deployment() as sandbox:
            fill(sandbox, 2)
            sandbox.run("backup", check=0)
            for arguments in (("backup",), ("backup", "verify", "--every-kind"), ("migrate", "down", "--to", "0", "--allow-data-loss"), ("migrate",)):
                text, _ = at_terminal(sandbox, *arguments, separate=False, NO_COLOR="1")
                for line in text.split("\r\n"):
                    kept = line.rsplit(ERASE, 1)[-1]
                    self.assertFalse(re.match(r"(backup|verify): |migrate: (migration|undoing)", kept), repr(line))
                    before = line.rsplit(ERASE, 1)[0] if ERASE in line else ""
                    self.assertNotRegex(before, r"✓|applying 0001_\w+$", repr(line))

    def test_it_is_cut_to_the_width(self):
        with sqlite_deployment() as sandbox:
            fill(sandbox, 3)
            text, _ = at_terminal(sandbox, "backup", columns=30)
            self.assertTrue(frames(text))
            for frame in frames(text):
                self.assertLess(len(frame), 30, frame)
            self.assertTrue(any(frame.endswith("…") for frame in frames(text)), text)

    def test_who_wants_nothing_gets_nothing(self):
        with sqlite_deployment() as sandbox:
            for arguments, environment in ((("backup", "--quiet"), {}), (("backup", "--json"), {}), (("backup",), {"TERM": "dumb"}), (("backup",), {"TERM": ""}), (("drill", "--json"), {})):
                with self.subTest(arguments=arguments, environment=environment):
                    self.assertEqual(at_terminal(sandbox, *arguments, **environment)[0], "")
            text, _ = at_terminal(sandbox, "backup", NO_COLOR="1")
            self.assertFalse(re.search(r"\x1b\[[0-9;]*m", text), text)

    def test_an_error_takes_the_lines_place(self):
        with sqlite_deployment() as sandbox:
            fill(sandbox, 2)
            sandbox.run("backup", check=0)
            payload = next((sandbox.directory / "backups/full").glob("2*/db.sqlite.zst.age"))
            with open(payload, "r+b") as file:
                file.seek(-10, os.SEEK_END)
                file.write(b"\0" * 10)
            text, _ = at_terminal(sandbox, "backup", "verify", check=65)
            self.assertTrue(frames(text), text)
            self.assertRegex(text, r"\r\x1b\[K(\x1b\[[0-9;]*m)?aragora:")

    def test_a_dump_of_postgresql_has_no_more_than_an_estimate(self):
        with postgres_database() as url, sqlite_deployment() as sandbox:
            sandbox.environment["DATABASE_URL"] = url
            sandbox.run("migrate", check=0)
            text, out = at_terminal(sandbox, "backup")
            self.assertRegex(self.last(text, "reading the database"), rf"^backup: reading the database, {SIZE} of about {SIZE}") if "reading the database" in text else None
            text, out = at_terminal(sandbox, "backup", "verify")
            self.require_gone(text)
            tables = re.search(r"(\d+) tables", out)[1]
            self.assertIn(f"{tables} of {tables} tables", self.last(text, "counting rows"))

    def test_a_cluster_is_replayed_to_where_its_log_ends(self):
        with Cluster(wal_level="replica") as cluster, sqlite_deployment() as sandbox:
            sandbox.environment["DATABASE_URL"] = cluster.url
            sandbox.run("migrate", check=0)
            text, _ = at_terminal(sandbox, "backup", "create", "--kind", "base")
            self.require_gone(text)
            for frame in frames(text):
                self.assertNotRegex(frame, r"%")
            target = cluster.directory / "recovered"
            text, out = at_terminal(sandbox, "backup", "verify", "--input", "latest-base")
            self.require_gone(text)
            self.assertRegex(text, rf"unpacking the base backup|replaying the log")
            self.assertFalse(target.exists())


class WithoutATerminal(unittest.TestCase):
    def test_a_short_run_is_silent(self):
        with sqlite_deployment() as sandbox:
            for arguments in (("backup",), ("backup", "verify"), ("verify",), ("drill",), ("restore", "--input", "latest", "--yes")):
                self.assertEqual(sandbox.run(*arguments, check=0).stderr, "", arguments)

    def test_a_long_one_says_a_plain_line_now_and_then(self):
        with sqlite_deployment() as sandbox:
            fill(sandbox, 15)
            said = sandbox.run("backup", "--max-rate", "1M", check=0)
            self.assertRegex(said.stderr, r"^(backup: [^\r\x1b\n]+\n)+$")
            self.assertEqual(sandbox.run("backup", "--max-rate", "1M", "--quiet", check=0).stderr, "")


if __name__ == "__main__":
    main()
