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

from proxies import HOST, Fences, Load, Nginx, fetch
from support import Daemon, main, service
from test_debates import until
from test_sisters import create, sisters, status

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
            running = [debate_id for debate_id in ids if status(daemons[1], debate_id) != "completed"]  # asked directly: handshakes take their time
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
                said = [(event["type"], event["round"], event["agent"], event["data"].get("role"), event["data"].get("target")) for event in found]
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


class NginxFences(Fences, unittest.TestCase):
    PROXY = Nginx
    LOGGED = ('"GET /ws HTTP/1.1" 101', '"GET /api/debates HTTP/1.1"', '"GET /ws HTTP/1.1" 502')

    def test_http_is_sent_to_https_and_lets_the_authority_in(self):
        def plain(path):
            return fetch(http.client.HTTPConnection("127.0.0.1", self.proxy.plain_port, timeout=10), "GET", path, headers={"Host": "evil.example"})

        status, headers, _ = plain("/api/debates?limit=5")
        self.assertEqual((status, headers["location"]), (308, f"https://{HOST}/api/debates?limit=5"))
        self.proxy.write("html/.well-known/acme-challenge/token", "the answer")
        self.assertEqual(plain("/.well-known/acme-challenge/token")[2], b"the answer")


if __name__ == "__main__":
    main()
