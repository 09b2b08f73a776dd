"""A running deployment looked at from outside: each property of it is broken in turn, and its box fails and no other."""
import json
import os
import re
import secrets
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

from fronts import Front
from support import BINARY, Authority, Daemon, Sandbox, free_port, main, with_hosts

TOKEN = secrets.token_hex(32)
OF_DEBATE = ("debate.completed", "debate.events", "debate.receipt", "debate.deleted")
MEASURED = ("latency.", "websocket.handshake")  # a busy machine may be slower than the checklist wants


class World(unittest.TestCase):
    """A daemon that wants a key, and a front with TLS before it as an operator has one."""

    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.sandbox = Sandbox(ARAGORA_API_TOKEN=TOKEN, ARAGORA_TRUSTED_PROXIES="127.0.0.1")
        cls.daemon = Daemon(cls.sandbox, ARAGORA_IP_RATE_LIMIT="100000", ARAGORA_DEBATE_RATE_LIMIT="1000")
        cls.key = str(cls.sandbox.write("key", TOKEN + "\n"))
        cls.to_https = Front(None, rule=lambda method, path: {"status": 308, "add": {"Location": f"https://localhost{path}"}})

    @classmethod
    def tearDownClass(cls):
        cls.to_https.__exit__()
        cls.daemon.stop()
        cls.sandbox.__exit__()
        cls.authority.__exit__()

    def front(self, rule=None):
        return Front(self.daemon.port, self.authority.context(), rule)

    def verify(self, front, *arguments, key=True, ca=True, clear=None, **how):
        words = ["--url", f"https://localhost:{front.port}", "--http-port", clear or self.to_https.port, *(["--key-file", self.key] if key else []), *(["--ca", self.authority.file] if ca else [])]
        result = self.sandbox.run("verify", *words, *arguments, "--json", **how)
        document = json.loads(result.stdout)
        self.assertEqual(document["exit_status"], result.returncode)
        self.assertNotIn(TOKEN, result.stdout + result.stderr)
        boxes = {finding["id"]: finding for finding in document["findings"]}
        statuses = {finding["status"] for finding in boxes.values()}
        self.assertEqual(result.returncode, 1 if "error" in statuses else 69 if "not_verified" in statuses else 0)
        self.assertEqual(document["verified"], result.returncode == 0)
        return boxes

    def debates(self):
        return self.daemon.get("/api/debates", Authorization=f"Bearer {TOKEN}")[1]["total"]

    def having(self, boxes, status, measured=False):
        return {name for name, box in boxes.items() if box["status"] == status and (measured or not name.startswith(MEASURED))}


