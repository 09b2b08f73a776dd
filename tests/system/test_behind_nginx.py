"""Three instances behind nginx as the checklist configures it: one service, whichever instance answers, comes or goes."""
import asyncio
import contextlib
import json
import subprocess
import tempfile
import threading
import time
import unittest

import websockets

from support import Daemon, free_port, main, service
from test_debates import until
from test_sisters import create, sisters

CONFIGURATION = """
worker_processes 1; daemon off; pid {directory}/pid; error_log {directory}/error.log;
events {{ worker_connections 1000; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  upstream aragora {{
    least_conn;
{servers}
  }}
  server {{
    listen 127.0.0.1:{port};
    location /ws {{
      proxy_pass http://aragora;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header Host $host;
      proxy_read_timeout 86400;
    }}
    location / {{
      proxy_pass http://aragora;
      proxy_set_header Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""


class Front(Daemon):
    """What a client sees: nginx. Speaks to it as to a daemon."""

    def __init__(self, daemons):
        self.directory = tempfile.TemporaryDirectory(prefix="aragora-nginx-")
        self.port = free_port()
        servers = "\n".join(f"    server 127.0.0.1:{daemon.port};" for daemon in daemons)
        path = f"{self.directory.name}/nginx.conf"
        with open(path, "w") as file:
            file.write(CONFIGURATION.format(directory=self.directory.name, port=self.port, servers=servers))
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-c", path, "-p", self.directory.name], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.started = time.monotonic()
        self.wait_ready()

    def text(self):
        return "nginx"

    def stop(self, limit=20):
        self.process.terminate()
        self.process.wait(limit)
        self.directory.cleanup()


@contextlib.contextmanager
def front(**how):
    with sisters(3, service("TEST_REDIS"), **how) as (endpoint, daemons), Front(daemons) as nginx:
        yield daemons, nginx


async def events(port, debate_id, since=0):
    """The numbers of events until the end of the debate or of the socket, and the code of its close."""
    numbers = []
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws?debate_id={debate_id}&since={since}") as socket:
        try:
            async for text in socket:
                frame = json.loads(text)
                numbers += [frame["seq"]] if "seq" in frame else []
                if frame["type"] == "debate_end":
                    return numbers, None
        except websockets.ConnectionClosed:
            pass
        return numbers, socket.close_code


async def to_the_end(port, debate_id, limit=60):
    """As a client does it that comes back: how often it was told that a server is going away, and every number."""
    seen, farewells = [], 0
    async with asyncio.timeout(limit):
        while True:
            try:
                numbers, code = await events(port, debate_id, seen[-1] if seen else 0)
            except (OSError, websockets.InvalidHandshake):
                await asyncio.sleep(0.05)
                continue
            seen += numbers
            if code is None:
                return seen, farewells
            farewells += code == 1001


class Load:
    """So many requests a second, every twentieth of which creates a debate, over connections that stay."""

    CLIENTS, RATE, LIMIT = 12, 300, 20

    def __init__(self, port):
        self.port, self.asked, self.failed, self.ending, self.began = port, 0, [], threading.Event(), time.monotonic()
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
                    connection = connection or await asyncio.open_connection("127.0.0.1", self.port)
                    status, stays = await self.ask(*connection, turn % 20 == 0)
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
        async def streams(port, ids):
            return await asyncio.gather(*(to_the_end(port, debate_id) for debate_id in ids))

        with front() as (_, nginx):
            ids = []
            for _ in range(18):
                ids.append(create(nginx, rounds=1))
                listed = [debate["id"] for debate in nginx.get("/api/debates?limit=100")[1]["debates"]]
                self.assertIn(ids[-1], listed)
            for seen, _ in asyncio.run(streams(nginx.port, ids)):
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
            return await asyncio.gather(*(to_the_end(nginx.port, debate_id, 120) for debate_id in ids))

        with front(pause=0.5) as (daemons, nginx), Load(nginx.port) as load:
            watched = [create(nginx, rounds=10) for _ in range(6)]
            seen = []
            watcher = threading.Thread(target=lambda: seen.extend(asyncio.run(watching(watched))))
            watcher.start()
            for number, daemon in enumerate(daemons):
                time.sleep(1)
                daemon.stop()
                fresh = Daemon(daemon.sandbox, wait=False, ARAGORA_PORT=str(daemon.port))
                fresh.port = daemon.port
                self.addCleanup(fresh.stop)
                fresh.wait_ready()
                if number < 2:
                    time.sleep(10.5)  # nginx passes a server by for ten seconds that did not answer once
            until(lambda: load.asked >= 6000, 60)
            load.end()
            watcher.join()
            print(f"\n{load.asked} requests, {load.asked / load.took:.0f} a second, {len(load.failed)} failed")
            self.assertEqual(load.failed, [])
            self.assertEqual(len(seen), len(watched))
            for numbers, _ in seen:
                self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
            self.assertGreater(sum(farewells for _, farewells in seen), 0, "no socket was told 1001")


if __name__ == "__main__":
    main()
