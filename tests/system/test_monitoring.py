"""deploy/prometheus and deploy/grafana: promtool and amtool accept them, every alert fires and keeps quiet as it should, every panel has
data from a real Prometheus, and nothing asks for a series that does not exist."""
import asyncio
import contextlib
import http.client
import json
import pathlib
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request

import websockets
import yaml

from receivers import wait_for
from support import SOURCE, Authority, Daemon, Sandbox, free_port
from test_metrics import catalogue
from vendors import Behaviour, Vendors, refusal_of

PROMETHEUS = SOURCE / "deploy/prometheus"
GRAFANA = SOURCE / "deploy/grafana"
RULES = ("aragora.rules.yml", "recovery.rules.yml", "original-names.rules.yml")
RUNBOOKS = {"startup", "database", "redis", "provider", "provider-outage", "budgets", "disk-full", "incidents", "rotation", "recovery"}
DAY = 86400


def tool(*arguments, cwd=None):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=120, cwd=cwd)
    return done.returncode, done.stdout + done.stderr


def rules():
    return [rule for file in RULES for group in yaml.safe_load((PROMETHEUS / file).read_text())["groups"] for rule in group["rules"]]


def alerts():
    """Name to (expression, waiting time in minutes, its lines) of all rule files."""
    found = {}
    for file in RULES:
        for block in re.split(r"\n\s+- (?=alert:|record:|\{)", (PROMETHEUS / file).read_text())[1:]:
            if name := re.match(r"alert: (\w+)", block):
                unit = re.search(r"\n\s+for: (\d+)([mh])", block)
                waits = int(unit[1]) * {"m": 1, "h": 60}[unit[2]] if unit else 0
                found[name[1]] = (re.search(r"\n\s+expr: (.*)", block)[1], waits, block)
    return found


def series(name, values, **labels):
    text = ",".join(f'{k}="{v}"' for k, v in {"job": "aragora", "instance": "one", **labels}.items())
    return {"series": f"{name}{{{text}}}", "values": values}


def constant(name, value, **labels):
    return series(name, f"{value}x2000", **labels)


def growing(name, step, start=0, **labels):
    """By so much a minute, and more."""
    return series(name, f"{start}+{step}x2000", **labels)


def histogram(name, slow, fast="0.001", **labels):
    """All observations at most `slow`, none of them at most `fast`."""
    return [growing(name + "_bucket", 0, le=fast, **labels), growing(name + "_bucket", 60, le=slow, **labels), growing(name + "_bucket", 60, le="+Inf", **labels)]


def requests(bad, good):
    return [growing("aragora_http_requests_total", bad, status="500", endpoint="/api/debates"), growing("aragora_http_requests_total", good, status="200", endpoint="/api/debates")]


def slow(endpoint, method, above, below):
    name = "aragora_http_request_duration_seconds"
    labels = {"endpoint": endpoint, "method": method, "status": "200"}
    return histogram(name, above[1], above[0], **labels), histogram(name, below, **labels)


def stamp(name, age, **labels):
    """A time that is so many seconds before the moment the test looks; it looks at minute 240."""
    return constant(name, 240 * 60 - age, **labels)


