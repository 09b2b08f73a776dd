"""The README's tour, with the checklist's literal options, on both engines."""
import json
import pathlib
import re
import subprocess
import unittest

from support import BINARY, SOURCE, Daemon, Sandbox, main, postgres_database, service


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

    def test_the_debate_is_still_as_the_readme_shows_it(self):
        """Its commands are typed; what is said differs from debate to debate, in numbers and in words of the seats."""
        shown = re.search(r"## A debate\n.*?```console\n(.*?)```", (SOURCE / "README.md").read_text(), re.DOTALL).group(1)
        commands = [line[2:] for line in shown.splitlines() if line.startswith("$ ")]
        with Sandbox() as sandbox:
            sandbox.run("migrate", check=0)
            said, debate = [], None
            with Daemon(sandbox) as daemon:
                for command in commands:
                    typed = command if debate is None else re.sub(r"\b01[0-9A-Z]{24}\b", debate, command)
                    result = subprocess.run(["bash", "-c", typed], cwd=sandbox.directory, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                                            env={**sandbox.environment, "ARAGORA_PORT": str(daemon.port), "PATH": f"{pathlib.Path(BINARY).parent}:/usr/bin:/bin"})
                    self.assertEqual(result.returncode, 0, (command, result.stderr))
                    said += (result.stderr + result.stdout).splitlines()
                    debate = debate or re.search(r"debate (\S+)", result.stderr + result.stdout).group(1)
                transcript = sandbox.run("debate", "export", debate, ARAGORA_PORT=str(daemon.port), check=0).stdout
        shape = lambda line: re.sub(r"demo-\w+|\bnone\b|[0-9a-f]{8}\b|\b01[0-9A-Z]{24}\b|[\d.]+", "#", line)
        proofs = lambda lines: [shape(line).replace("receipts", "receipt") for line in lines if line.startswith("✓") and "consensus" not in line]
        self.assertEqual(proofs(said), proofs(shown.splitlines()))
        self.assertEqual(len(proofs(said)), 7)
        kept = (SOURCE / "docs/examples/debate.md").read_text()
        members = lambda text: [line.split(":")[0] for line in text.splitlines() if line.startswith(("- ", "## Round 0", "## Answer", "> Should we ship"))]
        self.assertEqual(members(transcript), members(kept))

    def test_sqlite(self):
        with Sandbox() as sandbox:
            self.tour(sandbox)

    def test_postgres_and_redis(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url, REDIS_URL=service("TEST_REDIS")) as sandbox:
            self.tour(sandbox)
            self.assertEqual(sandbox.run_json("validate-env")["checks"]["redis"]["status"], "ok")


if __name__ == "__main__":
    main()