class EveryBox(World):
    def test_of_a_deployment_as_it_should_be_each_is_proved_with_what_was_seen(self):
        before = self.debates()
        with self.front() as front:
            boxes = self.verify(front)
        calm = {name for name in boxes if not name.startswith(MEASURED)}
        self.assertEqual(self.having(boxes, "ok") | {"tls.certificate"}, calm, boxes)
        self.assertIn("valid for 1 day", boxes["tls.certificate"]["message"])  # which is a warning
        self.assertRegex(boxes["debate.completed"]["message"], r"^completed: (consensus \(\w+\) with confidence|no consensus)")
        self.assertRegex(boxes["websocket.delivery"]["message"], r"^\d+ events in order")
        self.assertRegex(boxes["debate.events"]["message"], r"without a gap, to debate_end; \d seats answered")
        self.assertIn("its signature holds by the keys that it publishes", boxes["debate.receipt"]["message"])
        self.assertRegex(boxes["latency.health"]["message"], r"^p50 \S+ .+, p95 \S+ .+ of \d+ requests \(target 50 ms, alert 200 ms\)$")
        self.assertFalse({name for name, box in boxes.items() if box["status"] == "not_verified"})
        self.assertEqual(self.debates(), before, "the test debate is gone")

    def test_what_is_broken_fails_and_nothing_else(self):
        public = {"status": 200, "body": "# TYPE x counter\nx 1\n"}
        at = lambda wanted, **what: lambda method, path: what if path == wanted else None
        everywhere = lambda **what: lambda method, path: what
        broken = {
            "health": [at("/api/health", replace=("healthy", "poorly!"))],
            "ready": [at("/api/ready", status=200, body='{"status":"ready"}'), at("/api/ready", status=503, body='{"status":"not_ready","database":"disconnected","agents":"available"}')],
            "version": [at("/api/version", status=200, body='{"name":"another"}')],
            "headers.csp": [everywhere(drop=["Content-Security-Policy"]), everywhere(drop=["Content-Security-Policy"], add={"Content-Security-Policy": "default-src 'self' 'unsafe-eval'"}),
                            *(everywhere(drop=["Content-Security-Policy"], add={"Content-Security-Policy": policy}) for policy in ("x", "script-src 'self' 'unsafe-inline'", "default-src *", "frame-ancestors 'none'"))],
            "headers.hsts": [everywhere(drop=["Strict-Transport-Security"]), everywhere(drop=["Strict-Transport-Security"], add={"Strict-Transport-Security": "max-age=600"})],
            "headers.others": [everywhere(drop=["X-Content-Type-Options"]), everywhere(drop=["Referrer-Policy"], add={"Referrer-Policy": "x"})],
            "cors.foreign": [everywhere(add={"Access-Control-Allow-Origin": "*"})],
            "metrics.private": [at("/metrics", **public)],
            "limits.headers": [everywhere(drop=["RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"])],
            "admin.guarded": [at("/api/admin/audit", status=200)],
        }
        for box, rules in broken.items():
            for rule in rules:
                with self.subTest(box), self.front(rule) as front:
                    boxes = self.verify(front, "--no-debate")
                    self.assertEqual(self.having(boxes, "error"), {box})
                    self.assertTrue(boxes[box]["hint"])
                    self.assertLessEqual(self.having(boxes, "not_verified"), {*OF_DEBATE, "websocket.delivery"})

    def test_a_socket_that_is_refused_or_cut_and_a_debate_that_fails(self):
        for box, rule in (("websocket.handshake", lambda m, path: {"status": 502} if path == "/ws" else None),
                          ("websocket.delivery", lambda m, path: {"cut": True} if path == "/ws" else None),
                          ("debate.completed", lambda method, path: {"status": 500} if (method, path) == ("POST", "/api/debates") else None),
                          ("debate.deleted", lambda method, path: {"status": 500} if method == "DELETE" else None)):
            with self.subTest(box), self.front(rule) as front:
                boxes = self.verify(front)
                self.assertEqual(self.having(boxes, "error", measured=True) - {name for name in boxes if name.startswith("latency.")}, {box}, boxes)

    def test_slow_answers_fail_the_measurement(self):
        with self.front(lambda m, path: {"delay": 0.35} if path == "/api/leaderboard" else None) as front:
            box = self.verify(front, "--no-debate")["latency.leaderboard"]
        self.assertEqual(box["status"], "error")
        self.assertIn("alert 300 ms", box["message"])
        self.assertLess(box["seconds"], 20)

    def test_the_measurements_leave_half_of_the_limit_to_others(self):
        with Sandbox(ARAGORA_API_TOKEN=TOKEN) as sandbox, Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="120") as daemon:
            key = sandbox.write("key", TOKEN)
            document = sandbox.run_json("verify", "--url", f"http://127.0.0.1:{daemon.port}", "--key-file", key)
            boxes = {finding["id"]: finding for finding in document["findings"]}
            self.assertNotIn("used up", json.dumps(boxes))
            _, headers, _ = daemon.request("GET", "/api/debates", headers={"Authorization": f"Bearer {TOKEN}"})
            self.assertGreater(int(headers["x-ratelimit-remaining"]), 30)
            # On this machine without TLS: what cannot be seen is not passed.
            self.assertEqual({name for name, box in boxes.items() if box["status"] == "not_verified"}, {"tls.certificate", "tls.protocol", "https.redirect", "headers.hsts"})


