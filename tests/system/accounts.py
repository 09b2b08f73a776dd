"""What tests of accounts have in common."""
import unittest

from support import Sandbox, postgres_database, production_environment, service, strong_secret


class AccountTests(unittest.TestCase):
    def add(self, sandbox, email="ada@example.org", role="member"):
        """The password that it is given."""
        return sandbox.run("user", "add", "--email", email, "--role", role, check=0).stdout.strip().splitlines()[-1]

    def log_in(self, daemon, password, email="ada@example.org", expect=200):
        status, answer = daemon.post("/api/auth/login", {"email": email, "password": password})
        self.assertEqual(status, expect, answer)
        return answer

    def on_both(self, test):
        """In development on SQLite, in production on PostgreSQL."""
        with self.subTest("sqlite"), Sandbox(ARAGORA_API_TOKEN=strong_secret()) as sandbox:
            sandbox.run("migrate", check=0)
            test(sandbox)
        with self.subTest("postgres"), postgres_database() as url, Sandbox(**production_environment(url, service("TEST_REDIS"))) as sandbox:
            sandbox.run("migrate", check=0)
            test(sandbox)
