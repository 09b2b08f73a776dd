"""Several instances on one PostgreSQL and one Redis: what one does, the others show; with Redis away, slow, empty or changed they go on."""
import asyncio
import concurrent.futures
import contextlib
import http.client
import json
import re
import secrets
import signal
import socket
import threading
import time
import unittest

import websockets

import survival
from support import Authority, Daemon, RedisServer, Sandbox, SlowWire, main, postgres_database, service
from survival import BY_JUDGE, SEATS, Panel, assert_replayed, assert_survived, deployment, page, rows, unfinished
from test_debates import slow_endpoint, until
from test_provider import KEY, Endpoint, speak
from test_streaming import at, paced, stamped

AWAY = "until it is back each instance counts limits for itself"
BACK = "Redis answers again"


@contextlib.contextmanager
def sisters(number, redis_url, pause=0.05, answer=None, **environment):
    """Daemons on one database; debates with three seats, one of which takes its time."""
    with Endpoint(answer) if answer else slow_endpoint(pause) as endpoint, postgres_database() as url, contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(DATABASE_URL=url, REDIS_URL=redis_url, OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY,
                                              ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), **environment))
        sandbox.run("migrate", check=0)
        daemons = [stack.enter_context(Daemon(sandbox)) for _ in range(number)]
        yield endpoint, daemons


def create(daemon, rounds=3):
    return daemon.post("/api/debates", {"task": "a task", "agents": ["openai", "demo-a", "demo-b"], "rounds": rounds})[1]["debate_id"]


def status(daemon, debate_id):
    return daemon.get(f"/api/debates/{debate_id}")[1]["status"]


def listed(daemon):
    return [debate["id"] for debate in daemon.get("/api/debates?limit=100")[1]["debates"]]


async def arrivals(daemon, debate_id, limit=30):
    """When each event came, by its number."""
    times = {}
    async with websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws?debate_id={debate_id}") as socket, asyncio.timeout(limit):
        while True:
            frame = json.loads(await socket.recv())
            if "seq" in frame:
                assert frame["seq"] not in times, "an event came twice"
                times[frame["seq"]] = time.monotonic()
            if frame["type"] == "debate_end":
                return times


async def watch_both(here, there, debates=1, **debate):
    """How much later each event came elsewhere than where the debate ran; the last is held back a little on purpose, at both."""
    delays = []
    for _ in range(debates):
        debate_id = await asyncio.to_thread(create, here, **debate)
        mine, theirs = await asyncio.gather(arrivals(here, debate_id), arrivals(there, debate_id))
        assert list(theirs) == list(range(1, len(mine) + 1)), f"gaps or another order: {list(theirs)}"
        delays += [theirs[seq] - mine[seq] for seq in mine]
    return sorted(delays)


def p95(values):
    return values[int(len(values) * 0.95)]


