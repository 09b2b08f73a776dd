"""What people do with their own accounts and debates: register, profile, password, sessions, links; whose a debate is; how many."""
import contextlib
import json
import re
import sqlite3
import threading
import time

from accounts import AccountTests
from support import Daemon, Sandbox, main, postgres_database, production_environment, service, strong_secret


def bearer(login):
    return {"Authorization": f"Bearer {login['access_token']}"}


NEW = "a new password that is long"


class SelfService(AccountTests):
    def test_registration_is_for_development_unless_somebody_says_so(self):
        def register(daemon, expect, **body):
            status, answer = daemon.post("/api/auth/register", {"email": "ada@example.org", "password": NEW, "name": "Ada", **body})
            self.assertEqual(status, expect, answer)
            return answer

        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="100") as daemon:
                made = register(daemon, 201)
                self.assertEqual((made["user"]["role"], made["user"]["email_verified"], made["email"], made["user_id"]), ("member", False, "ada@example.org", made["user"]["id"]))
                self.assertEqual(daemon.get("/api/auth/me", **bearer(made))[1]["email"], "ada@example.org")
                register(daemon, 409, email=" ADA@example.org")
                for body in ({"email": "nobody"}, {"password": "short"}, {"email": ""}, {"name": "x" * 300}, {"email": "x@example.org\0"}):
                    register(daemon, 400, **body)
            with Daemon(sandbox, ARAGORA_REGISTRATION="false") as daemon:
                register(daemon, 403, email="eve@example.org")
            with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="3") as daemon:  # each costs a hash
                codes = [daemon.post("/api/auth/register", {"email": f"e{number}@example.org", "password": NEW})[0] for number in range(5)]
                self.assertEqual(codes, [201] * 3 + [429] * 2)
            self.assertTrue({user["email"] for user in sandbox.run_json("user", "list", check=0)["users"]} >= {"ada@example.org", "e2@example.org"})
        with postgres_database() as url, Sandbox(**production_environment(url, service("TEST_REDIS"))) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                register(daemon, 403)
            with Daemon(sandbox, ARAGORA_REGISTRATION="true") as daemon:
                register(daemon, 201)
            self.assertIn("audit: ", sandbox.run("verify", check=0).stdout)

    def one_person(self, sandbox):
        password = self.add(sandbox)
        other = self.add(sandbox, "eve@example.org")
        with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="100") as daemon:
            login, eve = self.log_in(daemon, password), self.log_in(daemon, other, "eve@example.org")
            # Profile.
            for method in ("PATCH", "PUT", "POST"):
                status, _, body = daemon.request(method, "/api/auth/me", {"name": f"Ada by {method}", "preferences": {"theme": method}}, bearer(login))
                self.assertEqual((status, json.loads(body)["user"]["name"]), (200, f"Ada by {method}"), body)
            me = daemon.get("/api/auth/me", **bearer(login))[1]
            self.assertEqual((me["preferences"], me["email_verified"], me["user"]["id"]), ({"theme": "POST"}, True, me["id"]))
            for body in ({"name": 1}, {"name": "x" * 300}, {"preferences": []}, {"preferences": {"x": "y" * 20000}}, {"name": "\0"}):
                self.assertEqual(daemon.post("/api/auth/me", body, **bearer(login))[0], 400, body)
            daemon.post("/api/auth/me", {"role": "admin", "email": "x@y"}, **bearer(login))
            self.assertEqual([daemon.get("/api/auth/me", **bearer(login))[1][field] for field in ("role", "email")], ["member", "ada@example.org"])
            # Sessions.
            status, _, body = daemon.request("POST", "/api/auth/login", {"email": "ada@example.org", "password": password}, {"User-Agent": "a telephone"})
            phone = json.loads(body)
            phone = daemon.post("/api/auth/refresh", {"refresh_token": phone["refresh_token"]})[1]
            listed = daemon.get("/api/auth/sessions", **bearer(login))[1]
            self.assertEqual((listed["total"], sorted(session["current"] for session in listed["sessions"])), (2, [False, True]))
            ended = next(session for session in listed["sessions"] if not session["current"])["id"]
            self.assertEqual(daemon.request("DELETE", f"/api/auth/sessions/{ended}", headers=bearer(eve))[0], 404, "somebody else's")
            self.assertEqual(daemon.request("DELETE", f"/api/auth/sessions/{ended}", headers=bearer(login))[0], 200)
            self.assertEqual(daemon.get("/api/auth/me", **bearer(phone))[0], 401)
            self.assertEqual(daemon.post("/api/auth/refresh", {"refresh_token": phone["refresh_token"]})[0], 401)
            self.assertEqual(daemon.get("/api/auth/me", **bearer(login))[0], 200)
            phone = self.log_in(daemon, password)
            typed = sandbox.run_json("user", "sessions", "ada@example.org", check=0)["sessions"]
            self.assertEqual(len(typed), 2)
            sandbox.run("user", "sessions", "ada@example.org", "--end", typed[0]["id"], check=0)
            sandbox.run("user", "sessions", "ada@example.org", "--end", typed[0]["id"], check=66)
            self.assertEqual(sorted(daemon.get("/api/auth/me", **bearer(one))[0] for one in (phone, login)), [200, 401])
            # Password: every session ends, keys stay.
            login = self.log_in(daemon, password)
            key = daemon.post("/api/auth/api-keys", {"password": password}, **bearer(login))[1]["key"]
            change = lambda current, wanted: daemon.post("/api/auth/password/change", {"current_password": current, "new_password": wanted}, **bearer(login))[0]
            self.assertEqual((change("wrong", NEW), change(password, "short"), change(password, NEW)), (403, 400, 200))
            self.assertEqual([daemon.get("/api/auth/me", **bearer(login))[0], daemon.get("/api/debates", Authorization=f"Bearer {key}")[0]], [401, 200])
            self.log_in(daemon, password, expect=401)
            login = self.log_in(daemon, NEW)
            # A link for a new one: once, only the last that was made, not after the password changed.
            ask = lambda: sandbox.run("user", "reset", "ada@example.org", check=0).stdout.strip().splitlines()[-1]
            reset = lambda token, wanted="chosen with a token": daemon.post("/api/auth/password/reset", {"token": token, "new_password": wanted})[0]
            replaced, token = ask(), ask()
            self.assertEqual([reset(replaced), reset(token[:-1] + "~"), reset("arat_"), reset(token, "short")], [401, 401, 401, 400])
            self.assertEqual([reset(token), reset(token)], [200, 401])
            self.assertEqual(daemon.get("/api/auth/me", **bearer(login))[0], 401)
            login = self.log_in(daemon, "chosen with a token")
            stale = ask()
            self.assertEqual(change("chosen with a token", NEW), 200)
            self.assertEqual(reset(stale), 401)
            sandbox.run("user", "reset", "who@example.org", check=66)
            # Whatever the operator does to the account ends links, too.
            for commands in ((("disable",), ("enable",)), (("role", "viewer"), ("role", "member")), (("password",),)):
                stale = ask()
                said = [sandbox.run("user", name, "ada@example.org", *more, check=0).stdout for name, *more in commands]
                self.assertEqual(reset(stale), 401, commands)
            self.log_in(daemon, said[-1].strip().splitlines()[-1])
            for secret in (token, stale, NEW, "chosen with a token"):
                self.assertNotIn(secret, daemon.text())
        self.assertIn("audit: ", sandbox.run("verify", check=0).stdout)

    def test_one_person_on_both_engines(self):
        self.on_both(self.one_person)

    def first_administrator(self, sandbox):
        said = sandbox.run("user", "setup-link", check=0, ARAGORA_BASE_URL="https://aragora.example.org/").stdout.strip().splitlines()[-1]
        self.assertTrue(said.startswith("https://aragora.example.org/api/auth/setup?token=arat_"), said)
        token = sandbox.run_json("user", "setup-link", check=0)["token"]
        with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="100") as daemon:
            self.assertEqual(daemon.get("/api/auth/setup?token=" + token)[0], 200)
            set_up = lambda given, **more: daemon.post("/api/auth/setup", {"token": given, "email": "boss@example.org", "password": NEW, **more})[0]
            self.assertEqual((set_up(said.split("=")[1]), set_up("arat_no"), set_up(token, password="short")), (401, 401, 400))
            answers = []
            threads = [threading.Thread(target=lambda number=number: answers.append(set_up(token, email=f"boss{number}@example.org"))) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(sorted(answers), [201] + [401] * 5, "one of them")
            users = sandbox.run_json("user", "list", check=0)["users"]
            self.assertEqual([user["role"] for user in users], ["admin"])
            self.log_in(daemon, NEW, users[0]["email"])
            self.assertIn("administrator already", sandbox.run("user", "setup-link", check=65).stderr)
        self.assertIn("audit: ", sandbox.run("verify", check=0).stdout)

    def test_the_first_administrator_on_both_engines(self):
        self.on_both(self.first_administrator)

    def test_unlocking_lets_the_owner_in_from_a_network_that_only_guessed(self):
        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)
            password = self.add(sandbox)
            with Daemon(sandbox) as daemon:
                attempt = lambda secret: daemon.post("/api/auth/login", {"email": "ada@example.org", "password": secret})[0]
                self.assertEqual([attempt("wrong") for _ in range(6)] + [attempt(password)], [401] * 5 + [429] * 2)
                sandbox.run("user", "unlock", "ada@example.org", check=0)
                self.assertEqual([attempt("wrong"), attempt(password)], [429, 200])

    def owners(self, sandbox):
        passwords = {name: self.add(sandbox, f"{name}@example.org", role) for name, role in (("ada", "member"), ("eve", "member"), ("vera", "viewer"), ("boss", "admin"))}
        with Daemon(sandbox, ARAGORA_MAX_CONCURRENT_DEBATES="1", ARAGORA_DEMO="true") as daemon:
            who = {name: self.log_in(daemon, password, f"{name}@example.org") for name, password in passwords.items()}
            token = {"access_token": sandbox.environment["ARAGORA_API_TOKEN"]}

            def create(caller):
                status, made = daemon.post("/api/debates", {"task": "whose?", "rounds": 12, "agents": ["demo", "demo"]}, **bearer(caller))
                self.assertEqual(status, 200, made)
                return made["debate_id"]

            cancel = lambda debate, caller: daemon.post(f"/api/debates/{debate}/cancel", None, **bearer(caller))[0]
            debates = [create(who["ada"]) for _ in range(6)]
            last = debates[-1]
            self.assertEqual([cancel(last, who["eve"]), cancel(last, who["vera"])], [403, 403])
            self.assertEqual([daemon.get(f"/api/debates/{last}", **bearer(who[name]))[0] for name in ("eve", "vera")], [200, 200], "everybody reads")
            self.assertNotEqual(daemon.get(f"/api/debates/{last}", **bearer(who["eve"]))[1]["status"], "cancelled")
            key = {"access_token": daemon.post("/api/auth/api-keys", {"password": passwords["eve"]}, **bearer(who["eve"]))[1]["key"]}
            self.assertEqual(cancel(last, key), 403, "nor with a key")
            self.assertIn(cancel(last, who["ada"]), (200, 409))
            self.assertIn(cancel(create(who["ada"]), who["boss"]), (200, 409))
            self.assertIn(cancel(create(who["ada"]), token), (200, 409))
            self.assertEqual(cancel(create(token), who["ada"]), 403)
            self.assertEqual(cancel("01ARZ3NDEKTSV4RRFFQ69G5FAV", who["ada"]), 404)

    def test_whose_a_debate_is_on_both_engines(self):
        self.on_both(self.owners)

    def test_every_route_lets_in_whom_the_description_names_and_nobody_else(self):
        """Each described route, asked by each kind of caller: the table of permissions, seen from outside."""
        with Sandbox(ARAGORA_API_TOKEN=strong_secret(), ARAGORA_METRICS_TOKEN=strong_secret()) as sandbox:
            sandbox.run("migrate", check=0)
            roles = {role: self.add(sandbox, f"{role}@example.org", role) for role in ("viewer", "member", "admin")}
            with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="0") as daemon:
                session = lambda role: self.log_in(daemon, roles[role], f"{role}@example.org")["access_token"]
                tokens = {role: session(role) for role in roles}
                tokens |= {"api_token": sandbox.environment["ARAGORA_API_TOKEN"], "metrics_token": sandbox.environment["ARAGORA_METRICS_TOKEN"]}
                keys = {scope: daemon.post("/api/auth/api-keys", {"scopes": [scope], "password": roles["admin"]}, Authorization=f"Bearer {tokens['admin']}")[1]["key"] for scope in ("read", "write", "account")}
                asked = 0
                for path, operations in daemon.get("/api/openapi.json")[1]["paths"].items():
                    for method, operation in operations.items():
                        def status(token):
                            headers = {"Authorization": f"Bearer {token}"} if token else {}
                            answer, _, body = daemon.request(method.upper(), re.sub("{[a-z]+}", "nobody-has-this", path), {} if method != "get" else None, headers)
                            return 200 if b"REAUTHENTICATION_REQUIRED" in body else answer  # let in, and asked who it is

                        denied = (401, 403)
                        for who, token in tokens.items():
                            if "logout" in path and who in roles:
                                token = session(who)
                            expected = who in operation["x-allowed"]
                            self.assertEqual(status(token) not in denied, expected or operation["x-permission"] == "public", f"{method} {path} as {who}")
                            asked += 1
                        if "logout-all" in path:
                            tokens |= {role: session(role) for role in roles}
                        for scope, key in keys.items():
                            expected = operation["x-permission"] == "public" or ("admin" in operation["x-allowed"] and operation.get("x-scope") == scope)
                            self.assertEqual(status(key) not in denied, expected, f"{method} {path} with a key of scope {scope}")
                            asked += 1
                        if operation["x-permission"] != "public" and path != "/ws":
                            self.assertEqual(status(""), 401, f"{method} {path} as nobody")
                self.assertGreater(asked, 250)

    def test_quotas_count_over_instances(self):
        def burst(daemons, headers, number):
            answers = []

            def create(daemon):
                answers.append(daemon.request("POST", "/api/debates", {"task": "many", "rounds": 0, "agents": ["demo", "demo"]}, headers))
            threads = [threading.Thread(target=create, args=(daemons[index % len(daemons)],)) for index in range(number)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return answers

        quota = {"ARAGORA_DEBATES_PER_DAY": "7", "ARAGORA_DEMO": "true"}
        with postgres_database() as url, Sandbox(**production_environment(url, service("TEST_REDIS"))) as sandbox:
            sandbox.run("migrate", check=0)
            ada, boss = self.add(sandbox), self.add(sandbox, "boss@example.org", "admin")
            with Daemon(sandbox, **quota) as one, Daemon(sandbox, **quota) as two:
                member = bearer(self.log_in(one, ada))
                answers = burst([one, two], member, 24)
                self.assertEqual(sorted({answer[0] for answer in answers}), [200, 429])
                self.assertEqual([answer[0] for answer in answers].count(200), 7)
                refused = next(answer for answer in answers if answer[0] == 429)
                self.assertTrue(86000 < int(refused[1]["retry-after"]) <= 86401, refused[1])
                self.assertIn("7 debates a day", json.loads(refused[2])["error"])
                administrator = bearer(self.log_in(one, boss, "boss@example.org"))
                self.assertEqual({answer[0] for answer in burst([one, two], administrator, 10)}, {200})
        with Sandbox(ARAGORA_API_TOKEN=strong_secret()) as sandbox:
            sandbox.run("migrate", check=0)
            ada = self.add(sandbox)
            with Daemon(sandbox, ARAGORA_DEBATES_AT_ONCE="2", ARAGORA_DEBATES_PER_DAY="5") as daemon:
                member = bearer(self.log_in(daemon, ada))
                made = []
                while len(made) < 5:
                    status, _, body = daemon.request("POST", "/api/debates", {"task": "many", "rounds": 0}, member)
                    if status == 429:
                        self.assertIn("2 debates at once", json.loads(body)["error"])
                        continue
                    self.assertEqual(status, 200, body)
                    made.append(json.loads(body)["debate_id"])
                for debate in made:
                    while daemon.get(f"/api/debates/{debate}", **member)[1]["status"] not in ("completed", "failed"):
                        time.sleep(0.02)
                status, _, body = daemon.request("POST", "/api/debates", {"task": "many", "rounds": 0}, {**member, "Idempotency-Key": "k"})
                self.assertEqual(status, 429)
                self.assertIn("5 debates a day", json.loads(body)["error"])
                with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db", timeout=20)) as database, database:
                    database.execute("UPDATE debates SET created_at = created_at - 86401000000")
                self.assertEqual(daemon.request("POST", "/api/debates", {"task": "many", "rounds": 0}, {**member, "Idempotency-Key": "k"})[0], 200, "a refusal takes no key")
                # What was answered before is answered again, whatever the quota.
                self.assertEqual(daemon.request("POST", "/api/debates", {"task": "many", "rounds": 0}, {**member, "Idempotency-Key": "k"})[0], 200)


if __name__ == "__main__":
    main()
