"""Debates that outlive whoever runs them: a panel of models that notes who was asked what, and what holds of every debate however often
those who ran it were killed."""
import collections
import concurrent.futures
import contextlib
import csv
import hashlib
import io
import itertools
import json
import re
import secrets
import shutil
import sqlite3
import subprocess
import tempfile
import time

from support import Sandbox
from test_budgets import MODELS, TOKENS
from test_provider import KEY, Endpoint, speak
from vendors import undecided

SEATS = ["openai:one", "openai:two", "openai:three"]
JUDGE = "openai:judge"
BY_JUDGE = {"kind": "judge", "judge": JUDGE}


def until(true, what, limit=30):
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def page(daemon, query, limit=30):
    """A busy server is asked again."""
    deadline = time.monotonic() + limit
    while True:
        status, answer = daemon.get(f"/api/debates?{query}")
        if status == 200:
            return answer
        assert status == 503 and time.monotonic() < deadline, (status, answer)
        time.sleep(0.2)


def create(daemon, body, limit=30, **headers):
    """The id of a debate; a busy server is asked again."""
    deadline = time.monotonic() + limit
    while True:
        status, answer = daemon.post("/api/debates", body, **headers)
        if status == 200:
            return answer["debate_id"]
        assert status == 503 and time.monotonic() < deadline, (status, answer)
        time.sleep(0.2)


def unfinished(daemon):
    return sum(page(daemon, f"status={status}&limit=1")["total"] for status in ("created", "running"))


class Panel(Endpoint):
    """Never says the same twice, is never sure and always changes its mind, so that debates go their whole way. `asked` has the number of each
    answer by the boundary in the question, which is of one seat in one phase of one debate."""

    def __init__(self, wait=lambda number: None):
        self.asked = collections.defaultdict(list)
        self.numbers = itertools.count(1)

        def answer(_, body):
            number = next(self.numbers)
            self.asked[re.search("data-[0-9a-f]{16}", body["messages"][0]["content"])[0]].append(number)
            wait(number)
            status, headers, data = speak(body, f"Answer {number}.", 50)
            answered = json.loads(data)
            message = answered["choices"][0]["message"]
            message["content"] = undecided(message["content"], f"words {number}")
            return status, headers, json.dumps({**answered, "model": body["model"], "usage": TOKENS}).encode()

        super().__init__(answer)
        self.server.socket.listen(1024)  # hundreds come at once


@contextlib.contextmanager
def deployment(panel, **environment):
    """With models that have a price, so that budgets count."""
    with Sandbox(OPENAI_BASE_URL=panel.url, OPENAI_API_KEY=KEY, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), **environment) as sandbox:
        models = [MODELS.replace('"priced"', json.dumps(agent.split(":")[1])) for agent in (*SEATS, JUDGE)]
        sandbox.environment["ARAGORA_MODELS_FILE"] = str(sandbox.write("models.toml", "\n".join(models)))
        sandbox.run("migrate", check=0)
        yield sandbox


def rows(sandbox, sql):
    """What the database has. Of the embedded one a copy is asked: it would be mended for the daemon by whoever opens it first."""
    if url := sandbox.environment.get("DATABASE_URL"):
        asked = subprocess.run(["psql", "-qtX", "--csv", url, "-c", sql], check=True, capture_output=True, text=True, timeout=60)
        return [tuple(row) for row in csv.reader(io.StringIO(asked.stdout))]
    with tempfile.TemporaryDirectory() as copy:
        files = {path.name: shutil.copy(path, copy) for path in (sandbox.directory / "state").glob("*.db*") if path.name.endswith((".db", "-wal"))}
        with contextlib.closing(sqlite3.connect(next(path for name, path in files.items() if name.endswith(".db")))) as connection:
            return connection.execute(sql).fetchall()


def assert_survived(test, sandbox, panel, kills, acknowledged=()):
    """While nobody runs it. Of every debate: no gap, nothing twice, one end. Of every seat in every phase: it was asked again only for a call
    that somebody died over, and never after an answer; what is recorded is what it said last."""
    debates = {debate: (seed, status, outcome) for debate, seed, status, outcome in rows(sandbox, "SELECT id, seed, status, outcome FROM debates")}
    test.assertEqual(set(acknowledged) - set(debates), set(), "acknowledged debates that are gone")
    for debate, (_, status, outcome) in debates.items():
        test.assertTrue(status == "completed" or outcome == "budget_exhausted", (debate, status, outcome))
    events, unheard = collections.defaultdict(list), set()
    for debate, seq, kind, round_, agent, payload in rows(sandbox, "SELECT debate_id, seq, type, round, agent, payload FROM debate_events ORDER BY debate_id, seq"):
        events[debate].append((int(seq), kind, round_, agent, json.loads(payload)))
    test.assertEqual(set(events), set(debates))
    for debate, told in events.items():
        test.assertEqual([seq for seq, *_ in told], list(range(1, len(told) + 1)), debate)
        kinds = [kind for _, kind, *_ in told]
        unheard |= {(debate, data["phase"], round_, agent) for _, kind, round_, agent, data in told if kind == "agent_error"}  # there was no money left for it
        test.assertEqual((kinds.count("debate_end"), kinds[-1]), (1, "debate_end"), debate)
        said = [(kind, round_, agent, *(str(data.get(name)) for name in ("role", "target", "reversed", "phase"))) for _, kind, round_, agent, data in told]
        test.assertEqual(len(said), len(set(said)), f"an event of {debate} stands twice: {said}")
    calls = collections.defaultdict(list)
    for debate, phase, round_, seat, status, response in rows(
            sandbox, "SELECT debate_id, phase, round, agent, status, coalesce(response, '') FROM agent_calls ORDER BY debate_id, phase, round, agent, attempt"):
        calls[debate, phase, round_, seat].append((status, response))
    places = set()
    for (debate, phase, round_, seat), tries in calls.items():
        where = (debate, phase, round_, seat, tries)
        place = "data-" + hashlib.sha256(f"boundary|{debates[debate][0]}|{phase}|{round_}|{seat}".encode()).hexdigest()[:16]
        places.add(place)
        asked = panel.asked.get(place, [])
        test.assertLessEqual(len(asked), len(tries), f"asked without an intent: {where}")
        test.assertLessEqual(len(tries), 1 + kills, f"asked again although nobody died: {where}")
        test.assertEqual({status for status, _ in tries[:-1]} - {"unknown"}, set(), f"asked again after a result: {where}")
        if debates[debate][1] == "completed" and (debate, phase, round_, seat) not in unheard:
            test.assertEqual(tries[-1][0], "done", where)
        if tries[-1][0] == "done":
            test.assertEqual(int(re.search(r"(?:words|Answer) (\d+)", tries[-1][1])[1]), asked[-1], f"recorded is not what was said last: {where}")
    test.assertEqual(set(panel.asked) - places, set(), "asked for no debate")
    return debates


def assert_replayed(test, sandbox, debates):
    """Each comes to the same questions and events again, to its end."""
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for replayed in pool.map(lambda debate: sandbox.run_json("debate", "replay", debate), debates):
            test.assertTrue(replayed["same"] and replayed["whole"], replayed)
