"""API keys from outside: made, used everywhere an access token is, rotated, revoked; tickets; forgeries; on both engines."""
import asyncio
import base64
import contextlib
import hmac
import json
import secrets
import socket
import sqlite3
import subprocess
import threading
import time
import unittest
import zlib

import websockets

from accounts import AccountTests
from support import Daemon, Sandbox, main, postgres_database, production_environment, service, strong_secret

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def checksummed(text):
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = DIGITS[digit] + digits
    return text + digits


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


class ApiKeys(AccountTests):
    def log_in(self, daemon, password, email="ada@example.org"):
        return super().log_in(daemon, password, email)["access_token"]

    def delete(self, daemon, path, token):
        return daemon.request("DELETE", path, headers=bearer(token))[0]

    def a_life(self, sandbox):
        password, other = self.add(sandbox), self.add(sandbox, "eve@example.org")
        with Daemon(sandbox) as daemon:
            ada, eve = self.log_in(daemon, password), self.log_in(daemon, other, "eve@example.org")
            status, made = daemon.post("/api/auth/api-keys", {"name": "nightly", "password": password}, **bearer(ada))
            self.assertEqual(status, 201, made)
            key = made["key"]
            self.assertEqual((made["api_key"], made["prefix"], made["scopes"]), (key, key[:16], ["read", "write"]))
            # What a member may, and no more.
            self.assertEqual(daemon.get("/api/debates", **bearer(key))[0], 200)
            status, created = daemon.post("/api/debates", {"task": "by key", "rounds": 0}, **bearer(key))
            self.assertEqual(status, 200, created)
            self.assertEqual(daemon.get("/api/auth/me", **bearer(key))[0], 403, "without the scope account")
            for method, path in (("POST", "/api/auth/api-keys"), ("POST", "/api/auth/logout"), ("POST", "/api/auth/mfa/setup"), ("GET", "/api/admin/api-keys")):
                self.assertEqual(daemon.request(method, path, {} if method == "POST" else None, bearer(key))[0], 403, path)
            reader = daemon.post("/api/auth/api-key", {"scopes": ["read", "account"], "expires_in_days": 1, "password": password}, **bearer(ada))[1]["key"]
            self.assertEqual(daemon.get("/api/auth/me", **bearer(reader))[1]["email"], "ada@example.org")
            status, refused = daemon.post("/api/debates", {"task": "may it?"}, **bearer(reader))
            self.assertEqual((status, refused["code"]), (403, "FORBIDDEN"))
            self.assertIn("scope write", refused["error"])
            until = daemon.post("/api/auth/api-keys", {"expires_at": "2028-01-13T10:00:00Z", "password": password}, **bearer(ada))[1]
            self.assertTrue(until["expires_at"] <= "2028-01-13T10:00:00" and until["expires_at"] > "2028-01-13T08", until)
            self.assertEqual(self.delete(daemon, f"/api/auth/api-keys/{until['id']}", ada), 200)
            for body in ({"expires_at": "yesterday"}, {"expires_at": "2020-01-01T00:00:00Z"}, {"scopes": ["root"]}, {"scopes": []}, {"scopes": "read"}, {"expires_in_days": 0}, {"expires_in_days": 4000}, {"name": "x" * 300}):
                self.assertEqual(daemon.post("/api/auth/api-keys", {**body, "password": password}, **bearer(ada))[0], 400, body)
            # Shown once; the last use is noted.
            listed = daemon.get("/api/auth/api-keys", **bearer(ada))[1]
            self.assertEqual((listed["count"], [entry["active"] for entry in listed["keys"]].count(True)), (3, 2))
            self.assertNotIn(key[17:], json.dumps(listed))
            self.assertTrue({entry["id"]: entry for entry in listed["keys"]}[made["id"]]["last_used"])
            # Nobody else's.
            self.assertEqual(self.delete(daemon, f"/api/auth/api-keys/{made['id']}", eve), 404)
            self.assertEqual(daemon.post(f"/api/auth/api-keys/{made['id']}/rotate", {"password": other}, **bearer(eve))[0], 404)
            # Rotation: both are good, then the old one is not.
            status, second = daemon.post(f"/api/auth/api-keys/{made['prefix']}/rotate", {"overlap_hours": 1, "password": password}, **bearer(ada))
            self.assertEqual(status, 201, second)
            self.assertEqual([daemon.get("/api/debates", **bearer(one))[0] for one in (key, second["key"])], [200, 200])
            self.assertEqual(daemon.post(f"/api/auth/api-keys/{made['id']}/rotate", {"password": password}, **bearer(ada))[0], 409, "once")
            third = daemon.post(f"/api/auth/api-keys/{second['id']}/rotate", {"overlap_hours": 0, "password": password}, **bearer(ada))[1]
            self.assertEqual([daemon.get("/api/debates", **bearer(one))[0] for one in (second["key"], third["key"])], [401, 200])
            self.assertEqual(self.delete(daemon, f"/api/auth/api-keys/{third['id']}", ada), 200)
            self.assertEqual(daemon.get("/api/debates", **bearer(third["key"]))[0], 401)
            self.assertEqual(self.delete(daemon, f"/api/auth/api-keys/{third['id']}", ada), 409)
            # The command line; a role that is taken away is taken from the keys.
            typed = sandbox.run("user", "key", "create", "eve@example.org", "--name", "typed", "--scope", "read", "--scope", "write", "--days", "2", check=0)
            by_hand = typed.stdout.strip().splitlines()[-1]
            self.assertEqual(daemon.post("/api/debates", {"task": "typed", "rounds": 0}, **bearer(by_hand))[0], 200)
            sandbox.run("user", "role", "eve@example.org", "viewer", check=0)
            self.assertEqual([daemon.post("/api/debates", {"task": "typed"}, **bearer(by_hand))[0], daemon.get("/api/debates", **bearer(by_hand))[0]], [403, 200])
            sandbox.run("user", "disable", "eve@example.org", check=0)
            self.assertEqual(daemon.get("/api/debates", **bearer(by_hand))[0], 401)
            self.assertEqual(len(sandbox.run_json("user", "key", "list", "eve@example.org", check=0)["api_keys"]), 1)
            self.assertIn("ended", sandbox.run("user", "key", "rotate", third["id"], check=65).stderr)
            sandbox.run("user", "enable", "eve@example.org", check=0)
            replaced = sandbox.run_json("user", "key", "rotate", by_hand[:16], "--overlap-hours", "0", check=0)["api_key"]
            self.assertEqual([daemon.get("/api/debates", **bearer(one))[0] for one in (by_hand, replaced["key"])], [401, 200])
            sandbox.run("user", "key", "revoke", replaced["id"], check=0)
            self.assertEqual(daemon.get("/api/debates", **bearer(replaced["key"]))[0], 401)
            for arguments, status in ((["revoke", "nobody"], 66), (["create", "who@example.org"], 66), (["create", "ada@example.org", "--scope", "root"], 65), (["create", "ada@example.org", "--days", "0"], 65), ([], 64), (["revoke"], 64)):
                self.assertEqual(sandbox.run("user", "key", *arguments).returncode, status, arguments)
            for secret in (key, second["key"], by_hand, replaced["key"]):
                self.assertNotIn(secret, daemon.text())
                self.assertNotIn(secret[17:], daemon.text())
        self.assertIn("audit: ", sandbox.run("verify", check=0).stdout)

    def test_a_key_lives_on_both_engines(self):
        self.on_both(self.a_life)

    def test_nothing_that_is_forged_gets_in(self):
        """Sixty and more of keys, tickets and tokens: none is accepted, and the real ones still are."""
        with Sandbox(ARAGORA_API_TOKEN=strong_secret(), JWT_SECRET=strong_secret()) as sandbox:
            sandbox.run("migrate", check=0)
            password = self.add(sandbox)
            with Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="0") as daemon:
                access = self.log_in(daemon, password)
                key = daemon.post("/api/auth/api-keys", {"password": password}, **bearer(access))[1]["key"]
                ticket = daemon.post("/api/ws-ticket", None, **bearer(access))[1]["ticket"]
                flipped = [key[:i] + ("A" if key[i] != "A" else "B") + key[i + 1:] for i in range(0, len(key), 2)]
                another = lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
                rehashed = [checksummed(f"{key[:17]}{another()}") for _ in range(10)] + [checksummed(f"ara_{secrets.token_hex(6)}_{another()}") for _ in range(10)]
                shapes = ["ara_", key.upper(), key + "=", key[:-1], key + "0", key[:17] + "_" * 43 + key[-6:], checksummed(key[:17] + "A" * 42 + "B"), "ara_' OR 1=1 --", ticket, ticket[:-1] + "A",
                          "arat_", checksummed("ara_" + "%" * 12 + "_" + another()), "Bearer " + key, key + "," + key, "rt_" + key[4:]]
                head, claims, signature = access.split(".")
                tampered = [f"{head}.{claims}.", f"{head}..{signature}", f".{claims}.{signature}", f"{head}.{claims}.{signature}A", f"{head}.{claims}.{signature[::-1]}"]
                for header in ({"alg": "none"}, {"alg": "HS256", "typ": "JWT"}, {"alg": "HS256", "typ": "at+jwt", "kid": "../../dev/null"}):
                    forged = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
                    tampered += [f"{forged}.{claims}.{signature}", f"{forged}.{claims}."]
                guesses = flipped + rehashed + shapes + tampered
                self.assertGreater(len(guesses), 60)
                for guess in guesses:
                    for path in ("/api/debates", "/api/auth/me"):
                        self.assertEqual(daemon.get(path, **bearer(guess))[0], 401, guess)
                for guess in flipped[:5] + rehashed[:5] + tampered[:3]:
                    self.assertEqual(daemon.request("GET", f"/ws?token={guess}", headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"})[0], 401, guess)
                self.assertEqual(daemon.get("/api/debates", **bearer(key))[0], 200, "the real one still is")

    def test_junk_is_refused_without_a_look_at_the_database(self):
        with postgres_database() as url, Sandbox(**production_environment(url, service("TEST_REDIS"))) as sandbox:
            sandbox.run("migrate", check=0)
            self.add(sandbox)
            key = sandbox.run("user", "key", "create", "ada@example.org", check=0).stdout.strip().splitlines()[-1]
            with Daemon(sandbox) as daemon:
                admin = url.rsplit("/", 1)
                name = admin[1].split("?")[0]
                subprocess.run(["psql", "-qX", f"{admin[0]}/postgres", "-c", f"ALTER DATABASE {name} CONNECTION LIMIT 0", "-c", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"],
                               check=True, capture_output=True)
                wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
                self.assertEqual(daemon.get("/api/debates", **bearer(wrong))[0], 401)
                self.assertEqual(daemon.get("/api/debates", **bearer(key))[0], 503, "the database is away indeed")


    def test_keys_and_factors_survive_a_new_encryption_key(self):
        """With the old one among the previous, and an API key that was used meanwhile also without it."""
        old, new = strong_secret(), strong_secret()
        with Sandbox(ARAGORA_ENCRYPTION_KEY=old) as sandbox:
            sandbox.run("migrate", check=0)
            self.add(sandbox)
            used, idle = (sandbox.run("user", "key", "create", "ada@example.org", check=0).stdout.strip().splitlines()[-1] for _ in range(2))
            enrolled = sandbox.run_json("user", "mfa", "enrol", "ada@example.org", check=0)
            self.assertIn(enrolled["secret"], enrolled["provisioning_uri"])
            sandbox.environment.update(ARAGORA_ENCRYPTION_KEY=new, ARAGORA_ENCRYPTION_PREVIOUS_KEYS=old)
            with Daemon(sandbox) as daemon:
                self.assertEqual(daemon.get("/api/debates", **bearer(used))[0], 200)
                self.assertEqual(daemon.get("/api/auth/me", **bearer(used))[0], 403)
            with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database:
                kinds = [row[0] for row in database.execute("SELECT key_id FROM api_keys ORDER BY last_used_at IS NULL")]
            self.assertEqual(len(set(kinds)), 2, "what was used has gone over, what was not has not")
            self.assertEqual(sandbox.run("user", "mfa", "confirm", "ada@example.org").returncode, 64, "it opens: only the code is missing")
            del sandbox.environment["ARAGORA_ENCRYPTION_PREVIOUS_KEYS"]
            with Daemon(sandbox) as daemon:
                self.assertEqual([daemon.get("/api/debates", **bearer(one))[0] for one in (used, idle)], [200, 401])

    def test_a_new_jwt_secret_ends_no_session_while_the_old_one_is_named(self):
        first, second = strong_secret(), strong_secret()
        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)
            password = self.add(sandbox)
            with Daemon(sandbox, JWT_SECRET=first) as daemon:
                access = self.log_in(daemon, password)
            with Daemon(sandbox, JWT_SECRET=second, JWT_SECRET_PREVIOUS=first) as daemon:
                self.assertEqual(daemon.get("/api/auth/me", **bearer(access))[0], 200)
                fresh = self.log_in(daemon, password)
            with Daemon(sandbox, JWT_SECRET=second) as daemon:
                self.assertEqual([daemon.get("/api/auth/me", **bearer(token))[0] for token in (access, fresh)], [401, 200])
            for previous, said in ((second, "the same as"), ("changeme" * 4, "JWT_SECRET_PREVIOUS"), (first, "until they expire")):
                found = json.loads(sandbox.run("validate-env", "--offline", "--json", JWT_SECRET=second, JWT_SECRET_PREVIOUS=previous).stdout)
                self.assertIn(said, json.dumps(found["checks"]["jwt_secret"]))
                self.assertEqual(found["checks"]["jwt_secret"]["status"], "warning" if previous == first else "error", found["checks"]["jwt_secret"])


class Sockets(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.sandbox = self.stack.enter_context(Sandbox(ARAGORA_API_TOKEN=strong_secret()))
        self.sandbox.run("migrate", check=0)
        self.password = self.sandbox.run("user", "add", "ada@example.org", check=0).stdout.strip().splitlines()[-1]
        self.sandbox.environment["JWT_SECRET"] = strong_secret()
        self.daemon = self.stack.enter_context(Daemon(self.sandbox))
        self.access = self.log_in()
        self.key = self.daemon.post("/api/auth/api-keys", {"password": self.password}, **bearer(self.access))[1]

    def log_in(self):
        return self.daemon.post("/api/auth/login", {"email": "ada@example.org", "password": self.password})[1]["access_token"]

    def url(self, query=""):
        return f"ws://127.0.0.1:{self.daemon.port}/ws{query}"

    async def frame(self, socket, kind):
        async with asyncio.timeout(10):
            while True:
                frame = json.loads(await socket.recv())
                if frame["type"] == kind:
                    return frame

    async def reads(self, socket):
        """It may subscribe."""
        debate = self.daemon.post("/api/debates", {"task": "seen", "rounds": 0}, **bearer(self.access))[1]["debate_id"]
        await socket.send(json.dumps({"type": "subscribe", "debate_id": debate}))
        await self.frame(socket, "debate_end")

    async def closes_within(self, socket, seconds, code=1008):
        begun = time.monotonic()
        with self.assertRaises(websockets.ConnectionClosed):
            async with asyncio.timeout(seconds + 5):
                while True:
                    await socket.recv()
        self.assertLess(time.monotonic() - begun, seconds)
        self.assertEqual(socket.close_code, code)

    async def test_a_key_and_a_token_open_a_socket_in_four_ways(self):
        for credential in (self.access, self.key["key"], self.sandbox.environment["ARAGORA_API_TOKEN"]):
            async with websockets.connect(self.url(), extra_headers=bearer(credential)) as socket:
                await self.reads(socket)
            async with websockets.connect(self.url(f"?token={credential}")) as socket:
                await self.reads(socket)
            async with websockets.connect(self.url(), subprotocols=["access_token." + credential, "aragora"]) as socket:
                self.assertEqual(socket.subprotocol, "aragora")
                await self.reads(socket)
            async with websockets.connect(self.url()) as socket:
                self.assertTrue((await self.frame(socket, "connection_info"))["data"]["authentication_required"])
                await socket.send(json.dumps({"type": "subscribe", "debate_id": "x"}))
                self.assertEqual((await self.frame(socket, "warning"))["data"]["code"], "UNAUTHORIZED")
                await socket.send(json.dumps({"type": "auth", "token": credential}))
                await self.frame(socket, "authenticated")
                await self.reads(socket)

    async def test_who_says_nothing_or_lies_is_closed(self):
        async with websockets.connect(self.url()) as liar:
            await liar.send(json.dumps({"type": "auth", "token": "ara_wrong"}))
            await self.closes_within(liar, 3)
        async with websockets.connect(self.url()) as silent:
            await self.closes_within(silent, 14)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.closing(sqlite3.connect(self.sandbox.directory / "state/aragora.db")) as database:
                if database.execute("SELECT count(*) FROM audit_log WHERE action = 'credentials.refused' AND object = 'route:/ws'").fetchone()[0]:
                    break
            await asyncio.sleep(0.1)
        else:
            self.fail("the lie is not in the audit log")

    async def test_a_ticket_is_good_once_and_for_what_it_was_given(self):
        ticket = self.daemon.post("/api/ws-ticket", None, **bearer(self.access))[1]
        self.assertEqual(ticket["expires_in"], 30)
        async with websockets.connect(self.url(f"?ticket={ticket['ticket']}")) as socket:
            await self.reads(socket)
        for again in (f"?ticket={ticket['ticket']}", f"?token={ticket['ticket']}"):
            with self.assertRaises(websockets.InvalidStatusCode) as refused:
                await websockets.connect(self.url(again))
            self.assertEqual(refused.exception.status_code, 401)
        self.assertEqual(self.daemon.get("/api/debates", **bearer(self.daemon.post("/api/ws-ticket", None, **bearer(self.access))[1]["ticket"]))[0], 401, "only there")
        late = self.daemon.post("/api/ws-ticket", None, **bearer(self.key["key"]))[1]["ticket"]
        self.sandbox.run("user", "key", "revoke", self.key["id"], check=0)
        with self.assertRaises(websockets.InvalidStatusCode):
            await websockets.connect(self.url(f"?ticket={late}"))
        stale = self.daemon.post("/api/ws-ticket", None, **bearer(self.access))[1]["ticket"]
        with contextlib.closing(sqlite3.connect(self.sandbox.directory / "state/aragora.db")) as database, database:
            database.execute("UPDATE one_time_tokens SET expires_at = 1")
        with self.assertRaises(websockets.InvalidStatusCode):
            await websockets.connect(self.url(f"?ticket={stale}"))
        self.assertEqual(self.daemon.post("/api/ws-ticket")[0], 401)

    async def test_a_socket_ends_with_its_session_or_key_wherever_that_ended(self):
        """Within two seconds: logged out, logged out everywhere, switched off, a new password, revoked, expired."""
        run = lambda *arguments: self.sandbox.run(*arguments, check=0)
        revoked = self.daemon.post("/api/auth/api-keys", {"password": self.password}, **bearer(self.access))[1]
        endings = [
            lambda token: self.assertEqual(self.daemon.post("/api/auth/logout", None, **bearer(token))[0], 200),
            lambda token: self.assertEqual(self.daemon.post("/api/auth/logout-all", None, **bearer(token))[0], 200),
            lambda _: (run("user", "disable", "ada@example.org"), run("user", "enable", "ada@example.org")),
            lambda _: setattr(self, "password", run("user", "password", "ada@example.org").stdout.strip().splitlines()[-1]),
        ]
        for ending in endings:
            token = self.log_in()
            ticket = self.daemon.post("/api/ws-ticket", None, **bearer(token))[1]["ticket"]
            async with websockets.connect(self.url(), extra_headers=bearer(token)) as first, websockets.connect(self.url(f"?ticket={ticket}")) as second, \
                    websockets.connect(self.url(), extra_headers=bearer(self.key["key"])) as keyed:
                await self.frame(first, "connection_info")
                ending(token)
                await self.closes_within(first, 2)
                await self.closes_within(second, 2)
                self.assertTrue(keyed.open or ending is endings[2], "a key is no session")
        async with websockets.connect(self.url(), extra_headers=bearer(revoked["key"])) as socket:
            await self.frame(socket, "connection_info")
            run("user", "key", "revoke", revoked["id"])
            await self.closes_within(socket, 2)
        async with websockets.connect(self.url()) as socket:
            await socket.send(json.dumps({"type": "auth", "token": self.key["key"]}))
            await self.frame(socket, "authenticated")
            run("user", "key", "rotate", self.key["id"], "--overlap-hours", "0")
            await self.closes_within(socket, 2)


    async def test_who_does_not_answer_the_close_is_cut(self):
        """A client that reads nothing any more keeps no socket for its ended session."""
        token = self.log_in()
        with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=20) as client:
            client.sendall(f"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            self.assertIn(b" 101 ", client.recv(4096))
            self.daemon.post("/api/auth/logout", None, **bearer(token))
            begun = time.monotonic()
            while client.recv(65536):
                pass
            self.assertLess(time.monotonic() - begun, 12)

    async def test_a_socket_ends_when_its_token_or_key_expires_unless_a_fresh_one_comes(self):
        def expiring(seconds):
            head, claims, _ = self.access.split(".")
            claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
            claims["exp"] = int(time.time()) + seconds
            signed = f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}"
            return signed + "." + base64.urlsafe_b64encode(hmac.digest(self.sandbox.environment["JWT_SECRET"].encode(), signed.encode(), "sha256")).decode().rstrip("=")

        short = expiring(2)
        async with websockets.connect(self.url(), extra_headers=bearer(short)) as lost, websockets.connect(self.url(), extra_headers=bearer(short)) as renewed:
            await renewed.send(json.dumps({"type": "auth", "token": self.access}))
            await self.frame(renewed, "authenticated")
            await self.closes_within(lost, 4.5)
            await self.reads(renewed)
        with contextlib.closing(sqlite3.connect(self.sandbox.directory / "state/aragora.db", timeout=20)) as database, database:
            database.execute("UPDATE api_keys SET expires_at = ?", (int(time.time() * 1e6) + 2_000_000,))
        async with websockets.connect(self.url(), extra_headers=bearer(self.key["key"])) as socket:
            await self.closes_within(socket, 4.5)
        self.assertEqual(self.daemon.get("/api/debates", **bearer(self.key["key"]))[0], 401)


class Instances(Sockets):
    """The same with two instances on PostgreSQL: what one of them ends closes at the other."""

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        url = self.stack.enter_context(postgres_database())
        self.sandbox = self.stack.enter_context(Sandbox(**production_environment(url, service("TEST_REDIS"))))
        self.sandbox.run("migrate", check=0)
        self.password = self.sandbox.run("user", "add", "ada@example.org", check=0).stdout.strip().splitlines()[-1]
        self.daemon = self.stack.enter_context(Daemon(self.sandbox))
        self.other = self.stack.enter_context(Daemon(self.sandbox))
        self.access = self.log_in()
        self.key = self.daemon.post("/api/auth/api-keys", {"password": self.password}, **bearer(self.access))[1]

    test_a_key_and_a_token_open_a_socket_in_four_ways = None
    test_who_says_nothing_or_lies_is_closed = None
    test_a_ticket_is_good_once_and_for_what_it_was_given = None
    test_a_socket_ends_with_its_session_or_key_wherever_that_ended = None
    test_a_socket_ends_when_its_token_or_key_expires_unless_a_fresh_one_comes = None
    test_who_does_not_answer_the_close_is_cut = None

    def delete(self, path, token):
        self.assertEqual(self.other.request("DELETE", path, headers=bearer(token))[0], 200)

    async def test_what_ends_on_one_closes_on_the_other(self):
        endings = [lambda token: self.assertEqual(self.other.post("/api/auth/logout", None, **bearer(token))[0], 200),
                   lambda token: self.assertEqual(self.other.post("/api/auth/logout-all", None, **bearer(token))[0], 200)]
        for ending in endings:
            token = self.log_in()
            async with websockets.connect(self.url(), extra_headers=bearer(token)) as socket:
                await self.frame(socket, "connection_info")
                ending(token)
                await self.closes_within(socket, 2)
        token, victim = self.log_in(), self.log_in()
        async with websockets.connect(self.url(), extra_headers=bearer(victim)) as socket, websockets.connect(self.url(), extra_headers=bearer(self.key["key"])) as keyed:
            await self.frame(socket, "connection_info")
            await self.frame(keyed, "connection_info")
            sessions = self.other.get("/api/auth/sessions", **bearer(victim))[1]["sessions"]
            self.delete("/api/auth/sessions/" + next(one["id"] for one in sessions if one["current"]), token)
            self.delete("/api/auth/api-keys/" + self.key["id"], token)
            await self.closes_within(socket, 2)
            await self.closes_within(keyed, 2)

    async def test_a_ticket_of_one_opens_the_other_and_only_once(self):
        ticket = self.other.post("/api/ws-ticket", None, **bearer(self.access))[1]["ticket"]

        async def open_at(daemon):
            try:
                async with websockets.connect(f"ws://127.0.0.1:{daemon.port}/ws?ticket={ticket}") as socket:
                    await self.frame(socket, "connection_info")
                    return True
            except websockets.InvalidStatusCode:
                return False
        opened = await asyncio.gather(*[open_at(daemon) for daemon in [self.daemon, self.other] * 6])
        self.assertEqual(opened.count(True), 1)


class Unsure(unittest.IsolatedAsyncioTestCase):
    """Sockets of sessions while the daemon cannot look, or has other things to do."""
    frame, closes_within, url, log_in = Sockets.frame, Sockets.closes_within, Sockets.url, Sockets.log_in

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.database = self.stack.enter_context(postgres_database())
        self.token = strong_secret()
        self.sandbox = self.stack.enter_context(Sandbox(DATABASE_URL=self.database, ARAGORA_API_TOKEN=self.token, JWT_SECRET=strong_secret(), ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)))
        self.sandbox.run("migrate", check=0)
        self.password = self.sandbox.run("user", "add", "ada@example.org", check=0).stdout.strip().splitlines()[-1]

    def start(self, **environment):
        self.daemon = self.stack.enter_context(Daemon(self.sandbox, **environment))

    @contextlib.contextmanager
    def locked(self, table):
        holder = subprocess.Popen(["psql", "-qAtX", self.database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            holder.stdin.write(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 1;\n")
            holder.stdin.flush()
            self.assertEqual(holder.stdout.readline(), "1\n")
            yield
        finally:
            holder.communicate("ROLLBACK;\n")

    async def test_a_session_that_ends_while_every_worker_is_busy_closes_its_socket(self):
        self.start(ARAGORA_WORKERS="1", ARAGORA_QUEUE_MS="300")
        debate = self.daemon.post("/api/debates", {"task": "t", "rounds": 0}, **bearer(self.token))[1]["debate_id"]
        self.daemon.sandbox.run("user", "list", check=0)
        done = threading.Event()

        def flood():
            while not done.is_set():
                with contextlib.suppress(OSError):
                    self.daemon.request("GET", f"/api/debates/{debate}/events", headers=bearer(self.token), timeout=60)

        async with websockets.connect(self.url(), extra_headers=bearer(self.log_in())) as socket:
            await self.frame(socket, "connection_info")
            with self.locked("debates, debate_events"):
                threads = [threading.Thread(target=flood) for _ in range(8)]
                for thread in threads:
                    thread.start()
                try:
                    await asyncio.sleep(0.5)
                    await asyncio.to_thread(self.sandbox.run, "user", "disable", "ada@example.org", check=0)
                    await self.closes_within(socket, 2)
                finally:
                    done.set()
            for thread in threads:
                await asyncio.to_thread(thread.join)

    async def test_while_nobody_can_say_whether_a_session_lives_it_hears_nothing_and_then_everything(self):
        self.start()
        access = self.log_in()
        key = self.daemon.post("/api/auth/api-keys", {"password": self.password}, **bearer(access))[1]["key"]
        async with websockets.connect(self.url(), extra_headers=bearer(access)) as session, websockets.connect(self.url(), extra_headers=bearer(key)) as keyed, \
                websockets.connect(self.url(), extra_headers=bearer(self.token)) as operator:
            with self.locked("sessions, api_keys"):
                await asyncio.sleep(2.2)  # the promise: what was known before is not worth more
                debate = self.daemon.post("/api/debates", {"task": "unheard", "rounds": 0}, **bearer(self.token))[1]["debate_id"]
                for socket in (session, keyed, operator):
                    await socket.send(json.dumps({"type": "subscribe", "debate_id": debate}))
                await self.frame(operator, "debate_end")
                for socket in (session, keyed):
                    await self.frame(socket, "subscribed")
                    with self.assertRaises(TimeoutError):
                        async with asyncio.timeout(1):
                            while True:
                                self.assertNotIn("seq", json.loads(await socket.recv()))
            for socket in (session, keyed):
                heard = []
                async with asyncio.timeout(20):
                    while not heard or heard[-1]["type"] != "debate_end":
                        frame = json.loads(await socket.recv())
                        heard += [frame] if "seq" in frame else []
                self.assertEqual([frame["seq"] for frame in heard], list(range(1, len(heard) + 1)))
            self.daemon.post("/api/auth/logout", None, **bearer(access))
            await self.closes_within(session, 2)


if __name__ == "__main__":
    main()
