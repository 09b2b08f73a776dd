"""What clients of the original call beside creating and listing: the views of a debate, search, statistics, changes."""
import concurrent.futures
import contextlib
import json
import re
import signal
import sqlite3
import subprocess
import unittest

from support import Daemon, Sandbox, main, postgres_database
from test_debates import until


class Routes:
    """On either engine; the subclasses say which."""

    @classmethod
    def setUpClass(cls):
        cls.sandbox = cls.enterClassContext(cls.database())
        cls.sandbox.run("migrate", check=0)
        cls.daemon = cls.enterClassContext(Daemon(cls.sandbox))
        created = cls.daemon.post("/api/debates", {"topic": "Is a 100% rollout wise?", "context": "a cluster of three", "rounds": 1, "agents": ["demo-a", "demo-b", "demo-c"]})
        cls.id = created[1]["debate_id"]
        cls.daemon.wait_finished(cls.id)
        cls.debate = cls.get(f"/api/debates/{cls.id}")

    @classmethod
    def get(cls, path, status=200):
        got, body = cls.daemon.get(path)[:2]
        assert got == status, (path, got, body)
        return body

    def send(self, method, path, body=None):
        status, _, answer = self.daemon.request(method, path, body)
        return status, json.loads(answer)

    def test_views_say_what_the_whole_says(self):
        rounds = self.get(f"/api/v1/debates/{self.id}/rounds")
        self.assertEqual(rounds["rounds"], self.debate["rounds"])
        self.assertEqual(rounds["total"], len(self.debate["rounds"]))
        votes = self.get(f"/api/debates/{self.id}/votes")["votes"]
        self.assertEqual(votes, [vote for one in self.debate["rounds"] for vote in one["votes"]])
        self.assertEqual([vote["kind"] for vote in votes], ["blind"] * 3 + ["final"] * 3)
        seats = self.get(f"/api/debates/{self.id}/agents")["agents"]
        self.assertEqual([seat["name"] for seat in seats], ["demo-a", "demo-b", "demo-c"])
        said = [message["agent"] for one in self.debate["rounds"] for message in one["messages"]]
        self.assertEqual([seat["messages"] for seat in seats], [said.count(seat["name"]) for seat in seats])
        self.assertTrue(all(seat["messages"] > 0 and seat["votes"] == 2 for seat in seats), seats)
        consensus = self.get(f"/api/debates/{self.id}/consensus")
        self.assertEqual(consensus["consensus"], self.debate["consensus"])
        self.assertEqual((consensus["decided"], consensus["reached"]), (True, self.debate["consensus"]["reached"]))
        summary = self.get(f"/api/debates/{self.id}/summary")
        self.assertEqual(summary["conclusion"], self.debate["final_answer"])
        timeline = self.get(f"/api/debates/{self.id}/timeline")["timeline"]
        self.assertEqual([event["seq"] for event in timeline], list(range(1, len(timeline) + 1)))
        for view in ("rounds", "votes", "agents", "consensus", "summary", "timeline", "export"):
            self.assertIn("Debate not found", self.get(f"/api/debates/nobody/{view}", 404)["error"])

    def test_export(self):
        whole = self.get(f"/api/debates/{self.id}")
        self.assertEqual(self.get(f"/api/debates/{self.id}/export?format=json"), whole)
        self.assertEqual(self.get(f"/api/debates/{self.id}/export/json"), whole)
        status, headers, body = self.daemon.request("GET", f"/api/debates/{self.id}/export/md")
        text = body.decode()
        self.assertEqual(status, 200)
        self.assertTrue(headers["content-type"].startswith("text/markdown"), headers)
        self.assertIn(f'filename="debate-{self.id}.md"', headers["content-disposition"])
        self.assertIn("> Is a 100% rollout wise?", text)
        for one in self.debate["rounds"]:
            for message in one["messages"]:
                for line in message["content"].splitlines():
                    self.assertIn(line, text)
        self.assertIn("no export as 'pdf'", self.get(f"/api/debates/{self.id}/export/pdf", 400)["error"])

    def test_search_takes_words_as_they_stand(self):
        mine, other = (self.daemon.post("/api/debates", {"task": f"Do you {word} geese?", "rounds": 0})[1]["debate_id"] for word in ("100% like", "1000 like"))
        for debate_id in (mine, other):
            self.daemon.wait_finished(debate_id)
        for name in ("q", "query"):
            found = self.get(f"/api/v1/search?{name}=100%25%20LIKE%20GEESE")
            self.assertEqual(([debate["id"] for debate in found["results"]], found["total"]), ([mine], 1), found)
        self.assertEqual(found["items"], found["debates"])
        both = self.get("/api/search?q=like%20geese&limit=1")
        self.assertEqual((both["total"], both["count"], both["has_more"], both["results"][0]["id"]), (2, 1, True, other))
        self.assertEqual(self.get("/api/search?q=like%20geese&limit=1&offset=1")["results"][0]["id"], mine)
        for words in ("%25%25", "_like%20geese", "%5C"):
            self.assertEqual(self.get(f"/api/search?q={words}")["total"], 0, words)
        self.get("/api/search", 400)
        self.get("/api/search?q=%20", 400)

    def test_statistics_are_counted(self):
        listed = self.get("/api/debates?limit=100")["debates"]
        stats = self.get("/api/debates/stats")
        self.assertEqual(stats["total"], sum(stats["by_status"].values()))
        self.assertGreaterEqual(stats["total"], 1)
        completed = [debate for debate in listed if debate["status"] == "completed"]
        self.assertLessEqual(stats["consensus_reached"], stats["completed"])
        self.assertTrue(0 < stats["average_confidence"] <= 1 or stats["consensus_reached"] == 0, stats)
        self.assertTrue(completed)
        self.assertEqual(self.get("/api/v1/debates/statistics").keys(), stats.keys())
        self.assertEqual(self.get("/api/history/debates?limit=1").keys(), self.get("/api/debates?limit=1").keys())

    def test_disagreements_come_from_votes(self):
        for debate in self.get("/api/analytics/disagreements?limit=100")["disagreements"]:
            whole = self.get(f"/api/debates/{debate['debate_id']}")
            self.assertEqual(debate["dissenting_agents"], whole["consensus"]["dissenting_agents"])
            self.assertTrue(debate["dissenting_agents"] or not whole["consensus_reached"], whole["consensus"])
        expected = {d["id"] for d in self.get("/api/debates?limit=100")["debates"] if d["status"] == "completed" and (not d["consensus_reached"] or d["consensus"]["dissenting_agents"])}
        self.assertEqual({d["debate_id"] for d in self.get("/api/analytics/disagreements?limit=100")["disagreements"]}, expected)

    def test_changes_stay_and_are_audited(self):
        for method in ("PATCH", "PUT"):
            status, body = self.send(method, f"/api/v1/debates/{self.id}", {"title": f"by {method}", "tags": ["a", "ü"], "metadata": {"k": 1}})
            self.assertEqual(status, 200, body)
            self.assertEqual((body["updated_fields"], body["debate"]["title"], body["debate"]["tags"]), (["title", "tags", "metadata"], f"by {method}", ["a", "ü"]))
        self.assertEqual(self.get(f"/api/debates/{self.id}")["metadata"], {"title": "by PUT", "tags": ["a", "ü"], "k": 1})
        for wrong in ({}, {"status": "archived"}, {"title": 1}, {"tags": "a"}, {"tags": ["x" * 101]}, {"metadata": []}, {"metadata": {"x": "y" * 20_000}}):
            status, body = self.send("PATCH", f"/api/debates/{self.id}", wrong)
            self.assertEqual((status, body["code"]), (400, "VALIDATION_ERROR"), body)
        self.assertEqual(self.send("PATCH", "/api/debates/nobody", {"title": "x"})[0], 404)
        self.assertEqual(self.audited("debate.update"), 2)

    def test_fork_and_batch_run(self):
        status, body = self.send("POST", f"/api/debates/{self.id}/fork", {"rounds": 0})
        self.assertEqual((status, body["forked_from"], body["rounds"], body["agents"]), (200, self.id, 0, ["demo-a", "demo-b", "demo-c"]), body)
        self.daemon.wait_finished(body["debate_id"])
        forked = self.get(f"/api/debates/{body['debate_id']}")
        self.assertEqual((forked["task"], forked["context"], forked["metadata"]["forked_from"]), (self.debate["task"], "a cluster of three", self.id))
        self.assertEqual(self.send("POST", f"/api/debates/{self.id}/clone")[0], 200)
        status, body = self.send("POST", "/api/debates/batch", {"items": [{"question": f"batch {i}", "rounds": 0} for i in range(3)]})
        self.assertEqual((status, body["submitted"], body["errors"]), (200, 3, []), body)
        for one in body["debates"]:
            self.daemon.wait_finished(one["debate_id"])
        for path in (f"/api/v1/debates/batch/{body['batch_id']}/status", f"/api/debates/batch/{body['batch_id']}"):
            batch = self.get(path)
            self.assertEqual((batch["status"], batch["total"], batch["completed"], batch["pending"]), ("completed", 3, 3, 0), batch)
            self.assertEqual([debate["task"] for debate in batch["debates"]], ["batch 0", "batch 1", "batch 2"])
        self.assertIn("Batch not found", self.get("/api/debates/batch/nobody/status", 404)["error"])
        self.assertEqual(self.get("/api/debates/queue/status")["queued"], 0)
        for wrong in ({}, {"items": []}, {"items": [{"task": "good", "rounds": 0}, {"task": " "}]}, {"items": [1]}, {"items": [{"task": "x"}] * 51}):
            self.assertEqual(self.send("POST", "/api/debates/batch", wrong)[0], 400, wrong)
        self.assertEqual(self.get("/api/search?q=good")["total"], 0, "all of a batch are understood, or none is created")

    def test_a_debate_is_deleted_for_good(self):
        listed = self.get("/api/debates")["total"]
        debate_id = self.daemon.post("/api/debates", {"task": "to be deleted", "rounds": 0})[1]["debate_id"]
        self.daemon.wait_finished(debate_id)
        before = {entry["name"]: entry for entry in self.get("/api/leaderboard?limit=100")["rankings"]}
        status, body = self.send("DELETE", f"/api/debates/{debate_id}?dry_run=true")
        self.assertEqual((status, body["deleted"]), (200, False), body)
        self.assertEqual(self.send("DELETE", f"/api/debates/{debate_id}?dry_run=perhaps")[0], 400)
        self.assertEqual(self.get("/api/debates")["total"], listed + 1)
        status, body = self.send("DELETE", f"/api/v1/debates/{debate_id}")
        self.assertEqual((status, body["deleted"], body["id"]), (200, True, debate_id), body)
        self.assertGreater(body["events"], 3)
        for path in (f"/api/debates/{debate_id}", f"/api/debates/{debate_id}/messages", f"/api/debates/{debate_id}/events"):
            self.get(path, 404)
        self.assertEqual(self.send("DELETE", f"/api/debates/{debate_id}")[0], 404)
        page = self.get("/api/debates")
        self.assertEqual((page["total"], debate_id in [debate["id"] for debate in page["debates"]]), (listed, False))
        self.assertEqual(self.get("/api/search?q=to%20be%20deleted")["total"], 0)
        self.assertEqual(self.audited("debate.delete"), 1)
        after = {entry["name"]: entry for entry in self.get("/api/leaderboard?limit=100")["rankings"]}
        self.assertLess(sum(entry["matches"] for entry in after.values()), sum(entry["matches"] for entry in before.values()))
        self.sandbox.run("verify", check=0)

    def test_the_audience_speaks_before_the_end(self):
        for wrong in ({}, {"content": " "}, {"content": 1}, {"content": "x" * 8001}, {"content": "x", "role": "assistant"}):
            self.assertEqual(self.send("POST", f"/api/debates/{self.id}/messages", wrong)[0], 400, wrong)
        status, body = self.send("POST", f"/api/debates/{self.id}/messages", {"content": "too late"})
        self.assertEqual((status, body["code"]), (409, "CONFLICT"), body)
        self.assertEqual(self.send("POST", "/api/debates/nobody/messages", {"content": "x"})[0], 404)
        seen = self.speak_early()
        messages = self.get(f"/api/debates/{seen['debate_id']}/messages")["messages"]
        mine = [message for message in messages if message["role"] == "user"]
        self.assertEqual([message["content"] for message in mine], ["mind the cost"])
        self.assertEqual(mine[0]["agent"], seen["message"]["agent"])
        events = self.get(f"/api/debates/{seen['debate_id']}/events?limit=500")["events"]
        self.assertEqual([event["seq"] for event in events], list(range(1, len(events) + 1)))
        self.assertIn("mind the cost", self.daemon.request("GET", f"/api/debates/{seen['debate_id']}/export/md")[2].decode())
        self.sandbox.run("verify", check=0)

    def speak_early(self):
        """A debate that heard us: those that are over before we spoke do not count."""
        for _ in range(50):
            debate_id = self.daemon.post("/api/debates", {"task": "speak up", "rounds": 5, "agents": [f"demo-{i}" for i in range(8)]})[1]["debate_id"]
            status, body = self.send("POST", f"/api/debates/{debate_id}/messages", {"content": "mind the cost", "role": "user"})
            self.daemon.wait_finished(debate_id)
            if status == 200:
                return body
            self.assertEqual(status, 409, body)
        self.fail("no debate lasted until we spoke")

    def test_each_debate_of_a_batch_counts(self):
        with self.another(ARAGORA_DEBATE_RATE_LIMIT="3", ARAGORA_IP_RATE_LIMIT="1000") as daemon:
            status, _, answer = daemon.request("POST", "/api/debates/batch", {"items": [{"task": f"many {i}", "rounds": 0} for i in range(9)]})
            body = json.loads(answer)
            self.assertEqual(status, 200, body)
            self.assertTrue(3 <= body["submitted"] <= 4, body)
            self.assertEqual(body["submitted"] + len(body["errors"]), 9)
            self.assertIn("too many debates", body["errors"][0]["error"])

    @contextlib.contextmanager
    def another(self, **environment):
        with Sandbox() as sandbox, Daemon(sandbox, **environment) as daemon:
            yield daemon

    def test_agents_and_leaderboard(self):
        agents = self.get("/api/agents")
        self.assertEqual(agents["items"], agents["agents"])
        rated = {entry["name"]: entry for entry in self.get("/api/leaderboard?limit=100")["rankings"]}
        one = self.get("/api/agents/demo-a")
        self.assertEqual((one["name"], one["available"], one["elo"]), ("demo-a", True, rated["demo-a"]["elo"]))
        self.assertIn("nobody speaks for it", self.get("/api/agents/nobody", 404)["error"])
        self.assertIn("needs the provider xAI", self.get("/api/agents/grok", 404)["error"])
        for agent, provider in (("gemini", "GEMINI_API_KEY"), ("grok-4", "xAI"), ("claude", "ANTHROPIC_API_KEY"), ("anthropic-api", "ANTHROPIC_API_KEY")):
            status, body = self.daemon.post("/api/debates", {"task": "x", "agents": [agent, "demo-a"]})[:2]
            self.assertEqual(status, 400)
            self.assertIn(provider, body["error"])
        view = self.get("/api/leaderboard-view")
        self.assertEqual(view["data"]["rankings"]["count"], len(rated))
        self.assertAlmostEqual(view["data"]["stats"]["mean_elo"], sum(entry["elo"] for entry in rated.values()) / len(rated), places=6)

    def test_health_family(self):
        self.assertEqual(self.get("/api/health/live"), {"status": "ok"})
        self.assertEqual(self.get("/api/v1/health/ready")["status"], "ready")
        self.assertEqual(self.get("/api/health/detailed").keys(), self.get("/api/health").keys())
        self.assertEqual(self.get("/api/health/db")["database"], "connected")
        self.assertEqual(self.get("/api/health/redis"), {"status": "not_configured", "healthy": True, "configured": False, "redis": "not_configured"})
        version = self.get("/api/version")
        self.assertEqual(version["version"], re.search(r"[\d.]+\d", self.sandbox.run("--version", check=0).stdout).group(0))

    def test_what_is_not_built_is_said(self):
        body = self.get(f"/api/debates/{self.id}/citations", 404)
        self.assertIn("/api/debates/{id}/votes", body["hint"])
        self.assertNotIn("/api/agents", body["hint"])
        self.assertIn("/api/health", self.get("/api/invoices", 404)["hint"])
        self.assertEqual(self.send("DELETE", f"/api/debates/{self.id}/votes")[0], 405)
        status, body = self.daemon.post("/api/debates", {"task": "x", "consensus": "byzantine"})[:2]
        self.assertEqual(status, 400)
        self.assertIn("'byzantine' is not one of majority, supermajority, unanimous, weighted, judge, any", body["error"])

    def test_each_route_is_described(self):
        described = self.get("/api/openapi.json")["paths"]
        for path in ("/api/search", "/api/debates/batch", "/api/debates/{id}/fork", "/api/health/db"):
            self.assertIn("x-permission", json.dumps(described[path]), path)
        self.assertEqual(described["/api/debates/{id}"].keys(), {"get", "patch", "put", "delete"})


