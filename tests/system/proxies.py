"""The proxies of deploy/, in front of daemons of a test's own: their files as they are, but for ports, certificate and places."""
import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import websockets

from support import SOURCE, Authority, Daemon, Sandbox, free_port

DEPLOY = SOURCE / "deploy"
HOST = "aragora.example.org"
THE_HOST = "# --- the host;"


def replaced(text, places):
    """Each is there: whoever changes a file of deploy/ is told that its test is to change, too."""
    for old, new in places.items():
        assert old in text, f"{old!r} is not in the file any more"
        text = text.replace(old, new)
    return text


def fetch(connection, method, path, body=None, headers=None):
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


class Proxy(Daemon):
    """What a client sees, over TLS. Speaks to it as to a daemon."""

    BASE = ""
    ENVIRONMENT = {}

    def __init__(self, ports, certificate=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="aragora-proxy-"))
        self.authority = Authority(HOST)
        self.port, self.plain_port = free_port(), free_port()
        self.certificate, self.key = certificate or (self.authority.certificate, self.authority.key)
        self.output = open(self.directory / "output", "w+")
        command = self.configure(list(ports))
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, env={"PATH": os.environ["PATH"], "HOME": str(self.directory), **self.ENVIRONMENT})
        self.started = time.monotonic()
        self.wait_ready()

    def write(self, name, text):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def wait_ready(self, limit=20):
        while self.process.poll() is None and time.monotonic() - self.started < limit:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=limit).close()  # of those behind it nothing is asked
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"the proxy does not listen:\n{self.text()}")

    def text(self):
        self.output.flush()
        return (self.directory / "output").read_text()

    def context(self):
        return ssl.create_default_context(cafile=self.authority.file)

    def connection(self, timeout=20, source="127.0.0.1"):
        """As a client with that address; it knows the proxy by its name."""
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=timeout)
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=timeout, source_address=(source, 0))
        try:
            connection.sock = self.context().wrap_socket(raw, server_hostname=HOST)
        except BaseException:
            raw.close()
            raise
        return connection

    def ask(self, path, source="127.0.0.1", **headers):
        return fetch(self.connection(source=source), "GET", path, headers=headers)

    def socket(self, query, **how):
        """A WebSocket's address and how to get there, for websockets.connect."""
        return {"uri": f"wss://{HOST}:{self.port}{self.BASE}/ws?{query}", "host": "127.0.0.1", "port": self.port, "ssl": self.context(), "server_hostname": HOST, **how}

    def everything_written(self):
        """Whatever stands in its files, but those that configured it."""
        return "\n".join(path.read_text(errors="replace") for path in self.directory.rglob("*") if path.is_file() and path.suffix in (".log", "") and path.parent.name != "snippets")

    def stop(self, limit=20):
        self.process.terminate()
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()
        self.authority.__exit__()
        shutil.rmtree(self.directory, ignore_errors=True)


class Nginx(Proxy):
    # What Debian's nginx.conf says, as far as it matters here.
    FRAME = """{user} worker_processes 1; daemon off; pid {directory}/pid; error_log stderr crit;
events {{ worker_connections 1000; }}
http {{
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  include conf.d/*.conf;
}}
"""

    def places(self, ports):
        servers = [f"    server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;" for port in (8080, 8081, 8082)]
        return {"\n".join(servers): "\n".join(f"    server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;" for port in ports)}

    def here(self):
        current = "/etc/aragora/tls/current"
        return {"listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl", "listen [::]:443 ssl http2;": "", "listen 80;": f"listen 127.0.0.1:{self.plain_port};", "listen [::]:80;": "",
                f"{current}/fullchain.pem": str(self.certificate), f"{current}/privkey.pem": str(self.key), "/var/www/html": f"{self.directory}/html"}

    def configure(self, ports):
        logs = {"/var/log/nginx": str(self.directory)}
        self.write("conf.d/aragora.conf", replaced((DEPLOY / "nginx/aragora.conf").read_text(), {**self.places(ports), **self.here(), **logs}))
        return self.command()

    def command(self):
        self.write("snippets/aragora-proxy.conf", (DEPLOY / "nginx/aragora-proxy.conf").read_text())
        user = "user root;" if os.geteuid() == 0 else ""
        self.write("nginx.conf", self.FRAME.format(user=user, directory=self.directory))
        return ["/usr/sbin/nginx", "-c", f"{self.directory}/nginx.conf", "-p", str(self.directory)]

    def reload(self):
        subprocess.run([*self.command(), "-s", "reload"], check=True, capture_output=True, timeout=20)


