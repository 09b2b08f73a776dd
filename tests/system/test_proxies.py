"""Other proxies than nginx, certificates that are renewed, and a daemon below a path of its host: the files of deploy/ at work."""
import asyncio
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
import unittest
import urllib.parse

import websockets

from proxies import DEPLOY, HOST, Caddy, Fences, HAProxy, Load, Nginx, NginxBelowAPath
from support import Authority, Daemon, Sandbox, free_port, main, strong_secret
from test_debates import until

HOOK = DEPLOY / "certbot/aragora"


class HAProxyFences(Fences, unittest.TestCase):
    PROXY = HAProxy
    TOO_LONG = (413, None)  # it hangs up on who goes on sending
    LOGGED = ("GET /ws HTTP/1.1 101", "GET /api/debates HTTP/1.1", "GET /ws HTTP/1.1 503")


class CaddyFences(Fences, unittest.TestCase):
    PROXY = Caddy
    TOO_LONG = (413, 502)  # whichever of the two it notices first: the length, or that the daemon was not sent it all
    LOGGED = ('"uri":"/ws"', '"uri":"/api/debates"', '"uri":"/ws"')


class Killed(unittest.TestCase):
    """One of three under load; they need to have nothing in common to answer."""

    def test_no_request_that_may_be_asked_twice_fails(self):
        for kind in (HAProxy, Caddy):
            with self.subTest(kind.__name__), contextlib.ExitStack() as stack:
                daemons = [stack.enter_context(Daemon(stack.enter_context(Sandbox()))) for _ in range(3)]
                proxy = stack.enter_context(kind(daemon.port for daemon in daemons))
                with Load(proxy, creates=False, rate=200) as load:
                    until(lambda: load.asked >= 200 and all(served(daemon) > 20 for daemon in daemons), 60)
                    daemons[1].kill()
                    asked = load.asked
                    until(lambda: load.asked >= asked + 400, 60)
                    load.end()
                self.assertEqual(load.failed, [], kind.__name__)


def served(daemon):
    """How many lists of debates it was asked for."""
    counts = re.findall(r'(?m)^aragora_http_requests_total\{[^}]*endpoint="/api/debates"[^}]*\} (\d+)', daemon.request("GET", "/metrics")[2].decode())
    return sum(map(int, counts))


class Certified(Daemon):
    """Speaks TLS itself, with what the hook put in place."""

    def __init__(self, sandbox, current, context):
        self.context = context
        super().__init__(sandbox, ARAGORA_TLS_CERT_PATH=str(current / "fullchain.pem"), ARAGORA_TLS_KEY_PATH=str(current / "privkey.pem"))

    def connection(self, timeout=20):
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=timeout)
        connection.sock = self.context().wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=timeout), server_hostname=HOST)
        return connection