class OneTestDebate(World):
    """`verify --url`, `debate --test` and the checklist hold the same one: what is broken is red in all three."""

    def test_a_receipt_whose_signature_is_of_another_text_is_red_in_all_three(self):
        at = lambda end, *replace: lambda method, path: {"replace": replace} if method == "GET" and re.fullmatch(f"/api/debates/[^/]+{end}", path) else None
        forged = at("/receipt", '"clock":"system', '"clock":"sistem')
        with Front(self.daemon.port, rule=forged) as front:
            where = ("--url", f"http://127.0.0.1:{front.port}", "--key-file", self.key)

            def red(*words, box="debate.receipt", check=1, wanted="error"):
                found = {one["id"]: one["status"] for one in self.sandbox.run_json(*words, *where, check=check)["findings"]}
                self.assertEqual({name for name, status in found.items() if status == wanted and name.startswith("debate.")}, {box}, found)
            red("verify")
            red("debate", "--test")
            after = next(box for box in self.sandbox.run_json("checklist", *where, check=1)["report"]["boxes"] if box["id"] == "after.debate")
            self.assertEqual(after["state"], "failed", after)
            self.assertRegex(after["evidence"], "^aragora debate --test: Test debate's receipt: signature: ")
            self.assertTrue(after["fix"].endswith("run: aragora debate --test"), after)
            for box, front.rule in (("debate.events", at("/events", '"seq":2,', '"seq":3,')), ("debate.events", at("/events", '"vote"', '"vite"')),
                                    ("debate.completed", at("", '"completed"', '"cancelled"')), ("debate.receipt", lambda method, path: {"status": 409} if path.endswith("/receipt") else None)):
                red("debate", "--test", box=box)

            def without_contents(method, path):
                if path.endswith("/receipt"):
                    return {"status": 200, "body": json.dumps({**self.daemon.get(path, Authorization=f"Bearer {TOKEN}")[1], "contents": None})}
            front.rule = without_contents
            red("debate", "--test", check=69, wanted="not_verified")


class Unseen(World):
    """What was not looked at is not passed, and nobody is sent to mend it."""

    NO_DEBATE = {*OF_DEBATE, "websocket.delivery", "latency.create"}

    def test_an_answer_that_is_not_the_daemons_proves_nothing(self):
        for metrics, admin, foreign in (({"status": 302}, {"status": 404}, {"status": 502}), ({"status": 200, "body": "<html>"}, {"status": 302}, {"status": 429}), ({"status": 400}, {"status": 400}, {"status": 302})):
            rule = lambda method, path: metrics if path == "/metrics" else admin if path.startswith("/api/admin") else foreign if method == "OPTIONS" else None
            with self.subTest(metrics=metrics, admin=admin, foreign=foreign), self.front(rule) as front:
                boxes = self.verify(front, "--no-debate")
                self.assertEqual(self.having(boxes, "not_verified", measured=True), {"metrics.private", "admin.guarded", "cors.foreign"} | self.NO_DEBATE, boxes)
                self.assertEqual(self.having(boxes, "error"), set())

    def test_a_limit_that_is_used_up_fails_nothing(self):
        with self.front(lambda method, path: {"status": 429}) as front:
            boxes = self.verify(front)
        self.assertEqual(self.having(boxes, "error", measured=True), set(), boxes)
        self.assertEqual(self.having(boxes, "ok", measured=True), {"tls.protocol", "https.redirect"})
        self.assertIn("used up", boxes["websocket.handshake"]["message"])

    def test_metrics_are_looked_for_at_the_root_as_well(self):
        with Sandbox(ARAGORA_API_TOKEN=TOKEN, ARAGORA_TRUSTED_PROXIES="127.0.0.1") as sandbox, Daemon(sandbox, ARAGORA_BASE_PATH="/aragora", ARAGORA_IP_RATE_LIMIT="100000") as daemon:
            for root, status in (({"status": 200, "body": "# TYPE x counter\nx 1\n"}, "error"), ({"status": 302}, "not_verified"), ({"status": 404}, "ok")):
                with self.subTest(root), Front(daemon.port, self.authority.context(), lambda m, path: root if path == "/metrics" else None) as front:
                    document = self.sandbox.run_json("verify", "--url", f"https://localhost:{front.port}/aragora/", "--ca", self.authority.file, "--no-debate")
                    box, = (finding for finding in document["findings"] if finding["id"] == "metrics.private")
                    self.assertEqual(box["status"], status, box)

    def test_a_debate_without_rounds_is_none(self):
        with self.front(lambda method, path: {"replace": ('"rounds_used":1', '"rounds_usex":1')} if method == "GET" and re.match("/api/debates/.", path) else None) as front:
            self.assertEqual(self.verify(front)["debate.completed"]["status"], "error")

    def test_tls_that_breaks_whatever_is_spoken_refuses_nothing(self):
        class Broken:
            def wrap_socket(self, *_, **__):
                raise OSError

        def rule(method, path):
            if path == "/api/version":
                front.context = Broken()
        with self.front(rule) as front:
            box = self.verify(front, "--no-debate")["tls.protocol"]
        self.assertEqual(box["status"], "not_verified", box)

    def test_http_that_is_not_reached_is_not_http_that_nobody_answers(self):
        with Authority("both.example") as authority, Front(self.daemon.port, authority.context()) as front, Sandbox() as sandbox:
            for addresses, status in ((["127.0.0.1", "255.255.255.255"], "not_verified"), (["127.0.0.1", "127.0.0.2"], "ok")):
                sandbox.prefix = with_hosts(sandbox, [f"{address} both.example" for address in addresses])
                document = sandbox.run_json("verify", "--url", f"https://both.example:{front.port}", "--ca", authority.file, "--no-debate", "--http-port", free_port())
                box, = (finding for finding in document["findings"] if finding["id"] == "https.redirect")
                self.assertEqual(box["status"], status, box)


    def test_http_has_to_lead_to_the_same_host(self):
        for location, status in (("https://localhost.attacker.example/", "error"), ("https://localhost@attacker.example/", "error"), ("https://attacker@localhost/", "error"), ("http://localhost/", "error"), ("/", "error"), ("https://localhost/", "ok")):
            leads = lambda method, path: {"status": 301, "add": {"Location": location}}
            with self.subTest(location), self.front() as front, Front(None, rule=leads) as clear:
                self.assertEqual(self.verify(front, "--no-debate", clear=clear.port)["https.redirect"]["status"], status)

    def test_a_public_url_in_clear_is_for_this_machine_alone(self):
        for url, wrong in (("http://127.attacker.example", True), ("http://a.localhost:8080/x", True), ("http://[2001:db8::1]:8080", True), ("http://[::1]:8080/x", False), ("http://127.0.0.1:8080", False)):
            findings = self.sandbox.run_json("validate-env", "--offline", "--only", "https", ARAGORA_ENV="production", ARAGORA_BASE_URL=url)
            self.assertEqual("the public URL is not https" in json.dumps(findings), wrong, (url, findings))


