"""What a database and a Redis allow: checked before it is needed, and said by the daemon when it ends."""
import os
import subprocess
import time
import unittest
import urllib.parse

from support import Cluster, Daemon, Sandbox, main, service

PASSWORD = "n0t-the-sample-pw"


def key():
    return os.urandom(32).hex()


class Rights(unittest.TestCase):
    def look(self, sandbox, url, check, **environment):
        result = sandbox.run("validate-env", "--only", check, DATABASE_URL=url, **environment)
        return result.returncode, result.stdout + result.stderr

    def test_what_would_fail_later_is_found_now(self):
        with Cluster() as cluster, Sandbox(ARAGORA_ENCRYPTION_KEY=key()) as sandbox:
            admin = {"user": "postgres", "database": "postgres"}
            cluster.sql(f"CREATE ROLE small LOGIN PASSWORD '{PASSWORD}'", **admin)
            cluster.sql("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0", **admin)
            small = cluster.url.replace("aragora:", "small:", 1)
            status, text = self.look(sandbox, small, "database_rights")
            self.assertEqual(status, 78, text)
            self.assertIn("GRANT USAGE, CREATE ON SCHEMA", text)
            self.assertIn("CREATEDB", text)
            refused = sandbox.run("migrate", DATABASE_URL=small, check=77)
            self.assertIn("GRANT USAGE, CREATE ON SCHEMA", refused.stderr)
            cluster.sql("GRANT USAGE, CREATE ON SCHEMA public TO small", user="aragora")
            sandbox.run("migrate", DATABASE_URL=small, check=0)
            self.assertIn("CREATEDB", self.look(sandbox, small, "database_rights", ARAGORA_ENV="production")[1])
            cluster.sql("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC", **admin)
            cluster.sql("REVOKE CONNECT ON DATABASE template1 FROM PUBLIC", **admin)
            self.assertIn("neither postgres nor template1", self.look(sandbox, small, "database_rights")[1])
            status, text = self.look(sandbox, cluster.url.rsplit("/", 1)[0] + "/latin", "database_writable")
            self.assertEqual((status, "LATIN1" in text), (78, True), text)
            cluster.sql("ALTER DATABASE aragora SET default_transaction_read_only = on", **admin)
            # Its tables are the other role's: what could not be asked is no success.
            status, text = self.look(sandbox, cluster.url, "database_writable")
            self.assertEqual((status, "0 of" in text), (69, True), text)
            status, text = self.look(sandbox, small, "database_writable")
            self.assertEqual((status, "default_transaction_read_only" in text), (78, True), text)
            tools = sandbox.directory / "old"
            tools.mkdir()
            for name in ("pg_dump", "pg_restore"):
                (tools / name).write_text(f'#!/bin/sh\necho "{name} (PostgreSQL) 9.6.1"\n')
                (tools / name).chmod(0o755)
            self.assertIn("pg_dump is version 9", self.look(sandbox, small, "database_programs", PATH=f"{tools}:{os.environ['PATH']}")[1])

    def test_a_standby_is_named(self):
        with Cluster() as primary, Cluster(standby_of=primary) as standby, Sandbox() as sandbox:
            status, text = self.look(sandbox, standby.url, "database_writable")
            self.assertEqual((status, "is a standby" in text), (78, True), text)

    def test_a_role_that_may_only_read_backs_up(self):
        with Cluster() as cluster, Sandbox(ARAGORA_ENCRYPTION_KEY=key()) as sandbox:
            sandbox.run("migrate", DATABASE_URL=cluster.url, check=0)
            cluster.sql(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'", user="postgres", database="postgres")
            cluster.sql("GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader")
            reader = cluster.url.replace("aragora:", "reader:", 1)
            self.assertIn("may not write", sandbox.run("backup", DATABASE_URL=reader, check=77).stderr)
            sandbox.run("backup", DATABASE_URL=cluster.url, check=0)
            sandbox.run("backup", DATABASE_URL=reader, check=0)
            sandbox.run("backup", "verify", DATABASE_URL=cluster.url, check=0)


class TurnsReadOnly(unittest.TestCase):
    def wait(self, daemon, status, limit=20):
        deadline = time.monotonic() + limit
        while daemon.get("/api/ready")[0] != status:
            self.assertLess(time.monotonic(), deadline, f"{daemon.get('/api/ready')}\n{daemon.text()[-2000:]}")
            time.sleep(0.05)
        return daemon.get("/api/ready")[1]

    def test_a_primary(self):
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url, ARAGORA_ENCRYPTION_KEY=key()) as sandbox:
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                question = {"task": "Shall we?", "rounds": 1}
                first = daemon.post("/api/debates", question)
                self.assertLess(first[0], 300, first)
                cluster.sql("ALTER SYSTEM SET default_transaction_read_only = on", user="postgres", database="postgres")
                cluster.sql("SELECT pg_reload_conf()", user="postgres", database="postgres")
                body = self.wait(daemon, 503)
                self.assertEqual(body["database"], "read_only")
                self.assertIn("default_transaction_read_only", body["reason"])
                self.assertEqual(daemon.post("/api/debates", question)[0], 503)
                cluster.sql("ALTER SYSTEM RESET default_transaction_read_only", user="postgres", database="postgres")
                cluster.sql("SELECT pg_reload_conf()", user="postgres", database="postgres")
                self.wait(daemon, 200)
                self.assertLess(daemon.post("/api/debates", question)[0], 300)

    def test_it_becomes_a_standby_and_the_other_host_the_primary(self):
        with Cluster() as old, Cluster(standby_of=old) as new:
            url = f"postgresql://aragora:{PASSWORD}@127.0.0.1:{old.port},127.0.0.1:{new.port}/aragora"
            with Sandbox(DATABASE_URL=url, ARAGORA_ENCRYPTION_KEY=key()) as sandbox:
                sandbox.run("migrate", check=0)
                with Daemon(sandbox) as daemon:
                    old.stop()
                    self.wait(daemon, 503)
                    self.assertIn("standby", self.reason(daemon))
                    new.program("pg_ctl", "-D", new.data, "-w", "promote")
                    self.wait(daemon, 200)

    def reason(self, daemon, limit=20):
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if reason := daemon.get("/api/ready")[1].get("reason"):
                return reason
            time.sleep(0.05)
        self.fail("no reason is given")