class Renewal(unittest.TestCase):
    """certbot renewed the certificate and calls the hook."""

    def setUp(self):
        self.sandbox = self.enterContext(Sandbox())
        self.old, self.new = self.enterContext(Authority(HOST)), self.enterContext(Authority(HOST))
        self.live, self.tls, self.port = self.sandbox.directory / "live", self.sandbox.directory / "tls", free_port()
        self.live.mkdir()
        self.renew(self.old)
        self.assertEqual(self.hook(RELOAD="true", PROBE="none").returncode, 0)
        self.assertEqual(self.serial_in_place(), serial_of(self.old))

    def context(self):
        context = self.old_context()
        context.load_verify_locations(self.new.file)
        return context

    def old_context(self):
        return ssl.create_default_context(cafile=self.old.file)

    def renew(self, authority, key=None):
        shutil.copy(authority.certificate, self.live / "fullchain.pem")
        shutil.copy((key or authority).key, self.live / "privkey.pem")

    def hook(self, domains=f"www.example.org {HOST}", **settings):
        settings = {"DOMAIN": HOST, "TLS_DIRECTORY": self.tls, "TLS_GROUP": os.getgid(), **settings}
        path = self.sandbox.write("certbot-settings", "".join(f"{name}='{value}'\n" for name, value in settings.items()))
        return subprocess.run([HOOK], env={"PATH": os.environ["PATH"], "RENEWED_LINEAGE": str(self.live), "RENEWED_DOMAINS": domains, "ARAGORA_CERTBOT_SETTINGS": str(path)}, capture_output=True, text=True, timeout=60)

    def serial_in_place(self):
        return serial_of_file(self.tls / "current/fullchain.pem")

    def under_load(self, server, reload):
        self.renew(self.new)
        with Load(server, creates=False, stays=False, rate=100) as load:
            while load.asked < 50:
                time.sleep(0.02)
            done = self.hook(RELOAD=reload, PROBE=f"127.0.0.1:{server.port}")
            asked = load.asked
            while load.asked < asked + 50:
                time.sleep(0.02)
            load.end()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(load.failed, [])
        self.assertIn(f"that of {HOST} is shown by 127.0.0.1:{server.port}, valid until", done.stdout)
        with server.connection() as connection:
            self.assertEqual(connection.sock.getpeercert()["serialNumber"], serial_of(self.new))

    def test_the_daemon_shows_it_and_no_request_fails(self):
        with Certified(self.sandbox, self.tls / "current", self.context) as daemon:
            self.under_load(closing(daemon), f"kill -HUP {daemon.process.pid}")

    def test_nginx_shows_it_and_no_request_fails(self):
        current = self.tls / "current"
        with Daemon(self.sandbox) as daemon, Nginx([daemon.port], (current / "fullchain.pem", current / "privkey.pem")) as nginx:
            nginx.context = self.context
            self.under_load(closing(nginx), f"nginx -t -q -c {nginx.directory}/nginx.conf && kill -HUP {nginx.process.pid}")

    def test_what_cannot_be_used_changes_nothing(self):
        self.renew(self.new, key=self.old)
        done = self.hook()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("does not belong to", done.stderr)
        with Authority("other.example.org") as other:
            self.renew(other)
            self.assertIn(f"is not one of {HOST}", self.hook().stderr)
        (self.live / "fullchain.pem").write_text("")
        self.assertIn("is no certificate, or has expired", self.hook().stderr)
        self.renew(self.new)
        self.assertEqual(self.hook(domains="www.example.org other.example.org", RELOAD="false").returncode, 0, "that of another service")
        self.assertIn("DOMAIN is not set", self.hook(DOMAIN="").stderr)
        self.assertEqual(self.serial_in_place(), serial_of(self.old))
        self.assertEqual(len([path for path in self.tls.iterdir() if not path.is_symlink()]), 1, "something was left")

    def test_the_one_before_is_kept_and_older_ones_go_but_nothing_that_is_not_its_own(self):
        for name in ("private", "ABCDEF", "A" * 64):
            self.sandbox.write(f"tls/{name}/precious", "x")
        with Authority(HOST) as third:
            for authority in (self.new, third, third):
                self.renew(authority)
                self.assertEqual(self.hook(RELOAD="true", PROBE="none").returncode, 0)
            kept = {serial_of_file(path) for path in self.tls.glob("*/fullchain.pem")}
            self.assertEqual(kept, {serial_of(third), serial_of(self.new)})
            self.assertEqual(self.serial_in_place(), serial_of(third))
        for name in ("private", "ABCDEF", "A" * 64):
            self.assertTrue((self.tls / name / "precious").exists(), name)

    def test_one_that_is_in_place_already_is_no_mistake_and_the_key_is_kept_private(self):
        self.assertIn("does not show it", self.hook(RELOAD="true", PROBE="127.0.0.1:1", PATIENCE="1").stderr)
        for name, mode in (("privkey.pem", 0o640), ("combined.pem", 0o640), ("fullchain.pem", 0o644), (".", 0o750)):
            self.assertEqual((self.tls / "current" / name).stat().st_mode & 0o7777, mode, name)


def closing(server):
    """Its connections are left at the end of a with."""
    plain = server.connection

    @contextlib.contextmanager
    def connection(*arguments, **how):
        one = plain(*arguments, **how)
        try:
            yield one
        finally:
            one.close()

    server.connection = connection
    return server


def serial_of_file(path):
    return subprocess.run(["openssl", "x509", "-in", path, "-noout", "-serial"], check=True, capture_output=True, text=True).stdout.strip().partition("=")[2]


def serial_of(authority):
    return serial_of_file(authority.certificate)


TOKEN = strong_secret()


