"""Circuit breakers, the fallback to OpenRouter, and `aragora providers`, against real HTTP endpoints that fail as they are told to."""
import contextlib
import json
import secrets
import subprocess
import threading
import time
import unittest

from receivers import Receiver
from support import Daemon, RedisServer, Sandbox, free_port, main, postgres_database
from test_debates import until
from test_provider import KEY, Endpoint, completion, message, speak

OVERLOADED = (503, {}, b'{"error": {"code": "server_is_overloaded"}}')
REFUSED = (401, {}, b'{"error": {"code": "invalid_api_key"}}')


class Switched:
    """An endpoint that speaks, or answers what it is told to."""

    def __init__(self):
        self.instead = None

    def __call__(self, _, body):
        return self.instead or speak(body)


def debate(daemon, agents=("openai", "demo-a", "demo-b"), **headers):
    _, created = daemon.post("/api/debates", {"task": "x", "agents": list(agents), "rounds": 1}, **headers)
    finished = daemon.wait_finished(created["debate_id"])
    return finished, daemon.get(f"/api/debates/{created['debate_id']}/events?limit=500", **headers)[1]["events"]


def metric(daemon, series):
    text = daemon.request("GET", "/metrics")[2].decode()
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(series + " ")), None)


def circuit(daemon, provider="openai"):
    return daemon.get("/api/ready")[1]["breakers"][provider]


def rejected(daemon, reason="probing"):
    return metric(daemon, f'aragora_breaker_rejected_total{{provider="openai",reason="{reason}"}}')


def probes(daemon):
    return sum(metric(daemon, f'aragora_breaker_probes_total{{outcome="{outcome}",provider="openai"}}') for outcome in ("answered", "failed", "neither"))


def leases(redis):
    return redis.cli("KEYS", "*:probe:openai").split()


@contextlib.contextmanager
def deployment(**environment):
    """A sandbox with an administrator; what logs in at a daemon answers the headers of its session."""
    with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), **environment) as sandbox:
        sandbox.run("migrate", check=0)
        password = sandbox.run("user", "add", "--email", "root@example.org", "--role", "admin", check=0).stdout.strip().splitlines()[-1]

        def login(daemon):
            token = daemon.post("/api/auth/login", {"email": "root@example.org", "password": password})[1]["access_token"]
            return {"Authorization": f"Bearer {token}"}
        yield sandbox, login


