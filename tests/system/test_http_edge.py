"""The HTTP edge from outside: strict framing, limits, headers on every answer, slow clients, drain."""
import contextlib
import json
import sqlite3
import re
import socket
import threading
import time
import unittest

from support import Daemon, Sandbox, free_port, main

HOST = b"Host: x\r\n"


class HttpEdge(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox = Sandbox()
        cls.daemon = Daemon(cls.sandbox)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()
        cls.sandbox.__exit__()

    def status_of(self, data):
        received = self.daemon.raw(data, timeout=3)
        return int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1.1 ") else None

    def test_malformed_requests_are_refused_and_closed(self):
        get = b"GET /api/health HTTP/1.1\r\n"
        cases = {
            "no host": (get + b"\r\n", {400}),
            "two hosts": (get + HOST + HOST + b"\r\n", {400}),
            "space before colon": (get + b"Host : x\r\n\r\n", {400}),
            "obs-fold": (get + HOST + b"A: b\r\n c\r\n\r\n", {400}),
            "header without colon": (get + HOST + b"nonsense\r\n\r\n", {400}),
            "bare LF": (b"GET /api/health HTTP/1.1\nHost: x\n\n", {400, 505}),
            "NUL in a header": (get + HOST + b"A: b\0c\r\n\r\n", {400}),
            "length and chunked": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
            "two lengths": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", {400}),
            "negative length": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", {400}),
            "list of lengths": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Content-Length: 1,0\r\n\r\na", {400}),
            "a list of equal lengths": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Content-Length: 2, 2\r\n\r\nab", {400}),
            "a first coding that is empty": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", {400}),
            "an empty coding alone": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\r\n\r\n", {400}),
            "codings over two lines": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
            "folded with a tab": (get + HOST + b"A: b\r\n\tc\r\n\r\n", {400}),
            "a length with a plus": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Content-Length: +2\r\n\r\nab", {400}),
            "a long chunk extension": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2;a=" + b"b" * 200_000 + b"\r\n{}\r\n0\r\n\r\n", {400}),
            "a chunk extension of a line": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2;a=" + b"b" * 300 + b"\r\n{}\r\n0\r\n\r\n", {400}),
            "unknown coding": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", {400, 501}),
            "chunk size not hex": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", {400}),
            "coding in 1.0": (b"POST /api/debates HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
            "version 2.0": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", {400, 505}),
            "TRACE": (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", {405}),
            "CONNECT": (b"CONNECT x:1 HTTP/1.1\r\n" + HOST + b"\r\n", {400, 405}),
            "bad escape": (b"GET /api/%zz HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
            "long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", {414}),
            "large head": (get + HOST + b"A: " + b"b" * 40000 + b"\r\n\r\n", {431}),
            "many fields": (get + HOST + b"".join(b"A%d: b\r\n" % i for i in range(150)) + b"\r\n", {431}),
            "large body": (b"POST /api/debates HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999\r\n\r\n", {413}),
            "a user in the target": (b"GET http://a@x/api/health HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
            "no host in the target": (b"GET http:///api/health HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
            "no port in the target": (b"GET http://x:port/api/health HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
            "a broken Host behind a good target": (b"GET http://x/api/health HTTP/1.1\r\nHost: a b\r\n\r\n", {400}),
            "no Host behind a good target": (b"GET http://x/api/health HTTP/1.1\r\n\r\n", {400}),
            "a fragment": (b"GET /api/health#a HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
        }
        for name, (data, expected) in cases.items():
            with self.subTest(name):
                self.assertIn(self.status_of(data), expected)

    def test_a_host_is_one_in_whatever_form_the_target_is(self):
        get = b"GET /api/health HTTP/1.%d\r\nHost: %s\r\n\r\n"
        for host in (b"", b"a b", b"a/../b", b"a@b", b"a/b", b"a?b", b"a#b", b"a\\b", b"a<b", b'a"b', b"a|b", b"a^b", b"{a}", b"http://a", b"a:b", b"a:80:80", b"a:65536", b"a:0", b"a:-1", b"a: 80", b":80",
                     b"a,b c", b"a%", b"a%2", b"a%zz", b"\xc3\xa4", b"[::1", b"::1", b"[]", b"[::1]x", b"[::1]:x", b"[127.0.0.1]", b"[fe80::1%eth0]", b"[::g]", b"[[::1]]", b"a" * 256):
            for version in (0, 1):
                self.assertEqual(self.status_of(get % (version, host)), 400, host)
        for host in (b"a", b"A.example", b"a:80", b"a:", b"127.0.0.1:65535", b"[::1]", b"[2001:db8::7]:8080", b"[::ffff:192.0.2.1]", b"a_b-c~d.e", b"xn--mnchen-3ya.de", b"a%20b", b"a" * 255):
            self.assertIn(b"HTTP/1.1 200", self.daemon.raw(get.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % (1, host)), host)

    def test_the_target_says_which_host_is_meant(self):
        body = b'{"task": "where", "rounds": 0}'
        for target, host in ((b"http://other.example:8080/api/debates", "other.example:8080"), (b"HTTPS://[::1]:/api/debates", "[::1]"), (b"/api/debates", "x")):
            answer = self.daemon.raw(b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (target, len(body), body))
            self.assertEqual(json.loads(answer.split(b"\r\n\r\n", 1)[1])["websocket_url"].split("/")[2], host)
        for target in (b"http://y?a=b", b"http://y"):
            self.assertEqual(self.status_of(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target), 404)

    def test_what_is_one_value_is_sent_once(self):
        for name in ("Authorization", "Content-Type", "Idempotency-Key", "Origin", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Host", "Content-Length"):
            for first, second in (("a", "a"), ("a", "b"), ("", "a"), ("a", "")):
                lines = f"{name}: {first}\r\nX-Between: y\r\n{name.lower()}: {second}\r\n"
                answer = self.daemon.raw(f"GET /api/health HTTP/1.1\r\n{'' if name == 'Host' else 'Host: x' + chr(13) + chr(10)}{lines}\r\n".encode(), timeout=3)
                self.assertTrue(answer.startswith(b"HTTP/1.1 400"), (name, first, second, answer[:100]))
                self.assertIn(name.encode(), answer)
        # A list may be spread over lines; an id of which there are two is none.
        answer = self.daemon.raw(b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-Request-ID: one\r\nX-Request-ID: two\r\nAccept: a/b\r\nAccept: c/d\r\nConnection: close\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"))
        self.assertNotRegex(answer.lower(), rb"x-request-id: (one|two)\r")

    def test_an_idempotency_key_that_is_sent_is_one(self):
        for key, said in (("", "is empty"), ("  ", "is empty"), ("k" * 256, "longer than 255"), ("\u00e4", "printable ASCII")):
            answer = self.daemon.raw(f"POST /api/debates HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIdempotency-Key: {key}\r\nContent-Length: 13\r\n\r\n".encode() + b'{"task": "x"}')
            self.assertTrue(answer.startswith(b"HTTP/1.1 400"), answer[:200])
            self.assertIn(said, json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"])

    def test_trailers_are_no_part_of_the_head(self):
        """Beast adds them to it: a key in them made a WebSocket of a request that had none."""
        key, chunked = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Transfer-Encoding: chunked\r\n"
        head = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        self.assertNotIn(b" 101 ", self.daemon.raw(head + chunked + b"\r\n0\r\n" + key + b"\r\n", timeout=1))
        # Nor do they make one of a request that is good without them any worse, or any other.
        answer = self.daemon.raw(head + key + chunked + b"\r\n0\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nUpgrade: h2c\r\nConnection: close\r\n\r\n", timeout=1)
        self.assertIn(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", answer)  # of the key in RFC 6455, section 1.3
        body, post = b'{"task": "trailers", "rounds": 0}', b"POST /api/debates HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        answer = self.daemon.raw(post + chunked + b"\r\n%x\r\n%s\r\n0\r\nContent-Type: text/plain\r\nIdempotency-Key: t-1\r\nIdempotency-Key: t-1\r\nHost: y\r\n\r\n" % (len(body), body))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)
        self.assertNotIn(b"//y/", answer)

    def test_trailers_of_any_size_end_no_more_than_their_connection(self):
        """One anonymous request ended the daemon: Beast throws where a field finds no room."""
        head = b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        for target in (b"GET /api/health", b"POST /api/debates", b"POST /api/auth/login", b"GET /ws"):
            for size in (20_000, 65_533, 65_534, 70_000, 1_000_000):
                for trailer in (b"X: " + b"y" * size, b"y" * size + b": x", b"X: y\r\n" * (size // 6)):
                    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                        answer = self.daemon.raw(target + head + b"0\r\n" + trailer + b"\r\n\r\n")
                        self.assertIn(answer[:12], (b"HTTP/1.1 413", b"HTTP/1.1 400"), (target, size, trailer[:10]))
        self.assertIsNone(self.daemon.process.poll())
        # Slowly: nothing is read ahead of.
        with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10) as connection:
            connection.sendall(b"GET /api/health" + head + b"0\r\n")
            with contextlib.suppress(OSError):
                for _ in range(30):
                    connection.sendall(b"X: " + b"y" * 4000)
                    time.sleep(0.002)
            self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 400"))
        # What small ones say changes nothing: the connection stays, and the next request on it is the next one.
        answers = self.daemon.raw((b"GET /api/health" + head + b"3\r\nabc\r\n0\r\nConnection: close\r\nX: y\r\n\r\n") * 2, timeout=2)
        self.assertEqual(answers.count(b"HTTP/1.1 200"), 2)

    def test_an_unread_body_is_never_the_next_request(self):
        smuggled = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
        received = self.daemon.raw(b"POST /api/nothing HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(smuggled) + smuggled)
        self.assertEqual(received.count(b"HTTP/1.1 "), 1)
        self.assertIn(b"404", received.split(b"\r\n")[0])
        self.assertIn(b"Connection: close", received)

    def test_pipelined_requests_are_all_answered_in_order(self):
        one = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
        received = self.daemon.raw(one * 4 + b"GET /api/nothing HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        self.assertEqual(re.findall(rb"HTTP/1\.1 (\d+)", received), [b"200"] * 4 + [b"404"])

    def test_head_is_get_without_a_body_everywhere(self):
        for path in ("/api/health", "/api/debates", "/api/leaderboard", "/metrics", "/api/openapi.json"):
            _, get_headers, body = self.daemon.request("GET", path)
            status, headers, head_body = self.daemon.request("HEAD", path)
            self.assertEqual((status, head_body), (200, b""), path)
            self.assertGreater(int(headers["content-length"]), 0)
            self.assertEqual(headers["content-type"], get_headers["content-type"])

    def test_security_headers_and_request_id_stand_on_every_answer(self):
        for method, path in (("GET", "/api/health"), ("GET", "/api/nothing"), ("DELETE", "/api/debates"), ("POST", "/api/debates")):
            _, headers, _ = self.daemon.request(method, path)
            for name in ("content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy", "x-request-id", "vary", "date"):
                self.assertIn(name, headers, f"{method} {path}")
            self.assertNotIn("unsafe-eval", headers["content-security-policy"])
        _, headers, _ = self.daemon.request("GET", "/api/health", headers={"X-Request-ID": "mine-1"})
        self.assertEqual(headers["x-request-id"], "mine-1")
        _, headers, _ = self.daemon.request("GET", "/api/health", headers={"X-Request-ID": "bad id <script>"})
        self.assertNotIn("script", headers["x-request-id"])

    def test_errors_have_one_shape(self):
        for method, path, body, code, status in (("GET", "/api/nothing", None, "NOT_FOUND", 404), ("GET", "/api/debates/none", None, "NOT_FOUND", 404),
                                                 ("PUT", "/api/debates", None, "METHOD_NOT_ALLOWED", 405), ("POST", "/api/debates", b"{", "INVALID_JSON", 400),
                                                 ("POST", "/api/debates", b"{}", "VALIDATION_ERROR", 400), ("POST", "/api/debates", b"[]", "VALIDATION_ERROR", 400),
                                                 ("GET", "/api/debates?limit=0", None, "VALIDATION_ERROR", 400), ("GET", "/api/debates?status=odd", None, "VALIDATION_ERROR", 400)):
            got, _, data = self.daemon.request(method, path, body, {"Content-Type": "application/json"})
            answer = json.loads(data)
            self.assertEqual((got, answer["code"]), (status, code), f"{method} {path}")
            self.assertIsInstance(answer["error"], str)
            self.assertIn("request_id", answer)
        status, _, data = self.daemon.request("POST", "/api/debates", b"x=1", {"Content-Type": "application/x-www-form-urlencoded"})
        self.assertEqual(status, 415)

    def test_each_status_has_a_code_of_its_own(self):
        head = lambda line, *more: "\r\n".join((line, "Host: x", *more, "", "")).encode()
        for sent, status, code in ((b"nonsense\r\n\r\n", 400, "BAD_REQUEST"), (head("TRACE / HTTP/1.1"), 405, "METHOD_NOT_ALLOWED"), (head("BREW / HTTP/1.1"), 501, "NOT_IMPLEMENTED"),
                                   (head("POST /api/debates HTTP/1.1", "Transfer-Encoding: gzip"), 501, "NOT_IMPLEMENTED"), (head("GET / HTTP/1.1", *(f"H{i}: x" for i in range(150))), 431, "HEADERS_TOO_LARGE"),
                                   (head("GET / HTTP/1.1", "Long: " + "x" * 40_000), 431, "HEADERS_TOO_LARGE"), (head("GET /" + "x" * 9000 + " HTTP/1.1"), 414, "URI_TOO_LONG"),
                                   (head("GET / HTTP/2.0"), 505, "HTTP_VERSION_NOT_SUPPORTED"), (head("GET /ws HTTP/1.1"), 426, "UPGRADE_REQUIRED"),
                                   (head("POST /api/auth/login HTTP/1.1", "Content-Length: 9000"), 413, "PAYLOAD_TOO_LARGE")):
            answer = self.daemon.raw(sent, timeout=1)
            self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), (sent[:60], answer[:200]))
            self.assertEqual(json.loads(answer[answer.index(b"\r\n\r\n"):])["code"], code, sent[:60])

    def test_no_label_is_what_a_client_made_up(self):
        head = b" /api/%b HTTP/1.1\r\nHost: %b\r\nUser-Agent: %b\r\nX-Request-ID: %b\r\nOrigin: https://%b\r\n\r\n"
        for number in range(200):
            made_up = b"MADEUP%d" % number
            for method in (made_up + b"X" * 20_000, b"GET", b"TRACE"):
                self.daemon.raw(method + head % ((made_up,) * 5) if method != b"GET" else b"GET" + head[:-2] % ((made_up,) * 5) + b"Connection: close\r\n\r\n")
        text = self.daemon.request("GET", "/metrics")[2].decode()
        self.assertLess(len(text), 1_000_000)
        self.assertNotIn("MADEUP", text)
        self.assertRegex(text, r'aragora_http_requests_total{endpoint="unmatched",handler="unmatched",method="other",status="501"} \d{3}')

    def test_an_empty_body_is_an_empty_object_and_does_not_hang(self):
        started = time.monotonic()
        status, _, data = self.daemon.request("POST", "/api/debates")
        self.assertEqual((status, json.loads(data)["code"]), (400, "VALIDATION_ERROR"))
        self.assertLess(time.monotonic() - started, 2)

    def test_cors_is_exact_and_preflights_are_answered(self):
        origin = "http://localhost:3000"
        status, headers, _ = self.daemon.request("OPTIONS", "/api/debates", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        self.assertEqual((status, headers["access-control-allow-origin"]), (204, origin))
        status, headers, _ = self.daemon.request("OPTIONS", "/api/debates", headers={"Origin": "https://evil.example"})
        self.assertEqual(status, 403)
        self.assertNotIn("access-control-allow-origin", headers)
        status, _, _ = self.daemon.request("POST", "/api/debates", {"task": "x"}, {"Origin": "https://evil.example"})
        self.assertEqual(status, 403)

    def test_slow_and_idle_clients_do_not_stop_the_others(self):
        idle = [socket.create_connection(("127.0.0.1", self.daemon.port)) for _ in range(300)]
        half = [socket.create_connection(("127.0.0.1", self.daemon.port)) for _ in range(100)]
        for connection in half:
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost:")
        try:
            for _ in range(20):
                started = time.monotonic()
                self.assertEqual(self.daemon.get("/api/health")[0], 200)
                self.assertLess(time.monotonic() - started, 1)
            # A head that takes longer than 10 s is told so and closed.
            half[0].settimeout(15)
            received = half[0].recv(100)
            self.assertTrue(received == b"" or received.startswith(b"HTTP/1.1 408"), received)
            # Whoever drips on meanwhile hears it, too: nothing is reset.
            for _ in range(3):
                half[1].sendall(b"x")
                time.sleep(0.02)
            half[1].settimeout(15)
            self.assertTrue(half[1].recv(100).startswith(b"HTTP/1.1 408"))
        finally:
            for connection in idle + half:
                connection.close()

    def test_the_same_idempotency_key_creates_once(self):
        body = {"task": "once", "rounds": 0}
        key = {"Idempotency-Key": "k-1"}
        first = self.daemon.request("POST", "/api/debates", body, key)
        again = self.daemon.request("POST", "/api/debates", body, key)
        self.assertEqual(json.loads(first[2])["debate_id"], json.loads(again[2])["debate_id"])
        self.assertEqual(again[1]["idempotent-replayed"], "true")
        self.assertEqual(self.daemon.request("POST", "/api/debates", {"task": "other"}, key)[0], 422)

    def test_lists_honour_limit_offset_and_status(self):
        for number in range(5):
            self.daemon.post("/api/debates", {"task": f"list {number}", "rounds": 0})
        _, page = self.daemon.get("/api/v1/debates?limit=2&offset=1")
        self.assertEqual((page["count"], page["limit"], page["offset"]), (2, 2, 1))
        self.assertEqual(page["items"], page["debates"])
        _, everything = self.daemon.get("/api/debates?limit=100")
        self.assertEqual([d["id"] for d in page["debates"]], [d["id"] for d in everything["debates"]][1:3])
        self.assertEqual(everything["total"], len(everything["debates"]))

    def test_a_cancelled_debate_says_so_and_a_finished_one_conflicts(self):
        _, created = self.daemon.post("/api/debates", {"task": "x", "rounds": 0})
        self.daemon.wait_finished(created["debate_id"])
        self.assertEqual(self.daemon.post(f"/api/debates/{created['debate_id']}/cancel")[0], 409)

    def test_metrics_are_in_the_exposition_format(self):
        self.daemon.get("/api/health")
        _, headers, body = self.daemon.request("GET", "/metrics")
        text = body.decode()
        self.assertTrue(headers["content-type"].startswith("text/plain"))
        for name in ("aragora_http_requests_total", "aragora_http_request_duration_seconds_bucket", "aragora_websocket_connections", "aragora_active_debates", "process_resident_memory_bytes", "aragora_build_info"):
            self.assertIn("\n" + name, text)
        self.assertNotIn("Undocumented", text)


class Stopping(unittest.TestCase):
    def test_sigterm_finishes_requests_and_exits_zero(self):
        with Sandbox() as sandbox:
            daemon = Daemon(sandbox)
            failures = []
            stop = threading.Event()

            def client():
                while not stop.is_set():
                    try:
                        status, _, _ = daemon.request("GET", "/api/debates")
                        if status not in (200, 503):
                            failures.append(status)
                    except ConnectionRefusedError:
                        return
                    except OSError as error:
                        failures.append(error)
                        return

            clients = [threading.Thread(target=client) for _ in range(4)]
            for thread in clients:
                thread.start()
            time.sleep(0.3)
            self.assertEqual(daemon.stop(), 0)
            stop.set()
            for thread in clients:
                thread.join()
            # A connection that was accepted and had sent nothing may be closed; an answer is never cut short.
            self.assertEqual([f for f in failures if not isinstance(f, ConnectionResetError)], [])

    def test_a_second_daemon_on_the_same_data_is_refused(self):
        with Sandbox() as sandbox, Daemon(sandbox):
            result = sandbox.run("serve", check=75, ARAGORA_PORT="0")
            self.assertIn("another daemon uses", result.stderr)

    def test_reload_applies_what_it_says(self):
        with Sandbox() as sandbox:
            config = sandbox.write("aragora.toml", "[server]\nallowed_origins = [\"https://one.example\"]\n")
            with Daemon(sandbox, ARAGORA_CONFIG=str(config)) as daemon:
                allowed = lambda origin: daemon.request("OPTIONS", "/api/debates", headers={"Origin": origin})[0] == 204
                self.assertTrue(allowed("https://one.example"))
                config.write_text("[server]\nallowed_origins = [\"https://two.example\"]\n")
                daemon.process.send_signal(1)
                deadline = time.monotonic() + 5
                while not allowed("https://two.example") and time.monotonic() < deadline:
                    time.sleep(0.05)
                self.assertTrue(allowed("https://two.example"))
                self.assertFalse(allowed("https://one.example"))
                config.write_text("[log]\nlevel = \"loud\"\n")
                daemon.process.send_signal(1)
                time.sleep(0.5)
                self.assertTrue(allowed("https://two.example"), "a broken file changes nothing")


class Requests(unittest.TestCase):
    def test_what_is_not_understood_is_refused_and_named(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            status, body = daemon.get("/api/debates?agent=nobody")
            self.assertEqual(status, 400)
            self.assertIn("agent", body["error"])
            for known in ("limit", "offset", "status"):
                self.assertIn(known, body["hint"])
            self.assertEqual(daemon.get("/api/leaderboard?season=x")[0], 400)
            self.assertEqual(daemon.get("/api/debates?limit=5000")[1]["limit"], 100, "clamped")
            self.assertEqual(daemon.get("/api/debates?limit=99999999999999999999999")[1]["limit"], 100)
            for bad in ("0", "-1", "x", "1.5", "%31x"):
                self.assertEqual(daemon.get(f"/api/debates?limit={bad}")[0], 400, bad)
            for value in ("schl\u00fcssel", "a\x7f", "a\tb"):
                self.assertEqual(daemon.request("POST", "/api/debates", {"task": "t"}, {"Idempotency-Key": value.encode("latin-1").decode("latin-1")})[0], 400, ascii(value))

    def test_a_limit_in_characters_counts_characters(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            self.assertEqual(daemon.post("/api/debates", {"task": "\u8ad6" * 40_000, "rounds": 0})[0], 200)
            status, body = daemon.post("/api/debates", {"task": "\u8ad6" * 100_001})
            self.assertEqual(status, 400)
            self.assertIn("100001 characters", body["error"])

    def test_head_and_body_in_two_writes_are_answered_at_once(self):
        """A kernel that delays its acknowledgement makes the client's Nagle wait for 40 ms."""
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            times = []
            with socket.create_connection(("127.0.0.1", daemon.port), timeout=5) as client:
                for _ in range(25):
                    began = time.monotonic()
                    client.sendall(b"POST /api/auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n")
                    client.sendall(b"{}")
                    self.assertIn(b" 400 ", client.recv(65536))
                    times.append(time.monotonic() - began)
            self.assertLess(sorted(times)[5], 0.030, times)  # the machine may be busy, but not always

    def test_an_error_of_the_database_is_ours_alone(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            with contextlib.closing(sqlite3.connect(sandbox.directory / "state" / "aragora.db", timeout=20)) as database, database:
                database.execute("ALTER TABLE debates RENAME TO hidden_debates")
            for method, path, body in (("GET", "/api/debates/x", None), ("POST", "/api/debates", {"task": "t"}), ("GET", "/api/debates?offset=1", None)):
                status, _, answer = daemon.request(method, path, body)
                self.assertGreaterEqual(status, 500, (path, answer))
                for inside in (b"SQL", b"hidden", b"table", b"aragora.db"):
                    self.assertNotIn(inside, answer)
            self.assertIn("no such table", daemon.text())


class Access(unittest.TestCase):
    def test_anonymous_access_exists_in_development_on_loopback_only(self):
        for environment, host in (("staging", "127.0.0.1"), ("test", "127.0.0.1"), ("development", "0.0.0.0"), ("staging", "0.0.0.0")):
            with self.subTest(f"{environment} on {host}"), Sandbox(ARAGORA_ENV=environment, ARAGORA_BIND_HOST=host, ARAGORA_PORT=str(free_port())) as sandbox:
                refused = sandbox.run("serve", timeout=30)
                self.assertEqual(refused.returncode, 78, refused.stderr)
                self.assertIn("ARAGORA_API_TOKEN", refused.stderr)
                found = json.loads(sandbox.run("validate-env", "--offline", "--json").stdout)
                self.assertIn("access", [name for name, check in found["checks"].items() if check["status"] == "error"])
        with Sandbox(ARAGORA_ENV="staging", ARAGORA_API_TOKEN="0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d") as sandbox, Daemon(sandbox) as daemon:
            self.assertEqual(daemon.get("/api/debates")[0], 401)
            self.assertEqual(daemon.post("/api/debates", {"task": "t"})[0], 401)
            self.assertEqual(daemon.get("/api/debates", Authorization="Bearer 0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d")[0], 200)

    def test_the_description_says_who_may_call_what(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            paths = daemon.get("/api/openapi.json")[1]["paths"]
            for path, operations in paths.items():
                for method, operation in operations.items():
                    self.assertIn("x-permission", operation, f"{method} {path}: described, but no route of ours")
            self.assertEqual(paths["/api/debates"]["post"]["x-allowed"], ["member", "admin", "api_token"])
            self.assertEqual(paths["/api/admin/api-keys"]["get"]["x-allowed"], ["admin"])
            self.assertEqual((paths["/api/debates"]["post"].get("x-scope"), "x-scope" in paths["/api/auth/api-keys"]["post"]), ("write", False))
            # Whoever has no credentials is told so, whatever the route.
            for path, operations in paths.items():
                for method, operation in operations.items():
                    if path.startswith(("/api/auth/", "/api/admin/")) and operation["x-permission"] != "public":
                        self.assertEqual(daemon.request(method.upper(), path.replace("{id}", "x"), {} if method != "get" else None)[0], 401, f"{method} {path}")
            self.assertEqual(paths["/api/health"]["get"]["security"], [])

    def test_clients_behind_a_proxy_cannot_choose_their_address(self):
        with Sandbox() as sandbox, Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="10") as daemon:
            def ask(*lines):
                head = b"".join(b"X-Forwarded-For: %s\r\n" % line.encode() for line in lines)
                return int(daemon.raw(b"GET /api/debates HTTP/1.1\r\nHost: x\r\n" + head + b"Connection: close\r\n\r\n").split(b" ", 2)[1])
            codes = [ask(f"203.0.113.{number}", "198.51.100.7") for number in range(15)]
            self.assertEqual(codes, [200] * 10 + [429] * 5, "a proxy that appends a line")
            self.assertEqual([ask(f"198.51.100.8:{port}") for port in range(1000, 1012)], [200] * 10 + [429] * 2, "ports are no other client")
            self.assertEqual(ask("198.51.100.9:1000"), 200, "another client behind the same proxy")
            self.assertEqual(ask("[2001:db8::1]:443"), 200)
            self.assertEqual((ask("1" * 1100), ask(*["198.51.100.1"] * 40), ask("nobody")), (400, 400, 400))


class Production(unittest.TestCase):
    def test_rate_limit_answers_429_with_retry_after(self):
        with Sandbox() as sandbox, Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="5") as daemon:
            answers = [daemon.request("GET", "/api/debates") for _ in range(10)]
            self.assertEqual([a[0] for a in answers].count(429), 5)
            limited = [a for a in answers if a[0] == 429][0]
            self.assertGreaterEqual(int(limited[1]["retry-after"]), 1)
            self.assertEqual(json.loads(limited[2])["code"], "RATE_LIMITED")
            self.assertEqual(daemon.get("/api/health")[0], 200, "health is exempt")


if __name__ == "__main__":
    main()
