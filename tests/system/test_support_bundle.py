"""The support bundle: what is in it, with everything alive and with everything dead, and that no secret is."""
import base64
import json
import os
import secrets
import subprocess
import tarfile
import time
import unittest
import urllib.parse
import uuid

from receivers import Receiver, wait_for
from support import Authority, Daemon, Sandbox, free_port, main, sqlite_deployment, strong_secret
from test_canaries import Canaries, password
from test_reload import authority

PIECES = {"version.json", "settings.json", "checks.json", "migrations.json", "backups.json", "backup-status.json", "drills.json", "keys.json", "notify.json"}

# In parts: no scanner is to take this source for a key.
BEGIN = "-----BEGIN " + "PRIVATE KEY-----"


# systemd has these; no list of ours does.
INSTANCES = ["aragora@8081.service", "aragora-notify@aragora-backup.service.service"]


class Bundle:
    def __init__(self, sandbox, *arguments, name=None, **environment):
        self.file = sandbox.directory / (name or f"case-{secrets.token_hex(4)}.tar.gz")
        started = time.monotonic()
        self.result = sandbox.run("support-bundle", "--output", self.file, *arguments, "--json", check=0, timeout=180, **environment)
        self.seconds = time.monotonic() - started
        self.document = json.loads(self.result.stdout)
        self.files = {}
        with tarfile.open(self.file) as archive:
            for member in archive.getmembers():
                assert member.isfile() or member.isdir(), member
                assert not member.name.startswith(("/", "..")) and member.mode & 0o077 == 0, member
                if member.isfile():
                    self.files[member.name.split("/", 1)[1]] = archive.extractfile(member).read()

    def json(self, name):
        return json.loads(self.files[name])

    def missing(self):
        return {one["name"]: one["why"] for one in self.json("contents.json")["not_taken"]}


