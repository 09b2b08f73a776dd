"""What administrators look at: the audit log with its filters and its export, settings in effect, living instances."""
import contextlib
import json
import secrets
import signal
import sqlite3
import subprocess
import time
import unittest

from support import Daemon, RedisServer, Sandbox, main, postgres_database
from test_debates import until


class Administration(unittest.TestCase):
    @contextlib.contextmanager
    def deployment(self, **environment):
        self.key = secrets.token_hex(32)
        with Sandbox(ARAGORA_ENCRYPTION_KEY=self.key, **environment) as sandbox:
            sandbox.run("migrate", check=0)
            self.passwords = passwords = {role: sandbox.run("user", "add", "--email", f"{role}@example.org", "--role", role, check=0).stdout.strip().splitlines()[-1] for role in ("admin", "member")}
            with Daemon(sandbox) as daemon:
                self.daemon = daemon
                self.tokens = {role: daemon.post("/api/auth/login", {"email": f"{role}@example.org", "password": password})[1]["access_token"] for role, password in passwords.items()}
                yield sandbox

    def ask(self, path, role="admin", status=200):
        got, headers, body = self.daemon.request("GET", path, headers={"Authorization": f"Bearer {self.tokens[role]}"} if role else {})
        self.assertEqual(got, status, (path, body))
        self.headers = headers
        return body.decode() if "ndjson" in headers["content-type"] else json.loads(body)

    def test_the_log_is_read_filtered_and_exported(self):
        with postgres_database() as url:
            for environment in ({}, {"DATABASE_URL": url}):
                with self.subTest(environment=bool(environment)), self.deployment(**environment):
                    self.reading()

    def reading(self):
        for number in range(4):
            self.daemon.wait_finished(self.daemon.post("/api/debates", {"task": f"task {number}", "rounds": 0})[1]["debate_id"])
        log = self.ask("/api/v1/admin/audit")
        seqs = [entry["seq"] for entry in log["events"]]
        self.assertEqual(seqs, list(range(log["total"], 0, -1)))
        self.assertEqual(log["entries"], log["events"])
        self.assertEqual([entry["action"] for entry in log["events"][:4]], ["debate.create"] * 4)
        logins = self.ask("/api/audit/entries?action=session.login")
        self.assertEqual((logins["total"], {entry["outcome"] for entry in logins["events"]}), (2, {"success"}))
        users = self.ask("/api/audit/events?action=user.")
        self.assertEqual({entry["action"] for entry in users["events"]}, {"user.add"}, users)
        page = self.ask("/api/admin/audit?limit=2&offset=1")
        self.assertEqual(([entry["seq"] for entry in page["events"]], page["total"], page["count"]), (seqs[1:3], log["total"], 2))
        one = log["events"][0]
        found = self.ask(f"/api/admin/audit?object={one['object']}")
        self.assertEqual(found["events"], [one])
        moment = one["timestamp"].replace("+", "%2B")
        self.assertIn(one, self.ask(f"/api/admin/audit?since={moment}")["events"])
        self.assertEqual(self.ask("/api/admin/audit?until=2020-01-01T00:00:00Z")["total"], 0)
        for wrong in ("since=yesterday", "limit=0", "before=x", "who=me"):
            self.ask(f"/api/admin/audit?{wrong}", status=400)

        exported = [json.loads(line) for line in self.ask("/api/admin/audit/export").splitlines()]
        self.assertEqual(exported, log["events"])
        self.assertNotIn("x-next-before", self.headers)
        pieces = []
        path = "/api/admin/audit/export?limit=3"
        while path:
            pieces += [json.loads(line) for line in self.ask(path).splitlines()]
            following = self.headers.get("x-next-before")
            path = f"/api/admin/audit/export?limit=3&before={following}" if following else None
        self.assertEqual(pieces, log["events"])
        self.assertEqual(self.ask("/api/admin/audit/verify"), {"verified": True, "entries": log["total"], "total_errors": 0, "errors": []})

    def test_settings_are_those_in_effect_and_keep_their_secrets(self):
        with self.deployment():
            settings = self.ask("/api/admin/settings")["settings"]
            self.assertEqual(settings["server.workers"]["value"], "48")
            self.assertTrue(settings["encryption.key"]["secret"])
            self.assertNotIn(self.key, json.dumps(settings))
            self.assertIn("ARAGORA_ENCRYPTION_KEY", settings["encryption.key"]["origin"])
            self.assertNotEqual(settings["encryption.key"]["value"], None)

    def test_a_reload_is_seen_where_it_applies(self):
        with Sandbox() as box:
            path = box.write("here.toml", "[server]\ndebate_rate_limit = 77\nworkers = 9\n")
            with self.deployment(ARAGORA_CONFIG=str(path)) as sandbox:
                before = self.ask("/api/admin/settings")
                self.assertEqual(before["settings"]["server.debate_rate_limit"]["value"], "77")
                self.assertEqual(before["config_hash"], sandbox.run_json("config", "show", check=0, ARAGORA_IP_RATE_LIMIT="0")["config_hash"])
                path.write_text("[server]\ndebate_rate_limit = 88\nworkers = 5\n")
                self.daemon.process.send_signal(signal.SIGHUP)
                deadline = time.monotonic() + 20
                while (settings := self.ask("/api/admin/settings")["settings"])["server.debate_rate_limit"]["value"] != "88":
                    self.assertLess(time.monotonic(), deadline, self.daemon.text())
                    time.sleep(0.05)
                self.assertEqual(settings["server.workers"]["value"], "9", "what needs a restart is as it is")
                path.write_text("[server]\ndebate_rate_limit = 88\nworkers = 9\n")
                in_effect = sandbox.run_json("config", "show", check=0, ARAGORA_IP_RATE_LIMIT="0")["config_hash"]
                self.assertNotEqual(in_effect, before["config_hash"])
                self.assertEqual(self.ask("/api/admin/settings")["config_hash"], in_effect)
                self.assertIn("here.toml", settings["server.debate_rate_limit"]["origin"])

    def test_instances_say_what_they_are(self):
        with self.deployment():
            body = self.ask("/api/admin/instances")
            self.assertEqual(body["total"], 1)
            self.assertGreaterEqual(body["instances"][0]["connections"], 1)
            self.assertEqual(body["instances"][0]["version"], self.ask("/api/version")["version"])

    def test_what_others_write_beside_an_instance_hides_none(self):
        with RedisServer() as redis, self.deployment(REDIS_URL=redis.url):
            until(lambda: redis.cli("KEYS", "*instances"), 10)
            hash_of, beats = redis.cli("KEYS", "*instances"), redis.cli("KEYS", "*beats")
            score = redis.cli("ZRANGE", beats, "0", "0", "WITHSCORES").splitlines()[1]
            for number, value in enumerate(("{", "", "null", "[1]", "7", "\xff", "{" * 5000)):
                redis.cli("HSET", hash_of, f"ghost{number}", value)
                redis.cli("ZADD", beats, float(score) * 2, f"ghost{number}")
            until(lambda: "\naragora_instances 8\n" in self.daemon.request("GET", "/metrics")[2].decode(), 10)
            body = self.ask("/api/admin/instances")
            self.assertEqual((body["total"], body["instances"][0]["version"]), (1, self.ask("/api/version")["version"]))

    def test_an_entry_that_was_tampered_with_hides_none(self):
        with self.deployment() as sandbox:
            total = self.ask("/api/admin/audit")["total"]
            with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db", timeout=20)) as database, database:
                database.execute("UPDATE audit_log SET details = '{' WHERE seq = 2")
            shown = {entry["seq"]: entry for entry in self.ask("/api/admin/audit")["events"]}
            self.assertEqual((len(shown), shown[2]["details"]), (total, "{"))
            self.assertEqual(len(self.ask("/api/admin/audit/export").splitlines()), total)
            self.assertFalse(self.ask("/api/admin/audit/verify")["verified"])

    def test_lists_of_people_and_keys_are_read_in_pages(self):
        with postgres_database() as url:
            for environment in ({}, {"DATABASE_URL": url}):
                with self.subTest(environment=bool(environment)), self.deployment(**environment) as sandbox:
                    self.pages(sandbox, environment.get("DATABASE_URL"))

    def pages(self, sandbox, url):
        mine = [self.daemon.post("/api/auth/api-keys", {"password": self.passwords["member"]}, Authorization=f"Bearer {self.tokens['member']}")[1]["id"] for _ in range(3)]
        rows = lambda columns, table, form: "INSERT INTO {0} ({1}) ".format(table, columns) + form
        many = [rows("id, email, password_hash, role, created_at, updated_at", "users", "SELECT 'u' || n, 'p' || n || '@example.org', 'x', 'member', 1, 1 FROM numbers"),
                rows("id, user_id, name, prefix, digest, key_id, scopes, created_at, expires_at", "api_keys", "SELECT 'k' || n, 'u' || n, '', 'ara_k' || n, 'x' || n, 'x', 'read', n, 9 FROM numbers")]
        for statement in many:
            table, _, form = statement.partition(") ")
            sql = f"{table}) WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 300) {form}"
            if url:
                subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", url, "-c", sql], check=True)
            else:
                with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db", timeout=20)) as database, database:
                    database.execute(sql)
        for path, items, total in (("/api/admin/users", "users", 302), ("/api/admin/api-keys", "keys", 303)):
            first = self.ask(path)
            self.assertEqual((len(first[items]), first["total"], first["limit"], first["offset"]), (50, total, 50, 0), path)
            self.assertEqual(len(self.ask(f"{path}?limit=100000")[items]), 200, "clamped")
            seen = [one["id"] for offset in range(0, total, 70) for one in self.ask(f"{path}?limit=70&offset={offset}")[items]]
            self.assertEqual((len(seen), len(set(seen))), (total, total), path)
            self.assertEqual(self.ask(f"{path}?limit=7&offset={total}")[items], [])
            for wrong in ("limit=0", "offset=-1", "page=2"):
                self.ask(f"{path}?{wrong}", status=400)
        own = self.ask("/api/auth/api-keys?limit=2&offset=1", "member")
        self.assertEqual(([key["id"] for key in own["keys"]], own["total"]), (mine[::-1][1:], 3))
        sessions = self.ask("/api/auth/sessions?limit=1", "member")
        self.assertEqual((len(sessions["sessions"]), sessions["total"]), (1, 1))

    def test_nobody_else_looks(self):
        token = secrets.token_hex(32)
        with self.deployment(ARAGORA_API_TOKEN=token):
            for path in ("/api/admin/audit", "/api/audit/entries", "/api/audit/events", "/api/admin/audit/export", "/api/admin/audit/verify", "/api/audit/verify", "/api/admin/settings", "/api/admin/instances", "/api/admin/breakers"):
                self.ask(path, "member", 403)
                self.ask(path, None, 401)
                self.assertIn(self.daemon.request("GET", path, headers={"Authorization": f"Bearer {token}"})[0], (401, 403), "the API token is nobody who administers")


if __name__ == "__main__":
    main()
