"""What the daemon says in its log: a line a request, of which request and debate a line is, as text, as JSON and as fields of the journal;
and that nobody waits for whoever reads it."""
import contextlib
import json
import os
import re
import secrets
import select
import socket
import subprocess
import threading
import time
import unittest

from support import BINARY, SOURCE, Daemon, Sandbox, free_port
from test_debates import KEY, slow_endpoint


def until(condition, limit=20):
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def lines_with(daemon, text):
    return [line for line in daemon.text().splitlines() if text in line]


class Text(unittest.TestCase):
    def test_a_request_has_one_line_without_path_query_and_tokens(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            token, identity = secrets.token_urlsafe(32), "trace-" + secrets.token_hex(8)
            asked = {"X-Request-ID": identity, "Authorization": f"Bearer {token}", "Cookie": f"session={token}"}
            status, _, body = daemon.request("GET", "/api/debates?limit=3", headers=asked)
            line = until(lambda: lines_with(daemon, identity))
            self.assertEqual(len(line), 1, line)
            self.assertRegex(line[0], rf"^\S+Z info    GET /api/debates {status} {len(body)} B \d+\.\d ms 127\.0\.0\.1 request={identity}$")
            for method, path in (("GET", "/api/debates/no-such-thing"), ("GET", "/nowhere/at-all"), ("PUT", "/api/health"), ("HEAD", "/api/health"), ("GET", f"/ws?token={token}")):
                daemon.request(method, path, headers={"X-Request-ID": identity + path.replace("/", ".").split("?")[0] + method})
            said = until(lambda: (found := lines_with(daemon, identity)) and len(found) == 6 and found)
            text = "\n".join(said)
            for expected in ("GET /api/debates/{id} 404 ", "GET unmatched 404 ", "PUT /api/health 405 ", "HEAD /api/health 200 0 B ", "GET /ws 4"):
                self.assertIn(expected, text)
            self.assertNotIn("no-such-thing\n", text)
            self.assertNotIn(token, daemon.text())
            self.assertNotIn("limit=3", daemon.text())

    def test_an_identity_that_looks_like_a_secret_is_not_taken(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            secret = "sk-" + secrets.token_hex(24)
            _, headers, _ = daemon.request("GET", "/api/health", headers={"X-Request-ID": secret})
            self.assertNotIn(secret, str(headers))
            until(lambda: lines_with(daemon, headers["x-request-id"]))
            self.assertNotIn(secret, daemon.text())

    def test_access_lines_can_be_left_out_and_are_of_level_info(self):
        for setting in ({"ARAGORA_LOG_ACCESS": "false"}, {"ARAGORA_LOG_LEVEL": "warning"}):
            with Sandbox() as sandbox, Daemon(sandbox, **setting) as daemon:
                daemon.get("/api/health")
                daemon.stop()
                self.assertEqual(lines_with(daemon, "/api/health"), [])


class Json(unittest.TestCase):
    def test_the_request_is_in_every_line_of_it_of_its_debate_and_of_the_calls_of_providers(self):
        closed = free_port()
        environment = {"ARAGORA_LOG_FORMAT": "json", "ARAGORA_LOG_LEVEL": "debug", "OPENAI_API_KEY": "sk-" + secrets.token_hex(20), "OPENAI_BASE_URL": f"http://127.0.0.1:{closed}/v1",
                       "ARAGORA_CALL_TIMEOUT_SECONDS": "2"}
        with Sandbox() as sandbox, Daemon(sandbox, **environment) as daemon:
            identity = "order-" + secrets.token_hex(8)
            status, created = daemon.post("/api/debates", {"task": "Which one?", "agents": ["openai", "demo", "demo"], "rounds": 0}, **{"X-Request-ID": identity})
            self.assertEqual(status, 200, created)
            daemon.wait_finished(created["debate_id"], 60)
            daemon.stop()
            lines = [json.loads(line) for line in daemon.text().splitlines()]
            access = [line for line in lines if line.get("event") == "access" and line["request_id"] == identity]
            self.assertEqual(len(access), 1)
            self.assertEqual({k: access[0][k] for k in ("level", "method", "route", "status", "client")},
                             {"level": "info", "method": "POST", "route": "/api/debates", "status": 200, "client": "127.0.0.1"})
            self.assertGreater(access[0]["bytes"], 10)
            self.assertGreater(access[0]["duration_seconds"], 0)
            of_debate = [line for line in lines if line.get("debate_id") == created["debate_id"]]
            self.assertTrue([line for line in of_debate if "did not answer" in line["message"]], lines)
            self.assertTrue([line for line in of_debate if "answered" in line["message"] and "demo" in line["message"]])
            ended = [line for line in of_debate if line.get("event") == "debate_ended"]
            self.assertEqual(len(ended), 1, of_debate)
            self.assertEqual({line.get("request_id") for line in of_debate}, {identity})
            events = {line.get("event") for line in lines}
            self.assertLessEqual({"started", "stopping", "stopped", "access", "debate_ended"}, events)
            self.assertNotIn(identity, json.dumps(daemon_events(sandbox, created["debate_id"])), "clients do not see it in events")

    def test_a_debate_that_another_start_goes_on_with_keeps_its_request(self):
        with Sandbox(ARAGORA_LOG_FORMAT="json") as sandbox:
            identity = "order-" + secrets.token_hex(8)
            with slow_endpoint(0.3) as endpoint:
                sandbox.environment |= {"OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": KEY}
                with Daemon(sandbox) as daemon:
                    _, created = daemon.post("/api/debates", {"task": "Which one?", "agents": ["openai", "openai"], "rounds": 1}, **{"X-Request-ID": identity})
                    until(lambda: endpoint.times)
                    daemon.kill()
                daemon = self.enterContext(Daemon(sandbox))
                daemon.wait_finished(created["debate_id"], 40)
                line = until(lambda: [json.loads(x) for x in lines_with(daemon, "debate_ended")])
                daemon.stop()
            self.assertEqual((line[0]["debate_id"], line[0]["request_id"]), (created["debate_id"], identity))


def daemon_events(sandbox, debate_id):
    with Daemon(sandbox, ARAGORA_LOG_FORMAT="json") as daemon:
        return daemon.get(f"/api/debates/{debate_id}/events")[1]


class Journal:
    """Stands for /run/systemd/journal/socket, in a mount namespace of the daemon's; stderr is what $JOURNAL_STREAM names."""

    def __init__(self, sandbox):
        self.run = sandbox.directory / "run"
        (self.run / "systemd/journal").mkdir(parents=True)
        self.path = self.run / "systemd/journal/socket"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind(str(self.path))
        self.entries = []
        script = 'mount --bind "$1" /run && shift && export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) && exec "$@"'
        sandbox.prefix = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-m", "--propagation", "private", "sh", "-c", script, "sh", str(self.run)]

    def read(self):
        while select.select([self.socket], [], [], 0)[0]:
            text = self.socket.recv(1 << 18).decode()
            assert text.endswith("\n"), text
            self.entries.append(dict(line.split("=", 1) for line in text.splitlines()))
        return self.entries

    def of(self, **wanted):
        return [entry for entry in self.read() if wanted.items() <= entry.items()]

    def close(self):
        self.socket.close()
        self.path.unlink()


class Fields(unittest.TestCase):
    def test_the_journal_has_fields_and_stderr_what_it_cannot_take(self):
        with Sandbox() as sandbox:
            journal = Journal(sandbox)
            with Daemon(sandbox) as daemon:
                started = until(lambda: journal.of(ARAGORA_EVENT="started"))[0]
                self.assertEqual((started["PRIORITY"], started["SYSLOG_IDENTIFIER"]), ("6", "aragora"))
                self.assertRegex(started["MESSAGE_ID"], "^[0-9a-f]{32}$")
                _, created = daemon.post("/api/debates", {"task": "Which one?", "agents": ["demo", "demo"], "rounds": 0}, **{"X-Request-ID": "order-1"})
                daemon.wait_finished(created["debate_id"])
                ended = until(lambda: journal.of(ARAGORA_EVENT="debate_ended"))[0]
                self.assertEqual((ended["ARAGORA_REQUEST_ID"], ended["ARAGORA_DEBATE_ID"]), ("order-1", created["debate_id"]))
                access = until(lambda: journal.of(ARAGORA_EVENT="access", ARAGORA_REQUEST_ID="order-1"))[0]
                self.assertEqual((access["ARAGORA_METHOD"], access["ARAGORA_ROUTE"], access["ARAGORA_STATUS"], access["ARAGORA_CLIENT"]), ("POST", "/api/debates", "200", "127.0.0.1"))
                self.assertRegex(access["MESSAGE"], r"^POST /api/debates 200 \d+ B ")
                journal.close()
                daemon.request("GET", "/api/health", headers={"X-Request-ID": "order-2"})
                until(lambda: "<6>GET /api/health 200 " in daemon.text())
                daemon.process.terminate()
                until(lambda: daemon.process.poll() is not None)
                self.assertIn("<6>stopped\n", daemon.text(), "the journal may not know any more whose it is: stderr has the last lines")
            manual = (SOURCE / "man/aragora-serve.8").read_text()
            documented = dict(re.findall(r"^\.It Li (\w+) Ta Li ([0-9a-f]{32})", manual, re.M))
            said = {entry["ARAGORA_EVENT"]: entry["MESSAGE_ID"] for entry in journal.entries if "MESSAGE_ID" in entry}
            self.assertLessEqual(said.items(), documented.items())
            table = (SOURCE / "common/base/log_events.cpp").read_text()
            names, identities = (dict(re.findall(rf'{{Event::(\w+), "({shape})"}}', table)) for shape in ("[a-z_]+", "[0-9a-f]{32}"))
            self.assertEqual(documented, {names[event]: identities[event] for event in identities})

    def test_priorities_are_those_of_syslog(self):
        with Sandbox() as sandbox:
            journal = Journal(sandbox)
            with Daemon(sandbox) as daemon:
                (sandbox.directory / "empty.toml").write_text("what is this\n")
                daemon.process.send_signal(1)
                self.assertEqual(until(lambda: journal.of(ARAGORA_EVENT="reload_refused"))[0]["PRIORITY"], "3")
            journal.close()


class NobodyReads(unittest.TestCase):
    def test_requests_are_answered_while_nobody_reads_and_what_was_left_out_is_counted(self):
        with Sandbox() as sandbox:
            port = free_port()
            process = subprocess.Popen([BINARY, "serve"], env={**sandbox.environment, "ARAGORA_PORT": str(port), "ARAGORA_IP_RATE_LIMIT": "0"}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                answered = until(lambda: asked(port, 1), 20)
                self.assertEqual(answered, 1)
                deadline = time.monotonic() + 60
                while not (left_out := dropped(port)):
                    self.assertEqual(asked(port, 2000), 2000)
                    self.assertLess(time.monotonic(), deadline, "a megabyte of lines was not enough")
                self.assertGreater(left_out, 0)
                started = time.monotonic()
                process.terminate()
                self.assertEqual(process.wait(20), 0)
                self.assertLess(time.monotonic() - started, 8)
            finally:
                process.kill()
                process.stderr.close()

    def test_lines_are_in_order_and_whole(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            threads = [threading.Thread(target=asked, args=(daemon.port, 500)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            daemon.stop()
            lines = daemon.text().splitlines()
            self.assertEqual(len(lines_with(daemon, "GET /api/health 200")), 2000)
            self.assertEqual([line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info|warning|error) ", line)], [])
            self.assertIn("stopped", lines[-1])


def asked(port, times):
    """How many of so many requests were answered, over one connection."""
    request = b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = 0
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for start in range(0, times, 50):
            batch = min(50, times - start)
            connection.sendall(request * batch)
            received = b""
            while received.count(b"HTTP/1.1 200") < batch or not received.endswith(b"}"):
                received += connection.recv(65536)
            answers += batch
    return answers


def dropped(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    return float(re.search(r"^aragora_log_dropped_total (\S+)$", text, re.M)[1])


if __name__ == "__main__":
    unittest.main()
