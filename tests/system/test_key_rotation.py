"""A new encryption key, step by step as the manual says: what was sealed opens, what was signed is checked, and the old key goes
when nothing needs it."""
import contextlib
import json
import secrets
import sqlite3
import subprocess
import unittest

from support import BINARY, Daemon, Sandbox, main, postgres_database


class Rotation(unittest.TestCase):
    def status(self, sandbox, check=0):
        return json.loads(sandbox.run("key", "status", "--json", check=check).stdout)

    def act(self, sandbox):
        with Daemon(sandbox) as daemon:
            daemon.wait_finished(daemon.post("/api/debates", {"task": "kept", "rounds": 0})[1]["debate_id"])

    def enrol(self, sandbox, email):
        password = sandbox.run("user", "add", "--email", email, "--role", "admin", check=0).stdout.strip().splitlines()[-1]
        with Daemon(sandbox) as daemon:
            token = daemon.post("/api/auth/login", {"email": email, "password": password})[1]["access_token"]
            status, setup = daemon.post("/api/auth/mfa/setup", {"password": password}, Authorization=f"Bearer {token}")
            self.assertEqual(status, 200, setup)

    def test_step_by_step_on_both_engines(self):
        with postgres_database() as url:
            for environment in ({}, {"DATABASE_URL": url}):
                with self.subTest(environment=bool(environment)):
                    self.step_by_step(environment)

    def step_by_step(self, environment):
        old, new = secrets.token_hex(32), secrets.token_hex(32)
        with Sandbox(ARAGORA_ENCRYPTION_KEY=old, **environment) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            sandbox.run("migrate", check=0)
            self.enrol(sandbox, "ada@example.org")
            self.enrol(sandbox, "eve@example.org")
            self.act(sandbox)
            sandbox.run("backup", check=0)
            before = self.status(sandbox)
            old_id = before["active"]
            self.assertEqual(before["use"]["second factors"], {old_id: 2})
            self.assertEqual(before["use"]["backups"], {old_id: 1})

            # Without the old one among the previous keys nothing starts, and it is said what to do.
            sandbox.environment["ARAGORA_ENCRYPTION_KEY"] = new
            self.assertIn("previous_keys", sandbox.run("key", "rotate", check=78).stderr)
            sandbox.environment["ARAGORA_ENCRYPTION_PREVIOUS_KEYS"] = old
            self.act(sandbox)
            rotated = json.loads(sandbox.run("key", "rotate", "--json", check=0).stdout)
            self.assertEqual(rotated["second_factors"], 2)
            self.assertEqual(json.loads(sandbox.run("key", "rotate", "--json", check=0).stdout)["second_factors"], 0)
            sandbox.run("verify", check=0)
            between = self.status(sandbox)
            new_id = between["active"]
            self.assertNotEqual(new_id, old_id)
            self.assertEqual(between["use"]["second factors"], {new_id: 2})
            self.assertFalse(between["keys"][old_id]["may_go"], "a backup needs it")
            self.assertGreater(between["signed_before"]["audit entries"][old_id], 0)
            self.assertNotIn(old_id, between["use"].get("audit entries", {}), "a kept key is enough")
            sandbox.run("backup", "rekey", check=0)
            sandbox.run("backup", "verify", check=0)
            self.act(sandbox)
            sandbox.run("verify", check=0)
            self.assertFalse(self.status(sandbox)["keys"][old_id]["may_go"], "the data in the backup is of its time, however it is sealed")
            # The old key taken away although it is needed: said, by id.
            kept = sandbox.environment.pop("ARAGORA_ENCRYPTION_PREVIOUS_KEYS")
            without = self.status(sandbox, check=69)
            self.assertFalse(without["keys"][old_id]["configured"])
            self.assertIn(old_id, without["next"])
            sandbox.environment["ARAGORA_ENCRYPTION_PREVIOUS_KEYS"] = kept

    def test_a_rotation_that_is_killed_is_finished_by_the_next(self):
        old, new = secrets.token_hex(32), secrets.token_hex(32)
        with Sandbox(ARAGORA_ENCRYPTION_KEY=old) as sandbox:
            sandbox.run("migrate", check=0)
            for number in range(3):
                self.enrol(sandbox, f"user{number}@example.org")
            with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database:
                rows = database.execute("SELECT id, mfa_secret FROM users").fetchall()
            sandbox.environment.update(ARAGORA_ENCRYPTION_KEY=new, ARAGORA_ENCRYPTION_PREVIOUS_KEYS=old)
            for _ in range(5):
                with subprocess.Popen([BINARY, "key", "rotate"], env=sandbox.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                    try:
                        process.wait(timeout=0.03)
                    except subprocess.TimeoutExpired:
                        process.kill()
                sandbox.run("verify", check=0)  # each of them opens, under one key or the other
            sandbox.run("key", "rotate", check=0)
            self.assertEqual(list(self.status(sandbox)["use"]["second factors"].values()), [3])
            with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database:
                self.assertTrue(all(after != before for (_, before), (_, after) in zip(rows, database.execute("SELECT id, mfa_secret FROM users"))))

    def test_a_key_that_nothing_needs_may_go(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), ARAGORA_ENCRYPTION_PREVIOUS_KEYS=secrets.token_hex(32)) as sandbox:
            sandbox.run("migrate", check=0)
            keys = self.status(sandbox)["keys"]
            self.assertEqual(sorted(key["may_go"] for key in keys.values()), [False, True])
            self.assertIn("may go: nothing needs it", sandbox.run("key", "status", check=0).stdout)


if __name__ == "__main__":
    main()
