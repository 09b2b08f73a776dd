"""Debates against the vendors' APIs as they are (vendors.py): what they refuse, how they stream, what breaks on the way. The vendors' own SDKs
say whether what stands in for them speaks as they do, and another mock, which was not written here, runs the same debates."""
import contextlib
import email.utils
import http.client
import itertools
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest
import unittest.mock

from receivers import wait_for
from support import BINARY, SOURCE, Daemon, Sandbox, free_port, main, strong_secret
from vendors import KEYS, TEXT, Behaviour, Refusal, Vendors, named_behaviours, phase_of, refusal_of, speak, undecided

AGENTS = {"anthropic": "claude", "openai": "openai", "openrouter": "openrouter:anthropic/claude-opus-5.5", "gemini": "gemini", "local": "local"}
MODELS = {"anthropic": "claude-sonnet-5-5", "openai": "gpt-6-luna", "openrouter": "anthropic/claude-opus-5.5", "gemini": "gemini-2.5-flash", "local": "llama3:8b"}
SDKS = SOURCE / "tests" / "vendors"


def node_tools():
    """Where the vendors' SDKs are; they are installed there when they are not."""
    place = pathlib.Path(BINARY).resolve().parent.parent / "vendors"
    subprocess.run([SOURCE / "scripts" / "node-tools", SDKS, place], check=True, timeout=300)
    return place


def debate_with(vendors, *names, agents=None, rounds=1, task="What do vendors say?", **environment):
    """One debate; answers it, its events and what the daemon logged. No key is ever seen."""
    agents = agents or [AGENTS[name] for name in names] + ["demo-skeptic", "demo-optimist"]
    given = vendors.environment(*names) if vendors else {}
    with Sandbox(**{**given, **environment}) as sandbox, Daemon(sandbox) as daemon:
        status, created = daemon.post("/api/debates", {"task": task, "agents": agents, "rounds": rounds})
        assert status in (200, 201, 202), created
        debate = daemon.wait_finished(created["debate_id"])
        events = daemon.get(f"/api/debates/{created['debate_id']}/events?limit=500")[1]["events"]
        daemon.stop()
        with contextlib.closing(sqlite3.connect(next((sandbox.directory / "state").glob("*.db")))) as connection:
            calls = connection.execute("SELECT provider, status, error, model, tokens_in, tokens_out FROM agent_calls").fetchall()
        seen = daemon.text() + json.dumps([debate, events, calls])
        for key in filter(None, KEYS.values()):
            assert key not in seen, "a key was seen"
        return debate, events, calls


def disagreeing(asked, _):
    """Each vendor as somebody of its own, so that all phases come."""
    return Behaviour(text=undecided(speak(str(asked.system), str(asked.user), asked.schema), asked.vendor))


def errors_of(events, agent):
    return [event["data"].get("message", "") for event in events if event["type"] == "agent_error" and event.get("agent") == agent]


