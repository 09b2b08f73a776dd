"""kill -9 under load, at each commit of a debate and at random moments: nothing acknowledged is lost, nothing comes twice, nobody is asked
again who had answered, and the next start is quick. CRASH_MOMENTS says at how many random moments."""
import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import random
import signal
import sqlite3
import tempfile
import threading
import time
import unittest

from support import Cluster, Daemon, Sandbox, main, postgres_database
from survival import BY_JUDGE, SEATS, Panel, assert_replayed, assert_survived, deployment, page, rows, unfinished, until
from test_provider import KEY, Endpoint, speak

CYCLES = {"sqlite": 12, "postgres": 8}
WRITERS = 8
LANES = 3  # side by side
MOMENTS = int(os.environ.get("CRASH_MOMENTS", "30"))


def reading(sandbox):
    """Of a database in use; who reads only does not mend it either, should its owner die."""
    path = next((sandbox.directory / "state").glob("*.db"))
    return contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10))


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

    def cycles(self, sandbox, cycles):
        acknowledged = []
        slowest = 0
        random.seed(3)
        for _ in range(cycles):
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
        self.assertGreater(len(acknowledged), cycles * 5)
        with Daemon(sandbox) as daemon:
            until(lambda: unfinished(daemon) == 0, "what was interrupted is not resumed at the next start", limit=120)
            found = {}
            more = True
            for offset in itertools.takewhile(lambda _: more, itertools.count(0, 100)):
                listed = page(daemon, f"limit=100&offset={offset}")
                for debate in listed["debates"]:
                    self.assertNotIn(debate["id"], found)
                    found[debate["id"]] = debate["task"]
                more = listed["has_more"]
            lost = [task for debate_id, task in acknowledged if found.get(debate_id) != task]
            self.assertEqual(lost, [], "acknowledged debates that are gone")
            self.assertEqual(len(set(found.values())), len(found), "a task that stands twice")
            for debate_id in random.sample(sorted(found), 20):
                events = daemon.get(f"/api/debates/{debate_id}/events?limit=500")[1]["events"]
                keys = [(e["type"], e["round"], e["agent"]) for e in events if e["type"] not in ("agent_message", "critique")]
                self.assertEqual(len(keys), len(set(keys)), f"an event of {debate_id} stands twice")
        sandbox.run("verify", check=0, timeout=300)
        print(f"{len(acknowledged)} acknowledged in {cycles} cycles, slowest ready after {slowest * 1000:.0f} ms")
        self.assertLess(slowest, 1.0)

    def test_sqlite(self):
        with Sandbox() as sandbox:
            self.cycles(sandbox, CYCLES["sqlite"])

    def test_postgres(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url) as sandbox:
            sandbox.run("migrate", check=0)
            self.cycles(sandbox, CYCLES["postgres"])


class Questions:
    """Of one debate at a time, which arms the faults when it has been asked so many; the three seats of a phase are answered one after the other
    once all of them have been asked, so that what follows is committed in the same order each time."""

    PHASES = 5  # of all seats

    def __init__(self, since):
        self.since = since
        self.begin(None)

    def begin(self, arm_at):
        """None: whatever is asked is answered at once."""
        self.arm_at, self.count, self.whole = arm_at, itertools.count(1), [threading.Event() for _ in range(self.PHASES)]

    def wait(self, _):
        if self.arm_at is None:
            return
        number, whole = next(self.count), self.whole
        if number == self.arm_at:
            self.since.touch()
        phase, seat = divmod(number - 1, len(SEATS))
        if phase < self.PHASES:
            if seat == len(SEATS) - 1:
                whole[phase].set()
            whole[phase].wait(10)
            time.sleep(0.015 * seat)


