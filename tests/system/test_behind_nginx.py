"""Three instances behind nginx as deploy/nginx configures it: one service, whichever instance answers, comes or goes."""
import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
import unittest

import websockets

from proxies import HOST, Nginx, fetch
from support import Daemon, Sandbox, main, service
from test_debates import until
from test_sisters import create, sisters

@contextlib.contextmanager
def front(**how):
    with sisters(3, service("TEST_REDIS"), **how) as (endpoint, daemons), Nginx(daemon.port for daemon in daemons) as nginx:
        yield daemons, nginx


async def events(nginx, debate_id, since=0):
    """The numbers of events until the end of the debate or of the socket, and the code of its close."""
    numbers = []
    async with websockets.connect(**nginx.socket(f"debate_id={debate_id}&since={since}")) as connection:
        try:
            async for text in connection:
                frame = json.loads(text)
                numbers += [frame["seq"]] if "seq" in frame else []
                if frame["type"] == "debate_end":
                    return numbers, None
        except websockets.ConnectionClosed:
            pass
        return numbers, connection.close_code


async def to_the_end(nginx, debate_id, limit=60):
    """As a client does it that comes back: how often it was told that a server is going away, and every number."""
    seen, farewells = [], 0
    async with asyncio.timeout(limit):
        while True:
            try:
                numbers, code = await events(nginx, debate_id, seen[-1] if seen else 0)
            except (OSError, websockets.InvalidHandshake):
                await asyncio.sleep(0.05)
                continue
            seen += numbers
            if code is None:
                return seen, farewells
            farewells += code == 1001


class Load:
    """So many requests a second, every twentieth of which may create a debate, over connections that stay."""

    CLIENTS, RATE, LIMIT = 12, 300, 20

    def __init__(self, nginx, creates=True):
        self.nginx, self.creates, self.context, self.asked, self.failed, self.ending, self.began = nginx, creates, nginx.context(), 0, [], threading.Event(), time.monotonic()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.all_clients()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if not self.ending.is_set():
            self.took = time.monotonic() - self.began
        self.ending.set()
        self.thread.join()

    async def all_clients(self):
        await asyncio.gather(*(self.client(number) for number in range(self.CLIENTS)))

    async def client(self, number):
        connection, due, turn = None, time.monotonic() + number * 0.003, number
        while not self.ending.is_set():
            turn, due = turn + 1, max(due + self.CLIENTS / self.RATE, time.monotonic() - 1)
            try:
                async with asyncio.timeout(self.LIMIT):
                    connection = connection or await asyncio.open_connection("127.0.0.1", self.nginx.port, ssl=self.context, server_hostname=HOST)
                    status, stays = await self.ask(*connection, self.creates and turn % 20 == 0)
                if status != 200:
                    self.failed.append((round(time.monotonic() - self.began, 2), status))
            except (OSError, EOFError, asyncio.IncompleteReadError, ValueError) as error:
                self.failed.append((round(time.monotonic() - self.began, 2), repr(error)))
                stays = False
            self.asked += 1
            if not stays and connection:
                connection[1].close()
                connection = None
            await asyncio.sleep(max(0, due - time.monotonic()))

    async def ask(self, reader, writer, creates):
        body = json.dumps({"task": "x", "rounds": 0, "agents": ["demo-a", "demo-b"]}) if creates else ""
        head = f"POST /api/debates HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}" if creates else "GET /api/debates?limit=5 HTTP/1.1"
        writer.write(f"{head}\r\nHost: aragora\r\n\r\n{body}".encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(answer.split("content-length:")[1].split("\r\n")[0]))
        return int(answer.split()[1]), "connection: close" not in answer