class DebatesWithVendors(unittest.TestCase):
    PHASES = ["propose", "vote", "critique", "revise", "vote"]  # of every seat

    def test_every_vendor_takes_what_is_asked_and_is_understood(self):
        names = list(AGENTS)
        with Vendors(disagreeing) as vendors:
            debate, events, calls = debate_with(vendors, *names, agents=list(AGENTS.values()))
        self.assertEqual(vendors.refused, [])
        self.assertEqual(debate["status"], "completed")
        self.assertNotIn("agent_error", [event["type"] for event in events])
        for name in names:
            asked = vendors.of(name)
            self.assertEqual([phase_of(one.schema) for one in asked][:len(self.PHASES)], self.PHASES, name)
            self.assertEqual({one.model for one in asked}, {MODELS[name]})
            self.assertIn(f"{TEXT} {name}", [event["data"].get("content") for event in events])
        self.assertEqual([phase_of(one.schema) for one in vendors.requests[len(names) * len(self.PHASES):]], ["synthesize"])
        self.assertEqual({event["data"]["valid"] for event in events if event["type"] == "vote"}, {True})
        told = sorted((one.vendor, one.tokens_in, one.tokens_out) for one in vendors.requests)
        self.assertEqual(sorted((provider, tokens_in, tokens_out) for provider, _, _, _, tokens_in, tokens_out in calls), told, "tokens are kept as they were told")
        numbers = {one["provider"]: one.get("request_id") for one in debate["report"]["served_by"]}
        self.assertEqual({provider: number for provider, number in numbers.items() if number},
                         {"anthropic": "req_011CAnthropic", "openai": "req_openai", "local": "req_openai", "openrouter": "gen-1234567890-vendors", "gemini": "chatcmpl-Vendors"})
        # Claude through OpenRouter is no fifth opinion.
        self.assertEqual(debate["report"]["diversity"], {"seats": 5, "models": 5, "providers": 5, "families": 4})

    def test_each_is_asked_in_its_own_words(self):
        with Vendors(disagreeing) as vendors:
            debate_with(vendors, *AGENTS, agents=list(AGENTS.values()), OPENAI_ORG_ID="org-1", OPENAI_PROJECT_ID="proj_1", OPENROUTER_HTTP_REFERER="https://site.example",
                        OPENROUTER_APP_TITLE="Title", ARAGORA_OPENROUTER_DATA_COLLECTION="deny", ANTHROPIC_CUSTOM_HEADERS="X-Gateway: one\nX-Other: two", OPENAI_CUSTOM_HEADERS="X-Gateway: three",
                        ARAGORA_MAX_OUTPUT_TOKENS="777")
        self.assertEqual(vendors.refused, [])
        first = {name: vendors.of(name)[0] for name in AGENTS}
        anthropic, openai, routed, gemini, local = (first[name] for name in ("anthropic", "openai", "openrouter", "gemini", "local"))
        self.assertEqual((anthropic.headers["x-api-key"], anthropic.headers["anthropic-version"]), (KEYS["anthropic"], "2026-10-21"))
        self.assertEqual((anthropic.headers["x-gateway"], anthropic.headers["x-other"], anthropic.body["max_tokens"]), ("one", "two", 777))
        self.assertEqual((openai.headers["openai-organization"], openai.headers["openai-project"], openai.headers["x-gateway"]), ("org-1", "proj_1", "three"))
        self.assertEqual(openai.body["max_completion_tokens"], 777)
        self.assertNotIn("store", openai.body, "only OpenAI's own endpoint is sure to know it")
        self.assertEqual((routed.headers["http-referer"], routed.headers["x-title"], routed.headers["x-openrouter-title"]), ("https://site.example", "Title", "Title"))
        self.assertEqual(routed.body["provider"], {"data_collection": "deny"})
        for chat in (routed, gemini, local):
            self.assertEqual(chat.body["max_tokens"], 777)
        self.assertNotIn("authorization", local.headers)
        self.assertLessEqual(set(itertools.product(AGENTS, self.PHASES)), {(one.vendor, phase_of(one.schema)) for one in vendors.requests})
        for one in vendors.requests:
            self.assertFalse({"temperature", "top_p", "top_k", "seed"} & set(one.body), one.vendor)
            self.assertEqual(one.headers["accept-encoding"], "identity")

    def test_a_token_speaks_to_anthropic_without_a_key(self):
        with Vendors() as vendors:
            given = vendors.environment("anthropic")
            del given["ANTHROPIC_API_KEY"]
            debate, events, _ = debate_with(vendors, agents=["claude", "demo-skeptic", "demo-optimist"], **given, ANTHROPIC_AUTH_TOKEN=KEYS["anthropic"],
                                            ARAGORA_ANTHROPIC_VERSION="2023-06-01")
        self.assertEqual((debate["status"], vendors.refused), ("completed", []))
        self.assertEqual(errors_of(events, "claude"), [])
        self.assertEqual((vendors.requests[0].headers["authorization"], vendors.requests[0].headers["anthropic-version"]), (f"Bearer {KEYS['anthropic']}", "2023-06-01"))

    def outcome(self, vendor, behaviour, task="t", **environment):
        """What one call of a vendor came to: errors of its seat, and how often it was asked for the proposal."""
        with Vendors(lambda asked, number: behaviour) as vendors:
            _, events, calls = debate_with(vendors, vendor, task=task, **environment)
        self.assertEqual(vendors.refused, [])
        mine = [call for call in calls if call[0] == vendor]
        return errors_of(events, AGENTS[vendor]), len(vendors.requests), mine

    def test_whatever_the_pieces_it_is_the_same_answer(self):
        for vendor in ("anthropic", "openai", "openrouter"):
            for name in ("bytes", "crlf", "cr", "pings", "comments", "whole", "stalls"):
                with self.subTest(f"{vendor} {name}"):
                    errors, _, calls = self.outcome(vendor, named_behaviours()[name])
                    self.assertEqual(errors, [])
                    self.assertEqual({call[1] for call in calls}, {"done"})

    def proposals(self, behaviour, **more):
        """By vendor, what its proposal came to: how it stands, the error, how often it was asked for, the kinds of what failed, and how the ledger has it."""
        names = ("anthropic", "openai", "openrouter")
        proposes = lambda asked: "key_claims" in (asked.schema or {}).get("properties", {})
        with Vendors(lambda asked, number: behaviour if proposes(asked) else None) as vendors, Sandbox(**vendors.environment(*names)) as sandbox, Daemon(sandbox) as daemon:
            agents = [AGENTS[name] for name in names] + ["demo-skeptic", "demo-optimist", "demo-pragmatist"]
            _, created = daemon.post("/api/debates", {"task": "t", "agents": agents, "rounds": 0, **more})
            debate = daemon.wait_finished(created["debate_id"])
            metrics = daemon.request("GET", "/metrics")[2].decode()
            with contextlib.closing(sqlite3.connect(next((sandbox.directory / "state").glob("*.db")))) as connection:
                rows = connection.execute("SELECT a.provider, a.status, a.error, b.status, b.cost_picos, b.reserved_picos FROM agent_calls a JOIN budget_calls b ON b.call_id = a.id "
                                          "WHERE a.phase = 'propose'").fetchall()
                held = connection.execute("SELECT sum(CASE status WHEN 'charged_unknown' THEN reserved_picos ELSE 0 END), sum(CASE status WHEN 'settled' THEN cost_picos ELSE 0 END), 0 "
                                          "FROM budget_calls").fetchone()
                self.assertEqual(connection.execute("SELECT unknown_picos, settled_picos, reserved_picos FROM budgets WHERE scope = 'debate'").fetchone(), held)
            daemon.stop()
            sandbox.run("verify", check=0)
        self.assertEqual((debate["status"], vendors.refused), ("completed", []))
        self.assertEqual(sorted(row[0] for row in rows), sorted(names), "one call each")
        became = {}
        for vendor, status, error, booked, cost, reserved in rows:
            self.assertGreater(reserved, 0)
            self.assertTrue(cost == {"charged_unknown": reserved, "released": 0}.get(booked, cost) and (booked != "settled" or 0 < cost < reserved), (vendor, booked, cost, reserved))
            kinds = re.findall(rf'aragora_provider_failures_total\{{class="(\w+)",provider="{vendor}"\}} (\d+)', metrics)
            became[vendor] = (status, error or "", sum(map(proposes, vendors.of(vendor))), {kind: int(count) for kind, count in kinds if int(count)}, booked)
        return became

    def test_what_breaks_is_a_failure_of_its_kind_tried_again_where_that_helps_and_booked(self):
        quick = Refusal(503, "overloaded_error", "x", headers={"retry-after-ms": "1"})
        # What a client was shown part of is not begun again under its eyes.
        for name, behaviour, reason, kind, tries, booked in (
                ("refused", None, "refused", "refused", 1, "charged_unknown"),
                ("empty", None, "no content", "empty", 1, "charged_unknown"),
                ("html", None, "not JSON", "malformed", 3, "charged_unknown"),
                ("overloaded", Behaviour(refusal=quick), "503", "server", 3, "released"),
                ("forbidden", None, "403", "credential", 1, "released"),
                ("cut", None, "ended before the answer did", "cut", 1, "charged_unknown"),
                ("unterminated", None, "ended before the answer did", "cut", 1, "charged_unknown"),
                ("reset", None, "", "cut", 1, "charged_unknown"),
                ("longer", Behaviour(whole=True, extra_length=50), "", "cut", 3, "charged_unknown"),
                ("overloaded_within", None, "", "server", 3, "charged_unknown")):  # before anybody was shown a word
            for vendor, (status, error, asked, kinds, ledger) in self.proposals(behaviour or named_behaviours()[name]).items():
                with self.subTest(f"{vendor} {name}"):
                    self.assertEqual((status, asked, kinds, ledger), ("failed", tries, {kind: tries}, booked), error)
                    self.assertIn(reason, error)

    def test_what_may_have_been_billed_is_not_asked_for_twice_under_a_cap(self):
        for vendor, (status, error, asked, kinds, ledger) in self.proposals(named_behaviours()["html"], budget_usd="50").items():
            with self.subTest(vendor):
                self.assertEqual((status, asked, kinds, ledger), ("failed", 1, {"malformed": 1}, "charged_unknown"), error)

    def test_an_answer_without_its_count_keeps_what_was_reserved_and_half_of_one_is_none(self):
        half = Behaviour(stop="length", text='{"position": "half of it", "answer": "The ans')
        for name, behaviour, expected in (("uncounted", None, ("done", 1, {}, "charged_unknown")), ("truncated", None, ("done", 1, {}, "settled")), ("half", half, ("failed", 1, {}, "settled"))):
            for vendor, (status, error, *more) in self.proposals(behaviour or named_behaviours()[name]).items():
                with self.subTest(f"{vendor} {name}"):
                    self.assertEqual((status, *more), expected, error)
                    self.assertEqual("before it was whole" in error, name == "half", error)

    def test_an_answer_that_is_longer_than_anybody_reads_is_not_cut_to_half_of_one(self):
        large = Behaviour(text=json.dumps({"position": "more than anybody reads " * 3000, "answer": "much"}))
        with Vendors(lambda asked, number: large if "position" in str(asked.schema) else None) as vendors:
            _, events, _ = debate_with(vendors, "anthropic")
        self.assertIn("65536 are kept", "".join(errors_of(events, AGENTS["anthropic"])))
        self.assertNotIn("more than anybody reads", json.dumps(events))

    def test_a_key_that_is_said_goes_to_nobody_else(self):
        """By who asks, and by a model."""
        pasted, said = "sk-proj-" + "pasted0" * 5, "sk-ant-api03-" + "spoken1" * 5
        text = json.dumps({"position": f"call it with {said}", "answer": f"with {said}, as a line of shell", "claims": []})
        with Vendors(lambda asked, number: Behaviour(text=text) if "position" in str(asked.schema) else None) as vendors:
            _, events, _ = debate_with(vendors, "anthropic", task=f"is {pasted} a good key?")
        heard = [asked.system + asked.user for asked in vendors.requests]
        for key in (pasted, said):
            self.assertFalse(any(key in one for one in heard), key)
            self.assertNotIn(key, json.dumps(events))
        self.assertIn("is ‹redacted› a good key?", "".join(heard))
        self.assertIn("call it with ‹redacted›", json.dumps(events, ensure_ascii=False))

    def test_a_ballot_that_was_cut_is_asked_for_again(self):
        """Nobody was shown anything of it."""
        cut = []
        def behave(asked, number):
            if cut or "position" in str(asked.schema):
                return None
            cut.append(asked.user)
            return Behaviour(cut=0.5)
        with Vendors(behave) as vendors:
            debate, events, _ = debate_with(vendors, "anthropic")
        self.assertEqual([event for event in events if event["type"] == "agent_error"], [])
        self.assertEqual(debate["status"], "completed")
        self.assertEqual([asked.user for asked in vendors.requests].count(cut[0]), 2)

    def test_money_that_is_spent_is_asked_for_once(self):
        for vendor in ("anthropic", "openai", "openrouter"):
            with self.subTest(vendor):
                with Vendors(lambda asked, number: Behaviour(refusal=refusal_of(asked.vendor, "spent"))) as vendors:
                    _, events, calls = debate_with(vendors, vendor)
                calls = [call for call in calls if call[0] == vendor]
                self.assertLessEqual(len(vendors.requests), len(calls), "it never helps to ask again")
                self.assertTrue(errors_of(events, AGENTS[vendor]))

    def test_every_way_to_say_when_to_come_back_is_heard(self):
        date = lambda: email.utils.formatdate(time.time() + 1.2, usegmt=True)
        for headers in ({"retry-after-ms": "40"}, {"retry-after": "0"}, {"Retry-After": "1"}, {"Retry-After": date()}):
            with self.subTest(headers):
                busy = Refusal(429, "rate_limit_error", "slow", headers=headers)
                with Vendors(lambda asked, number, busy=busy: Behaviour(refusal=busy) if number == 1 else None) as vendors:
                    debate, events, _ = debate_with(vendors, "anthropic")
                self.assertEqual((debate["status"], errors_of(events, "claude")), ("completed", []))
                waited = vendors.requests[1].at - vendors.requests[0].at
                least = 0.95 if headers.get("Retry-After") == "1" else 0.1 if len(str(headers)) > 40 else 0
                self.assertGreaterEqual(waited, least, headers)
                self.assertLess(waited, 5, headers)


