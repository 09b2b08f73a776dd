"""A machine that booted (booted.py), to type the runbook at as it is printed: Debian's PostgreSQL packages as they come, the
users and directories that a package makes, the units run by systemd itself."""
import re

from booted import Booted
from support import SOURCE


class Machine(Booted):
    def install_postgresql(self):
        """As the package does it."""
        self.run("pg_createcluster 15 main >/dev/null && systemctl start postgresql@15-main")

    def make_database(self, password):
        """What the deployment uses."""
        self.run(f"psql -q -c \"CREATE ROLE aragora LOGIN CREATEDB PASSWORD '{password}'\" -c 'CREATE DATABASE aragora OWNER aragora'", user="postgres")

    def install_aragora(self):
        """As the package does it: the user and its directories."""
        self.run("systemd-sysusers && systemd-tmpfiles --create aragora.conf")


def sections(name="recovery.md"):
    """A runbook: its titles with the blocks of each, and the user that the first line of a block names."""
    found, title, block = {}, None, None
    for line in (SOURCE / "docs/runbooks" / name).read_text().splitlines():
        if line.startswith("## "):
            title, block = line[3:], None
            found[title] = []
        elif line.startswith("    ") and title:
            if block is None:
                user = re.match(r"    # as (\w+)", line)
                assert user, f"a block does not say who types it: {line}"
                block = [user[1], []]
                found[title].append(block)
            block[1].append(line[4:])
        else:
            block = None
    return {title: [(user, "\n".join(lines)) for user, lines in blocks] for title, blocks in found.items()}
