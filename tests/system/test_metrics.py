"""What /metrics answers: to promtool, from the start, of refusals and failures, and where much of the host is hidden."""
import os
import re
import subprocess
import unittest

from support import SOURCE, Daemon, Sandbox


def scrape(daemon):
    status, _, body = daemon.request("GET", "/metrics")
    assert status == 200, body
    return body.decode()


def value(text, series):
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.M)
    return float(found[1]) if found else None


def catalogue():
    """Name to (type, labels), of the page that a test holds against the table in the binary."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", (SOURCE / "docs/metrics.md").read_text(), re.M)
    assert len(rows) > 60, rows
    return {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels in rows}


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox = Sandbox()
        cls.daemon = Daemon(cls.sandbox)
        cls.first = scrape(cls.daemon)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()
        cls.sandbox.__exit__()

    def test_promtool_finds_nothing_to_say_before_and_after_something_happened(self):
        _, created = self.daemon.post("/api/debates", {"task": "Which one?", "agents": ["demo", "demo"]})
        self.daemon.wait_finished(created["debate_id"])
        for text in (self.first, scrape(self.daemon)):
            checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
            self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, "", ""))

    def test_every_series_is_in_the_catalogue_with_its_type_and_labels(self):
        known = catalogue()
        for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", self.first, re.M):
            self.assertEqual(known[name][0], kind, name)
        for name, labels in re.findall(r"^(\w+)(?:{(.*)})? \S+$", self.first, re.M):
            family = name if name in known else re.sub(r"_(bucket|sum|count)$", "", name)
            self.assertEqual(set(re.findall(r'(\w+)="', labels)) - {"le"}, known[family][1], name)

    def test_counters_are_there_before_anything_was_counted(self):
        series = ["aragora_debates_started_total", 'aragora_debates_completed_total{outcome="consensus"}', "aragora_debate_failures_total", "aragora_consensus_reached_total",
                  'aragora_agent_calls_total{agent="demo",status="error"}', 'aragora_agent_errors_total{agent="demo",error_type="timeout"}', 'aragora_agent_latency_seconds_count{agent="demo"}',
                  'aragora_rate_limit_hits_total{endpoint="/api/debates",limit_type="debates"}', "aragora_auth_failures_total", "aragora_websocket_connections_total",
                  'aragora_http_requests_total{endpoint="/api/debates",handler="/api/debates",method="POST",status="500"}', "aragora_backup_failures_total",
                  'aragora_websocket_messages_total{direction="out",message_type="event"}', "aragora_redis_connection_errors_total"]
        self.assertEqual({one: value(self.first, one) for one in series}, dict.fromkeys(series, 0.0))

    def test_every_counter_is_there_before_anything_was_counted(self):
        """With a provider and its fallback; but for what is named by what happens."""
        later = {"aragora_metrics_dropped_total"}  # a family that is full
        with Sandbox(ANTHROPIC_API_KEY="sk-ant-api03-" + "0123456789" * 4, OPENROUTER_API_KEY="sk-or-v1-" + "0123456789abcdef" * 4, ARAGORA_DAILY_BUDGET_USD="5") as sandbox, Daemon(sandbox) as daemon:
            there = set(re.findall(r"^(\w+)(?:{.*})? \S+$", scrape(daemon), re.M))
            self.assertIn('aragora_http_requests_total{endpoint="/api/debates",handler="/api/debates",method="POST",status="503"} 0', scrape(daemon))
        self.assertEqual({name for name, (kind, _) in catalogue().items() if kind == "counter"} - there, later)

    def test_bounds_are_the_limits_of_the_checklist_and_written_as_clients_write_them(self):
        self.daemon.get("/api/health")
        text = scrape(self.daemon)
        bounds = set(re.findall(r'^aragora_http_request_duration_seconds_bucket{endpoint="/api/health".*le="([^"]+)"', text, re.M))
        self.assertLessEqual({"0.05", "0.1", "0.2", "0.3", "0.5", "1.0", "2.0", "3.0", "+Inf"}, bounds)
        self.assertEqual([one for one in re.findall(r'le="(\d+)"', text)], [], "Prometheus 3 and Python's client have a point in every number")
        self.assertIn('aragora_agent_latency_seconds_bucket{agent="demo",le="30.0"}', text)
        self.assertIn('aragora_agent_latency_seconds_bucket{agent="demo",le="45.0"}', text)

    def test_the_process_and_the_host_are_measured(self):
        text = scrape(self.daemon)
        for name in ("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds", "process_threads", "aragora_host_cpus",
                     "aragora_host_memory_size_bytes", 'aragora_host_filesystem_free_bytes{place="state"}', 'aragora_host_network_receive_bytes_total{device="lo"}', "aragora_http_response_body_bytes_total"):
            self.assertGreater(value(text, name), 0, name)
        self.assertGreaterEqual(value(text, "process_max_fds"), value(text, "process_open_fds"))

    def test_what_is_refused_keeps_its_endpoint(self):
        self.daemon.request("OPTIONS", "/api/debates", headers={"Origin": "https://nobody.example"})
        self.daemon.request("PUT", "/api/health")
        self.daemon.raw(b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\nConnection: close\r\n\r\n", timeout=2)
        text = scrape(self.daemon)
        for method, endpoint, status in (("OPTIONS", "/api/debates", r"\d+"), ("PUT", "/api/health", "405"), ("POST", "/api/auth/login", "413")):
            self.assertTrue(re.search(rf'aragora_http_requests_total{{endpoint="{endpoint}",handler="{endpoint}",method="{method}",status="{status}"}} 1', text), (method, endpoint))


class Refusals(unittest.TestCase):
    def test_refusals_are_counted_by_limit_and_endpoint(self):
        with Sandbox() as sandbox, Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="20") as daemon:
            answers = [daemon.request("GET", "/api/leaderboard")[0] for _ in range(60)]
            refused = answers.count(429)
            self.assertGreater(refused, 10)
            text = scrape(daemon)
            self.assertEqual(value(text, 'aragora_rate_limit_hits_total{endpoint="/api/leaderboard",limit_type="default"}'), refused)
            self.assertEqual(value(text, 'aragora_http_requests_total{endpoint="/api/leaderboard",handler="/api/leaderboard",method="GET",status="429"}'), refused)
            for _ in range(3):
                daemon.request("GET", "/api/debates", headers={"Authorization": "Bearer not-a-token"})

    def test_credentials_that_are_refused_are_counted(self):
        with Sandbox(ARAGORA_API_TOKEN="9d0b1c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d") as sandbox, Daemon(sandbox) as daemon:
            answers = [daemon.request("GET", "/api/debates", headers={"Authorization": "Bearer not-a-token"})[0] for _ in range(3)]
            self.assertEqual(answers, [401] * 3)
            self.assertEqual(value(scrape(daemon), "aragora_auth_failures_total"), 3)



class HiddenHost(unittest.TestCase):
    def test_under_procsubset_pid_the_rest_is_still_answered(self):
        """As the unit has it: /proc without anything but processes."""
        with Sandbox() as sandbox:
            mount = 'mount -t proc -o subset=pid proc /proc && exec "$@"'
            sandbox.prefix = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-m", "-p", "-f", "--kill-child", "--propagation", "private", "sh", "-c", mount, "sh"]
            hidden = subprocess.run([*sandbox.prefix, "cat", "/proc/meminfo"], capture_output=True, timeout=20)
            self.assertNotEqual(hidden.returncode, 0)
            with Daemon(sandbox) as daemon:
                text = scrape(daemon)
                self.assertNotIn("aragora_host_memory_available_bytes ", text)
                self.assertNotIn("aragora_host_cpu_seconds_total{", text)
                for name in ("process_resident_memory_bytes", "process_open_fds", "aragora_host_memory_size_bytes", "aragora_host_cpus"):
                    self.assertGreater(value(text, name), 0, name)
                self.assertNotIn("/proc", daemon.text())
                daemon.kill()  # unshare hands no other signal on


if __name__ == "__main__":
    unittest.main()