class Hostile(World):
    """Servers that mean it."""

    def over_socket(self, speak):
        with Front(self.daemon.port, rule=lambda m, path: {"speak": speak} if path == "/ws" else None) as front:
            document = self.sandbox.run_json("verify", "--url", f"http://127.0.0.1:{front.port}", "--key-file", self.key)
        return {finding["id"]: finding for finding in document["findings"]}

    def test_a_socket_that_talks_for_ever_ends(self):
        def speak(socket):
            socket.say(type="connection_info")
            debate = socket.heard()["debate_id"]
            for seq, kind in enumerate(("debate_created", "debate_start", "debate_end"), 1):
                socket.say(type=kind, seq=seq, debate_id=debate)
            until = time.monotonic() + 60
            while time.monotonic() < until:
                socket.say(type="agent_message")
                time.sleep(0.2)
        started = time.monotonic()
        box = self.over_socket(speak)["websocket.delivery"]
        self.assertLess(time.monotonic() - started, 50)
        self.assertEqual(box["status"], "error")
        self.assertIn("was not answered within", box["message"])

    def test_no_events_of_the_debate_are_no_events_in_order(self):
        def ended(**more):
            def speak(socket):
                socket.say(type="connection_info")
                debate = socket.heard()["debate_id"]
                for frame in more.get("frames", ()):
                    socket.say(**{"debate_id": debate, **frame})
                while True:
                    if socket.heard()["type"] == "ping":
                        socket.say(type="pong")
            return speak
        end = {"type": "debate_end"}
        other = [{"type": kind, "seq": seq, "debate_id": "another"} for seq, kind in enumerate(("debate_start", "debate_end"), 1)]
        # What is none of the debate is not waited for long: an error ends it.
        for frames in ([end, {"type": "error"}], [*other, {"type": "error"}], [{**end, "seq": 1}]):
            with self.subTest(frames):
                self.assertEqual(self.over_socket(ended(frames=frames))["websocket.delivery"]["status"], "error")
        self.assertEqual(self.over_socket(lambda socket: socket.say(type="hello"))["websocket.handshake"]["status"], "error")

    def test_what_a_server_calls_an_id_stays_out_of_requests_and_terminals(self):
        for name in ("x HTTP/1.1\r\nX-Smuggled: 1\r\nX:", "\x1b[2J\x1b]0;owned\x07", "a\r\n\r\nDELETE", "../admin", "0" * 25):
            created = json.dumps({"debate_id": name})
            rule = lambda method, path: {"status": 200, "body": created} if (method, path) == ("POST", "/api/debates") else {"status": 404, "body": json.dumps({"error": name})} if path == "/api/leaderboard" else None
            with self.subTest(name), Front(self.daemon.port, rule=rule) as front:
                result = self.sandbox.run("verify", "--url", f"http://127.0.0.1:{front.port}", "--key-file", self.key, check=1)
                self.assertNotIn("Smuggled", "".join(front.heads))
                self.assertFalse([head for head in front.heads if re.match("[A-Z]+ /api/debates/", head)], "nothing is asked of it")
                self.assertNotRegex(result.stdout + result.stderr, "[\x00-\x09\x0b-\x1f\x7f]")


