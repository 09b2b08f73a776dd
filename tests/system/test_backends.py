"""Databases that are not what they should be: a standby, a name server that never answers."""
import os
import time
import unittest

from support import Cluster, Sandbox, main


class Standby(unittest.TestCase):
    def test_migrate_refuses_a_standby_and_migrates_its_primary(self):
        with Cluster() as primary, Cluster(standby_of=primary) as standby:
            with Sandbox(DATABASE_URL=standby.url) as sandbox:
                refused = sandbox.run("migrate", check=78)
                self.assertIn("is a standby", refused.stderr)
                self.assertIn(f"127.0.0.1:{standby.port}", refused.stderr)
                self.assertNotIn("n0t-the-sample-pw", refused.stderr)
                sandbox.run("migrate", DATABASE_URL=primary.url, check=0)
            self.assertEqual(primary.sql("SELECT count(*) > 0 FROM debates WHERE false"), "f")


class SilentNames(unittest.TestCase):
    def test_validate_env_ends_in_six_seconds(self):
        """The name server takes every question and answers none; the C library's resolver waits for minutes."""
        with Sandbox(ARAGORA_ENV="production", DATABASE_URL="postgresql://aragora:pw-of-the-day@db.example.org/aragora", REDIS_URL="redis://cache.example.org:6379/0",
                     OPENAI_API_KEY="sk-" + "a1B2" * 12, OPENAI_BASE_URL="https://models.example.org/v1") as sandbox:
            started = time.monotonic()
            result = sandbox.run("validate-env", timeout=60, LD_PRELOAD=os.environ["FAULTS_LIBRARY"], FAULT_NAMES="silent")
            took = time.monotonic() - started
            self.assertGreater(took, 1, f"no name was asked for: {result.stdout}{result.stderr}")
            self.assertLess(took, 6.5, result.stdout + result.stderr)
            self.assertIn(result.returncode, (1, 69, 78), result.stdout + result.stderr)
            self.assertRegex(result.stdout, "✗ PostgreSQL: no answer within")
            self.assertRegex(result.stdout, "✗ REDIS_URL: Redis cache.example.org: no name server answered in time")
            self.assertNotIn("pw-of-the-day", result.stdout + result.stderr)


if __name__ == "__main__":
    main()