class Turns(unittest.TestCase):
    """A provider is asked as often at once as the setting says, whoever asks, and who waits for that waits for nothing else."""

    def world(self, stack, plan, most, **environment):
        self.vendors = stack.enter_context(Vendors(plan))
        given = {**self.vendors.environment("openai"), **environment}
        self.sandbox = stack.enter_context(Sandbox(ARAGORA_CALLS_AT_ONCE=str(most), **{name: value for name, value in given.items() if value is not None}))
        return stack.enter_context(Daemon(self.sandbox))

    def create(self, daemon, *agents, **more):
        status, created = daemon.post("/api/debates", {"task": "Whose turn is it?", "agents": list(agents or ("openai", "openai-skeptic", "openai-pragmatist")), "rounds": 1, **more})
        self.assertEqual(status, 200, created)
        return created["debate_id"]

    @contextlib.contextmanager
    def one_hangs(self, **environment):
        """A daemon whose only turn is taken by a call that the vendor does not answer before it is let."""
        release = threading.Event()
        with contextlib.ExitStack() as stack:
            stack.callback(release.set)
            daemon = self.world(stack, lambda *_: release.wait(60) and None, 1, **environment)
            first = self.create(daemon, "openai", "demo-a")
            wait_for(lambda: self.numbers(daemon) == {"open": 1, "waiting": 0}, daemon.text)
            yield daemon, first, release

    @staticmethod
    def numbers(daemon):
        text = daemon.request("GET", "/metrics")[2].decode()
        return {state: int(float(re.search(rf'(?m)^aragora_provider_calls{{provider="openai",state="{state}"}} (\S+)$', text)[1])) for state in ("open", "waiting")}

    def test_no_more_are_open_than_may_be_and_all_debates_end(self):
        lock, inside, most = threading.Lock(), [], []

        def plan(asked, _):
            with lock:
                inside.append(asked)
                most.append(len(inside))
            time.sleep(0.05)
            with lock:
                inside.remove(asked)
        with contextlib.ExitStack() as stack:
            daemon = self.world(stack, plan, 2)
            debates = [self.create(daemon) for _ in range(3)]
            wait_for(lambda: self.numbers(daemon)["waiting"] > 0, daemon.text)
            self.assertEqual({daemon.wait_finished(debate)["status"] for debate in debates}, {"completed"})
            self.assertEqual(max(most), 2)
            self.assertGreaterEqual(len(most), 3 * (3 + 1), "proposals and syntheses")
            self.assertEqual(self.numbers(daemon), {"open": 0, "waiting": 0})

    def test_who_is_cancelled_while_waiting_asked_nothing(self):
        with self.one_hangs() as (daemon, first, release):
            second = self.create(daemon, budget_usd="1")
            wait_for(lambda: self.numbers(daemon)["waiting"] == 3, daemon.text)
            began = time.monotonic()
            self.assertEqual(daemon.post(f"/api/debates/{second}/cancel", {})[0], 200)
            self.assertEqual(daemon.wait_finished(second)["status"], "cancelled")
            self.assertLess(time.monotonic() - began, 5)
            self.assertEqual(self.numbers(daemon), {"open": 1, "waiting": 0})
            self.assertEqual(len(self.vendors.requests), 1)
            budget = daemon.get(f"/api/debates/{second}/costs")[1]["budget"]
            self.assertEqual({name: float(budget[name]) for name in ("unknown_usd", "reserved_usd")}, {"unknown_usd": 0, "reserved_usd": 0}, "what was not asked costs nothing")
            release.set()
            self.assertEqual(daemon.wait_finished(first)["status"], "completed")

    def test_a_seat_whose_turn_does_not_come_is_absent_and_the_others_end(self):
        with self.one_hangs(ARAGORA_CALL_TIMEOUT_SECONDS="3", ARAGORA_CALL_RETRIES="0", ARAGORA_BREAKER_FAILURES="100") as (daemon, _, __):
            second = self.create(daemon, "openai", "demo-a", "demo-b", "demo-c", deadline_seconds=60)
            self.assertEqual(daemon.wait_finished(second)["status"], "completed")
            events = daemon.get(f"/api/debates/{second}/events?limit=500")[1]["events"]
            self.assertGreater(len(errors_of(events, "openai")), 0)

    def test_a_key_that_was_replaced_while_a_call_waited_does_no_harm_to_the_new_one(self):
        with tempfile.TemporaryDirectory() as directory:
            key = pathlib.Path(directory, "key")
            key.write_text(KEYS["openai"])
            key.chmod(0o600)
            with self.one_hangs(OPENAI_API_KEY=None, OPENAI_API_KEY_FILE=str(key)) as (daemon, first, release):
                second = self.create(daemon, "openai", "demo-a", "demo-b")
                wait_for(lambda: self.numbers(daemon)["waiting"] == 1, daemon.text)
                with unittest.mock.patch.dict(KEYS, openai=KEYS["openai"][::-1]):
                    key.write_text(KEYS["openai"])
                    self.sandbox.run("reload", check=0)
                    release.set()
                    for debate in (first, second):
                        daemon.wait_finished(debate)
                    self.assertIn("openai", {vendor for vendor, _ in self.vendors.refused}, "the one that waited had the old key")
                    self.assertEqual(daemon.get("/api/ready")[1]["agents"], "available")
                    third = self.create(daemon, "openai", "demo-a", "demo-b")
                    daemon.wait_finished(third)
                    self.assertEqual(errors_of(daemon.get(f"/api/debates/{third}/events?limit=500")[1]["events"], "openai"), [])


