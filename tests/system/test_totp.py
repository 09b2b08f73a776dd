"""The second factor from outside: enrolled, confirmed, asked for at the login and by what administers, on both engines."""
import base64
import hmac
import json
import os
import pty
import sqlite3
import struct
import subprocess
import threading
import time
import contextlib
import unittest

from support import BINARY, Daemon, Sandbox, main, postgres_database, production_environment, service

STEP = 30


def code(secret, step):
    """RFC 6238 by hand."""
    mac = hmac.digest(base64.b32decode(secret + "=" * (-len(secret) % 8)), struct.pack(">Q", step), "sha1")
    offset = mac[-1] & 15
    return f"{(struct.unpack('>I', mac[offset:offset + 4])[0] & 0x7FFFFFFF) % 10**6:06}"


def settle():
    """Away from the edge of a step, so that what is the step now is it a moment later."""
    left = STEP - time.time() % STEP
    if left < 8:
        time.sleep(left + 0.1)
    return int(time.time()) // STEP


def bearer(login):
    return {"Authorization": f"Bearer {login['access_token']}"}


class SecondFactor(unittest.TestCase):
    def add(self, sandbox, email="boss@example.org", role="admin"):
        return sandbox.run("user", "add", "--email", email, "--role", role, check=0).stdout.strip().splitlines()[-1]

    def log_in(self, daemon, password, email="boss@example.org", expect=200, **more):
        status, answer = daemon.post("/api/auth/login", {"email": email, "password": password, **more})
        self.assertEqual(status, expect, answer)
        return answer

    @contextlib.contextmanager
    def sqlite_machine(self):
        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)

            def sql(text):
                with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db", timeout=20)) as database, database:
                    return database.execute(text).fetchall()
            yield sandbox, sql

    @contextlib.contextmanager
    def postgres_machine(self):
        with postgres_database() as url, Sandbox(**production_environment(url, service("TEST_REDIS"))) as sandbox:
            sandbox.run("migrate", check=0)

            def sql(text):
                answer = subprocess.run(["psql", "-qXAt", "-F", "\t", url, "-c", text], check=True, capture_output=True, text=True).stdout
                return [tuple(line.split("\t")) for line in answer.splitlines()]
            yield sandbox, sql

    def enrol(self, daemon, login, password):
        status, refused = daemon.post("/api/auth/mfa/setup", {}, **bearer(login))
        self.assertEqual((status, refused["code"]), (403, "REAUTHENTICATION_REQUIRED"), "a token alone is not enough")
        status, enrolment = daemon.post("/api/auth/mfa/setup", {"password": password}, **bearer(login))
        self.assertEqual(status, 200, enrolment)
        self.assertIn(f"secret={enrolment['secret']}", enrolment["provisioning_uri"])
        self.assertTrue(enrolment["provisioning_uri"].startswith("otpauth://totp/Aragora:boss%40example.org?"))
        return enrolment["secret"]

    def a_life(self, sandbox, sql):
        password = self.add(sandbox)
        forget = lambda: sql("UPDATE users SET mfa_last_step = 0, mfa_tries = 0, mfa_tries_since = 0")
        with Daemon(sandbox) as daemon:
            login = self.log_in(daemon, password)
            secret = self.enrol(daemon, login, password)
            now = settle()
            enable = lambda number: daemon.post("/api/auth/mfa/enable", {"code": number}, **bearer(login))
            self.assertEqual(enable("000000" if code(secret, now) != "000000" else "000001")[0], 401)
            self.assertFalse(self.log_in(daemon, password).get("mfa_required"), "it does not count yet")
            status, enabled = enable(code(secret, now - 1))
            self.assertEqual((status, len(enabled["backup_codes"])), (200, 10), enabled)
            self.assertEqual(enable(code(secret, now))[0], 409, "on already")
            self.assertEqual(daemon.post("/api/auth/mfa/setup", {"password": password}, **bearer(login))[0], 409, "and no other secret in its place")
            self.assertTrue(daemon.get("/api/auth/me", **bearer(login))[1]["mfa_enabled"])
            # The login is in two halves; the first one opens nothing.
            pending = self.log_in(daemon, password)
            self.assertTrue(pending["mfa_required"])
            self.assertNotIn("access_token", pending)
            token = pending["pending_token"]
            self.assertEqual(daemon.get("/api/auth/me", Authorization=f"Bearer {token}")[0], 401)
            self.assertEqual(daemon.post("/api/auth/refresh", {"refresh_token": token})[0], 401)
            verify = lambda number, pending_token=token: daemon.post("/api/auth/mfa/verify", {"code": number, "pending_token": pending_token})
            now = settle()
            self.assertEqual(verify(code(secret, now - 2))[0], 401, "too old")
            self.assertEqual(verify(code(secret, now), login["access_token"])[0], 401, "no pending token")
            status, opened = verify(code(secret, now))
            self.assertEqual(status, 200, opened)
            self.assertEqual(daemon.get("/api/auth/me", **bearer(opened))[0], 200)
            self.assertEqual(verify(code(secret, now))[0], 401, "no step twice")
            self.assertEqual(verify(code(secret, now - 1))[0], 401, "nor an older one")
            self.log_in(daemon, password, mfa_code=code(secret, now + 1))
            # Recovery codes, once, however they are typed.
            spent = enabled["backup_codes"][0]
            self.assertEqual(verify(spent.upper().replace("-", " "))[0], 200)
            self.assertEqual(verify(spent)[0], 401)
            # Five wrong ones, then even the right one waits; nobody else is held up; an administrator forgives.
            forget()
            now = settle()
            self.assertEqual([verify("12345")[0] for _ in range(7)], [401] * 5 + [429] * 2)
            status, headers, body = daemon.request("POST", "/api/auth/mfa/verify", {"code": code(secret, now), "pending_token": token})
            self.assertEqual((status, headers["retry-after"]), (429, "300"), body)
            sandbox.run("user", "unlock", "boss@example.org", check=0)
            self.assertEqual(verify(code(secret, now))[0], 200)
            # New codes end the old ones.
            forget()
            now = settle()
            renewed = daemon.post("/api/auth/mfa/backup-codes", {"code": code(secret, now)}, **bearer(opened))[1]["backup_codes"]
            self.assertEqual([verify(enabled["backup_codes"][1])[0], verify(renewed[0])[0]], [401, 200])
            typed = sandbox.run("user", "mfa", "codes", "boss@example.org", check=0).stdout.strip().splitlines()[-10:]
            self.assertEqual([verify(renewed[1])[0], verify(typed[0])[0]], [401, 200])
            # What is stored is neither the secret nor the codes.
            stored = sql("SELECT mfa_secret, recovery_codes FROM users WHERE mfa_secret IS NOT NULL")[0]
            self.assertTrue(stored[0].startswith("v1."))
            for plain in (secret, secret.lower(), typed[1], typed[1].replace("-", "")):
                self.assertNotIn(plain, json.dumps(stored))
                self.assertNotIn(plain, daemon.text())
            forget()
            now = settle()
            self.assertEqual(daemon.post("/api/auth/mfa/disable", {"code": "000000x"}, **bearer(opened))[0], 401)
            self.assertEqual(daemon.post("/api/auth/mfa/disable", {"code": code(secret, now)}, **bearer(opened))[0], 200)
            self.assertIn("access_token", self.log_in(daemon, password))
        self.assertIn("audit: ", sandbox.run("verify", check=0).stdout)

    def test_a_factor_lives_on_sqlite(self):
        with self.sqlite_machine() as (sandbox, sql):
            self.a_life(sandbox, sql)

    def test_a_factor_lives_on_postgres(self):
        with self.postgres_machine() as (sandbox, sql):
            self.a_life(sandbox, sql)

    def test_administering_needs_it_in_production(self):
        with self.postgres_machine() as (sandbox, sql):
            password = self.add(sandbox)
            member = self.add(sandbox, "ada@example.org", "member")
            with Daemon(sandbox) as daemon:
                ada = self.log_in(daemon, member, "ada@example.org")
                login = self.log_in(daemon, password)
                routes = [path for path in daemon.get("/api/openapi.json")[1]["paths"] if path.startswith("/api/admin/")]
                self.assertGreaterEqual(len(routes), 2)
                for path in ("/api/admin/api-keys", "/api/admin/users"):
                    status, refused = daemon.get(path, **bearer(login))
                    self.assertEqual((status, refused["code"]), (403, "ADMIN_MFA_REQUIRED"))
                    self.assertEqual(daemon.get(path, **bearer(ada))[1]["code"], "FORBIDDEN")
                    self.assertEqual(daemon.get(path, Authorization=f"Bearer {sandbox.environment['ARAGORA_API_TOKEN']}")[0], 401)
                secret = self.enrol(daemon, login, password)
                now = settle()
                self.assertEqual(daemon.post("/api/auth/mfa/enable", {"code": code(secret, now - 1)}, **bearer(login))[0], 200)
                self.assertEqual(daemon.get("/api/admin/users", **bearer(login))[0], 403, "this session has proved nothing")
                self.assertEqual(daemon.post("/api/auth/mfa/step-up", {"code": code(secret, now)}, **bearer(login))[0], 200)
                self.assertEqual(daemon.get("/api/admin/users", **bearer(login))[1]["total"], 2)
                fresh = daemon.post("/api/auth/refresh", {"refresh_token": login["refresh_token"]})[1]
                self.assertEqual(daemon.get("/api/admin/users", **bearer(fresh))[0], 200, "it is the session's")
                other = self.log_in(daemon, password, mfa_code=code(secret, now + 1))
                self.assertEqual(daemon.get("/api/admin/users", **bearer(other))[0], 200, "proved at the login")
                key = daemon.post("/api/auth/api-keys", {"password": member}, **bearer(ada))[1]
                self.assertEqual(daemon.request("DELETE", f"/api/admin/api-keys/{key['id']}", headers=bearer(other))[0], 200)
                self.assertEqual(daemon.get("/api/debates", Authorization=f"Bearer {key['key']}")[0], 401)
                sql("UPDATE sessions SET mfa_at = mfa_at - 901000000")
                for session in (fresh, other):
                    status, refused = daemon.get("/api/admin/users", **bearer(session))
                    self.assertEqual((status, refused["code"]), (403, "ADMIN_MFA_REQUIRED"), "fifteen minutes")
                sandbox.run("user", "mfa", "remove", "boss@example.org", check=0)
                self.assertEqual(daemon.post("/api/auth/mfa/step-up", {"code": code(secret, now)}, **bearer(other))[0], 409)

    def test_of_two_instances_one_takes_a_code(self):
        with self.postgres_machine() as (sandbox, sql):
            password = self.add(sandbox)
            roomy = {"ARAGORA_LOGIN_RATE_LIMIT": "1000"}  # what the database counts is meant, not the network's codes
            with Daemon(sandbox, **roomy) as one, Daemon(sandbox, **roomy) as two:
                login = self.log_in(one, password)
                secret = self.enrol(one, login, password)
                now = settle()
                status, enabled = one.post("/api/auth/mfa/enable", {"code": code(secret, now - 1)}, **bearer(login))
                self.assertEqual(status, 200, enabled)
                recovery = enabled["backup_codes"]
                token = self.log_in(two, password)["pending_token"]
                for _ in range(4):
                    sql("UPDATE users SET mfa_last_step = 0, mfa_tries = 0, mfa_tries_since = 0")
                    number = code(secret, settle())
                    answers = []
                    threads = [threading.Thread(target=lambda daemon=daemon: answers.append(daemon.post("/api/auth/mfa/verify", {"code": number, "pending_token": token})[0])) for daemon in [one, two] * 8]
                    for thread in threads:
                        thread.start()
                    for thread in threads:
                        thread.join()
                    self.assertEqual(answers.count(200), 1, answers)
                    self.assertLessEqual(set(answers), {200, 401, 429})
                for number in recovery[:3]:
                    sql("UPDATE users SET mfa_tries = 0, mfa_tries_since = 0")
                    answers = []
                    threads = [threading.Thread(target=lambda daemon=daemon: answers.append(daemon.post("/api/auth/mfa/verify", {"code": number, "pending_token": token})[0])) for daemon in [one, two] * 8]
                    for thread in threads:
                        thread.start()
                    for thread in threads:
                        thread.join()
                    self.assertEqual(answers.count(200), 1, answers)

    def test_on_the_command_line_with_a_picture_for_a_terminal(self):
        with self.sqlite_machine() as (sandbox, _):
            password = self.add(sandbox)
            quiet = sandbox.run("user", "mfa", "enrol", "boss@example.org", check=0).stdout
            self.assertTrue(quiet.startswith("otpauth://totp/"), "no picture for a pipe")
            ours, theirs = pty.openpty()
            shown = subprocess.Popen([BINARY, "user", "mfa", "enrol", "boss@example.org"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE)
            os.close(theirs)
            text = b""
            with contextlib.suppress(OSError):  # that is how a terminal ends
                while chunk := os.read(ours, 65536):
                    text += chunk
            os.close(ours)
            self.assertEqual(shown.wait(timeout=20), 0, shown.communicate())
            shown.stderr.close()
            lines = text.decode().split()
            uri = next(line for line in lines if line.startswith("otpauth://"))
            picture = [line for line in text.decode().splitlines() if line and set(line) <= set("█▀▄ ")]
            self.assertIn(len(picture), range(len(picture[0]) // 2, len(picture[0]) // 2 + 2), "a square of half blocks")
            secret = uri.split("secret=")[1].split("&")[0]
            confirm = lambda given: subprocess.run([BINARY, "user", "mfa", "confirm", "boss@example.org"], env=sandbox.environment, input=given, capture_output=True, text=True)
            now = settle()
            self.assertEqual(confirm("").returncode, 64)
            self.assertEqual(confirm("000000x\n").returncode, 77)
            confirmed = confirm(code(secret, now) + "\n")
            self.assertEqual(confirmed.returncode, 0, confirmed.stderr)
            recovery = confirmed.stdout.strip().splitlines()[-10:]
            self.assertTrue(all(len(one) == 19 for one in recovery), confirmed.stdout)
            self.assertEqual(confirm(code(secret, now) + "\n").returncode, 65)
            with Daemon(sandbox) as daemon:
                self.assertTrue(self.log_in(daemon, password)["mfa_required"])
                self.log_in(daemon, password, mfa_code=recovery[3])
                self.assertEqual(self.log_in(daemon, password, mfa_code=recovery[3], expect=401)["code"], "AUTH_REQUIRED")
                sandbox.run("user", "mfa", "remove", "boss@example.org", check=0)
                self.assertIn("access_token", self.log_in(daemon, password))


if __name__ == "__main__":
    main()
