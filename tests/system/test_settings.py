"""Settings and secrets as the world writes them: mounted by Kubernetes, saved by editors, typed twice. What is wrong is named as it was
written, once, shows what nobody sees, and nothing secret is printed."""
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import time
import unittest

from support import BINARY, SOURCE, Daemon, Sandbox, TinyDisk, free_port, main, strong_secret

BOM = "\ufeff"


def findings(sandbox, *arguments, **environment):
    document = sandbox.run_json("validate-env", "--offline", *arguments, **environment)
    return [f for check in document["checks"].values() for f in check["findings"] if f["status"] in ("error", "warning")]


class Settings(unittest.TestCase):
    def test_what_nobody_sees_in_a_secret_is_shown(self):
        cases = {BOM + "{}\n": "begins with a byte order mark (U+FEFF)", "{} \n": "ends with a blank (U+0020)", "{}\n\n": "ends with a line end (U+000A)",
                 "{}\u200b": "ends with a zero-width space (U+200B)", "{}\x00": "ends with a control character (U+0000)", "{}\r": "ends with a carriage return (U+000D)"}
        for text, shown in cases.items():
            for name in ("ARAGORA_API_TOKEN", "OPENROUTER_API_KEY", "ARAGORA_METRICS_TOKEN"):
                with self.subTest(f"{name} {shown}"), Sandbox() as sandbox:
                    secret = ("sk-or-" if "OPEN" in name else "") + strong_secret()
                    file = sandbox.write("secret", text.format(secret))
                    for command in ("validate-env", "serve"):
                        result = sandbox.run(command, check=78, **{f"{name}_FILE": str(file)})
                        self.assertIn(f"{name}_FILE: the value {shown}", result.stdout + result.stderr)
                        self.assertNotIn(secret, result.stdout + result.stderr)
        with Sandbox() as sandbox:  # what editors and echo add, on either system, is no part of it
            for end in ("", "\n", "\r\n"):
                file = sandbox.directory / "good"
                file.write_bytes((strong_secret() + end).encode())
                file.chmod(0o600)
                self.assertEqual([], [f for f in findings(sandbox, ARAGORA_API_TOKEN_FILE=str(file)) if "TOKEN" in f["message"]])

    def test_what_takes_the_limits_away_is_said_in_production(self):
        with Sandbox() as sandbox:
            for name, value, said in (("TRUSTED_PROXIES", "0.0.0.0/1,128.0.0.0/1", "128.0.0.0/1 trusts much of the world"), ("TRUSTED_PROXIES", "::/0", "::/0 trusts much"), ("TRUSTED_PROXIES", "10.0.0.0/8", ""),
                                      ("LOGIN_RATE_LIMIT", "0", "guessed without limit"), ("REGISTRATION", "true", "anybody may make an account"), ("IP_RATE_LIMIT", "0", "rate limiting is off")):
                with self.subTest(value=value):
                    messages = [f["message"] for f in findings(sandbox, "--only", "rate_limit", ARAGORA_ENV="production", **{f"ARAGORA_{name}": value})]
                    self.assertEqual([message for message in messages if said and said in message][:1] != [], said != "", messages)
                    self.assertEqual(len(messages) > 0, said != "", messages)

    def test_a_finding_names_what_was_written_and_once(self):
        with Sandbox() as sandbox:
            toml = sandbox.write("aragora.toml", '# ours\n[server]\nport = 70000\n[auth]\njwt_secret_file = "/no/such/secret"\n')
            found = findings(sandbox, ARAGORA_CONFIG=str(toml), ARAGORA_ENV="production")
            self.assertEqual(["server.port: '70000' is not a whole number from 0 to 65535"], [f["message"] for f in found if f["origin"] == f"{toml}:3"])
            secret = [f for f in found if "JWT" in f["message"] or "jwt" in f["message"]]
            self.assertEqual(["auth.jwt_secret_file: the file /no/such/secret cannot be read: No such file or directory"], [f["message"] for f in secret])
            self.assertIn(f"{toml}:5", secret[0]["origin"])
            for missing in ("ARAGORA_ENCRYPTION_KEY", "DATABASE_URL", "REDIS_URL"):
                found = findings(sandbox, ARAGORA_ENV="production", **{f"{missing}_FILE": "/no/such/secret"})
                self.assertEqual(1, len([f for f in found if f["message"].startswith((f"{missing}:", f"{missing}_FILE:"))]), found)
            twice = sandbox.write("twice.toml", "[server]\nport = 1\nworkers = 3\nport = 2\n")
            found = findings(sandbox, ARAGORA_CONFIG=str(twice))
            self.assertIn(("port is written twice (first in line 2)", f"{twice}:4"), [(f["message"].split(": ", 1)[1], f["origin"]) for f in found])

    def test_an_address_in_use_is_seen_and_our_own_daemon_is_not_a_stranger(self):
        with Sandbox() as sandbox, socket.socket() as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.listen()
            found = findings(sandbox, "--only", "listening", ARAGORA_PORT=str(stranger.getsockname()[1]), ARAGORA_ENV="production")
            self.assertEqual(["error"], [f["status"] for f in found])
            self.assertIn("Address already in use", found[0]["message"])
            found = findings(sandbox, "--only", "listening", ARAGORA_BIND_HOST="192.0.2.1")
            self.assertIn("this machine has no address 192.0.2.1", found[0]["message"])
            with Daemon(sandbox) as daemon:
                self.assertEqual([], findings(sandbox, "--only", "listening", ARAGORA_PORT=str(daemon.port), ARAGORA_ENV="production"))
            self.assertEqual([], findings(sandbox, "--only", "listening", ARAGORA_PORT=str(free_port()), ARAGORA_ENV="production"))

    def test_directories_that_later_commands_need(self):
        with Sandbox() as sandbox:
            file = sandbox.write("file", "")
            cases = {("state_directory", "is not a directory"): {"ARAGORA_STATE_DIR": str(file)},
                     ("backup_directory", "is not a directory"): {"ARAGORA_BACKUP_DIR": str(file / "backups")},
                     ("state_directory", "is a directory"): {"ARAGORA_SQLITE_PATH": str(sandbox.directory)}}
            for (check, message), environment in cases.items():
                with self.subTest(check + message):
                    found = findings(sandbox, "--only", check, **environment)
                    self.assertEqual(1, len(found), found)
                    self.assertIn(message, found[0]["message"])
                    self.assertTrue(found[0]["hint"])

    def test_a_state_directory_on_a_disk_that_is_read_only_is_seen_by_root_too(self):
        with Sandbox() as sandbox, TinyDisk(sandbox.directory / "disk") as disk:
            sandbox.prefix = disk.prefix
            disk.remount("ro")
            for directory in (disk.directory, disk.directory / "state"):
                found = findings(sandbox, "--only", "state_directory", ARAGORA_STATE_DIR=str(directory))
                self.assertEqual(["error"], [f["status"] for f in found])
                self.assertIn("Read-only file system", found[0]["message"])

    def test_a_malformed_encryption_key_is_not_answered_with_a_line_that_costs_the_right_one(self):
        with Sandbox() as sandbox:
            for key in ("abc", "0" * 64, strong_secret()[:63], "change-me"):
                file = sandbox.write("ARAGORA_ENCRYPTION_KEY", key)
                finding, = findings(sandbox, "--only", "encryption", ARAGORA_ENCRYPTION_KEY_FILE=str(file))
                self.assertNotIn(">", finding["hint"])
                self.assertNotIn("install", finding["hint"])
                self.assertIn("from where its copy is kept", finding["hint"])
            # Where there is none a line is given, which leaves one alone that lies there after all.
            hint = findings(sandbox, "--only", "encryption", ARAGORA_ENV="production")[0]["hint"]
            line, place = hint.split(", then")[0], str(sandbox.directory / "key")
            line = line.replace("/etc/aragora/credentials/ARAGORA_ENCRYPTION_KEY", place)
            subprocess.run(["sh", "-c", line], check=True)
            made = pathlib.Path(place).read_text()
            self.assertEqual((len(made.strip()), pathlib.Path(place).stat().st_mode & 0o777), (64, 0o600))
            self.assertNotEqual(subprocess.run(["sh", "-c", line], capture_output=True).returncode, 0)
            self.assertEqual(pathlib.Path(place).read_text(), made)

    def test_a_public_url_that_leads_elsewhere_than_the_base_path_is_said(self):
        with Sandbox() as sandbox:
            for url, path, wrong in (("https://a.example/aragora", "", "its path is /aragora, and everything is served below /"), ("https://a.example/aragora/", "/aragora", ""), ("https://a.example", "/aragora", "its path is /, and"),
                                     ("https://a.example/", "", ""), ("https://a.example:8443/x", "/aragora", "its path is /x, and everything is served below /aragora"), ("", "/aragora", "")):
                found = [f["message"] for f in findings(sandbox, "--only", "https", ARAGORA_BASE_URL=url, ARAGORA_BASE_PATH=path) if f["status"] == "warning"]
                self.assertEqual(len(found), 1 if wrong else 0, (url, path, found))
                self.assertTrue(not wrong or wrong in found[0], found)

    def test_continuous_backups_that_the_unit_forbids_are_seen_and_the_fix_is_a_drop_in(self):
        with Sandbox() as sandbox:
            units = sandbox.directory / "units"
            (units / "aragora.service.d").mkdir(parents=True)
            shutil.copy(SOURCE / "systemd/aragora.service", units)
            (units / "aragora.service.d/user.conf").write_text(f"[Service]\nUser=\nEnvironmentFile=\nLoadCredential=\nEnvironment=ARAGORA_CONFIG={sandbox.write('aragora.toml', '[backup]' + chr(10) + 'continuous = true' + chr(10))}\n")
            looks = lambda: [f for f in findings(sandbox, "--only", "backup_directory", "--unit", "aragora", SYSTEMD_UNIT_PATH=str(units)) if f["status"] == "error"]
            finding, = looks()
            self.assertIn("aragora.service lets the daemon only read /var/lib/aragora/backups", finding["message"])
            self.assertEqual(finding["origin"], f"{sandbox.directory}/aragora.toml:2")
            drop_in = finding["hint"].split(" && systemctl daemon-reload")[0].replace("/etc/systemd/system", str(units))
            subprocess.run(["sh", "-c", drop_in], check=True)
            self.assertEqual((units / "aragora.service.d/continuous.conf").read_text(), "[Service]\nReadOnlyPaths=\n")
            self.assertEqual(looks(), [])
            # Elsewhere than in the state directory the unit must be told of it, too.
            sandbox.write("aragora.toml", '[backup]\ncontinuous = true\ndirectory = "/srv/aragora"\n')
            finding, = looks()
            subprocess.run(["sh", "-c", finding["hint"].split(" && systemctl daemon-reload")[0].replace("/etc/systemd/system", str(units))], check=True)
            self.assertEqual((units / "aragora.service.d/continuous.conf").read_text(), "[Service]\nReadOnlyPaths=\nReadWritePaths=/srv/aragora\n")
            self.assertEqual(looks(), [])

    def test_what_is_no_file_holds_neither_a_start_nor_a_reload(self):
        """A named pipe that nobody writes to: opening it waits, and no signal ends that."""
        with Sandbox() as sandbox:
            pipe = sandbox.directory / "pipe"
            os.mkfifo(pipe, 0o600)
            certificates = {"ARAGORA_TLS_CERT_PATH": str(pipe), "ARAGORA_TLS_KEY_PATH": str(pipe)}
            for arguments, environment in (([], {"ARAGORA_CONFIG": str(pipe)}), (["--config", str(pipe)], {}), (["--env-file", str(pipe)], {}), ([], {"JWT_SECRET_FILE": str(pipe)}),
                                           ([], {"DATABASE_URL_FILE": str(pipe)}), ([], {"CREDENTIALS_DIRECTORY": str(sandbox.directory), "JWT_SECRET_FILE": str(sandbox.directory / "pipe")})):
                for command in ("serve", "validate-env"):
                    refused = sandbox.run(*arguments, command, check=78, timeout=10, ARAGORA_PORT=str(free_port()), **environment)
                    self.assertIn(str(pipe), refused.stdout + refused.stderr)
            self.assertIn(str(pipe), sandbox.run("validate-env", "--offline", timeout=10, **certificates).stdout)
            self.assertIn("is a directory", sandbox.run("serve", check=78, timeout=10, ARAGORA_CONFIG=str(sandbox.directory)).stderr)

    def test_a_reload_that_meets_a_pipe_is_refused_and_a_stop_is_not_kept(self):
        with Sandbox() as sandbox:
            config = sandbox.write("aragora.toml", "[server]\n")
            with Daemon(sandbox, ARAGORA_CONFIG=str(config)) as daemon:
                config.unlink()
                os.mkfifo(config, 0o600)
                daemon.process.send_signal(signal.SIGHUP)
                deadline = time.monotonic() + 10
                while "named pipe" not in daemon.text():
                    self.assertLess(time.monotonic(), deadline, daemon.text())
                    time.sleep(0.02)
                self.assertEqual(daemon.get("/api/health")[0], 200)
                began = time.monotonic()
                self.assertEqual(daemon.stop(), 0)
                self.assertLess(time.monotonic() - began, 5)

    def test_a_reload_over_what_a_shell_handed_over_changes_nothing_and_holds_nothing(self):
        """Process substitution gives what it has once; a reload that took the empty pipe for an empty file would undo the configuration."""
        for given in ("--config <(echo '[server]'; echo 'drain_seconds = 7')", "--env-file <(env | grep ARAGORA_; echo ARAGORA_DRAIN_SECONDS=7)"):
            with self.subTest(given), Sandbox() as sandbox:
                sandbox.prefix = ["bash", "-c", f'exec "$0" {given} "$@"']
                with Daemon(sandbox) as daemon:
                    for turn in range(1, 3):
                        daemon.process.send_signal(signal.SIGHUP)
                        deadline = time.monotonic() + 10
                        while daemon.text().count("the configuration was not reloaded") < turn:
                            self.assertLess(time.monotonic(), deadline, daemon.text())
                            time.sleep(0.02)
                    self.assertIn("holds nothing", daemon.text())
                    self.assertNotIn("after a restart only", daemon.text())
                    self.assertEqual(daemon.get("/api/health")[0], 200)
                    began = time.monotonic()
                    self.assertEqual(daemon.stop(), 0)
                    self.assertLess(time.monotonic() - began, 5)

    def test_authorities_that_are_a_pipe_hold_no_debate_and_no_stop(self):
        with Sandbox(OPENAI_API_KEY="sk-test-0123456789abcdef", ARAGORA_OPENAI_BASE_URL="https://localhost:1/v1", ARAGORA_DRAIN_SECONDS="1") as sandbox:
            pipe = sandbox.directory / "pipe"
            os.mkfifo(pipe, 0o600)
            with Daemon(sandbox, SSL_CERT_FILE=str(pipe)) as daemon:
                _, made = daemon.post("/api/debates", {"task": "who", "agents": ["openai", "openai"], "rounds": 0, "deadline_seconds": 5})
                self.assertEqual(daemon.wait_finished(made["debate_id"])["status"], "failed")
                began = time.monotonic()
                self.assertEqual(daemon.stop(), 0)
                self.assertLess(time.monotonic() - began, 5)

    def test_a_start_that_waits_for_a_pipe_is_ended_by_a_signal(self):
        with Sandbox() as sandbox:
            reading, writing = os.pipe()
            process = subprocess.Popen([BINARY, "serve"], env={**sandbox.environment, "ARAGORA_CONFIG": f"/dev/fd/{reading}"}, pass_fds=[reading], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                # It waits when it has opened the pipe once more.
                opened = lambda: sum(os.readlink(link) == os.readlink(f"/proc/self/fd/{reading}") for link in pathlib.Path(f"/proc/{process.pid}/fd").iterdir()) > 1
                deadline = time.monotonic() + 10
                while not opened():
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.01)
                process.terminate()
                self.assertEqual(process.wait(3), 0, process.stdout.read())
            finally:
                process.kill()
                process.wait()
                process.stdout.close()
                os.close(reading)
                os.close(writing)

    def test_what_a_shell_hands_over_is_read(self):
        """Process substitution: a pipe without a name."""
        with Sandbox() as sandbox:
            shell = lambda script, **environment: subprocess.run(["bash", "-c", script], env={**sandbox.environment, **environment}, capture_output=True, text=True, timeout=30)
            for script in (f"{BINARY} --config <(echo '[server]'; sleep 0.2; echo 'port = 8123') config show", f"{BINARY} --env-file <(echo ARAGORA_PORT=8123) config show",
                           f"echo -e '[server]\\nport = 8123' | {BINARY} --config /dev/stdin config show"):
                shown = shell(script)
                self.assertEqual(shown.returncode, 0, shown.stderr)
                self.assertIn("8123", shown.stdout)
            secret = shell(f"JWT_SECRET_FILE=<(openssl rand -hex 32) {BINARY} validate-env --offline")
            self.assertNotIn("regular file", secret.stdout + secret.stderr)
            self.assertNotIn("holds nothing", secret.stdout + secret.stderr)
            self.assertIn("is a pipe that holds nothing", shell(f"{BINARY} --config <(false) config show").stderr)
            self.assertEqual(shell(f"{BINARY} --config /dev/null config show").returncode, 0)

    def test_no_message_shows_a_secret_and_no_word_is_eaten(self):
        private = "AGE-SECRET-KEY-1" + secrets.token_hex(29).upper()
        with Sandbox() as sandbox:
            sandbox.run("migrate")
            for environment in ({"ARAGORA_BACKUP_RECIPIENTS": private}, {"DATABASE_URL": "postgresql://u:Zx81@spectrum@127.0.0.1:1/x"}, {"REDIS_URL": "redis://:Zx81@spectrum@127.0.0.1:1", "ARAGORA_MULTI_INSTANCE": "true"}):
                for arguments in (["validate-env", "-v"], ["validate-env", "--json"], ["config", "show", "--origin"], ["config", "show", "--json"], ["backup"], ["serve"], ["migrate", "status", "-v"]):
                    if arguments == ["serve"] and "ARAGORA_BACKUP_RECIPIENTS" in environment:
                        continue  # it serves: the key is a matter of backups
                    result = sandbox.run(*arguments, **environment)
                    for secret in (private[16:], "Zx81"):
                        self.assertNotIn(secret, result.stdout + result.stderr, arguments)
            result = sandbox.run("config", "show", check=78, JWT_SECRET_FILE="/no/such/JWT_SECRET")
            self.assertIn("/no/such/JWT_SECRET cannot be read: No such file or directory", result.stderr)
            self.assertNotIn("redacted›", result.stderr)


if __name__ == "__main__":
    main()