class Trust(World):
    def test_no_name_but_localhost_is_this_machine(self):
        with Front(self.daemon.port) as front, Sandbox() as sandbox:
            key = sandbox.write("key", TOKEN)
            sandbox.prefix = with_hosts(sandbox, ["127.0.0.1 127.attacker.example evil.localhost 127.0.0.1.attacker.example", "192.0.2.1 localhost"])
            for name in ("127.attacker.example", "evil.localhost", "127.0.0.1.attacker.example"):
                result = sandbox.run("verify", "--url", f"http://{name}:{front.port}", "--key-file", key, check=1)
                self.assertIn("not encrypted", result.stdout)
            self.assertIn("not one of this machine", sandbox.run("verify", "--url", f"http://localhost:{front.port}", "--key-file", key, check=69).stdout)
            self.assertTrue(front.heads)
            self.assertNotIn(TOKEN, "".join(front.heads))
            sandbox.run("verify", "--url", f"http://[::ffff:127.0.0.1]:{front.port}", "--key-file", key, "--no-debate")
            self.assertIn(TOKEN, "".join(front.heads))

    def test_a_key_that_others_can_read_is_named(self):
        with tempfile.NamedTemporaryFile("w", dir="/tmp") as file, Front(self.daemon.port) as front:
            os.chmod(file.name, 0o644)
            print(TOKEN, file=file, flush=True)
            result = self.sandbox.run("verify", "--quick", "--url", f"http://127.0.0.1:{front.port}", "--key-file", file.name)
            self.assertIn("others can read", result.stderr)
            self.assertIn(result.returncode, (0, 78), "in a container it is a warning")

    def test_without_a_key_nothing_that_needs_one_is_passed(self):
        with self.front() as front:
            boxes = self.verify(front, key=False)
        self.assertEqual({name for name, box in boxes.items() if box["status"] == "not_verified"},
                         {*OF_DEBATE, "websocket.delivery", "latency.debates", "latency.create", "latency.leaderboard"})
        self.assertIn("needs a key", boxes["debate.completed"]["message"])

    def test_a_key_that_is_wrong_fails(self):
        with self.front() as front:
            boxes = self.verify(front, "--key-file", self.sandbox.write("wrong", "0" * 64), key=False)
        self.assertEqual(boxes["debate.completed"]["status"], "error")

    def test_a_host_that_is_not_verified_is_told_nothing(self):
        for how in ({"ca": False}, {"clock": "+3d"}):
            with self.subTest(**how), self.front() as front:
                boxes = self.verify(front, **how)
                self.assertEqual(front.heads, [])
            self.assertEqual(self.having(boxes, "error", True), {"tls.certificate"})
            self.assertEqual(self.having(boxes, "not_verified", True), set(boxes) - {"tls.certificate"})
            self.assertIn("it expired" if "clock" in how else "authority of a test", boxes["tls.certificate"]["message"])

    def test_a_key_is_not_sent_in_clear_to_another_machine(self):
        with Front(self.daemon.port, host="0.0.0.0") as front:
            result = self.sandbox.run("verify", "--url", f"http://0.0.0.0:{front.port}", "--key-file", self.key, check=1)
            self.assertIn("not encrypted", result.stdout)
            self.assertTrue(front.heads)
            self.assertNotIn(TOKEN, "".join(front.heads))

    def test_a_key_comes_from_a_file_or_the_environment(self):
        with self.front() as front:
            url = f"https://localhost:{front.port}"
            for wrong in ("/no/such", self.sandbox.write("empty", "\n"), self.sandbox.write("two", TOKEN + "\r\nX-Other: 1\n")):
                self.sandbox.run("verify", "--url", url, "--key-file", wrong, check=78)
            self.assertEqual(front.heads, [])
            result = self.sandbox.run("verify", "--url", url, "--ca", self.authority.file, "--no-debate", ARAGORA_VERIFY_KEY=TOKEN)
            self.assertIn(TOKEN, "".join(front.heads))
            self.assertNotIn(TOKEN, result.stdout + result.stderr)
        for words in (["--url", "localhost"], ["--url", "ftp://x"], ["--url", "https://u:p@x"], ["--quick"], ["--url", "https://x", "--http-port", "0"]):
            self.sandbox.run("verify", *words, check=64)

    def test_old_protocols_and_http_that_leads_nowhere(self):
        old = self.authority.context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        with Front(self.daemon.port, old) as front, Front(self.daemon.port) as clear:
            boxes = self.verify(front, "--no-debate", clear=clear.port)
            self.assertEqual(self.having(boxes, "error"), {"tls.protocol", "https.redirect"})
            boxes = self.verify(front, "--no-debate", clear=free_port())
            self.assertEqual((boxes["https.redirect"]["status"], boxes["https.redirect"]["message"]), ("ok", "nothing answers HTTP"))


