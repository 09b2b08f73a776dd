"""The rows about what serves: requests, creations, running debates, sockets, and stopping under all of it."""
import contextlib
import json
import pathlib
import random
import re
import secrets
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time

from live_load import Provider, Sockets
from measure import SECONDS, in_turn, paced, row, wrk
from support import Daemon, Sandbox, postgres_database, service


def fill(connection, count, execute_many):
    """`count` finished debates, enough for lists."""
    text = json.dumps({"reached": True, "agreement": 1.0, "confidence": 0.8, "final_answer": "x" * 200})
    execute_many("INSERT INTO debates (id, task, status, agents, rounds, consensus_kind, seed, created_at, updated_at, consensus_reached, confidence, final_answer, consensus, outcome) "
                 "VALUES (?, ?, 'completed', '[\"demo-optimist\",\"demo-skeptic\"]', 2, 'majority', 1, ?, ?, 1, 0.8, ?, ?, 'consensus')",
                 ((f"B{i:09d}", f"task number {i}", i, i, "x" * 200, text) for i in range(count)))


def fill_matches(count, execute_many):
    """One of each of those debates, between 3 of 30 models that differ."""
    chance = random.Random(1)
    models = [("openai", f"gpt-{i}") for i in range(10)] + [("anthropic", f"claude-{i}") for i in range(10)] + [("openrouter", f"vendor/m-{i}") for i in range(10)]
    skill = {model: chance.gauss(0, 1) for model in models}

    def match(i):
        seats = chance.sample(models, 3)
        ballots = [(voter, max((seat for seat in range(3) if seat != voter), key=lambda seat: skill[seats[seat]] + chance.gauss(0, 1))) for voter in range(3)]
        votes = [sum(choice == seat for _, choice in ballots) for seat in range(3)]
        record = {"domain": chance.choice(["", "finance", "law", "code"]),
                  "seats": [{"seat": f"s{seat}", "agent": model[0], "provider": model[0], "model": model[1], "votes": votes[seat], "voters": 2} for seat, model in enumerate(seats)],
                  "ballots": [{"voter": f"s{voter}", "choice": f"s{choice}"} for voter, choice in ballots]}
        return f"M{i:09d}", f"B{i:09d}", json.dumps([":".join(model) for model in seats]), json.dumps(votes), i, json.dumps(record)

    execute_many("INSERT INTO matches (id, debate_id, participants, scores, created_at, record) VALUES (?, ?, ?, ?, ?, ?)", (match(i) for i in range(count)))


