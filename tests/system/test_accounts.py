"""People who use the API: added on the command line, logged in over HTTP, on both engines."""
import contextlib
import json
import re
import sqlite3
import subprocess
import time

from accounts import AccountTests
from support import BINARY, Daemon, Sandbox, main, postgres_database, production_environment, service, strong_secret


def bearer(login):
    return {"Authorization": f"Bearer {login['access_token']}"}


class Accounts(AccountTests):
    def a_session(self, sandbox, token=None):
        password = self.add(sandbox)
        viewer = self.add(sandbox, "vera@example.org", "viewer")
        with Daemon(sandbox) as daemon:
            login = self.log_in(daemon, password)
            self.assertEqual(login["tokens"]["access_token"], login["access_token"])
            self.assertEqual((login["user"]["email"], login["token_type"], login["expires_in"]), ("ada@example.org", "Bearer", 86400))
            self.assertEqual(daemon.get("/api/v1/auth/me", **bearer(login))[1]["role"], "member")
            status, created = daemon.post("/api/debates", {"task": "May she write?", "rounds": 0}, **bearer(login))
            self.assertEqual(status, 200)
            self.assertEqual(daemon.get("/api/debates", **bearer(login))[1]["total"], 1)
            self.assertEqual(daemon.get("/api/debates", **bearer(login))[0], 200, "also when it is cached")
            renewed = daemon.post("/api/auth/refresh", {"refresh_token": login["refresh_token"]})[1]
            self.assertEqual(daemon.get("/api/auth/me", **bearer(renewed))[0], 200)
            reader = self.log_in(daemon, viewer, "vera@example.org")
            self.assertEqual(daemon.get("/api/debates", **bearer(reader))[0], 200)
            status, refused = daemon.post("/api/debates", {"task": "May she?", "rounds": 0}, **bearer(reader))
            self.assertEqual((status, refused["code"]), (403, "FORBIDDEN"))
            self.assertEqual(daemon.post("/api/auth/logout", None, **bearer(reader))[1], {"logged_out": True})
            self.assertEqual(daemon.get("/api/debates", **bearer(reader))[0], 401, "no cached answer either")
            # Another token of the session that was exchanged before: somebody has a copy.
            self.assertEqual(daemon.post("/api/auth/refresh", {"refresh_token": login["refresh_token"]})[0], 401)
            self.assertEqual(daemon.get("/api/auth/me", **bearer(renewed))[0], 401)
            again = self.log_in(daemon, password)
        # Sessions outlive the daemon; what an administrator ends has ended at once.
        with Daemon(sandbox) as daemon:
            self.assertEqual(daemon.get("/api/auth/me", **bearer(again))[0], 200)
            sandbox.run("user", "disable", "--email", "ADA@example.org", check=0)
            self.assertEqual(daemon.get("/api/auth/me", **bearer(again))[0], 401)
            self.log_in(daemon, password, expect=401)
            sandbox.run("user", "enable", "--email", "ada@example.org", check=0)
            changed = sandbox.run("user", "password", "--email", "ada@example.org", check=0).stdout.strip().splitlines()[-1]
            self.log_in(daemon, password, expect=401)
            login = self.log_in(daemon, changed)
            answer = daemon.post("/api/auth/logout-all", None, **bearer(login))[1]
            self.assertEqual(answer, {"logged_out": True, "sessions_revoked": 1})
            for secret in (password, changed, login["refresh_token"], login["access_token"]):
                self.assertNotIn(secret, daemon.text())
        verified = sandbox.run("verify", check=0).stdout
        self.assertIn("audit: 1", verified)
        users = {user["email"]: user for user in sandbox.run_json("user", "list", check=0)["users"]}
        self.assertEqual(sorted(users), ["ada@example.org", "vera@example.org"])
        self.assertTrue(users["ada@example.org"]["last_login_at"])

    def test_sqlite(self):
        with Sandbox() as sandbox:
            self.assertIn("aragora migrate", sandbox.run("user", "list", check=65).stderr)
            self.assertFalse((sandbox.directory / "state/aragora.db").exists())
            sandbox.run("migrate", check=0)
            self.assertIn("No users", sandbox.run("user", "list", check=0).stdout)
            self.a_session(sandbox)

    def test_postgres_in_production_without_any_api_token(self):
        with postgres_database() as url, Sandbox(**production_environment(url, service("TEST_REDIS"))) as sandbox:
            del sandbox.environment["ARAGORA_API_TOKEN"]
            sandbox.run("migrate", check=0)
            self.a_session(sandbox)
            with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="100") as daemon:  # Redis remembers those of the daemons before
                self.assertEqual(daemon.post("/api/debates", {"task": "anonymous"})[0], 401)
                for email in ("ada@example.org\0", "ada@example.org\0x", "\ud83d\ude00@example.org", "a" * 3000):
                    self.log_in(daemon, "wrong", email, expect=401)
                status, _, _ = daemon.request("POST", "/api/auth/login", {"email": "vera@example.org", "password": "wrong\0"}, {"User-Agent": b"\xff\xfe \x80"})
                self.assertEqual(status, 401)
            self.assertIn("audit: ", sandbox.run("verify", check=0).stdout)

    def roles_and_deletion(self, sandbox):
        boss, ada = self.add(sandbox, "boss@example.org", "admin"), self.add(sandbox)
        with Daemon(sandbox) as daemon:
            ruler, login = self.log_in(daemon, boss, "boss@example.org"), self.log_in(daemon, ada)

            def ended(login):
                self.assertEqual(daemon.get("/api/auth/me", **bearer(login))[0], 401)
                self.assertEqual(daemon.get("/api/debates", **bearer(login))[0], 401)
                self.assertEqual(daemon.post("/api/auth/refresh", {"refresh_token": login["refresh_token"]})[0], 401)

            sandbox.run("user", "role", "ADA@example.org", "viewer", check=0)
            ended(login)
            login = self.log_in(daemon, ada)
            self.assertEqual(daemon.get("/api/auth/me", **bearer(login))[1]["role"], "viewer")
            self.assertEqual(daemon.post("/api/debates", {"task": "May she?", "rounds": 0}, **bearer(login))[0], 403)
            self.assertIn("already", sandbox.run("user", "role", "--email", "ada@example.org", "--role", "viewer", check=0).stdout)
            self.assertEqual(daemon.get("/api/auth/me", **bearer(login))[0], 200, "nothing was changed")
            # Nobody is left to undo it: refused, and nothing is done.
            for arguments in (["role", "boss@example.org", "member"], ["disable", "boss@example.org"], ["delete", "boss@example.org", "--yes"]):
                refused = sandbox.run("user", *arguments)
                self.assertNotEqual(refused.returncode, 0)
                self.assertIn("last administrator", refused.stderr)
                self.assertEqual(daemon.get("/api/auth/me", **bearer(ruler))[1]["role"], "admin")
            self.assertIn("--yes", sandbox.run("user", "delete", "ada@example.org", check=64).stderr)
            self.assertEqual(daemon.get("/api/auth/me", **bearer(login))[0], 200)
            sandbox.run("user", "delete", "ada@example.org", "--yes", check=0)
            ended(login)
            self.log_in(daemon, ada, expect=401)
            sandbox.run("user", "delete", "ada@example.org", "--yes", check=66)
            sandbox.run("user", "role", "ada@example.org", "admin", check=66)
            # Two who take each other's role away at the same moment: one of them stays.
            for _ in range(3):
                self.add(sandbox, "other@example.org", "admin")
                both = [subprocess.Popen([BINARY, "user", *arguments], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                        for arguments in (["role", "boss@example.org", "viewer"], ["delete", "other@example.org", "--yes"])]
                said = [process.communicate(timeout=60)[1] for process in both]
                admins = [user["email"] for user in sandbox.run_json("user", "list", check=0)["users"] if user["role"] == "admin"]
                self.assertEqual(len(admins), 1, said)
                self.assertEqual(sorted(process.returncode == 0 for process in both), [False, True], said)
                if admins == ["other@example.org"]:
                    sandbox.run("user", "role", "boss@example.org", "admin", check=0)
                    sandbox.run("user", "delete", "other@example.org", "--yes", check=0)
        self.assertIn("audit: ", sandbox.run("verify", check=0).stdout)

    def test_roles_and_deletion_on_sqlite(self):
        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)
            self.roles_and_deletion(sandbox)
            with sqlite3.connect(sandbox.directory / "state/aragora.db") as database:
                actions = [row[0] for row in database.execute("SELECT action FROM audit_log ORDER BY seq")]
                self.assertEqual([action for action in actions if action in ("user.role", "user.delete")][:2], ["user.role", "user.delete"])
                self.assertEqual(database.execute("SELECT count(*) FROM sessions WHERE user_id NOT IN (SELECT id FROM users)").fetchone()[0], 0)

    def test_roles_and_deletion_on_postgres(self):
        with postgres_database() as url, Sandbox(**production_environment(url, service("TEST_REDIS"))) as sandbox:
            sandbox.run("migrate", check=0)
            self.roles_and_deletion(sandbox)

    def test_guessing_is_slow(self):
        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)
            password = self.add(sandbox)
            with Daemon(sandbox) as daemon:
                answers = {json.dumps({key: value for key, value in self.log_in(daemon, "wrong", email, 401).items() if not key.endswith("_id")})
                           for email in ("ada@example.org", "nobody@example.org")}
                self.assertEqual(len(answers), 1, "an address that exists looks like one that does not")
                for _ in range(3):
                    self.log_in(daemon, "wrong", expect=401)
                status, headers, body = daemon.request("POST", "/api/auth/login", {"email": "ada@example.org", "password": password})
                self.assertEqual((status, json.loads(body)["code"]), (429, "RATE_LIMITED"))
                self.assertTrue(1 <= int(headers["retry-after"]) <= 60)
            # Strangers cannot lock the owner out, neither where it has logged in before nor from elsewhere.
            proxied = {"ARAGORA_TRUSTED_PROXIES": "127.0.0.1"}
            with Daemon(sandbox, **proxied) as daemon:
                def log_in(secret, number, given="ada@example.org"):
                    return daemon.request("POST", "/api/auth/login", {"email": given, "password": secret}, {"X-Forwarded-For": f"192.0.2.{number}"})[0]
                self.assertEqual(log_in(password, 1), 200)
                self.assertEqual([log_in("wrong", 2, " " * number + "Ada@example.org") for number in range(7)], [401] * 5 + [429] * 2)
                self.assertEqual(log_in(password, 2), 429, "right at last, from a network that only guessed")
                self.assertEqual(log_in(password, 3), 200, "the owner on the way")
                self.assertEqual([log_in("wrong", 1) for _ in range(7)], [401] * 5 + [429] * 2)
                self.assertEqual(log_in(password, 1), 200, "a network that logged in before is never refused")
            with Daemon(sandbox, ARAGORA_LOGIN_RATE_LIMIT="1", **proxied) as daemon:  # guessing from everywhere is slow, too
                codes = [daemon.request("POST", "/api/auth/login", {"email": "ada@example.org", "password": "wrong"}, {"X-Forwarded-For": f"198.51.100.{number}"})[0] for number in range(40)]
                self.assertEqual(codes[:20], [401] * 20)
                self.assertIn(429, codes[20:])
                self.assertEqual(daemon.request("POST", "/api/auth/login", {"email": "ada@example.org", "password": password}, {"X-Forwarded-For": "192.0.2.1"})[0], 200)

    def test_a_network_that_logged_in_once_may_not_guess_for_ever(self):
        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)
            password = self.add(sandbox)

            def checked():
                with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db", timeout=20)) as database:
                    return database.execute("SELECT count(*) FROM audit_log WHERE action = 'session.login' AND result = 'failure'").fetchone()[0]

            with Daemon(sandbox, ARAGORA_TRUSTED_PROXIES="127.0.0.1") as daemon:
                def log_in(secret, number):
                    return daemon.request("POST", "/api/auth/login", {"email": "ada@example.org", "password": secret}, {"X-Forwarded-For": f"192.0.2.{number}"})
                self.assertEqual(log_in(password, 1)[0], 200)
                began = time.monotonic()
                self.assertEqual({log_in("wrong", 1)[0] for _ in range(45)}, {401, 429})
                one_more = int((time.monotonic() - began) // 120) + 1
                self.assertLessEqual(checked(), 30 + one_more, "guesses that were held against the password")
                self.assertGreaterEqual(checked(), 30)
                status, headers, body = log_in(password, 1)
                self.assertEqual((status, json.loads(body)["error"]), (429, "more than 30 failed logins an hour"))
                self.assertLessEqual(int(headers["retry-after"]), 3600)
                self.assertEqual(log_in(password, 2)[0], 200, "the owner from elsewhere")
                # An administrator lets them in from there, too; and that is no licence either.
                sandbox.run("user", "unlock", "ada@example.org", check=0)
                self.assertEqual(log_in(password, 1)[0], 200)
                before = checked()
                for _ in range(45):
                    log_in("wrong", 1)
                one_more = int((time.monotonic() - began) // 120) + 1
                self.assertLessEqual(checked() - before, 30 + 2 * one_more)
                self.assertEqual([log_in(password, 1)[0], log_in(password, 3)[0]], [429, 200])

    def test_refused_credentials_are_audited_and_cannot_fill_the_log(self):
        """API tokens, access tokens, refresh tokens and the one of a WebSocket; 300 guesses of one address are a few entries."""
        with Sandbox(ARAGORA_API_TOKEN=strong_secret()) as sandbox:
            sandbox.run("migrate", check=0)
            password = self.add(sandbox)

            def entries():
                with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database:
                    return [(actor, object, result, json.loads(details)["count"]) for actor, object, result, details in
                            database.execute("SELECT actor, object, result, details FROM audit_log WHERE action = 'credentials.refused' ORDER BY seq")]

            def wait_for(count):
                deadline = time.monotonic() + 20
                while sum(entry[3] for entry in entries()) < count:
                    self.assertLess(time.monotonic(), deadline, entries())
                    time.sleep(0.05)

            with Daemon(sandbox, ARAGORA_TRUSTED_PROXIES="127.0.0.1") as daemon:
                ask = lambda path, token, address, method="GET", body=None: daemon.request(method, path, body, {"X-Forwarded-For": address, **({"Authorization": f"Bearer {token}"} if token else {})})[0]
                login = self.log_in(daemon, password)
                self.assertEqual(ask("/api/debates", sandbox.environment["ARAGORA_API_TOKEN"], "192.0.2.1"), 200)
                self.assertEqual(ask("/api/debates", "", "192.0.2.1"), 401)  # nothing was presented, nothing is a guess
                self.assertEqual(ask("/api/debates", "guessed", "192.0.2.2"), 401)
                wait_for(1)
                self.assertEqual(entries(), [("address:192.0.2.2", "route:/api/debates", "denied", 1)])
                forged = login["access_token"][:-4] + "AAAA"
                self.assertEqual(ask("/api/auth/me", forged, "192.0.2.3"), 401)
                self.assertEqual(ask("/api/auth/refresh", "", "192.0.2.4", "POST", {"refresh_token": "no"}), 401)
                self.assertEqual(ask("/ws?token=guessed", "", "192.0.2.5"), 401)
                self.assertEqual(ask("/metrics", "guessed", "2001:db8::1"), 401)
                self.assertEqual([ask("/api/debates", f"guess-{number}", "192.0.2.6") for number in range(300)], [401] * 300)
                wait_for(305)
                self.assertEqual({entry[0]: entry[1] for entry in entries()},
                                 {"address:192.0.2.2": "route:/api/debates", "address:192.0.2.3": "route:/api/auth/me", "address:192.0.2.4": "route:/api/auth/refresh",
                                  "address:192.0.2.5": "route:/ws", "address:2001:db8::1": "route:/metrics", "address:192.0.2.6": "route:/api/debates"})
                self.assertLess(len(entries()), 12)
                self.assertEqual([ask("/api/debates", "late", "192.0.2.7") for _ in range(3)], [401] * 3)
            self.assertEqual(sum(entry[3] for entry in entries()), 308, "a stop writes the last ones")
            self.assertIn("audit: ", sandbox.run("verify", check=0).stdout)

    def test_what_strangers_send_to_the_login_is_forgotten(self):
        """100 logins from 20 addresses kept 104 MB for good: a chunked body ignored the limit, and its email was a key."""
        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox, ARAGORA_TRUSTED_PROXIES="127.0.0.1") as daemon:
                for number in range(100):
                    body = json.dumps({"email": f"{number}" + "a" * 1_000_000, "password": "x"}).encode()
                    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[i:i + 65536] for i in range(0, len(body), 65536)))
                    answer = daemon.raw(b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Forwarded-For: 192.0.2.%d\r\nTransfer-Encoding: chunked\r\n\r\n" % (number % 20) + chunked + b"0\r\n\r\n")
                    self.assertIn(b" 413 ", answer.split(b"\r\n")[0])
                resident = int(next(line for line in open(f"/proc/{daemon.process.pid}/status") if line.startswith("VmRSS")).split()[1])
                self.assertLess(resident, 90_000, "kB")

    def test_bad_input_is_named(self):
        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                for body, what in (({}, "email"), ({"email": "a@b"}, "password"), ({"email": 1, "password": "x"}, "email"), ([], "object")):
                    status, answer = daemon.post("/api/auth/login", body)
                    self.assertEqual(status, 400, answer)
                    self.assertIn(what, answer["error"])
                self.assertEqual(daemon.post("/api/auth/refresh", {"refresh_token": "x" * 500})[0], 401)
                self.assertEqual(daemon.request("POST", "/api/auth/login", {"email": "a" * 9000, "password": "x"})[0], 413)
                self.assertEqual(daemon.get("/api/auth/me")[0], 401)
                self.assertEqual(daemon.get("/api/debates", Authorization="Bearer a.b.c")[0], 401)
            for arguments, status in ((["add"], 64), (["add", "--email", "x"], 65), (["add", "--email", "a@b", "--role", "root"], 64), (["disable", "--email", "who@b"], 66), ([], 64)):
                self.assertEqual(sandbox.run("user", *arguments).returncode, status, arguments)
            short = sandbox.write("short", "too short\n")
            self.assertIn("fewer than 15", sandbox.run("user", "add", "--email", "a@b", "--password-file", short, check=65).stderr)
            given = subprocess.run([BINARY, "user", "add", "--email", "a@b", "--password-file", "-"], env=sandbox.environment, input="a password from a pipe\n", capture_output=True, text=True)
            self.assertEqual(given.returncode, 0, given.stderr)
            self.assertNotIn("a password from a pipe", given.stdout + given.stderr)
            with Daemon(sandbox) as daemon:
                self.log_in(daemon, "a password from a pipe", "a@b")


if __name__ == "__main__":
    main()
