"""Checks of an organisation's own: every kind as expected and not, commands that hang, print secrets or flood, files that somebody else could have written."""
import json
import os
import re
import secrets
import socket
import subprocess
import time
import unittest

from fronts import Front
from support import Authority, Sandbox, free_port, main

ROOT = os.geteuid() == 0
TOKEN = secrets.token_hex(32)


def toml(**values):
    return "[[check]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()) + "\n"


def command(name, words, **more):
    return toml(id=name, title=f"Title of {name}", kind="command", command=words, **more)


class OwnChecks(unittest.TestCase):
    def setUp(self):
        self.sandbox = Sandbox(ARAGORA_API_TOKEN=TOKEN)
        self.sandbox.environment["ARAGORA_CONFIG"] = str(self.sandbox.write("etc/aragora.toml", ""))
        self.directory = self.sandbox.directory / "etc/checks.d"
        self.directory.mkdir(mode=0o755)
        self.addCleanup(self.sandbox.__exit__)

    def write(self, text, name="own.toml", mode=0o644):
        return self.sandbox.write(f"etc/checks.d/{name}", text, mode)

    def look(self, *arguments, **how):
        """The exit status, and each own check by its id."""
        result = self.sandbox.run("validate-env", "--json", *arguments, **how)
        self.assertNotIn(TOKEN, result.stdout + result.stderr)
        document = json.loads(result.stdout)
        return result.returncode, document["checks"]

    def test_every_kind_as_expected_and_not(self):
        authority = Authority()
        self.addCleanup(authority.__exit__)
        private = self.sandbox.write("private", "x", mode=0o640)
        old = self.sandbox.write("old", "x")
        os.utime(old, (time.time() - 7300,) * 2)
        with Front(None, authority.context(), lambda m, path: {"status": 204 if path == "/empty" else 200, "body": "all is well"}) as server:
            base, ca = f"https://localhost:{server.port}", str(authority.file)
            good = [("command", dict(command=["/bin/echo", "yes, a;b $HOME"], contains="a;b $HOME")), ("command", dict(command=["/bin/sh", "-c", "exit 3"], exit_status=3)),
                    ("http", dict(url=base + "/x", ca=ca, contains="well")), ("http", dict(url=base + "/empty", ca=ca, status=204)),
                    ("file", dict(path=str(private), mode="0640", owner="root" if ROOT else private.owner(), max_age_hours=1)), ("file", dict(path="/no/such", exists=False)),
                    ("port", dict(port=server.port)), ("port", dict(host="localhost", port=free_port(), open=False)),
                    ("certificate", dict(file=str(authority.certificate), days=1)), ("certificate", dict(host="localhost", port=server.port, ca=ca, days=1))]
            bad = [("command", dict(command=["/bin/false"]), "exited 1 instead of 0"), ("command", dict(command=["/bin/echo", "no"], contains="yes"), 'printed "no" instead of "yes"'),
                   ("command", dict(command=["/no/such/program"]), "/no/such/program"),
                   ("http", dict(url=base + "/x", ca=ca, status=301), "answered 200 instead of 301"), ("http", dict(url=base + "/x", ca=ca, contains="ill"), "does not contain"),
                   ("http", dict(url=base + "/x"), "trusted"), ("http", dict(url=f"http://127.0.0.1:{free_port()}/"), "refused"),
                   ("file", dict(path="/no/such"), "is not there"), ("file", dict(path=str(private), exists=False), "is there"), ("file", dict(path=str(private), mode="0600"), "has mode 0640"),
                   ("file", dict(path=str(private), owner="daemon"), "instead of daemon"), ("file", dict(path=str(old), max_age_hours=2), "2 hours ago"),
                   ("port", dict(port=free_port()), "refused"), ("port", dict(port=server.port, open=False), "is open"),
                   ("certificate", dict(file=str(authority.certificate)), "less than 21"), ("certificate", dict(host="localhost", port=server.port, days=1), "trusted"),
                   ("certificate", dict(file=str(private)), "PEM")]
            self.write("".join(toml(id=f"good.{n}", title="Good", kind=kind, **how) for n, (kind, how) in enumerate(good)), "a.toml")
            self.write("".join(toml(id=f"bad.{n}", title="Bad", kind=kind, severity="warning" if n % 2 else "error", fix="mend it", **how) for n, (kind, how, _) in enumerate(bad)), "b.toml")
            status, checks = self.look()
        self.assertEqual(status, 1)
        self.assertEqual(checks["own_checks"]["message"], f"Own checks: {len(good) + len(bad)} in {self.directory}")
        for n, (kind, how) in enumerate(good):
            self.assertEqual(checks[f"good.{n}"]["status"], "ok", (kind, how, checks[f"good.{n}"]))
        for n, (kind, how, said) in enumerate(bad):
            check = checks[f"bad.{n}"]
            self.assertEqual(check["status"], "warning" if n % 2 else "error", (kind, how, check))
            self.assertRegex(check["message"], said)
            finding = check["findings"][0]
            self.assertRegex(finding["origin"], re.escape(str(self.directory)) + r"/b\.toml:\d+$")
            self.assertEqual(finding["hint"], "mend it")

    def test_what_hangs_is_killed_with_all_that_it_started_and_nobody_waits_longer(self):
        mark = f"3{secrets.randbelow(10**6):06}.25"
        with socket.create_server(("127.0.0.1", 0)) as mute:
            self.write(command("hangs", ["/bin/sh", "-c", f"sleep {mark} & exec sleep {mark}"], timeout=1) + command("hangs.too", ["/bin/sh", "-c", f"trap '' TERM; sleep {mark}; sleep {mark}"], timeout=1)
                       + toml(id="mute", title="Mute", kind="http", url=f"http://127.0.0.1:{mute.getsockname()[1]}/", timeout=1) + command("quick", ["/bin/true"]))
            started = time.monotonic()
            status, checks = self.look("--only", "hangs,hangs.too,mute,quick")
        self.assertLess(time.monotonic() - started, 8)
        self.assertEqual((status, {name: checks[name]["status"] for name in ("hangs", "hangs.too", "mute", "quick")}), (1, {"hangs": "error", "hangs.too": "error", "mute": "error", "quick": "ok"}))
        self.assertIn("was killed", checks["hangs"]["message"])
        deadline = time.monotonic() + 10
        while subprocess.run(["pgrep", "-f", f"sleep {mark}"], capture_output=True).returncode == 0:
            self.assertLess(time.monotonic(), deadline, "it goes on")
            time.sleep(0.05)

    def test_what_is_printed_is_bounded_and_without_secrets(self):
        self.write(command("secret", ["/bin/echo", TOKEN], contains="x-y") + command("shape", ["/bin/echo", "sk-ant-api03-" + "A" * 40], contains="x-y") + command("flood", ["/usr/bin/yes"], timeout=3)
                   + command("escapes", ["/usr/bin/printf", r"\033[31mred\n\001"], contains="x-y") + command("variables", ["/usr/bin/env"], contains="ARAGORA_"))
        _, checks = self.look()
        self.assertIn("‹redacted›", checks["secret"]["message"])
        self.assertNotIn("A" * 40, checks["shape"]["message"])
        self.assertLess(len(checks["flood"]["message"]), 500)
        self.assertNotIn("\x1b", checks["escapes"]["message"])
        self.assertEqual(checks["variables"]["status"], "error", "no variable of ours gets there")

    def test_files_that_somebody_else_could_write_are_not_run(self):
        ran = self.sandbox.directory / "ran"
        self.sandbox.directory.chmod(0o711)
        touch = command("touch", ["/usr/bin/touch", str(ran)], user="root") if ROOT else command("touch", ["/usr/bin/touch", str(ran)])
        path = self.write(touch)
        self.assertEqual(self.look("--only", "touch,own_checks")[0], 0)
        self.assertTrue(ran.exists())
        ran.unlink()

        def refused(said):
            status, checks = self.look()
            self.assertEqual((status, checks["own_checks"]["status"]), (78, "error"))
            self.assertRegex(checks["own_checks"]["message"], said)
            self.assertNotIn("touch", checks)
            self.assertFalse(ran.exists())

        for mode in (0o646, 0o664, 0o777):
            path.chmod(mode)
            refused("others may write it")
        path.chmod(0o644)
        self.directory.chmod(0o757)
        refused("others may write it")
        self.directory.chmod(0o755)
        path.rename(self.sandbox.directory / "elsewhere.toml")
        path.symlink_to(self.sandbox.directory / "elsewhere.toml")
        refused("no file of its own")
        path.unlink()
        os.mkfifo(path)
        refused("no file of its own")
        path.unlink()
        if ROOT:
            self.write(touch)
            os.chown(path, 65534, 65534)
            refused("belongs to user 65534")
            os.chown(path, 0, 0)
            os.chown(self.directory, 65534, 65534)
            refused("belongs to user 65534")

    def test_mistakes_name_file_and_line_and_nothing_of_that_file_is_run(self):
        fine = command("fine", ["/bin/true"])
        for text, line, said in (('[[check]]\nid = "a\n', 2, "syntax"), ('[[check]]\nid = "x"\ntitle = "X"\nkind = "commmand"\n', 4, "kind"), ("id = 3\n", 1, "outside of"),
                                 (command("x", ["/bin/true"], timeot=3), 6, "timeout\\?"), (command("x", ["true"]), 5, "full path"), (command("x", "/bin/true"), 5, "list of words"),
                                 (command("x", ["/bin/true"], timeout=900), 6, "1 to 60"), (command("Big Id", ["/bin/true"]), 2, "id"), (command("x", ["/bin/true"], severity="bad"), 6, "severity"),
                                 (toml(id="x", title="X", kind="file", path="/etc/passwd", mode="rw"), 6, "octal"), (toml(id="x", title="X", kind="port"), 1, "port"),
                                 (command("redis", ["/bin/true"]), 1, "already"), (command("other", ["/bin/true"]), 1, "already"), (command("x", ["/bin/true"], url="http://x"), 6, "not for a check of this kind")):
            with self.subTest(text):
                self.write(command("other", ["/bin/true"]), "a.toml")
                path = self.write(text + fine, "b.toml")
                status, checks = self.look()
                self.assertEqual((status, checks["own_checks"]["status"]), (78, "error"))
                finding = checks["own_checks"]["findings"][0]
                self.assertEqual(finding["origin"], f"{path}:{line}")
                self.assertRegex(finding["message"], said)
                self.assertIn("other", checks, "other files are made")
                self.assertNotIn("fine", checks)

    def test_a_start_is_not_asked_for_more_than_serve_asks(self):
        self.write(command("mine", ["/bin/false"]))
        self.assertEqual(self.look()[0], 1)
        status, checks = self.look("--start-up")
        self.assertEqual(status, 0, checks)
        listed = self.sandbox.run_json("validate-env", "--list", check=0)["checks"]
        self.assertEqual(set(checks), {check["id"] for check in listed if check["at_startup"]})
        self.assertEqual(self.look("--start-up", DATABASE_URL=f"postgresql://aragora@127.0.0.1:{free_port()}/aragora")[0], 69)
        self.assertEqual(self.look("--start-up", ARAGORA_PORT="none")[0], 78)

    def test_they_are_checks_like_the_others(self):
        self.write(command("weak", ["/bin/false"], severity="warning") + command("strong", ["/bin/true"]) + toml(id="file", title="File", kind="file", path="/etc/passwd"))
        total = len(self.sandbox.run_json("validate-env", "--list")["checks"])
        self.assertIn("weak", self.sandbox.run("validate-env", "--list").stdout)
        self.assertIn(f"3 of {total} checks made", self.sandbox.run("validate-env", "--only", "weak,strong,file", check=0).stdout)
        self.sandbox.run("validate-env", "--only", "weak", "--strict", check=1)
        answered = self.sandbox.run("validate-env", "--only", "weak", "--strict", check=0, ARAGORA_ACKNOWLEDGED="weak 2026-11-27 known")
        self.assertIn("(acknowledged 2026-11-27: known)", answered.stdout)
        self.assertIn("did you mean strong?", self.sandbox.run("validate-env", "--only", "strnog", check=64).stderr)
        _, checks = self.look("--offline", "--only", "strong,file")
        self.assertEqual((checks["strong"]["status"], checks["file"]["status"]), ("skipped", "ok"))
        self.assertNotIn("weak", self.look("--skip", "weak")[1])
        # The daemon does not wait for them.
        self.write(command("broken", "nonsense"))
        self.assertNotIn("own", self.sandbox.run("serve", ARAGORA_PORT="99999", check=78).stderr)

    @unittest.skipUnless(ROOT, "only root chooses a user")
    def test_root_runs_nothing_as_root_that_does_not_say_so(self):
        self.write(command("by.default", ["/usr/bin/id", "-un"], contains="root") + command("by.name", ["/usr/bin/id", "-un"], user="daemon", contains="daemon") + command("as.root", ["/usr/bin/id", "-un"], user="root", contains="root")
                   + command("nobody.knows", ["/usr/bin/id"], user="no-such-user"))
        status, checks = self.look()
        self.assertEqual({name: checks[name]["status"] for name in ("by.default", "by.name", "as.root", "nobody.knows")}, {"by.default": "error", "by.name": "ok", "as.root": "ok", "nobody.knows": "error"})
        self.assertEqual(self.look("--only", "nobody.knows")[0], 69)


if __name__ == "__main__":
    main()