class AllDebates(unittest.TestCase):
    """What costs a look at all debates: a few times a minute, two at once, and never at the cost of the others."""
    REPORTS = ("/api/search?q=x", "/api/analytics/disagreements")

    @contextlib.contextmanager
    def locked(self, url):
        """Whoever looks at debates waits until it is left."""
        with subprocess.Popen(["psql", "-XAtq", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            holder.stdin.write("BEGIN; LOCK TABLE debates IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n")
            holder.stdin.flush()
            self.assertEqual(holder.stdout.readline(), "held\n")
            try:
                yield
            finally:
                holder.stdin.close()

    def waiting(self, url):
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM debates d %' AND query NOT LIKE '%debate_leases%'"
        return int(subprocess.run(["psql", "-XAt", url, "-c", sql], capture_output=True, text=True, check=True).stdout)

    def test_two_at_once_and_the_others_are_told(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="0", ARAGORA_MAX_CONCURRENT_DEBATES="1") as daemon, concurrent.futures.ThreadPoolExecutor(8) as pool:
                with self.locked(url):
                    held = [pool.submit(daemon.request, "GET", path) for path in self.REPORTS]
                    until(lambda: self.waiting(url) >= 2, 20)
                    for path in self.REPORTS * 10 + ("/api/debates/stats",) * 10:
                        status, headers, body = daemon.request("GET", path)
                        self.assertEqual((status, int(headers["retry-after"]) > 0, json.loads(body)["code"]), (503, True, "SERVICE_UNAVAILABLE"), path)
                    self.assertEqual({daemon.get(path)[0] for path in ("/api/agents", "/api/leaderboard") * 20}, {200})
                    self.assertEqual([one.done() for one in held], [False, False])
                self.assertEqual([one.result()[0] for one in held], [200, 200])
                for path in self.REPORTS:
                    self.assertEqual(daemon.get(path)[0], 200, "the places are given back")

    def test_statistics_are_counted_by_one_and_kept(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="0") as daemon:
                counted = daemon.get("/api/debates/stats")[1]
                daemon.post("/api/debates", {"task": "one more", "rounds": 0})
                with self.locked(url):
                    for path in ("/api/debates/stats", "/api/v1/debates/statistics") * 2:
                        self.assertEqual(daemon.get(path)[:2], (200, counted), "kept, whatever was written since")

    def test_a_few_a_minute_for_each_caller(self):
        with Sandbox() as sandbox, Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="120") as daemon:
            answers = [daemon.request("GET", self.REPORTS[turn % 2]) for turn in range(14)]
            self.assertEqual([status for status, _, _ in answers], [200] * 10 + [429] * 4)
            self.assertIn('"reports";q=10;w=60', answers[0][1]["ratelimit-policy"])
            self.assertEqual({daemon.get("/api/debates/stats")[0] for _ in range(20)}, {200})
            self.assertEqual(daemon.get("/api/debates")[0], 200)
        with Sandbox() as sandbox:
            path = sandbox.write("here.toml", "[server]\nreport_rate_limit = 3\n")
            with Daemon(sandbox, ARAGORA_CONFIG=str(path), ARAGORA_IP_RATE_LIMIT="10000") as daemon:
                self.assertEqual([daemon.get(self.REPORTS[0])[0] for _ in range(4)], [200] * 3 + [429])
                path.write_text("[server]\nreport_rate_limit = 600\n")
                daemon.process.send_signal(signal.SIGHUP)
                until(lambda: daemon.get(self.REPORTS[0])[0] == 200, 10)


COUNT = "SELECT count(*) FROM audit_log WHERE action = '{}'"


class OnSqlite(Routes, unittest.TestCase):
    @classmethod
    def database(cls):
        return Sandbox()

    def audited(self, action):
        with contextlib.closing(sqlite3.connect(self.sandbox.directory / "state/aragora.db")) as database:
            return database.execute(COUNT.format(action)).fetchone()[0]


class OnPostgres(Routes, unittest.TestCase):
    @classmethod
    def database(cls):
        cls.url = cls.enterClassContext(postgres_database())
        return Sandbox(DATABASE_URL=cls.url)

    def audited(self, action):
        return int(subprocess.run(["psql", "-XAt", self.url, "-c", COUNT.format(action)], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
