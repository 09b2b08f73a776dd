"""How a row of scripts/bench is measured: here and now, ours and the peer's one after the other, three times in turn, medians
shown."""
import asyncio
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))

SECONDS = 3
ROUNDS = 3
rows = []


def row(what, ours, peer, target, good):
    rows.append((what, ours, peer, target, "met" if good else "MISSED"))
    print(f"  {what}: {ours} | {peer} | target {target} | {'met' if good else 'MISSED'}", flush=True)


def wrk(url, connections=64, script=None, headers=(), refused=False):
    arguments = ["wrk", "-t2", f"-c{connections}", f"-d{SECONDS}s", "--latency", "--timeout", "10s"]
    if script:
        arguments += ["-s", script]
    for header in headers:
        arguments += ["-H", header]
    text = subprocess.run([*arguments, url], capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    p99 = float(p99.group(1)) * {"us": 0.001, "ms": 1, "s": 1000}[p99.group(2)]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if bool(bad) != refused:
        raise AssertionError(f"{url}: {bad.group(0) if bad else 'nothing was refused'}")
    return rate, p99


def paced(port, path, rate, connections=64):
    """At a fixed rate for SECONDS, `path` says of the how-manieth request what it asks for: how many a second were answered, and in order the
    milliseconds from when each was due to the end of its answer, so that who is late makes nobody after it look early."""
    count, took = rate * SECONDS, []

    async def ask(number, due, free):
        reader, writer = await free.get()
        writer.write(f"GET {path(number)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", head, re.I)[1]))
        took.append(1000 * (time.monotonic() - due))
        free.put_nowait((reader, writer))
        if not head.startswith(b"HTTP/1.1 200 "):
            raise AssertionError(f"{path(number)}: {head}")

    async def run():
        free = asyncio.Queue()
        for _ in range(connections):
            free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
        began, asked = time.monotonic() + 0.1, []
        for number in range(count):
            due = began + number / rate
            await asyncio.sleep(max(0, due - time.monotonic()))
            asked.append(asyncio.create_task(ask(number, due, free)))
        await asyncio.gather(*asked)
        return count / (time.monotonic() - began)

    return asyncio.run(run()), sorted(took)


def in_turn(*measures):
    """Each measure ROUNDS times, in turn; the median of each by its first number."""
    results = [[] for _ in measures]
    for _ in range(ROUNDS):
        for index, measure in enumerate(measures):
            results[index].append(measure())
    return [sorted(r)[len(r) // 2] for r in results]


def timed(*arguments, **options):
    started = time.monotonic()
    subprocess.run([str(a) for a in arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
    return time.monotonic() - started
