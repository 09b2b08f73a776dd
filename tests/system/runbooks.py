"""The runbooks (docs/runbooks), typed as they stand. A block of commands is indented and names its user in its first line, and the
exit status when it is not 0; a block of text behind it is what it prints, line by line, where … stands for anything. Document and
test cannot differ: nothing is typed that is not in the document, and what nobody typed fails."""
import re
import unittest
from typing import NamedTuple

from support import SOURCE

RUNBOOKS = SOURCE / "docs/runbooks"
OPENING = re.compile(r"# as (\w+)(?: \(exits (\d+)\))?$")


class Block(NamedTuple):
    user: str
    status: int
    text: str
    prints: tuple


class Book:
    def __init__(self, name, only=None, without=()):
        """Of all sections, or of those that another test leaves to this one."""
        found = read((RUNBOOKS / name).read_text())
        assert {*(only or ()), *without} <= set(found), f"{name} has no such section"
        self.name, self.typed = name, set()
        self.sections = {title: blocks for title, blocks in found.items() if title not in without and (only is None or title in only)}

    def type(self, run, title, only=None, **environment):
        """The blocks of a section in their order, or those with these numbers; what they printed."""
        out = []
        for number, block in enumerate(self.sections[title]):
            if only is None or number in only:
                out.append(run(block.text, user=block.user, check=block.status, **environment))
                self.typed.add((title, number))
                for line in block.prints:
                    assert printed(line, out[-1]), f"{self.name}, {title}: «{line}» is not in what this printed:\n{block.text}\n\n{out[-1]}"
        return "\n".join(out)

    def untyped(self):
        return [(title, number) for title, blocks in self.sections.items() for number in range(len(blocks)) if (title, number) not in self.typed]


def printed(line, output):
    """Whether a line stands there, however wide its columns are."""
    words = r"\s+".join(re.escape(word).replace("…", ".*") for word in line.split())
    return re.search(words, output) is not None


def read(text):
    found, blocks, lines, fence = {}, None, None, None
    for line in text.splitlines():
        if fence is not None:
            if not line.startswith("```"):
                fence.append(line)
                continue
            if fence[0] == "```text":
                assert blocks, "something is printed, and nothing was typed"
                blocks[-1] = blocks[-1]._replace(prints=tuple(fence[1:]))
            fence = None
        elif line.startswith("```"):
            fence, lines = [line], None
        elif line.startswith("## "):
            blocks = found.setdefault(line[3:], [])
            lines = None
        elif line.startswith("    ") and blocks is not None:
            if lines is None:
                opening = OPENING.match(line[4:])
                assert opening, f"a block does not say who types it: {line}"
                lines = []
                blocks.append(Block(opening[1], int(opening[2] or 0), "", ()))
            lines.append(line[4:])
            blocks[-1] = blocks[-1]._replace(text="\n".join(lines))
        else:
            lines = None
    return found


class RunbookTests(unittest.TestCase):
    """Tests that type `books` together: when all of them ran, every block was typed."""
    books = ()

    def setUp(self):
        super().setUp()
        type(self).__dict__.get("ran") or setattr(type(self), "ran", set())
        self.ran.add(self._testMethodName)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        if set(unittest.defaultTestLoader.getTestCaseNames(cls)) == cls.__dict__.get("ran", set()):
            missing = {book.name: book.untyped() for book in cls.books if book.untyped()}
            assert not missing, f"nobody typed {missing}"
