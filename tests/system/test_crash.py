"""kill -9 under load: nothing acknowledged is lost, nothing comes twice, and the next start is quick."""
import http.client
import json
import random
import threading
import time
import unittest

from support import Cluster, Daemon, Sandbox, main, postgres_database

CYCLES = 20
WRITERS = 8


class Crash(unittest.TestCase):
    def writer(self, daemon, acknowledged, sent, stop):
        number = 0
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=5)
        while not stop.is_set():
            number += 1
            task = f"writer {threading.get_ident()} {number} {time.monotonic_ns()}"
            sent.append(task)
            try:
                connection.request("POST", "/api/debates", json.dumps({"task": task, "rounds": 0}), {"Content-Type": "application/json"})
                response = connection.getresponse()
                body = json.loads(response.read())
                if response.status == 200:
                    acknowledged.append((body["debate_id"], task))
            except (OSError, http.client.HTTPException, ValueError):
                break
        connection.close()

    def cycles(self, sandbox):
        acknowledged = []
        slowest = 0
        random.seed(3)
        for _ in range(CYCLES):
            daemon = Daemon(sandbox)
            slowest = max(slowest, daemon.ready_after)
            stop = threading.Event()
            sent = []
            writers = [threading.Thread(target=self.writer, args=(daemon, acknowledged, sent, stop)) for _ in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(random.uniform(0.05, 0.5))
            daemon.kill()
            stop.set()
            for writer in writers:
                writer.join()
            daemon.log.close()
        self.assertGreater(len(acknowledged), CYCLES * 5)
        with Daemon(sandbox) as daemon:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                unfinished = sum(daemon.get(f"/api/debates?status={status}&limit=1")[1]["total"] for status in ("created", "running"))
                if unfinished == 0:
                    break
                time.sleep(0.2)
            self.assertEqual(unfinished, 0, "what was interrupted is resumed at the next start")
            found = {}
            offset = 0
            while True:
                _, page = daemon.get(f"/api/debates?limit=100&offset={offset}")
                for debate in page["debates"]:
                    self.assertNotIn(debate["id"], found)
                    found[debate["id"]] = debate["task"]
                offset += 100
                if not page["has_more"]:
                    break
            lost = [task for debate_id, task in acknowledged if found.get(debate_id) != task]
            self.assertEqual(lost, [], "acknowledged debates that are gone")
            self.assertEqual(len(set(found.values())), len(found), "a task that stands twice")
            for debate_id in random.sample(sorted(found), 20):
                events = daemon.get(f"/api/debates/{debate_id}/events?limit=500")[1]["events"]
                keys = [(e["type"], e["round"], e["agent"]) for e in events if e["type"] not in ("agent_message", "critique")]
                self.assertEqual(len(keys), len(set(keys)), f"an event of {debate_id} stands twice")
        sandbox.run("verify", check=0, timeout=300)
        print(f"{len(acknowledged)} acknowledged in {CYCLES} cycles, slowest ready after {slowest * 1000:.0f} ms")
        self.assertLess(slowest, 1.0)

    def test_sqlite(self):
        with Sandbox() as sandbox:
            self.cycles(sandbox)

    def test_postgres(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url) as sandbox:
            sandbox.run("migrate", check=0)
            self.cycles(sandbox)


class LostDatabase(unittest.TestCase):
    def until(self, condition, limit=15):
        deadline = time.monotonic() + limit
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_a_database_that_goes_and_comes_back_needs_no_restart_of_ours(self):
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                _, before = daemon.post("/api/debates", {"task": "before", "rounds": 0})
                daemon.wait_finished(before["debate_id"])
                cluster.stop("immediate")
                try:
                    self.until(lambda: daemon.get("/api/health")[1]["status"] == "degraded")
                    self.assertEqual(daemon.get("/api/health")[0], 200, "this process works; a restart would not help")
                    self.assertEqual(daemon.get("/api/ready")[1]["database"], "unreachable")
                    self.assertEqual(daemon.get("/healthz")[0], 200)
                    started = time.monotonic()
                    status, headers, body = daemon.request("POST", "/api/debates", {"task": "meanwhile"})
                    self.assertEqual(status, 503)
                    self.assertIn("retry-after", headers)
                    self.assertNotIn(b"127.0.0.1", body, "clients never see internals")
                    self.assertLess(time.monotonic() - started, 3, "fails fast")
                finally:
                    cluster.start()
                self.until(lambda: daemon.get("/api/ready")[0] == 200)
                _, after = daemon.post("/api/debates", {"task": "after", "rounds": 0})
                self.assertEqual(daemon.wait_finished(after["debate_id"])["status"], "completed")
                self.assertEqual(daemon.get("/api/debates")[1]["total"], 2)
            sandbox.run("verify", check=0)


if __name__ == "__main__":
    main()