class Settings(unittest.TestCase):
    def test_keys_do_not_cross_a_network_in_clear(self):
        with Sandbox(ANTHROPIC_BASE_URL="http://192.0.2.7/anthropic", ANTHROPIC_API_KEY=KEYS["anthropic"]) as sandbox:
            result = sandbox.run("validate-env", "--offline", "--only", "ai_providers")
            self.assertIn("ANTHROPIC_BASE_URL: http:// to another machine", result.stdout + result.stderr)
            self.assertEqual(result.returncode, 78)
            with Daemon(sandbox, wait=False) as daemon:
                self.assertEqual(daemon.process.wait(20), 78, daemon.text())
            sandbox.run("validate-env", "--offline", "--only", "ai_providers", check=0, ARAGORA_PLAIN_HTTP_PROVIDERS="true")

    def test_headers_that_are_none_are_refused_without_their_values(self):
        for lines, said in (("just words hunter2", "line 1"), ("A: 1\nHost: hunter2", "host"), ("A b: hunter2", "line 1")):
            with self.subTest(lines), Sandbox(OPENAI_API_KEY=KEYS["openai"], OPENAI_CUSTOM_HEADERS=lines) as sandbox:
                result = sandbox.run("validate-env", "--offline", "--only", "ai_providers")
                self.assertEqual(result.returncode, 78, result.stdout)
                self.assertIn(said, result.stdout + result.stderr)
                self.assertNotIn("hunter2", result.stdout + result.stderr)

    def test_members_ask_the_models_that_are_allowed(self):
        with Vendors() as vendors, Sandbox(ARAGORA_API_TOKEN=strong_secret(), ARAGORA_MODELS_ALLOWED="claude-haiku-*,openai:gpt-6-luna", ARAGORA_CHAT_PROFILES="dear claude+demo-a",
                                           **vendors.environment("anthropic", "openai")) as sandbox:
            sandbox.run("migrate", check=0)
            passwords = {role: sandbox.run("user", "add", "--email", f"{role}@example.org", "--role", role, check=0).stdout.strip().splitlines()[-1] for role in ("member", "admin")}
            with Daemon(sandbox) as daemon:
                def create(role, *agents):
                    token = daemon.post("/api/auth/login", {"email": f"{role}@example.org", "password": passwords[role]})[1]["access_token"]
                    return daemon.post("/api/debates", {"task": "t", "agents": list(agents), "rounds": 1}, Authorization=f"Bearer {token}")
                status, body = create("member", "claude", "claude-opus-5-5", "openai")
                self.assertEqual((status, body["code"]), (403, "FORBIDDEN"), body)
                self.assertIn("claude, claude-opus-5-5 are not for members to ask", body["error"])
                status, created = create("member", "claude-haiku-5-5", "gpt-6-luna", "demo-skeptic")
                self.assertEqual(status, 200, created)
                # Nor by any other way to create one, nor as a judge.
                asked = {"task": "t", "agents": ["demo-a", "demo-b"], "rounds": 1}
                for path, body in (("/api/debates/batch", {"items": [asked, {**asked, "agents": ["claude", "demo-a"]}]}),
                                   (f"/api/debates/{created['debate_id']}/fork", {"agents": ["claude", "demo-a"]}),
                                   ("/api/debates", {**asked, "consensus": {"kind": "judge", "judge": "claude"}}),
                                   ("/v1/chat/completions", {"model": "aragora/dear", "messages": [{"role": "user", "content": "t"}]})):
                    token = daemon.post("/api/auth/login", {"email": "member@example.org", "password": passwords["member"]})[1]["access_token"]
                    status, refused = daemon.post(path, body, Authorization=f"Bearer {token}")
                    self.assertEqual(status, 403, (path, refused))
                    self.assertIn("claude is not for members to ask", json.dumps(refused["error"]))
                token = daemon.post("/api/auth/login", {"email": "member@example.org", "password": passwords["member"]})[1]["access_token"]
                status, judged = daemon.post("/api/debates", {**asked, "agents": ["openai", "demo-a"], "consensus": "judge"}, Authorization=f"Bearer {token}")
                self.assertEqual(status, 200, f"whom it did not name judges only where it may ask them: {judged}")
                self.assertEqual(create("admin", "claude-opus-5-5", "openai")[0], 200)

    def test_an_own_file_of_models_is_read_and_a_broken_one_stops_the_start(self):
        entry = '[[model]]\nprovider = "anthropic"\nid = "claude-sonnet-5-5"\nfamily = "claude"\neffective_from = "2026-01-01"\ninput = 1\noutput = 1\nsource = "a contract"\n'
        with Sandbox(ANTHROPIC_API_KEY=KEYS["anthropic"]) as sandbox:
            path = sandbox.write("models.toml", entry + 'checked_on = "2020-01-01"\n')
            sandbox.environment["ARAGORA_MODELS_FILE"] = str(path)
            result = sandbox.run("validate-env", "--offline", "--only", "ai_models")
            self.assertIn("was last looked up on 2020-01-01", result.stdout + result.stderr)
            sandbox.write("models.toml", entry + 'checked_on = "2026-11-28"\ninptu = 3\n')
            result = sandbox.run("validate-env", "--offline", "--only", "ai_models")
            self.assertIn(f"{path}:10", result.stdout + result.stderr)
            self.assertIn("did you mean input?", result.stdout + result.stderr)
            self.assertEqual(result.returncode, 78)
            with Daemon(sandbox, wait=False) as daemon:
                self.assertEqual(daemon.process.wait(20), 78, daemon.text())


