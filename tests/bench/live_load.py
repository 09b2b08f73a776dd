"""What the rows about running debates and open sockets need: a provider that answers when it is told to, and sockets whose
kernel says when each byte came, so that it does not matter how fast Python reads."""
import asyncio
import base64
import json
import os
import select
import socket
import struct
import threading
import time

SO_TIMESTAMPNS = 35


class Provider:
    """Chat Completions for any number of calls at once: `delay` seconds each, or until `release()` when it holds them."""

    def __init__(self, delay=0.0, hold=False):
        self.delay, self.open, self.most, self.calls, self.first_answer = delay, 0, 0, 0, None
        self.loop = asyncio.new_event_loop()
        self.released = asyncio.Event()
        if not hold:
            self.released.set()
        ready = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()

    # Its thread's processor time, which the daemon has to share the machine with.
    def processor_seconds(self):
        return time.clock_gettime(time.pthread_getcpuclockid(self.thread.ident))

    def run(self, ready):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=4096))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ready.set()
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))

    def release(self):
        self.loop.call_soon_threadsafe(self.released.set)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")))
                body = json.loads(await reader.readexactly(length))
                self.calls += 1
                self.open += 1
                self.most = max(self.most, self.open)
                await self.released.wait()
                await asyncio.sleep(self.delay)
                self.open -= 1
                self.first_answer = self.first_answer or time.time()
                answer = json.dumps({"model": "bench", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": self.says(body)}}],
                                     "usage": {"prompt_tokens": 10, "completion_tokens": 5}}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    @staticmethod
    def says(body):
        system, data = body["messages"][0]["content"], json.loads(body["messages"][1]["content"])
        data = data[data["boundary"]]
        if "Criticise" in system:
            return json.dumps({"critiques": [{"target": one["id"], "issues": [{"claim": "too long", "severity": 4, "why": "read it"}], "strongest_point": "clear"} for one in data["proposals"]]})
        if "Choose the best" in system:
            return json.dumps({"choice": data["proposals"][0]["id"], "confidence": 90, "reason": "first"})
        return "The answer of a model."


class Sockets:
    """`count` WebSockets that watch one debate, or nothing; with a context over TLS, for those that only have to be there."""

    def __init__(self, port, debate_id, count, context=None):
        self.sockets, self.poll = {}, select.epoll()
        key = base64.b64encode(os.urandom(16)).decode()
        for number in range(count):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            # Several addresses of ours: one has 28,000 ports.
            one.bind((f"127.0.{1 + number // 5000}.1", 0))
            one.connect(("127.0.0.1", port))
            if context:
                one = context.wrap_socket(one, server_hostname="localhost")
            one.sendall(f"GET /ws{f'?debate_id={debate_id}' if debate_id else ''} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
            self.sockets[one.fileno()] = one
        for fd in self.sockets:
            self.poll.register(fd, select.EPOLLIN)
        self.drain(2)

    def drain(self, quiet):
        while ready := self.poll.poll(quiet):
            for fd, _ in ready:
                if not self.sockets[fd].recv(1 << 16):
                    raise AssertionError("a socket was closed")

    def next_message(self, limit=20):
        """When the next bytes came to each socket, by the kernel's clock."""
        came, deadline = {}, time.monotonic() + limit
        while len(came) < len(self.sockets):
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(came)} of {len(self.sockets)} sockets heard it")
            for fd, _ in self.poll.poll(1):
                data, told, _, _ = self.sockets[fd].recvmsg(1 << 16, 64)
                if not data:
                    raise AssertionError("a socket was closed")
                stamp = next(content for _, kind, content in told if kind == SO_TIMESTAMPNS)
                seconds, nanoseconds = struct.unpack("qq", stamp[:16])
                came.setdefault(fd, seconds + nanoseconds / 1e9)
        return sorted(came.values())

    def close(self):
        for one in self.sockets.values():
            one.close()
