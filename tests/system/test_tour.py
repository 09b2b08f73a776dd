"""The README's tour, with the checklist's literal options, on both engines."""
import json
import unittest

from support import Daemon, Sandbox, main, postgres_database, service


class Tour(unittest.TestCase):
    def tour(self, sandbox):
        sandbox.run("init", "--directory", sandbox.directory / "config", check=0)
        sandbox.run("validate-env", check=78 if "DATABASE_URL" in sandbox.environment else 0)
        sandbox.run("migrate", check=0)
        sandbox.run("migrate", check=0)
        sandbox.run("validate-env", check=0)
        with Daemon(sandbox) as daemon:
            status, created = daemon.post("/api/debates", {"task": "Should we ship on Friday?", "rounds": 1})
            self.assertEqual(status, 200)
            debate = daemon.wait_finished(created["debate_id"])
            self.assertEqual(debate["status"], "completed")
            self.assertTrue(debate["final_answer"])
            self.assertEqual(daemon.get("/api/leaderboard")[1]["total"], 3)
        backups = sandbox.directory / "backups"
        sandbox.run("backup", "--output", backups, check=0)
        sandbox.run("backup", "verify", "--output", backups, check=0)
        with Daemon(sandbox) as daemon:
            _, second = daemon.post("/api/debates", {"task": "After the backup"})
            daemon.wait_finished(second["debate_id"])
        restored = sandbox.run("restore", "--input", backups / "latest", "--yes", "--verify", check=0)
        self.assertIn("what was there before is", restored.stdout)
        sandbox.run("verify", check=0)
        with Daemon(sandbox) as daemon:
            total = daemon.get("/api/debates")[1]["total"]
            self.assertEqual(total, 1, "the restore brings back the moment of the backup")
            self.assertEqual(daemon.get(f"/api/debates/{created['debate_id']}")[1]["final_answer"], debate["final_answer"])
        self.assertEqual(sandbox.run("backup", "-q", "--output", backups, check=0).stdout, "", "cron wants silence")

    def test_sqlite(self):
        with Sandbox() as sandbox:
            self.tour(sandbox)

    def test_postgres_and_redis(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url, REDIS_URL=service("TEST_REDIS")) as sandbox:
            self.tour(sandbox)
            self.assertEqual(sandbox.run_json("validate-env")["checks"]["redis"]["status"], "ok")


if __name__ == "__main__":
    main()