class TheMockItself(unittest.TestCase):
    """By the vendors' own SDKs."""

    @classmethod
    def setUpClass(cls):
        place = node_tools()
        with Vendors() as vendors:
            done = subprocess.run(["node", SDKS / "sdks.mjs", place, vendors.origin, json.dumps(KEYS)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        cls.results = json.loads(done.stdout)

    def test_it_is_understood_whatever_the_pieces(self):
        for vendor in ("anthropic", "openai", "openrouter"):
            for name in ("ok", "bytes", "crlf", "cr", "pings", "comments", "gzip", "stalls"):
                for way in ("", " stream"):
                    with self.subTest(f"{vendor} {name}{way}"):
                        result = self.results[f"{vendor} {name}{way}"]
                        self.assertEqual(result.get("text"), TEXT, result)
                        self.assertTrue(result["usage"], result)
        self.assertEqual(self.results["anthropic ok"]["request_id"], "req_011CAnthropic")
        self.assertEqual(self.results["openai ok"]["request_id"], "req_openai")
        self.assertEqual(self.results["openrouter ok"]["usage"]["cost"], 0.00123)

    def test_its_refusals_are_the_vendors(self):
        expected = {
            "anthropic overloaded": ("OverloadedError", 529), "anthropic throttled": ("RampLimitExceededError", 429), "anthropic spent": ("EnforcedSpendLimitReachedError", 429),
            "anthropic unavailable": ("InternalServerError", 500), "anthropic forbidden": ("PermissionDeniedError", 403), "anthropic key": ("AuthenticationError", 401),
            "anthropic temperature": ("BadRequestError", 400), "anthropic prefill": ("BadRequestError", 400), "anthropic model": ("NotFoundError", 404),
            "openai overloaded": ("InternalServerError", 503), "openai throttled": ("RateLimitError", 429), "openai spent": ("RateLimitError", 429),
            "openai unavailable": ("InternalServerError", 500), "openai forbidden": ("PermissionDeniedError", 403), "openai key": ("AuthenticationError", 401),
            "openai temperature": ("BadRequestError", 400), "openai max_tokens": ("BadRequestError", 400),
            "openrouter overloaded": ("ServiceUnavailableResponseError", 503), "openrouter throttled": ("TooManyRequestsResponseError", 429),
            "openrouter spent": ("PaymentRequiredResponseError", 402), "openrouter unavailable": ("InternalServerResponseError", 500),
            "openrouter forbidden": ("ForbiddenResponseError", 403),
        }
        for name, (error, status) in expected.items():
            with self.subTest(name):
                self.assertEqual((self.results[name].get("error"), self.results[name].get("status")), (error, status))
        self.assertEqual(self.results["openai spent"]["code"], "credit_balance_exhausted")

    def test_its_ends_are_the_vendors(self):
        self.assertEqual(self.results["anthropic refused"]["stop"], "refusal")
        self.assertEqual(self.results["anthropic truncated stream"]["stop"], "max_tokens")
        self.assertEqual(self.results["openai refused"]["refusal"], "I cannot")
        self.assertEqual(self.results["openai truncated stream"]["stop"], "length")
        for name in ("anthropic schema", "openai schema"):
            self.assertEqual(json.loads(self.results[name]["text"]), {"choice": "words"})
        for name in ("anthropic cut stream", "anthropic unterminated stream", "openai cut stream"):
            self.assertIn("error", self.results[name], name)
        self.assertEqual(self.results["anthropic overloaded_within stream"]["type"], "overloaded_error")
        self.assertEqual(self.results["openrouter overloaded_within stream"]["status"], 502)


class AnotherMock(unittest.TestCase):
    """npm's @copilotkit/aimock, which knows nothing of ours."""

    # By what the instructions of each ask for.
    PHASES = {"propose": "Answer the task by yourself", "vote": "Choose the best proposal", "critique": "Criticise each", "revise": "These critiques were made",
              "synthesize": "Write the final answer"}
    NAMES = ("anthropic", "openai", "openrouter")
    # Who is in trouble in which phase.
    THROTTLED, BROKEN, CUT = ("openai", "propose"), ("anthropic", "revise"), ("openrouter", "critique")

    def fixtures(self):
        """Each is somebody of its own and prefers what openai says, by whatever label. Of two that match the first answers."""
        answer = {"position": "words", "answer": TEXT, "key_claims": [], "confidence": 90}
        said = {"propose": answer, "vote": {"choice": "P1", "confidence": 90, "continue": False, "reason": "words"},
                "critique": {"critiques": [{"target": "P1", "issues": [{"claim": "words", "severity": 2, "why": "it is"}], "strongest_point": "clear"}]},
                "revise": {"decision": "keep", "because": [], "adopt": "", **answer}, "synthesize": {"answer": TEXT, "from": [], "open_risks": [], "dissent": []}}
        match = lambda name, phase, **more: {"match": {"systemMessage": self.PHASES[phase], "model": MODELS[name], **more}}
        content = lambda name, phase: {"response": {"content": undecided(json.dumps(said[phase]), name)}}
        second = {"response": {"content": undecided(json.dumps({**said["vote"], "choice": "P2"}), "words")}}
        return {"fixtures": [
            {**match(*self.THROTTLED, sequenceIndex=0), "response": {"error": {"message": "slowly", "type": "requests", "code": "rate_limit_exceeded"}, "status": 429, "retryAfter": 1}},
            {**match(*self.BROKEN, sequenceIndex=0), "response": {"error": {"message": "it broke", "type": "api_error"}, "status": 500}},
            {**match(*self.CUT), **content(*self.CUT), "chunkSize": 10, "latency": 5, "truncateAfterChunks": 9},
            *({**match(name, "vote", userMessage=f'"id":"P2","text":"{TEXT} openai"'), **second} for name in self.NAMES),
            *({**match(name, phase), **content(name, phase)} for name in self.NAMES for phase in self.PHASES)]}

    @contextlib.contextmanager
    def aimock(self):
        place = node_tools()
        port = free_port()
        with Sandbox() as sandbox:
            fixtures = sandbox.write("fixtures.json", json.dumps(self.fixtures()))
            process = subprocess.Popen(["node", place / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js", "-p", str(port), "-f", str(fixtures), "--strict",
                                        "--log-level", "warn"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "XDG_CACHE_HOME": str(sandbox.directory)})
            said = []
            reader = threading.Thread(target=lambda: said.extend(process.stdout), daemon=True)
            reader.start()
            try:
                until = time.monotonic() + 30
                while True:
                    self.assertIsNone(process.poll(), b"".join(said))
                    self.assertLess(time.monotonic(), until, "aimock did not begin to listen")
                    with contextlib.suppress(OSError):
                        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                        connection.request("GET", "/__aimock/journal")
                        connection.getresponse().read()
                        break
                    time.sleep(0.05)

                def journal():
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                    connection.request("GET", "/__aimock/journal")
                    return json.loads(connection.getresponse().read())
                yield f"http://127.0.0.1:{port}", journal
            finally:
                process.terminate()
                process.wait(20)

    def test_it_runs_the_same_debates(self):
        with self.aimock() as (origin, journal):
            debate, events, calls = debate_with(
                None, agents=[AGENTS[name] for name in self.NAMES], ANTHROPIC_BASE_URL=origin, ANTHROPIC_API_KEY=KEYS["anthropic"], OPENAI_BASE_URL=origin + "/v1",
                OPENAI_API_KEY=KEYS["openai"], OPENROUTER_BASE_URL=origin + "/api/v1", OPENROUTER_API_KEY=KEYS["openrouter"])
            told = journal()
        asked = []
        for entry in told:
            name = next(name for name in self.NAMES if MODELS[name] == entry["body"]["model"])
            instructions = next(message["content"] for message in entry["body"]["messages"] if message["role"] == "system")
            asked.append(((name, next(phase for phase, words in self.PHASES.items() if words in instructions)), entry["response"]))
            self.assertEqual(entry["path"], {"anthropic": "/v1/messages", "openai": "/v1/chat/completions", "openrouter": "/api/v1/chat/completions"}[name])
        self.assertEqual(debate["status"], "completed", calls)
        course = ["propose", "vote", "critique", "revise", "vote", "synthesize"]
        self.assertEqual([phase for phase, _ in itertools.groupby(phase for (_, phase), _ in asked)], course)
        self.assertEqual({place for place, response in asked if response["status"] == 200 and not response.get("interrupted")},
                         set(itertools.product(self.NAMES, course[:5])) - {self.CUT} | {("openai", "synthesize")})
        self.assertEqual([(place, response["status"]) for place, response in asked if response["status"] != 200], [(self.THROTTLED, 429), (self.BROKEN, 500)])
        # What was cut off is of no use; who is refused for a moment is asked again.
        self.assertEqual([(event["agent"], event["data"]["phase"]) for event in events if event["type"] == "agent_error"], [(AGENTS[self.CUT[0]], self.CUT[1])])
        self.assertEqual({(call[0], call[1]) for call in calls if call[1] != "done"}, {(self.CUT[0], "failed")})
        self.assertEqual({event["data"]["valid"] for event in events if event["type"] == "vote"}, {True})
        self.assertEqual((debate["consensus"]["reached"], debate["consensus"]["leader"]), (True, "openai"))


if __name__ == "__main__":
    main()