class Redis(unittest.TestCase):
    def look(self, url):
        with Sandbox(REDIS_URL=url) as sandbox:
            result = sandbox.run("validate-env", "--only", "redis")
            return result.returncode, result.stdout + result.stderr

    def test_parameters(self):
        base = service("TEST_REDIS").rsplit("/", 1)[0]
        self.assertIn("✓", self.look(base + "?db=5")[1])
        for query, named in (("?db=99", "SELECT"), ("?timeout=3", "timeout"), ("/1?db=2", "two databases"), ("?db=five", "database number")):
            status, text = self.look(base + query)
            self.assertIn(named, text)
            self.assertNotIn("redis-test-pw", text)
            self.assertIn(status, (0,) if query == "?db=99" else (78,), text)

    def test_a_user_without_info_is_connected(self):
        base = service("TEST_REDIS")
        parts = urllib.parse.urlsplit(base)
        cli = ["redis-cli", "--no-auth-warning", "-h", parts.hostname, "-p", str(parts.port), "-a", parts.password]
        subprocess.run([*cli, "ACL", "SETUSER", "narrow", "on", ">narrow-pw", "~*", "+select", "+ping"], check=True, stdout=subprocess.DEVNULL)
        try:
            status, text = self.look(base.replace(":redis-test-pw", "narrow:narrow-pw"))
            self.assertEqual(status, 0, text)
            self.assertIn("may not run INFO", text)
        finally:
            subprocess.run([*cli, "ACL", "DELUSER", "narrow"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