OBJECTIVES = [constant("aragora_recovery_rpo_objective_seconds", 300), constant("aragora_recovery_rto_objective_seconds", 3600)]
# Of each alert: what makes it fire, and what does not. The absent arm is tried besides wherever a rule has one.
CASES = {
    "AragoraErrorRate": (requests(6, 94), requests(4, 96)),
    "AragoraErrorRateCritical": (requests(11, 89), requests(9, 91)),
    "AragoraLatency": slow("/api/debates", "GET", ("2.5", "5.0"), "2.0"),
    "AragoraDatabaseFailures": ([constant("aragora_db_connected", 0)], [constant("aragora_db_connected", 1), growing("aragora_db_errors_total", 0)]),
    "AragoraAgentErrors": ([growing("aragora_agent_calls_total", 2, agent="openai", status="error"), growing("aragora_agent_calls_total", 8, agent="openai", status="success")],
                           [growing("aragora_agent_calls_total", 1, agent="openai", status="error"), growing("aragora_agent_calls_total", 99, agent="openai", status="success")]),
    "AragoraCircuitOpen": ([constant("aragora_breaker_state", 2, provider="anthropic")], [constant("aragora_breaker_state", 0, provider="anthropic")]),
    "AragoraProviderBlocked": ([constant("aragora_breaker_blocked", 1, provider="openai")], [constant("aragora_breaker_blocked", 0, provider="openai")]),
    "AragoraNoProvider": ([constant("aragora_breaker_state", 2, provider="anthropic"), constant("aragora_breaker_blocked", 0, provider="anthropic"),
                           constant("aragora_breaker_state", 0, provider="openai"), constant("aragora_breaker_blocked", 1, provider="openai")],
                          [constant("aragora_breaker_state", 2, provider="anthropic"), constant("aragora_breaker_blocked", 0, provider="anthropic"),
                           constant("aragora_breaker_state", 0, provider="openai"), constant("aragora_breaker_blocked", 0, provider="openai")]),
    "AragoraHealthSlow": slow("/api/health", "GET", ("0.2", "0.25"), "0.2"),
    "AragoraListSlow": slow("/api/debates", "GET", ("0.5", "1.0"), "0.5"),
    "AragoraCreationSlow": slow("/api/debates", "POST", ("2.0", "2.5"), "2.0"),
    "AragoraLeaderboardSlow": slow("/api/leaderboard", "GET", ("0.3", "0.5"), "0.3"),
    "AragoraHandshakeSlow": slow("/ws", "GET", ("3.0", "5.0"), "3.0"),
    "AragoraDeliverySlow": (histogram("aragora_websocket_delivery_seconds", "1.0", "0.5"), histogram("aragora_websocket_delivery_seconds", "0.5")),
    "AragoraAgentSlow": (histogram("aragora_agent_latency_seconds", "60.0", "45.0", agent="openai"), histogram("aragora_agent_latency_seconds", "45.0", agent="openai")),
    "AragoraDown": ([constant("up", 0)], [constant("up", 1)]),
    "AragoraNotReady": ([constant("aragora_ready", 0)], [constant("aragora_ready", 1)]),
    "AragoraRestarts": ([growing("process_start_time_seconds", 60)], [constant("process_start_time_seconds", 60)]),
    "AragoraDebatesFail": ([growing("aragora_debate_failures_total", 2), growing("aragora_debates_completed_total", 8, outcome="consensus")],
                           [growing("aragora_debate_failures_total", 1), growing("aragora_debates_completed_total", 19, outcome="consensus")]),
    "AragoraDebatesFull": ([constant("aragora_active_debates", 100), constant("aragora_active_debates_most", 100)], [constant("aragora_active_debates", 99), constant("aragora_active_debates_most", 100)]),
    "AragoraShedding": ([growing("aragora_http_shed_total", 120, reason="queue")], [growing("aragora_http_shed_total", 30, reason="queue")]),
    "AragoraRefusals": ([growing("aragora_rate_limit_hits_total", 20, endpoint="/ws", limit_type="default"), *requests(0, 100)],
                        [growing("aragora_rate_limit_hits_total", 5, endpoint="/ws", limit_type="default"), *requests(0, 100)]),
    "AragoraGuessing": ([growing("aragora_auth_failures_total", 900)], [growing("aragora_auth_failures_total", 300)]),
    "AragoraSpendNearCap": ([constant("aragora_budget_utilization_ratio", 0.9, scope="day"), constant("aragora_budget_utilization_ratio", 0.1, scope="account")],
                            [constant("aragora_budget_utilization_ratio", 0.89, scope="day"), constant("aragora_budget_utilization_ratio", 0.5, scope="account")]),
    "AragoraSpendStopped": ([growing("aragora_budget_refusals_total", 2), constant("aragora_budget_utilization_ratio", 0.95, scope="day")],
                            [growing("aragora_budget_refusals_total", 2), constant("aragora_budget_utilization_ratio", 0.2, scope="day")]),  # a debate's own budget
    "AragoraAuditLogBroken": ([constant("aragora_audit_log_broken", 1)], [constant("aragora_audit_log_broken", 0)]),
    "AragoraRedisAway": ([constant("aragora_ratelimit_fallback_active", 1)], [constant("aragora_ratelimit_fallback_active", 0)]),
    "AragoraLogDropped": ([growing("aragora_log_dropped_total", 10)], [constant("aragora_log_dropped_total", 5)]),
    "AragoraMetricsDropped": ([growing("aragora_metrics_dropped_total", 1, family="x")], [constant("aragora_metrics_dropped_total", 5, family="x")]),
    "AragoraPoolExhausted": ([constant("aragora_db_pool_available", 0)], [constant("aragora_db_pool_available", 1)]),
    "AragoraQueueGrows": ([constant("aragora_worker_queue_length", 101)], [constant("aragora_worker_queue_length", 99)]),
    "AragoraMemory": ([constant("aragora_memory_used_bytes", 90), constant("aragora_memory_limit_bytes", 100)],
                      [constant("aragora_memory_used_bytes", 80), constant("aragora_memory_limit_bytes", 100), constant("aragora_memory_scarce", 0)]),
    "AragoraProcessor": ([growing("process_cpu_seconds_total", 108), constant("aragora_host_cpus", 2)], [growing("process_cpu_seconds_total", 84), constant("aragora_host_cpus", 2)]),
    "AragoraDescriptors": ([constant("process_open_fds", 90), constant("process_max_fds", 100)], [constant("process_open_fds", 70), constant("process_max_fds", 100)]),
    "AragoraDiskFull": ([constant("aragora_host_filesystem_free_bytes", 9, place="state"), constant("aragora_host_filesystem_size_bytes", 100, place="state")],
                        [constant("aragora_host_filesystem_free_bytes", 11, place="state"), constant("aragora_host_filesystem_size_bytes", 100, place="state")]),
    "AragoraCertificateEnds": ([stamp("aragora_tls_certificate_expiry_timestamp_seconds", -13 * DAY)], [stamp("aragora_tls_certificate_expiry_timestamp_seconds", -15 * DAY)]),
    "AragoraCertificateEndsSoon": ([stamp("aragora_tls_certificate_expiry_timestamp_seconds", -2 * DAY)], [stamp("aragora_tls_certificate_expiry_timestamp_seconds", -4 * DAY)]),
    "AragoraBudgetBurnsFast": (requests(2, 98), requests(1, 99)),
    "AragoraBudgetBurns": (requests(1, 99), requests(1, 199)),
    "AragoraRecoveryProblem": ([constant("aragora_recovery_problems", 1, subject="loss")], [constant("aragora_recovery_problems", 0, subject="loss")]),
    "AragoraRecoveryUnknown": ([growing("aragora_recovery_state_failures_total", 1)], [constant("aragora_recovery_state_failures_total", 9)]),
    "AragoraBackupLate": ([stamp("aragora_backup_last_success_timestamp_seconds", 37 * 3600, kind="full")], [stamp("aragora_backup_last_success_timestamp_seconds", 35 * 3600, kind="full")]),
    "AragoraBackupNotGood": ([constant("aragora_backup_not_good", 1, kind="full")], [constant("aragora_backup_not_good", 0, kind="full")]),
    "AragoraBackupNotProven": ([stamp("aragora_backup_last_proven_timestamp_seconds", 4 * DAY, kind="full")], [stamp("aragora_backup_last_proven_timestamp_seconds", 2 * DAY, kind="full")]),
    "AragoraBackupFromTheFuture": ([constant("aragora_backup_dated_in_the_future", 1, kind="full")], [constant("aragora_backup_dated_in_the_future", 0, kind="full")]),
    "AragoraSavingFails": ([constant("aragora_backup_saving_failures", 3)], [constant("aragora_backup_saving_failures", 2)]),
    "AragoraBackupFailures": ([growing("aragora_backup_failures_total", 1)], [constant("aragora_backup_failures_total", 9)]),
    "AragoraOffsiteLate": ([stamp("aragora_backup_offsite_last_success_timestamp_seconds", 37 * 3600)], [stamp("aragora_backup_offsite_last_success_timestamp_seconds", 35 * 3600)]),
    "AragoraLogLag": ([constant("aragora_recovery_loss_seconds", 301, place="local"), *OBJECTIVES], [constant("aragora_recovery_loss_seconds", 299, place="local"), *OBJECTIVES]),
    "AragoraLogReceiverSilent": ([stamp("aragora_wal_receiver_timestamp_seconds", 600)], [stamp("aragora_wal_receiver_timestamp_seconds", 30)]),
    "AragoraLogGap": ([constant("aragora_recovery_window_gap", 1)], [constant("aragora_recovery_window_gap", 0)]),
    "AragoraSlotRetainsLog": ([constant("aragora_wal_slot_retained_bytes", 6e9)], [constant("aragora_wal_slot_retained_bytes", 4e9)]),
    "AragoraRecoveryTooSlow": ([constant("aragora_recovery_predicted_rto_seconds", 3601, place="local", measured="yes"), *OBJECTIVES],
                               [constant("aragora_recovery_predicted_rto_seconds", 3599, place="local", measured="yes"), *OBJECTIVES]),
    "AragoraDrillMissing": ([stamp("aragora_recovery_drill_timestamp_seconds", 101 * DAY), constant("aragora_recovery_drill_passed", 1)],
                            [stamp("aragora_recovery_drill_timestamp_seconds", 99 * DAY), constant("aragora_recovery_drill_passed", 1)]),
    "AragoraBackupDiskFull": ([constant("aragora_backup_repository_free_bytes", 19), constant("aragora_backup_bytes", 10, kind="full")],
                              [constant("aragora_backup_repository_free_bytes", 21), constant("aragora_backup_bytes", 10, kind="full")]),
}


