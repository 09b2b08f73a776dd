"""The rows about what stands between the Internet and the rest: TLS, limits, tokens, logins, sockets that are silent, and the way
to another instance."""
import asyncio
import concurrent.futures
import contextlib
import os
import pathlib
import re
import secrets
import statistics
import subprocess
import tempfile
import time

from live_load import Sockets
from measure import SECONDS, in_turn, row, wrk
from support import Authority, Daemon, RedisServer, Sandbox, free_port, postgres_database, service
from test_sisters import sisters, watch_both
from test_tls import TlsDaemon
from test_tokens import add_user, log_in

LIMIT_OFF = {"ARAGORA_LOGIN_RATE_LIMIT": "0"}


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident_kilobytes(daemon):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text())[1])


class NginxWithTls:
    """Two workers, the same certificate and rules as ours, an answer from memory."""

    def __init__(self, daemon):
        self.directory = tempfile.TemporaryDirectory(prefix="aragora-nginx-")
        at, self.port = pathlib.Path(self.directory.name), free_port()
        paths = "".join(f"{name}_temp_path {at}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (at / "nginx.conf").write_text(f"""worker_processes 2; pid {at}/pid; error_log {at}/error.log; events {{ worker_connections 20000; }}
http {{ access_log off; {paths} keepalive_requests 100000000;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers off; ssl_session_tickets on; ssl_session_cache none;
  ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305;
  server {{ listen 127.0.0.1:{self.port} ssl backlog=4096; ssl_certificate {daemon.certificate}; ssl_certificate_key {daemon.key};
    location / {{ default_type application/json; return 200 '{{"status":"healthy","version":"0.0.0","timestamp":"2026"}}'; }} }} }}
""")
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-c", at / "nginx.conf", "-p", at, "-g", "daemon off; user root;" if os.geteuid() == 0 else "daemon off;"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()


def handshakes(port, how, version, clients=2):
    """A second of OpenSSL's own client, several of them; every connection is a handshake and nothing else."""
    arguments = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", how, version, "-time", str(SECONDS)]
    running = [subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(clients)]
    counted = [re.findall(r"(\d+) connections in (\d+) real seconds", process.communicate()[0]) for process in running]
    return sum(int(one[-1][0]) / int(one[-1][1]) for one in counted), 0


def family(process):
    return [process.pid, *map(int, subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split())]


def costing(process, measure):
    """What it measures, and the microseconds of processor time that the server used for each."""
    used = sum(map(processor_seconds, family(process)))
    rate, p99 = measure()
    return rate, p99, (sum(map(processor_seconds, family(process))) - used) * 1e6 / (rate * SECONDS)


def bench_tls():
    with Authority() as authority, Sandbox() as sandbox, TlsDaemon(sandbox, authority) as daemon, NginxWithTls(daemon) as nginx:
        for what, how, version in (("full, TLS 1.3", "-new", "-tls1_3"), ("full, TLS 1.2", "-new", "-tls1_2"), ("resumed, TLS 1.2", "-reuse", "-tls1_2")):
            (ours, _, mine), (peer, _, theirs) = in_turn(lambda: costing(daemon.process, lambda: handshakes(daemon.port, how, version)), lambda: costing(nginx.process, lambda: handshakes(nginx.port, how, version)))
            row(f"TLS handshakes, {what}, ECDSA P-256", f"{ours:,.0f}/s, {mine:.0f} us each", f"nginx {peer:,.0f}/s, {theirs:.0f} us ({ours / peer:.2f})", ">= 0.8 of nginx", ours >= 0.8 * peer)
        for clients in (64, 1000):
            (ours, p99, mine), (peer, other, theirs) = in_turn(lambda: costing(daemon.process, lambda: wrk(f"https://127.0.0.1:{daemon.port}/api/health", clients)), lambda: costing(nginx.process, lambda: wrk(f"https://127.0.0.1:{nginx.port}/", clients)))
            row(f"GET /api/health over TLS, {clients} connections", f"{ours:,.0f}/s, p99 {p99:.1f} ms, {mine:.1f} us each", f"nginx {peer:,.0f}/s, p99 {other:.1f} ms, {theirs:.1f} us ({ours / peer:.2f})", ">= 0.6 of nginx", ours >= 0.6 * peer)


def bench_limits():
    """What it costs to count each request, in this process and in Redis: in answers, and in time of the processor."""
    with postgres_database() as url, RedisServer() as redis, Sandbox(DATABASE_URL=url, REDIS_URL=redis.url) as sandbox:
        sandbox.run("migrate", check=0)
        crowd = str(sandbox.write("crowd.lua", "request = function() return wrk.format('GET', nil, {['X-Forwarded-For'] = '10.' .. math.random(0, 255) .. '.' .. math.random(0, 255) .. '.' .. math.random(0, 63)}) end\n"))
        much = {"ARAGORA_IP_RATE_LIMIT": "1000000"}
        with Daemon(sandbox) as free, Daemon(sandbox, REDIS_URL="", **much) as alone, Daemon(sandbox, **much) as shared, Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="600") as each:
            def measured(daemon, path, clients, script=None):
                used, of_redis = processor_seconds(daemon.process.pid), processor_seconds(redis.process.pid)
                rate, p99 = wrk(f"http://127.0.0.1:{daemon.port}{path}", clients, script)
                requests = rate * SECONDS / 1e6
                return rate, p99, (processor_seconds(daemon.process.pid) - used) / requests, (processor_seconds(redis.process.pid) - of_redis) / requests

            for name, path, clients in (("cached, 64 clients", "/api/leaderboard", 64), ("cached, 2 clients", "/api/leaderboard", 2), ("from the database", "/api/agents", 64)):
                none, own, one, many = in_turn(*(lambda d=d, s=s: measured(d, path, clients, s) for d, s in ((free, None), (alone, None), (shared, None), (each, crowd))))
                said = [f"{label} {rate:,.0f}/s, {ours:.0f} us here, {theirs:.0f} us in Redis" for label, (rate, _, ours, theirs) in (("counted here", own), ("in Redis", one), ("in Redis, a million addresses", many))]
                row(f"limits: {name}", "; ".join(said), f"not counted {none[0]:,.0f}/s, {none[2]:.0f} us ({one[0] / none[0]:.2f}, {many[0] / none[0]:.2f})", "said", True)


