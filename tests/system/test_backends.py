"""Databases that are not what they should be: a standby, a name server that never answers."""
import os
import socketserver
import ssl
import threading
import time
import unittest

from support import Authority, Cluster, Sandbox, main


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
            self.assertRegex(result.stdout, "✗ (PostgreSQL: no answer within|DATABASE_URL: .*no name server answered in time)")
            self.assertRegex(result.stdout, "✗ REDIS_URL: Redis cache.example.org: no name server answered in time")
            self.assertNotIn("pw-of-the-day", result.stdout + result.stderr)


class RedisOverTls(unittest.TestCase):
    def look(self, authority, speak, **environment):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    with authority.context().wrap_socket(self.request, server_side=True) as connection:
                        speak(connection)
                except (ssl.SSLError, OSError):
                    pass  # a client that does not trust it

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with Sandbox(REDIS_URL=f"rediss://localhost:{server.server_address[1]}/0", ARAGORA_REQUIRE_DISTRIBUTED="true", **environment) as sandbox:
                started = time.monotonic()
                said = sandbox.run("validate-env", "--only", "redis").stdout
                self.took = time.monotonic() - started
            server.shutdown()
        return said

    @staticmethod
    def redis(connection):
        while request := connection.recv(4096):
            connection.sendall(b"+PONG\r\n" if b"PING" in request else b"$20\r\nredis_version:7.0.15\r\n")

    def test_is_spoken_with_whom_the_certificate_names(self):
        with Authority() as authority:
            self.assertIn("Redis: connected (version 7.0.15), TLS", self.look(authority, self.redis, SSL_CERT_FILE=str(authority.file)))
            self.assertIn("its certificate is not signed by anybody trusted here", self.look(authority, self.redis))
        with Authority("another.example") as authority:
            self.assertIn("its certificate is not one of localhost", self.look(authority, self.redis, SSL_CERT_FILE=str(authority.file)))

    def test_an_answer_that_drips_is_cut(self):
        def drip(connection):
            while True:
                connection.sendall(b"x")
                time.sleep(0.1)

        with Authority() as authority:
            self.assertIn("REDIS_URL: Redis localhost", self.look(authority, drip, SSL_CERT_FILE=str(authority.file)))
            self.assertLess(self.took, 10)


if __name__ == "__main__":
    main()