class SupportBundle(unittest.TestCase):
    def programs(self, sandbox, journal):
        """systemd's, which a test's machine may not run: what they say has secrets in it."""
        directory = sandbox.directory / "programs"
        sandbox.write("programs/journal.txt", journal)
        sandbox.write("programs/journalctl", f'#!/bin/sh\nexec cat "{directory}/journal.txt"\n', 0o755)
        sandbox.write("programs/list-units.txt", "".join(f"{unit} loaded failed failed Aragora\n" for unit in ("aragora.service", *INSTANCES, "aragora-8081.mount", "aragora/../../x.service")))
        sandbox.write("programs/systemctl", f'#!/bin/sh\nif [ "$1" = list-units ]; then exec cat "{directory}/list-units.txt"; fi\necho "Id=aragora.service\nActiveState=failed\n$*"\n', 0o755)
        return {"PATH": f"{directory}:{os.environ['PATH']}"}

    def test_it_has_what_is_said_of_a_living_daemon_and_no_secret_wherever_it_was_planted(self):
        canaries = Canaries()
        plant = canaries.plant
        database, ping = plant("database password", password()), plant("ping", str(uuid.uuid4()))
        token, unset, metrics = plant("API token", strong_secret()), plant("a key of a provider", "sk-ant-api03-" + secrets.token_hex(20)), plant("metrics token", strong_secret())
        credential = plant("a credential", "sk-or-v1-" + secrets.token_hex(20))
        with Receiver() as receiver, sqlite_deployment(ARAGORA_API_TOKEN=token, ARAGORA_METRICS_TOKEN=metrics, ARAGORA_NOTIFY_BACKUP_PING_URL=f"{receiver.url}/{ping}") as sandbox:
            plant("encryption key", sandbox.environment["ARAGORA_ENCRYPTION_KEY"], bytes.fromhex(sandbox.environment["ARAGORA_ENCRYPTION_KEY"]))
            toml = sandbox.write("aragora.toml", f'[auth]\njwt_secret = "{plant("JWT secret", secrets.token_urlsafe(40))}"\n[notify]\nsmtp_password = "{plant("SMTP password", password())}"\n')
            sandbox.write("credentials/OPENROUTER_API_KEY", credential)
            sandbox.environment.update({"ARAGORA_CONFIG": str(toml), "CREDENTIALS_DIRECTORY": str(sandbox.directory / "credentials"), "SOMEBODY_ELSES_SECRET": unset})
            sandbox.run("backup", "create", check=0)
            escaped = urllib.parse.quote(database, safe="")
            lines = [f"connecting to postgresql://aragora:{escaped}@db/aragora", f"host=db user=aragora password='{database}' dbname=aragora", f"Authorization: Bearer {token}", f"x-api-key: {unset}", f"GET /{ping} failed",
                     f'{{"token": "{metrics}"}}', f"the key is {sandbox.environment['ARAGORA_ENCRYPTION_KEY']}!", f"login {canaries.planted['SMTP password']}", f"?key={urllib.parse.quote(canaries.planted['SMTP password'], safe='')}", f"{credential} in the middle", "an ordinary line stays"]
            log = sandbox.write("app.log", "\n".join(lines) + "\n" + "x" * 3_000_000 + "\n" + "\n".join(lines) + "\n")
            path = self.programs(sandbox, "\n".join(f"2026-11-28T02:30:01+0000 host aragora[7]: {line}" for line in lines) + "\n")
            with Daemon(sandbox) as daemon:
                bundle = Bundle(sandbox, "--log", log, ARAGORA_PORT=str(daemon.port), **path)
            self.assertEqual(bundle.file.stat().st_mode & 0o777, 0o600)
            for name, data in {**bundle.files, "output": bundle.result.stdout.encode() + bundle.result.stderr.encode()}.items():
                self.assertEqual(canaries.found(data), set(), f"{name}:\n{data.decode(errors='replace')[:3000]}")
            self.assertLessEqual(PIECES | {"metrics.txt", "health.json", "ready.json", "units.txt", "logs/aragora.service.txt", "logs/1-app.log", "contents.json"}, set(bundle.files), bundle.missing())
            self.assertEqual(bundle.json("settings.json")["settings"]["auth.jwt_secret"]["origin"], f"{toml}:2")
            self.assertIn(b"aragora_backups{", bundle.files["metrics.txt"])
            self.assertEqual(bundle.json("health.json")["status"], "healthy")
            self.assertGreaterEqual(len(bundle.json("backups.json")["backups"]), 1)
            self.assertIn("checks_total", bundle.json("checks.json"))
            units = {"aragora.service", "aragora-backup.service", *INSTANCES}
            self.assertLessEqual(units, set(bundle.files["units.txt"].decode().split()))
            for unit in units:
                self.assertIn(b"an ordinary line stays", bundle.files[f"logs/{unit}.txt"])
            self.assertEqual([name for name in (*bundle.files, *bundle.missing()) if "mount" in name or "x.service" in name], [])
            self.assertTrue(bundle.files["logs/1-app.log"].startswith(b"[the first "))
            self.assertLess(len(bundle.files["logs/1-app.log"]), 2_200_000)
            self.assertEqual({one["name"] for one in bundle.json("contents.json")["taken"]}, set(bundle.files) - {"contents.json"})
            self.assertEqual(receiver.paths(), [f"/{ping}/start", f"/{ping}"], "nothing goes out but what the backup said")
            sandbox.run("support-bundle", "--output", bundle.file, check=73)

    def test_it_is_made_with_everything_dead_and_says_so(self):
        with Sandbox(ARAGORA_ENV="production", DATABASE_URL=f"postgresql://aragora:n0t-the-sample-pw@127.0.0.1:{free_port()}/aragora", ARAGORA_PORT=str(free_port()), ARAGORA_ENCRYPTION_KEY=strong_secret()) as sandbox:
            bundle = Bundle(sandbox, "--log", "/no/such/log", PATH="/usr/bin:/bin")
            self.assertIn("Connection refused", bundle.missing()["metrics.txt"])
            self.assertIn("/no/such/log", bundle.missing()["logs/1-log"])
            self.assertIn("logs/aragora-backup.service.txt", {**bundle.files, **bundle.missing()})
            self.assertEqual(bundle.json("migrations.json")["error"]["code"], "DEPENDENCY_UNREACHABLE")
            self.assertFalse(bundle.json("checks.json")["final_valid"])
            self.assertLess(bundle.seconds, 100)
        with Sandbox() as sandbox:
            sandbox.environment["ARAGORA_CONFIG"] = str(sandbox.write("broken.toml", f"[server\nport = 1\n[auth]\njwt_secret = '{(secret := strong_secret())}'\n"))
            bundle = Bundle(sandbox)
            self.assertTrue(bundle.json("settings.json")["problems"])
            self.assertEqual(bundle.json("migrations.json")["error"]["code"], "CONFIG_INVALID")
            self.assertFalse(any(secret.encode() in data for data in bundle.files.values()))

    def test_a_daemon_that_speaks_tls_is_known_by_its_certificate(self):
        metrics = strong_secret()
        with Authority("aragora.example") as authority, Authority("aragora.example") as other, sqlite_deployment(ARAGORA_TLS_CERT_PATH=str(authority.certificate), ARAGORA_TLS_KEY_PATH=str(authority.key), ARAGORA_METRICS_TOKEN=metrics) as sandbox:
            with Daemon(sandbox, wait=False) as daemon:
                wait_for(lambda: "listens on" in daemon.text(), daemon.text)
                bundle = Bundle(sandbox, ARAGORA_PORT=str(daemon.port))
                self.assertEqual(bundle.json("health.json")["status"], "healthy", bundle.missing())
                self.assertIn(b"aragora_backups{", bundle.files["metrics.txt"])
                self.assertIn("ready.json", bundle.files)
                renewed = Bundle(sandbox, ARAGORA_PORT=str(daemon.port), ARAGORA_TLS_CERT_PATH=str(other.certificate), ARAGORA_TLS_KEY_PATH=str(other.key))
                self.assertIn("shows another certificate", renewed.missing()["metrics.txt"])
                self.assertIn("aragora reload", renewed.missing()["health.json"])
        # Somebody else behind that port hears nothing, least of all the token.
        with Authority() as authority, Authority() as other, Receiver(authority=other) as thief, Sandbox(ARAGORA_TLS_CERT_PATH=str(authority.certificate), ARAGORA_TLS_KEY_PATH=str(authority.key), ARAGORA_METRICS_TOKEN=metrics, ARAGORA_PORT=str(thief.port)) as sandbox:
            self.assertIn("shows another certificate", Bundle(sandbox).missing()["metrics.txt"])
            self.assertEqual(thief.requests, [])

    def test_an_expired_certificate_keeps_nothing_back(self):
        with sqlite_deployment() as sandbox:
            certificate, key = authority(sandbox.directory, "expiring")
            sandbox.environment.update({"ARAGORA_TLS_CERT_PATH": str(certificate), "ARAGORA_TLS_KEY_PATH": str(key)})
            with Daemon(sandbox, wait=False) as daemon:
                wait_for(lambda: "listens on" in daemon.text(), daemon.text)
                file = sandbox.directory / "later.tar.gz"
                sandbox.run("support-bundle", "--output", file, check=0, clock="+3d", ARAGORA_PORT=str(daemon.port))
                with tarfile.open(file) as archive:
                    self.assertTrue(any(member.name.endswith("/health.json") for member in archive.getmembers()))

    def test_configured_secrets_of_any_look_are_in_it_in_no_form(self):
        plain, short, path, url = "lowercasewords", "zqvx", "hooks/blue/lagoon", "qd/j k"
        # None of them is known by its look or by a name beside it.
        told = {
            "plain": [plain, f"x{plain}y", base64.b64encode(f"me:{plain}".encode()).decode(), plain.encode().hex()],
            "short": [f"login as {short} failed", f"({short})", f"a%3D{short}", base64.b64encode(f"user:{short}".encode()).decode()],
            "path": [f"POST /{path} failed", f"at {urllib.parse.quote('/' + path, safe='')} x"],
            "url": [f"login {url} failed", f"{urllib.parse.quote(url, safe='')}", f"{urllib.parse.quote(url, safe='').lower()}", json.dumps(url), json.dumps(url).replace("/", "\\/")],
        }
        lines = [line for some in told.values() for line in some]
        key = "".join(f"MIIEvQ{number:02}ADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n" for number in range(12))
        with Sandbox(ARAGORA_NOTIFY_SMTP_PASSWORD=short, ARAGORA_API_TOKEN=plain, ARAGORA_NOTIFY_WEBHOOK_URL=f"http://127.0.0.1:{free_port()}/{path}", DATABASE_URL=f"postgresql://aragora:{urllib.parse.quote(url, safe='')}@127.0.0.1:{free_port()}/aragora", ARAGORA_PORT=str(free_port())) as sandbox:
            log = sandbox.write("app.log", "\n".join(lines) + f"\nCLIENT_SECRET=\nTLS_KEY={BEGIN}\n{key}-----END PRIVATE KEY-----\nzqvxing stays\n")
            cut = sandbox.write("cut.log", f"{BEGIN}\n" + key * 3000 + "-----END PRIVATE KEY-----\nan ordinary line\n")
            document = sandbox.write("document.json", json.dumps({"password": "unconfigured"}))
            pipe = sandbox.directory / "pipe"
            os.mkfifo(pipe)
            endless = ["/dev/zero", "/proc/kmsg", "/dev/kmsg", str(pipe), str(sandbox.directory)]
            logs = [argument for file in (log, cut, document, *endless) for argument in ("--log", file)]
            # Neither name is an option of tar's.
            bundle = Bundle(sandbox, *logs, name="--checkpoint-action=exec=touch pwned.tar.gz", PATH="/usr/bin:/bin")
            everything = "\n".join(data.decode(errors="replace") for data in bundle.files.values())
            shown = bundle.files["logs/1-app.log"].decode()
            for some, lines in told.items():
                for line in lines:
                    self.assertNotIn(f"\n{line}\n", f"\n{everything}\n", some)
            for secret in (plain, path, url):
                self.assertNotIn(secret, everything)
            self.assertNotIn("Us8cKj", everything)
            self.assertNotIn("unconfigured", bundle.files["logs/3-document.json"].decode())
            self.assertIn("CLIENT_SECRET=\nTLS_KEY=‹redacted›\nzqvxing stays\n", shown)
            self.assertTrue(bundle.files["logs/2-cut.log"].decode().endswith("an ordinary line\n"))
            for number, file in enumerate(endless, 4):
                self.assertIn(file, bundle.missing()[f"logs/{number}-{os.path.basename(file)}"])
            self.assertLess(bundle.seconds, 100)
            self.assertGreater(len(Bundle(sandbox, name="-h.tar.gz", PATH="/usr/bin:/bin").files), 10)
            self.assertEqual([path.name for path in sandbox.directory.rglob("pwned*")], [])


if __name__ == "__main__":
    main()