class BehindNginx(unittest.TestCase):
    def test_whoever_creates_lists_and_streams_through_it_meets_one_service(self):
        async def streams(nginx, ids):
            return await asyncio.gather(*(to_the_end(nginx, debate_id) for debate_id in ids))

        with front() as (_, nginx):
            ids = []
            for _ in range(18):
                ids.append(create(nginx, rounds=1))
                listed = [debate["id"] for debate in nginx.get("/api/debates?limit=100")[1]["debates"]]
                self.assertIn(ids[-1], listed)
            for seen, _ in asyncio.run(streams(nginx, ids)):
                self.assertEqual(seen, list(range(1, len(seen) + 1)))

    def test_thirty_debates_of_a_killed_instance_are_completed_within_15_seconds_and_none_is_doubled(self):
        with front(pause=0.2) as (daemons, nginx):
            ids = [create(daemons[0], rounds=2) for _ in range(30)]
            running = [debate_id for debate_id in ids if nginx.get(f"/api/debates/{debate_id}")[1]["status"] != "completed"]
            self.assertGreater(len(running), 20, "they were over too soon")
            daemons[0].kill()
            killed = time.monotonic()
            for debate_id in ids:
                self.assertEqual(nginx.wait_finished(debate_id, 60)["status"], "completed")
            took = time.monotonic() - killed
            print(f"\n{len(running)} of 30 were under way, all completed {took:.1f} s after")
            self.assertLess(took, 15)
            listed = [debate["id"] for debate in nginx.get("/api/debates?limit=100")[1]["debates"]]
            self.assertEqual(sorted(listed), sorted(ids))
            for debate_id in ids:
                found = nginx.get(f"/api/debates/{debate_id}/events?limit=500")[1]["events"]
                self.assertEqual([event["seq"] for event in found], list(range(1, len(found) + 1)))
                said = [(event["type"], event["round"], event["agent"], event["data"].get("role")) for event in found]
                self.assertEqual(len(said), len(set(said)), "an event stands twice")
                self.assertEqual(found[-1]["type"], "debate_end")

    def test_a_rolling_restart_under_300_requests_a_second_fails_none_and_loses_no_event(self):
        async def watching(ids):
            return await asyncio.gather(*(to_the_end(nginx, debate_id, 120) for debate_id in ids))

        with front(pause=0.5) as (daemons, nginx), contextlib.ExitStack() as stack, Load(nginx) as load:
            watched = [create(nginx, rounds=10) for _ in range(6)]
            seen = []
            watcher = threading.Thread(target=lambda: seen.extend(asyncio.run(watching(watched))))
            watcher.start()
            for number, daemon in enumerate(daemons):
                time.sleep(1)
                daemon.stop()
                fresh = Daemon(daemon.sandbox, wait=False, ARAGORA_PORT=str(daemon.port))
                fresh.port = daemon.port
                stack.callback(fresh.stop)
                fresh.wait_ready()
                if number < 2:
                    time.sleep(2.5)  # nginx passes a server by for two seconds that did not answer once
            until(lambda: load.asked >= 6000, 60)
            load.end()
            watcher.join()
            print(f"\n{load.asked} requests, {load.asked / load.took:.0f} a second, {len(load.failed)} failed")
            self.assertEqual(load.failed, [])
            self.assertEqual(len(seen), len(watched))
            for numbers, _ in seen:
                self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
            self.assertGreater(sum(farewells for _, farewells in seen), 0, "no socket was told 1001")

    def test_a_killed_instance_fails_no_request_that_may_be_asked_twice(self):
        with front() as (daemons, nginx):
            create(nginx, rounds=0)
            with Load(nginx, creates=False) as load:
                until(lambda: load.asked >= 600, 60)
                asked = spread(nginx)
                self.assertEqual(set(asked), {str(daemon.port) for daemon in daemons})
                self.assertGreater(min(asked.values()), max(asked.values()) / 3, asked)
                daemons[1].kill()
                until(lambda: load.asked >= 2400, 60)
                load.end()
            print(f"\n{load.asked} requests, {len(load.failed)} failed; {spread(nginx)}")
            self.assertEqual(load.failed, [])

    def test_a_post_that_an_instance_took_is_given_to_no_other(self):
        """Instances that read what they are asked and hang up."""
        for method, tries in (("POST", 1), ("PATCH", 1), ("GET", 3)):
            with Rude() as first, Rude() as second, Rude() as third, Nginx([first.port, second.port, third.port]) as nginx:
                self.assertEqual(nginx.request(method, "/api/debates", {"task": "x"} if tries == 1 else None)[0], 502)
                self.assertEqual([*first.asked, *second.asked, *third.asked], [method.encode()] * tries)


def spread(nginx):
    """How many requests each instance was asked, by its port."""
    counted = {}
    for line in (nginx.directory / "aragora.log").read_text().splitlines():
        for port in [word.rsplit(":", 1)[1].rstrip(",") for word in line.rsplit('" ', 1)[1].split() if word.startswith("127.0.0.1:")]:
            counted[port] = counted.get(port, 0) + 1
    return counted


class Rude:
    def __init__(self):
        self.listener, self.asked = socket.create_server(("127.0.0.1", 0)), []
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client:
                    self.asked.append(client.recv(65536).split(b" ", 1)[0])


