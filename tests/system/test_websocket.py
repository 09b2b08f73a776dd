"""The WebSocket from outside: subscription by query and by message, replay, order, one object a frame, origins, crowds."""
import asyncio
import contextlib
import json
import sqlite3
import time
import unittest

import websockets

from support import Daemon, Sandbox, main


class WebSocket(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox = Sandbox()
        cls.daemon = Daemon(cls.sandbox, ARAGORA_SOCKETS_PER_ADDRESS="600")

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
            for bad in ("{", "[]", '{"type": "odd"}', '{"type": "subscribe"}', json.dumps({"type": "subscribe", "debate_id": "x" * 129})):
                await socket.send(bad)
                self.assertEqual(json.loads(await socket.recv())["type"], "warning", bad)
            await socket.send(json.dumps({"type": "ping"}))
            self.assertEqual(json.loads(await socket.recv())["type"], "pong")

    async def test_whoever_waits_for_a_debate_that_does_not_exist_is_told(self):
        async with websockets.connect(self.url("?debate_id=no-such")) as socket:
            frame = (await self.collect(socket, until="error", limit=5))[-1]
        self.assertEqual((frame["debate_id"], frame["data"]["code"]), ("no-such", "NOT_FOUND"))

    async def test_without_an_upgrade_it_says_what_it_is(self):
        status, headers, _ = self.daemon.request("GET", "/ws")
        self.assertEqual((status, headers["upgrade"]), (426, "websocket"))
        self.assertEqual(self.daemon.request("GET", "/ws?debate_id=" + "x" * 200, headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"})[0], 400)

    async def test_a_token_never_comes_back(self):
        with Sandbox(ARAGORA_API_TOKEN="0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d") as sandbox, Daemon(sandbox) as daemon:
            for offered, chosen in ((["access_token.0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d"], None), (["access_token.0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d", "aragora"], "aragora")):
                async with websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws", subprotocols=offered) as socket:
                    self.assertEqual(socket.subprotocol, chosen)
                    self.assertNotIn("0c5f", str(socket.response_headers))
                    self.assertTrue(json.loads(await socket.recv())["data"]["authenticated"])
            with self.assertRaises(websockets.InvalidStatusCode) as refused:
                await websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws?token=wrong")
            self.assertEqual(refused.exception.status_code, 401)

    async def test_lists_may_be_spread_over_lines(self):
        with Sandbox(ARAGORA_API_TOKEN="0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d") as sandbox, Daemon(sandbox) as daemon:
            lines = ("GET /ws HTTP/1.1", "Host: x", "Connection: keep-alive", "Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: aragora", "Sec-WebSocket-Protocol: access_token.0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d", "", "")
            answer = daemon.raw("\r\n".join(lines).encode(), timeout=1)
            self.assertTrue(answer.startswith(b"HTTP/1.1 101 "), answer)
            self.assertIn(b"Sec-WebSocket-Protocol: aragora\r\n", answer)
            self.assertIn(b'"authenticated":true', answer)

    async def test_guesses_sockets_and_messages_are_limited(self):
        with Sandbox(ARAGORA_API_TOKEN="0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d") as sandbox:
            with Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="20") as daemon:
                upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
                answers = [daemon.request("GET", f"/ws?token=guess{number}", headers=upgrade)[0] for number in range(30)]
                self.assertEqual((answers[:20], set(answers[21:])), ([401] * 20, {429}))
            token = {"Authorization": "Bearer 0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d"}
            with Daemon(sandbox, ARAGORA_SOCKETS_PER_ADDRESS="5", ARAGORA_SOCKET_MESSAGE_RATE="10") as daemon:
                url = f"ws://127.0.0.1:{daemon.port}/ws"
                sockets = [await websockets.connect(url, extra_headers=token) for _ in range(5)]
                with self.assertRaises(websockets.InvalidStatusCode) as refused:
                    await websockets.connect(url, extra_headers=token)
                self.assertEqual(refused.exception.status_code, 429)
                await sockets[0].recv()
                for _ in range(40):
                    await sockets[0].send('{"type": "ping"}')
                types = []
                while "warning" not in types:
                    types.append(json.loads(await asyncio.wait_for(sockets[0].recv(), 5))["type"])
                self.assertEqual(types, ["pong"] * 10 + ["warning"])
                for socket in sockets:
                    await socket.close()
                async with asyncio.timeout(5):  # the places are free again
                    while True:
                        try:
                            await (await websockets.connect(url, extra_headers=token)).close()
                            break
                        except websockets.InvalidStatusCode:
                            await asyncio.sleep(0.02)

    async def test_a_long_replay_reaches_a_client_that_reads_slowly(self):
        debate_id = self.create(rounds=0)
        self.daemon.wait_finished(debate_id)
        with contextlib.closing(sqlite3.connect(self.sandbox.directory / "state" / "aragora.db", timeout=20)) as database, database:
            last = database.execute("SELECT max(seq) FROM debate_events WHERE debate_id = ?", (debate_id,)).fetchone()[0]
            columns = [row[1] for row in database.execute("PRAGMA table_info(debate_events)")]
            others = ", ".join(column for column in columns if column not in ("seq", "type", "payload"))
            for number in range(1, 3001):  # 6 MB: six times what a slow client may have waiting
                database.execute(f"INSERT INTO debate_events (seq, type, payload, {others}) SELECT ?, 'agent_message', ?, {others} FROM debate_events WHERE debate_id = ? AND seq = 1",
                                 (last + number, json.dumps({"content": "x" * 2000, "role": "proposer"}), debate_id))
        async with websockets.connect(self.url(), max_queue=1) as socket:
            await socket.send(json.dumps({"type": "subscribe", "debate_id": debate_id}))
            seen = 0
            while seen < last + 3000:
                frame = json.loads(await asyncio.wait_for(socket.recv(), 20))
                if "seq" in frame:
                    self.assertEqual(frame["seq"], seen + 1)
                    seen += 1
                    if seen % 500 == 0:
                        await asyncio.sleep(0.2)
        self.assertNotIn("aragora_websocket_slow_clients_total 1", self.daemon.request("GET", "/metrics")[2].decode())

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
