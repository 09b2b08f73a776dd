"""What the documents point to is there: relative links and their headings, paths that are named, runbooks of alerts."""
import pathlib
import re
import tempfile
import unittest

import yaml

# Not by name: their tests are not this file's.
import test_incidents
import test_rotation
import test_runbook
from runbooks import read
from support import SOURCE, main

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
# A page by its name in the sources, or by where the package has it; beside the pages are examples (cmake/Install.cmake).
PATH = re.compile(r"(?:(?<![\w/.-])docs|/usr/share/doc/aragora)/([\w./-]+\.\w+)(#[\w-]+)?")
EXAMPLES = re.compile(r"/usr/share/doc/aragora/examples/([\w./-]+\.\w+)")


def prose(text):
    """Without what is code: nobody follows a link there."""
    return re.sub(r"(?m)^    .*$", "", re.sub(r"(?ms)^```.*?^```", "", text))


def anchors(path):
    """As GitHub makes them of headings."""
    found = set()
    for heading in re.findall(r"(?m)^#{1,6} (.+?)\s*$", re.sub(r"(?ms)^```.*?^```", "", path.read_text())):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        found.add(slug if slug not in found else next(f"{slug}-{n}" for n in range(1, 99) if f"{slug}-{n}" not in found))
    return found


def broken(path, target, root):
    """Why it leads nowhere, or nothing."""
    name, _, anchor = target.partition("#")
    there = path if not name else (root / name[1:] if name.startswith("/") else path.parent / name)
    if not there.exists():
        return f"{path.relative_to(root)}: {target} is not there"
    if anchor and anchor not in anchors(there):
        return f"{path.relative_to(root)}: {target} has no such heading"
    return None


def documents(root):
    return [path for path in sorted(root.rglob("*.md")) if not {".git", "build", "node_modules"} & set(path.relative_to(root).parts)]


def links(root):
    """(how many were looked at, those that lead nowhere)"""
    looked, bad = 0, []
    for path in documents(root):
        text = path.read_text()
        for target in LINK.findall(prose(text)):
            if not re.match(r"[a-z]+:", target):
                looked += 1
                bad.append(broken(path, target, root))
    for path in [*documents(root), *sorted(root.glob("man/*.[0-9]"))]:
        text = path.read_text()
        named = [f"docs/{name}{anchor}" for name, anchor in PATH.findall(EXAMPLES.sub("", text))]
        for name in [*named, *(f"deploy/systemd/{example}" for example in EXAMPLES.findall(text))]:
            looked += 1
            bad.append(broken(root / "x", name, root) and f"{path.relative_to(root)}: {name}")
    return looked, [one for one in bad if one]


def alerts(root):
    """(alert, runbook) of every file of rules."""
    for path in sorted([*root.glob("docs/prometheus/*.yml"), *root.glob("deploy/prometheus/**/*.yml")]):
        for group in (yaml.safe_load(path.read_text()) or {}).get("groups") or []:
            for rule in group["rules"]:
                if "alert" in rule:
                    annotations = rule.get("annotations") or {}
                    yield f"{path.name}: {rule['alert']}", annotations.get("runbook") or annotations.get("runbook_url")


class Links(unittest.TestCase):
    def test_every_link_leads_somewhere(self):
        looked, bad = links(SOURCE)
        self.assertEqual(bad, [])
        self.assertGreater(looked, 60)

    def test_the_runbooks_of_alerts_are_there(self):
        found = list(alerts(SOURCE))
        self.assertGreater(len(found), 10)
        bad = [(alert, where) for alert, runbook in found if runbook for where in [runbook.replace("/usr/share/doc/aragora/", "docs/")] if broken(SOURCE / "x", where, SOURCE)]
        self.assertEqual(bad, [])

    def test_every_runbook_is_in_the_index(self):
        index = (SOURCE / "docs/runbooks/README.md").read_text()
        for path in (SOURCE / "docs/runbooks").glob("*.md"):
            if path.name != "README.md":
                self.assertIn(f"]({path.name})", index)

    def test_every_block_of_every_runbook_is_read_by_a_test_that_types_it(self):
        typed = {}
        for book in (*test_incidents.Incidents.books, *test_rotation.Rotation.books, *test_runbook.Runbook.books):
            typed.setdefault(book.name, set()).update(title for title, blocks in book.sections.items() if blocks)
        pages = {path.name: {title for title, blocks in read(path.read_text()).items() if blocks} for path in (SOURCE / "docs/runbooks").glob("*.md")}
        self.assertEqual(pages.pop("README.md"), set())
        self.assertEqual(typed, pages)

    def test_a_planted_one_is_found(self):
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            (root / "docs").mkdir()
            (root / "docs/a.md").write_text("# A heading, and more\n\n## Twice\n\n## Twice\n\n[a](#a-heading-and-more) [b](b.md) [c](#c) [d](#twice-1) [e](https://nowhere.example) docs/gone.md /usr/share/doc/aragora/lost.md /usr/share/doc/aragora/examples/lost/x.conf\n\n    [code](x.md)\n")
            looked, bad = links(root)
            self.assertEqual(looked, 7)
            self.assertEqual([one.split(": ")[1] for one in bad], ["b.md is not there", "#c has no such heading", "docs/gone.md", "docs/lost.md", "deploy/systemd/lost/x.conf"])


if __name__ == "__main__":
    main()
