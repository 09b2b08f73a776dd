"""Databases that are not what they should be: a standby, a name server that never answers."""
import os
import pathlib
import socket
import subprocess
import time
import unittest

from support import BINARY, Cluster, Sandbox, main


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


class BlackHoledNames(unittest.TestCase):
    def test_validate_env_ends_in_six_seconds(self):
        """The name server takes every question and answers none; the resolver of the C library would wait much longer."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, Sandbox() as sandbox:
            silent.bind(("127.0.0.77", 53))
            sandbox.write("resolv.conf", "nameserver 127.0.0.77\noptions timeout:30 attempts:5\n", 0o644)
            sandbox.write("nsswitch.conf", "hosts: dns\n", 0o644)
            environment = {**sandbox.environment, "ARAGORA_ENV": "production", "DATABASE_URL": "postgresql://aragora:pw-of-the-day@db.example.org/aragora",
                           "REDIS_URL": "redis://cache.example.org:6379/0", "OPENAI_API_KEY": "sk-" + "a1B2" * 12, "OPENAI_BASE_URL": "https://models.example.org/v1"}
            # A mount namespace of its own, so that only this process sees the other resolv.conf.
            script = f"mount --bind {sandbox.directory}/resolv.conf {os.path.realpath('/etc/resolv.conf')} && mount --bind {sandbox.directory}/nsswitch.conf /etc/nsswitch.conf && exec {BINARY} validate-env"
            privilege = [] if os.geteuid() == 0 else ["sudo", "-E"]
            started = time.monotonic()
            result = subprocess.run([*privilege, "unshare", "--mount", "sh", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
            took = time.monotonic() - started
            self.assertGreater(took, 1, f"the name server was not asked: {result.stdout}{result.stderr}")
            self.assertLess(took, 6.5, result.stdout + result.stderr)
            self.assertIn(result.returncode, (1, 69, 78), result.stdout + result.stderr)
            self.assertRegex(result.stdout + result.stderr, "PostgreSQL: no answer within")
            self.assertNotIn("pw-of-the-day", result.stdout + result.stderr)


if __name__ == "__main__":
    main()
