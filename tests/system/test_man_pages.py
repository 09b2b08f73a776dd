"""Man pages against what is: the tree of commands with its options, the table of exit statuses, and what the source logs."""
import gzip
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from support import BINARY, SOURCE, main
from test_every_command import COMMANDS, table

MAN = SOURCE / "man"


def section(page, name):
    found = re.search(rf"(?ms)^\.Sh {name}\n(.*?)(?=^\.Sh |\Z)", (MAN / page).read_text())
    return found[1] if found else ""


def codes():
    """{name: (exit status, HTTP status)} of the one table."""
    rows = re.findall(r'\{Code::\w+,\s*"(\w+)",\s*(\d+),\s*(\d+)', (SOURCE / "common/base/error.cpp").read_text())
    return {name: (status, http) for name, status, http in rows}


def expected_in_tests():
    """(command, exit status) of every run in a system test that expects one."""
    for path in (SOURCE / "tests/system").glob("*.py"):
        for command, said in re.findall(r'run(?:_json)?\("(?:aragora )?([a-z-]+)[" ]([^\n]*)', path.read_text()):
            for status in re.findall(r"check=(\d+)", said)[:1]:
                yield command, status


class Commands(unittest.TestCase):
    def test_every_command_and_option_is_in_its_page_and_nothing_else(self):
        everywhere = {option["name"] for option in table()["options"]}
        for name in {path[0] for path, _, _ in COMMANDS}:
            below = [(path, command) for path, command, _ in COMMANDS if path[0] == name]
            text = (MAN / f"aragora-{name}.8").read_text()
            with self.subTest(name):
                spoken = set(re.findall(r"[\w-]+", " ".join(re.findall(r"(?m)(?:^\.|\s)Cm ([^\n]*)", text))))
                self.assertEqual({word for path, _ in below for word in path[1:]} - spoken, set(), "commands")
                described = [option for line in re.findall(r"(?m)^\.It .*$", text) for option in re.findall(r"(?:Fl| ,) -([\w-]+)", line)]
                self.assertEqual({option["name"] for _, command in below for option in command["options"]} - everywhere, {"--" + option for option in described} - everywhere, "options")
                self.assertEqual(len(described), len(set(described)), "each once")
                # Whoever takes no value shows none, and the other way round.
                for option in {option["name"]: option for _, command in below for option in command["options"]}.values():
                    line = re.search(rf"(?m)^\.It .*Fl -{option['name'][2:]}\b(.*)$", text)
                    if line:
                        self.assertEqual(bool(re.search(r"\b(Ar|Cm) ", line[1])), option["takes_value"], option["name"])

    def test_the_options_of_every_command_are_those_of_the_help(self):
        described = re.search(r"(?ms)^Every command takes:\n(.*?)^\.El$", section("aragora.8", "DESCRIPTION"))[1]
        items = re.findall(r"(?m)^\.It (?:Fl (\w) , )?(?:Fl )?-([\w-]+)( Ar \S+)?$", described)
        self.assertEqual(len(items), len(re.findall(r"(?m)^\.It", described)))
        options = {option["name"]: option["takes_value"] for option in table()["options"]}
        self.assertEqual({f"--{name}": bool(value) for _, name, value in items}, options)
        shown = subprocess.run([BINARY, "--help"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True).stdout
        self.assertEqual(set(re.findall(r"(?m)^ +(?:-\w,)?(--[\w-]+)", shown)), set(options))
        self.assertEqual({letter for letter, _, _ in items if letter}, set(re.findall(r"(?m)^ +-(\w),--", shown)))

    def test_exit_statuses_are_those_of_the_table(self):
        known = {"0", *(status for status, _ in codes().values())}
        self.assertEqual(set(re.findall(r"(?m)^\.It (\d+)$", section("aragora.8", "EXIT STATUS"))), known)
        # Each page those that its command declares, which its help shows, and which tests of it expect.
        for name in {path[0] for path, _, _ in COMMANDS}:
            with self.subTest(name):
                help_text = subprocess.run([BINARY, name, "--help"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True).stdout
                declared = set(re.search(r"(?m)^Exit statuses: ([\d, ]+) \(", help_text)[1].split(", "))
                self.assertEqual(declared - known, {"200"} if name == "restore" else set())
                self.assertEqual(set(re.findall(r"\b\d{1,3}\b", re.sub(r"(?m)^\.Xr.*$", "", section(f"aragora-{name}.8", "EXIT STATUS")))), declared)
                self.assertEqual({status for command, status in expected_in_tests() if command == name} - declared, set())

    def test_see_also_names_pages_that_are_there(self):
        there = {(page.stem, page.suffix[1:]) for page in MAN.iterdir()}
        for page in MAN.glob("aragora*"):
            for name, number in re.findall(r"(?m)^\.Xr (aragora\S*) (\d)", page.read_text()):
                self.assertIn((name, number), there, page.name)

    def test_they_are_all_installed(self):
        with tempfile.TemporaryDirectory() as prefix:
            # What goes to /etc goes there wherever the rest does, so all of it goes below a directory.
            subprocess.run(["cmake", "--install", pathlib.Path(BINARY).parents[1], "--prefix", "/usr"], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DESTDIR": prefix})
            for page in MAN.iterdir():
                self.assertEqual(gzip.decompress((pathlib.Path(prefix) / f"usr/share/man/man{page.suffix[1:]}/{page.name}.gz").read_bytes()), page.read_bytes())


class Messages(unittest.TestCase):
    def test_every_code_has_its_statuses_and_what_to_do(self):
        said = re.findall(r"(?m)^\.It Er (\w+) , No exit status (\d+) Pq (\d+)\n(?:[^.].*\n){2,}", section("aragora-messages.7", "CODES"))
        self.assertEqual({name: (status, http) for name, status, http in said}, codes())

    def test_every_warning_and_error_of_the_log_is_explained(self):
        explained = set(re.findall(r'(?m)^\.It "(.*)"\n[^.]', section("aragora-messages.7", "THE LOG")))
        missing = []
        for folder in ("common", "daemon", "cli"):
            for path in (SOURCE / folder).rglob("*.cpp"):
                for literals in re.findall(r'log::(?:warning|error)\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', path.read_text()):
                    text = re.sub(r"\{[^}]*\}", "...", "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals)))
                    text = re.sub(r"\.{3,}", "...", re.sub("[«»]", "", text))  # neighbours are one
                    if re.search(r"\w", text) and text not in explained:
                        missing.append(f"{path.relative_to(SOURCE)}: {text}")
        self.assertEqual(missing, [], "man/aragora-messages.7 lacks these")


if __name__ == "__main__":
    main()
