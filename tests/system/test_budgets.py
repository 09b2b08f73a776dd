"""What debates may cost, against an endpoint that bills: caps hold, whatever happens in between, and tampering is named."""
import contextlib
import decimal
import json
import random
import re
import secrets
import sqlite3
import time
import unittest

from receivers import Receiver, wait_for
from support import Daemon, Sandbox, main
from test_provider import KEY, Endpoint, speak

MODELS = """[[model]]
provider = "openai"
id = "priced"
family = "test"
effective_from = "2026-01-01"
input = 1000000
output = 10000000
cache_read = 1000000
cache_write_5m = 1000000
cache_write_1h = 1000000
context = 200000
max_output = 8000
supports = ["system_role", "json_schema"]
source = "https://prices.test/"
checked_on = "2026-11-28"
"""
TOKENS = {"prompt_tokens": 500, "completion_tokens": 900}
PRICE = decimal.Decimal("0.0095")  # of each call: 500 tokens at 1 dollar a million and 900 at 10
SEATS = ["openai:priced"] * 3


def billed(body, *said):
    status, headers, data = speak(body, *said)
    answer = json.loads(data)
    answer["usage"] = TOKENS
    answer["model"] = "priced"
    return status, headers, json.dumps(answer).encode()


@contextlib.contextmanager
def deployment(endpoint, **environment):
    with Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY, **environment) as sandbox:
        sandbox.environment["ARAGORA_MODELS_FILE"] = str(sandbox.write("models.toml", MODELS))
        yield sandbox


def database(sandbox):
    return contextlib.closing(sqlite3.connect(next((sandbox.directory / "state").glob("*.db"))))


def ask(daemon, agents=SEATS, **more):
    status, created = daemon.post("/api/debates", {"task": "What does it cost?", "agents": list(agents), "rounds": 1, **more})
    assert status in (200, 201, 202), created
    return created["debate_id"]