class NginxBelowAPath(Nginx):
    """A host that serves something else, too."""

    BASE = "/aragora"

    def configure(self, ports):
        logs = {"/var/log/nginx": str(self.directory)}
        upper, rest = (DEPLOY / "nginx/aragora.conf").read_text().split(THE_HOST)
        assert "server {" not in upper and "server {" in rest
        self.write("conf.d/aragora.conf", replaced(upper, self.places(ports)))
        self.write("snippets/aragora-subpath.conf", replaced((DEPLOY / "nginx/aragora-subpath.conf").read_text(), logs))
        self.write("conf.d/host.conf", f"server {{ listen 127.0.0.1:{self.port} ssl; ssl_certificate {self.certificate}; ssl_certificate_key {self.key};\n"
                                       'access_log off; include snippets/aragora-subpath.conf; location / { return 200 "another service"; } }\n')
        return self.command()


class HAProxy(Proxy):
    def configure(self, ports):
        servers = {f"127.0.0.1:{port}": f"127.0.0.1:{here}" for port, here in zip((8080, 8081, 8082), ports)}
        spare = {f"    server instance{number} 127.0.0.1:{8079 + number}\n": "" for number in range(len(ports) + 1, 4)}
        combined = self.write("combined.pem", self.certificate.read_text() + self.key.read_text())
        here = {"bind :80": f"bind 127.0.0.1:{self.plain_port}", "bind :443": f"bind 127.0.0.1:{self.port}", "/etc/aragora/tls/current/combined.pem": str(combined)}
        text = replaced((DEPLOY / "haproxy/aragora.cfg").read_text(), {**spare, **servers, **here})
        # What goes before it in Debian's own, as far as it matters here.
        path = self.write("haproxy.cfg", "global\n    log stdout format raw daemon\n    ssl-default-bind-options ssl-min-ver TLSv1.2\ndefaults\n    mode http\n" + text)
        return ["/usr/sbin/haproxy", "-W", "-f", str(path)]


class Caddy(Proxy):
    ENVIRONMENT = {"CADDY_ADMIN": "127.0.0.1:0"}

    def configure(self, ports):
        servers = " ".join(f"127.0.0.1:{port}" for port in ports)
        here = {"127.0.0.1:8080 127.0.0.1:8081 127.0.0.1:8082": servers, "\temail admin@example.org": "\tauto_https disable_redirects\n\tadmin off",
                f"{HOST} {{": f"https://{HOST}:{self.port} {{\n\ttls {self.certificate} {self.key}"}
        path = self.write("Caddyfile", replaced((DEPLOY / "caddy/Caddyfile").read_text(), here))
        return ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", str(path)]


class Load:
    """So many requests a second, every twentieth of which may create a debate, over connections that stay or not."""

    CLIENTS, RATE, LIMIT = 12, 300, 20

    def __init__(self, proxy, creates=True, stays=True, rate=RATE):
        self.proxy, self.creates, self.stays, self.rate, self.context = proxy, creates, stays, rate, proxy.context()
        self.asked, self.failed, self.ending, self.began = 0, [], threading.Event(), time.monotonic()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.all_clients()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if not self.ending.is_set():
            self.took = time.monotonic() - self.began
        self.ending.set()
        self.thread.join()

    async def all_clients(self):
        await asyncio.gather(*(self.client(number) for number in range(self.CLIENTS)))

    async def client(self, number):
        connection, due, turn = None, time.monotonic() + number * 0.003, number
        while not self.ending.is_set():
            turn, due = turn + 1, max(due + self.CLIENTS / self.rate, time.monotonic() - 1)
            try:
                async with asyncio.timeout(self.LIMIT):
                    connection = connection or await asyncio.open_connection("127.0.0.1", self.proxy.port, ssl=self.context, server_hostname=HOST)
                    status, stays = await self.ask(*connection, self.creates and turn % 20 == 0)
                if status != 200:
                    self.failed.append((round(time.monotonic() - self.began, 2), status))
            except (OSError, EOFError, asyncio.IncompleteReadError, ValueError) as error:
                self.failed.append((round(time.monotonic() - self.began, 2), repr(error)))
                stays = False
            self.asked += 1
            if not (stays and self.stays) and connection:
                connection[1].close()
                connection = None
            await asyncio.sleep(max(0, due - time.monotonic()))
        if connection:
            connection[1].close()

    async def ask(self, reader, writer, creates):
        body = json.dumps({"task": "x", "rounds": 0, "agents": ["demo-a", "demo-b"]}) if creates else ""
        head = f"POST /api/debates HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}" if creates else "GET /api/debates?limit=5 HTTP/1.1"
        writer.write(f"{head}\r\nHost: {HOST}\r\n\r\n{body}".encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(answer.split("content-length:")[1].split("\r\n")[0]))
        return int(answer.split()[1]), "connection: close" not in answer


