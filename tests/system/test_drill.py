"""Drills: what they say is what happened, and what could not be done fails them."""
import os
import pathlib
import shutil
import subprocess
import time
import unittest

from support import BINARY, Cluster, Daemon, Sandbox, main, postgres_database, service
from recovery import Receiver

BOXES = ["Restore database from backup to test environment", "Verify debate history intact", "Verify user sessions and preferences", "Run smoke tests on restored instance"]


class Drills(unittest.TestCase):
    def deploy(self, sandbox):
        sandbox.directory.chmod(0o755)
        self.scratch = sandbox.directory / "scratch"
        self.scratch.mkdir()
        sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
        sandbox.run("migrate", check=0)
        with Daemon(sandbox) as daemon:
            for number in range(3):
                daemon.wait_finished(daemon.post("/api/debates", {"task": f"question {number}", "rounds": 0})[1]["debate_id"])

    def drill(self, sandbox, *arguments, check=0, **environment):
        evidence = sandbox.run_json("drill", "--scratch", self.scratch, *arguments, check=check, **environment)
        self.assertEqual(list(self.scratch.iterdir()), [], "scratch stays behind")
        markdown = pathlib.Path(evidence["evidence"]).read_text()
        self.assertIn("**Passed**" if check == 0 else "**NOT PASSED**", markdown)
        for box in evidence["checklist"]:
            self.assertIn(f"- [{'x' if box['ticked'] else ' '}] {box['text']}", markdown)
        return evidence

    def require_passed(self, evidence, kind):
        self.assertEqual((evidence["passed"], evidence["kind"]), (True, kind))
        self.assertEqual([box["text"] for box in evidence["checklist"] if box["ticked"]][:4], BOXES)
        self.assertEqual(len(evidence["checklist"]), 5)
        self.assertTrue(evidence["checklist"][4]["ticked"])
        steps = {step["name"]: step["detail"] for step in evidence["steps"]}
        self.assertEqual(steps["session"], "logged in, renewed, ended, refused afterwards")
        self.assertIn("3 debates listed, 3 read; a new debate was held", steps["smoke test"])
        self.assertLess(evidence["rto_seconds"], 60)
        self.assertGreater(evidence["rto_seconds"], 0)

    def test_sqlite_and_the_history_of_drills(self):
        with Sandbox() as sandbox:
            self.deploy(sandbox)
            sandbox.run("backup", check=0)
            self.require_passed(self.drill(sandbox), "logical")
            again = self.drill(sandbox, "--random")
            self.assertIn("## Before", pathlib.Path(again["evidence"]).read_text())
            self.assertEqual(sandbox.run_json("backup", "status")["count"], 1)
            drills = sandbox.run_json("drill", "list", check=0)["drills"]
            self.assertEqual([d["authentic"] for d in drills], [True, True])
            # The live database is as it was: the drill's own debate is not in it.
            with Daemon(sandbox) as daemon:
                self.assertEqual(daemon.get("/api/debates")[1]["total"], 3)
            forged = pathlib.Path(again["evidence"]).with_suffix(".json")
            forged.write_text(forged.read_text().replace('"rto_seconds": ', '"rto_seconds": 0'))
            listed = sandbox.run("drill", "list", check=65)
            self.assertIn("the signature does not hold", listed.stdout)

    def test_an_old_backup_misses_the_objective(self):
        with Sandbox() as sandbox:
            self.deploy(sandbox)
            sandbox.run("backup", check=0, clock="-1h")
            evidence = self.drill(sandbox, check=1)
            self.assertTrue(evidence["recovered"] and evidence["rto_met"] and not evidence["rpo_met"])
            self.assertAlmostEqual(evidence["rpo_seconds"], 3600, delta=120)
            self.assertTrue(self.drill(sandbox, ARAGORA_RPO_MINUTES="120")["rpo_met"])

    def test_damage_fails_it_and_the_rest_is_not_run(self):
        with Sandbox() as sandbox:
            self.deploy(sandbox)
            self.assertIn("there is no good logical backup", self.drill(sandbox, check=1)["steps"][0]["detail"])
            sandbox.run("backup", check=0)
            stored = next((sandbox.directory / "backups/full").glob("2*/db.sqlite.zst.age"))
            data = bytearray(stored.read_bytes())
            data[len(data) // 2] ^= 1
            stored.write_bytes(data)
            evidence = self.drill(sandbox, check=1)
            self.assertEqual([step["outcome"] for step in evidence["steps"]], ["done", "failed"] + ["not_run"] * 6)
            self.assertFalse(any(box["ticked"] for box in evidence["checklist"]))
            self.assertIsNone(evidence["rto_seconds"])

    def test_postgres_logical_with_sessions_of_redis(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url, REDIS_URL=service("TEST_REDIS")) as sandbox:
            self.deploy(sandbox)
            sandbox.run("backup", check=0)
            self.require_passed(self.drill(sandbox, "--kind", "logical"), "logical")

    def test_postgres_physical(self):
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
            self.deploy(sandbox)
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox) as receiver:
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('late', '', 0)")
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                evidence = self.drill(sandbox)
                self.require_passed(evidence, "physical")
                self.assertLess(evidence["rpo_seconds"], 30)
                self.assertEqual(receiver.stop(), 0)
            self.assertEqual(cluster.sql("SELECT count(*) FROM debates"), "3")

    def test_an_ordinary_user_whose_path_does_not_lead_to_postgresql(self):
        """As in the units: PostgreSQL finds its own files by the path that it was started with."""
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
            sandbox.environment["PATH"] = "/usr/bin:/bin"
            self.assertFalse(pathlib.Path("/usr/bin/postgres").exists())
            program = sandbox.directory / "aragora"
            shutil.copy(BINARY, program)
            sandbox.run("migrate", check=0)
            sandbox.run("backup", "create", "--kind", "base", check=0)
            user = []
            if os.geteuid() == 0:
                subprocess.run(["chown", "-R", "nobody", sandbox.directory], check=True)
                user = ["setpriv", "--reuid=nobody", "--clear-groups"]
            for command in (["backup", "verify", "--input", "latest-base"], ["drill", "--kind", "physical"]):
                result = subprocess.run([*user, program, *command], env={**sandbox.environment, "TMPDIR": str(sandbox.directory)}, capture_output=True, text=True, cwd="/", timeout=120)
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_autovacuum_does_not_keep_scratch_databases(self):
        """Its workers are a superuser's: to end them, as DROP … WITH (FORCE) does, is forbidden to the database's owner."""
        slow = {"vacuum_cost_delay": "100ms", "vacuum_cost_limit": "1", "naptime": "1s"}
        eager = {f"{kind}_{value}": "0" for kind in ("vacuum", "analyze", "vacuum_insert") for value in ("threshold", "scale_factor")}
        with Cluster(**{f"autovacuum_{name}": value for name, value in {**slow, **eager}.items()}) as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("migrate", check=0)
            sandbox.run("backup", check=0)
            for _ in range(6):
                self.assertNotIn("could not be dropped", sandbox.run("drill", check=0).stderr)
            self.assertEqual(cluster.sql("SELECT string_agg(datname, ' ') FROM pg_database WHERE datname LIKE 'aragora_%'"), "")

    def test_what_a_killed_drill_left_is_dropped_by_the_next(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url) as sandbox:
            sandbox.run("migrate", check=0)
            sandbox.run("backup", check=0)
            connect = lambda database, text: subprocess.run(["psql", "-qAtX", url.rsplit("/", 1)[0] + "/" + database, "-c", text], check=True, capture_output=True, text=True).stdout.strip()
            old, young, used, foreign = (f"aragora_drill_{name}" for name in ("01kdxyz0000000000000000001", time_ulid(), "01kdxyz0000000000000000003", "mine"))
            for name in (old, young, used, foreign):
                connect("postgres", f"CREATE DATABASE {name}")
            session = subprocess.Popen(["psql", "-qAtX", url.rsplit("/", 1)[0] + "/" + used, "-c", "SELECT pg_sleep(60)"], stdout=subprocess.DEVNULL)
            try:
                while connect("postgres", f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{used}'") == "0":
                    time.sleep(0.05)
                sandbox.run("drill", check=0)
                left = connect("postgres", "SELECT string_agg(datname, ' ') FROM pg_database")
                self.assertNotIn(old, left)
                for name in (young, used, foreign):
                    self.assertIn(name, left)
            finally:
                connect("postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{used}' AND backend_type = 'client backend'")
                session.wait()
                for name in (old, young, used, foreign):
                    connect("postgres", f"DROP DATABASE IF EXISTS {name}")


def time_ulid():
    milliseconds, text = int(time.time() * 1000), ""
    for _ in range(10):
        text = "0123456789abcdefghjkmnpqrstvwxyz"[milliseconds & 31] + text
        milliseconds >>= 5
    return text + "0" * 16


if __name__ == "__main__":
    main()
