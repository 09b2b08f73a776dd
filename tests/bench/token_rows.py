"""The row about tokens: how long they take from the provider's socket to that of who listens."""
import asyncio

from measure import row
from support import Daemon, Sandbox
from test_provider import KEY, Endpoint
from test_streaming import at, delays, stamped


def bench_tokens():
    with Endpoint(stamped) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as sandbox, Daemon(sandbox) as daemon:
        for debates in (1, 20):
            taken = asyncio.run(delays(daemon, debates))
            text = " / ".join(f"{at(taken, share):.1f}" for share in (0.5, 0.95, 0.99))
            row(f"a token from provider to WebSocket, {debates} at once, p50 / p95 / p99", f"{text} ms", f"{len(taken):,} tokens", "p95 < 50 ms", at(taken, 0.95) < 50)


PARTS = {"tokens": bench_tokens}
