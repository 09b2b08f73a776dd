"""What holds for every command, walked in the table of commands, so that a command of tomorrow is held to it too."""
import json
import os
import pathlib
import subprocess
import time
import unittest

from support import BINARY, Sandbox, free_port, main, sqlite_deployment

PATHS = {"FILE", "DIRECTORY", "PLACE", "BACKUP"}
UNTIL_STOPPED = {("serve",), ("backup", "run"), ("backup", "wal")}


def table():
    return json.loads(subprocess.run([BINARY, "completion", "json"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True).stdout)


def walk(command, path=(), above=()):
    """(path, command, the options that it takes with those of the commands above)."""
    options = [*command["options"], *above]
    if path:
        yield path, command, options
    for sub in command["commands"]:
        yield from walk(sub, (*path, sub["name"]), options)


COMMANDS = list(walk(table()))


class Json(unittest.TestCase):
    def one_document(self, result, path):
        try:
            document = json.loads(result.stdout)
        except ValueError:
            self.fail(f"{path}: exit {result.returncode}, not one JSON document:\n{result.stdout}\n{result.stderr}")
        self.assertEqual(document["schema_version"], 1, path)
        return document

    def where(self, sandbox, path):
        return {("init",): ["--directory", sandbox.directory / "etc"], ("support-bundle",): ["--output", sandbox.directory / "bundle.tar.gz"]}.get(path, [])  # never into /etc

    def test_of_a_failure(self):
        with Sandbox(ARAGORA_PORT="abc") as sandbox:
            for path, _, _ in COMMANDS:
                with self.subTest(path):
                    result = sandbox.run(*path, *self.where(sandbox, path), "--json")
                    document = self.one_document(result, path)
                    if "error" in document and path != ("restore", "wal-get"):
                        self.assertEqual(document["error"]["exit_status"], result.returncode)
                    refused = sandbox.run(*path, "--no-such-option", "--json", check=64 if path != ("help",) else None)
                    self.assertEqual(self.one_document(refused, path)["error"]["exit_status"], 64)

    def test_of_a_success(self):
        with sqlite_deployment() as sandbox:
            sandbox.run("user", "add", "root@example.org", "--role", "admin", check=0)
            made = sandbox.run_json("backup", check=0)["backup"]["id"]
            root = ["root@example.org"]
            keys = [sandbox.run_json("user", "key", "create", *root, check=0)["api_key"]["id"] for _ in range(2)]
            works = {("backup", "pin"): ["--input", made], ("backup", "unpin"): ["--input", made], ("restore",): ["--input", "latest", "--dry-run"], ("backup", "prune"): ["--dry-run"],
                     ("migrate", "down"): ["--to", "1", "--dry-run"], ("user", "add"): ["ada@example.org"], ("user", "password"): ["ada@example.org"], ("user", "disable"): ["ada@example.org"],
                     ("user", "enable"): ["ada@example.org"], ("user", "role"): ["ada@example.org", "viewer"], ("user", "delete"): ["ada@example.org", "--yes"], ("config", "show"): ["server.port"], ("audit", "accept"): ["--reason", "x"],
                     **{("user", name): root for name in ("reset", "unlock", "sessions")}, ("user", "key", "create"): root, ("user", "key", "rotate"): keys[:1], ("user", "key", "revoke"): keys[1:],
                     ("user", "mfa", "enrol"): root, ("user", "mfa", "remove"): root, ("notify", "unit"): ["aragora.service"]}
            fails = {("debate",), *((("debate", name)) for name in ("show", "list", "cancel", "export", "replay")), ("checklist",), ("reload",), ("user", "setup-link"), ("user", "key"), ("user", "mfa"), ("user", "mfa", "confirm"), ("user", "mfa", "codes"), ("backup", "wal-push"), ("restore", "wal-get"), ("backup", "copy"), ("backup", "unpin"), ("migrate", "baseline"), ("migrate", "repair"), ("user",), ("config",), ("key",), ("audit",), ("ratings",), ("receipt",), ("receipt", "show"), ("receipt", "export"), ("receipt", "verify"), ("receipt", "checkpoint"), ("notify",), ("notify", "test")}
            for path, _, _ in COMMANDS:
                if path in UNTIL_STOPPED:
                    continue
                with self.subTest(path):
                    result = sandbox.run(*path, *works.get(path, []), *self.where(sandbox, path), "--json")
                    self.one_document(result, path)
                    if path not in fails and path != ("drill",):
                        self.assertIn(result.returncode, (0, 1) if path == ("backup", "status") else (0,), result.stdout + result.stderr)
            for arguments in (["--help"], ["--version"], ["backup", "verify", "--help"], ["help", "user"]):
                self.one_document(sandbox.run(*arguments, "--json", check=0), arguments)

    def test_of_one_that_runs_until_it_is_stopped(self):
        with sqlite_deployment() as sandbox:
            for path, begun in ((("serve",), lambda: "listens on" in log.read_text()), (("backup", "run"), lambda: (sandbox.directory / "backups/latest").exists())):
                log = sandbox.directory / "log"
                with open(log, "w") as stderr:
                    process = subprocess.Popen([BINARY, *path, "--json"], env={**sandbox.environment, "ARAGORA_PORT": str(free_port())}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True)
                    deadline = time.monotonic() + 60
                    while not begun():
                        self.assertIsNone(process.poll(), log.read_text())
                        self.assertLess(time.monotonic(), deadline, log.read_text())
                        time.sleep(0.02)
                    process.terminate()
                    out, _ = process.communicate(timeout=60)
                self.assertEqual(json.loads(out)["schema_version"], 1, path)


class Words(unittest.TestCase):
    def test_an_empty_path_is_a_usage_error_that_names_the_option(self):
        tried = 0
        with Sandbox() as sandbox:
            for path, _, options in COMMANDS:
                for option in options:
                    if option["value"] not in PATHS:
                        continue
                    for form in ([option["name"], ""], [option["name"] + "="]):
                        with self.subTest(path + tuple(form)):
                            tried += 1
                            self.assertIn(option["name"], sandbox.run(*path, *form, check=64).stderr)
            sandbox.run("backup", "wal-push", "", check=64)
            sandbox.run("restore", "wal-get", "name", "", check=64)
            self.assertEqual(sorted(p.name for p in sandbox.directory.iterdir()), ["empty.toml"], "nothing was made")
        self.assertGreater(tried, 100)

    def test_a_mistyped_command_is_answered_with_the_right_one(self):
        with Sandbox() as sandbox:
            for path, _, _ in COMMANDS:
                *above, name = path
                swapped = name[:-2] + name[-1] + name[-2]
                for wrong in {name + name[-1], swapped if len(name) > 4 and swapped != name else name + name[-1]}:
                    with self.subTest(path, wrong=wrong):
                        answer = sandbox.run(*above, wrong, check=64).stderr
                        self.assertIn(f"did you mean {'aragora ' if above else ''}{' '.join(path)}?", answer)
                        self.assertEqual(sandbox.run("help", *above, wrong, check=64).stderr, answer)

    def test_help_has_the_usage_line_and_every_option_and_is_what_help_prints(self):
        with Sandbox() as sandbox:
            for path, command, options in COMMANDS:
                with self.subTest(path):
                    text = sandbox.run(*path, "--help", check=0).stdout
                    self.assertIn(f"Usage: aragora {' '.join(path)} [OPTIONS]", text)
                    for option in options:
                        if option["name"] not in ("--version",):
                            self.assertEqual(sum(option["name"] in line.split(" ")[2].split(",") for line in text.splitlines() if line.startswith("  -")), 1, option["name"] + "\n" + text)
                    for sub in command["commands"]:
                        self.assertRegex(text, rf"(?m)^  {sub['name']} ")
                    self.assertEqual(sandbox.run("help", *path, check=0).stdout, text)
                    document = sandbox.run_json("help", *path, check=0)
                    self.assertEqual((document["help"], document["command"]["name"]), (text, path[-1]))
            self.assertEqual(sandbox.run("help", check=0).stdout, sandbox.run("--help", check=0).stdout)
            listed = sandbox.run_json("help", check=0)["command"]
            self.assertEqual([name for name, _, _ in walk(listed)], [name for name, _, _ in COMMANDS])

    def test_a_choice_is_one_of_those_that_help_shows(self):
        with Sandbox() as sandbox:
            for arguments, nearest in ((["backup", "create", "--kind", "bse"], "base"), (["drill", "--kind", "physicl"], "physical"), (["user", "add", "a@b.example", "--role", "vewer"], "viewer"), (["completion", "fissh"], "fish")):
                self.assertIn(f"did you mean {nearest}?", sandbox.run(*arguments, check=64).stderr)


class Completion(unittest.TestCase):
    """The installed script, sourced by a real bash."""

    @classmethod
    def setUpClass(cls):
        cls.place = Sandbox()
        cls.addClassCleanup(cls.place.__exit__)
        prefix = cls.place.directory / "prefix"
        subprocess.run(["cmake", "--install", pathlib.Path(BINARY).parents[1], "--prefix", "/usr"], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DESTDIR": str(prefix)})
        cls.share = prefix / "usr/share"
        cls.script = cls.share / "bash-completion/completions/aragora"

    def complete(self, *words, cwd=None):
        code = 'source "$1" || exit; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _aragora; printf "%s\\n" "${COMPREPLY[@]}"'
        result = subprocess.run(["bash", "--norc", "-c", code, "_", self.script, "aragora", *map(str, words)], capture_output=True, text=True, cwd=cwd, timeout=30)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout.split()

    def test_it_is_installed_for_every_shell_and_says_what_the_binary_says(self):
        with Sandbox() as sandbox:
            for shell, path in (("bash", "bash-completion/completions/aragora"), ("zsh", "zsh/vendor-completions/_aragora"), ("fish", "fish/vendor_completions.d/aragora.fish")):
                self.assertEqual((self.share / path).read_text(), sandbox.run("completion", shell, check=0).stdout)
        registered = subprocess.run(["bash", "--norc", "-c", 'source "$1"; complete -p aragora', "_", self.script], capture_output=True, text=True, check=True).stdout
        self.assertEqual(registered.strip(), "complete -F _aragora aragora")

    def test_every_command_and_option_is_completed_behind_options_with_values(self):
        for path, _, options in COMMANDS:
            *above, name = path
            with self.subTest(path):
                self.assertIn(name, self.complete("--config", "backup", "-q", *above, name[:1]))
                self.assertEqual({o["name"] for o in options} - set(self.complete(*path, "--")), set())
        self.assertEqual(self.complete("backup", "--output", "/x", "ver"), ["verify"])
        self.assertEqual(self.complete("backup", "--output", "=", "/x", "ver"), ["verify"])
        self.assertEqual(self.complete("user", "role", "ada@example.org", "vi"), ["viewer"])
        self.assertEqual(self.complete("help", "back"), ["backup"])
        self.assertEqual(self.complete("help", "backup", "ver"), ["verify"])

    def test_a_value_is_completed_as_what_it_is(self):
        directory = self.place.directory
        (directory / "made").mkdir(exist_ok=True)
        (directory / "made here.toml").touch()
        for path, _, options in COMMANDS:
            for option in options:
                with self.subTest(path, option=option["name"]):
                    if "|" in option["value"]:
                        self.assertEqual(self.complete(*path, option["name"], ""), option["value"].split("|"))
                    elif option["value"] in ("DIRECTORY", "PLACE"):
                        self.assertEqual(self.complete(*path, option["name"], "ma", cwd=directory), ["made"])
                    elif option["value"] in ("FILE", "BACKUP"):
                        self.assertEqual(sorted(self.complete(*path, option["name"], "ma", cwd=directory)), ["here.toml", "made", "made"])
                    elif option["takes_value"]:
                        self.assertEqual(self.complete(*path, option["name"], ""), [])
        self.assertEqual(self.complete("backup", "create", "--kind", "=", "b"), ["base"])
        self.assertEqual(self.complete("backup", "create", "--kind", "="), ["full", "base", "configuration", "artifacts"])
        self.assertIn("made", self.complete("backup", "wal-push", "ma", cwd=directory))
        self.assertEqual(self.complete("completion", "z"), ["zsh"])


if __name__ == "__main__":
    main()
