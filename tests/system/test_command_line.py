"""Conventions every command keeps: exit statuses, JSON, silence, colour, help and man pages, secrets, time limits."""
import json
import pathlib
import re
import socket
import sqlite3
import subprocess
import time
import unittest

from support import BINARY, SOURCE, Daemon, Sandbox, main, postgres_database, production_environment, service, strong_secret


class CommandLine(unittest.TestCase):
    def test_usage_errors_leave_with_64_and_name_the_nearest(self):
        with Sandbox() as sandbox:
            for arguments, nearest in ((["validat"], "validate-env"), (["migrate", "--lok-wait", "1"], "--lock-wait"), (["backup", "--outptu", "x"], "--output"), (["config", "show", "server.prot"], "server.port"),
                                       (["validate-env", "--only", "redus"], "redis"), (["--set", "server.prot=1", "version"], "server.port")):
                result = sandbox.run(*arguments, check=64)
                self.assertIn(nearest, result.stderr, arguments)
                self.assertEqual(result.stdout, "")

    def test_failures_are_json_too(self):
        with Sandbox() as sandbox:
            for arguments, status in ((["restore", "--input", "/no/such", "--yes"], 66), (["validat"], 64), (["verify"], 66)):
                document = sandbox.run_json(*arguments, check=status)
                self.assertEqual((document["schema_version"], document["error"]["exit_status"]), (1, status))

    def test_every_command_prints_json_with_a_schema_version(self):
        with Sandbox() as sandbox:
            backups = sandbox.directory / "backups"
            for arguments in (["init", "--directory", sandbox.directory / "etc"], ["migrate"], ["migrate", "status"], ["migrate", "plan"], ["validate-env"], ["verify"], ["config", "show"], ["version"],
                              ["key", "show"], ["backup", "--output", backups], ["backup", "list", "--output", backups], ["backup", "verify", "--output", backups], ["backup", "status", "--output", backups],
                              ["backup", "prune", "--dry-run", "--output", backups], ["restore", "--input", backups / "latest", "--dry-run"]):
                self.assertEqual(sandbox.run_json(*arguments, check=0)["schema_version"], 1, arguments)

    def test_success_is_silent_with_q(self):
        with Sandbox() as sandbox:
            for arguments in (["migrate", "-q"], ["validate-env", "-q"], ["verify", "-q"], ["migrate", "status", "-q"]):
                result = sandbox.run(*arguments, check=0)
                self.assertEqual((result.stdout, result.stderr), ("", ""), arguments)

    def test_no_colour_outside_a_terminal_and_none_with_NO_COLOR_on_one(self):
        with Sandbox() as sandbox:
            self.assertNotIn("\x1b", sandbox.run("validate-env").stdout)
            for no_color, coloured in (("", True), ("1", False)):
                environment = " ".join(f"{k}='{v}'" for k, v in {**sandbox.environment, "TERM": "xterm", "NO_COLOR": no_color}.items())
                typescript = subprocess.run(["script", "-qec", f"env -i {environment} {BINARY} validate-env", "/dev/null"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
                self.assertEqual("\x1b[32m" in typescript.stdout, coloured)

    def test_init_never_overwrites_and_keeps_secrets_private(self):
        with Sandbox() as sandbox:
            directory = sandbox.directory / "etc"
            sandbox.run("init", "--production", "--directory", directory, check=0)
            before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
            self.assertEqual({oct(path.stat().st_mode & 0o777) for path in directory.glob("credentials/*")}, {"0o600"})
            sandbox.run("init", "--production", "--directory", directory, check=0)
            self.assertEqual(before, {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()})

    def test_config_show_tells_origins_and_never_a_secret(self):
        with Sandbox() as sandbox:
            secret = strong_secret()
            config = sandbox.write("a.toml", "[server]\nport = 1234\n")
            result = sandbox.run("config", "show", "--origin", JWT_SECRET=secret, ARAGORA_CONFIG=str(config), ARAGORA_PORT="4321", check=0)
            self.assertIn("server.port = 4321  [env ARAGORA_PORT]", result.stdout)
            self.assertIn(f"shadows 1234  [{config}:2]", result.stdout)
            self.assertIn("64 chars, sha256:", result.stdout)
            self.assertNotIn(secret, result.stdout)

    def test_an_env_file_is_read_as_systemd_does_and_replaces_the_environment(self):
        with Sandbox() as sandbox:
            path = sandbox.write("default", "ARAGORA_PORT=4000 # comment\nexport ARAGORA_WORKERS=2\nARAGORA_DRAIN_SECONDS = 7\n")
            result = sandbox.run("validate-env", "--env-file", path, ARAGORA_WORKERS="9", check=78)
            self.assertIn(f"{path}:1", result.stdout)
            self.assertIn("export", result.stdout)
            shown = sandbox.run_json("config", "show", "--env-file", path, ARAGORA_WORKERS="9", check=78)["settings"]
            self.assertEqual((shown["server.drain_seconds"]["value"], shown["server.workers"]["value"]), ("7", "48"))

    def test_help_options_and_man_pages_agree(self):
        with Sandbox() as sandbox:
            root = json.loads(sandbox.run("completion", "json", check=0).stdout)

            def options(command):
                found = {o["name"] for o in command["options"]}
                for sub in command["commands"]:
                    found |= options(sub)
                return found

            everywhere = {o["name"] for o in root["options"]}
            page_options = lambda path: {"--" + name for name in re.findall(r"Fl (?:\w , )?-([a-z][a-z-]+)", path.read_text())}
            self.assertEqual(everywhere - {"--help"}, page_options(SOURCE / "man/aragora.8") - {"--help"})
            for command in root["commands"]:
                page = SOURCE / f"man/aragora-{command['name']}.8"
                self.assertTrue(page.exists(), f"{page} is missing")
                self.assertEqual(options(command) - {"--help"}, page_options(page) - everywhere, page.name)
                self.assertIn(command["name"], (SOURCE / "man/aragora.8").read_text())

    def test_the_man_page_documents_every_exit_status(self):
        table = set(re.findall(r'^\s+\{Code::\w+,\s*"\w+",\s*(\d+)', (SOURCE / "common/base/error.cpp").read_text(), re.M))
        page = set(re.findall(r"^\.It (\d+)", (SOURCE / "man/aragora.8").read_text(), re.M))
        self.assertTrue(table)
        self.assertEqual(table | {"0"}, page)

    def test_completion_scripts_are_valid(self):
        with Sandbox() as sandbox:
            script = sandbox.run("completion", "bash", check=0).stdout
            subprocess.run(["bash", "-n"], input=script, text=True, check=True)
            words = subprocess.run(["bash", "-c", script + "\nCOMP_WORDS=(aragora migrate st); COMP_CWORD=2; _aragora; echo ${COMPREPLY[*]}"], capture_output=True, text=True, check=True)
            self.assertEqual(words.stdout.strip(), "status")


class ValidateEnv(unittest.TestCase):
    def test_the_success_view_is_the_checklists_sample(self):
        with postgres_database() as url, Sandbox() as sandbox:
            environment = production_environment(url, service("TEST_REDIS"))
            sandbox.run("migrate", check=0, **environment)
            lines = sandbox.run("validate-env", check=0, **environment).stdout.splitlines()
            sample = [r"✓ Environment: production", r"✓ Encryption key: configured \(32 bytes\)", r"✓ Redis: connected \(version [\d.]+\)", r"✓ PostgreSQL: connected \(PostgreSQL [\d.]+\)", r"✓ AI provider: anthropic configured"]
            shown = [line for line in lines if line.startswith("✓")]
            for expected, line in zip(sample, shown):
                self.assertRegex(line.replace("anthropic, openrouter", "anthropic"), f"^{expected}$")
            self.assertRegex(shown[-1], r"^✓ All production requirements met")
            self.assertEqual(len(shown), 6)
            # Strict turns this machine's and the bare environment's warnings into a failure.
            self.assertEqual(sandbox.run("validate-env", "--strict", **environment).returncode, 1)

    def test_json_keeps_the_originals_keys(self):
        with Sandbox() as sandbox:
            document = sandbox.run_json("validate-env", check=0)
            for key in ("valid", "checks", "errors", "warnings", "strict_mode", "final_valid"):
                self.assertIn(key, document)
            for check in ("environment", "distributed_state", "encryption", "redis", "postgresql", "ai_providers", "jwt_secret"):
                self.assertIn(document["checks"][check]["status"], ("ok", "warning", "error", "skipped"))
            self.assertNotEqual(document["checks"]["redis"]["status"], "ok", "not configured is never shown as connected")

    def test_black_holed_backends_cost_six_seconds_in_all(self):
        # A listener that accepts and never speaks.
        with socket.create_server(("127.0.0.1", 0)) as hole, Sandbox() as sandbox:
            port = hole.getsockname()[1]
            started = time.monotonic()
            result = sandbox.run("validate-env", DATABASE_URL=f"postgresql://u:p@127.0.0.1:{port}/x", REDIS_URL=f"redis://127.0.0.1:{port}", ARAGORA_MULTI_INSTANCE="true", ARAGORA_DB_CONNECT_TIMEOUT_MS="60000")
            elapsed = time.monotonic() - started
            self.assertEqual(result.returncode, 69, result.stdout)
            self.assertLess(elapsed, 6.5)
            for name in ("REDIS_URL", "PostgreSQL"):
                self.assertIn(name, result.stdout)

    def test_some_of_the_checks_are_not_all(self):
        with Sandbox(ARAGORA_ENV="production") as sandbox:
            total = len(sandbox.run_json("validate-env", "--list")["checks"])
            result = sandbox.run("validate-env", "--only", "environment", check=0)
            self.assertIn(f"1 of {total} checks made", result.stdout)
            self.assertNotIn("All", result.stdout)
            document = sandbox.run_json("validate-env", "--only", "environment", check=0)
            self.assertEqual((document["valid"], document["checks_made"], document["checks_total"]), (None, 1, total))
            self.assertIs(sandbox.run_json("validate-env", "--only", "encryption", check=78)["valid"], False)
            self.assertNotIn("All", sandbox.run("validate-env", "--skip", "cpu", ARAGORA_ENV="development").stdout)

    def test_a_warning_is_acknowledged_with_a_date_and_a_reason(self):
        with Sandbox(ARAGORA_INSTANCE_COUNT="1") as sandbox:
            sandbox.environment["ARAGORA_UNHEARD_OF"] = "x"
            self.assertEqual(sandbox.run_json("validate-env", "--only", "unknown_variables")["checks"]["unknown_variables"]["status"], "warning")
            sandbox.run("validate-env", "--only", "unknown_variables", "--strict", check=1)
            answered = {"ARAGORA_ACKNOWLEDGED": "unknown_variables 2026-11-27 of our own scripts"}
            result = sandbox.run("validate-env", "--only", "unknown_variables", "--strict", check=0, **answered)
            self.assertIn("(acknowledged 2026-11-27: of our own scripts)", result.stdout)
            self.assertIn("1 acknowledged", result.stdout)
            # An error is not somebody's to wave through.
            sandbox.run("validate-env", "--only", "encryption", check=78, ARAGORA_ENV="production", ARAGORA_ACKNOWLEDGED="encryption 2026-11-27 later")

    def test_the_manual_says_what_each_check_prevents(self):
        page = (SOURCE / "man/aragora-validate-env.8").read_text()
        described = re.findall(r"(?m)^\.It Sy (\w+)$", page[page.index(".Sh CHECKS"):page.index(".Sh EXIT STATUS")])
        with Sandbox() as sandbox:
            self.assertEqual(described, [check["id"] for check in sandbox.run_json("validate-env", "--list")["checks"]])

    def test_offline_asks_nobody_and_says_so(self):
        with Sandbox() as sandbox:
            result = sandbox.run("validate-env", "--offline", DATABASE_URL="postgresql://u:p@127.0.0.1:1/x", JWT_SECRET_COMMAND="touch " + str(sandbox.directory / "ran"), check=0)
            self.assertIn("not checked (--offline)", result.stdout)
            total = len(sandbox.run_json("validate-env", "--list")["checks"])
            self.assertRegex(result.stdout, f"[0-9]+ of {total} checks made")
            self.assertFalse((sandbox.directory / "ran").exists())

    def test_it_has_no_side_effects(self):
        with Sandbox() as sandbox:
            before = sorted(sandbox.directory.rglob("*"))
            sandbox.run("validate-env", check=0)
            self.assertEqual(sorted(sandbox.directory.rglob("*")), before)


class Printed(unittest.TestCase):
    """What nobody could read has not been said."""

    def commands(self, sandbox):
        sandbox.run("migrate", check=0)
        sandbox.run("backup", check=0)
        sandbox.run("drill", check=0)
        return [["--help"], ["--version"], ["version"], ["help"], ["backup", "--help"], ["config", "show"], ["config", "example"], ["config", "manpage"], ["completion", "bash"], ["validate-env"], ["validate-env", "--list"],
                ["migrate"], ["migrate", "status"], ["verify"], ["backup"], ["backup", "list"], ["backup", "verify"], ["backup", "status"], ["drill"], ["drill", "list"], ["user", "list"], ["key", "show"],
                ["key", "backup-identity"], ["key", "backup-writer"], ["restore", "--input", "latest", "--dry-run"]]

    def test_output_that_cannot_be_written_is_exit_74(self):
        with Sandbox() as sandbox:
            for arguments in self.commands(sandbox):
                for form in ([], ["--json"]):
                    with self.subTest(command=arguments + form):
                        expected = sandbox.run(*arguments, *form).returncode
                        with open("/dev/full", "w") as full:
                            result = subprocess.run([BINARY, *arguments, *form], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
                        self.assertEqual(result.returncode, 74 if expected == 0 else expected, result.stderr)
                        if expected == 0:
                            self.assertIn("cannot write the output: No space left on device", result.stderr)
                        closed = subprocess.run(["sh", "-c", 'exec "$0" "$@" >&-', BINARY, *arguments, *form], env=sandbox.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
                        self.assertEqual(closed.returncode, 74 if expected == 0 else expected, closed.stderr)
            # Nothing of what was printed went into a file.
            sandbox.run("verify", check=0)
            sandbox.run("backup", "verify", check=0)

    def test_who_closes_the_pipe_has_read_enough(self):
        with Sandbox() as sandbox:
            result = subprocess.run(["bash", "-c", '"$0" config manpage | head -1; exit ${PIPESTATUS[0]}', BINARY], env=sandbox.environment, capture_output=True, text=True)
            self.assertIn(result.returncode, (0, 74))
            self.assertEqual(result.stderr, "")

    def test_a_database_without_a_schema_is_no_bug(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=strong_secret()) as sandbox, postgres_database() as url:
            (sandbox.directory / "state").mkdir()
            sqlite3.connect(sandbox.directory / "state/aragora.db").execute("CREATE TABLE somebodys (x)").connection.close()
            for engine in ({}, {"DATABASE_URL": url}):
                for command in ("audit verify", "audit accept --reason looked", "key status", "key rotate", "user list", "backup create"):
                    result = sandbox.run(*command.split(), check=65, **engine)
                    self.assertIn("run: aragora migrate", result.stderr, command)
                self.assertIn("Nothing", sandbox.run("migrate", "down", "--to", "0", check=0, **engine).stdout)


class Secrets(unittest.TestCase):
    def test_no_planted_secret_is_ever_printed(self):
        with postgres_database() as url, Sandbox() as sandbox:
            environment = production_environment(url, service("TEST_REDIS"), ARAGORA_METRICS_TOKEN=strong_secret(), ARAGORA_LOG_LEVEL="debug", ARAGORA_DEMO="true")
            printed = []
            for arguments in (["migrate"], ["validate-env", "-v"], ["validate-env", "--json"], ["config", "show", "--origin"], ["config", "show", "--json"], ["verify", "-v"], ["backup", "-v", "--output", sandbox.directory / "b"],
                              ["backup", "verify", "-v", "--output", sandbox.directory / "b"], ["restore", "--input", sandbox.directory / "b/latest", "--yes", "--verify"], ["key", "show"]):
                result = sandbox.run(*arguments, **environment)
                printed.append(result.stdout + result.stderr)
            with Daemon(sandbox, **environment) as daemon:
                token = {"Authorization": "Bearer " + environment["ARAGORA_API_TOKEN"]}
                self.assertEqual(daemon.request("GET", "/api/debates")[0], 401)
                self.assertEqual(daemon.request("POST", "/api/debates", {"task": "x", "agents": ["demo-a", "demo-b"]}, token)[0], 200)
                self.assertEqual(daemon.request("GET", "/metrics", headers=token)[0], 403)
                status, _, metrics = daemon.request("GET", "/metrics", headers={"Authorization": "Bearer " + environment["ARAGORA_METRICS_TOKEN"]})
                self.assertEqual(status, 200)
                printed.append(metrics.decode())
                arguments = pathlib.Path(f"/proc/{daemon.process.pid}/cmdline").read_text()
                daemon.stop()
                printed.append(daemon.text() + arguments)
            password = url.split(":")[2].split("@")[0]
            for name, value in {**environment, "password": password}.items():
                if not (name == "password" or "KEY" in name or "SECRET" in name or "TOKEN" in name) or name.endswith("_AT"):
                    continue
                for text in printed:
                    self.assertNotIn(value, text, f"{name} was printed")


if __name__ == "__main__":
    main()
