"""Debates from outside: several instances on one database, forged messages, one agent in several seats, who created what."""
import concurrent.futures
import contextlib
import hashlib
import hmac
import json
import secrets
import sqlite3
import time
import unittest

import survival
from accounts import AccountTests
from support import Daemon, Sandbox, main, postgres_database
from test_provider import KEY, Endpoint, completion, speak


@contextlib.contextmanager
def slow_endpoint(pause):
    """Answers after a while, so that debates are in flight."""
    times = []  # when it was asked

    def answer(_, body):
        times.append(time.monotonic())
        time.sleep(pause)
        return speak(body)

    with Endpoint(answer) as endpoint:
        endpoint.times = times
        yield endpoint


def finished(daemon, ids, limit):
    """Seconds until all of them have ended."""
    started = time.monotonic()
    for debate_id in ids:
        daemon.wait_finished(debate_id, limit=max(0.1, limit - (time.monotonic() - started)))
    return time.monotonic() - started


def until(condition, limit):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit} s"
        time.sleep(0.02)


class Instances(unittest.TestCase):
    """Two daemons on one PostgreSQL; the first one has debates running when it goes."""

    @contextlib.contextmanager
    def two(self, endpoint):
        with postgres_database() as url, Sandbox(DATABASE_URL=url, OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as first:
                ids = [first.post("/api/debates", {"task": f"task {number}", "agents": ["openai", "demo-a", "demo-b"], "rounds": 3})[1]["debate_id"] for number in range(3)]
                until(lambda: all(len(self.events(first, debate_id)) > 2 for debate_id in ids), 20)
                with Daemon(sandbox) as second:
                    yield sandbox, first, second, ids
                    for debate_id in ids:
                        events = self.events(second, debate_id)
                        self.assertEqual([e["seq"] for e in events], list(range(1, len(events) + 1)))
                        keys = [(e["type"], e["round"], e["agent"], e["data"].get("role"), e["data"].get("target")) for e in events]
                        self.assertEqual(len(keys), len(set(keys)), "an event stands twice")
                        self.assertEqual(events[-1]["type"], "debate_end")
            sandbox.run("verify", check=0)

    def events(self, daemon, debate_id):
        return daemon.get(f"/api/debates/{debate_id}/events?limit=500")[1]["events"]

    def resumed(self, daemon, ids, before, limit):
        """Until each has events that it did not have before."""
        started = time.monotonic()
        until(lambda: all(len(self.events(daemon, debate_id)) > before[debate_id] for debate_id in ids), limit)
        return time.monotonic() - started

    def test_what_a_killed_instance_ran_is_resumed_within_15_seconds(self):
        with slow_endpoint(0.4) as endpoint, self.two(endpoint) as (_, first, second, ids):
            first.kill()
            before = {debate_id: len(self.events(second, debate_id)) for debate_id in ids}
            took = self.resumed(second, ids, before, 15)
            print(f"resumed {took:.1f} s after kill -9")
            finished(second, ids, 30)

    def test_what_a_stopped_instance_ran_is_resumed_within_2_seconds(self):
        with slow_endpoint(0.4) as endpoint, self.two(endpoint) as (_, first, second, ids):
            stopping = time.monotonic()
            first.process.terminate()
            first.process.wait(20)
            before = {debate_id: len(self.events(second, debate_id)) for debate_id in ids}
            self.resumed(second, ids, before, 10)
            took = time.monotonic() - stopping
            print(f"resumed {took:.1f} s after SIGTERM")
            self.assertLess(took, 2 + 2 * 0.4, "more than taking over and the provider's own time")
            finished(second, ids, 30)


class Owners(AccountTests):
    def test_an_owner_with_a_thousand_debates_does_not_hold_up_another(self):
        with Sandbox(ARAGORA_API_TOKEN=secrets.token_hex(32), ARAGORA_MAX_CONCURRENT_DEBATES="20") as sandbox:
            sandbox.run("migrate", check=0)
            many, late = (self.key(sandbox, f"{name}@example.org") for name in ("many", "late"))
            with Daemon(sandbox) as daemon:
                def ask(owner):
                    return survival.create(daemon, {"task": "Whose turn is it?", "agents": ["sim:p=0,latency=300", "sim:p=1,latency=300"], "rounds": 1}, **owner)

                def total(status):  # of all owners: whoever may read sees them all
                    return daemon.get(f"/api/debates?status={status}&limit=1", **late)[1]["total"]

                with concurrent.futures.ThreadPoolExecutor(8) as pool:
                    list(pool.map(ask, [many] * 1000))
                before = total("completed")
                self.assertGreater(total("created"), 500, "so many stand in line")
                ids = [ask(late) for _ in range(5)]
                until(lambda: {daemon.get(f"/api/debates/{debate_id}", **late)[1]["status"] for debate_id in ids} == {"completed"}, 60)
                self.assertLess(total("completed") - before, 200, "it waited behind the other owner's debates")

    def key(self, sandbox, email):
        self.add(sandbox, email)
        created = sandbox.run("user", "key", "create", email, "--scope", "read", "--scope", "write", "--days", "2", check=0)
        return {"Authorization": "Bearer " + created.stdout.strip().splitlines()[-1]}


class Seats(unittest.TestCase):
    def test_one_agent_takes_several_seats(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            status, created = daemon.post("/api/debates", {"task": "x", "agents": ["demo", "demo-b", "demo"], "rounds": 1})
            self.assertEqual((status, created["agents"]), (200, ["demo", "demo-b", "demo"]))
            debate = daemon.wait_finished(created["debate_id"])
            self.assertEqual(debate["status"], "completed")
            events = daemon.get(f"/api/debates/{created['debate_id']}/events?limit=500")[1]["events"]
            self.assertEqual({e["agent"] for e in events if e["type"] == "vote"}, {"demo#1", "demo-b", "demo#2"})
            names = [entry["name"] for entry in daemon.get("/api/leaderboard")[1]["rankings"]]
            self.assertFalse([name for name in names if "#" in name], "agents are rated, not seats")
            status, refused = daemon.post("/api/debates", {"task": "x", "agents": ["demo#1", "demo-b"]})
            self.assertEqual((status, "#" in refused["message"]), (400, True))

    def test_the_winner_does_not_dissent_from_its_own_answer(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            for number in range(5):
                _, created = daemon.post("/api/debates", {"task": f"which {number}", "agents": ["demo-a", "demo-b", "demo-c"], "rounds": 1})
                consensus = daemon.wait_finished(created["debate_id"])["consensus"]
                self.assertTrue(consensus["leader"])
                self.assertNotIn(consensus["leader"], consensus["dissenting_agents"])


class Chains(unittest.TestCase):
    def test_forged_messages_are_found(self):
        key = secrets.token_hex(32)
        with Sandbox(ARAGORA_ENCRYPTION_KEY=key) as sandbox:
            with Daemon(sandbox) as daemon:
                ids = [daemon.post("/api/debates", {"task": f"t{n}", "agents": ["demo-a", "demo-b", "demo-c"], "rounds": 2})[1]["debate_id"] for n in range(2)]
                finished(daemon, ids, 30)
            sandbox.run("verify", check=0)
            path = next(sandbox.directory.rglob("*.db"))
            for keep_key in (True, False):
                database = sqlite3.connect(path)
                with database:
                    self.forge(database, ids[0], keep_key)
                database.close()
                result = sandbox.run("verify", check=65)
                self.assertIn(ids[0], result.stdout + result.stderr)

    def forge(self, database, debate_id, keep_key):
        """All nine messages and the whole chain anew, by somebody who has the database and not the key."""
        previous = "0" * 64
        for seq, kind, round_, agent, at, payload, key_id in database.execute(
                "SELECT seq, type, round, agent, at, payload, key_id FROM debate_events WHERE debate_id = ? ORDER BY seq", (debate_id,)).fetchall():
            if kind == "agent_message":
                payload = json.dumps({**json.loads(payload), "content": "I am for it."})
            key_id = key_id if keep_key else ""
            fields = [previous, debate_id, str(seq), kind, str(round_), agent, str(at), payload]
            text = "".join(f"{len(field.encode())}:{field}" for field in [*fields, *([key_id] if key_id else [])]).encode()
            digest = hmac.new(b"guessed", text, hashlib.sha256).hexdigest() if key_id else hashlib.sha256(text).hexdigest()
            database.execute("UPDATE debate_events SET payload = ?, prev_hash = ?, hash = ?, key_id = ? WHERE debate_id = ? AND seq = ?",
                             (payload, previous, digest, key_id, debate_id, seq))
            previous = digest

    def test_a_rotated_key_verifies_what_was_written_before(self):
        old, new = secrets.token_hex(32), secrets.token_hex(32)
        with Sandbox(ARAGORA_ENCRYPTION_KEY=old) as sandbox:
            with Daemon(sandbox) as daemon:
                daemon.wait_finished(daemon.post("/api/debates", {"task": "before"})[1]["debate_id"])
            sandbox.environment.update(ARAGORA_ENCRYPTION_KEY=new, ARAGORA_ENCRYPTION_PREVIOUS_KEYS=old)
            with Daemon(sandbox) as daemon:
                daemon.wait_finished(daemon.post("/api/debates", {"task": "after"})[1]["debate_id"])
            sandbox.run("verify", check=0)

    def test_creations_are_audited_with_their_owner(self):
        token = secrets.token_hex(32)
        with Sandbox(ARAGORA_API_TOKEN=token) as sandbox:
            with Daemon(sandbox) as daemon:
                _, created = daemon.post("/api/debates", {"task": "mine"}, Authorization=f"Bearer {token}")
                until(lambda: daemon.get(f"/api/debates/{created['debate_id']}", Authorization=f"Bearer {token}")[1]["status"] == "completed", 20)
            database = sqlite3.connect(next(sandbox.directory.rglob("*.db")))
            owner, = database.execute("SELECT owner_id FROM debates").fetchone()
            entries = database.execute("SELECT actor, action, object FROM audit_log").fetchall()
            database.close()
            self.assertTrue(owner)
            self.assertEqual(entries, [(f"api:{owner}", "debate.create", f"debate:{created['debate_id']}")])
            sandbox.run("verify", check=0)


# By the question: for whose proposal the agents a to e vote, and how sure they are. The judge is for c's, whatever is asked.
BALLOTS = {
    "divided": {"a": ("b", 50), "b": ("a", 99), "c": ("b", 50), "d": ("b", 50), "e": ("a", 99)},
    "scattered": {"a": ("b", 70), "b": ("a", 70), "c": ("b", 70), "d": ("c", 70), "e": ("d", 70)},
    "joined": {"a": ("b", 70), "b": ("a", 70), "c": ("b", 70), "d": ("b", 70), "e": ("b", 70)},
    "silent": {"a": ("b", 70), "b": ("a", 70), "c": ("b", 70), "d": ("b", 70), "e": ("nobody", 70)},
}
JUDGED = {"judge": "openai:judge"}


def vote(_, body):
    """Each proposes its own name, and votes as is written there."""
    data = json.loads(body["messages"][1]["content"])
    material = data[data["boundary"]]
    offered = {one["text"]: one["id"] for one in material.get("proposals", [])}
    said = f"this is {body['model']}"
    favourite, confidence = BALLOTS[material["task"]].get(body["model"], ("c", 70))
    answer = {"choice": offered.get(f"this is {favourite}", "abstain"), "confidence": confidence, "reason": "so it is", "continue": False, "position": said, "answer": said, "key_claims": [],
              "from": [], "open_risks": [], "dissent": []}
    return completion(json.dumps(answer))


class Kinds(unittest.TestCase):
    def test_each_kind_of_consensus_has_a_rule_of_its_own(self):
        expected = {
            "divided": (("majority", True, "b"), ("semantic", True, "b"), ("supermajority", False, "b"), ({"kind": "supermajority", "threshold": "3/5"}, True, "b"),
                        ({"kind": "majority", "threshold": "4/5"}, True, "b"), ("unanimous", False, "b"), ("weighted", True, "a"), ({"kind": "judge", **JUDGED}, True, "c"),
                        ({"kind": "hybrid", **JUDGED}, True, "c"), ("any", True, "b"), ("none", True, "b")),
            "scattered": (("majority", False, "b"), ("supermajority", False, "b"), ("weighted", False, "b"), ("any", True, "b"), ("none", True, "b")),
            "joined": (("supermajority", True, "b"), ("unanimous", True, "b")),
            "silent": (("majority", True, "b"), ({"kind": "majority", "quorum": "1"}, False, "b"), ("unanimous", False, "b"), ({"kind": "unanimous", "allow_absent": True}, True, "b")),
        }
        methods = {"semantic": "majority", "hybrid": "judge", "none": "any"}
        with Endpoint(vote) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as sandbox, Daemon(sandbox) as daemon:
            for task, kinds in expected.items():
                for asked, reached, leader in kinds:
                    with self.subTest(task=task, consensus=asked):
                        status, created = daemon.post("/api/debates", {"task": task, "agents": [f"openai:{name}" for name in "abcde"], "rounds": 0, "consensus": asked})
                        self.assertEqual(status, 200, created)
                        debate = daemon.wait_finished(created["debate_id"])
                        consensus, kind = debate["consensus"], asked if isinstance(asked, str) else asked["kind"]
                        self.assertEqual((debate["status"], consensus["method"], consensus["reached"], consensus["leader"]), ("completed", methods.get(kind, kind), reached, f"openai:{leader}"))
                        self.assertEqual(debate["consensus_reached"], reached)
                        self.assertEqual(debate["final_answer"].startswith("this is "), True)


class Unread(unittest.TestCase):
    """What was chosen and cannot be read is asked for once more: as it is recorded, and replayed."""

    def test_a_verdict_is_asked_for_once_more_and_replayed_also_where_nobody_did(self):
        def mumbled(number, body):
            return completion("the second one, I think") if body["model"] == "wise" else vote(number, body)

        with Endpoint(mumbled) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as sandbox:
            with Daemon(sandbox) as daemon:
                ask = {"task": "divided", "agents": [f"openai:{name}" for name in "abcde"], "rounds": 0, "consensus": {"kind": "judge", "judge": "openai:wise"}}
                debate = daemon.wait_finished(daemon.post("/api/debates", ask)[1]["debate_id"])
                self.assertEqual((debate["status"], debate["consensus"]["judged"], debate["consensus"]["leader"]), ("completed", "unstable", "openai:b"), debate)
            self.assertTrue(sandbox.run_json("debate", "replay", debate["id"], check=0)["whole"])
            with contextlib.closing(sqlite3.connect(next(sandbox.directory.rglob("*.db")))) as database, database:
                phases = [phase for phase, in database.execute("SELECT phase FROM agent_calls WHERE phase LIKE 'judge%' ORDER BY started_at, id")]
                self.assertEqual(phases, ["judge", "judge_repair", "judge_reversed", "judge_reversed_repair"])
                database.execute("DELETE FROM agent_calls WHERE phase LIKE '%_repair'")  # as a version that did not ask again left it
            self.assertTrue(sandbox.run_json("debate", "replay", debate["id"], check=0)["whole"])


class Asked(unittest.TestCase):
    """What a request may ask of a debate, and that it rests."""

    def setUp(self):
        self.sandbox = self.enterContext(Sandbox())
        self.daemon = self.enterContext(Daemon(self.sandbox))

    def ended(self, **body):
        status, created = self.daemon.post("/api/debates", {"task": "Ship on Friday?", "agents": ["demo-a", "demo-b", "demo-c"], "rounds": 1, **body})
        self.assertEqual(status, 200, created)
        self.daemon.wait_finished(created["debate_id"])
        return self.daemon.get(f"/api/debates/{created['debate_id']}")[1]

    def test_consensus_by_a_rule_that_nobody_knows_is_refused(self):
        status, refused = self.daemon.post("/api/debates", {"task": "x", "consensus": "byzantine"})
        self.assertEqual((status, "weighted, judge, any" in refused["error"]), (400, True), refused)

    def test_the_report_says_who_answered_and_what_changed(self):
        report = self.ended()["report"]
        self.assertEqual([one["seat"] for one in report["positions"]], ["demo-a", "demo-b", "demo-c"])
        self.assertEqual({one["provider"] for one in report["served_by"]}, {"demo"})
        self.assertFalse(any(one["substituted"] for one in report["served_by"]))
        self.assertEqual(report["conformity"]["uncited"], 0)

    def texts(self, debate):
        """What each seat said at first, and at last."""
        first, last = {}, {}
        for event in self.daemon.get(f"/api/debates/{debate['id']}/events?limit=500")[1]["events"]:
            if event["type"] == "agent_message":
                last[event["agent"]] = event["data"]["content"]
                first.setdefault(event["agent"], event["data"]["content"])
        return first, last

    def test_whether_the_debate_changed_its_outcome_is_a_matter_of_the_words(self):
        amended = self.ended()
        report, (first, last) = amended["report"], self.texts(amended)
        self.assertNotEqual(first[report["blind_winner"]], last[report["final_winner"]])
        self.assertIs(report["debate_changed_the_outcome"], True)
        # The first seat adopts what won already: nothing else has won then, under no other name, and nobody changed sides.
        adopted = self.ended(agents=["sim:p=0,c=1", "sim:p=1,seed=2", "sim:p=1,seed=3"])
        report, (first, last) = adopted["report"], self.texts(adopted)
        self.assertEqual([(one["seat"], one["decision"]) for one in report["flips"]], [("sim:p=0,c=1", "adopt")])
        self.assertEqual(set(last.values()), {first[report["blind_winner"]]})
        self.assertEqual((report["blind_winner"], report["final_winner"], report["debate_changed_the_outcome"], report["vote_flips"]), ("sim:p=1,seed=2", "sim:p=1,seed=2", False, []))

    def test_wrong_wishes_are_named(self):
        for field, value in (("quorum", "3/2"), ("threshold", 0), ("deadline_seconds", 1), ("documents", ["x"] * 11), ("documents", [{"title": "no text"}]), ("judge", "demo-a"),
                             ("agents", ["sim:p=2", "demo"]), ("agents", [{"name": "demo", "weight": 0}, "demo"]), ("budget_usd", "-1"), ("gives_orders", "forbid"), ("stop_when_steady", "yes")):
            with self.subTest(field):
                status, refused = self.daemon.post("/api/debates", {"task": "x", "agents": ["demo-a", "demo-b"], "consensus": "judge", field: value})
                self.assertEqual((status, field in refused["error"]), (400, True), refused)

    def test_whoever_asks_for_more_rounds_than_there_are_gets_those(self):
        ask = {"task": "How often?", "agents": ["demo-a", "demo-b"]}
        for asked, rounds in ((None, 2), (5, 5), (9, 5), (20, 5)):
            status, created = self.daemon.post("/api/debates", {**ask, "rounds": asked})
            self.assertEqual((status, created["rounds"]), (200, rounds), created)
        self.assertEqual(self.daemon.post("/api/debates", {**ask, "rounds": 21})[0], 400)

    def test_documents_roles_and_weights_are_kept(self):
        debate = self.ended(documents=["one", {"title": "Two", "text": "two"}], consensus={"kind": "weighted", "quorum": "2/3"}, gives_orders="exclude", stop_when_steady=True,
                            agents=[{"name": "demo-a", "role": "a lawyer", "weight": 3}, "demo-b", {"provider": "demo"}])
        events = self.daemon.get(f"/api/debates/{debate['id']}/events?limit=500")[1]["events"]
        created = events[0]["data"]
        self.assertEqual((created["protocol"], created["options"]["quorum"], created["options"]["seats"][0]), (4, "2/3", {"role": "a lawyer", "weight": 3}))
        self.assertEqual([one["bytes"] for one in created["options"]["documents"]], [3, 8])
        self.assertEqual((created["options"]["gives_orders"], debate["report"]["excluded"], created["options"]["stop_when_steady"]), ("exclude", [], True))
        weights = next(e["data"]["weights"] for e in events if e["type"] == "debate_start")
        self.assertGreater(weights[0], weights[1])
        self.sandbox.run("verify", check=0)
        self.sandbox.run("debate", "replay", debate["id"], check=0)

    def test_simulated_agents_agree_without_a_debate(self):
        debate = self.ended(agents=["sim:p=1", "sim:p=1,seed=2", "sim:p=1,seed=3"])
        self.assertTrue(debate["consensus"]["agreed_without_debate"])
        self.assertEqual(debate["final_answer"], "The answer is A.")

    def test_a_debate_rests_until_it_is_resumed_even_over_a_restart(self):
        status, created = self.daemon.post("/api/debates", {"task": "slowly", "agents": ["sim:p=0,latency=700", "sim:p=1,latency=700"], "rounds": 1})
        debate_id = created["debate_id"]
        until(lambda: len(self.daemon.get(f"/api/debates/{debate_id}/events")[1]["events"]) > 2, 10)
        status, paused = self.daemon.post(f"/api/debates/{debate_id}/pause", {})
        self.assertEqual((status, paused["success"]), (200, True), paused)
        until(lambda: self.daemon.get(f"/api/debates/{debate_id}")[1]["status"] == "paused", 5)
        self.daemon.stop()
        with Daemon(self.sandbox) as again:
            time.sleep(2)
            self.assertEqual(again.get(f"/api/debates/{debate_id}")[1]["status"], "paused")
            self.assertEqual(again.post(f"/api/debates/{debate_id}/resume", {})[0], 200)
            self.assertEqual(again.wait_finished(debate_id)["status"], "completed")
            types = [e["type"] for e in again.get(f"/api/debates/{debate_id}/events?limit=500")[1]["events"]]
            self.assertEqual((types.count("debate_paused"), types.count("debate_resumed"), types.count("debate_end")), (1, 1, 1))
            self.assertEqual(again.post(f"/api/debates/{debate_id}/pause", {})[0], 409)

    def test_what_was_ended_before_its_time_is_replayed_to_there(self):
        for events in (1, 3, 5, 8, 10):
            _, created = self.daemon.post("/api/debates", {"task": "to be cancelled", "agents": ["sim:p=0,latency=200", "sim:p=1,latency=200"], "rounds": 5})
            debate_id = created["debate_id"]
            until(lambda: len(self.daemon.get(f"/api/debates/{debate_id}/events")[1]["events"]) >= events, 10)
            self.daemon.post(f"/api/debates/{debate_id}/cancel")
            self.assertEqual(self.daemon.wait_finished(debate_id)["status"], "cancelled")
            replayed = self.sandbox.run_json("debate", "replay", debate_id)
            self.assertTrue(replayed["same"] and replayed["whole"], (events, replayed))

    def test_a_deadline_keeps_time_for_the_vote(self):
        # Two that change to what the other said, again and again: nothing but the time ends their debate.
        debate = self.ended(agents=["sim:p=0,c=1,latency=600", "sim:p=1,c=1,latency=600"], rounds=5, deadline_seconds=9)
        self.assertEqual((debate["report"]["stopped"], 0 < debate["rounds_used"] < 5), ("time", True), debate)
        types = [e["type"] for e in self.daemon.get(f"/api/debates/{debate['id']}/events?limit=500")[1]["events"]]
        self.assertEqual((debate["status"], types.count("phase_timeout"), types.count("debate_end")), ("completed", 1, 1), debate)
        self.sandbox.run("debate", "replay", debate["id"], check=0)


class Stored(unittest.TestCase):
    def test_a_deadline_counts_from_the_creation(self):
        with Sandbox() as sandbox:
            with Daemon(sandbox, ARAGORA_MAX_CONCURRENT_DEBATES="1"):
                pass
            path = next(sandbox.directory.rglob("*.db"))
            database = sqlite3.connect(path)
            with Daemon(sandbox) as daemon:
                _, created = daemon.post("/api/debates", {"task": "x"})
                daemon.wait_finished(created["debate_id"])
            with database:  # as if it had been running since an hour ago
                database.execute("UPDATE debates SET status = 'running', completed_at = NULL, outcome = NULL, created_at = created_at - 3600000000, last_seq = 2")
                database.execute("DELETE FROM debate_events WHERE seq > 2")
            database.close()
            with Daemon(sandbox) as daemon:
                self.assertEqual(daemon.wait_finished(created["debate_id"])["outcome"], "deadline_exceeded")


if __name__ == "__main__":
    main()