def used_series(expression):
    """Names of series in an expression: not of recordings, functions, labels or their values."""
    plain = re.sub(r"\{[^{}]*\}", "", re.sub(r'"[^"]*"', '""', expression))
    return set(re.findall(r"(?<![:\w])(?:aragora|process)_\w+(?![\w:])", plain))


def together(groups, given):
    """The first group that has none of these series, or a new one: a group costs promtool seconds."""
    names = {one["series"].split("{")[0] for one in given}
    for group in groups[1:]:
        if not names & {one["series"].split("{")[0] for one in group["input_series"]}:
            return group
    groups.append({"interval": "1m", "input_series": [], "promql_expr_test": []})
    return groups[-1]


def test_rules(groups):
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "tests.yml"  # JSON is YAML
        file.write_text(json.dumps({"rule_files": [str(PROMETHEUS / one) for one in RULES], "evaluation_interval": "4m", "tests": groups}))
        return tool("promtool", "test", "rules", file)


class Files(unittest.TestCase):
    def test_promtool_and_amtool_accept_them(self):
        with tempfile.TemporaryDirectory() as directory:
            at = pathlib.Path(directory)
            for file in (*RULES, "prometheus.yml"):
                shutil.copy(PROMETHEUS / file, at)
            (at / "token").write_text("token")
            configuration = at / "prometheus.yml"
            configuration.write_text(configuration.read_text().replace("/etc/prometheus/aragora.token", str(at / "token")))
            status, said = tool("promtool", "check", "config", configuration)
            self.assertEqual(status, 0, said)
            self.assertIn("2 rule files found", said)
            configuration.write_text(configuration.read_text().replace("  # - original-names", "  - original-names"))
            self.assertEqual(tool("promtool", "check", "config", configuration)[0], 0)
        status, said = tool("promtool", "check", "rules", "--lint-fatal", *(PROMETHEUS / file for file in RULES))
        self.assertEqual(status, 0, said)
        status, said = tool("amtool", "check-config", PROMETHEUS / "alertmanager.yml")
        self.assertEqual(status, 0, said)

    def test_who_is_told_of_an_alert(self):
        """By its severity, whatever else it has."""
        severities = {rule["labels"]["severity"] for rule in rules() if "alert" in rule}
        for severity, receiver in {"critical": "on-call", "warning": "mail"}.items():
            severities.discard(severity)
            status, said = tool("amtool", "config", "routes", "test", "--config.file", PROMETHEUS / "alertmanager.yml", "--verify.receivers", receiver, f"severity={severity}", "alertname=AragoraDown", "job=aragora")
            self.assertEqual(status, 0, said)
        self.assertEqual(severities, set())
        status, said = tool("amtool", "config", "routes", "test", "--config.file", PROMETHEUS / "alertmanager.yml", "--verify.receivers", "mail", "severity=critical")
        self.assertEqual(status, 1, "the check bites: " + said)

    def test_every_alert_leads_to_a_runbook_and_has_a_severity(self):
        for name, (_, _, block) in alerts().items():
            book = re.search(r'runbook: "/usr/share/doc/aragora/runbooks/([\w-]+)\.md#([\w-]+)"', block)
            self.assertIsNotNone(book, name)
            self.assertIn(book[1], RUNBOOKS, name)
            self.assertRegex(block, r"severity: (warning|critical)", name)
            page = SOURCE / "docs/runbooks" / f"{book[1]}.md"
            if page.exists():
                headings = [re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.M)]
                self.assertIn(book[2], headings, f"{name}: {page} has no such heading")

    def test_nothing_asks_for_a_series_that_does_not_exist(self):
        known = catalogue()
        exposed = set(known)
        for name, (kind, _) in known.items():
            if kind == "histogram":
                exposed |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
        recorded = {rule.get("record") for rule in rules()}
        for expression in (rule["expr"] for rule in rules()):
            self.assertEqual(used_series(expression) - exposed, set(), expression)
            self.assertEqual(set(re.findall(r"(?:instance|job)\w*:[\w:]+", re.sub(r'"[^"]*"(?=[,}])', "", expression))) - recorded, set(), expression)
        for file in GRAFANA.glob("*.json"):
            for expression in expressions(file):
                self.assertEqual(used_series(expression) - exposed, set(), expression)

    def test_every_alert_fires_keeps_quiet_and_minds_what_is_absent(self):
        all_alerts = alerts()
        self.assertEqual(set(all_alerts), set(CASES))

        def fires(name, expected, minute=240):
            return {"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)', "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": expected}]}

        nothing = {"interval": "1m", "input_series": [constant("aragora_build_info", 1)], "promql_expr_test": []}
        groups = [nothing]
        for name, (expression, waits, _) in all_alerts.items():
            if "absent(" in expression:
                nothing["promql_expr_test"].append(fires(name, 1))
            for given, expected in zip(CASES[name], (1, 0)):
                group = together(groups, given)
                group["input_series"] += given
                group["promql_expr_test"].append(fires(name, expected))
                if expected and waits:
                    group["promql_expr_test"].append(fires(name, 0, minute=0))
        status, said = test_rules(groups)
        self.assertEqual(status, 0, said[:4000])

    def test_recordings_say_what_their_names_say(self):
        given = [*requests(5, 95), growing("aragora_debates_completed_total", 3, outcome="consensus"), growing("aragora_debates_completed_total", 1, outcome="no_consensus"),
                 constant("aragora_breaker_state", 2, provider="openai"), constant("aragora_breaker_state", 1, provider="anthropic"), constant("aragora_budget_utilization_ratio", 0.75, scope="day"),
                 growing("aragora_spend_usd_total", 0.5, provider="openai", model="m")]
        expected = {'job:aragora_http_errors:ratio_rate5m{job="aragora"}': 0.05, 'job:aragora_consensus:ratio1h{job="aragora"}': 0.75, 'job:aragora_debates_completed:increase1h{job="aragora"}': 240,
                    'aragora_consensus_rate{job="aragora"}': 0.75,
                    'aragora_agent_circuit_breaker_state{agent_type="openai"}': 2, 'aragora_agent_circuit_breaker_state{agent_type="anthropic"}': 1,
                    'aragora_circuit_breaker_state{service="openai", state="open"}': 1, 'aragora_circuit_breaker_state{service="openai", state="closed"}': 0,
                    'aragora_circuit_breaker_state{service="anthropic", state="half_open"}': 1, 'aragora_circuit_breaker_state{service="anthropic", state="open"}': 0,
                    'aragora_circuit_breakers_open{job="aragora"}': 1, 'aragora_budget_utilization_percent{budget_type="daily", scope="day"}': 75,
                    'aragora_cost_usd_total{provider="openai", model="m"}': 120e6}
        tests = [{"expr": f"sum({name})", "eval_time": "240m", "exp_samples": [{"labels": "{}", "value": value}]} for name, value in expected.items()]
        status, said = test_rules([{"interval": "1m", "input_series": given, "promql_expr_test": tests}])
        self.assertEqual(status, 0, said)

    def test_dashboards_are_what_grafana_imports(self):
        boards = {json.loads(file.read_text())["uid"]: json.loads(file.read_text()) for file in GRAFANA.glob("*.json")}
        self.assertEqual(set(boards), {"aragora-debates", "aragora-operations"})
        for uid, board in boards.items():
            identities = [panel["id"] for panel in board["panels"]]
            self.assertEqual(len(identities), len(set(identities)), uid)
            self.assertNotIn("id", board, "an id is of one Grafana's database")
            places = [(p["gridPos"]["x"], p["gridPos"]["y"], p["gridPos"]["w"], p["gridPos"]["h"]) for p in board["panels"]]
            self.assertFalse([(a, b) for i, a in enumerate(places) for b in places[i + 1:]
                              if a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]], "panels lie on each other")


