"""People are told: by real receivers, of what really fails, once, also when nobody listens at first; and no secret goes out."""
import fcntl
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import time
import unittest
import uuid

from receivers import MailReceiver, Receiver, Scripted, Silent, wait_for
from support import Authority, Daemon, Sandbox, free_port, main, sqlite_deployment, with_hosts

KEY = secrets.token_hex(32)


def told(sandbox):
    return sandbox.run_json("notify", "status", check=0)


class Test(unittest.TestCase):
    """aragora notify test."""

    def test_nothing_configured_is_said_and_is_not_ok(self):
        with Sandbox() as sandbox:
            self.assertIn("no channel of [notify] is configured", sandbox.run("notify", "test", check=78).stderr)
            self.assertIn("nobody is told", sandbox.run("notify", "status", check=0).stdout)
            with_ping = {"ARAGORA_NOTIFY_DRILL_PING_URL": "http://127.0.0.1:9/x"}
            self.assertIn("webhook is not configured", sandbox.run("notify", "test", "--channel", "webhook", check=78, **with_ping).stderr)
            sandbox.run("notify", "test", "--channel", "telegram", check=64)

    def test_a_webhook_is_signed_and_the_answer_is_shown(self):
        for key in (KEY, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" + secrets.token_hex(8)):
            with Receiver(key) as receiver, Sandbox(ARAGORA_NOTIFY_WEBHOOK_URL=f"{receiver.url}/hooks/{uuid.uuid4()}", ARAGORA_NOTIFY_WEBHOOK_KEY=key) as sandbox:
                result = sandbox.run("notify", "test", check=0)
                self.assertIn(f"✓ webhook (127.0.0.1:{receiver.port}): 200 thank you", result.stdout)
                request, = receiver.requests
                self.assertTrue(request["signed"], request)
                event = json.loads(request["body"])
                self.assertEqual((event["kind"], event["state"], event["id"], event["schema_version"]), ("test", "test", request["headers"]["webhook-id"], 1))
                receiver.key = secrets.token_hex(32)
                sandbox.run("notify", "test", check=0)
                self.assertFalse(receiver.requests[-1]["signed"], "the receiver's check bites")

    def test_what_answers_500_twice_is_asked_a_third_time_and_a_refusal_is_69(self):
        with Receiver(KEY) as receiver, Sandbox(ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=KEY) as sandbox:
            receiver.answers = [500, 503]
            document = sandbox.run_json("notify", "test", check=0)
            self.assertEqual([(c["delivered"], c["tries"]) for c in document["channels"]], [(True, 3)])
            self.assertEqual(len({request["headers"]["webhook-id"] for request in receiver.requests}), 1, "a receiver can tell that it is the same")
            self.assertTrue(all(request["signed"] for request in receiver.requests))
            receiver.answers = [404]
            self.assertIn("404 not now", sandbox.run("notify", "test", check=69).stdout)
            receiver.answers = [302]
            self.assertIn("redirects are not followed", sandbox.run("notify", "test", check=69).stdout)
            self.assertEqual(told(sandbox)["kept"], [], "a test is nothing to be kept")
        with Sandbox(ARAGORA_NOTIFY_WEBHOOK_URL=f"http://127.0.0.1:{free_port()}/", ARAGORA_NOTIFY_WEBHOOK_KEY=KEY) as sandbox:
            self.assertIn("Connection refused", sandbox.run("notify", "test", check=69).stdout)

    def test_what_hangs_has_a_deadline(self):
        with Silent() as silent, Sandbox(ARAGORA_NOTIFY_WEBHOOK_URL=f"http://127.0.0.1:{silent.port}/", ARAGORA_NOTIFY_WEBHOOK_KEY=KEY) as sandbox:
            started = time.monotonic()
            self.assertIn("no answer in time", sandbox.run("notify", "test", check=69).stdout)
            self.assertLess(time.monotonic() - started, 35)

    def test_tls_is_verified(self):
        with Authority() as authority, Receiver(KEY, authority) as receiver, Sandbox(ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=KEY) as sandbox:
            self.assertIn("not signed by anybody trusted here", sandbox.run("notify", "test", check=69).stdout)
            self.assertEqual(receiver.requests, [])
            sandbox.run("notify", "test", check=0, SSL_CERT_FILE=str(authority.file))
            self.assertTrue(receiver.requests[0]["signed"])


class Unit(unittest.TestCase):
    """aragora notify unit, with systemd's programs played by scripts; test_service_manager has the real ones."""

    def programs(self, sandbox, show="", journal=""):
        directory = sandbox.directory / "programs"
        for name, text in (("systemctl", show), ("journalctl", journal)):
            sandbox.write(f"programs/{name}.txt", text)
            sandbox.write(f"programs/{name}", f'#!/bin/sh\nexec cat "{directory}/{name}.txt"\n', 0o755)
        return {"PATH": f"{directory}:{os.environ['PATH']}"}

    def test_the_result_and_the_last_lines_are_told_once(self):
        canary = "hunter2" + secrets.token_hex(8)
        with Receiver(KEY) as receiver, Sandbox(ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=KEY) as sandbox:
            run = secrets.token_hex(16)
            path = self.programs(sandbox, f"Result=exit-code\nExecMainCode=1\nExecMainStatus=69\nInvocationID={run}\nLoadState=loaded\n",
                                 f"2026-11-28T02:30:01+0000 host aragora[7]: connecting to postgresql://aragora:{canary}@db/aragora\n2026-11-28T02:30:02+0000 host aragora[7]: password={canary}\n")
            result = sandbox.run("notify", "unit", "aragora-backup.service", check=0, **path)
            self.assertIn("200 thank you", result.stdout)
            event, = receiver.events()
            self.assertEqual((event["kind"], event["state"], event["summary"]), ("unit", "problem", "aragora-backup.service failed (exit status 69: a dependency is unreachable)"))
            self.assertIn("connecting to postgresql://aragora:‹redacted›@db", "\n".join(event["details"]))
            self.assertNotIn(canary, receiver.requests[0]["body"].decode() + result.stdout + result.stderr)
            self.assertIn("told of it by itself", sandbox.run("notify", "unit", "aragora-backup.service", check=0, **path).stdout)
            self.assertEqual(len(receiver.requests), 1)
            handed = {"MONITOR_UNIT": "aragora.service", "MONITOR_SERVICE_RESULT": "watchdog", "MONITOR_EXIT_CODE": "dumped", "MONITOR_EXIT_STATUS": "6", "MONITOR_INVOCATION_ID": secrets.token_hex(16)}
            sandbox.run("notify", "unit", "aragora.service", check=0, **path, **handed)
            self.assertEqual(receiver.events()[-1]["summary"], "aragora.service was killed by the watchdog: it made no progress")
            for wrong in ("", "a b", "--all", "../x", "a;b"):
                sandbox.run("notify", "unit", wrong, check=64)

    def test_without_systemd_and_without_a_channel_it_says_so(self):
        with Receiver(KEY) as receiver, Sandbox() as sandbox:
            nothing = sandbox.directory / "none"
            nothing.mkdir()
            result = sandbox.run("notify", "unit", "aragora.service", check=0, PATH=str(nothing))
            self.assertIn("nobody is told", result.stdout)
            sandbox.run("notify", "unit", "aragora.service", check=0, PATH=str(nothing), ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=KEY)
            self.assertIn("what became of it is not known", "\n".join(receiver.events()[0]["details"]))

    def test_what_nobody_takes_is_kept_and_told_by_the_next(self):
        with Receiver(KEY) as receiver, Sandbox(ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=KEY) as sandbox:
            path = self.programs(sandbox, "Result=oom-kill\nLoadState=loaded\n")
            receiver.answers = [500] * 3
            self.assertIn("500 not now (at try 3); kept, and tried again", sandbox.run("notify", "unit", "aragora.service", check=69, **path).stdout)
            kept, = told(sandbox)["kept"]
            self.assertEqual((kept["channel"], kept["summary"]), ("webhook", "aragora.service was killed: out of memory"))
            spool, = (sandbox.directory / "state/notify/kept").glob("*.json")
            self.assertEqual(spool.stat().st_mode & 0o777, 0o600)
            self.assertNotIn(KEY, spool.read_text())
            spool.write_text(re.sub(r'"next_at":\d+', '"next_at":0', spool.read_text()))
            sandbox.run("notify", "test", check=0)
            self.assertEqual([event["kind"] for event in receiver.events()], ["test", "unit"])
            self.assertEqual(told(sandbox)["kept"], [])
            receiver.answers = [500] * 3
            nowhere = {"ARAGORA_STATE_DIR": "/proc/none", "MONITOR_UNIT": "x.service", "MONITOR_SERVICE_RESULT": "signal", "MONITOR_EXIT_STATUS": "9"}
            lost = sandbox.run("notify", "unit", "x.service", check=69, **path, **nowhere)
            self.assertIn("nor could it be kept", lost.stdout)
            self.assertIn("may be told again", lost.stderr)


class Mail(unittest.TestCase):
    def test_starttls_a_login_and_what_is_refused(self):
        password = "pass wörd " + secrets.token_hex(8)
        with Authority() as authority, MailReceiver(authority, "us", password) as server, Sandbox() as sandbox:
            sandbox.environment.update({"ARAGORA_NOTIFY_EMAIL_TO": "ada@example.org, bob@example.org", "ARAGORA_NOTIFY_EMAIL_FROM": "aragora@example.net", "ARAGORA_NOTIFY_SMTP_HOST": "localhost",
                                        "ARAGORA_NOTIFY_SMTP_PORT": str(server.port), "ARAGORA_NOTIFY_SMTP_USER": "us", "ARAGORA_NOTIFY_SMTP_PASSWORD_FILE": str(sandbox.write("password", password)), "SSL_CERT_FILE": str(authority.file)})
            result = sandbox.run("notify", "test", check=0)
            self.assertIn(f"✓ email (localhost:{server.port}): 250 2.0.0 queued as 4711", result.stdout)
            mail, = server.mails
            self.assertEqual((server.secured, server.logins, server.recipients), ([True], [(True, [b"us", password.encode()])], [["ada@example.org", "bob@example.org"]]))
            self.assertEqual((mail["From"], mail["To"], mail["Auto-Submitted"]), ("aragora@example.net", "ada@example.org, bob@example.org", "auto-generated"))
            self.assertRegex(mail["Subject"], r"^\[aragora \S+\] TEST Test: this is a test")
            self.assertRegex(mail.get_content(), r"(?s)this is a test.*Host: .*Event: ")
            server.refuse = "bob@"
            self.assertIn("not for bob@example.org (550 5.1.1 no such user)", sandbox.run("notify", "test", check=0).stdout)
            server.refuse = "@"
            self.assertIn("no recipient was taken", sandbox.run("notify", "test", check=69).stdout)
            refused = sandbox.run("notify", "test", check=69, ARAGORA_NOTIFY_SMTP_PASSWORD_FILE=str(sandbox.write("password", "wrong-" + password)))
            self.assertIn("the login of us: 535 5.7.8 who are you", refused.stdout)
            self.assertNotIn(password, refused.stdout + refused.stderr)
            self.assertIn("not signed by anybody trusted here", sandbox.run("notify", "test", check=69, SSL_CERT_FILE="/etc/ssl/certs/ca-certificates.crt").stdout)
            self.assertEqual(len(server.mails), 2)

    def test_tls_from_the_start_none_for_this_machine_and_never_a_fall_back(self):
        with Authority() as authority, MailReceiver(authority, implicit=True) as tls, MailReceiver() as plain, Sandbox(ARAGORA_NOTIFY_EMAIL_TO="ada@example.org", ARAGORA_NOTIFY_EMAIL_FROM="a@example.net", SSL_CERT_FILE=str(authority.file)) as sandbox:
            sandbox.run("notify", "test", check=0, ARAGORA_NOTIFY_SMTP_TLS="tls", ARAGORA_NOTIFY_SMTP_PORT=str(tls.port))
            self.assertEqual(tls.secured, [True])
            at_plain = {"ARAGORA_NOTIFY_SMTP_PORT": str(plain.port)}
            self.assertIn("it does not offer STARTTLS", sandbox.run("notify", "test", check=69, **at_plain).stdout)
            self.assertEqual(plain.mails, [])
            sandbox.run("notify", "test", check=0, ARAGORA_NOTIFY_SMTP_TLS="none", **at_plain)
            self.assertEqual(len(plain.mails), 1)
            findings = sandbox.run_json("validate-env", "--offline", "--only", "notify", check=78, ARAGORA_ENV="production", ARAGORA_NOTIFY_SMTP_TLS="none", ARAGORA_NOTIFY_SMTP_HOST="mail.example.org")["errors"]
            self.assertIn("sends mail in clear to another machine", findings[0])


    def test_no_name_but_localhost_gets_a_password_in_clear(self):
        password = secrets.token_hex(12)
        with MailReceiver(None, "us", password) as server, Sandbox(ARAGORA_NOTIFY_EMAIL_TO="ada@example.org", ARAGORA_NOTIFY_EMAIL_FROM="a@example.net", ARAGORA_NOTIFY_SMTP_TLS="none", ARAGORA_NOTIFY_SMTP_USER="us") as sandbox:
            sandbox.environment.update({"ARAGORA_NOTIFY_SMTP_PORT": str(server.port), "ARAGORA_NOTIFY_SMTP_PASSWORD_FILE": str(sandbox.write("password", password))})
            sandbox.prefix = with_hosts(sandbox, ["127.0.0.1 127.attacker.example mail.localhost 127.0.0.1.attacker.example", "192.0.2.1 localhost"])
            for name in ("127.attacker.example", "mail.localhost", "127.0.0.1.attacker.example"):
                result = sandbox.run("notify", "test", ARAGORA_NOTIFY_SMTP_HOST=name)
                self.assertIn("sends mail in clear to another machine", result.stdout + result.stderr)
                self.assertEqual(result.returncode, 78)
            self.assertIn("not one of this machine", sandbox.run("notify", "test", check=69, ARAGORA_NOTIFY_SMTP_HOST="localhost").stdout)
            self.assertEqual(server.logins, [])
            sandbox.run("notify", "test", check=0, ARAGORA_NOTIFY_SMTP_HOST="127.0.0.1")
            self.assertEqual(len(server.logins), 1)


class HostileMail(unittest.TestCase):
    def test_what_is_no_mail_server_is_refused_in_its_words(self):
        greeting, offer = b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n"
        for said, chunks, tries, wait in (("does not speak SMTP", (b"HTTP/1.1 400 Bad Request\r\n",), 1, True), ("what it says does not end", (b"220-" + b"x" * 40_000,), 1, True), ("it hung up", (b"",), 3, False), ("554 go away", (b"554 go away\r\n",), 1, True),
                                          ("421 come again", (b"421 come again\r\n",), 3, True), ("it went on talking behind STARTTLS", (greeting, offer, b"220 go\r\n250 taken for something said under TLS\r\n"), 1, True)):
            with self.subTest(said), Scripted(*chunks, wait=wait) as server, Sandbox(ARAGORA_NOTIFY_EMAIL_TO="ada@example.org", ARAGORA_NOTIFY_EMAIL_FROM="a@example.net", ARAGORA_NOTIFY_SMTP_PORT=str(server.port)) as sandbox:
                self.assertIn(said, sandbox.run("notify", "test", check=69).stdout)
                self.assertEqual(server.came, tries)


class Checks(unittest.TestCase):
    def test_validate_env_reads_the_section_and_asks_only_when_it_may(self):
        look = lambda sandbox, *more, **environment: {f["message"]: f["status"] for check in sandbox.run_json("validate-env", "--only", "notify,notify_reach", *more, **environment)["checks"].values() for f in check["findings"]}
        with Receiver(KEY) as receiver, Sandbox() as sandbox:
            self.assertIn("Notifications: nobody is told of failures", look(sandbox))
            self.assertEqual(look(sandbox, ARAGORA_ENV="production")["Notifications: nobody is told of failures"], "warning")
            hook = {"ARAGORA_NOTIFY_WEBHOOK_URL": receiver.url, "ARAGORA_NOTIFY_WEBHOOK_KEY": KEY}
            self.assertEqual(look(sandbox, **hook), {"Notifications: webhook": "ok", "Notifications: webhook can be reached": "ok"})
            self.assertEqual(receiver.requests, [], "nothing is sent")
            gone = {**hook, "ARAGORA_NOTIFY_WEBHOOK_URL": f"http://127.0.0.1:{free_port()}/"}
            self.assertTrue(any("Connection refused" in message and status == "error" for message, status in look(sandbox, **gone).items()))
            self.assertFalse(any(status == "error" for status in look(sandbox, "--offline", **gone).values()))
            for change, said in (({"ARAGORA_NOTIFY_WEBHOOK_KEY": ""}, "nothing is posted that is not signed"), ({"ARAGORA_NOTIFY_WEBHOOK_KEY": "short"}, "5 characters long"), ({"ARAGORA_NOTIFY_WEBHOOK_URL": "ftp://x/y"}, "is not an http or https URL"),
                                 ({"ARAGORA_ENV": "production", "ARAGORA_NOTIFY_WEBHOOK_URL": "http://hooks.example.org/x"}, "is not https"), ({"ARAGORA_ENV": "production", "ARAGORA_NOTIFY_WEBHOOK_URL": "http://127.attacker.example/x"}, "is not https"), ({"ARAGORA_ENV": "production", "ARAGORA_NOTIFY_WEBHOOK_URL": "http://hooks.localhost/x"}, "is not https"), ({"ARAGORA_NOTIFY_EMAIL_TO": "Ada <ada@example.org>"}, "is no mail address"),
                                 ({"ARAGORA_NOTIFY_EMAIL_TO": "ada@example.org", "ARAGORA_NOTIFY_SMTP_USER": "x"}, "a login takes user and password")):
                with self.subTest(said):
                    found = look(sandbox, "--offline", **{**hook, **change})
                    self.assertTrue(any(said in message and status == "error" for message, status in found.items()), found)


class Failures(unittest.TestCase):
    """Backups and drills that fail for real."""

    def deployment(self, stack_of, **environment):
        return sqlite_deployment(ARAGORA_NOTIFY_WEBHOOK_URL=stack_of.url + "/hook", ARAGORA_NOTIFY_WEBHOOK_KEY=KEY, **environment)

    def test_a_backup_pings_fails_is_told_once_and_recovers(self):
        ping, canary = str(uuid.uuid4()), "c4nary" + secrets.token_hex(12)
        with Receiver(KEY) as receiver, Receiver() as switch, self.deployment(receiver, ARAGORA_NOTIFY_BACKUP_PING_URL=f"{switch.url}/ping/{ping}", ARAGORA_API_TOKEN=canary) as sandbox:
            made = sandbox.run("backup", "create", check=0)
            self.assertEqual(switch.paths(), [f"/ping/{ping}/start", f"/ping/{ping}"])
            self.assertEqual(receiver.requests, [], "nobody is told of what works")
            # The repository is in the way of a file: no right in the world helps.
            backups = sandbox.directory / "backups"
            backups.rename(sandbox.directory / "away")
            sandbox.write("backups", "")
            switch.requests.clear()
            failed = sandbox.run("backup", "create", INVOCATION_ID="ab" * 16)
            self.assertNotEqual(failed.returncode, 0)
            self.assertEqual(switch.paths(), [f"/ping/{ping}/start", f"/ping/{ping}/fail"])
            event, = receiver.events()
            self.assertEqual((event["kind"], event["state"], event["key"]), ("backup", "problem", "backup"))
            self.assertIn("aragora backup create failed: ", event["summary"])
            self.assertIn(event["summary"].split("failed: ")[1][:40], failed.stderr)
            self.assertTrue(receiver.requests[0]["signed"])
            # Nobody is told twice: neither by the next run nor by what systemd starts for the run that has told.
            self.assertNotEqual(sandbox.run("backup", "create").returncode, 0)
            programs = Unit.programs(self, sandbox, f"Result=exit-code\nExecMainStatus=73\nInvocationID={'ab' * 16}\nLoadState=loaded\n")
            self.assertIn("told of it by itself", sandbox.run("notify", "unit", "aragora-backup.service", check=0, **programs).stdout)
            self.assertEqual(len(receiver.requests), 1)
            backups.unlink()
            (sandbox.directory / "away").rename(backups)
            # Damaged: proved by restoring, told as another thing.
            payload = max((p for p in (backups / "full").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
            good = payload.read_bytes()
            payload.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
            self.assertNotEqual(sandbox.run("backup", "verify").returncode, 0)
            self.assertEqual([(e["kind"], e["state"]) for e in receiver.events()], [("backup", "problem"), ("backup_proof", "problem")])
            self.assertTrue(receiver.events()[-1]["details"], "what was found is in it")
            self.assertEqual(switch.paths()[-1], f"/ping/{ping}/fail")
            payload.write_bytes(good)
            sandbox.run("backup", "create", check=0)
            sandbox.run("backup", "verify", check=0)
            self.assertEqual([(e["kind"], e["state"]) for e in receiver.events()[2:]], [("backup", "recovered"), ("backup_proof", "recovered")])
            self.assertEqual(told(sandbox)["problems"], [])
            everything = "".join(r["body"].decode() for r in receiver.requests + switch.requests) + made.stdout + failed.stdout + failed.stderr
            state = "".join(p.read_text() for p in (sandbox.directory / "state/notify").rglob("*") if p.is_file())
            for secret in (KEY, canary, sandbox.environment["ARAGORA_ENCRYPTION_KEY"]):
                self.assertNotIn(secret, everything + state)
            self.assertNotIn(ping, made.stdout + failed.stdout + failed.stderr + state)

    def test_a_failure_whose_notice_failed_says_both_and_the_notice_comes_later(self):
        with Receiver(KEY) as receiver, self.deployment(receiver) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = "/proc/no/such"
            receiver.answers = [500] * 3
            failed = sandbox.run("backup", "create", "-q")
            self.assertIn("/proc/no", failed.stderr)
            self.assertIn("not told by webhook", failed.stderr)
            self.assertIn("kept, and tried again", failed.stderr)
            document = sandbox.run_json("backup", "create", ARAGORA_NOTIFY_REMIND_HOURS="1")
            self.assertIn("error", document)
            spool, = (sandbox.directory / "state/notify/kept").glob("*.json")
            spool.write_text(re.sub(r'"next_at":\d+', '"next_at":0', spool.read_text()))
            sandbox.run("backup", "create")
            self.assertEqual([(e["kind"], e["state"]) for e in receiver.events()], [("backup", "problem")])

    def test_at_a_terminal_nobody_else_is_told(self):
        with Receiver(KEY) as receiver, self.deployment(receiver) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = "/proc/no/such"
            subprocess.run(["script", "-qec", f"{os.environ['ARAGORA_BINARY']} backup create", "/dev/null"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
            self.assertEqual(receiver.requests, [])
            self.assertNotEqual(sandbox.run("backup", "create").returncode, 0)
            self.assertEqual(len(receiver.requests), 1, "the same without a terminal")

    def test_a_drill_that_fails_and_a_configuration_that_is_wrong(self):
        with Receiver(KEY) as receiver, Receiver() as switch, self.deployment(receiver, ARAGORA_NOTIFY_DRILL_PING_URL=switch.url + "/d") as sandbox:
            self.assertNotEqual(sandbox.run("drill").returncode, 0)  # there is no backup
            self.assertEqual(switch.paths(), ["/d/start", "/d/fail"])
            self.assertEqual([(e["kind"], e["state"]) for e in receiver.events()], [("drill", "problem")])
            sandbox.run("backup", "create", check=78, ARAGORA_PORT="abc")
            self.assertEqual([e["kind"] for e in receiver.events()], ["drill", "backup"])


class Order(unittest.TestCase):
    """Of one thing everybody hears in the order in which it happened, and once."""

    @staticmethod
    def kept(sandbox, **changes):
        """What is kept, the earliest first; `changes` are written into each."""
        found = sorted((sandbox.directory / "state/notify/kept").glob("*.json"))
        for file in found if changes else ():
            file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
        return found

    def test_that_it_is_over_comes_after_that_it_began(self):
        with Receiver(KEY) as receiver, sqlite_deployment(ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=KEY) as sandbox:
            states = lambda: [event["state"] for event in receiver.events()]
            fails = {"ARAGORA_BACKUP_DIR": "/proc/no/such"}
            receiver.answers = [500] * 3
            self.assertNotEqual(sandbox.run("backup", "create", **fails).returncode, 0)
            self.assertEqual([problem["told_at"] for problem in told(sandbox)["problems"]], [None], "nobody heard of it")
            self.assertNotEqual(sandbox.run("backup", "create", **fails).returncode, 0)
            self.assertEqual(len(receiver.requests), 3, "it is not told anew while it waits")
            sandbox.run("backup", "create", check=0)
            self.assertEqual(states(), ["problem", "recovered"])
            self.assertEqual((self.kept(sandbox), told(sandbox)["problems"]), ([], []))
            # Both are kept: the later one waits for the earlier one, also when only that is due, and when a clock was set back.
            receiver.requests.clear()
            receiver.answers = [500] * 4
            self.assertNotEqual(sandbox.run("backup", "create", **fails).returncode, 0)
            sandbox.run("backup", "create", check=0)
            self.assertEqual(len(receiver.requests), 4, "behind what is not taken nothing is tried")
            first, second = self.kept(sandbox)
            second.write_text(json.dumps({**json.loads(second.read_text()), "next_at": 0}))
            sandbox.run("notify", "test", check=0)
            self.assertEqual(states(), ["test"])
            self.kept(sandbox, next_at=0)
            sandbox.run("notify", "test", check=0)
            self.assertEqual(states(), ["test", "test", "problem", "recovered"])

    def test_what_is_heard_at_last_was_told(self):
        with Receiver(KEY) as receiver, sqlite_deployment(ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=KEY) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = "/proc/no/such"
            receiver.answers = [500] * 3
            self.assertNotEqual(sandbox.run("backup", "create", INVOCATION_ID="cd" * 16).returncode, 0)
            programs = Unit.programs(self, sandbox, f"Result=exit-code\nExecMainStatus=73\nInvocationID={'cd' * 16}\nLoadState=loaded\n")
            self.assertIn("told of it by itself", sandbox.run("notify", "unit", "aragora-backup.service", check=0, **programs).stdout)
            self.kept(sandbox, next_at=0)
            sandbox.run("notify", "test", check=0)
            problem, = told(sandbox)["problems"]
            self.assertTrue(problem["told_at"])

    def test_whoever_is_slow_has_it_once(self):
        with Receiver(KEY) as receiver, MailReceiver() as server, Sandbox(ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=KEY, ARAGORA_NOTIFY_EMAIL_TO="ada@example.org", ARAGORA_NOTIFY_EMAIL_FROM="a@example.net",
                                                                           ARAGORA_NOTIFY_SMTP_TLS="none", ARAGORA_NOTIFY_SMTP_PORT=str(server.port)) as sandbox:
            receiver.slow, server.slow = 6, 22
            result = sandbox.run("notify", "test", check=0)
            self.assertIn("200 thank you", result.stdout)
            self.assertIn("queued as 4711", result.stdout)
            self.assertEqual((len(receiver.requests), len(server.mails)), (1, 1))
            receiver.slow, receiver.wordless, started = 0, True, time.monotonic()
            self.assertIn(": 200", sandbox.run("notify", "test", "--channel", "webhook", check=0).stdout)
            self.assertEqual(len(receiver.requests), 2, "the status decides, whatever is said besides")
            self.assertLess(time.monotonic() - started, 5)
            receiver.wordless, receiver.answers = False, [None]
            self.assertIn("it may have been taken", sandbox.run("notify", "test", "--channel", "webhook", check=69).stdout)
            self.assertEqual(len(receiver.requests), 3)

    def test_a_mail_that_may_have_been_delivered_is_sent_once_more_and_later(self):
        with MailReceiver() as server, sqlite_deployment(ARAGORA_NOTIFY_EMAIL_TO="ada@example.org", ARAGORA_NOTIFY_EMAIL_FROM="a@example.net", ARAGORA_NOTIFY_SMTP_TLS="none", ARAGORA_NOTIFY_SMTP_PORT=str(server.port)) as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = "/proc/no/such"
            server.hangs_up = True
            failed = sandbox.run("backup", "create")
            self.assertIn("it may have been delivered", failed.stdout + failed.stderr)
            self.assertEqual(len(server.mails), 1, "not at once")
            for sent in (2, 2):
                self.kept(sandbox, next_at=0)
                sandbox.run("backup", "create")
                self.assertEqual(len(server.mails), sent)
            self.assertEqual(len({mail["Message-ID"] for mail in server.mails}), 1)
            self.assertEqual(self.kept(sandbox), [])

    def test_what_is_kept_does_not_wait_for_ever(self):
        with Receiver(KEY) as receiver, sqlite_deployment(ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=KEY, ARAGORA_NOTIFY_INTERVAL_SECONDS="1") as sandbox:
            sandbox.environment["ARAGORA_BACKUP_DIR"] = "/proc/no/such"
            receiver.answers = [500] * 3
            mail = {"ARAGORA_NOTIFY_EMAIL_TO": "ada@example.org", "ARAGORA_NOTIFY_EMAIL_FROM": "a@example.net", "ARAGORA_NOTIFY_SMTP_TLS": "none", "ARAGORA_NOTIFY_SMTP_PORT": str(free_port())}
            self.assertNotEqual(sandbox.run("backup", "create", **mail).returncode, 0)
            self.assertEqual(len(self.kept(sandbox, next_at=int(time.time() + 30 * 86400) * 10**6)), 2)
            self.assertIn("kept for email, which is not configured here", sandbox.run("notify", "status", check=0).stdout)
            with Daemon(sandbox) as daemon:
                wait_for(lambda: not self.kept(sandbox), daemon.text)
                self.assertRegex(daemon.text(), "given up, and not told by email: that channel is no longer configured")
                self.assertIn("backup", [event["key"] for event in receiver.events()])


class Watch(unittest.TestCase):
    """What the daemon finds."""

    def test_a_late_backup_is_told_once_reminded_of_and_recovers_over_a_restart(self):
        with Receiver(KEY) as receiver, sqlite_deployment(ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=KEY, ARAGORA_NOTIFY_INTERVAL_SECONDS="1") as sandbox:
            sandbox.run("backup", "create", check=0, clock="-3d")
            of = lambda key: [e["state"] for e in receiver.events() if e["key"] == key]
            with Daemon(sandbox) as daemon:
                wait_for(lambda: of("recovery:backups"), daemon.text)
                self.assertIn("due now", next(e for e in receiver.events() if e["key"] == "recovery:backups")["summary"])
            with Daemon(sandbox) as daemon:
                looks = lambda: (sandbox.directory / "state/notify/told.json").stat().st_mtime_ns
                before = looks()
                wait_for(lambda: looks() != before, "a look of the new daemon")
                time.sleep(2.5)  # two looks more, of which nothing is seen
                self.assertEqual(of("recovery:backups"), ["problem"], "neither a second look nor a restart tells twice")
                known = sandbox.directory / "state/notify/told.json"
                with open(sandbox.directory / "state/notify/told.lock", "r+") as lock:  # the daemon writes it once a second, too
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    document = json.loads(known.read_text())
                    for one in document["problems"]:
                        one["told_at"] -= 25 * 3600 * 10**6
                    known.write_text(json.dumps(document))
                wait_for(lambda: of("recovery:backups") == ["problem", "reminder"], lambda: str(of("recovery:backups")) + daemon.text())
                receiver.answers = [500] * 3
                sandbox.run("backup", "create", check=0)
                wait_for(lambda: sum(r["status"] == 500 for r in receiver.requests) == 3, daemon.text)
                kept, = wait_for(lambda: list((sandbox.directory / "state/notify/kept").glob("*.json")), "it is kept")
                wait_for(lambda: '"problem":"500 not now"' in kept.read_text(), "it is written")
                kept.write_text(re.sub(r'"next_at":\d+', '"next_at":0', kept.read_text()))
                wait_for(lambda: of("recovery:backups") == ["problem", "reminder", "recovered"], lambda: str(of("recovery:backups")) + daemon.text())
                self.assertEqual(list((sandbox.directory / "state/notify/kept").glob("*.json")), [])
                self.assertNotIn(KEY, daemon.text())

    def test_a_daemon_that_makes_backups_asks_the_switch_while_they_are_well(self):
        with Receiver() as switch, sqlite_deployment(ARAGORA_NOTIFY_BACKUP_PING_URL=switch.url + "/b", ARAGORA_NOTIFY_INTERVAL_SECONDS="1", ARAGORA_BACKUP_CONTINUOUS="true", ARAGORA_BACKUP_INTERVAL_SECONDS="1") as sandbox:
            with Daemon(sandbox) as daemon:
                wait_for(lambda: "/b" in switch.paths(), daemon.text)
                payload = max((p for p in (sandbox.directory / "backups/full").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
                shutil.rmtree(payload.parent)  # the one backup there was
                wait_for(lambda: "/b/fail" in switch.paths(), daemon.text)
                self.assertLessEqual(switch.paths().count("/b/fail"), 1)

    def test_a_certificate_that_ends_and_a_repository_that_cannot_be_opened(self):
        with Authority() as authority, Receiver(KEY) as receiver, sqlite_deployment(ARAGORA_NOTIFY_WEBHOOK_URL=receiver.url, ARAGORA_NOTIFY_WEBHOOK_KEY=KEY, ARAGORA_NOTIFY_INTERVAL_SECONDS="1", ARAGORA_TLS_CERT_PATH=str(authority.certificate),
                                                                                    ARAGORA_TLS_KEY_PATH=str(authority.key)) as sandbox:
            sandbox.run("backup", "create", check=0)
            (sandbox.directory / "backups").rename(sandbox.directory / "away")
            sandbox.write("backups", "")
            with Daemon(sandbox, wait=False) as daemon:
                keys = lambda: {e["key"]: e["summary"] for e in receiver.events()}
                wait_for(lambda: {"certificate", "recovery:backups"} <= set(keys()), daemon.text)
                self.assertIn("the certificate ends in 1 day", keys()["certificate"])
                self.assertNotIn("repository", keys(), "where a file is, no backup is")
                (sandbox.directory / "backups").unlink()
                (sandbox.directory / "backups").symlink_to("backups")
                wait_for(lambda: "repository" in keys(), daemon.text)
                self.assertRegex(keys()["repository"], "the backups in .* cannot be read: .*Too many levels of symbolic links")
                started = time.monotonic()
                receiver.answers = [None] * 50  # hangs
                wait_for(lambda: receiver.answers != [None] * 50 or time.monotonic() - started > 3, "nothing more to tell, or it hangs")
                daemon.process.terminate()
                self.assertEqual(daemon.process.wait(20), 0)

    def test_a_reload_brings_channels_changes_them_and_takes_them_away(self):
        with Receiver(KEY) as first, Receiver(KEY + "other") as second, sqlite_deployment() as sandbox:
            write = lambda text: sandbox.write("aragora.toml", "[notify]\n" + text)
            write("interval_seconds = 3600\n")
            sandbox.environment["ARAGORA_CONFIG"] = str(sandbox.directory / "aragora.toml")
            sandbox.run("backup", "create", check=0, clock="-3d")
            hook = lambda receiver, key: f'webhook_url = "{receiver.url}/hooks/x"\nwebhook_key = "{key}"\n'
            quick = "interval_seconds = 1\n"
            states = lambda receiver: [e["state"] for e in receiver.events() if e["key"] == "recovery:backups"]
            with Daemon(sandbox) as daemon:
                write(quick + hook(first, KEY))
                told_of = sandbox.run_json("reload", check=0)
                self.assertEqual(set(told_of["applied"]), {"notify.webhook_url", "notify.webhook_key", "notify.interval_seconds"})
                self.assertEqual(told_of["after_restart"], [])
                wait_for(lambda: states(first) == ["problem"], daemon.text)
                write(quick + hook(second, KEY + "other"))
                sandbox.run("reload", check=0)
                sandbox.run("backup", "create", check=0)
                wait_for(lambda: states(second) == ["recovered"], daemon.text)
                self.assertTrue(all(request["signed"] for request in second.requests), "with the key as it is now")
                self.assertEqual(states(first), ["problem"])
                # What is wrong changes nothing; what is taken away is heard of no more, and what was kept for it is given up.
                write(quick + f'webhook_url = "{first.url}/hooks/x"\n')
                self.assertIn("nothing is posted that is not signed", sandbox.run("reload", check=78).stderr)
                second.answers = [500] * 50
                (sandbox.directory / "backups").rename(sandbox.directory / "away")
                sandbox.write("backups", "")
                kept = lambda: list((sandbox.directory / "state/notify/kept").glob("*.json"))
                wait_for(kept, daemon.text)
                write(quick)
                sandbox.run("reload", check=0)
                wait_for(lambda: not kept(), daemon.text)
                self.assertIn("given up, and not told by webhook: that channel is no longer configured", daemon.text())
                said = len(second.requests)
                time.sleep(2.5)
                self.assertEqual((len(second.requests), states(first)), (said, ["problem"]))
                self.assertNotIn(KEY, daemon.text())


if __name__ == "__main__":
    main()
