"""The API is what /api/openapi.json says: every operation, each of its answers, for each who may ask, on both engines. Every answer
is validated; a status that is declared and was never seen is a failure, and so is one that was seen and is not declared."""
import asyncio
import contextlib
import json
import sqlite3
import subprocess
import threading
import time
import unittest

import websockets

from contract import Broken, Contract
from contract_world import CHAT, DEBATE, NOBODY, PASSWORD, SOCKET, Ask, World, bearer
from support import Daemon, RedisServer, Sandbox, main, postgres_database, production_environment, service

SESSION_ONLY = ("own_account", "own_credentials", "administer")


class Steps(World):
    """What is tried of it."""

    def spoil(self):
        pass

    # What is tried, in this order: what comes later uses up what earlier steps need.

    def test_everything(self):
        self.populate()
        for step in (self.grants, self.heads, self.mistakes, self.wrong_values, self.conflicts, self.roles, self.missing_things, self.sockets, self.elsewhere, self.too_often, self.no_memory, self.a_queue, self.no_space, self.no_database):
            with self.subTest(step.__name__):
                began = time.monotonic()
                step()
                print(f"  {type(self).__name__} {step.__name__}: {time.monotonic() - began:.1f} s", flush=True)
        self.assertEqual([one for one in self.contract.unseen() if one[1] not in self.EXCUSED], [], "declared, and never seen")
        self.spoil()

    def grants(self):
        for name, operation, make in self.drivers():
            success = min((int(status) for status in operation["responses"] if status < "4"), default=501)  # what is not offered
            if make is None:
                self.assertTrue(self.contract.seen[name, success], name)
                continue
            ask = make()
            self.ask(name, ask, success)
            if ask.body is not None:
                self.assertEqual(self.contract.errors(self.contract.body_schema(operation), ask.body), [], f"{name}: a body that is taken")
        for form in ("json", "md", "markdown"):
            self.ask("GET /api/debates/{id}/export", Ask("viewer", id=self.debate, query=f"format={form}"), 200)
        first = self.ask("POST /api/debates", Ask("member", DEBATE, headers={"Idempotency-Key": "k"}), 200)
        self.assertEqual(self.ask("POST /api/debates", Ask("member", DEBATE, headers={"Idempotency-Key": "k"}), 200), first)
        self.ask("POST /api/debates", Ask("member", {**DEBATE, "rounds": 0}, headers={"Idempotency-Key": "k"}), 422)
        self.ask("POST /api/debate", Ask("member", {**DEBATE, "rounds": 0}, headers={"Idempotency-Key": "k"}), 422)
        unpriced = {"agents": ["openai:unheard-of"] * 2, "budget_usd": "1"}
        for way in ("fork", "clone"):
            self.ask(f"POST /api/debates/{{id}}/{way}", Ask("member", unpriced, id=self.debate), 422)
        self.ask("POST /api/debates/batch", Ask("member", {"items": [{"task": "one", **unpriced}]}), 422)
        self.ask("POST /v1/chat/completions", Ask("member", CHAT, headers={"Idempotency-Key": "c"}), 200)
        self.ask("POST /v1/chat/completions", Ask("member", {**CHAT, "model": "aragora"}, headers={"Idempotency-Key": "c"}), 422)
        self.ask("POST /v1/chat/completions", Ask("member", {**CHAT, "model": "gpt-6"}), 404)
        failing = {"agents": ["sim:fail=1", "sim:fail=1,seed=2"], "rounds": 0, "deadline_seconds": 5}
        self.ask("POST /v1/chat/completions", Ask("member", {**CHAT, "aragora": failing}), 502)
        self.ask("GET /api/admin/audit/export", Ask("admin", query="limit=1"), 200)
        self.ask("GET /api/auth/setup", Ask(query="token=x", headers={"Accept": "text/html"}), 200)
        for flag in ("true", "1", "false", "0"):
            self.ask("DELETE /api/debates/{id}", Ask("member", id=self.ended_debate(), query=f"dry_run={flag}"), 200)
        self.ask("DELETE /api/debates/{id}", Ask("member", {"dry_run": True}, id=self.debate), 400)
        self.pages()
        for name, operation in self.contract.operations():
            media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in media:
                self.assertEqual(self.contract.errors(media["schema"], media["example"]), [], f"{name}: its example")

    def pages(self):
        """Lists say which part of them they are."""
        everybody = self.ask("GET /api/admin/users", Ask("admin"), 200)
        for name in ("GET /api/admin/users", "GET /api/admin/api-keys", "GET /api/admin/users/{id}/sessions", "GET /api/auth/api-keys", "GET /api/auth/sessions", "GET /api/auth/sessions/active"):
            member = next(user["id"] for user in everybody["users"] if user["email"] == "member@example.org")
            who = "admin" if "/admin/" in name else "member"
            whole = self.ask(name, Ask(who, id=member), 200)
            part = self.ask(name, Ask(who, id=member, query="limit=1&offset=1"), 200)
            key = next(iter(whole))
            self.assertEqual((part[key], part["limit"], part["offset"], part["total"]), (whole[key][1:2], 1, 1, whole["total"]), name)

    def heads(self):
        """HEAD is answered as GET is, without the body."""
        for name, operation, make in self.drivers():
            if name.startswith("GET ") and name != "GET /ws":
                ask = make()
                path = name[4:]
                for key, value in ask.path.items():
                    path = path.replace("{" + key + "}", value)
                status, headers, body = self.daemon.request("HEAD", path + ("?" + ask.query if ask.query else ""), None, bearer(self.tokens.get(ask.who, ask.who)))
                self.assertEqual((status, body), (200, b""), name)
                self.contract.check_headers(name, self.contract.resolved(operation["responses"]["200"])["headers"], headers)

    def filled(self, name, operation):
        """A request by somebody who may, about nothing that is there."""
        allowed = operation["x-allowed"]
        who = next(role for role in ("admin", "metrics_token") if role in allowed) if operation["x-permission"] != "public" else None
        return Ask(who, {} if "requestBody" in operation else None, id=NOBODY, session=NOBODY, name=NOBODY, format="md")

    def mistakes(self):
        for name, operation in self.contract.operations():
            ask = self.filled(name, operation)
            for query in ("colour=red", "x=1&y=2", "limit=1&limit=1", "limit=1&limit=2&offset=0", "%6cimit&limit"):
                ask.query = query
                refused = self.ask(name, ask, 400)
            self.assertIn("limit is given more than once", self.said(refused), name)
            ask.query = ""
            self.ask(name, Ask(headers={"Content-Length": "99999999"}, **ask.path), 413)
            if operation["x-permission"] != "public":
                for who in (None, "nonsense", "ara_nonsense", "eyJhbGciOiJIUzI1NiJ9.e30.x"):
                    if name != "GET /ws" or who:
                        self.ask(name, Ask(who, ask.body, headers=SOCKET if name == "GET /ws" else None, **ask.path), 401)
            elif not name.startswith("GET "):
                self.ask(name, Ask(None, ask.body, headers={"Origin": "https://evil.example"}, **ask.path), 403)
            if "requestBody" in operation:
                self.ask(name, Ask(ask.who, b"<a/>", headers={"Content-Type": "text/xml"}, **self.there(ask)), 415)
                for body in (b"{", b"[]", b"1", b'{"a": 1}}', b"\xff", b'{"x": {"name": 1, "n\\u0061me": 1}}'):
                    refused = self.ask(name, Ask(ask.who, body, **self.there(ask)), 400)
                self.assertTrue(self.said(refused).startswith("name is given more than once"), name)

    @staticmethod
    def said(refused):
        """Clients of OpenAI's API want an object there."""
        return refused["error"] if isinstance(refused["error"], str) else refused["error"]["message"]

    def there(self, ask):
        return {**ask.path, "id": self.debate}

    def wrong_values(self):
        """What the description does not allow is refused, value by value."""
        taken = []
        for name, operation, make in self.drivers():
            base = make() if make else None
            if base is None:
                continue
            for parameter in self.contract.parameters(operation):
                if parameter["in"] == "query":
                    for wrong in self.outside(parameter["schema"]):
                        status = self.status(name, base, f"{parameter['name']}={wrong}", without=parameter["name"])
                        if status != 400:
                            taken.append(f"{name}: {parameter['name']}={wrong[:20]} → {status}")
            schema = self.contract.body_schema(operation)
            for body in self.wrong_bodies(schema, base.body) if schema else ():
                self.assertTrue(self.contract.errors(schema, body), f"{name}: {body}")
                status = self.status(name, Ask(base.who, body, **base.path))
                if status != 400:
                    taken.append(f"{name}: {json.dumps(body)[:160]} → {status}")
        self.assertEqual(taken, [], "refused by the description, not by the API")

    def status(self, name, base, query="", without=""):
        kept = "&".join(part for part in base.query.split("&") if part and part.split("=")[0] != without)
        return self.ask(name, Ask(base.who, base.body, kept, base.headers, **base.path), more=query).status

    @staticmethod
    def outside(schema):
        kind = schema.get("type")
        if kind == "integer":
            yield from ("x", "1.5", str(schema["minimum"] - 1))
        if "enum" in schema or kind == "boolean":
            yield "nonsense"
        if "maxLength" in schema:
            yield "x" * (schema["maxLength"] + 1)
        if schema.get("format") == "date-time":
            yield "yesterday"

    def wrong_bodies(self, schema, body):
        schema = self.contract.resolved(schema)
        for part in schema.get("allOf", []):
            yield from self.wrong_bodies(part, body)
        for name in schema.get("required", []):
            yield {key: value for key, value in body.items() if key != name}
        for name, one in schema.get("properties", {}).items():
            one = self.contract.resolved(one)
            if one != {}:
                yield {**(body or {}), name: [[1]] if one.get("type") != "array" else {"x": 1}}
            if "minimum" in one:
                yield {**(body or {}), name: one["minimum"] - 1}
                yield {**(body or {}), name: one["maximum"] + 1}
            if "maxLength" in one:
                yield {**(body or {}), name: "x" * (one["maxLength"] + 1)}

    def conflicts(self):
        """Each 409 and each 401 of those that have credentials in their body."""
        one, two = self.with_factor(), self.fresh()
        for way, body in (("PATCH /api/debates/{id}", {"title": "mine"}), ("PUT /api/debates/{id}", {"title": "mine"}), ("POST /api/debates/{id}/cancel", None), ("POST /api/debates/{id}/pause", None), ("POST /api/debates/{id}/resume", None), ("POST /api/debates/{id}/messages", {"content": "mine"}), ("DELETE /api/debates/{id}", None)):
            self.ask(way, Ask(two["who"], body, id=self.debate), 403)
        for way in ("cancel", "pause", "resume"):
            self.ask(f"POST /api/debates/{{id}}/{way}", Ask("member", id=self.debate), 409)
        self.ask("POST /api/debates/{id}/messages", Ask("member", {"content": "too late"}, id=self.debate), 409)
        running = self.running_debate()
        for content, status in (("first", 200), ("first", 200), ("second", 422)):
            self.ask("POST /api/debates/{id}/messages", Ask("member", {"content": content}, headers={"Idempotency-Key": "m"}, id=running), status)
        self.ask("DELETE /api/debates/{id}", Ask("member", id=running), 409)
        self.ask("GET /api/debates/{id}/receipt", Ask("member", id=running), 409)
        self.ask("POST /api/auth/register", Ask(body={"email": one["email"], "password": PASSWORD}), 409)
        self.ask("POST /api/auth/login", Ask(body={"email": one["email"], "password": "wrong"}), 401)
        self.ask("POST /api/auth/refresh", Ask(body={"refresh_token": "wrong"}), 401)
        self.ask("POST /api/auth/mfa/setup", Ask(one["who"], {"password": PASSWORD}), 409)
        self.without_proof(two["who"])
        for method in ("PATCH", "PUT", "POST"):
            self.ask(f"{method} /api/auth/me", Ask(two["who"], {"email": one["email"], "password": PASSWORD}), 409)
        self.ask("POST /api/auth/mfa/enable", Ask(two["who"], {"code": "123456"}), 409)
        pending = self.pending(one)
        self.ask("POST /api/auth/mfa/verify", Ask(body={"code": "123456", "pending_token": "wrong"}), 401)
        for way in ("POST /api/auth/mfa/disable", "DELETE /api/auth/mfa", "POST /api/auth/mfa/backup-codes", "POST /api/auth/mfa/step-up"):
            self.ask(way, Ask(one["who"], {"code": "12345x"}), 401)
            self.ask(way, Ask(two["who"], {"code": "123456"}), 409)
        self.ask("POST /api/auth/mfa/disable", Ask(one["who"], {"code": one["codes"].pop()}), 200)
        self.ask("POST /api/auth/mfa/verify", Ask(body={"code": "123456", "pending_token": pending}), 409)
        for way in ("password/reset", "reset-password"):
            self.ask(f"POST /api/auth/{way}", Ask(body={"token": "wrong", "new_password": PASSWORD}), 401)
        for way in ("password/change", "change-password"):
            self.ask(f"POST /api/auth/{way}", Ask(two["who"], {"current_password": "wrong", "new_password": PASSWORD + "!"}), 403)
            self.two_passwords_at_once(f"POST /api/auth/{way}")
        made = self.make_key("member")
        for status in (201, 409):
            self.ask("POST /api/auth/api-keys/{id}/rotate", Ask("member", self.proof("member"), id=made["id"]), status)
        self.ask("DELETE /api/auth/api-keys/{id}", Ask("member", id=made["id"]), 200)
        for way, who in (("auth", "member"), ("admin", "admin")):
            self.ask(f"DELETE /api/{way}/api-keys/{{id}}", Ask(who, id=made["id"]), 409)
        many = self.fresh()["who"]
        while self.ask("POST /api/auth/api-keys", Ask(many, {"password": PASSWORD})).status == 201:
            pass
        for way in ("api-keys", "api-key"):
            self.ask(f"POST /api/auth/{way}", Ask(many, {"password": PASSWORD}), 409)

    def without_proof(self, who):
        """A token is not enough, nor is a wrong password."""
        for name, body in (("POST /api/auth/mfa/setup", {}), ("POST /api/auth/api-keys", {}), ("POST /api/auth/api-key", {}), ("POST /api/auth/api-keys/{id}/rotate", {}), ("PATCH /api/auth/me", {"email": "another@example.org"})):
            self.assertEqual(self.ask(name, Ask(who, body, id=NOBODY), 403).get("code"), "REAUTHENTICATION_REQUIRED", name)
            self.assertEqual(self.ask(name, Ask(who, {**body, "password": "wrong"}, id=NOBODY), 403).get("code"), "FORBIDDEN", name)

    def two_passwords_at_once(self, way):
        """Of two that prove the same password one is told that it was changed meanwhile, when they are close enough."""
        for _ in range(10):
            who = self.fresh()["who"]
            threads = [threading.Thread(target=lambda n=n: self.ask(way, Ask(who, {"current_password": PASSWORD, "new_password": f"{PASSWORD} {n}"}))) for n in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if self.contract.seen[way, 409]:
                return

    def roles(self):
        """Who may is let through to the route, whoever else is told what is missing."""
        callers = {role: (role, role, None) for role in ("anonymous", "viewer", "member", "admin", "api_token", "metrics_token")}
        callers |= {f"key:{scope}": (key, "member", scope) for scope, key in self.keys.items()}
        for name, operation in self.contract.operations():
            if operation["x-permission"] == "administer" and self.STEP_UP:  # the session that enrolled the factor has not proved it
                ask = self.filled(name, operation)
                ask.who = self.admin["who"]
                self.assertEqual(self.ask(name, ask, 403).get("code"), "ADMIN_MFA_REQUIRED", name)
        for name, operation in self.contract.operations():
            for caller, (who, role, scope) in callers.items():
                ask = self.filled(name, operation)
                if "/logout" in name and role in self.PEOPLE and scope is None:
                    self.log_in(role)  # this ends it
                ask.who = who
                permission = operation["x-permission"]
                allowed = permission == "public" or (role in operation["x-allowed"] and (scope is None or operation.get("x-scope") == scope)) or (name == "GET /ws" and role == "anonymous")
                answer = self.ask(name, ask)
                status = answer.status
                if allowed and answer.get("code") != "REAUTHENTICATION_REQUIRED":
                    self.assertNotIn(status, (401, 403), f"{name} as {caller}: {answer}")
                elif not allowed:
                    user = scope is not None or role in self.PEOPLE
                    known = user or (role == "api_token" and permission not in SESSION_ONLY)
                    self.assertEqual(status, 403 if known else 401, f"{name} as {caller}: {answer}")
                if "/logout" in name and role in self.PEOPLE and scope is None:
                    self.log_in(role)

    def missing_things(self):
        for name, operation, make in self.drivers():
            if "404" in operation["responses"]:
                ask = make()
                ask.path = {**ask.path, "id": NOBODY, "name": NOBODY, "domain": NOBODY}
                ask.query = ask.query.replace("agent_b=demo-b", f"agent_b={NOBODY}")
                if "model" in (ask.body or {}):
                    ask.body = {**ask.body, "model": NOBODY}
                self.ask(name, ask, 404)
        self.ask("GET /ws", Ask("viewer"), 426)
        self.ask("GET /ws", Ask(self.keys["write"], headers=SOCKET), 403)
        self.ask("GET /ws", Ask("viewer", headers={**SOCKET, "Origin": "https://evil.example"}), 403)

    def sockets(self):
        """However somebody shows who they are; what comes then is described, too."""
        ticket = self.ask("POST /api/ws-ticket", Ask("viewer"), 200)["ticket"]
        self.ask("GET /ws", Ask(query=f"ticket={ticket}", headers=SOCKET), 101)
        self.ask("GET /ws", Ask(query=f"ticket={ticket}", headers=SOCKET), 401)
        for who in ("viewer", "member", "admin", "api_token", self.keys["read"]):
            token = self.tokens.get(who, who)
            self.ask("GET /ws", Ask(query=f"token={token}", headers=SOCKET), 101)
            self.ask("GET /ws", Ask(headers={**SOCKET, "Sec-WebSocket-Protocol": f"aragora, access_token.{token}"}), 101)
        frames = asyncio.run(self.listen())
        schema = self.contract.operation("GET /ws")["responses"]["101"]["x-messages"]
        kinds = {"connection_info", "authenticated", "subscribed", "unsubscribed", "pong", "warning", "error", "debate_created", "debate_start", "agent_message", "critique", "vote", "consensus", "match_recorded", "debate_end"}
        self.assertLessEqual(kinds, {frame["type"] for frame in frames})
        for frame in frames:
            self.assertEqual(self.contract.errors({"$ref": "#/components/schemas/Event"} if "seq" in frame else schema, frame), [], frame)

    async def listen(self):
        frames = []
        async with websockets.connect(f"ws://127.0.0.1:{self.daemon.port}/ws?debate_id={self.debate}") as socket, asyncio.timeout(20):
            async def until(kind):
                while not frames or frames[-1]["type"] != kind:
                    frames.append(json.loads(await socket.recv()))
            for message, kind in (({"type": "auth", "token": self.tokens["viewer"]}, "debate_end"), ({"type": "ping", "ts": 1}, "pong"), ({"type": "unsubscribe", "debate_id": self.debate}, "unsubscribed"),
                                  ({"type": "nonsense"}, "warning"), ({"type": "subscribe", "debate_id": NOBODY}, "error")):
                await socket.send(json.dumps(message))
                await until(kind)
        return frames

    def elsewhere(self):
        """What is none of the operations."""
        def check(status, method, path, **headers):
            got, answered, body = self.daemon.request(method, path, None, headers)
            self.assertEqual(got, status, body)
            value = self.contract.check_response(f"{method} {path[:60]}", self.contract.document["x-other-answers"][str(status)], answered, body)
            return answered, value

        for path in ("/", "/api", "/api/nothing", "/api/debates/x/y/z", "/favicon.ico"):
            check(404, "GET", path)
        for path, item in self.contract.document["paths"].items():
            described = {method.upper() for method in item}
            expected = described | {"OPTIONS"} | ({"HEAD"} if "GET" in described else set())
            for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - expected:
                if method != "HEAD":
                    answered, value = check(405, method, path.replace("{id}", NOBODY).replace("{session}", NOBODY).replace("{name}", NOBODY).replace("{format}", "md"))
                    self.assertEqual(set(answered["allow"].split(", ")), expected, f"{method} {path}")
        check(405, "TRACE", "/api/debates")
        check(501, "BREW", "/api/debates")
        check(414, "GET", "/api/debates?" + "x" * 20_000)
        check(431, "GET", "/api/debates", **{f"X-{n}": "x" for n in range(300)})
        status, _, answered = self.daemon.raw(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
        self.assertTrue(status.startswith(b"HTTP/1.1 505 "), status)
        self.assertEqual(self.contract.errors({"$ref": "#/components/schemas/Error"}, json.loads(answered)), [])

    def too_often(self):
        """One request a minute, and a Redis that goes away."""
        with RedisServer() as redis, self.beside(ARAGORA_IP_RATE_LIMIT="1", REDIS_URL=redis.url) as daemon:
            daemon.request("GET", "/api/debates")
            for name, operation in self.contract.operations():
                if "429" in operation["responses"]:
                    refused = self.ask(name, Ask(**self.filled(name, operation).path), 429, daemon)
                    if not name.split()[1].startswith("/v1/"):  # what clients of OpenAI's API read has no place for it
                        self.assertEqual(refused.headers["retry-after"], str(refused["retry_after"]), name)
                    self.assertEqual(refused.headers["x-ratelimit-remaining"], "0", name)
                    self.assertIn('"default";q=1;w=60', refused.headers["ratelimit-policy"], name)
            redis.kill()
            self.wait(lambda: self.ask("GET /api/health/redis", Ask(), daemon=daemon)["status"] == "unhealthy")

    def no_memory(self):
        self.use_memory(95)
        self.wait(lambda: self.daemon.request("GET", "/api/version")[0] == 200 and self.daemon.request("GET", "/api/debates", headers=bearer(self.tokens["api_token"]))[0] == 503)
        for name, operation in self.contract.operations():
            if "503" in operation["responses"] and operation["x-permission"] != "read_metrics" and not operation["tags"] == ["health"]:
                self.ask(name, Ask(**self.filled(name, operation).path), 503)
        self.use_memory(10)
        self.wait(lambda: self.daemon.request("GET", "/api/debates", headers=bearer(self.tokens["api_token"]))[0] == 200)

    def a_queue(self):
        """The one worker waits for the database; what stands behind it waits for too long."""
        with self.beside(ARAGORA_WORKERS="1", ARAGORA_QUEUE_MS="50", ARAGORA_SOCKETS_PER_ADDRESS="1") as daemon:
            self.one_socket_only(daemon)
            self.behind_a_lock(daemon)

    def one_socket_only(self, daemon):
        holder = daemon.connection()
        holder.request("GET", "/ws", headers={**SOCKET, **bearer(self.tokens["api_token"])})
        with contextlib.closing(holder), contextlib.closing(holder.getresponse()) as opened:
            self.assertEqual(opened.status, 101)
            self.assertEqual(self.ask("GET /ws", Ask("api_token", headers=SOCKET), 429, daemon)["code"], "RATE_LIMITED")

    def behind_a_lock(self, daemon):
        with self.database_locked(daemon):
            threads = [threading.Thread(target=lambda: daemon.request("POST", "/api/debates", DEBATE, bearer(self.tokens["api_token"]))) for _ in range(3)]
            for thread in threads:
                thread.start()
            self.wait(lambda: "code" in self.metrics_answer(daemon))
        for thread in threads:
            thread.join()

    def metrics_answer(self, daemon):
        return self.ask("GET /metrics", Ask("metrics_token"), daemon=daemon)


class OnSqlite(Steps, unittest.TestCase):
    STEP_UP = False
    EXCUSED = ()

    def spoil(self):
        """Once is enough: the schemas are the same everywhere."""
        self.assertEqual(list(self.contract.toothless()), [], "these would pass, too")

    @classmethod
    def deployment(cls):
        return Sandbox()

    @contextlib.contextmanager
    def beside(self, **environment):
        """One with a file of its own: a file has one daemon."""
        with Sandbox() as sandbox:
            sandbox.environment = {**self.sandbox.environment, **sandbox.environment}
            sandbox.prefix = self.sandbox.prefix
            sandbox.run("migrate", check=0)
            with Daemon(sandbox, **environment) as daemon:
                yield daemon

    @contextlib.contextmanager
    def database_locked(self, daemon):
        with contextlib.closing(sqlite3.connect(daemon.sandbox.directory / "state/aragora.db", timeout=10, isolation_level=None)) as somebody:
            somebody.execute("BEGIN IMMEDIATE")
            yield

    def no_space(self):
        """Everything that is written meets a full disk, and goes on afterwards."""
        writing = [(name, make) for name, operation, make in self.drivers() if "507" in operation["responses"] and make]
        writing.sort(key=lambda one: one[0].endswith(("/cancel", "/messages")))  # their debates are to run yet
        asks = [(name, make()) for name, make in writing]
        self.full.touch()
        for name, ask in asks:
            self.ask(name, ask, 507)

    def first(self, new):
        self.ask("POST /api/auth/setup", Ask(body=new), 201)

    def before_the_first(self, ask):
        self.full.touch()
        self.ask("POST /api/auth/setup", ask, 507)
        self.full.unlink()

    def no_database(self):
        for name in ("db", "database"):
            self.wait(lambda name=name: self.ask(f"GET /api/health/{name}", Ask())["status"] == "unhealthy")
        for name, operation in self.contract.operations():
            if operation["operationId"].startswith("getReadiness"):
                self.ask(name, Ask(), 503)
        self.full.unlink()
        self.wait(lambda: self.daemon.get("/api/ready")[0] == 200)


class OnPostgres(Steps, unittest.TestCase):
    STEP_UP = True
    EXCUSED = (507,)  # a server's full disk is a machine of its own: test_full_disk has one; SQLite shows each of these answers here

    @classmethod
    def deployment(cls):
        cls.url = cls.enterClassContext(postgres_database())
        return Sandbox(**production_environment(cls.url, service("TEST_REDIS")))

    def sql(self, text, url=None):
        subprocess.run(["psql", "-qXAt", url or self.url, "-c", text], check=True, stdout=subprocess.DEVNULL)

    @contextlib.contextmanager
    def database_locked(self, _):
        with subprocess.Popen(["psql", "-qXAt", self.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as somebody:
            somebody.stdin.write("BEGIN; LOCK TABLE debates IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")
            somebody.stdin.flush()
            self.assertEqual(somebody.stdout.readline(), "locked\n")
            yield
            somebody.stdin.close()

    def before_the_first(self, _):
        pass

    def first(self, new):
        self.assertNotIn(b"<form ", self.fill_in(new, 201))

    def no_space(self):
        pass

    def no_database(self):
        """Nobody is let in any more; then everything but what needs no database says so."""
        asks = [(name, make()) for name, operation, make in self.drivers() if make and "503" in operation["responses"]]
        name = self.url.rsplit("/", 1)[1]
        self.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", service("TEST_POSTGRES"))  # first, or one comes back
        self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND backend_type = 'client backend'", service("TEST_POSTGRES"))
        self.wait(lambda: self.ask("GET /api/ready", Ask())["status"] == "not_ready")
        for operation, ask in asks:
            if not any(part in operation for part in ("openapi.json", "/metrics", "health/redis", "/api/auth/setup", "forgot", "GET /ws")):
                self.ask(operation, ask, 503)
        self.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true", service("TEST_POSTGRES"))
        self.wait(lambda: self.daemon.get("/api/ready")[0] == 200)


class TheJudge(unittest.TestCase):
    """It bites: what it lets pass is looked at in every run above; these are the ways in which an answer can be wrong."""

    DOCUMENT = {"components": {"headers": {"X-Request-ID": {"required": True, "schema": {"type": "string"}}},
                               "schemas": {"Thing": {"type": "object", "required": ["at"], "properties": {"at": {"type": "string", "format": "date-time"}, "to": {"type": ["string", "null"]}}, "additionalProperties": False}}},
                "paths": {"/t": {"get": {"responses": {"200": {"headers": {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}}}}}}
    HEADERS = {"x-request-id": "x", "content-type": "application/json"}
    GOOD = b'{"at": "2026-11-27T16:00:00Z"}'

    def judge(self, status=200, headers=HEADERS, body=GOOD):
        Contract(self.DOCUMENT).check("GET /t", status, headers, body)

    def test_a_right_answer_passes(self):
        self.judge()
        self.judge(body=b'{"at": "2026-11-27T16:00:00.123Z", "to": null}')

    def test_every_other_one_is_refused(self):
        for wrong in (b"{}", b'{"at": 1}', b'{"at": "yesterday"}', b'{"at": "2026-13-27T16:00:00Z"}', b'{"at": "2026-11-27T16:00:00Z", "more": 1}', b'{"at": "2026-11-27T16:00:00Z", "to": 1}', b"[]"):
            with self.assertRaises(Broken, msg=wrong):
                self.judge(body=wrong)
        for headers in ({"content-type": "application/json"}, {"x-request-id": "x", "content-type": "text/plain"}):
            with self.assertRaises(Broken, msg=headers):
                self.judge(headers=headers)
        with self.assertRaises(Broken):
            self.judge(status=204)

    def test_schemas_without_teeth_are_found(self):
        judge = Contract({**self.DOCUMENT, "components": {**self.DOCUMENT["components"], "schemas": {"Thing": {"type": "object"}}}})
        judge.check("GET /t", 200, self.HEADERS, self.GOOD)
        self.assertEqual(list(judge.toothless()), ["GET /t 200: an undeclared member", "GET /t 200: something else as at", "GET /t 200: no at"])


if __name__ == "__main__":
    main()
