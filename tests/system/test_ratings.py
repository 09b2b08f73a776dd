"""Known ballots give known ratings; pages agree; a deleted debate was never played; what somebody writes to the database is named by
`verify` and mended by `ratings recompute`, beside a running daemon. Both engines."""
import contextlib
import json
import re
import sqlite3
import subprocess
import unittest

from receivers import wait_for
from support import Daemon, Sandbox, main, postgres_database
from test_provider import KEY, Endpoint

MODELS = ["alpha", "beta", "gamma"]
NAMES = [f"openai:{model}-2026" for model in MODELS]
AGENTS = [f"openai:{model}" for model in MODELS]


def speak(_, body):
    """Each model proposes its own name; everybody votes for the first of MODELS that is offered. The model that answers has another name
    than was asked for."""
    asked = json.dumps(body["messages"])
    offered = re.findall(r'id[\\":\s]+(P\d+)\W+?text[\\":\s]+.*?this is (\w+)', asked)
    choice = min((MODELS.index(model), label) for label, model in offered)[1] if offered else "abstain"
    said = f"this is {body['model']}"
    answer = {"choice": choice, "confidence": 80, "reason": "the first", "continue": False, "position": said, "answer": said, "key_claims": [], "decision": "keep", "because": [], "target": choice,
              "weakness": "none", "strength": "short", "strongest_point": "short", "issues": [], "severity": 1, "from": [], "open_risks": [], "dissent": []}
    text = json.dumps(answer)
    return 200, {}, json.dumps({"id": "c1", "object": "chat.completion", "created": 1, "model": body["model"] + "-2026",
                                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}).encode()


class AfterAStart(unittest.TestCase):
    def test_the_log_is_counted_before_anybody_asks(self):
        with Sandbox() as sandbox:
            with Daemon(sandbox) as daemon:
                debate = daemon.post("/api/debates", {"task": "which?", "agents": ["demo-a", "demo-b", "demo-c"], "rounds": 0})[1]
                daemon.wait_finished(debate["debate_id"])
                rankings = daemon.get("/api/leaderboard")[1]["rankings"]
                self.assertEqual(len(rankings), 3)
            with Daemon(sandbox) as daemon:
                wait_for(lambda: "leaderboard: 1 match counted" in daemon.text(), daemon.text)
                with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database, database:
                    database.execute("DELETE FROM matches")  # whoever walks the log now finds nothing
                self.assertEqual({entry["name"] for entry in daemon.get("/api/leaderboard")[1]["rankings"]}, {entry["name"] for entry in rankings})