class Budgets(unittest.TestCase):
    def test_a_debate_ends_where_its_budget_does(self):
        # Each seat says something else, so that there is something to vote on.
        with Endpoint(lambda number, body: billed(body, f"Answer {number}.")) as endpoint, deployment(endpoint) as sandbox, Daemon(sandbox) as daemon:
            debate = daemon.wait_finished(ask(daemon, budget_usd="0.045"))
            _, costs = daemon.get(f"/api/debates/{debate['debate_id']}/costs")
            _, budgets = daemon.get("/api/budgets")
            _, _, metrics = daemon.request("GET", "/metrics")
            sandbox.run("verify", check=0)
        self.assertEqual((debate["status"], debate["outcome"]), ("failed", "budget_exhausted"), debate)
        self.assertRegex(debate["error"], r"the budget of debate \S+ has \$\S+ left, and a call takes \$")
        total = decimal.Decimal(costs["total_usd"])
        self.assertEqual(total, PRICE * len(endpoint.requests), "exactly what the endpoint billed")
        self.assertLessEqual(total, decimal.Decimal("0.045"))
        self.assertGreaterEqual(len(endpoint.requests), 3, "the seats propose at once")
        self.assertEqual(costs["budget"]["cap_usd"], "0.045")
        self.assertEqual([line["name"] for line in costs["by_agent"]], ["openai:priced"])
        for _, _, body in endpoint.requests:  # the answer is no longer than is paid for
            most = body.get("max_completion_tokens", body.get("max_tokens"))
            self.assertTrue(1024 <= most < 8000, most)
        self.assertEqual(decimal.Decimal(budgets["spend"]["provider"][0]["settled_usd"]), total)
        self.assertEqual(budgets["caps"], {"debate_usd": None, "account_daily_usd": None, "daily_usd": None})
        self.assertIn(b'aragora_spend_usd_total{model="priced",provider="openai"}', metrics)
        self.assertIn(b"aragora_budget_refusals_total", metrics)

    def test_what_is_left_pays_for_the_vote(self):
        with Endpoint(lambda number, body: billed(body, f"Answer {number}.", 50)) as endpoint, deployment(endpoint) as sandbox, Daemon(sandbox) as daemon:
            debate = daemon.wait_finished(ask(daemon, budget_usd="0.08", rounds=5))
            events = daemon.get(f"/api/debates/{debate['debate_id']}/events?limit=500")[1]["events"]
            self.assertEqual((debate["status"], debate["outcome"], debate["report"]["stopped"]), ("completed", "consensus", "budget"), debate)
            over = [event["data"] for event in events if event["type"] == "phase_timeout"]
            self.assertEqual(len(over), 1, events)
            self.assertRegex(over[0]["reason"], r"the budget of debate \S+ has \$\S+ left")
            self.assertLessEqual(PRICE * len(endpoint.requests), decimal.Decimal("0.08"))
            sandbox.run("verify", check=0)
            sandbox.run("debate", "replay", debate["debate_id"], check=0)

    def test_half_an_answer_is_paid_for_and_is_nobodys_proposal(self):
        def cut_first(number, body):
            """The first seat that is asked runs into the most tokens."""
            status, headers, data = billed(body, f"Answer {number}.")
            if number == 1:
                answer = json.loads(data)
                choice = answer["choices"][0]
                choice["finish_reason"] = "length"
                choice["message"]["content"] = choice["message"]["content"][:-12]
                data = json.dumps(answer).encode()
            return status, headers, data

        with Endpoint(cut_first) as endpoint, deployment(endpoint) as sandbox, Daemon(sandbox) as daemon:
            debate = daemon.wait_finished(ask(daemon, budget_usd="5", rounds=0))
            events = daemon.get(f"/api/debates/{debate['debate_id']}/events?limit=500")[1]["events"]
            _, costs = daemon.get(f"/api/debates/{debate['debate_id']}/costs")
            sandbox.run("verify", check=0)
        self.assertEqual(debate["status"], "completed", debate)
        proposals = [event for event in events if event["type"] == "agent_message" and event["data"]["role"] == "proposer"]
        errors = [event["data"] for event in events if event["type"] == "agent_error"]
        self.assertEqual((len(proposals), len(errors)), (2, 1), events)
        self.assertIn("before it was whole", json.dumps(errors))
        self.assertNotIn("{", debate["final_answer"])
        self.assertEqual(decimal.Decimal(costs["total_usd"]), PRICE * len(endpoint.requests), "what was said of its tokens is believed")

    def test_a_model_without_a_price_is_not_asked_under_a_cap(self):
        unpriced = ["openai:unheard-of"] * 2
        with Endpoint(lambda _, body: billed(body)) as endpoint, deployment(endpoint) as sandbox, Daemon(sandbox) as daemon:
            for path, more in (("/api/debates", {"agents": unpriced}), ("/api/debates", {"agents": SEATS, "consensus": {"kind": "judge", "judge": unpriced[0]}})):
                status, refused = daemon.post(path, {"task": "What does it cost?", "budget_usd": 1, **more})
                self.assertEqual((status, refused["code"]), (422, "UNPROCESSABLE_ENTITY"), refused)
                self.assertEqual(refused["error"].count("the price of unheard-of at openai is not known, and there is a budget: add it to models.toml"), 1, refused)
            self.assertEqual(endpoint.requests, [])
            daemon.wait_finished(ask(daemon, unpriced))  # without a cap it is
            self.assertGreater(len(endpoint.requests), 0)

    def test_amounts_are_exact_decimals(self):
        with Endpoint(lambda _, body: billed(body)) as endpoint, deployment(endpoint) as sandbox, Daemon(sandbox) as daemon:
            for amount in ("-1", "1e3", "0", "1,5", "0.0000000000001", True, [], "99999999"):
                status, body = daemon.post("/api/debates", {"task": "t", "agents": SEATS, "budget_usd": amount})
                self.assertEqual(status, 400, (amount, body))
                self.assertIn("budget_usd", body["error"])

    def test_an_amount_that_is_none_is_refused_at_the_start(self):
        with Sandbox(ARAGORA_DAILY_BUDGET_USD="ten") as sandbox:
            result = sandbox.run("serve", check=78)
            self.assertIn("ARAGORA_DAILY_BUDGET_USD", result.stdout + result.stderr)

    def test_caps_hold_through_kills_and_tampering_is_named(self):
        cap = decimal.Decimal("0.40")
        seed = random.randrange(1 << 30)
        chance = random.Random(seed)
        counted = []

        def slow(number, body):
            counted.append(number)  # whoever was asked bills, whatever becomes of who asked
            time.sleep(chance.uniform(0, 0.15))
            return billed(body)

        with Endpoint(slow) as endpoint, deployment(endpoint, ARAGORA_DAILY_BUDGET_USD=str(cap)) as sandbox, self.subTest(seed=seed):
            debates = []
            for _ in range(6):
                daemon = Daemon(sandbox)
                debates += [ask(daemon) for _ in range(2)]
                time.sleep(chance.uniform(0.05, 0.6))
                daemon.kill()
                daemon.log.close()
                with database(sandbox) as connection:
                    self.within(connection, cap)
            with Daemon(sandbox) as daemon:
                ended = [daemon.wait_finished(debate, limit=60) for debate in debates]
                _, budgets = daemon.get("/api/budgets")
                _, _, metrics = daemon.request("GET", "/metrics")
            self.assertIn("budget_exhausted", {debate["outcome"] for debate in ended}, "the cap was never reached")
            day = next(one for one in budgets["budgets"] if one["scope"] == "day")
            charged = decimal.Decimal(day["settled_usd"]) + decimal.Decimal(day["unknown_usd"])
            self.assertGreater(decimal.Decimal(day["unknown_usd"]), 0, "no kill met a call")
            self.assertLessEqual(charged, cap)
            self.assertLessEqual(PRICE * len(counted), charged, "the endpoint billed more than was charged")
            ratio = re.search(r'aragora_budget_utilization_ratio\{scope="day"\} (\S+)', metrics.decode())
            self.assertAlmostEqual(float(ratio[1]), float(charged / cap), 3)  # up to 1, where kills left all of it unknown
            sandbox.run("verify", check=0)
            self.tampering(sandbox)

    def within(self, connection, cap):
        for scope, used in connection.execute("SELECT scope, settled_picos + unknown_picos + reserved_picos FROM budgets"):
            self.assertLessEqual(used, int(cap * 10**12), scope)

    def tampering(self, sandbox):
        with database(sandbox) as connection:
            call, debate = connection.execute("SELECT call_id, debate_id FROM budget_calls WHERE status = 'settled' LIMIT 1").fetchone()
        for change, back, named in (
                (f"UPDATE budget_calls SET cost_picos = cost_picos - 1 WHERE call_id = '{call}'",
                 f"UPDATE budget_calls SET cost_picos = cost_picos + 1 WHERE call_id = '{call}'", "the budget of"),
                (f"UPDATE budgets SET settled_picos = settled_picos - 5 WHERE scope = 'debate' AND subject = '{debate}'",
                 f"UPDATE budgets SET settled_picos = settled_picos + 5 WHERE scope = 'debate' AND subject = '{debate}'",
                 f"the budget of debate {debate} says"),
                (f"UPDATE agent_calls SET cost_picos = 0 WHERE id = '{call}'",
                 f"UPDATE agent_calls SET cost_picos = (SELECT cost_picos FROM budget_calls WHERE call_id = '{call}') WHERE id = '{call}'",
                 f"call {call} is not what was billed for it")):
            with self.subTest(change=change):
                with database(sandbox) as connection, connection:
                    connection.execute(change)
                result = sandbox.run("verify", check=65)
                self.assertIn(named, result.stdout + result.stderr)
                with database(sandbox) as connection, connection:
                    connection.execute(back)
        sandbox.run("verify", check=0)

    def test_people_are_told_at_each_threshold_once_and_of_nothing_below(self):
        key = secrets.token_hex(32)
        with Endpoint(lambda _, body: billed(body)) as endpoint, Receiver(key) as receiver, \
                deployment(endpoint, ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=key, ARAGORA_NOTIFY_INTERVAL_SECONDS="1") as sandbox:
            sandbox.environment["ARAGORA_CONFIG"] = str(sandbox.write("aragora.toml", '[budget]\ndebate_usd = "9"\n'))
            with Daemon(sandbox) as daemon:
                daemon.wait_finished(ask(daemon))
                spent = PRICE * len(endpoint.requests)
                told = lambda: [(event["state"], *re.search(r"^(budget:\w+)", event["key"]).groups(), *re.findall(r"(\d+) % of", event["summary"])) for event in receiver.events() if event["kind"] == "budget"]

                def part(name, percent):
                    """The cap of which so much is spent now; then three looks of those that tell."""
                    cap = (spent * 100 / percent).quantize(decimal.Decimal("0.000001"))
                    sandbox.write("aragora.toml", f'[budget]\ndebate_usd = "9"\n{name}_usd = "{cap}"\n')
                    sandbox.run("reload", check=0)
                    scope = {"daily": "day", "account_daily": "account"}[name]
                    shown = lambda: re.search(rf'aragora_budget_utilization_ratio\{{scope="{scope}"\}} (\S+)', daemon.request("GET", "/metrics")[2].decode())
                    wait_for(lambda: shown() and abs(float(shown()[1]) - percent / 100) < 0.001, daemon.text)
                    time.sleep(4)

                part("daily", 74)
                self.assertEqual(told(), [])
                expected = []
                for percent, threshold in ((76, "75"), (91, "90"), (100, "100")):
                    part("daily", percent)
                    expected.append(("problem", "budget:day", threshold))
                    wait_for(lambda: len(told()) >= len(expected), daemon.text)
                    self.assertEqual(told(), expected)
                part("account_daily", 89)
                expected.append(("recovered", "budget:day"))
                wait_for(lambda: len(told()) >= len(expected), daemon.text)
                self.assertEqual(told(), expected, "of an account's it is too early")
                part("account_daily", 91)
                expected.append(("problem", "budget:account", "90"))
                wait_for(lambda: len(told()) >= len(expected), daemon.text)
                time.sleep(2)
                self.assertEqual(told(), expected)
                self.assertTrue(all(request["signed"] for request in receiver.requests))

    def test_who_spent_what_is_told_by_agent_account_and_key_and_to_members_of_their_own(self):
        with Endpoint(lambda _, body: billed(body)) as endpoint, deployment(endpoint, ARAGORA_OPENAI_MODEL="priced", ARAGORA_ACCOUNT_DAILY_BUDGET_USD="7") as sandbox:
            sandbox.run("migrate", check=0)
            passwords = {name: sandbox.run("user", "add", "--email", f"{name}@example.org", "--role", role, check=0).stdout.strip().splitlines()[-1]
                         for name, role in (("root", "admin"), ("ada", "member"), ("eve", "member"))}
            keys = {name: sandbox.run_json("user", "key", "create", f"{name}@example.org", "--scope", "read", "--scope", "write", "--days", "2", check=0)["api_key"] for name in ("ada", "eve")}
            with Daemon(sandbox) as daemon:
                login = {name: {"Authorization": f"Bearer {daemon.post('/api/auth/login', {'email': f'{name}@example.org', 'password': passwords[name]})[1]['access_token']}"} for name in passwords}
                shown = {name: {"Authorization": f"Bearer {key['key']}"} for name, key in keys.items()}

                def spend(agents, who):
                    before = len(endpoint.requests)
                    status, created = daemon.post("/api/debates", {"task": "What does it cost?", "agents": agents, "rounds": 0}, **who)
                    self.assertEqual(status, 200, created)
                    wait_for(lambda: not daemon.get(f"/api/debates/{created['debate_id']}", **who)[1]["in_progress"], daemon.text)
                    with database(sandbox) as connection:
                        owner, = connection.execute("SELECT owner_id FROM debates WHERE id = ?", (created["debate_id"],)).fetchone()
                    return len(endpoint.requests) - before, owner

                with_key, ada = spend(SEATS, shown["ada"])
                without, same = spend(SEATS, login["ada"])
                of_eve, eve = spend(["openai", "demo-a", "demo-b"], shown["eve"])
                self.assertEqual((ada == same, ada == eve, min(with_key, without, of_eve) > 0), (True, False, True))
                budgets = {name: daemon.get("/api/budgets?days=2", **who)[1] for name, who in {"root": login["root"], **shown}.items()}
        told = lambda name, by: {line["name"]: (line["calls"], decimal.Decimal(line["settled_usd"])) for line in budgets[name]["spend"][by]}
        calls = lambda **lines: {name: (count, PRICE * count) for name, count in lines.items()}
        of_ada, everything = with_key + without, with_key + without + of_eve
        ours, hers = keys["ada"]["id"], keys["eve"]["id"]
        for name, expected in (
                ("root", {"provider": {"openai": everything}, "model": {"priced": everything}, "agent": {"openai:priced": of_ada, "openai": of_eve}, "account": {ada: of_ada, eve: of_eve},
                          "key": {ours: with_key, "": without, hers: of_eve}}),
                ("ada", {"provider": {"openai": of_ada}, "model": {"priced": of_ada}, "agent": {"openai:priced": of_ada}, "account": {ada: of_ada}, "key": {ours: with_key, "": without}}),
                ("eve", {"provider": {"openai": of_eve}, "model": {"priced": of_eve}, "agent": {"openai": of_eve}, "account": {eve: of_eve}, "key": {hers: of_eve}})):
            with self.subTest(name):
                self.assertEqual({by: told(name, by) for by in expected}, {by: calls(**lines) for by, lines in expected.items()})
        lines = {name: {(line["scope"], line["subject"], line["cap_usd"]) for line in budgets[name]["budgets"]} for name in budgets}
        self.assertEqual(lines, {"root": {("day", "", None), ("account", ada, "7"), ("account", eve, "7")}, "ada": {("account", ada, "7")}, "eve": {("account", eve, "7")}})

    def test_a_change_of_caps_is_in_the_audit_log(self):
        with Sandbox(ARAGORA_DAILY_BUDGET_USD="5") as sandbox:
            with Daemon(sandbox):
                pass
            with Daemon(sandbox, ARAGORA_DAILY_BUDGET_USD="7.50"):
                pass
            with Daemon(sandbox, ARAGORA_DAILY_BUDGET_USD="7.50"):
                pass
            with database(sandbox) as connection:
                rows = connection.execute("SELECT details FROM audit_log WHERE action = 'budget.change' ORDER BY seq").fetchall()
            changes = [json.loads(row[0]) for row in rows]
            self.assertEqual([change["caps"]["daily_usd"] for change in changes], ["5", "7.5"])
            self.assertEqual(changes[1]["before"]["daily_usd"], "5")


if __name__ == "__main__":
    main()
