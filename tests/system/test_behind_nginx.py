"""Three instances behind nginx as the checklist configures it: one service, whichever instance answers, comes or goes."""
import asyncio
import contextlib
import http.client
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

    def test_thirty_debates_of_a_killed_instance_go_on(self):
        with front(pause=0.2) as (daemons, nginx):
            ids = [create(daemons[0], rounds=3) for _ in range(30)]
            before = {debate_id: len(nginx.get(f"/api/debates/{debate_id}/events?limit=500")[1]["events"]) for debate_id in ids}
            daemons[0].kill()
            killed = time.monotonic()
            until(lambda: all(len(nginx.get(f"/api/debates/{debate_id}/events?limit=500")[1]["events"]) > before[debate_id] for debate_id in ids), 20)
            self.assertLess(time.monotonic() - killed, 15)
            for debate_id in ids:
                self.assertEqual(nginx.wait_finished(debate_id, 60)["status"], "completed")

    def test_a_rolling_restart_fails_no_request_and_loses_no_event(self):
        with front(pause=0.5) as (daemons, nginx):
            done, failed, counts = threading.Event(), [], [0] * 4

            def ask(turn):
                while not done.is_set():
                    begun = time.monotonic()
                    try:
                        status, body = nginx.post("/api/debates", {"task": "x", "rounds": 0, "agents": ["demo-a", "demo-b"]}) if counts[turn] % 5 == 0 else nginx.get("/api/debates?limit=5")
                    except (OSError, http.client.HTTPException, ValueError) as error:
                        status, body = 0, repr(error)
                    counts[turn] += 1
                    if status != 200:
                        failed.append((round(time.monotonic() - started, 2), status, body))
                    time.sleep(max(0, 0.03 - (time.monotonic() - begun)))

            async def watching(ids):
                return await asyncio.gather(*(to_the_end(nginx.port, debate_id, 120) for debate_id in ids))

            started = time.monotonic()
            threads = [threading.Thread(target=ask, args=(turn,)) for turn in range(len(counts))]
            watched = [create(nginx, rounds=10) for _ in range(6)]
            seen = []
            threads.append(threading.Thread(target=lambda: seen.extend(asyncio.run(watching(watched)))))
            for thread in threads:
                thread.start()
            try:
                for number, daemon in enumerate(daemons):
                    time.sleep(1)
                    daemon.stop()
                    fresh = Daemon(daemon.sandbox, wait=False, ARAGORA_PORT=str(daemon.port))
                    fresh.port = daemon.port
                    self.addCleanup(fresh.stop)
                    fresh.wait_ready()
                    if number < 2:
                        time.sleep(10.5)  # nginx passes a server by for ten seconds that did not answer once
                done.set()
            finally:
                done.set()
                for thread in threads:
                    thread.join()
            print(f"\n{sum(counts)} requests, {len(failed)} failed")
            self.assertEqual(failed, [])
            self.assertEqual(len(seen), len(watched))
            for numbers, _ in seen:
                self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
            self.assertGreater(sum(farewells for _, farewells in seen), 0)


if __name__ == "__main__":
    main()