class Ratings:
    """On either engine; the subclasses say which."""

    @classmethod
    def setUpClass(cls):
        endpoint = cls.enterClassContext(Endpoint(speak))
        cls.sandbox = cls.enterClassContext(cls.database(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY, ARAGORA_IP_RATE_LIMIT="100000"))
        cls.sandbox.run("migrate", check=0)
        cls.daemon = cls.enterClassContext(Daemon(cls.sandbox))
        cls.first = cls.play(domain="finance")

    @classmethod
    def play(cls, **more):
        status, created = cls.daemon.post("/api/debates", {"task": "which?", "agents": AGENTS, "rounds": 0, **more})[:2]
        assert status == 200, created
        debate = cls.daemon.wait_finished(created["debate_id"])
        assert debate["status"] == "completed", debate
        return created["debate_id"]

    def get(self, path, status=200):
        got, body = self.daemon.get(path)[:2]
        self.assertEqual(got, status, (path, body))
        return body

    def standings(self, path="/api/leaderboard"):
        return {entry["name"]: entry for entry in self.get(path)["rankings"]}

    def verified(self, status):
        return self.sandbox.run("verify", check=status).stdout

    def test_known_ballots_give_known_ratings(self):
        table = self.standings()
        self.assertEqual(list(table), NAMES, "by the lower bound")
        for name, elo, rating, deviation, votes in zip(NAMES, (1516, 1500, 1484), (1747.318072, 1500, 1252.681928), (253.404602, 253.404599, 253.404602), (2, 1, 0)):
            with self.subTest(name):
                entry = table[name]
                self.assertAlmostEqual(entry["elo"], elo, places=6)
                self.assertAlmostEqual(entry["rating"], rating, places=4)
                self.assertAlmostEqual(entry["rating_deviation"], deviation, places=4)
                self.assertAlmostEqual(entry["lower_bound"], rating - 2 * deviation, places=3)
                self.assertEqual((entry["matches"], entry["provisional"], entry["rank"], entry["provider"]), (1, True, 1, "openai"), "intervals overlap: they share the rank")
                history = self.get(f"/api/agent/{name}/history")
                self.assertEqual(len(history["history"]), 1)
                point = history["history"][0]
                self.assertEqual((point["debate_id"], point["votes"], point["domain"], point["elo"], point["elo_before"]), (self.first, votes, "finance", entry["elo"], 1500))
                self.assertEqual(history["agent"], entry)
                self.assertEqual(self.get(f"/api/leaderboard/agent/{name}")["elo"], entry["elo"])
        self.assertEqual(self.get("/api/agents/openai:alpha")["elo"], table[NAMES[0]]["elo"], "by the name that it is asked by, too")

    def test_pages_agree(self):
        table = self.standings()
        self.assertEqual(self.standings("/api/v1/rankings?sort_by=elo&order=desc"), table)
        self.assertEqual(self.standings("/api/leaderboard?domain=finance"), table)
        self.assertEqual(self.standings("/api/leaderboard/domain/finance"), table)
        self.assertEqual(self.standings("/api/leaderboard?min_debates=2"), {})
        self.assertEqual(list(self.standings("/api/leaderboard?limit=1&offset=1")), NAMES[1:2])
        self.assertEqual(list(self.standings("/api/rankings?sort_by=elo&order=asc")), NAMES[::-1])
        self.assertEqual(self.get("/api/leaderboard/domains"), {"domains": [{"name": "finance", "agents": 3, "matches": 1}], "total": 1})
        both = self.get(f"/api/leaderboard/compare?agent_a={NAMES[0]}&agent_b={NAMES[2]}")
        self.assertEqual((both["agent_a"], both["agent_b"]), (table[NAMES[0]], table[NAMES[2]]))
        self.assertEqual(both["head_to_head"], {"matches": 1, "a_wins": 1, "b_wins": 0, "draws": 0})
        self.assertFalse(both["distinguishable"])
        view = self.get("/api/leaderboard-view")
        self.assertEqual({entry["name"]: entry for entry in view["global"]}, table)
        self.assertEqual([one["domain"] for one in view["by_domain"]], ["finance"])
        movers = self.get("/api/leaderboard/movers")["movers"]
        self.assertEqual({(one["name"], round(one["elo_change"], 6)) for one in movers}, {(NAMES[0], 16), (NAMES[1], 0), (NAMES[2], -16)})
        match = self.get("/api/matches/recent")["matches"][0]
        self.assertEqual((match["debate_id"], match["winner"]), (self.first, NAMES[0]))
        listed = self.sandbox.run_json("ratings", "list", check=0)["ratings"]
        self.assertEqual([(one["name"], round(one["elo"], 6)) for one in listed], [(name, round(entry["elo"], 6)) for name, entry in table.items()])
        for wrong in ("leaderboard?domain=a%20b", "leaderboard?sort_by=luck", "leaderboard?order=up", "leaderboard?min_debates=-1", "leaderboard/compare?agent_a=x"):
            self.get(f"/api/{wrong}", 400)
        for nobody in ("leaderboard/domain/nothing", "agent/nobody-at-all/history", f"leaderboard/compare?agent_a={NAMES[0]}&agent_b=nobody"):
            self.get(f"/api/{nobody}", 404)

    def test_the_match_is_an_event_of_the_debate(self):
        events = self.get(f"/api/debates/{self.first}/events?limit=500")["events"]
        self.assertEqual([event["type"] for event in events[-2:]], ["match_recorded", "debate_end"])
        data = events[-2]["data"]
        self.assertEqual(data["participants"], NAMES)
        self.assertEqual([(seat["model"], seat["votes"]) for seat in data["seats"]], [("alpha-2026", 2), ("beta-2026", 1), ("gamma-2026", 0)])
        self.assertFalse([ballot for ballot in data["ballots"] if ballot["voter"] == ballot["choice"]])
        self.assertEqual(self.get(f"/api/debates/{self.first}")["metadata"]["domain"], "finance")
        for wrong in ({"domain": "a b"}, {"domain": 1}, {"domain": "x" * 49}, {"metadata": {"domain": "ä"}}):
            self.assertEqual(self.daemon.post("/api/debates", {"task": "x", "agents": AGENTS, "rounds": 0, **wrong})[0], 400, wrong)

    def test_a_deleted_debate_was_never_played(self):
        before = self.standings()
        second = self.play()
        after = self.standings()
        self.assertEqual([entry["matches"] for entry in after.values()], [2, 2, 2])
        self.assertNotEqual(after, before)
        self.assertEqual(self.daemon.request("DELETE", f"/api/debates/{second}")[0], 200)
        self.assertEqual(self.standings(), before)
        self.assertEqual(len(self.get(f"/api/agent/{NAMES[0]}/history")["history"]), 1)
        self.verified(0)

    def test_what_was_written_to_the_database_is_named_and_mended(self):
        table = self.standings()
        tampered = {
            f"UPDATE ratings SET elo = 3000 WHERE agent_name = '{NAMES[1]}'": (f"the rating of {NAMES[1]} does not follow", "ratings"),
            f"UPDATE ratings SET glicko_deviation = 1 WHERE agent_name = '{NAMES[2]}'": (f"the rating of {NAMES[2]} does not follow", "ratings"),
            "DELETE FROM ratings": (f"{NAMES[0]} has 1 match in the log and no rating", "ratings"),
            "INSERT INTO ratings (agent_name, updated_at) VALUES ('mallory', 1)": ("the rating of mallory", "ratings"),
            """UPDATE matches SET record = replace(record, '"votes":2', '"votes":0')""": (f"the match of debate {self.first} is not what its events say", "changed"),
            "UPDATE matches SET created_at = created_at - 1": (f"the match of debate {self.first} is not what its events say", "changed"),
            "UPDATE matches SET record = NULL": (f"the match of debate {self.first} is not what its events say", "changed"),
            "DELETE FROM matches": (f"the match of debate {self.first} is missing", "restored"),
        }
        for statement, (said, where) in tampered.items():
            with self.subTest(statement):
                self.sql(statement)
                self.assertIn(said, self.verified(65))
                looked = self.sandbox.run_json("ratings", "recompute", "--dry-run", check=1)
                self.assertEqual(len(looked[where]) > 0, True, looked)
                self.assertIn(said, self.verified(65), "a dry run changes nothing")
                mended = self.sandbox.run_json("ratings", "recompute", check=0)
                self.assertTrue(mended[where], mended)
                self.verified(0)
                self.assertEqual(self.sandbox.run_json("ratings", "recompute", check=0)["ratings"], [])
                self.assertEqual(self.standings(), table)
        self.assertEqual(self.sql("SELECT count(*) FROM audit_log WHERE action = 'ratings.recompute'"), str(len(tampered)))
        fitted = self.sandbox.run_json("ratings", "recompute", "--dry-run", check=0)["bradley_terry"]
        self.assertEqual([one["name"] for one in fitted], NAMES)
        self.assertTrue(fitted[0]["rating"] > fitted[1]["rating"] > fitted[2]["rating"], fitted)


class OnSqlite(Ratings, unittest.TestCase):
    @classmethod
    def database(cls, **environment):
        return Sandbox(**environment)

    def sql(self, text):
        with contextlib.closing(sqlite3.connect(self.sandbox.directory / "state/aragora.db", isolation_level=None, timeout=10)) as connection:
            rows = connection.execute(text).fetchall()
            return str(rows[0][0]) if rows else ""


class OnPostgres(Ratings, unittest.TestCase):
    @classmethod
    def database(cls, **environment):
        cls.url = cls.enterClassContext(postgres_database())
        return Sandbox(DATABASE_URL=cls.url, **environment)

    def sql(self, text):
        return subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.url, "-c", text], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