class Quick(World):
    def test_it_asks_for_health_and_readiness_alone_and_needs_nothing(self):
        with Front(self.daemon.port) as front:
            result = subprocess.run([BINARY, "verify", "--quick", "--url", f"http://127.0.0.1:{front.port}"], env={"ARAGORA_CONFIG": "/no/such"}, capture_output=True, text=True, timeout=20)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            self.assertEqual([head.split(" ")[1] for head in front.heads], ["/api/health", "/api/ready"])
        self.assertIn("The deployment is up", result.stdout)

    def test_unreachable_is_69_and_unhealthy_is_1(self):
        quick = lambda port: self.sandbox.run("verify", "--quick", "--url", f"http://127.0.0.1:{port}").returncode
        port = free_port()
        self.assertEqual(quick(port), 69)
        said = self.sandbox.run("verify", "--quick", "--url", f"http://127.0.0.1:{port}").stdout
        for part in (f"nothing listens at http://127.0.0.1:{port} (--url)", "start it: systemctl start aragora"):
            self.assertIn(part, said)
        for rule in (lambda m, path: {"replace": ("healthy", "poorly!")}, lambda m, path: {"status": 503} if path == "/api/ready" else None, lambda m, path: {"status": 200, "body": "hello"}):
            with Front(self.daemon.port, rule=rule) as front:
                self.assertEqual(quick(front.port), 1)

    def test_silence_ends_in_seconds(self):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            started = time.monotonic()
            self.sandbox.run("verify", "--quick", "--url", f"http://127.0.0.1:{mute.getsockname()[1]}", check=69)
        self.assertLess(time.monotonic() - started, 15)


class Interrupted(World):
    def interrupted(self, then):
        with Front(self.daemon.port, rule=lambda m, path: {"delay": 30} if m == "GET" and re.match("/api/debates/.", path) else None) as front:
            process = subprocess.Popen([BINARY, "verify", "--url", f"http://127.0.0.1:{front.port}", "--key-file", self.key], env=self.sandbox.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            deadline = time.monotonic() + 30
            while not any(re.match("GET /api/debates/", head) for head in front.heads):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
            front.rule = then
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130, said)
        return said

    def test_a_signal_ends_it_and_the_debate_is_deleted_or_named(self):
        self.assertIn("removed the test debate", self.interrupted(lambda m, path: None))
        self.assertEqual(self.debates(), 0)
        said = self.interrupted(lambda m, path: {"status": 500} if m == "DELETE" else None)
        listed = self.daemon.get("/api/debates", Authorization=f"Bearer {TOKEN}")[1]["debates"]
        self.assertIn(f"may still be there: the test debate {listed[0]['debate_id']}", said)


if __name__ == "__main__":
    main()
