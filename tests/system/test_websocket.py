"""The WebSocket from outside: subscription by query and by message, replay, order, one object a frame, origins, crowds."""
import asyncio
import json
import time
import unittest

import websockets

from support import Daemon, Sandbox, main


class WebSocket(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox = Sandbox()
        cls.daemon = Daemon(cls.sandbox)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()
        cls.sandbox.__exit__()

    def url(self, query=""):
        return f"ws://127.0.0.1:{self.daemon.port}/ws{query}"

    async def collect(self, socket, until="debate_end", limit=15):
        frames = []
        async with asyncio.timeout(limit):
            while not frames or frames[-1]["type"] != until:
                frames.append(json.loads(await socket.recv()))
        return frames

    def create(self, **body):
        _, created = self.daemon.post("/api/debates", {"task": "watched", **body})
        return created["debate_id"]

    async def test_a_debate_id_in_the_query_replays_from_the_start_and_follows(self):
        debate_id = self.create(rounds=1)
        async with websockets.connect(self.url(f"?debate_id={debate_id}")) as socket:
            frames = await self.collect(socket)
        self.assertEqual(frames[0]["type"], "connection_info")
        events = [f for f in frames if "seq" in f]
        self.assertEqual([e["seq"] for e in events], list(range(1, len(events) + 1)))
        types = [e["type"] for e in events]
        for expected in ("debate_created", "debate_start", "agent_message", "critique", "vote", "synthesis", "consensus", "debate_end"):
            self.assertIn(expected, types)
        for event in events:
            self.assertEqual(event["data"]["debate_id"], debate_id)

    async def test_a_subscription_by_message_replays_from_a_sequence_number(self):
        debate_id = self.create(rounds=0)
        self.daemon.wait_finished(debate_id)
        async with websockets.connect(self.url()) as socket:
            await socket.send(json.dumps({"type": "subscribe", "debate_id": debate_id, "replay_from_seq": 3}))
            events = [f for f in await self.collect(socket) if "seq" in f]
        self.assertEqual(events[0]["seq"], 4)

    async def test_the_end_never_comes_in_the_same_burst(self):
        debate_id = self.create(rounds=0)
        self.daemon.wait_finished(debate_id)
        async with websockets.connect(self.url(f"?debate_id={debate_id}")) as socket:
            last = None
            while True:
                frame = json.loads(await socket.recv())
                if frame["type"] == "debate_end":
                    break
                last = time.monotonic()
        self.assertGreater(time.monotonic() - last, 0.1)

    async def test_ping_is_answered_and_nonsense_is_a_warning_that_ends_nothing(self):
        async with websockets.connect(self.url()) as socket:
            await socket.recv()
            await socket.send(json.dumps({"type": "ping", "ts": 5}))
            pong = json.loads(await socket.recv())
            self.assertEqual((pong["type"], pong["data"]["client_ts"]), ("pong", 5))
            for bad in ("{", "[]", '{"type": "odd"}', '{"type": "subscribe"}', '{"type": "subscribe", "debate_id": "no-such"}'):
                await socket.send(bad)
                frame = json.loads(await socket.recv())
                if frame["type"] == "subscribed":
                    frame = json.loads(await socket.recv())
                self.assertEqual(frame["type"], "warning", bad)
            await socket.send(json.dumps({"type": "ping"}))
            self.assertEqual(json.loads(await socket.recv())["type"], "pong")

    async def test_foreign_origins_and_large_messages_are_refused(self):
        with self.assertRaises(websockets.InvalidStatusCode) as refused:
            async with websockets.connect(self.url(), origin="https://evil.example"):
                pass
        self.assertEqual(refused.exception.status_code, 403)
        async with websockets.connect(self.url(), max_size=None) as socket:
            await socket.recv()
            await socket.send("x" * 70_000)
            with self.assertRaises(websockets.ConnectionClosed):
                await socket.recv()

    async def test_five_hundred_watchers_all_see_the_end(self):
        sockets = await asyncio.gather(*[websockets.connect(self.url()) for _ in range(500)])
        try:
            self.assertIn("aragora_websocket_connections 500", self.daemon.request("GET", "/metrics")[2].decode())
            debate_id = self.create(rounds=0)
            for socket in sockets:
                await socket.send(json.dumps({"type": "subscribe", "debate_id": debate_id}))
            endings = await asyncio.gather(*[self.collect(socket, limit=30) for socket in sockets])
            for frames in endings:
                events = [f["seq"] for f in frames if "seq" in f]
                self.assertEqual(events, list(range(1, len(events) + 1)))
        finally:
            await asyncio.gather(*[socket.close() for socket in sockets])

    async def test_a_stopping_daemon_says_going_away(self):
        with Sandbox() as sandbox:
            daemon = Daemon(sandbox)
            async with websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws") as socket:
                await socket.recv()
                await asyncio.get_running_loop().run_in_executor(None, daemon.stop)
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    while True:
                        await socket.recv()
                self.assertIn(closed.exception.code, (1001, 1006))


if __name__ == "__main__":
    main()
