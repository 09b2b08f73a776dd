"""What somebody who has taken an access token cannot do with it; the setup link in a browser; nobody is promised a mail; an
administrator ends other people's sessions."""
import asyncio
import base64
import hashlib
import html.parser
import http.client
import json
import re
import ssl
import time
import unittest
import urllib.parse

import websockets

from accounts import AccountTests
from support import Authority, Daemon, Sandbox, free_port, main, strong_secret
from test_totp import code, settle

NEW = "a new password that is long"


def bearer(login):
    return {"Authorization": f"Bearer {login['access_token']}"}


class Page(html.parser.HTMLParser):
    """What a browser makes of it: the form, and everything that would have to be allowed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.fields, self.form, self.styles, self.words = [], {}, None, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == "form":
            self.form = attributes
        if tag == "input":
            self.fields[attributes["name"]] = attributes.get("value", "")

    def handle_data(self, data):
        (self.styles if self.tags and self.tags[-1][0] == "style" and not data.isspace() else self.words).append(data)


class Proof(AccountTests):
    def asked_again(self, sandbox):
        password = self.add(sandbox)
        others = self.add(sandbox, "eve@example.org")
        with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="3") as daemon:
            login = self.log_in(daemon, password)
            made = daemon.post("/api/auth/api-keys", {"password": password}, **bearer(login))[1]
            wants = [("POST", "/api/auth/api-keys", {}), ("POST", "/api/auth/api-key", {}), ("POST", f"/api/auth/api-keys/{made['id']}/rotate", {}), ("POST", "/api/auth/mfa/setup", {}),
                     ("PATCH", "/api/auth/me", {"email": "ada2@example.org"}), ("POST", "/api/auth/me", {"email": "ada2@example.org"}), ("POST", "/api/auth/password/change", {"new_password": NEW})]
            before = daemon.get("/api/auth/me", **bearer(login))[1]
            for method, path, body in wants:
                status, _, answer = daemon.request(method, path, body, bearer(login))
                self.assertIn(status, (400, 403), answer)
                status, _, answer = daemon.request(method, path, {**body, "password": "", "code": ""}, bearer(login))
                self.assertIn(status, (400, 403), answer)
            self.assertEqual(daemon.get("/api/auth/me", **bearer(login))[1], before)
            self.assertEqual(daemon.get("/api/auth/api-keys", **bearer(login))[1]["count"], 1)
            # Nor does a token guess the password.
            eve = self.log_in(daemon, others, "eve@example.org")
            tries = [daemon.post("/api/auth/api-keys", {"password": f"wrong {number}"}, **bearer(eve))[0] for number in range(5)]
            self.assertEqual(tries, [403] * 3 + [429] * 2)
            self.assertEqual(daemon.post("/api/auth/api-keys", {"password": others}, **bearer(eve))[0], 429)
        with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="3") as daemon:
            login = self.log_in(daemon, password)
            for _ in range(6):  # a right one costs nothing
                self.assertEqual(daemon.post("/api/auth/api-keys", {"password": password}, **bearer(login))[0], 201)
            # The address: somebody's own is no change, another's is taken, and nobody answers for a new one.
            patch = lambda body: (lambda answer: (answer[0], json.loads(answer[2])))(daemon.request("PATCH", "/api/auth/me", body, bearer(login)))
            self.assertEqual(patch({"email": " ADA@example.org", "name": "Ada"})[0], 200)
            self.assertEqual([patch({"email": given, "password": password})[0] for given in ("eve@example.org", "nobody")], [409, 400])
            token = sandbox.run("user", "reset", "ada@example.org", check=0).stdout.strip().splitlines()[-1]
            status, changed = patch({"email": "Ada2@example.org", "password": password})
            self.assertEqual((status, changed["email"], changed["email_verified"]), (200, "ada2@example.org", False))
            self.assertEqual(daemon.post("/api/auth/password/reset", {"token": token, "new_password": NEW})[0], 401, "it was handed out to another address")
            # A code in place of the password, or a step-up of the last minutes; a login with one is none.
            secret = daemon.post("/api/auth/mfa/setup", {"password": password}, **bearer(login))[1]["secret"]
            now = settle()
            self.assertEqual(daemon.post("/api/auth/mfa/enable", {"code": code(secret, now - 1)}, **bearer(login))[0], 200)
            other = daemon.post("/api/auth/login", {"email": "ada2@example.org", "password": password, "mfa_code": code(secret, now)})[1]
            self.assertEqual(daemon.post("/api/auth/api-keys", {}, **bearer(other))[0], 403, "a token that was taken after the login")
            self.assertEqual(daemon.post("/api/auth/api-keys", {"code": code(secret, now + 1)}, **bearer(other))[0], 201)
            self.assertEqual(daemon.post("/api/auth/api-keys", {"code": code(secret, now + 1)}, **bearer(other))[0], 401, "once")
            self.wait_for_step(now + 1)
            self.assertEqual(daemon.post("/api/auth/mfa/step-up", {"code": code(secret, now + 2)}, **bearer(other))[0], 200)
            self.assertEqual(daemon.post("/api/auth/api-keys", {}, **bearer(other))[0], 201)
        self.assertIn("audit: ", sandbox.run("verify", check=0).stdout)

    def wait_for_step(self, step):
        while time.time() // 30 < step:
            time.sleep(0.2)

    def test_what_a_token_alone_cannot_do_on_both_engines(self):
        self.on_both(self.asked_again)

    def test_nobody_is_promised_a_mail(self):
        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)
            self.add(sandbox)
            with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="100") as daemon:
                answers = {}
                for path in ("/api/auth/password/forgot", "/api/auth/forgot-password"):
                    for email in ("ada@example.org", "nobody@example.org"):
                        status, answer = daemon.post(path, {"email": email})
                        self.assertEqual((status, answer["code"]), (501, "NOT_IMPLEMENTED"))
                        answers[path, email] = {key: answer[key] for key in ("error", "hint")}
                self.assertEqual(len({str(answer) for answer in answers.values()}), 1, "whether there is such an account is not said")
                self.assertIn("no mail", answer["error"])
                self.assertIn("aragora user reset", answer["hint"])
                self.assertIn("/api/auth/password/reset", answer["hint"])


class Sessions(AccountTests):
    def of_others(self, sandbox):
        passwords = {name: self.add(sandbox, f"{name}@example.org", role) for name, role in (("boss", "admin"), ("ada", "member"), ("eve", "member"))}
        with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="0") as daemon:
            enter = lambda name: self.log_in(daemon, passwords[name], f"{name}@example.org")
            boss, ada, phone, eve = enter("boss"), enter("ada"), enter("ada"), enter("eve")
            if sandbox.environment.get("ARAGORA_ENV") == "production":
                secret = daemon.post("/api/auth/mfa/setup", {"password": passwords["boss"]}, **bearer(boss))[1]["secret"]
                now = settle()
                daemon.post("/api/auth/mfa/enable", {"code": code(secret, now - 1)}, **bearer(boss))
                self.assertEqual(daemon.get(f"/api/admin/users/{ada['user']['id']}/sessions", **bearer(boss))[1]["code"], "ADMIN_MFA_REQUIRED")
                self.assertEqual(daemon.post("/api/auth/mfa/step-up", {"code": code(secret, now)}, **bearer(boss))[0], 200)
            theirs = f"/api/admin/users/{ada['user']['id']}/sessions"
            delete = lambda path, who: daemon.request("DELETE", path, headers=bearer(who))[0]
            self.assertEqual([daemon.get(theirs, **bearer(who))[0] for who in (ada, eve)], [403, 403])
            self.assertEqual([delete(theirs, who) for who in (ada, eve)], [403, 403])
            key = daemon.post("/api/auth/api-keys", {"password": passwords["boss"], "scopes": ["read", "write", "account"]}, **bearer(boss))[1]["key"]
            self.assertEqual(daemon.get(theirs, Authorization=f"Bearer {key}")[0], 403, "keys do not administer")
            listed = daemon.get(theirs, **bearer(boss))[1]
            self.assertEqual((listed["total"], {one["user_id"] for one in listed["sessions"]}, {one["current"] for one in listed["sessions"]}), (2, {ada["user"]["id"]}, {False}))
            sockets = {name: self.socket(daemon, login) for name, login in (("ada", ada), ("phone", phone), ("eve", eve))}
            # One of them; then all. Nobody else's.
            ended = json.loads(base64.urlsafe_b64decode(ada["access_token"].split(".")[1] + "=="))["sid"]
            self.assertEqual(delete(f"/api/admin/users/{eve['user']['id']}/sessions/{ended}", boss), 404, "not hers")
            self.assertEqual(delete(f"{theirs}/{ended}", boss), 200)
            self.closes(sockets["ada"])
            self.assertEqual([daemon.get("/api/auth/me", **bearer(one))[0] for one in (ada, phone, eve)], [401, 200, 200])
            self.assertEqual(delete(f"{theirs}/{ended}", boss), 404)
            status, _, body = daemon.request("DELETE", theirs, headers=bearer(boss))
            self.assertEqual((status, json.loads(body)["sessions_revoked"] >= 1), (200, True), body)
            self.closes(sockets["phone"])
            self.assertEqual([daemon.get("/api/auth/me", **bearer(one))[0] for one in (phone, eve, boss)], [401, 200, 200])
            self.assertEqual(daemon.post("/api/auth/refresh", {"refresh_token": phone["refresh_token"]})[0], 401)
            self.assertEqual([delete("/api/admin/users/nobody/sessions", boss), daemon.get("/api/admin/users/nobody/sessions", **bearer(boss))[0]], [404, 404])
            self.assertTrue(sockets["eve"].open)
            self.wait(sockets["eve"].close())
            said = daemon.get("/api/admin/audit?action=session.", **bearer(boss))[1]["entries"]
            self.assertEqual([one["action"] for one in said if one["actor"] == f"user:{boss['user']['id']}" and "revoke" in one["action"]], ["session.revoke_all", "session.revoke"])
        self.assertIn("audit: ", sandbox.run("verify", check=0).stdout)

    def setUp(self):
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)

    def wait(self, what, seconds=5):
        async def waited():
            return await asyncio.wait_for(what() if callable(what) else what, seconds)
        return self.loop.run_until_complete(waited())

    def socket(self, daemon, login):
        return self.wait(lambda: websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws", extra_headers=bearer(login)))

    def closes(self, socket):
        began = time.monotonic()
        self.wait(socket.wait_closed())
        self.assertLess(time.monotonic() - began, 2.5)

    def test_an_administrator_ends_them_on_both_engines(self):
        self.on_both(self.of_others)


class SetupPage(unittest.TestCase):
    def browse(self, link, body=None, origin=None, context=None, port=None):
        """As a browser asks: by the link, whatever name it has."""
        url = urllib.parse.urlsplit(link)
        port = port or url.port
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=10) if context else http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "Host": url.netloc}
        if body is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin or f"{url.scheme}://{url.netloc}", "Sec-Fetch-Mode": "navigate"}
        connection.request("POST" if body is not None else "GET", url.path + (f"?{url.query}" if url.query else ""), body, headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, response.headers, text

    def allowed(self, headers, page):
        """Nothing of it needs more than its policy gives."""
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        self.assertEqual((policy["default-src"], policy["form-action"], policy["frame-ancestors"]), ("'none'", "'self'", "'none'"))
        self.assertNotIn("unsafe", headers["Content-Security-Policy"])
        self.assertFalse([tag for tag, attributes in page.tags if tag in ("script", "link", "img", "iframe", "object") or "style" in attributes or any(name.startswith("on") for name in attributes)])
        for style in page.styles:
            self.assertEqual(policy["style-src"], f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'")
        self.assertEqual(headers["Content-Type"], "text/html; charset=utf-8")
        self.assertNotEqual(headers["Referrer-Policy"], "no-referrer", "a browser would send Origin: null")
        self.assertEqual(headers["Cache-Control"], "no-store")

    def fill(self, link, page, **fields):
        target = urllib.parse.urljoin(link, page.form["action"])
        self.assertEqual(page.form["method"], "post")
        return target, urllib.parse.urlencode({**page.fields, **fields})

    def through(self, sandbox, daemon, link, context=None, port=None):
        ask = lambda *arguments, **more: self.browse(*arguments, context=context, port=port, **more)
        status, headers, text = ask(link)
        page = Page(text)
        self.assertEqual(status, 200)
        self.allowed(headers, page)
        # Nothing that the address brings along becomes a part of the page.
        evil = Page(ask(link.split("?")[0] + "?token=" + urllib.parse.quote("\"><script>alert(1)</script>&'"))[2])
        self.assertFalse([tag for tag, _ in evil.tags if tag == "script"])
        self.assertEqual(evil.fields["token"], "\"><script>alert(1)</script>&'")
        # A mistake leads back to the form, with what was typed but the password.
        target, body = self.fill(link, page, email="boss@example.org", name="The <b>Boss</b>", password="short")
        status, headers, text = ask(target, body)
        again = Page(text)
        self.assertEqual((status, again.fields["name"], again.fields["email"], again.fields["password"]), (400, "The <b>Boss</b>", "boss@example.org", ""))
        self.assertNotIn("value=\"short\"", text)
        self.allowed(headers, again)
        self.assertIn("15 characters", " ".join(again.words))
        # Another site's page, or none that says who it is.
        for origin in ("https://evil.example.org", "null"):
            self.assertEqual(ask(target, body, origin=origin)[0], 403)
        wrong = self.fill(link, page, token="arat_no", email="boss@example.org", password=NEW)
        self.assertEqual(ask(*wrong)[0], 401)
        target, body = self.fill(link, again, password=NEW)
        status, headers, text = ask(target, body)
        self.assertEqual(status, 201, text)
        self.allowed(headers, Page(text))
        self.assertNotIn(NEW, text)
        self.assertEqual(ask(target, body)[0], 401, "once")
        users = sandbox.run_json("user", "list", check=0)["users"]
        self.assertEqual([(user["email"], user["role"]) for user in users], [("boss@example.org", "admin")])
        self.assertNotIn(NEW, daemon.text())
        self.assertNotIn(re.search("arat_[^&\"]+", link)[0], daemon.text())

    def link(self, sandbox, **environment):
        return sandbox.run("user", "setup-link", check=0, **environment).stdout.strip().splitlines()[-1]

    def test_in_the_clear_on_this_machine(self):
        with Sandbox(ARAGORA_API_TOKEN=strong_secret()) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="0") as daemon:
                link = self.link(sandbox, ARAGORA_PORT=str(daemon.port))
                self.assertTrue(link.startswith(f"http://127.0.0.1:{daemon.port}/api/auth/setup?token="), link)
                self.through(sandbox, daemon, link)
                self.assertEqual(daemon.get("/api/auth/setup")[1]["body"]["token"], "of the link", "programs get what they got")

    def test_over_tls_of_our_own(self):
        with Sandbox(ARAGORA_API_TOKEN=strong_secret()) as sandbox, Authority() as authority:
            sandbox.run("migrate", check=0)
            tls = {"ARAGORA_TLS_CERT_PATH": str(authority.certificate), "ARAGORA_TLS_KEY_PATH": str(authority.key)}
            context = ssl.create_default_context(cafile=str(authority.file))
            with Daemon(sandbox, wait=False, ARAGORA_LOGIN_RATE_LIMIT="0", ARAGORA_ALLOWED_ORIGINS="https://elsewhere.example.org", **tls) as daemon:
                deadline = time.monotonic() + 20
                while " listens on " not in daemon.text():
                    self.assertLess(time.monotonic(), deadline, daemon.text())
                    time.sleep(0.02)
                link = self.link(sandbox, ARAGORA_PORT=str(daemon.port), **tls)
                self.assertTrue(link.startswith("https://"), link)
                self.through(sandbox, daemon, link.replace("127.0.0.1", "localhost"), context=context)

    def test_behind_a_proxy_that_puts_it_below_a_path(self):
        with Sandbox(ARAGORA_API_TOKEN=strong_secret()) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="0", ARAGORA_ALLOWED_ORIGINS="https://aragora.example.org") as daemon:
                link = self.link(sandbox, ARAGORA_BASE_URL="https://aragora.example.org/below/")
                self.assertTrue(link.startswith("https://aragora.example.org/below/api/auth/setup?token="), link)
                page = Page(self.browse(link.replace("/below", ""), port=daemon.port)[2])
                target, body = self.fill(link, page, email="boss@example.org", password=NEW)
                self.assertEqual(target, "https://aragora.example.org/below/api/auth/setup")
                self.assertEqual(self.browse(target.replace("/below", ""), body, port=daemon.port)[0], 201)


if __name__ == "__main__":
    main()