def bench_leaderboard(daemon):
    """Every other page has been asked for before."""
    rate, took = paced(daemon.port, lambda number: "/api/leaderboard" if number % 2 else f"/api/leaderboard?limit=100&min_debates={number % 5000}", 1000)
    p50, p95, p99 = (took[len(took) * part // 100] for part in (50, 95, 99))
    row("GET /api/leaderboard at 1,000/s, 100,000 debates", f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms", f"{rate:,.0f}/s answered", "p95 <= 10 ms", p95 <= 10 and rate > 980)


def bench_http(sandbox):
    sandbox.run("migrate", check=0)
    with sqlite3.connect(sandbox.directory / "state/aragora.db") as database:
        fill(database, 100_000, database.executemany)
        fill_matches(100_000, database.executemany)
    database.close()
    nginx = service("TEST_NGINX") + "/"
    with Daemon(sandbox) as daemon:
        base = f"http://127.0.0.1:{daemon.port}"
        started = time.monotonic()
        rated = daemon.get("/api/leaderboard")[1]["total"]
        took = time.monotonic() - started
        row("the first page of ratings after a start, 100,000 matches", f"{took:.2f} s", f"{rated} rated", "5 s", took < 5 and rated == 30)
        uncached = sandbox.write("offsets.lua", "request = function() return wrk.format('GET', '/api/debates?limit=20&offset=' .. math.random(0, 20000)) end\n")
        (ours, _), (peer, _) = in_turn(lambda: wrk(base + "/api/health"), lambda: wrk(nginx))
        row("GET /api/health, 64 connections", f"{ours:,.0f}/s", f"nginx {peer:,.0f}/s ({ours / peer:.2f})", ">= 0.6 of nginx", ours >= 0.6 * peer)
        (ours, p99), (peer, peer_p99) = in_turn(lambda: wrk(base + "/api/health", 1000), lambda: wrk(nginx, 1000))
        row("GET /api/health, 1000 connections", f"{ours:,.0f}/s, p99 {p99:.1f} ms", f"nginx {peer:,.0f}/s, p99 {peer_p99:.1f} ms", "p99 < 30 ms, >= 0.7", p99 < 30 and ours >= 0.7 * peer)
        (ours, p99), (peer, _) = in_turn(lambda: wrk(base + "/api/debates"), lambda: wrk(nginx))
        row("GET /api/debates, 20 of 100,000, cached", f"{ours:,.0f}/s, p99 {p99:.1f} ms", f"nginx {peer:,.0f}/s ({ours / peer:.2f})", ">= 0.45 of nginx", ours >= 0.45 * peer)
        (ours, p99), (peer, _) = in_turn(lambda: wrk(base + "/api/leaderboard"), lambda: wrk(nginx))
        row("GET /api/leaderboard, cached", f"{ours:,.0f}/s, p99 {p99:.1f} ms", f"nginx {peer:,.0f}/s ({ours / peer:.2f})", ">= 0.45 of nginx", ours >= 0.45 * peer)
        bench_leaderboard(daemon)
        pages = sandbox.write("tables.lua", "local n = 0 request = function() n = n + 1 return wrk.format('GET', ({'/api/leaderboard?domain=law', '/api/leaderboard?limit=100&min_debates=' .. n % 5000, "
                                            "'/api/agent/openai:gpt-' .. n % 10 .. '/history', '/api/leaderboard/compare?agent_a=openai:gpt-1&agent_b=anthropic:claude-' .. n % 10})[n % 4 + 1]) end\n")
        ours, p99 = wrk(base, 16, str(pages))
        row("tables, histories and comparisons of 100,000 matches, uncached", f"{ours:,.0f}/s, p99 {p99:.1f} ms", "", "1,000/s, 10 ms", ours >= 1000 and p99 <= 10)
        ours, p99 = wrk(base + "/api/debates", 64, str(uncached))
        row("GET /api/debates, random pages, uncached", f"{ours:,.0f}/s, p99 {p99:.1f} ms", "", "20,000/s", ours >= 20_000)

        def page(number):
            started = time.monotonic()
            daemon.get(f"/api/debates?limit=20&offset={(number - 1) * 20}")
            return time.monotonic() - started

        first = statistics.median(page(1 + i) for i in range(20))
        far = statistics.median(page(4950 + i) for i in range(20))
        row("page 5,000 of the list against page 1", f"{far * 1000:.2f} ms", f"page 1 {first * 1000:.2f} ms", "as fast", far < first * 1.5)


def bench_creates_sqlite():
    with Sandbox(ARAGORA_MAX_CONCURRENT_DEBATES="1") as sandbox, Daemon(sandbox) as daemon:
        post = posting(sandbox)

        def peer():
            path = sandbox.directory / f"peer-{secrets.token_hex(3)}.db"
            database = sqlite3.connect(path, isolation_level=None)
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.execute("CREATE TABLE t (id TEXT PRIMARY KEY, task TEXT, body TEXT)")
            started = time.monotonic()
            count = 0
            while time.monotonic() - started < SECONDS:
                database.execute("INSERT INTO t VALUES (?, 'bench', ?)", (f"{count}", "x" * 300))
                count += 1
            database.close()
            return count / (time.monotonic() - started), 0

        (ours, p99), (single, _) = in_turn(lambda: wrk(f"http://127.0.0.1:{daemon.port}/api/debates", 64, post), peer)
        row("POST /api/debates, SQLite, 64 clients", f"{ours:,.0f}/s, p99 {p99:.1f} ms", f"one commit an insert {single:,.0f}/s ({ours / single:.1f} x)", ">= 5 x", ours >= 5 * single)


# One creation as aragora writes it, its audit entry included: the chain of the audit log takes one writer at a time.
CREATION = """\\set r random(1, 1000000000000000)
BEGIN;
INSERT INTO debates (id, task, status, agents, rounds, consensus_kind, metadata, seed, created_at, updated_at, last_seq) VALUES (md5(:r::text), 'bench', 'created', '["demo-optimist","demo-skeptic"]', 0, 'majority', '{}', :r, 1, 1, 1);
INSERT INTO debate_events (debate_id, seq, type, round, agent, at, payload, prev_hash, hash) VALUES (md5(:r::text), 1, 'debate_created', 0, '', 1, repeat('x', 120), repeat('0', 64), repeat('0', 64));
SELECT pg_advisory_xact_lock(7);
SELECT coalesce(max(seq), 0) + 1 AS next FROM audit_log \\gset
INSERT INTO audit_log (seq, at, actor, action, object, result, ip_address, request_id, details, key_id, prev_hash, hash) VALUES (:next, 1, 'anonymous', 'debate.create', md5(:r::text), 'ok', '127.0.0.1', repeat('r', 26), '{}', repeat('k', 16), repeat('0', 64), repeat('0', 64));
COMMIT;
"""


def bench_creates_postgres():
    with postgres_database() as url, postgres_database() as peer_url, Sandbox(DATABASE_URL=url, ARAGORA_MAX_CONCURRENT_DEBATES="1", ARAGORA_WORKERS="64", ARAGORA_DB_POOL_SIZE="20") as sandbox:
        sandbox.run("migrate", check=0)
        sandbox.run("migrate", check=0, DATABASE_URL=peer_url)
        single = sandbox.write("insert.sql", "INSERT INTO peer (task, body) VALUES ('bench', repeat('x', 300));\n")
        subprocess.run(["psql", "-qX", peer_url, "-c", "CREATE TABLE peer (id bigserial PRIMARY KEY, task text, body text)"], check=True)
        creation = sandbox.write("creation.sql", CREATION)
        with Daemon(sandbox) as daemon:
            post = posting(sandbox)

            def peer(script):
                text = subprocess.run(["pgbench", "-n", "-c", "16", "-j", "2", "-T", str(SECONDS), "-M", "prepared", "-f", script, peer_url], capture_output=True, text=True, check=True).stdout
                return float(re.search(r"tps = ([\d.]+)", text).group(1)), 0

            (ours, p99), (same, _), (insert, _) = in_turn(lambda: wrk(f"http://127.0.0.1:{daemon.port}/api/debates", 64, post), lambda: peer(creation), lambda: peer(single))
            row("POST /api/debates, PostgreSQL, 64 clients, audited", f"{ours:,.0f}/s, p99 {p99:.1f} ms", f"pgbench, the same statements (BEGIN, 2 INSERT, lock, end of the chain, INSERT, COMMIT) {same:,.0f}/s ({ours / same:.2f})", ">= 0.6", ours >= 0.6 * same)
            row("the same", f"{ours:,.0f}/s", f"pgbench, one INSERT and no index but the key {insert:,.0f}/s ({ours / insert:.2f})", ">= 0.8", ours >= 0.8 * insert)


def posting(sandbox):
    return str(sandbox.write("post.lua", "wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = '{\"task\": \"bench\", \"rounds\": 0}'\n"))


def bench_session():
    """What a session costs: its token is looked up in the database at each request."""
    for engine in ("SQLite", "PostgreSQL"):
        with postgres_database() as url, Sandbox(ARAGORA_MAX_CONCURRENT_DEBATES="1", ARAGORA_WORKERS="64", **({"DATABASE_URL": url} if engine == "PostgreSQL" else {})) as sandbox:
            sandbox.run("migrate", check=0)
            password = sandbox.run("user", "add", "--email", "ada@example.org", "--role", "member", check=0).stdout.strip().splitlines()[-1]
            post = posting(sandbox)
            with Daemon(sandbox) as daemon:
                base = f"http://127.0.0.1:{daemon.port}/api/debates"
                login = daemon.post("/api/auth/login", {"email": "ada@example.org", "password": password})[1]
                session = [f"Authorization: Bearer {login['access_token']}"]
                (with_session, p99), (without, _) = in_turn(lambda: wrk(base, 64, headers=session), lambda: wrk(base))
                row(f"GET /api/debates with a session, {engine}", f"{with_session:,.0f}/s, p99 {p99:.1f} ms", f"without one {without:,.0f}/s ({with_session / without:.2f})", "said", True)
                (with_session, p99), (without, _) = in_turn(lambda: wrk(base, 64, post, session), lambda: wrk(base, 64, post))
                row(f"POST /api/debates with a session, {engine}", f"{with_session:,.0f}/s, p99 {p99:.1f} ms", f"without one {without:,.0f}/s ({with_session / without:.2f})", "said", True)


def status_of(daemon, *names):
    text = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
    return [int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1)) for name in names]


def processor_seconds(daemon):
    fields = pathlib.Path(f"/proc/{daemon.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def talkative(provider, **environment):
    return Sandbox(OPENAI_BASE_URL=provider.url, OPENAI_API_KEY="sk-test-0123456789abcdef-bench", ARAGORA_MAX_CONCURRENT_DEBATES="1000", **environment)


def begin_debates(daemon, count):
    for number in range(count):
        status, answer = daemon.post("/api/debates", {"task": f"bench {number}", "agents": ["openai", "openai", "openai"], "rounds": 1})
        if status != 200:
            raise AssertionError(answer)
        yield answer["debate_id"]


def bench_debates(count=1000, delay=5.0):
    """The providers' own time is that of the phases one after the other; the rest is ours."""
    provider = Provider(delay, hold=True)
    with talkative(provider) as sandbox, Daemon(sandbox) as daemon:
        ids = list(begin_debates(daemon, count))
        wait_until(lambda: provider.open == 3 * count, f"{provider.open} of {3 * count} calls are open")
        threads = status_of(daemon, "Threads")[0]
        began, used, provider_used = time.monotonic(), processor_seconds(daemon), provider.processor_seconds()
        provider.release()
        wait_until(lambda: daemon.get("/api/debates?status=completed&limit=1")[1]["total"] >= count, "not all debates ended", 300)
        took, used = time.monotonic() - began, processor_seconds(daemon) - used
        provider_used = provider.processor_seconds() - provider_used
        memory = status_of(daemon, "VmHWM")[0]
        phases = provider.calls / (3 * count)
        own = phases * delay
        assert all(daemon.get(f"/api/debates/{one}")[1]["status"] == "completed" for one in ids[::100])
        row(f"{count:,} debates at once, {provider.most:,} provider calls open", f"{memory / 1024:.0f} MB, {threads:,} threads", "", "<= 1 GiB", memory < 1 << 20)
        row("the same to their end", f"{took:.1f} s, {used:.1f} s of processor time ({1000 * used / provider.calls:.1f} ms a call)", f"the providers' own time {own:.1f} s ({phases:.1f} phases of {delay} s); theirs of the processor {provider_used:.1f} s", "<= 1.5 x", took <= 1.5 * own)
    provider.close()


INSTANT = [f"sim:p=0.6,seed={seed}" for seed in (1, 2, 3)]  # nobody waits for an answer


def hold(daemon, count, at_once):
    """As many debates, so many of them at a time: seconds and processor seconds."""
    numbers, ids = iter(range(count)), []

    def client():
        for number in numbers:
            _, created = daemon.post("/api/debates", {"task": f"bench {number}", "agents": INSTANT, "rounds": 1})
            ids.append(created["debate_id"])
            wait_until(lambda: not daemon.get(f"/api/debates/{created['debate_id']}")[1]["in_progress"], "no end")

    began, used = time.monotonic(), processor_seconds(daemon)
    clients = [threading.Thread(target=client) for _ in range(at_once)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    took, used = time.monotonic() - began, processor_seconds(daemon) - used
    assert len(ids) == count and all(daemon.get(f"/api/debates/{one}")[1]["status"] == "completed" for one in ids[::10])
    return took, used


def commits(path, count):
    """As many transactions of one row, each on disk before the next."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE rows (body)")
        began = time.monotonic()
        for _ in range(count):
            database.execute("INSERT INTO rows VALUES (zeroblob(600))")
        return time.monotonic() - began


def bench_engine(count=40):
    """What the engine itself takes, beside an intent and a result in a commit of their own for each call."""
    with Sandbox(ARAGORA_MAX_CONCURRENT_DEBATES="16") as sandbox, Daemon(sandbox) as daemon:
        hold(daemon, 5, 1)  # warm
        path = next((sandbox.directory / "state").glob("*.db"))
        alone, used = hold(daemon, count, 1)
        with contextlib.closing(sqlite3.connect(path)) as database:
            calls, = database.execute("SELECT count(*) FROM agent_calls").fetchone()
            events, = database.execute("SELECT count(*) FROM debate_events").fetchone()
        calls, events = calls / (count + 5), events / (count + 5)
        peer = commits(sandbox.directory / "peer.db", round(2 * calls * count)) / count
        row(f"a debate of {calls:.0f} calls and {events:.0f} events whose provider takes no time, SQLite", f"{1000 * alone / count:.0f} ms, {1000 * used / count:.1f} ms of processor time", f"two commits a call, one after the other {1000 * peer:.0f} ms", "<= 200 ms", alone / count <= 0.2)
        together, used = hold(daemon, 4 * count, 16)
        row("the same, 16 at a time", f"{4 * count / together:.0f} debates/s, {1000 * used / count / 4:.1f} ms of processor time each", "", "said", True)


def bench_open_calls():
    """In a process of its own: the server's thread never ends."""
    seen = json.loads(subprocess.run([sys.executable, pathlib.Path(__file__).parent / "open_calls.py"], capture_output=True, text=True, check=True, timeout=900).stdout)
    row(f"{seen['open_calls']:,} calls open over TLS", f"{seen['resident_kib'] / 1024:.0f} MB ({seen['peak_kib'] / 1024:.0f} at most, {seen['kib_a_call']} KB a call), {seen['threads']:,} threads", "", "3,000 calls, <= 1 GiB", seen["open_calls"] == seen["asked_for"] == 3000 and seen["peak_kib"] <= 1 << 20)


def bench_sockets():
    """One message, from the moment at which the provider has said it, through the database to every socket."""
    for count, most in ((1_000, 0.05), (10_000, 0.2)):
        provider = Provider(hold=True)
        with talkative(provider, ARAGORA_SOCKETS_PER_ADDRESS="20000", ARAGORA_MAX_CONNECTIONS="12000") as sandbox, Daemon(sandbox) as daemon:
            idle = status_of(daemon, "VmRSS")[0]
            debate_id = next(begin_debates(daemon, 1))
            wait_until(lambda: provider.open == 3, "no call")
            sockets = Sockets(daemon.port, debate_id, count)
            kilobytes = (status_of(daemon, "VmRSS")[0] - idle) / count
            provider.release()
            came = sockets.next_message()
            after = [moment - provider.first_answer for moment in came]
            p50, p99, last = after[count // 2], after[count * 99 // 100], after[-1]
            row(f"an answer of a provider to {count:,} sockets", f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, last {last * 1000:.0f} ms (first {after[0] * 1000:.0f} ms); {kilobytes:.1f} KB each", "", f"last < {most * 1000:.0f} ms, <= 16 KB", last < most and kilobytes <= 16)
            sockets.close()
        provider.close()


def bench_stop():
    provider = Provider(hold=True)
    with talkative(provider, ARAGORA_DRAIN_SECONDS="2", ARAGORA_SOCKETS_PER_ADDRESS="20000", ARAGORA_MAX_CONNECTIONS="12000") as sandbox, Daemon(sandbox) as daemon:
        ids = list(begin_debates(daemon, 1000))
        wait_until(lambda: provider.open == 3000, "not all calls are open")
        sockets = Sockets(daemon.port, ids[0], 1000)
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        status = daemon.process.wait(60)
        took = time.monotonic() - began
        row("SIGTERM to the end, 1,000 debates with 3,000 calls, 1,000 sockets", f"{took:.2f} s, exit {status}", "drain_seconds 2", "< 4 s", took < 4 and status == 0)
        sockets.close()
    provider.close()


def wait_until(condition, otherwise, limit=120):
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(otherwise)
        time.sleep(0.01)


def run_http():
    with Sandbox() as sandbox:
        bench_http(sandbox)


PARTS = {"http": run_http, "creates-sqlite": bench_creates_sqlite, "creates-postgres": bench_creates_postgres, "session": bench_session,
         "engine": bench_engine, "debates": bench_debates, "open-calls": bench_open_calls, "sockets": bench_sockets, "stop": bench_stop}
