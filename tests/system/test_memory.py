"""Memory does not grow with the data: every step of a backup's life on a few hundred MB stays below 64 MB. With the debates that are held at
once it grows so little that a thousand fit."""
import contextlib
import os
import pathlib
import random
import re
import sqlite3
import subprocess
import threading
import unittest

from support import BINARY, Daemon, Sandbox, main, postgres_database
from survival import SEATS, Panel, create, deployment, page, until

LIMIT = 64 * 1024  # KiB
ROWS = 4_800  # of 64 KiB: 300 MB


def peak(sandbox, *arguments):
    """The largest resident size of the process itself, in KiB; its children are programs of others."""
    process = subprocess.Popen([BINARY, *map(str, arguments)], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    assert process.returncode == 0, f"{arguments}: {error.decode()}"
    return usage.ru_maxrss


class Memory(unittest.TestCase):
    def life_of_a_backup(self, sandbox):
        backups = sandbox.directory / "backups"
        for arguments in (("backup", "-q", "--output", backups), ("backup", "verify", "-q", "--input", backups / "latest"), ("restore", "-q", "--input", backups / "latest", "--yes"), ("verify", "-q")):
            with self.subTest(step=arguments[:2]):
                self.assertLess(peak(sandbox, *arguments), LIMIT)

    def test_sqlite(self):
        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)
            with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database, database:
                database.executemany("INSERT INTO settings (name, value, updated_at) VALUES (?, ?, 0)", ((f"filler-{i}", random.randbytes(32768).hex()) for i in range(ROWS)))
            self.life_of_a_backup(sandbox)

    def test_postgres(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url) as sandbox:
            sandbox.run("migrate", check=0)
            loader = subprocess.Popen(["psql", "-qX", url, "-c", "COPY settings (name, value, updated_at) FROM stdin"], stdin=subprocess.PIPE, text=True)
            for i in range(ROWS):
                loader.stdin.write(f"filler-{i}\t{random.randbytes(32768).hex()}\t0\n")
            loader.stdin.close()
            self.assertEqual(loader.wait(), 0)
            self.life_of_a_backup(sandbox)


# After those above: a program that is started takes over the peak of who starts it, and this test makes Python large.
class OpenDebates(unittest.TestCase):
    COUNT = 300
    HELD, THROUGH = 400, 1024  # KiB for each; measured: 202 of its own, 620 at most and of all that is resident

    def test_debates_that_are_held_at_once_take_little_each(self):
        """With a call of every seat on a socket of its own, and then through all of their phases."""
        def kibibytes(name):
            return int(re.search(rf"^{name}:\s+(\d+)", pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text(), re.M)[1])

        answered = threading.Event()
        with Panel(lambda _: answered.wait(120)) as panel, deployment(panel, ARAGORA_MAX_CONCURRENT_DEBATES="1000") as sandbox, Daemon(sandbox) as daemon:
            idle = kibibytes("RssAnon")
            for number in range(self.COUNT):
                create(daemon, {"task": f"t {number}", "agents": SEATS, "rounds": 1})
            until(lambda: len(panel.asked) == self.COUNT * len(SEATS), "not all are asked", 60)
            self.assertLess((kibibytes("RssAnon") - idle) / self.COUNT, self.HELD)
            answered.set()
            until(lambda: page(daemon, "status=completed&limit=1")["total"] == self.COUNT, "not all end", 120)
            self.assertLess(kibibytes("VmHWM") / self.COUNT, self.THROUGH)


if __name__ == "__main__":
    main()
