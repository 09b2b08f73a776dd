"""What is advised can be typed: examples of man pages and lines of hints name commands and options that exist, and no hint
removes anything by itself."""
import json
import re
import shlex
import sqlite3
import unittest

from support import SOURCE, Sandbox, main, postgres_database, production_environment, service, sqlite_deployment
from test_every_command import table

TABLE = table()
REMOVES = {("backup", "prune"), ("migrate", "down"), ("migrate", "repair"), ("restore",), ("user", "delete")}
HARM = re.compile(r"\brm\b|\bmkfs|\bdd\b|\bDROP\b|FLUSH|--force|--yes|--accept-loss|--allow-data-loss|remount|chmod -R|kill -9|\bfsck|chmod [0-7]{3,4} /(?!\S*aragora)|chown (?!root)\S+ /(?!\S*aragora)")


def parse(words):
    """(path, options) of the words behind «aragora»; raises AssertionError for what does not exist."""
    command, options, path, given, rest = TABLE, {o["name"]: o for o in TABLE["options"]}, [], [], 0
    words = list(words)
    while words:
        word = words.pop(0)
        if word in (">", "|"):
            break
        if word.startswith("-"):
            name, _, value = word.partition("=")
            if word in ("-q", "-v", "-h", "-"):
                rest += word == "-"
                continue
            assert name in options, f"{' '.join(path)} has no option {name}"
            given.append(name)
            if options[name]["takes_value"] and not value:
                assert words, f"{name} lacks its value"
                words.pop(0)
            continue
        sub = next((c for c in command["commands"] if c["name"] == word), None)
        if sub:
            command = sub
            path.append(word)
            options.update({o["name"]: o for o in sub["options"]})
        else:
            rest += 1
    assert path, "no command"
    assert path[0] == "help" or rest <= len(command["arguments"]), f"{' '.join(path)} takes no argument {rest}"
    return tuple(path), given


class ManPages(unittest.TestCase):
    def test_each_has_examples_that_parse(self):
        pages = sorted((SOURCE / "man").glob("*.[0-9]"))
        self.assertGreater(len(pages), 15)
        for page in pages:
            with self.subTest(page.name):
                text = page.read_text()
                self.assertEqual(text.count(".Sh EXAMPLES\n"), 1)
                section = text.split(".Sh EXAMPLES\n")[1].split("\n.Sh ")[0] + "\n"
                lines = re.findall(r"(?m)^\.Dl [#$] (?:sudo -u \S+ )?aragora (.+)$", section)
                self.assertTrue(lines, "no example begins with aragora")
                for line in lines:
                    path, given = parse(shlex.split(line.replace(r"\(dq", '"')))
                    if path in REMOVES - {("restore",), ("user", "delete")}:
                        self.assertIn("--dry-run", given, line)