class BelowAPath(unittest.TestCase):
    """server.base_path, asked directly and through an nginx whose host serves something else, too."""

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.sandbox = cls.stack.enter_context(Sandbox(ARAGORA_BASE_PATH="/aragora", ARAGORA_BASE_URL=f"https://{HOST}/aragora"))
        cls.daemon = cls.stack.enter_context(Daemon(cls.sandbox))
        cls.nginx = cls.stack.enter_context(NginxBelowAPath([cls.daemon.port]))

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def test_everything_is_below_it_and_nothing_elsewhere(self):
        for path in ("/aragora/api/agents", "/aragora/api/v1/agents", "/aragora/api/agents/", "/aragora/metrics", "/aragora/readyz", "/aragora/api/openapi.json"):
            self.assertEqual(self.daemon.request("GET", path)[0], 200, path)
        for path in ("/api/agents", "/metrics", "/ws", "/", "/api/version", "/aragorax/api/agents", "/Aragora/api/agents", "//aragora/api/agents", "/aragora/aragora/api/agents", "/x/../aragora/api/agents"):
            self.assertEqual(self.daemon.request("GET", path)[0], 404, path)
        self.assertEqual(self.daemon.get("/api/agents")[1]["hint"], "everything is below /aragora/")
        self.assertIn("/aragora/api/debates", self.daemon.get("/aragora/api/nothing")[1]["hint"])
        self.assertIn("/aragora/api/agents takes", self.daemon.post("/aragora/api/agents", {})[1]["error"])

    def test_probes_are_answered_in_both_places(self):
        for path in ("/healthz", "/readyz", "/api/health", "/api/ready"):
            self.assertEqual([self.daemon.request("GET", base + path)[0] for base in ("", "/aragora")], [200, 200], path)

    def test_the_api_describes_itself_there(self):
        description = self.daemon.get("/aragora/api/openapi.json")[1]
        self.assertEqual([server["url"] for server in description["servers"]], ["/aragora"])
        self.assertIn("/api/agents", description["paths"])

    def test_what_names_a_route_names_it_there(self):
        with Sandbox(ARAGORA_BASE_PATH="/aragora", ARAGORA_API_TOKEN=TOKEN) as sandbox, Daemon(sandbox) as daemon:
            as_operator = {"Authorization": f"Bearer {TOKEN}"}
            status, answer = daemon.post("/aragora/api/auth/mfa/setup", {}, **as_operator)
            self.assertEqual((status, answer["hint"]), (401, "this needs an access token: POST /aragora/api/auth/login"))
            status, answer = daemon.get("/aragora/api/agents/nobody", **as_operator)
            self.assertEqual((status, answer["hint"]), (404, "see /aragora/api/agents"))
            self.assertIn("to POST /aragora/api/auth/password/reset", daemon.post("/aragora/api/auth/password/forgot", {"email": "a@b.example"})[1]["hint"])
            self.assertEqual(daemon.get("/aragora/api/nothing", **as_operator)[1]["hint"].count("/aragora/aragora"), 0)

    def test_a_separator_that_is_encoded_hides_nothing(self):
        for path in ("/aragora%2fmetrics", "/aragora%2Fmetrics", "/aragora/%2fmetrics", "/aragora/api%2fagents", "/aragora%5cmetrics"):
            self.assertEqual(self.daemon.request("GET", path)[0], 400, path)
            status, _, body = self.nginx.ask(path)
            self.assertTrue(status in (400, 404) or body == b"another service", (path, status, body[:200]))
        self.assertEqual(self.daemon.request("GET", "/aragora/api/search?q=a%2fb")[0], 200)

    def test_nginx_hands_it_on_and_serves_the_rest_itself(self):
        self.assertEqual(self.nginx.ask("/elsewhere")[2], b"another service")
        self.assertEqual(self.nginx.ask("/aragora/api/agents")[0], 200)
        for path in ("/aragora/metrics", "/aragora/metrics/", "/aragora/%6detrics", "/x/../aragora/metrics"):
            self.assertEqual(self.nginx.ask(path)[0], 404, path)

    def test_sockets_are_opened_there(self):
        async def watch():
            async with websockets.connect(**self.nginx.socket(f"debate_id={debate}")) as connection, asyncio.timeout(20):
                async for text in connection:
                    if json.loads(text)["type"] == "debate_end":
                        return True

        debate = self.nginx.post("/aragora/api/debates", {"task": "x", "rounds": 1, "agents": ["demo-a", "demo-b"]})[1]["debate_id"]
        self.assertTrue(asyncio.run(watch()))
        self.assertEqual(self.nginx.ask("/aragora/api/debates?limit=1")[0], 200)

    def test_the_link_for_the_first_administrator_leads_to_a_page_whose_form_arrives(self):
        link = self.sandbox.run_json("user", "setup-link", check=0)["link"]
        self.assertTrue(link.startswith(f"https://{HOST}/aragora/api/auth/setup?token="), link)
        path = link.removeprefix(f"https://{HOST}")
        status, headers, body = self.nginx.ask(path, Accept="text/html")
        self.assertEqual((status, headers["content-type"]), (200, "text/html; charset=utf-8"))
        action = urllib.parse.urljoin(link, body.decode().split('action="')[1].split('"')[0]).removeprefix(f"https://{HOST}")
        self.assertEqual(action, "/aragora/api/auth/setup")
        form = urllib.parse.urlencode({"token": path.split("token=")[1], "email": "root@example.org", "name": "R", "password": "a long enough password"})
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{HOST}:{self.nginx.port}", "Host": f"{HOST}:{self.nginx.port}", "Accept": "text/html"}
        self.assertEqual(self.nginx.request("POST", action, form, sent)[0], 201)
        # Without a public URL the path is written behind where it listens.
        self.assertIn("/aragora/api/auth/password/reset", self.sandbox.run("user", "reset", "root@example.org", check=0, ARAGORA_BASE_URL="").stderr)

    def test_a_path_that_might_be_written_otherwise_is_refused(self):
        for path in ("aragora", "/aragora/", "/a/../b", "/a.b", "/api/v1"):
            self.assertIn("write it like /aragora", self.sandbox.run("validate-env", "--only", "configuration", check=78, ARAGORA_BASE_PATH=path).stdout)


if __name__ == "__main__":
    main()
