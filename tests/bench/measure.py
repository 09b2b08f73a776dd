"""How a row of scripts/bench is measured: here and now, ours and the peer's one after the other, three times in turn, medians
shown."""
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