def status_of_post(who, body, headers):
    try:
        return who.request("POST", "/api/debates", body, headers)[0]
    except OSError:
        return None


class Fences:
    """What a proxy keeps in and out, whichever it is; one daemon behind it, which counts."""

    TOKEN = "tok3n-that-must-be-written-nowhere-at-all"
    ENVIRONMENT = {"ARAGORA_API_TOKEN": TOKEN, "ARAGORA_BEHIND_PROXY": "true"}
    BEARER = {"Authorization": f"Bearer {TOKEN}"}
    TOO_LONG = (413,)

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.daemon = cls.stack.enter_context(Daemon(cls.stack.enter_context(Sandbox(**cls.ENVIRONMENT))))
        cls.proxy = cls.stack.enter_context(cls.PROXY([cls.daemon.port]))

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def test_metrics_lead_nowhere_however_they_are_written(self):
        self.assertIn(b"aragora_", self.daemon.request("GET", "/metrics/")[2])
        for path in ("/metrics", "/metrics/", "/%6detrics", "/metrics%2f", "//metrics", "/x/../metrics", "/api/v1/../../metrics", "/metrics?a=b", "/metrics%3fa", "/./metrics", "/metrics;a"):
            status, _, body = self.proxy.ask(path)
            self.assertEqual(status, 404, path)
            self.assertNotIn(b"# TYPE", body, path)

    def test_the_client_is_who_came_to_the_proxy_whatever_it_says(self):
        with Sandbox(**self.ENVIRONMENT) as sandbox, Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="20") as limited, self.PROXY([limited.port]) as proxy:
            seen = []
            for turn in range(25):
                forged = {"X-Forwarded-For": f"203.0.113.{turn}", "Forwarded": f"for=203.0.113.{turn}", "X-Real-IP": f"203.0.113.{turn}", "X-Forwarded-Proto": "http"}
                seen.append(proxy.ask("/api/agents", source="127.0.0.2", **self.BEARER, **forged)[0])
            self.assertEqual(seen, [200] * 20 + [429] * 5)
            self.assertEqual(proxy.ask("/api/agents", source="127.0.0.3")[0], 401, "another client, who was not counted yet")
            self.assertIn("max-age", proxy.ask("/healthz", source="127.0.0.3")[1]["strict-transport-security"], "the daemon does not know that the client speaks TLS")

    def test_bodies_are_as_long_as_the_daemon_takes_them_and_no_longer(self):
        headers = {**self.BEARER, "Content-Type": "application/json"}
        for size, fits in ((1 << 20, True), ((1 << 20) + 1, False)):
            body = json.dumps({"task": "x", "rounds": 0}).encode()
            body += b" " * (size - len(body))
            direct, through = (status_of_post(who, body, headers) for who in (self.daemon, self.proxy))
            self.assertEqual((direct, through in self.TOO_LONG), (200, False) if fits else (413, True), (size, through))
            self.assertEqual(through == 200, fits)

    def test_tokens_are_in_no_log(self):
        async def connect(query):
            async with websockets.connect(**self.proxy.socket(query)) as connection:
                self.assertEqual(json.loads(await connection.recv())["type"], "connection_info")

        asyncio.run(connect(f"token={self.TOKEN}"))
        self.proxy.ask(f"/api/debates?token={self.TOKEN}", **self.BEARER, Referer=f"https://{HOST}/ws?token={self.TOKEN}")
        opened, listed, refused = self.LOGGED
        self.wait_written(self.proxy, opened, listed)
        with self.PROXY([1]) as broken:  # nobody there
            for path in (f"/ws?token={self.TOKEN}", f"/api/debates?token={self.TOKEN}"):
                self.assertIn(broken.ask(path)[0], (502, 503))
            self.wait_written(broken, refused)

    def wait_written(self, proxy, *wanted):
        deadline = time.monotonic() + 10
        while not all(one in proxy.everything_written() for one in wanted):
            self.assertLess(time.monotonic(), deadline, f"{wanted}:\n{proxy.everything_written()}")
            time.sleep(0.05)
        self.assertNotIn(self.TOKEN, proxy.everything_written())
