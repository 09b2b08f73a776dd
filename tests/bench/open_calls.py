"""How much memory the daemon takes while it holds many provider calls open over TLS: python3 open_calls.py [debates], three seats each.
The provider streams the beginning of an answer to every call and then is silent; what the daemon has resident then is printed as JSON."""
import asyncio
import json
import os
import pathlib
import re
import resource
import ssl
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))
from support import Authority, Daemon, Sandbox  # noqa: E402

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{\"model\": \"m\","


class Holding:
    """A TLS server whose answers do not end."""

    def __init__(self, authority):
        self.open = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(authority.certificate, authority.key)
        self.ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True).start()
        self.ready.wait(10)

    async def serve(self):
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0, ssl=self.context, backlog=4096, ssl_handshake_timeout=300)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await server.serve_forever()

    async def answer(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            await reader.readexactly(length)
            writer.write(HEAD)
            await writer.drain()
            self.open += 1
            await reader.read(1)
        except (OSError, asyncio.IncompleteReadError):
            pass
        self.open -= 1
        writer.close()


def status(pid):
    found = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(found[name].split()[0]) for name in ("VmRSS", "VmHWM", "Threads")}


def mappings(pid):
    """Resident KiB of stacks (8 MB each), and of everything else that has no file."""
    found = {"stacks_kib": 0, "anonymous_kib": 0, "files_kib": 0}
    kind = None
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)", line):
            size = int(match[2], 16) - int(match[1], 16)
            kind = "files_kib" if match[3].startswith("/") else "stacks_kib" if not match[3] and size <= 8 << 20 and size % (4 << 10) == 0 and size >= 128 << 10 and size not in (64 << 20,) else "anonymous_kib"
        elif line.startswith("Rss:"):
            found[kind] += int(line.split()[1])
    return found


def measure(debates):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with Authority() as authority:
        holding = Holding(authority)
        environment = {"OPENAI_BASE_URL": f"https://localhost:{holding.port}/v1", "OPENAI_API_KEY": "sk-test-0123456789abcdef", "SSL_CERT_FILE": str(authority.file),
                       "ARAGORA_MAX_CONCURRENT_DEBATES": str(debates), "ARAGORA_CALL_TIMEOUT_SECONDS": "600", "ARAGORA_IDLE_TIMEOUT_SECONDS": "600",
                       "ARAGORA_CONNECT_TIMEOUT_SECONDS": "60", "ARAGORA_DEBATE_DEADLINE_SECONDS": "3600"}
        with Sandbox(**environment) as sandbox, Daemon(sandbox) as daemon:
            before = status(daemon.process.pid)
            for _ in range(debates):
                daemon.post("/api/debates", {"task": "x" * 500, "agents": ["openai:a", "openai:b", "openai:c"], "rounds": 1})
            deadline = time.monotonic() + 400
            while holding.open < 3 * debates and time.monotonic() < deadline:
                time.sleep(0.2)
            time.sleep(2)
            held = status(daemon.process.pid)
            calls = holding.open
            parts = mappings(daemon.process.pid)
            if os.environ.get("KEEP_SMAPS"):
                pathlib.Path(os.environ["KEEP_SMAPS"]).write_text(pathlib.Path(f"/proc/{daemon.process.pid}/smaps").read_text())
            daemon.process.kill()
            return {"open_calls": calls, "asked_for": 3 * debates, "resident_before_kib": before["VmRSS"], "resident_kib": held["VmRSS"], "peak_kib": held["VmHWM"],
                    "threads": held["Threads"], "kib_a_call": round((held["VmRSS"] - before["VmRSS"]) / max(calls, 1), 1), **parts}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)))
    os._exit(0)  # the server's thread never ends
