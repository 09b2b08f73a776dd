"""Memory does not grow with the data: every step of a backup's life on a few hundred MB stays below 64 MB."""
import contextlib
import os
import random
import sqlite3
import subprocess
import unittest

from support import BINARY, Sandbox, main, postgres_database

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


if __name__ == "__main__":
    main()