class Breakers(unittest.TestCase):
    def test_a_provider_that_fails_is_asked_no_more_and_everybody_can_see_it(self):
        switched = Switched()
        with Endpoint(switched) as endpoint, deployment(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as (sandbox, login), Daemon(sandbox) as daemon:
            root = login(daemon)
            self.assertEqual(daemon.get("/api/ready")[1]["agents"], "available")
            self.assertEqual(metric(daemon, 'aragora_breaker_state{provider="openai"}'), 0)
            self.assertEqual(metric(daemon, 'aragora_breaker_transitions_total{from="closed",provider="openai",to="open"}'), 0)
            switched.instead = OVERLOADED
            finished, events = debate(daemon)
            self.assertEqual(finished["status"], "completed", "the others go on")
            self.assertEqual({e["agent"] for e in events if e["type"] == "agent_error"}, {"openai"})
            self.assertEqual(len(endpoint.requests), 3, "three tries opened it, and nobody asked after that")
            status, ready, = daemon.get("/api/ready")
            self.assertEqual((status, ready["status"], ready["agents"], ready["breakers"]), (200, "ready", "unavailable", {"openai": "open"}))
            self.assertEqual(ready["checks"]["agents"], ready["agents"], "one answer, whoever is asked")
            until(lambda: daemon.get("/api/health")[1]["components"]["agents"] == "unavailable", 5)
            health = daemon.get("/api/health")[1]
            self.assertEqual((health["status"], health["checks"]["agents"]["healthy"]), ("degraded", False), health)
            self.assertEqual(metric(daemon, 'aragora_breaker_state{provider="openai"}'), 2)
            self.assertEqual(metric(daemon, 'aragora_breaker_transitions_total{from="closed",provider="openai",to="open"}'), 1)
            self.assertEqual(metric(daemon, 'aragora_provider_failures_total{class="server",provider="openai"}'), 3)
            finished, events = debate(daemon)
            self.assertRegex([e for e in events if e["type"] == "agent_error"][0]["data"]["message"], "its circuit is open")
            self.assertGreaterEqual(metric(daemon, 'aragora_breaker_rejected_total{provider="openai",reason="open"}'), 1)
            self.assertEqual(len(endpoint.requests), 3)
            self.assertIn("the circuit of openai is open for", daemon.text())

            listed = daemon.get("/api/admin/breakers", **root)[1]
            self.assertEqual(listed["total"], 1)
            breaker = listed["breakers"][0]
            self.assertEqual((breaker["provider"], breaker["state"], breaker["usable"], breaker["failures"]["server"]), ("openai", "open", False, 3))
            self.assertGreater(breaker["open_for_seconds"], 30)
            self.assertIn(daemon.get("/api/admin/breakers")[0], (401, 403))

            shown = sandbox.run_json("providers", check=0)
            self.assertEqual(shown["daemon"], "running")
            own = {one["provider"]: one for one in shown["providers"]}["openai"]
            self.assertEqual((own["breaker"]["state"], own["probe"]), ("open", None))
            self.assertIn("circuit open", sandbox.run("providers", check=0).stdout)

            switched.instead = None
            status, body = daemon.post("/api/admin/breakers/openai", {"action": "reset"}, **root)
            self.assertEqual((status, body["state"]), (200, "closed"))
            finished, events = debate(daemon)
            self.assertNotIn("agent_error", [e["type"] for e in events])
            self.assertGreaterEqual(daemon.get("/api/admin/breakers", **root)[1]["breakers"][0]["last_latency_ms"], 0)

            self.assertEqual(daemon.post("/api/admin/breakers/openai", {"action": "force_open"}, **root)[1]["forced"], "open")
            asked = len(endpoint.requests)
            debate(daemon)
            self.assertEqual(len(endpoint.requests), asked)
            self.assertEqual(daemon.post("/api/admin/breakers/openai", {"action": "force_closed"}, **root)[1]["state"], "closed")
            self.assertEqual(daemon.post("/api/admin/breakers/nobody", {"action": "reset"}, **root)[0], 404)
            self.assertEqual(daemon.post("/api/admin/breakers/openai", {"action": "explode"}, **root)[0], 400)
            self.assertEqual(daemon.post("/api/admin/breakers/openai", {}, **root)[0], 400)
            entries = daemon.get("/api/admin/audit?action=breaker.", **root)[1]["events"]
            self.assertEqual([(e["action"], e["object"]) for e in entries],
                             [(f"breaker.{action}", "provider:openai") for action in ("force_closed", "force_open", "reset")])

    def test_what_an_administrator_holds_is_held_over_a_kill_until_it_is_reset(self):
        with Endpoint(Switched()) as endpoint, deployment(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as (sandbox, login):
            def forced(daemon):
                return daemon.get("/api/admin/breakers", **login(daemon))[1]["breakers"][0]["forced"]
            for action, held, asks in (("force_open", "open", False), ("force_closed", "closed", True), ("reset", "none", True)):
                with self.subTest(action):
                    with Daemon(sandbox) as daemon:
                        self.assertEqual(daemon.post("/api/admin/breakers/openai", {"action": action}, **login(daemon))[0], 200)
                        daemon.kill()
                    with Daemon(sandbox) as daemon:
                        self.assertEqual(forced(daemon), held)
                        before = len(endpoint.requests)
                        debate(daemon)
                        self.assertEqual(len(endpoint.requests) > before, asks)
                        self.assertEqual(f"the circuit of openai: an administrator holds it {held}" in daemon.text(), held != "none")
            # A provider that is not asked for a while is held again when it is: by a key that a reload brings.
            with Daemon(sandbox) as daemon:
                daemon.post("/api/admin/breakers/openai", {"action": "force_open"}, **login(daemon))
            del sandbox.environment["OPENAI_API_KEY"], sandbox.environment["OPENAI_BASE_URL"]
            sandbox.environment["ARAGORA_CONFIG"] = str(sandbox.write("aragora.toml", ""))
            with Daemon(sandbox) as daemon:
                self.assertEqual(daemon.get("/api/admin/breakers", **login(daemon))[1]["total"], 0)
                sandbox.write("aragora.toml", f'[providers]\nopenai_api_key = "{KEY}"\n')
                sandbox.run("reload", check=0)
                self.assertEqual(forced(daemon), "open")

    def test_who_waits_for_a_turn_does_not_wait_for_a_circuit_that_is_held_open(self):
        held = threading.Event()
        self.addCleanup(held.set)

        def answer(_, body):
            held.wait(60)
            return speak(body)
        with Endpoint(answer) as endpoint, deployment(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY, ARAGORA_CALLS_AT_ONCE="1") as (sandbox, login), Daemon(sandbox) as daemon:
            root = login(daemon)
            waiting = lambda: metric(daemon, 'aragora_provider_calls{provider="openai",state="waiting"}')
            create = lambda: daemon.post("/api/debates", {"task": "x", "agents": ["openai", "demo-a", "demo-b"], "rounds": 1})[1]["debate_id"]
            first = create()
            until(lambda: len(endpoint.requests) == 1, 10)  # it has the turn, and not the other one
            second = create()
            until(lambda: waiting() == 1, 10)
            self.assertEqual(daemon.post("/api/admin/breakers/openai", {"action": "force_open"}, **root)[1]["forced"], "open")
            ended, _ = debate(daemon)
            self.assertEqual((ended["status"], daemon.wait_finished(second)["status"]), ("completed", "completed"))
            self.assertEqual((len(endpoint.requests), waiting()), (1, 0))
            self.assertEqual(daemon.get(f"/api/debates/{first}")[1]["status"], "running", "what was under way goes on")
            messages = [e["data"]["message"] for e in daemon.get(f"/api/debates/{second}/events?limit=500")[1]["events"] if e["type"] == "agent_error"]
            self.assertIn("its circuit opened while this call waited", messages[0])

    def test_instances_that_do_not_hear_of_each_other_hold_the_same(self):
        with Endpoint(Switched()) as endpoint, postgres_database() as url, deployment(DATABASE_URL=url, OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as (sandbox, login), \
                Daemon(sandbox) as one, Daemon(sandbox) as other:
            root = login(one)
            held = lambda: [daemon.get("/api/admin/breakers", **root)[1]["breakers"][0]["forced"] for daemon in (one, other)]
            for action, state in (("force_open", "open"), ("reset", "none"), ("force_closed", "closed")):
                self.assertEqual(one.post("/api/admin/breakers/openai", {"action": action}, **root)[0], 200)
                until(lambda: held() == [state, state], 10)
            # What nobody here wrote holds nothing, and does not keep anybody from starting.
            psql = ["psql", "-qAtX", url, "-c"]
            subprocess.run([*psql, "UPDATE settings SET value = 'half' WHERE name = 'breaker.forced.openai'"], check=True)
            subprocess.run([*psql, "INSERT INTO settings VALUES ('breaker.forced.', 'open', 1), ('breaker.forced.nobody', 'open', 1)"], check=True)
            until(lambda: held() == ["none", "none"], 10)
            with Daemon(sandbox) as third:
                self.assertEqual(third.get("/api/admin/breakers", **root)[1]["breakers"][0]["forced"], "none")

    def test_each_vendor_has_the_rules_it_is_said_to_have(self):
        vendors = {"anthropic": ("claude", 3, 60), "openai": ("openai", 3, 60), "openrouter": ("openrouter:x/y", 5, 120)}
        with contextlib.ExitStack() as stack:
            endpoints = {name: stack.enter_context(Endpoint(lambda *_: OVERLOADED)) for name in vendors}
            sandbox, login = stack.enter_context(deployment(
                ANTHROPIC_BASE_URL=endpoints["anthropic"].origin, ANTHROPIC_API_KEY="sk-ant-" + KEY, OPENAI_BASE_URL=endpoints["openai"].url, OPENAI_API_KEY=KEY,
                OPENROUTER_BASE_URL=endpoints["openrouter"].url, OPENROUTER_API_KEY="sk-or-" + KEY, ARAGORA_CALL_RETRIES="0"))
            daemon = stack.enter_context(Daemon(sandbox))
            root = login(daemon)
            agents = [agent for agent, _, _ in vendors.values()] + ["demo-a", "demo-b", "demo-c"]

            def opened():
                breakers = {one["provider"]: one for one in daemon.get("/api/admin/breakers", **root)[1]["breakers"]}
                for name, (_, failures, window) in vendors.items():
                    if len(endpoints[name].requests) < failures:
                        self.assertEqual(breakers[name]["state"], "closed", name)
                    else:
                        self.assertEqual(breakers[name]["state"], "open", name)
                        self.assertTrue(0.9 * window - 20 < breakers[name]["open_for_seconds"] <= 1.1 * window, breakers[name])
                return all(one["state"] == "open" for one in breakers.values())
            until(lambda: opened() or debate(daemon, agents, **root) is None, 30)
            self.assertEqual({name: len(endpoint.requests) for name, endpoint in endpoints.items()}, {name: failures for name, (_, failures, _) in vendors.items()})

    def test_a_circuit_probes_after_its_window_and_closes(self):
        switched = Switched()
        with Endpoint(switched) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY, ARAGORA_BREAKER_WINDOW_SECONDS="2", ARAGORA_CALL_RETRIES="2") as sandbox, \
                Daemon(sandbox) as daemon:
            switched.instead = OVERLOADED
            debate(daemon)
            self.assertEqual(circuit(daemon), "open")
            switched.instead = None

            def closed():
                debate(daemon)
                return circuit(daemon) == "closed"
            until(closed, 10)
            self.assertEqual(metric(daemon, 'aragora_breaker_probes_total{outcome="answered",provider="openai"}'), 1)

    def test_a_refused_key_blocks_until_the_configuration_is_read_anew(self):
        switched = Switched()
        switched.instead = REFUSED
        with Endpoint(switched) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as sandbox, Daemon(sandbox) as daemon:
            debate(daemon)
            debate(daemon)
            self.assertEqual(len(endpoint.requests), 1, "a refused key is not shown again")
            self.assertEqual(metric(daemon, 'aragora_breaker_blocked{provider="openai"}'), 1)
            self.assertEqual(circuit(daemon), "closed", "its circuit is another matter")
            switched.instead = None
            sandbox.run("reload", check=0)
            _, events = debate(daemon)
            self.assertNotIn("agent_error", [e["type"] for e in events])

    def test_people_are_told_that_it_is_open_and_that_it_is_closed(self):
        key, switched = secrets.token_hex(32), Switched()
        switched.instead = OVERLOADED
        with Endpoint(switched) as endpoint, Receiver(key) as receiver, \
                Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY, ARAGORA_BREAKER_WINDOW_SECONDS="4", ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=key,
                        ARAGORA_NOTIFY_INTERVAL_SECONDS="1") as sandbox, Daemon(sandbox) as daemon:
            told = lambda: [(event["state"], event["key"]) for event in (json.loads(request["body"]) for request in receiver.requests) if event["kind"] == "provider"]
            debate(daemon)
            until(lambda: told() == [("problem", "provider:openai")], 10)
            summaries = [event["summary"] for event in map(json.loads, (request["body"] for request in receiver.requests)) if event["kind"] == "provider"]
            self.assertIn("openai is not asked: its circuit is", summaries[0])
            switched.instead = None
            until(lambda: circuit(daemon) == "closed" or debate(daemon) is None, 20)
            until(lambda: told() == [("problem", "provider:openai"), ("recovered", "provider:openai")], 10)

    def test_instances_tell_each_other(self):
        switched = Switched()
        with Endpoint(switched) as endpoint, RedisServer() as redis, postgres_database() as url, \
                deployment(DATABASE_URL=url, REDIS_URL=redis.url, OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as (sandbox, login), \
                Daemon(sandbox) as one, Daemon(sandbox) as other:
            root = login(one)
            switched.instead = OVERLOADED
            debate(one)
            until(lambda: (circuit(one), circuit(other)) == ("open", "open"), 5)
            until(lambda: other.post("/api/admin/breakers/openai", {"action": "reset"}, **root)[0] == 200, 5)
            until(lambda: (circuit(one), circuit(other)) == ("closed", "closed"), 5)


    @contextlib.contextmanager
    def two_and_a_probe(self, **environment):
        """Two instances whose circuits are open, and the probe of one, which the endpoint does not answer before it is let."""
        switched, held, times = Switched(), threading.Event(), []
        switched.instead = OVERLOADED

        def answer(number, body):
            times.append(time.monotonic())
            if switched.instead is None and number == 4:
                held.wait(20)
            return switched(number, body)
        with Endpoint(answer) as endpoint, RedisServer() as redis, postgres_database() as url, \
                Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), DATABASE_URL=url, REDIS_URL=redis.url, OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY, ARAGORA_BREAKER_WINDOW_SECONDS="2",
                        **environment) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as one, Daemon(sandbox) as other:
                debate(one)
                until(lambda: circuit(one) == circuit(other) == "open", 5)
                self.assertEqual(len(endpoint.requests), 3)
                switched.instead = None

                def probing():
                    _, created = one.post("/api/debates", {"task": "x", "agents": ["openai", "demo-a", "demo-b"], "rounds": 1})
                    ended = lambda: one.get(f"/api/debates/{created['debate_id']}")[1]["status"] == "completed"
                    until(lambda: len(endpoint.requests) > 3 or ended(), 10)
                    return len(endpoint.requests) > 3
                until(probing, 10)
                try:
                    yield one, other, times, redis, held
                finally:
                    held.set()

    def until_redis_is_prompt(self, scenario, **environment):
        """Whom Redis does not answer within 100 ms probes for itself, as it should: then all begins anew."""
        for _ in range(3):
            with self.two_and_a_probe(**environment) as instances:
                if scenario(*instances):
                    return
        self.fail("the other one probed too, three times")

    def test_one_of_two_instances_probes_for_both(self):
        def scenario(one, other, times, redis, held):
            until(lambda: rejected(other) > 0 or len(times) > 4 or debate(other) is None, 20)
            if len(times) > 4:
                return False
            self.assertEqual((circuit(one), circuit(other), len(leases(redis))), ("half_open", "half_open", 1))
            held.set()
            until(lambda: circuit(one) == circuit(other) == "closed", 5)
            self.assertEqual([probes(daemon) for daemon in (one, other)], [1, 0])
            until(lambda: leases(redis) == [], 5)
            _, events = debate(other)
            self.assertNotIn("agent_error", [e["type"] for e in events])
            self.assertEqual(probes(other), 0)
            return True
        self.until_redis_is_prompt(scenario)

    def test_the_other_probes_when_the_lease_of_one_that_was_killed_is_over(self):
        def scenario(one, other, times, redis, _):
            one.kill()
            lease = next(iter(leases(redis)), None)
            if lease is None:
                return False
            self.assertLessEqual(int(redis.cli("PTTL", lease)), 15_000, "the ten seconds of a call, and five more")
            ends = time.monotonic() + 5
            redis.cli("PEXPIRE", lease, "5000")
            until(lambda: circuit(other) == "closed" or debate(other) is None, 20)
            if rejected(other) == 0 or times[4] < ends - 0.1:
                return False
            self.assertEqual(probes(other), 1)
            return True
        self.until_redis_is_prompt(scenario, ARAGORA_CALL_TIMEOUT_SECONDS="10")