def expressions(file):
    return [target["expr"] for panel in json.loads(file.read_text())["panels"] for target in panel.get("targets", [])]


class Prometheus:
    """A real one, with our rules, that looks every second."""

    def __init__(self, directory, target, authority, token):
        self.directory = directory
        self.port = free_port()
        for file in RULES:
            shutil.copy(PROMETHEUS / file, directory)
        shutil.copy(authority.file, directory / "ca.pem")
        (directory / "token").write_text(token)
        (directory / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": list(RULES),
            "scrape_configs": [{"job_name": "aragora", "scheme": "https", "tls_config": {"ca_file": str(directory / "ca.pem"), "server_name": "localhost"},
                                "authorization": {"credentials_file": str(directory / "token")}, "static_configs": [{"targets": [target]}]}]}))
        self.log = open(directory / "log", "w")
        self.process = subprocess.Popen(["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{self.port}"],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.loads(answer.read())["data"]

    def query(self, expression):
        return [float(one["value"][1]) for one in self.ask("/api/v1/query", query=expression)["result"]]


class Live(unittest.TestCase):
    TOKEN = "2f5c9f7b1d3e4a6c8b2d0e1f3a5c7b9d4e6f"

    def test_every_panel_has_data_and_every_rule_is_evaluated_without_an_error(self):
        with contextlib.ExitStack() as stack:
            authority = stack.enter_context(Authority())
            # Each seventh call is turned down once too often, and OpenRouter answers for it.
            turned_down = refusal_of("openai", "overloaded", {"retry-after-ms": "1"})
            vendors = stack.enter_context(Vendors(lambda asked, number: Behaviour(refusal=turned_down) if asked.vendor == "openai" and number % 21 < 3 else None))
            sandbox = stack.enter_context(Sandbox(**vendors.environment("openai", "openrouter"), ARAGORA_OPENROUTER_FALLBACK_ENABLED="true", ARAGORA_DAILY_BUDGET_USD="1000",
                                                  ARAGORA_METRICS_TOKEN=self.TOKEN, ARAGORA_BACKUP_CONTINUOUS="true"))
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            daemon = stack.enter_context(Daemon(sandbox))  # makes the secrets and the database
            _, created = daemon.post("/api/debates", {"task": "Which one?", "agents": ["demo", "demo"]})
            daemon.wait_finished(created["debate_id"])
            sandbox.run("backup", check=0)
            sandbox.run("backup", "verify", check=0)
            sandbox.run("drill", check=0)
            daemon.stop()
            secure = stack.enter_context(Secure(sandbox, authority))
            prometheus = stack.enter_context(Prometheus(pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())), f"localhost:{secure.port}", authority, self.TOKEN))
            busy = stack.enter_context(Visitors(secure))
            self.panels(prometheus)
            self.original_names(prometheus)
            busy.check(self)
            self.assertEqual(vendors.refused, [])
            rules = [rule for group in prometheus.ask("/api/v1/rules")["groups"] for rule in group["rules"]]
            self.assertGreater(len(rules), 70)
            self.assertEqual([(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"], [])
            firing = {alert["labels"]["alertname"] for alert in prometheus.ask("/api/v1/alerts")["alerts"] if alert["state"] == "firing"}
            self.assertEqual(firing, set())

    def panels(self, prometheus):
        """Each expression as Grafana sends it has a number. Rates take two looks; what is empty until then is asked again."""
        waiting = {(file.name, expression) for file in GRAFANA.glob("*.json") for expression in expressions(file)}
        self.assertGreater(len(waiting), 60)
        deadline = time.monotonic() + 60
        while waiting and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                for one in list(waiting):
                    asked = one[1].replace("$__rate_interval", "15s").replace("$job", ".*").replace("$instance", ".*")
                    if any(number == number for number in prometheus.query(asked)):
                        waiting.discard(one)
            time.sleep(0.5)
        self.assertEqual(waiting, set(), (prometheus.directory / "log").read_text()[-2000:])


    def original_names(self, prometheus):
        """What the original's dashboards ask of breakers and money, of the real daemon; and no rule is without a value."""
        recorded = set(re.findall(r"record: (\w+)", (SOURCE / "deploy/prometheus/original-names.rules.yml").read_text()))
        wait_for(lambda: all(prometheus.query(name) for name in recorded), lambda: str({name for name in recorded if not prometheus.query(name)}))
        for name, judge in {"aragora_agent_circuit_breaker_state": lambda state: state in (0, 1, 2), "sum by (service) (aragora_circuit_breaker_state)": lambda states: states == 1,
                            "aragora_circuit_breakers_open == bool on (job, instance) sum by (job, instance) (aragora_agent_circuit_breaker_state == bool 2)": lambda same: same == 1,
                            "aragora_budget_utilization_percent": lambda percent: 0 < percent < 1, "sum(aragora_cost_usd_total)": lambda millionths: 1 < millionths < 1e9}.items():
            values = prometheus.query(name)
            self.assertTrue(values, name)
            self.assertEqual([value for value in values if not judge(value)], [], name)


class Secure(Daemon):
    """Speaks TLS: the certificate is one of the things that are shown."""

    def __init__(self, sandbox, authority):
        self.authority = authority
        super().__init__(sandbox, ARAGORA_TLS_CERT_PATH=str(authority.certificate), ARAGORA_TLS_KEY_PATH=str(authority.key))

    def connection(self, timeout=20):
        return http.client.HTTPSConnection("localhost", self.port, timeout=timeout, context=ssl.create_default_context(cafile=self.authority.file))


class Visitors(threading.Thread):
    """Debates one after the other, and somebody who watches them."""

    def __init__(self, daemon):
        super().__init__()
        self.daemon_process, self.stopping, self.debates, self.failure = daemon, threading.Event(), 0, None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()

    def run(self):
        try:
            asyncio.run(self.visit(self.daemon_process))
        except Exception as error:  # told by check()
            self.failure = error

    async def visit(self, daemon):
        async with websockets.connect(f"wss://localhost:{daemon.port}/ws", ssl=ssl.create_default_context(cafile=daemon.authority.file)) as socket:
            while not self.stopping.is_set():
                _, created = await asyncio.to_thread(daemon.post, "/api/debates", {"task": "Which one?", "agents": ["openai", "demo"]})
                await socket.send(json.dumps({"type": "subscribe", "debate_id": created["debate_id"]}))
                for path in ("/api/health", "/api/debates", "/api/leaderboard"):
                    await asyncio.to_thread(daemon.request, "GET", path)
                while (said := json.loads(await asyncio.wait_for(socket.recv(), 20)))["type"] != "debate_end":
                    if said["type"] == "warning":
                        raise AssertionError(said)
                await socket.send(json.dumps({"type": "unsubscribe", "debate_id": created["debate_id"]}))  # a connection has 100
                self.debates += 1

    def check(self, test):
        test.assertIsNone(self.failure, self.failure)
        test.assertGreater(self.debates, 2)


if __name__ == "__main__":
    unittest.main()
