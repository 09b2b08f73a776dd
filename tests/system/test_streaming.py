"""Answers as they are made: over the WebSocket to those who ask, as far as they keep up, and never in the place of the message."""
import asyncio
import json
import socket
import threading
import time
import unittest

import websockets

from support import Daemon, Sandbox, main
from test_provider import KEY, Endpoint

WORDS = [f"wörd{number} " for number in range(40)]


def paced(pause=0.01, words=WORDS, hold=None):
    """Chat Completions as server-sent events, a word at a time."""
    def answer(_, body):
        def write(handler):
            handler.send_response(200)
            handler.send_header("Content-Type", "text/event-stream")
            handler.send_header("Connection", "close")
            handler.end_headers()
            for word in words:
                if hold:
                    hold.wait(20)
                chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"], "choices": [{"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}]}
                handler.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                handler.wfile.flush()
                time.sleep(pause)
            last = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"], "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None}
            usage = {**last, "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": len(words), "total_tokens": 10 + len(words)}}
            handler.wfile.write(f"data: {json.dumps(last)}\n\ndata: {json.dumps(usage)}\n\ndata: [DONE]\n\n".encode())
        return write
    return answer


def stamped(_, body):
    """Each word is the moment at which it was sent."""
    def write(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for _ in range(200):
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"], "choices": [{"index": 0, "delta": {"content": f"{time.monotonic_ns()} "}, "finish_reason": None}]}
            handler.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            handler.wfile.flush()
            time.sleep(0.005)
        handler.wfile.write(b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
    return write


async def delays(daemon, debates):
    """Milliseconds from the provider's socket to a client's, of the parts of so many debates at once; sorted."""
    taken = []

    async def follow():
        created = await asyncio.to_thread(daemon.post, "/api/debates", {"task": "Does it stream?", "agents": ["openai", "demo"], "rounds": 0})
        async with websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws?debate_id={created[1]['debate_id']}&deltas=agent") as client, asyncio.timeout(60):
            while (frame := json.loads(await client.recv()))["type"] != "debate_end":
                now = time.monotonic_ns()
                if frame["type"] == "agent_delta" and frame["agent"] == "openai":
                    taken.extend((now - int(stamp)) / 1e6 for stamp in frame["data"]["text"].split()[-1:])

    await asyncio.gather(*(follow() for _ in range(debates)))
    return sorted(taken)


def at(taken, share):
    return taken[min(len(taken) - 1, int(len(taken) * share))]


class Streaming(unittest.IsolatedAsyncioTestCase):
    def deployment(self, endpoint, **environment):
        sandbox = Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY, **environment)
        self.addCleanup(sandbox.__exit__)
        daemon = Daemon(sandbox)
        self.addCleanup(daemon.stop)
        return daemon

    def create(self, daemon, **body):
        return daemon.post("/api/debates", {"task": "Does it stream?", "agents": ["openai", "demo", "demo"], "rounds": 0, **body})[1]["debate_id"]

    async def collect(self, daemon, query, until="debate_end"):
        frames = []
        async with websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws{query}") as client, asyncio.timeout(30):
            while not frames or frames[-1]["type"] != until:
                frames.append(json.loads(await client.recv()))
        return frames

    async def test_parts_come_in_order_before_their_message_and_make_it_up(self):
        with Endpoint(paced()) as endpoint:
            daemon = self.deployment(endpoint)
            debate = self.create(daemon)
            frames = await self.collect(daemon, f"?debate_id={debate}&deltas=agent")
            parts = [f for f in frames if f["type"] == "agent_delta" and f["agent"] == "openai" and f["data"]["phase"] == "propose"]
            self.assertGreater(len(parts), 10, "they come while it is made")
            message = next(f for f in frames if f["type"] == "agent_message" and f["agent"] == "openai")
            self.assertLess(frames.index(parts[-1]), frames.index(message))
            at = parts[0]["data"]["offset"]
            for part in parts:
                self.assertEqual(part["data"]["offset"], at)
                at += len(part["data"]["text"])
            self.assertTrue("".join(WORDS).endswith("".join(p["data"]["text"] for p in parts)))
            self.assertTrue(all("seq" not in part for part in parts))
            # Stored is the message alone.
            stored = daemon.get(f"/api/debates/{debate}/events?limit=500")[1]["events"]
            self.assertEqual([f for f in frames if "seq" in f], stored)

    async def test_who_does_not_ask_hears_what_there_was_before(self):
        with Endpoint(paced()) as endpoint:
            daemon = self.deployment(endpoint)
            frames = await self.collect(daemon, f"?debate_id={self.create(daemon)}")
            self.assertEqual({f["type"] for f in frames} & {"agent_delta", "token_start", "token_delta", "token_end"}, set())
            with self.assertRaises(websockets.InvalidStatusCode) as refused:
                await websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws?deltas=all")
            self.assertEqual(refused.exception.status_code, 400)

    async def test_the_originals_names_by_a_message(self):
        hold = threading.Event()
        with Endpoint(paced(hold=hold)) as endpoint:
            daemon = self.deployment(endpoint)
            debate = self.create(daemon)
            async with websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws") as client, asyncio.timeout(30):
                await client.send(json.dumps({"type": "subscribe", "debate_id": debate, "deltas": "tokens"}))
                frames = []
                while not frames or frames[-1]["type"] != "debate_start":
                    frames.append(json.loads(await client.recv()))
                hold.set()
                while frames[-1]["type"] != "agent_message":
                    frames.append(json.loads(await client.recv()))
            tokens = [f for f in frames if f["type"].startswith("token_") and f["agent"] == "openai"]
            self.assertEqual((tokens[0]["type"], tokens[-1]["type"]), ("token_start", "token_end"))
            self.assertEqual("".join(t["data"].get("token", "") for t in tokens), "".join(WORDS))

    async def test_a_slow_client_has_every_message_in_order(self):
        large = ["x" * 4000 + " "] * 14  # of two seats at once
        with Endpoint(paced(0.001, large)) as endpoint:
            daemon = self.deployment(endpoint)
            debate = self.create(daemon, agents=["openai:a", "openai:b", "demo", "demo"], rounds=2)
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", daemon.port))
            async with websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws?debate_id={debate}&deltas=agent", sock=slow, max_queue=1, read_limit=1024) as client:
                await asyncio.to_thread(daemon.wait_finished, debate, 60)
                frames = []
                async with asyncio.timeout(30):
                    while not frames or frames[-1]["type"] != "debate_end":
                        frames.append(json.loads(await client.recv()))
            stored = daemon.get(f"/api/debates/{debate}/events?limit=500")[1]["events"]
            self.assertEqual([f["seq"] for f in frames if "seq" in f], [e["seq"] for e in stored])
            self.assertEqual(next(line.split()[-1] for line in daemon.request("GET", "/metrics")[2].decode().splitlines() if line.startswith("aragora_websocket_slow_clients_total")), "0")

    async def test_from_the_provider_to_the_socket_it_takes_milliseconds(self):
        with Endpoint(stamped) as endpoint:
            taken = await delays(self.deployment(endpoint), 1)
        print(f"provider to socket, {len(taken)} parts: p50 {at(taken, 0.5):.2f} ms, p95 {at(taken, 0.95):.2f} ms, p99 {at(taken, 0.99):.2f} ms")
        self.assertGreater(len(taken), 100)
        self.assertLess(at(taken, 0.5), 50)


if __name__ == "__main__":
    main()