class Fallbacks(unittest.TestCase):
    def test_openrouter_answers_for_a_provider_that_cannot(self):
        with Endpoint(lambda *_: REFUSED) as own, Endpoint(lambda _, body: speak(body)) as other, \
                Sandbox(OPENAI_BASE_URL=own.url, OPENAI_API_KEY=KEY, OPENROUTER_BASE_URL=other.url, OPENROUTER_API_KEY="sk-or-" + KEY,
                        ARAGORA_OPENAI_MODEL="gpt-6-sol", ARAGORA_OPENROUTER_FALLBACK_ENABLED="true") as sandbox, Daemon(sandbox) as daemon:
            finished, events = debate(daemon)
            self.assertEqual(finished["status"], "completed")
            self.assertNotIn("agent_error", [e["type"] for e in events])
            self.assertEqual(len(own.requests), 1)
            self.assertEqual({body["model"] for _, _, body in other.requests}, {"openai/gpt-6-sol"})
            self.assertGreaterEqual(metric(daemon, 'aragora_provider_fallbacks_total{answered="true",from="openai",reason="credential",to="openrouter"}'), 1)

    def test_who_answered_instead_stands_in_the_debate_its_rating_and_its_receipt(self):
        def routed(_, body):
            status, headers, said = speak(body)
            return status, headers, said.replace(b'"test-model"', json.dumps(body["model"]).encode())
        claude = "anthropic/claude-opus-5.5"
        with Endpoint(lambda *_: REFUSED) as own, Endpoint(routed) as other, \
                Sandbox(OPENAI_BASE_URL=own.url, OPENAI_API_KEY=KEY, OPENROUTER_BASE_URL=other.url, OPENROUTER_API_KEY="sk-or-" + KEY, ARAGORA_OPENAI_MODEL="gpt-6-sol",
                        ARAGORA_FALLBACK_MODELS=f"gpt-6-sol={claude}") as sandbox, Daemon(sandbox) as daemon:
            finished, events = debate(daemon, ("openai", f"openrouter:{claude}", "demo-a"))
            receipt = daemon.get(f"/api/debates/{finished['id']}/receipt")[1]["receipt"]
            ranked = {entry["name"] for entry in daemon.get("/api/leaderboard")[1]["rankings"]}
            _, judged = daemon.post("/api/debates", {"task": "x", "agents": ["demo-a", "demo-b"], "rounds": 0, "consensus": {"kind": "judge", "judge": "openai"}})
            judged = daemon.wait_finished(judged["debate_id"])
        self.assertEqual(finished["status"], "completed")
        report = finished["report"]
        calls = {seat: {(one["provider"], one["model"], one["substituted"], one["diversity_reduced"]) for one in report["served_by"] if one["seat"] == seat}
                 for seat in ("openai", f"openrouter:{claude}", "demo-a")}
        self.assertEqual(calls, {"openai": {("openrouter", claude, True, True)}, f"openrouter:{claude}": {("openrouter", claude, False, False)}, "demo-a": {("demo", "demo", False, False)}})
        self.assertEqual(report["diversity"]["families"], 2)
        self.assertEqual({(one["seat"], one["provider"], one["substituted"]) for one in judged["report"]["served_by"]},
                         {("demo-a", "demo", False), ("demo-b", "demo", False), ("judge", "openrouter", True)})
        # Whoever spoke is rated, and nobody else.
        match = next(event["data"] for event in events if event["type"] == "match_recorded")
        self.assertIn(("openai", "openrouter", claude), [(seat["seat"], seat["provider"], seat["model"]) for seat in match["seats"]])
        self.assertEqual(ranked, {"openrouter:anthropic:claude-opus-5.5", "demo-a"})
        served = {seat["seat"]: [(one["provider"], one["model"]) for one in seat["served_by"] if one["answered"]] for seat in receipt["seats"]}
        self.assertEqual(served["openai"], [("openrouter", claude)])
        told = next(one["said"]["report"] for one in receipt["also"] if one["type"] == "debate_report")
        self.assertEqual({(one["provider"], one["model"], one["substituted"]) for one in told["served_by"] if one["seat"] == "openai"}, {("openrouter", claude, True)})

    def test_what_goes_to_a_server_of_ones_own_goes_nowhere_else(self):
        with Endpoint(lambda *_: OVERLOADED) as own, Endpoint(lambda _, body: speak(body)) as other:
            environment = {"OPENAI_BASE_URL": own.url, "OPENAI_API_KEY": KEY, "OPENROUTER_BASE_URL": other.url, "OPENROUTER_API_KEY": "sk-or-" + KEY, "ARAGORA_OPENAI_MODEL": "llama"}
            with Sandbox(**environment) as sandbox, Daemon(sandbox) as daemon:
                _, events = debate(daemon)
                self.assertIn("agent_error", [e["type"] for e in events])
                self.assertEqual(other.requests, [])
            with Sandbox(**environment, ARAGORA_FALLBACK_MODELS="llama=meta/llama-5") as sandbox, Daemon(sandbox) as daemon:
                debate(daemon)
                self.assertEqual({body["model"] for _, _, body in other.requests}, {"meta/llama-5"})
            with Sandbox(**environment, ARAGORA_FALLBACK_MODELS="llama") as sandbox:
                self.assertIn("'llama' does not say which model stands for which", sandbox.run("validate-env", check=78).stdout)