def bench_tokens():
    """What it costs to know who asks. A session is looked up at each request; a forgery is refused by its signature alone."""
    token = secrets.token_hex(32)
    with Sandbox(ARAGORA_API_TOKEN=token, **LIMIT_OFF) as sandbox:
        sandbox.run("migrate", check=0)
        password = add_user(sandbox, "ada@example.org")
        with Daemon(sandbox) as daemon:
            login = log_in(daemon, "ada@example.org", password)["access_token"]
            forged = login[:-6] + ("AAAAAA" if login[-6:] != "AAAAAA" else "BBBBBB")
            measure = lambda text, refused: lambda: wrk(f"http://127.0.0.1:{daemon.port}/api/leaderboard", 64, headers=[f"Authorization: Bearer {text}"], refused=refused)
            (api, _), (session, p99), (bad, _) = in_turn(measure(token, False), measure(login, False), measure(forged, True))
            row("a cached answer to the API token, to a session, to a forged token, SQLite", f"{api:,.0f}/s, {session:,.0f}/s (p99 {p99:.1f} ms), {bad:,.0f}/s", "", "said", True)


def bench_logins():
    with Sandbox(**LIMIT_OFF) as sandbox:
        sandbox.run("migrate", check=0)
        password = add_user(sandbox, "ada@example.org")
        with Daemon(sandbox) as daemon:
            def attempt(email, word):
                began = time.perf_counter()
                status = daemon.post("/api/auth/login", {"email": email, "password": word})[0]
                return time.perf_counter() - began, status

            def rate(clients=4):
                began = time.monotonic()
                with concurrent.futures.ThreadPoolExecutor(clients) as pool:
                    codes = [status for _, status in pool.map(lambda _: attempt("ada@example.org", password), range(200))]
                assert set(codes) == {200}, codes
                return 200 / (time.monotonic() - began), 0

            (logins, _), = in_turn(rate)
            row("logins, 4 clients (Argon2id, 19 MiB, 2 passes)", f"{logins:.0f}/s", "", "said", True)
            known, unknown = [], []
            for turn in range(400):  # one after the other, the first of a pair by turns
                for who in ((known, unknown) if turn % 2 else (unknown, known)):
                    who.append(attempt("ada@example.org" if who is known else f"nobody{turn}@example.org", "a wrong password")[0])
            mine, theirs = statistics.median(known), statistics.median(unknown)
            row("a wrong password of somebody known, of somebody unknown", f"{mine * 1000:.2f} ms, {theirs * 1000:.2f} ms", f"{abs(mine / theirs - 1) * 100:.1f} % apart, medians of 400", "<= 5 %", abs(mine / theirs - 1) <= 0.05)


def bench_silent_sockets():
    """Memory of WebSockets that nobody says anything on."""
    for count in (1_000, 10_000):
        for tls in (False, True):
            with contextlib.ExitStack() as stack:
                authority, sandbox = stack.enter_context(Authority()), stack.enter_context(Sandbox())
                roomy = {"ARAGORA_SOCKETS_PER_ADDRESS": "20000", "ARAGORA_MAX_CONNECTIONS": "12000", "ARAGORA_CONNECTIONS_PER_ADDRESS": "12000"}
                daemon = stack.enter_context(TlsDaemon(sandbox, authority, **roomy) if tls else Daemon(sandbox, **roomy))
                warm = Sockets(daemon.port, None, 50, daemon.context() if tls else None)
                before = resident_kilobytes(daemon)
                sockets = Sockets(daemon.port, None, count, daemon.context() if tls else None)
                each = (resident_kilobytes(daemon) - before) / count
                row(f"{count:,} silent WebSockets, {'TLS' if tls else 'no TLS'}", f"{each:.1f} KB each", "", "said" if tls else "<= 10 KB", tls or each <= 10)
                warm.close()
                sockets.close()


def bench_two_instances():
    """From the socket of the instance that runs a debate to the socket of another one: each event, by the clock of one client."""
    with sisters(2, service("TEST_REDIS")) as (_, (first, second)):
        delays = asyncio.run(watch_both(first, second, debates=20))
        at = lambda share: delays[min(int(len(delays) * share), len(delays) - 1)] * 1000
        row(f"an event at another instance, {len(delays)} of them", f"p50 {at(0.5):.1f} ms, p95 {at(0.95):.1f} ms, p99 {at(0.99):.1f} ms later", "", "p95 <= 100 ms", at(0.95) <= 100)


PARTS = {"tls": bench_tls, "limits": bench_limits, "tokens": bench_tokens, "logins": bench_logins, "silent-sockets": bench_silent_sockets, "two-instances": bench_two_instances}