class Together(unittest.TestCase):
    """With a Redis that works: the shared one, where every database has keys and a channel of its own."""

    def test_events_lists_and_cancellations_reach_the_other_instance(self):
        with sisters(3, service("TEST_REDIS")) as (endpoint, (first, second, third)):
            for _ in range(30):
                listed(third)  # has it in its cache
                debate_id = create(first, rounds=0)
                self.assertIn(debate_id, listed(third), "its own debate, in the next request")
            delays = asyncio.run(watch_both(first, second, debates=4))
            print(f"\n{len(delays)} events elsewhere: p95 {p95(delays) * 1000:.1f} ms, most {delays[-1] * 1000:.1f} ms")
            self.assertLess(p95(delays), 0.1)

    def test_a_cancellation_ends_the_debate_elsewhere_and_its_calls(self):
        """The provider's own log says when it was asked last. Of one in flight, of many short ones, and by any of them."""
        for pause in (0.4, 0.02):
            with sisters(3, service("TEST_REDIS"), pause=pause) as (endpoint, daemons):
                last = []
                for turn in range(6):
                    here, there = daemons[turn % 3], daemons[(turn + 1 + turn // 3) % 3]
                    debate_id = create(here, rounds=10)
                    seen = len(endpoint.requests)
                    until(lambda: len(endpoint.requests) > seen, 10)
                    started = time.monotonic()
                    _, answer = there.post(f"/api/debates/{debate_id}/cancel")
                    self.assertIn(answer["status"], ("cancelled", "cancelling"))
                    if answer["status"] == "cancelled":
                        self.assertEqual([status(daemon, debate_id) for daemon in daemons], ["cancelled"] * 3, "the answer said so")
                    until(lambda: status(here, debate_id) == "cancelled", 5)
                    time.sleep(max(0, started + 0.8 - time.monotonic()))  # longer than a call takes, and than it may go on
                    last.append(max(endpoint.times) - started)
                last.sort()
                print(f"\nthe last call {last[-1] * 1000:.0f} ms after it was cancelled elsewhere, calls of {pause * 1000:.0f} ms")
                self.assertLess(last[-2], 0.3)
                self.assertLess(last[-1], 0.3 + 0.3, "300 ms, and a busy machine once")

    def test_a_debate_is_cancelling_until_whoever_runs_it_has_ended_it(self):
        with sisters(2, service("TEST_REDIS"), pause=0.4) as (endpoint, (first, second)):
            debate_id = create(first, rounds=10)
            until(lambda: endpoint.times, 10)
            if "aragora_active_debates 1" not in first.request("GET", "/metrics")[2].decode():  # the other may have been quicker
                first, second = second, first
            first.process.send_signal(signal.SIGSTOP)
            try:
                _, answer = second.post(f"/api/debates/{debate_id}/cancel")
                self.assertEqual(answer["status"], "cancelling")
                self.assertEqual(status(second, debate_id), "running", "nothing has ended it")
                asked = len(endpoint.times)
            finally:
                first.process.send_signal(signal.SIGCONT)
            until(lambda: status(second, debate_id) == "cancelled", 5)
            self.assertLessEqual(len(endpoint.times), asked + 1, "it had perhaps begun to ask")
            self.assertEqual(second.post(f"/api/debates/{debate_id}/cancel")[0], 409)

    def test_a_client_that_creates_here_and_streams_there_sees_the_end(self):
        async def stream(daemon, debate_id):
            async with websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws") as socket, asyncio.timeout(20):
                await socket.send(json.dumps({"type": "subscribe", "debate_id": debate_id}))
                seen = []
                async for text in socket:
                    frame = json.loads(text)
                    seen += [frame["seq"]] if "seq" in frame else []
                    if frame["type"] == "debate_end":
                        return seen == list(range(1, len(seen) + 1))

        async def all_of_them(daemons):
            async def one(turn):
                debate_id = await asyncio.to_thread(create, daemons[turn % 3], rounds=1)
                return await stream(daemons[(turn // 3) % 3], debate_id)
            return await asyncio.gather(*(one(turn) for turn in range(18)))

        with sisters(3, service("TEST_REDIS")) as (_, daemons):
            self.assertEqual(asyncio.run(all_of_them(daemons)), [True] * 18)

    def test_instances_know_how_many_they_are(self):
        def alive(daemon):
            text = daemon.request("GET", "/metrics")[2].decode()
            return int(next(line.split()[1] for line in text.splitlines() if line.startswith("aragora_instances ")))

        with sisters(3, service("TEST_REDIS")) as (_, daemons):
            until(lambda: {alive(daemon) for daemon in daemons} == {3}, 10)
            daemons[2].stop()
            until(lambda: {alive(daemon) for daemon in daemons[:2]} == {2}, 10)
            daemons[1].kill()
            until(lambda: alive(daemons[0]) == 1, 20)

    def test_deployments_on_one_redis_do_not_hear_each_other(self):
        with RedisServer() as redis, sisters(1, redis.url) as (_, (one,)), sisters(1, redis.url) as (_, (other,)):
            debate_id = create(one, rounds=0)
            one.wait_finished(debate_id)
            channels = redis.cli("PUBSUB", "CHANNELS").split()
            self.assertEqual(len({channel.split("}")[0] for channel in channels}), 2, channels)
            self.assertNotIn(debate_id, listed(other))
            self.assertNotIn("a task", redis.cli("--scan"))


PANEL = ["openai:a", "openai:b", "openai:c"]
TEXT = "\n".join(["What is said elsewhere is heard plainly: wörd for wörd, and as it is made."] * 6)


def telling(hold=None, pause=0.01):
    """A cooperative model that says a few characters at a time; of a task to wait with, once it may."""
    def answer(number, body):
        said = json.loads(speak(body, answer=TEXT)[2])["choices"][0]["message"]["content"]
        waits = hold if "wait" in json.dumps(body["messages"]) else None
        return paced(pause, re.findall("(?s).{1,8}", said), waits)(number, body)
    return answer


def metric(daemon, name):
    return float(re.search(rf"^{name} (.*)$", daemon.request("GET", "/metrics")[2].decode(), re.M)[1])


def placed(daemons):
    """The one that runs a debate, and the other one."""
    until(lambda: any(metric(daemon, "aragora_active_debates") for daemon in daemons), 10)
    return sorted(daemons, key=lambda daemon: -metric(daemon, "aragora_active_debates"))


@contextlib.contextmanager
def overheard(redis):
    """All that a Redis is told, as it comes."""
    said = bytearray()
    with socket.create_connection(("127.0.0.1", redis.port)) as wire:
        wire.sendall(f"AUTH {redis.password}\r\nMONITOR\r\n".encode())

        def listen():
            with contextlib.suppress(OSError):
                while piece := wire.recv(65536):
                    said.extend(piece)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield said
        finally:
            wire.shutdown(socket.SHUT_RDWR)
            thread.join()


class Spoken(unittest.TestCase):
    """A debate that one instance runs, heard at another one as it is made."""

    async def follow(self, daemon, debate_id, told=lambda frame: None):
        frames = []
        async with websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws?debate_id={debate_id}&deltas=agent") as client, asyncio.timeout(40):
            while not frames or frames[-1]["type"] != "debate_end":
                frames.append(json.loads(await client.recv()))
                told(frames[-1])
        self.assertEqual([f["seq"] for f in frames if "seq" in f], list(range(1, sum("seq" in f for f in frames) + 1)))
        return frames

    def create(self, daemon, task, **more):
        return daemon.post("/api/debates", {"task": task, "agents": ["openai", "demo-a", "demo-b"], "rounds": 0, **more})[1]["debate_id"]

    def test_every_word_of_it_and_whoever_reads_redis_reads_none(self):
        hold = threading.Event()
        with RedisServer() as redis, overheard(redis) as wire, sisters(2, redis.url, answer=telling(hold)) as (_, daemons):
            debate_id = self.create(daemons[0], "wait for me")
            here, there = placed(daemons)
            asked = f" listen {debate_id} ".encode()
            threading.Thread(target=lambda: (until(lambda: asked in wire, 20), time.sleep(0.3), hold.set()), daemon=True).start()
            frames = asyncio.run(self.follow(there, debate_id))
            self.assertEqual(metric(here, "aragora_redis_deltas_lost_total"), 0)
        said = []
        message = next(f for f in frames if f["type"] == "agent_message" and f["agent"] == "openai")
        for part in (f for f in frames[:frames.index(message)] if f["type"] == "agent_delta" and f["agent"] == "openai"):
            self.assertEqual(part["data"]["offset"], sum(map(len, said)))
            said.append(part["data"]["text"])
        self.assertEqual("".join(said), message["data"]["content"])
        self.assertGreater(len(said), 10, "not as it was made")
        self.assertIn(b":speech:", wire)
        self.assertNotIn(b"plainly", wire)

    def test_redis_that_goes_in_the_middle_takes_words_and_no_message(self):
        with RedisServer() as redis, sisters(2, redis.url, answer=telling(pause=0.03)) as (_, daemons):
            debate_id = self.create(daemons[0], "a long answer")
            here, there = placed(daemons)
            heard = []

            def told(frame):
                heard.extend([frame] if frame["type"] == "agent_delta" and frame["agent"] == "openai" else [])
                if len(heard) == 10 and heard[-1] is frame:
                    redis.kill()

            frames = asyncio.run(self.follow(there, debate_id, told))
            self.assertGreaterEqual(len(heard), 10)
            self.assertEqual(frames[-1]["type"], "debate_end")
            self.assertEqual(sum(f["type"] == "agent_message" and f["data"]["role"] == "proposer" for f in frames), 3)
            self.assertGreater(metric(here, "aragora_redis_deltas_lost_total"), 0)

    def test_from_the_provider_to_a_socket_elsewhere_it_takes_milliseconds(self):
        taken = []

        def told(frame):
            if frame["type"] == "agent_delta" and frame["agent"] == "openai":
                taken.extend((time.monotonic_ns() - int(stamp)) / 1e6 for stamp in frame["data"]["text"].split())

        with sisters(2, service("TEST_REDIS"), answer=stamped) as (_, daemons):
            debate_id = self.create(daemons[0], "stamps")
            asyncio.run(self.follow(placed(daemons)[1], debate_id, told))
        taken.sort()
        print(f"\nprovider to a socket elsewhere, {len(taken)} words: p50 {at(taken, 0.5):.1f} ms, p95 {at(taken, 0.95):.1f} ms, p99 {at(taken, 0.99):.1f} ms")
        self.assertGreater(len(taken), 50)
        self.assertLess(at(taken, 0.5), 100)

    def test_an_answer_over_the_chat_api_that_is_made_elsewhere_comes_as_it_is_made(self):
        hold = threading.Event()
        with sisters(2, service("TEST_REDIS"), answer=telling(hold), ARAGORA_MAX_CONCURRENT_DEBATES="1") as (_, daemons):
            self.create(daemons[0], "wait")  # whoever runs it runs no other
            busy, _ = placed(daemons)
            client = http.client.HTTPConnection("127.0.0.1", busy.port, timeout=40)
            client.request("POST", "/v1/chat/completions", json.dumps({"model": "aragora/default", "stream": True, "messages": [{"role": "user", "content": "Who answers?"}],
                                                                       "aragora": {"agents": PANEL, "rounds": 0}}), {"Content-Type": "application/json"})
            times, said = [], ""
            for line in client.getresponse():
                if line.startswith(b"data: {") and (part := json.loads(line[6:])["choices"][0]["delta"].get("content")):
                    times.append(time.monotonic())
                    said += part
            client.close()
            hold.set()
        self.assertEqual(said, TEXT)
        self.assertGreater(times[-1] - times[0], 0.2, "all of it came at its end")


class Killed(unittest.TestCase):
    def test_a_hundred_debates_on_three_instances_of_which_one_is_killed(self):
        kinds = [{"rounds": 1}, {"rounds": 1, "consensus": BY_JUDGE}, {"rounds": 2, "budget_usd": 10}]
        with Panel(lambda _: time.sleep(0.2)) as panel, postgres_database() as url, \
                deployment(panel, DATABASE_URL=url, REDIS_URL=service("TEST_REDIS"), ARAGORA_MAX_CONCURRENT_DEBATES="15") as sandbox:
            with contextlib.ExitStack() as stack:
                daemons = [stack.enter_context(Daemon(sandbox)) for _ in range(3)]

                def ask(number):
                    return survival.create(daemons[number % 3], {"task": f"task {number}", "agents": SEATS, **kinds[number % len(kinds)]})

                with concurrent.futures.ThreadPoolExecutor(6) as pool:
                    ids = list(pool.map(ask, range(100)))
                until(lambda: page(daemons[1], "status=completed&limit=1")["total"] >= 20, 30)
                its_own = f"instance LIKE '%:{daemons[0].process.pid}:%' AND expires_at > 0"
                daemons[0].kill()
                lost = {debate for debate, in rows(sandbox, f"SELECT debate_id FROM debate_leases JOIN debates ON id = debate_id WHERE {its_own} AND completed_at IS NULL")}
                killed = time.monotonic()
                until(lambda: unfinished(daemons[1]) == 0, 60)
                print(f"\n{len(lost)} debates taken over; all had ended {time.monotonic() - killed:.1f} s after the kill")
                self.assertGreaterEqual(len(lost), 5, "hardly anything ran there")
            debates = assert_survived(self, sandbox, panel, 1, ids)
            self.assertEqual(({outcome for _, _, outcome in debates.values()}, len(debates)), ({"consensus"}, 100))
            self.assertEqual(lost & {debate for debate, in rows(sandbox, f"SELECT debate_id FROM debate_leases WHERE {its_own}")}, set(), "not taken over")
            again = {debate for debate, in rows(sandbox, "SELECT debate_id FROM agent_calls WHERE attempt > 1")}
            self.assertEqual(again - lost, set(), "asked again although nobody who ran it was killed")
            sandbox.run("verify", check=0)
            assert_replayed(self, sandbox, lost)


class Troubled(unittest.TestCase):
    """With a Redis of their own, to which things happen."""

    def said(self, daemon, text):
        return daemon.text().count(text)

    def assert_once(self, daemons, text, limit=10):
        for daemon in daemons:
            until(lambda: self.said(daemon, text) > 0, limit)
            self.assertEqual(self.said(daemon, text), 1, daemon.text())

    def assert_follows(self, first, second, worst):
        delays = asyncio.run(watch_both(first, second, rounds=1))
        self.assertLess(delays[-1], worst)

    def test_killed_and_back(self):
        with RedisServer() as redis, sisters(2, redis.url, ARAGORA_MULTI_INSTANCE="true") as (_, (first, second)):
            self.assert_follows(first, second, 0.5)
            redis.kill()
            self.assert_once((first, second), AWAY)
            until(lambda: first.get("/api/health")[1]["status"] == "degraded", 5)
            self.assertEqual(first.get("/api/ready")[0], 200, "it goes on")
            self.assert_follows(first, second, 1.2)
            debate_id = create(first, rounds=10)
            until(lambda: status(second, debate_id) == "running", 5)
            second.post(f"/api/debates/{debate_id}/cancel")
            until(lambda: status(second, debate_id) == "cancelled", 2)
            until(lambda: debate_id in listed(second), 1.5)
            started = time.monotonic()
            redis.start()
            self.assert_once((first, second), BACK)
            self.assertLess(time.monotonic() - started, 2 + 0.5)
            self.assert_follows(first, second, 0.5)
            until(lambda: first.get("/api/health")[1]["redis"] == "connected", 3)  # which looks once a second

    def test_frozen_and_thawed(self):
        with RedisServer() as redis, sisters(2, redis.url) as (_, (first, second)):
            redis.freeze()
            self.assert_once((first, second), AWAY)
            self.assert_follows(first, second, 1.2)
            redis.freeze(False)
            self.assert_once((first, second), BACK)

    def test_emptied_and_with_scripts_forgotten(self):
        with RedisServer() as redis, sisters(2, redis.url) as (_, (first, second)):
            for command in (("FLUSHALL",), ("SCRIPT", "FLUSH"), ("CLIENT", "KILL", "TYPE", "pubsub")):
                redis.cli(*command)
                self.assert_follows(first, second, 1.2)

    def test_a_changed_password(self):
        with RedisServer() as redis, sisters(2, redis.url) as (_, (first, second)):
            redis.cli("CONFIG", "SET", "requirepass", "another-n0t-sample")
            old, redis.password = redis.password, "another-n0t-sample"
            for kind in ("normal", "pubsub"):
                redis.cli("CLIENT", "KILL", "TYPE", kind)
            self.assert_once((first, second), AWAY)
            self.assertIn("refused the password", first.text())
            self.assertNotIn(old, first.text())
            self.assert_follows(first, second, 1.2)
            redis.cli("CONFIG", "SET", "requirepass", old)
            redis.password = old
            self.assert_once((first, second), BACK)

    def test_slow_by_200_milliseconds(self):
        with RedisServer() as redis, SlowWire(redis.port) as wire:
            with sisters(2, redis.url.replace(str(redis.port), str(wire.port))) as (_, (first, second)):
                wire.delay = 0.1  # each way
                self.assert_once((first, second), AWAY)
                self.assert_follows(first, second, 1.2)
                started = time.monotonic()
                for _ in range(20):
                    create(first, rounds=0)
                self.assertLess(time.monotonic() - started, 20 * 0.1, "requests waited for Redis")
                wire.delay = 0
                self.assert_once((first, second), BACK)

    def test_over_tls_with_whom_the_certificate_names_only(self):
        with Authority() as authority, RedisServer(authority=authority) as redis:
            with sisters(2, redis.tls_url, SSL_CERT_FILE=str(authority.file)) as (_, (first, second)):
                self.assert_follows(first, second, 0.5)
                self.assertEqual(self.said(first, AWAY), 0, first.text())
            with sisters(2, redis.tls_url) as (_, (first, second)):
                self.assert_once((first, second), AWAY)
                self.assertIn("not signed by anybody trusted here", first.text())
                self.assert_follows(first, second, 1.2)

    def test_absent_from_the_start_and_over_a_socket_as_a_narrow_user(self):
        with RedisServer() as redis:
            redis.cli("ACL", "SETUSER", "narrow", "on", ">narrow-pw", "~aragora:*", "&aragora:*", "+publish", "+subscribe", "+ping", "+select", "+eval", "+evalsha", "+time", "+get",
                      "+set", "+del", "+zadd", "+zrem", "+hset", "+hdel", "+hvals", "+zrangebyscore", "+pexpire")
            with sisters(2, f"unix://narrow:narrow-pw@{redis.socket}?db=3") as (_, (first, second)):
                self.assert_follows(first, second, 0.5)
                self.assertEqual(self.said(first, AWAY), 0, first.text())
                redis.kill()
                self.assert_once((first, second), AWAY)


class WithoutRedis(unittest.TestCase):
    def test_the_database_alone_carries_events_within_a_second(self):
        with sisters(2, "") as (_, (first, second)):
            delays = asyncio.run(watch_both(first, second))
            self.assertLess(delays[-1], 1.2)
            debate_id = create(first, rounds=10)
            until(lambda: status(first, debate_id) == "running", 5)
            second.post(f"/api/debates/{debate_id}/cancel")
            until(lambda: status(second, debate_id) == "cancelled", 2)


if __name__ == "__main__":
    main()