class Hints(unittest.TestCase):
    def harmless(self, hint):
        """What of the hint can be typed is known, and removes nothing."""
        self.assertNotRegex(hint, HARM)
        if "chown -R" in hint:
            self.assertRegex(hint, r"chown -R \S+ \S*aragora")
        found = 0
        for after in re.findall(r"(?<![/\w])aragora ([a-z][^;,()&]*)", hint):
            words = re.split(r": | and | tells| shows|\. |…", after)[0].split()
            if words[0] not in {c["name"] for c in TABLE["commands"]}:
                continue  # prose
            path, given = parse([word.strip("'.") for word in words])
            found += 1
            if path in REMOVES:
                self.assertIn("--dry-run", given, hint)
        return found

    def hints(self, value):
        if isinstance(value, dict):
            for name, member in value.items():
                if name == "hint" and isinstance(member, str):
                    yield member
                yield from self.hints(member)
        elif isinstance(value, list):
            for member in value:
                yield from self.hints(member)

    def test_of_broken_deployments(self):
        collected = set()

        def look(sandbox, clock=None, **environment):
            for arguments in (["validate-env"], ["backup", "status"]):
                result = sandbox.run(*arguments, "--json", clock=clock, **environment)
                collected.update(self.hints(json.loads(result.stdout)))

        with Sandbox() as sandbox:
            look(sandbox)
            collected.update(self.hints(json.loads(sandbox.run("debate", "list", "--json", check=69, ARAGORA_PORT="9").stdout)))
            look(sandbox, ARAGORA_ENV="production")
            open_file = sandbox.write("open", "0" * 64, 0o644)
            look(sandbox, ARAGORA_ENV="production", ARAGORA_PORT="99999", REDIS_URL="redis://127.0.0.1:1", DATABASE_URL="postgresql://a@127.0.0.1:1/x?sslmode=verify-ful", JWT_SECRET_FILE=str(open_file))
            look(sandbox, ARAGORA_ENV="production", REDIS_URL="redis://127.0.0.1:1", DATABASE_URL="postgresql://a@127.0.0.1:1/x", ARAGORA_BIND_HOST="203.0.113.7", ARAGORA_OFFSITE="/no/such/mount", ARAGORA_ENCRYPTION_KEY="ab" * 32)
            look(sandbox, ARAGORA_STATE_DIR="/dev/null/x", ARAGORA_BACKUP_DIR="/proc/backups")
        with sqlite_deployment(ARAGORA_ENV="production", JWT_SECRET="1" * 64) as sandbox:
            sandbox.run("backup", check=0)
            look(sandbox)
            look(sandbox, clock="+200d")
            look(sandbox, clock="-30d")
            with sqlite3.connect(sandbox.directory / "state/aragora.db") as database:
                names = [row[1] for row in database.execute("PRAGMA table_info(aragora_migrations)")]
                database.execute(f"INSERT INTO aragora_migrations ({', '.join(names)}) SELECT {', '.join('9000' if name == 'version' else name for name in names)} FROM aragora_migrations LIMIT 1")
            look(sandbox)
            refused = sandbox.run("migrate", "--json")
            collected.update(self.hints(json.loads(refused.stdout)))
            self.assertRegex(refused.stderr, r"migrate down --to \d+ --dry-run")
        with postgres_database() as url, Sandbox(**production_environment(url, service("TEST_REDIS"))) as sandbox:
            look(sandbox)
        commands = 0
        for hint in sorted(collected):
            with self.subTest(hint):
                commands += self.harmless(hint)
        self.assertGreater(len(collected), 20)
        self.assertGreater(commands, 8)

    def test_of_every_check_in_the_source(self):
        commands = 0
        for path in [*(SOURCE / "common/checks").glob("*.cpp"), *(SOURCE / "common/drill").glob("recovery_*.cpp"), SOURCE / "common/config/secret_file.cpp"]:
            for literal in re.findall(r'"((?:[^"\\\n]|\\.)*)"', "".join(line.split("//")[0] + "\n" for line in path.read_text().splitlines() if not line.startswith("#include"))):
                with self.subTest(path.name, literal=literal):
                    if "application_name" not in literal and "chown -R" not in literal:
                        commands += self.harmless(literal.replace("{}", "full"))
        self.assertGreater(commands, 15)


class Documents(unittest.TestCase):
    def test_what_the_security_page_names_is_there(self):
        named = re.findall(r"`((?:daemon|common|cli|systemd|tests|docs|scripts|man)/[^`]*|test_[a-z_]+)`", (SOURCE / "docs/security.md").read_text())
        self.assertGreater(len(named), 30)
        for name in named:
            with self.subTest(name):
                path = f"tests/system/{name}.py" if name.startswith("test_") else name
                # A module is named by the beginning of its files.
                self.assertTrue((SOURCE / path).exists() or list(SOURCE.glob(path + ("" if "*" in path else ".*"))), "nothing is there")


if __name__ == "__main__":
    main()
