"""aragora reload: many at once and beside who says nothing, what it blames, what it lets pass, and whom it sends where."""
import os
import pathlib
import socket
import subprocess
import time
import unittest

from support import Authority, Daemon, Sandbox, clock_at, free_port, main


def authority(directory, name, clock="+0", days=1):
    """A certificate for localhost, made when the clock was there, and its key."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    Authority.run("env", *(f"{k}={v}" for k, v in clock_at(clock).items()), "openssl", "req", "-x509", "-newkey", *Authority.EC, "-nodes", "-days", days, "-subj", "/CN=localhost",
                  "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate)
    return certificate, key


class Crowd(unittest.TestCase):
    def test_forty_at_once_beside_those_who_say_nothing(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            control = str(sandbox.directory / "state/control.sock")
            silent = [socket.socket(socket.AF_UNIX) for _ in range(8)]
            for one in silent:
                one.connect(control)
            silent[0].sendall(b"{")
            started = time.monotonic()
            sandbox.run("reload", check=0)
            self.assertLess(time.monotonic() - started, 4.5, "nobody waits for them")
            crowd = [subprocess.Popen([sandbox.binary, "reload"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(40)]
            said = [one.communicate(timeout=90)[0] for one in crowd]
            self.assertEqual([one.returncode for one in crowd], [0] * 40, "".join(said))
            self.assertEqual(daemon.text().count("configuration reloaded"), 41)
            for one in silent:
                one.settimeout(20)
                self.assertEqual(one.recv(10), b"", "each has a while for his question")
                one.close()
            # Whoever waits is no reason to stop late.
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(control)
                started = time.monotonic()
                self.assertEqual(daemon.stop(), 0)
                self.assertLess(time.monotonic() - started, 4.5)

    def test_a_queue_that_is_full_is_no_daemon_that_is_away(self):
        with Sandbox() as sandbox, socket.socket(socket.AF_UNIX) as full:
            path = sandbox.directory / "control.sock"
            full.bind(str(path))
            full.listen(0)
            with socket.socket(socket.AF_UNIX) as first:
                first.connect(str(path))
                said = sandbox.run("reload", "--socket", path, "--timeout", "1", check=69).stderr
                self.assertIn("the daemon is busy", said)
                self.assertNotIn("no daemon", said)


class Certificates(unittest.TestCase):
    def configure(self, sandbox, certificate, key, more=""):
        sandbox.environment["ARAGORA_CONFIG"] = str(sandbox.write("aragora.toml", f'[server]\n{more}\n[server.tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'))
        return sandbox.environment["ARAGORA_CONFIG"]

    def test_a_key_that_is_broken_is_blamed_and_not_the_certificate(self):
        with Sandbox() as sandbox:
            certificate, key = authority(sandbox.directory, "tls", days=90)
            config = self.configure(sandbox, certificate, key)
            with Daemon(sandbox, wait=False) as daemon:
                while "listens on" not in daemon.text():
                    self.assertIsNone(daemon.process.poll(), daemon.text())
                    time.sleep(0.05)
                right = key.read_bytes()
                for wrong in (b"nonsense\n", b"", right[:80]):
                    key.write_bytes(wrong)
                    refused = sandbox.run("reload", check=78).stderr
                    self.assertIn(f"{config}:5", refused)
                    self.assertNotIn(f"{config}:4", refused)
                    self.assertRegex(refused, r"(server\.tls\.key|ARAGORA_TLS_KEY_PATH): ")
                key.write_bytes(right)
                certificate.write_bytes(b"nonsense\n")
                self.assertIn(f"{config}:4", sandbox.run("reload", check=78).stderr)

    def test_one_that_expired_while_it_ran_keeps_nothing_else_back_and_a_new_one_that_did_is_refused(self):
        with Sandbox() as sandbox:
            span = 20
            certificate, key = authority(sandbox.directory, "tls", clock=str(span - 86400))
            ends = time.time() + span
            self.configure(sandbox, certificate, key)
            with Daemon(sandbox, wait=False) as daemon:
                while "listens on" not in daemon.text():
                    self.assertIsNone(daemon.process.poll(), daemon.text())
                    time.sleep(0.05)
                time.sleep(max(0.0, ends + 1.5 - time.time()))  # a certificate ends when it ends
                self.configure(sandbox, certificate, key, 'allowed_origins = ["https://new.example"]')
                told = sandbox.run_json("reload", check=0)
                self.assertEqual(told["applied"], ["server.allowed_origins"])
                self.assertRegex("\n".join(told["warnings"]), "the certificate expired on")
                self.assertIn("the certificate expired on", sandbox.run("reload", check=0).stdout)
                old = certificate.read_bytes(), key.read_bytes()
                other = authority(sandbox.directory, "other", clock="-3d")
                for file, source in zip((certificate, key), other):
                    file.write_bytes(source.read_bytes())
                self.assertIn("the certificate expired on", sandbox.run("reload", check=78).stderr)
                certificate.write_bytes(old[0])
                key.write_bytes(old[1])
                sandbox.run("reload", check=0)
                fresh = authority(sandbox.directory, "fresh", days=90)
                for file, source in zip((certificate, key), fresh):
                    file.write_bytes(source.read_bytes())
                self.assertEqual(sandbox.run_json("reload", check=0)["warnings"], [])


class Words(unittest.TestCase):
    def test_what_was_not_set_is_called_that(self):
        with Sandbox() as sandbox:
            config = sandbox.write("aragora.toml", "[server]\n")
            sandbox.environment["ARAGORA_CONFIG"] = str(config)
            with Daemon(sandbox):
                config.write_text('[server]\npublic_url = "https://aragora.example"\n')
                self.assertEqual(sandbox.run_json("reload", check=0)["after_restart"], ["server.public_url (not set now, https://aragora.example in the configuration)"])

    def test_what_only_systemd_hands_over_is_called_as_old_as_the_start(self):
        with Sandbox() as sandbox:
            copy = sandbox.write("handed/aragora_OPENAI_API_KEY", "sk-" + "a" * 40 + "\n")
            sandbox.environment["CREDENTIALS_DIRECTORY"] = str(copy.parent)
            with Daemon(sandbox) as daemon:
                told = sandbox.run_json("reload", check=0)
                self.assertEqual((told["as_at_start"], told["after_restart"]), (["providers.openai_api_key"], []))
                self.assertIn("as old as the start; restart to take new ones: providers.openai_api_key", sandbox.run("reload", check=0).stdout)
                self.assertIn("as old as the start: providers.openai_api_key", daemon.text())

    def test_a_file_that_was_emptied_or_cut_is_no_success(self):
        with Sandbox() as sandbox:
            secret = sandbox.write("token", "t0ken-of-some-length-and-more-0123456789\n")
            whole = f'[server]\nallowed_origins = ["https://a.example"]\npublic_url = "https://a.example"\n[auth]\napi_token_file = "{secret}"\n'
            config = sandbox.write("aragora.toml", whole)
            sandbox.environment["ARAGORA_CONFIG"] = str(config)
            with Daemon(sandbox) as daemon:
                before = daemon.text().count("configuration reloaded")
                for emptied in ("", "\n\n", "# all of it\n", "[server]\n"):
                    config.write_text(emptied)
                    said = sandbox.run("reload", check=78).stderr
                    self.assertIn(f"{config} says nothing any more, and said 3 settings before", said)
                    self.assertIn("put the file back", said)
                config.write_text(whole[:40])
                self.assertIn("aragora.toml:2", sandbox.run("reload", check=78).stderr, "within a line")
                config.unlink()
                sandbox.run("reload", check=78)
                self.assertEqual(daemon.text().count("configuration reloaded"), before, "nothing of it was taken")
                config.write_text(whole[:whole.index("[auth]")])
                told = sandbox.run_json("reload", check=0)
                self.assertEqual(told["warnings"], [f"{config} no longer says anything of auth.api_token: was it cut?"])
                config.write_text(whole)
                self.assertEqual(sandbox.run_json("reload", check=0)["warnings"], [])

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_another_user_is_sent_to_this_configuration(self):
        with Sandbox() as sandbox:
            sandbox.directory.chmod(0o755)
            config = sandbox.write("here.toml", "[server]\n", 0o644)
            sandbox.environment.update({"ARAGORA_CONFIG": str(config), "ARAGORA_PORT": str(free_port())})
            binary = sandbox.directory / "aragora"  # where everybody may run it
            binary.write_bytes(pathlib.Path(sandbox.binary).read_bytes())
            binary.chmod(0o755)
            with Daemon(sandbox):
                sandbox.prefix, sandbox.binary = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], str(binary)
                self.assertIn(f"sudo aragora --config {config} reload", sandbox.run("reload", check=77).stderr)
                sandbox.prefix = []


if __name__ == "__main__":
    main()