class Fences(unittest.TestCase):
    """What nginx keeps in and out; one daemon behind it, which counts."""

    TOKEN = "tok3n-that-must-be-written-nowhere-at-all"

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.environment = {"ARAGORA_API_TOKEN": cls.TOKEN, "ARAGORA_BEHIND_PROXY": "true"}
        cls.daemon = cls.stack.enter_context(Daemon(cls.stack.enter_context(Sandbox()), **cls.environment))
        cls.nginx = cls.stack.enter_context(Nginx([cls.daemon.port]))

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def test_metrics_lead_nowhere_however_they_are_written(self):
        self.assertIn(b"aragora_", self.daemon.request("GET", "/metrics/")[2])
        for path in ("/metrics", "/metrics/", "/%6detrics", "/metrics%2f", "//metrics", "/x/../metrics", "/api/v1/../../metrics", "/metrics?a=b", "/metrics%3fa", "/./metrics", "/metrics;a"):
            status, _, body = self.nginx.ask(path)
            self.assertEqual(status, 404, path)
            self.assertNotIn(b"aragora_", body.replace(b"aragora.", b""), path)

    def test_the_client_is_who_came_to_nginx_whatever_it_says(self):
        with Sandbox(**self.environment) as sandbox, Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="20") as limited, Nginx([limited.port]) as nginx:
            bearer = {"Authorization": f"Bearer {self.TOKEN}"}
            seen = []
            for turn in range(25):
                forged = {"X-Forwarded-For": f"203.0.113.{turn}", "Forwarded": f"for=203.0.113.{turn}", "X-Real-IP": f"203.0.113.{turn}"}
                seen.append(nginx.ask("/api/agents", source="127.0.0.2", **bearer, **forged)[0])
            self.assertEqual(seen, [200] * 20 + [429] * 5)
            self.assertEqual(nginx.ask("/api/agents", source="127.0.0.3")[0], 401, "another client, who was not counted yet")
            self.assertIn("max-age", nginx.ask("/healthz", source="127.0.0.3")[1]["strict-transport-security"], "the daemon does not know that the client speaks TLS")

    def test_bodies_are_as_long_as_the_daemon_takes_them_and_no_longer(self):
        bearer = {"Authorization": f"Bearer {self.TOKEN}"}
        for size, statuses in ((1 << 20, (400,)), ((1 << 20) + 1, (413,))):
            body = json.dumps({"task": "x"}).encode()
            body += b" " * (size - len(body))
            headers = {**bearer, "Content-Type": "application/json"}
            self.assertEqual(self.daemon.request("POST", "/api/debates", body, headers)[0] == 413, statuses == (413,))
            self.assertEqual(self.nginx.request("POST", "/api/debates", body, headers)[0] == 413, statuses == (413,), size)

    def test_http_is_sent_to_https_and_lets_the_authority_in(self):
        def plain(path):
            connection = http.client.HTTPConnection("127.0.0.1", self.nginx.plain_port, timeout=10)
            return fetch(connection, "GET", path, headers={"Host": "evil.example"})

        status, headers, _ = plain("/api/debates?limit=5")
        self.assertEqual((status, headers["location"]), (308, f"https://{HOST}/api/debates?limit=5"))
        self.nginx.write("html/.well-known/acme-challenge/token", "the answer")
        self.assertEqual(plain("/.well-known/acme-challenge/token")[2], b"the answer")

    def test_tokens_are_in_no_log(self):
        async def connect(query):
            async with websockets.connect(**self.nginx.socket(query)) as connection:
                self.assertEqual(json.loads(await connection.recv())["type"], "connection_info")

        asyncio.run(connect(f"token={self.TOKEN}"))
        self.nginx.ask(f"/api/debates?token={self.TOKEN}", Authorization=f"Bearer {self.TOKEN}", Referer=f"https://{HOST}/ws?token={self.TOKEN}")
        with Nginx([1]) as broken:  # nobody there
            for path in (f"/ws?token={self.TOKEN}", f"/api/debates?token={self.TOKEN}"):
                self.assertEqual(broken.ask(path)[0], 502)
            written = broken.everything_written()
            self.assertIn('"GET /ws HTTP/1.1" 502', written)
            self.assertNotIn(self.TOKEN, written)
        written = self.nginx.everything_written()
        self.assertIn('"GET /ws HTTP/1.1" 101', written)
        self.assertIn('"GET /api/debates HTTP/1.1"', written)
        self.assertNotIn(self.TOKEN, written)


if __name__ == "__main__":
    main()