class EachCommit(unittest.TestCase):
    """The way of a whole debate, killed at each of its commits: before any of it is done, and when all of it is and nobody has heard so."""

    # Commits are counted from the request for it on, and from the last question of each phase on until those of the next are asked.
    MOMENTS = [(0, number) for number in range(1, 15)] + [(asked, number) for asked in (3, 6, 9, 12, 15) for number in range(1, 13)] + [
        (asked, number) for asked in (16, 17) for number in range(1, 7)] + [(18, number) for number in range(1, 9)]
    EVENTS = {("debate_created", 0), ("round_start", 0), ("agent_message", 0), ("vote", 0), ("round_start", 1), ("critique", 1), ("agent_message", 1), ("vote", 1),
              ("round_end", 1), ("judge_verdict", 1), ("synthesis", 1), ("debate_end", 1)}
    CALLS = {("propose", 0), ("vote", 0), ("critique", 1), ("revise", 1), ("vote", 1), ("judge", 1), ("judge_reversed", 1), ("synthesize", 1)}

    def test_a_debate_outlives_a_kill_at_each_of_its_commits(self):
        self.killed_at(self.EVENTS, self.CALLS, self.MOMENTS, "consensus", rounds=1, consensus=BY_JUDGE, budget_usd=5)

    def test_on_postgres_too(self):
        """Every other moment: a start takes longer there, and what is only read is committed as well."""
        moments = (self.MOMENTS + [(18, number) for number in range(9, 17)])[random.randrange(2)::2]
        self.assertGreater(self.killed_at(set(), set(), moments, "consensus", postgres_database, rounds=1, consensus=BY_JUDGE, budget_usd=5), len(moments) // 2)

    def test_what_ends_for_lack_of_money_ends_so_wherever_it_was_killed(self):
        """There is enough for the proposals, and not for a vote."""
        self.killed_at({("agent_error", 0)}, set(), [(3, number) for number in range(4, 14)], "budget_exhausted", rounds=1, budget_usd="0.04")

    def killed_at(self, events, calls, moments, outcome, database=contextlib.nullcontext, **body):
        """Until it was killed right after each of these events and over each of these calls: once through, unless a busy machine commits several
        things at once."""
        total = 0
        for _ in range(4):
            with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
                for kills, after, over in pool.map(lambda lane: self.lane(moments[lane::LANES], outcome, body, database), range(LANES)):
                    total, events, calls = total + kills, events - after, calls - over
            if not events and not calls:
                break
        print(f"\nkilled at {total} moments of one debate")
        self.assertEqual((events, calls), (set(), set()), "events after which nobody was killed, and calls")
        return total

    def lane(self, moments, outcome, body, database):
        """Each start ends what the kill before it interrupted, before it has a debate of its own."""
        kills, events, calls, acknowledged = 0, set(), set(), []
        with tempfile.TemporaryDirectory() as directory, database() as url:
            questions = Questions(pathlib.Path(directory) / "since")
            faults = {"LD_PRELOAD": os.environ["FAULTS_LIBRARY"], "FAULT_KIND": "commit", "FAULT_SINCE": str(questions.since)}
            with Panel(questions.wait) as panel, deployment(panel, **({"DATABASE_URL": url} if url else {})) as sandbox:
                for asked, number in moments:
                    questions.since.unlink(missing_ok=True)
                    self.expire(sandbox)
                    with Daemon(sandbox, FAULT_AT=str(number), **faults) as daemon:
                        # Sooner than the leases of the dead run out.
                        until(lambda: self.quiet(sandbox), "what was interrupted does not go on at once", limit=6)
                        questions.begin(asked)
                        if asked == 0:
                            questions.since.touch()
                        with contextlib.suppress(OSError, http.client.HTTPException):
                            _, created = daemon.post("/api/debates", {"task": f"{asked}, {number}", "agents": SEATS, **body})
                            acknowledged.append(created["debate_id"])
                        until(lambda: daemon.process.poll() is not None or self.quiet(sandbox), "neither killed nor at the end")
                        questions.begin(None)
                        if daemon.process.poll() is None:
                            continue  # fewer commits follow
                    kills += 1
                    for debate, kind, round_ in rows(sandbox, "SELECT debate_id, type, round FROM debate_events e WHERE seq = (SELECT max(seq) FROM debate_events WHERE debate_id = e.debate_id) "
                                                              f"AND debate_id = (SELECT id FROM debates WHERE task = '{asked}, {number}')"):
                        events.add((kind, int(round_)))
                        calls |= {(phase, int(of)) for phase, of in rows(sandbox, f"SELECT phase, round FROM agent_calls WHERE status = 'intent' AND debate_id = '{debate}'")}
                self.expire(sandbox)
                with Daemon(sandbox):
                    until(lambda: self.quiet(sandbox), "what was interrupted does not go on at once", limit=6)
                debates = assert_survived(self, sandbox, panel, 1, acknowledged)
                self.assertEqual({ended for _, _, ended in debates.values()}, {outcome})
                self.assertEqual(rows(sandbox, "SELECT task FROM debates GROUP BY task HAVING count(*) > 1"), [], "created twice")
                sandbox.run("verify", check=0)
                assert_replayed(self, sandbox, debates)
        return kills, events, calls

    def quiet(self, sandbox):
        unended = "SELECT (SELECT count(*) FROM debates WHERE completed_at IS NULL) + (SELECT count(*) FROM debate_leases WHERE expires_at > 0)"
        if "DATABASE_URL" in sandbox.environment:
            return rows(sandbox, unended) == [("0",)]
        with reading(sandbox) as connection:
            return connection.execute(unended).fetchone() == (0,)

    def expire(self, sandbox):
        """As some seconds do it where an instance may have sisters."""
        if "DATABASE_URL" in sandbox.environment:
            rows(sandbox, "UPDATE debate_leases SET expires_at = 0")


class AnyMoment(unittest.TestCase):
    """A moment is one kill, whatever it meets; the debates in flight then are counted and printed."""

    DEBATES = [{"rounds": 1}, {"rounds": 2, "consensus": BY_JUDGE, "budget_usd": 20}, {"rounds": 2, "consensus": "unanimous"}, {"rounds": 2, "budget_usd": "0.4"},
               {"rounds": 1, "consensus": "weighted"}]

    def test_debates_outlive_kills_at_random_moments(self):
        seed = random.randrange(1 << 30)
        with self.subTest(seed=seed), concurrent.futures.ThreadPoolExecutor(LANES) as pool, postgres_database() as url:
            lanes = [pool.submit(self.lane, random.Random(seed + lane), (MOMENTS + lane) // LANES, **({"DATABASE_URL": url} if lane == 0 else {})) for lane in range(LANES)]
            met = [lane.result() for lane in lanes]
            print(f"\n{MOMENTS} kills met {sum(met)} debates in flight, {met[0]} of them on PostgreSQL")

    def lane(self, chance, kills, **environment):
        bodies, acknowledged, met = itertools.cycle(self.DEBATES), [], 0
        with Panel(lambda _: time.sleep(chance.uniform(0, 0.15))) as panel, deployment(panel, **environment) as sandbox:
            for _ in range(kills):
                daemon = Daemon(sandbox)
                timer = threading.Timer(chance.uniform(0.02, 0.8), daemon.process.kill)
                timer.start()
                with contextlib.suppress(OSError, http.client.HTTPException):
                    for body in itertools.islice(bodies, 3):
                        status, created = daemon.post("/api/debates", {"task": "When?", "agents": SEATS, **body})
                        if status == 200:
                            acknowledged.append(created["debate_id"])
                # Whoever found its port taken had ended before, and another's daemon answered in its place.
                self.assertEqual(daemon.process.wait(10), -signal.SIGKILL, daemon.text())
                daemon.log.close()
                met += int(rows(sandbox, "SELECT count(*) FROM debates WHERE completed_at IS NULL")[0][0])
            with Daemon(sandbox) as daemon:
                until(lambda: unfinished(daemon) == 0, "what was interrupted does not end", limit=60 + 3 * kills)
            debates = assert_survived(self, sandbox, panel, kills, acknowledged)
            self.assertIn("consensus", {outcome for _, _, outcome in debates.values()})
            self.assertGreater(met, kills, "hardly anything was in flight")
            sandbox.run("verify", check=0, timeout=300)
            assert_replayed(self, sandbox, debates)
        return met


class Rests(unittest.TestCase):
    def test_who_answered_after_a_rest_is_not_asked_again(self):
        """Two of three cannot answer, so that it rests; asked again, one answers, and it is killed while it waits for the other."""
        rested, held = threading.Event(), threading.Event()
        answered = []

        def answer(number, body):
            if not rested.is_set():
                return 429, {"retry-after-ms": "20"}, b'{"error": {"code": "rate_limit_exceeded", "message": "slowly"}}'
            if body["model"] == "b":
                held.wait(30)
            answered.append(body["model"])
            return speak(body, f"Answer {number}.", 50)

        with Endpoint(answer) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as sandbox:
            with Daemon(sandbox) as daemon:
                debate = daemon.post("/api/debates", {"task": "x", "agents": ["openai:a", "openai:b", "demo-c"], "rounds": 0})[1]["debate_id"]
                until(lambda: "debate_paused" in [e["type"] for e in daemon.get(f"/api/debates/{debate}/events?limit=500")[1]["events"]], "it does not rest")
                rested.set()
                with reading(sandbox) as connection:
                    until(lambda: connection.execute("SELECT count(*) FROM agent_calls WHERE agent = 'openai:a' AND status = 'done'").fetchone() == (1,), "it is not asked again")
                daemon.kill()
            self.assertEqual(answered, ["a"])
            held.set()
            with Daemon(sandbox) as daemon:
                self.assertEqual(daemon.wait_finished(debate)["status"], "completed")
            calls = rows(sandbox, "SELECT agent, status FROM agent_calls WHERE phase = 'propose' ORDER BY agent, attempt")
            self.assertEqual(calls, [("demo-c", "done"), ("openai:a", "failed"), ("openai:a", "done"), ("openai:b", "failed"), ("openai:b", "unknown"), ("openai:b", "done")])
            sandbox.run("verify", check=0)
            assert_replayed(self, sandbox, [debate])


class LostDatabase(unittest.TestCase):
    def until(self, condition, limit=15):
        until(condition, "not in time", limit)

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
