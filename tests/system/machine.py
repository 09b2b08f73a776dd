"""A machine that booted (booted.py), to type the runbook at as it is printed: Debian's PostgreSQL packages as they come, the
users and directories that a package makes, the units run by systemd itself."""
from booted import Booted


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
