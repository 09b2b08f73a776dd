"""Completion as it is installed, asked of the real shells: bash by the function that it registers, zsh at a terminal with its own
completion system, fish by its `complete -C`. Every command, every option and every kind of value, and nothing that is not there."""
import os
import pathlib
import pty
import subprocess
import unittest

from support import BINARY, Sandbox, main
from test_every_command import COMMANDS

# vared with a widget that completes what it is given and leaves; compadd tells what it was to add.
ZSH = r"""
# The directories where it looks by itself, as if the prefix were /usr.
fpath=($1/${^${(M)fpath:#/usr/share/*}#/usr/share/} $fpath)
autoload -Uz compinit && compinit -u -D
compadd() {
  if [[ ${*%%(|* )--(| *)} == *-(O|A|D)* ]]; then builtin compadd "$@"; return; fi
  local -a hits
  builtin compadd -O hits "$@"
  captured+=($hits)
  builtin compadd "$@"
}
_capture() { compstate[vared]=; _main_complete; compstate[insert]=; compstate[list]= }
zle -C capture complete-word _capture
zle-line-init() { captured=(); CURSOR=$#BUFFER; zle capture; zle accept-line }
zle -N zle-line-init
cd "$2"
while IFS= read -r line <&3; do
  vared line
  print -r -- "${(j:	:)captured}" >&4
done
"""
BASH = r"""
source "$1" && cd "$2" || exit
while IFS= read -r line; do
  read -ra COMP_WORDS <<<"$line"
  if [[ $line == *" " ]]; then COMP_WORDS+=(""); fi
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _aragora
  (IFS=$'\t'; echo "${COMPREPLY[*]}")
done
"""
FISH = r'for line in (cat); echo (complete -C "$line" | string replace -r "\t.*" "" | string join \t); end; true'


class Shell:
    """What a shell offers behind each of many lines, in one process."""

    def __init__(self, share, directory):
        self.share, self.directory = share, directory

    def answers(self, out, lines):
        found = out.split("\n")[:-1]
        assert len(found) == len(lines), f"{len(found)} answers to {len(lines)} lines:\n{out[-2000:]}"
        return [{word for word in answer.split("\t") if word} for answer in found]


class Bash(Shell):
    def ask(self, lines):
        # Readline gives «--kind=b» as three words.
        result = subprocess.run(["bash", "--norc", "-c", BASH, "bash", self.share / "bash-completion/completions/aragora", self.directory], input="".join(line.replace("=", " = ") + "\n" for line in lines),
                                capture_output=True, text=True, timeout=120)
        assert result.returncode == 0 and not result.stderr, result.stderr[-2000:]
        return self.answers(result.stdout, lines)


class Zsh(Shell):
    def ask(self, lines):
        script, asked, told = (self.share / name for name in ("capture.zsh", "asked", "told"))
        script.write_text(ZSH)
        asked.write_text("\n".join(lines) + "\n")
        main_end, its_end = pty.openpty()
        try:
            with open(asked) as questions, open(told, "w") as answers:
                process = subprocess.Popen(["bash", "-c", 'exec zsh -f "$@" 3<&"$Q" 4>&"$A"', "zsh", script, self.share, self.directory], stdin=its_end, stdout=its_end, stderr=its_end,
                                           env={"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(self.share), "Q": str(questions.fileno()), "A": str(answers.fileno())},
                                           pass_fds=(questions.fileno(), answers.fileno()), start_new_session=True)
                os.close(its_end)
                said = b""
                while True:  # what it draws is read, so that it goes on
                    try:
                        data = os.read(main_end, 65536)
                    except OSError:
                        break
                    if not data:
                        break
                    said += data
                assert process.wait(60) == 0, said[-2000:]
        finally:
            os.close(main_end)
        return self.answers(told.read_text(), lines)


class Fish(Shell):
    def ask(self, lines):
        result = subprocess.run(["fish", "-c", FISH], input="\n".join(lines) + "\n", capture_output=True, text=True, cwd=self.directory, timeout=240,
                                env={"PATH": f"{self.share.parent / 'bin'}:{os.environ['PATH']}", "HOME": str(self.share), "XDG_DATA_DIRS": f"{self.share}:/usr/share"})
        assert result.returncode == 0 and not result.stderr, result.stderr[-2000:]
        return self.answers(result.stdout, lines)


class Completion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = cls.enterClassContext(Sandbox())
        prefix = place.directory / "prefix"
        subprocess.run(["cmake", "--install", pathlib.Path(BINARY).parents[1], "--prefix", "/usr"], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DESTDIR": str(prefix)})
        directory = place.directory / "here"
        (directory / "made").mkdir(parents=True)
        (directory / "made.toml").touch()
        cls.shells = [kind(prefix / "usr/share", directory) for kind in (Bash, Zsh, Fish)]

    def expect(self, expected):
        """{line: the words that are offered, or None for some}; of the options when the line ends with «--»."""
        lines = list(expected)
        for shell in self.shells:
            for line, found in zip(lines, shell.ask(lines)):
                with self.subTest(type(shell).__name__, line=line):
                    self.assertEqual({word.rstrip("/") for word in found}, expected[line])

    def test_every_command_and_option_and_no_other(self):
        expected = {}
        for path, command, options in COMMANDS:
            line = " ".join(("aragora", *path))
            expected[f"{line} --"] = {option["name"] for option in options}
            *above, name = path
            siblings = {other[-1] for other, _, _ in COMMANDS if list(other[:-1]) == above}
            expected[" ".join(("aragora --config backup -q", *above, name[:1]))] = {sibling for sibling in siblings if sibling.startswith(name[0])} | self.others(above, name[:1])
        expected["aragora backup --output /x ver"] = expected["aragora help backup ver"] = {"verify"}
        self.expect(expected)

    def others(self, above, start):
        """What else may stand there: arguments that are one of several, files."""
        arguments = next((command["arguments"] for path, command, _ in COMMANDS if list(path) == above), [])
        return {choice for argument in arguments if "|" in argument for choice in argument.split("|") if choice.startswith(start)}

    def test_every_value_is_completed_as_what_it_is(self):
        expected = {}
        for path, _, options in COMMANDS:
            for option in options:
                line = " ".join(("aragora", *path, option["name"]))
                if "|" in option["value"]:
                    expected[f"{line} "] = set(option["value"].split("|"))
                elif option["value"] in ("DIRECTORY", "PLACE"):
                    expected[f"{line} ma"] = {"made"}
                elif option["value"] in ("FILE", "BACKUP"):
                    expected[f"{line} ma"] = {"made", "made.toml"}
                elif option["takes_value"]:
                    expected[f"{line} "] = set()
        expected |= {"aragora backup wal-push ma": {"made", "made.toml"}, "aragora completion z": {"zsh"}, "aragora user role ada@example.org v": {"viewer"}}
        self.expect(expected)

    def test_a_value_behind_an_equals_sign(self):
        for shell in self.shells:
            for found in shell.ask(["aragora backup create --kind=b"]):
                self.assertEqual({word.split("=")[-1] for word in found}, {"base"})


if __name__ == "__main__":
    main()
