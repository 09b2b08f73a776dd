"""A disk without space: what cannot be written is said as such, once in the log; reads go on, and so does everything once there is
space again."""
import contextlib
import json
import os
import secrets
import subprocess
import threading
import time
import unittest

from support import Cluster, Daemon, Sandbox, TinyDisk, main, sqlite_deployment
from test_provider import KEY, Endpoint, speak

IN_A_ROW = 20


def task():
    """Several pages that no database makes smaller: a row of a few bytes finds room where an old version of another was."""
    return {"task": secrets.token_hex(10_000), "rounds": 0}


class FullDisk(unittest.TestCase):
    def until(self, daemon, status):
        deadline = time.monotonic() + 20
        while daemon.get("/api/ready")[0] != status:
            self.assertLess(time.monotonic(), deadline, daemon.text()[-3000:])
            time.sleep(0.05)

    def survives(self, daemon, fill, empty):
        _, before = daemon.post("/api/debates", {"task": "before", "rounds": 0})
        daemon.wait_finished(before["debate_id"])
        fill()
        taken, refused = [], 0
        deadline = time.monotonic() + 60
        while refused < IN_A_ROW:
            status, headers, body = daemon.request("POST", "/api/debates", task())
            self.assertIn(status, (200, 507), body)
            self.assertLess(time.monotonic(), deadline, "never full")
            if status == 200:  # pages that the database had in stock
                taken.append(json.loads(body)["debate_id"])
                refused = 0
                continue
            refused += 1
            self.assertIn(b"no space", body)
            self.assertIn(b"STORAGE_FULL", body)
            self.assertGreater(int(headers["retry-after"]), 0)
        self.until(daemon, 503)
        ready = daemon.get("/api/ready")[1]
        self.assertEqual(ready["database"], "full")
        self.assertIn("no space", ready["reason"])
        self.assertEqual(daemon.get(f"/api/debates/{before['debate_id']}")[0], 200, "reads go on")
        self.assertEqual(daemon.text().count("database: full"), 1)
        self.assertNotIn("internal server error", daemon.text())
        complaints = [line for line in daemon.text().splitlines() if " request " in line and line.split()[1] in ("warning", "error")]
        self.assertLess(len(complaints), 5, daemon.text())
        empty()
        self.until(daemon, 200)
        _, after = daemon.post("/api/debates", {"task": "after", "rounds": 0})
        for debate in [*taken, after["debate_id"]]:
            self.assertEqual(daemon.wait_finished(debate)["status"], "completed", "what was acknowledged is kept")
        self.assertEqual(daemon.text().count("database: connected"), 1)

    def test_of_the_embedded_database(self):
        with Sandbox() as sandbox, TinyDisk(sandbox.directory / "state", size="6m") as disk:
            sandbox.prefix = disk.prefix
            with Daemon(sandbox) as daemon:
                self.survives(daemon, disk.fill, disk.empty)
            sandbox.run("verify", check=0)

    def test_debates_that_run_into_it_say_so_once(self):
        answers = threading.Event()

        def answer(_, body):
            answers.wait(60)
            return speak(body)

        with Endpoint(answer) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY, ARAGORA_DEFAULT_AGENTS="openai:a,openai:b,openai:c") as sandbox, \
                TinyDisk(sandbox.directory / "state", size="12m") as disk:  # the WAL alone takes up to 4 MB
            sandbox.prefix = disk.prefix
            with Daemon(sandbox) as daemon:
                ids = [daemon.post("/api/debates", {"task": "t", "rounds": 0})[1]["debate_id"] for _ in range(20)]
                deadline = time.monotonic() + 30
                while len(endpoint.requests) < 60:
                    self.assertLess(time.monotonic(), deadline, daemon.text())
                    time.sleep(0.02)
                disk.fill()
                answers.set()
                self.until(daemon, 503)
                time.sleep(12)  # several tries of each
                troubles = [line for line in daemon.text().splitlines() if " warning " in line or " error " in line]
                told = [line for line in troubles if "debate" in line or "lease" in line]
                self.assertLessEqual(len(told), 2, told)  # of debates, of leases
                self.assertLessEqual(len(troubles), 4, troubles)
                disk.empty()
                self.until(daemon, 200)
                for debate in ids:
                    self.assertEqual(daemon.wait_finished(debate, limit=60)["status"], "completed")
                self.assertEqual(daemon.text().count("debates run again"), 1)
            sandbox.run("verify", check=0)

    def test_of_the_database_server(self):
        self.assertEqual(os.geteuid(), 0, "needs root: it mounts a small disk")
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
            small = cluster.directory / "small"
            small.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", small], check=True)
            try:
                place = small / "place"
                place.mkdir(mode=0o700)
                subprocess.run(["chown", "postgres", place], check=True)
                sandbox.run("migrate", check=0)
                cluster.sql(f"CREATE TABLESPACE tiny LOCATION '{place}'", user="postgres", database="postgres")
                for table in ("debates", "debate_events", "settings"):
                    # Not vacuumed: that would make room in the middle of the test.
                    cluster.sql(f"ALTER TABLE {table} SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)", user="postgres")
                    cluster.sql(f"ALTER TABLE {table} SET TABLESPACE tiny", user="postgres")
                with Daemon(sandbox) as daemon:
                    self.survives(daemon, lambda: subprocess.run(["dd", "if=/dev/zero", f"of={small}/filler", "bs=4k"], stderr=subprocess.DEVNULL), (small / "filler").unlink)
            finally:
                with contextlib.suppress(subprocess.CalledProcessError):
                    cluster.stop("immediate")
                subprocess.run(["umount", "-l", small], check=True)

    def test_a_command_says_what_is_full(self):
        with sqlite_deployment() as sandbox, TinyDisk(sandbox.directory / "backups", size="1m") as disk:
            sandbox.prefix = disk.prefix
            disk.fill()
            result = sandbox.run("backup", check=74)
            self.assertIn("free space", result.stderr)


if __name__ == "__main__":
    main()