class Command(unittest.TestCase):
    def test_it_lists_what_is_configured_without_a_daemon(self):
        with Sandbox(OPENAI_API_KEY=KEY) as sandbox:
            shown = sandbox.run_json("providers", check=0)
            self.assertEqual((shown["daemon"], shown["probed"], shown["ok"]), ("not running", False, True))
            by_name = {one["provider"]: one for one in shown["providers"]}
            self.assertTrue({"anthropic", "openai", "openrouter", "demo"} <= set(by_name))
            self.assertTrue(by_name["openai"]["configured"])
            self.assertIn("ANTHROPIC_API_KEY is not configured", by_name["anthropic"]["why_not"])
            text = sandbox.run("providers", check=0).stdout
            self.assertIn("daemon not running", text)
            self.assertNotIn(KEY, text)

    def test_a_probe_asks_each_for_one_token_and_says_what_to_do(self):
        with Endpoint(lambda _, body: message(body)) as anthropic, Endpoint(lambda *_: REFUSED) as openai:
            anthropic_key = "sk-ant-" + secrets.token_hex(20)
            environment = {"ANTHROPIC_BASE_URL": anthropic.origin, "ANTHROPIC_API_KEY": anthropic_key, "OPENAI_BASE_URL": openai.url, "OPENAI_API_KEY": KEY,
                           "OPENROUTER_BASE_URL": f"http://127.0.0.1:{free_port()}/v1", "OPENROUTER_API_KEY": "sk-or-" + KEY}
            with Sandbox(**environment) as sandbox:
                result = sandbox.run("providers", "--probe", "--json", check=1)
                probes = {one["provider"]: one["probe"] for one in json.loads(result.stdout)["providers"] if one["probe"]}
                self.assertTrue(probes["anthropic"]["ok"])
                self.assertEqual(anthropic.requests[0][2]["max_tokens"], 1)
                self.assertFalse(probes["openai"]["ok"])
                self.assertIn("401", probes["openai"]["error"])
                self.assertIn("OPENAI_API_KEY", probes["openai"]["fix"])
                self.assertFalse(probes["openrouter"]["ok"])
                self.assertIn("providers.openrouter_base_url", probes["openrouter"]["fix"])
                self.assertEqual((len(anthropic.requests), len(openai.requests)), (1, 1), "nothing is tried twice")
                self.assertNotIn(KEY, result.stdout + result.stderr)
                self.assertNotIn(anthropic_key, result.stdout + result.stderr)
                alone = sandbox.run("providers", "--probe", check=0, OPENAI_API_KEY="", OPENAI_BASE_URL="", OPENROUTER_API_KEY="")
                self.assertIn("answered in", alone.stdout)

    def test_a_probe_of_nobody_is_no_success(self):
        with Sandbox() as sandbox:
            self.assertIn("no provider is configured", sandbox.run("providers", "--probe", check=1).stdout)
            sandbox.run("providers", "--timeout", "0", check=64)

    def test_a_provider_that_is_silent_is_given_up_in_time(self):
        held = threading.Event()
        with Endpoint(lambda *_: (held.wait(20), completion("late"))[1]) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as sandbox:
            result = sandbox.run("providers", "--probe", "--timeout", "1", check=1, timeout=10)
            held.set()
            self.assertIn("see its status page", result.stdout)


if __name__ == "__main__":
    main()
