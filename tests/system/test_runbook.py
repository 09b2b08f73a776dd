"""docs/runbooks/recovery.md, typed as it stands: every block word for word, by the user that it names, on a machine that
booted, with Debian's PostgreSQL, where nothing else exists (machine.py)."""
import contextlib
import json
import pathlib
import re
import secrets
import shutil
import time

from machine import Machine
from runbooks import Book, RunbookTests
from support import main

PASSWORD = "n0t-the-sample-pw"
PREPARATION = "Before it happens"
MOMENT = "A table was emptied, a migration went wrong: back to a moment"
LOST = "The server or its disk is gone"
STUCK = "The receiver is stuck, or commits hang"
GONE = "This machine is gone: only the copy elsewhere and the recovery key are left"
SQLITE = "The database is SQLite"
DUMP = "Only a dump is left"
LEAKED = "A key leaked, or somebody left who knew it"
WITHOUT = "Without Aragora"


class Runbook(RunbookTests):
    book = Book("recovery.md")
    books = [book]

    def type(self, machine, title, only=None, **environment):
        return self.book.type(machine.run, title, only, **environment)

    def configure(self, machine, postgres):
        """What an operator writes: settings, and secrets in files of the services' user."""
        machine.install_aragora()
        machine.run("aragora init --production")
        if postgres:
            machine.run(f"cd /etc/aragora/credentials; echo postgresql://aragora:{PASSWORD}@127.0.0.1:5432/aragora > DATABASE_URL; echo sk-ant-api03-{secrets.token_hex(20)} > ANTHROPIC_API_KEY; chgrp aragora *; chmod 0640 *")
        toml = machine.path("/etc/aragora/aragora.toml")
        text = toml.read_text().replace("allowed_origins = []", 'allowed_origins = ["https://aragora.example.org"]')
        text = text.replace("# anthropic_api_key_file", "anthropic_api_key_file")
        if not postgres:
            text = re.sub(r"(?m)^(anthropic_api_key_file|url_file) = .*", "", text).replace('"production"', '"development"')
        toml.write_text(text + '\n[backup]\ndirectory = "/backups"\noffsite = "/mnt/backups"\nseal_interval_seconds = 1\nrecipients = []\n' + ("" if postgres else "continuous = true\n"))
        if not postgres:
            machine.run("echo ARAGORA_ENV=development > /etc/default/aragora")

    def name_recipient(self, machine, out):
        toml = machine.path("/etc/aragora/aragora.toml")
        recipient = re.search("age1\\w+", out)[0]
        toml.write_text(toml.read_text().replace("recipients = []", f'recipients = ["{recipient}"]'))

    @contextlib.contextmanager
    def postgres(self):
        with Machine() as machine:
            machine.install_postgresql()
            machine.make_database(PASSWORD)
            self.configure(machine, postgres=True)
            machine.run("aragora migrate", user="aragora")
            machine.run("systemctl start aragora")
            yield machine

    def insert(self, machine, name):
        machine.run(f"psql -d aragora -qc \"INSERT INTO settings (name, value, updated_at) VALUES ('{name}', '', 0)\"", user="postgres")

    def names(self, machine, options="-d aragora"):
        return set(machine.run(f"cd /; psql {options} -qAtc 'SELECT name FROM settings'", user="postgres").split())

    def wait_for_log(self, machine, elsewhere=False):
        position = machine.run("psql -qAtc 'SELECT pg_current_wal_flush_lsn()'", user="postgres").strip()
        number = lambda text: (int(text.split("/")[0], 16) << 32) + int(text.split("/")[1], 16)
        path = machine.path("/mnt/backups/wal/status.json" if elsewhere else "/backups/wal/status.json")
        deadline = time.monotonic() + 30
        while not path.exists() or number(json.loads(path.read_text())["flushed"]) < number(position):
            self.assertLess(time.monotonic(), deadline, "the log does not arrive")
            time.sleep(0.1)

    def prepared(self, machine):
        """The first section; a moment between what was written before and what came after it."""
        self.insert(machine, "before")
        self.name_recipient(machine, self.type(machine, PREPARATION, only=[0, 1]))
        self.assertIn("Last drill", self.type(machine, PREPARATION, only=[2, 3]))
        self.insert(machine, "kept")
        self.wait_for_log(machine)
        time.sleep(1.1)
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        time.sleep(1.1)
        machine.run("psql -d aragora -qc \"DELETE FROM settings WHERE name = 'kept'\"", user="postgres")
        self.insert(machine, "late")
        self.wait_for_log(machine)
        self.wait_for_log(machine, elsewhere=True)
        return moment

    def test_back_to_a_moment_the_lost_server_and_a_stuck_receiver(self):
        with self.postgres() as machine:
            moment = self.prepared(machine)
            self.type(machine, MOMENT, only=[0, 1], MOMENT=moment)
            missing = machine.path("/var/lib/postgresql/15/missing.sql").read_text()
            self.assertIn("kept", missing)
            self.assertNotIn("late", missing)
            self.type(machine, MOMENT, only=[2])
            self.assertFalse(machine.path("/var/lib/postgresql/15/recovered").exists())
            self.type(machine, LOST)
            self.assertLessEqual({"before", "late"}, self.names(machine))
            self.assertNotIn("kept", self.names(machine))
            machine.run("psql -qc \"ALTER SYSTEM SET synchronous_standby_names = 'aragora_wal'\" -c 'SELECT pg_reload_conf()'", user="postgres")
            self.type(machine, STUCK)
            self.insert(machine, "not hanging")
            self.wait_for_log(machine)

    def test_only_the_copy_elsewhere_and_the_recovery_key_are_left(self):
        with contextlib.ExitStack() as kept:
            with self.postgres() as machine:
                machine.run("echo '# ours: 7f3a' >> /etc/postgresql/15/main/pg_hba.conf; echo 'work_mem = 7MB' > /etc/postgresql/15/main/conf.d/ours.conf")
                self.prepared(machine)
                self.assertIn("4 files of PostgreSQL", machine.run("aragora backup verify --input latest-configuration", user="aragora"))
                machine.run("chgrp postgres /etc/postgresql/15/main/pg_hba.conf")
                machine.run("aragora backup create --kind configuration", user="aragora")
                self.assertRegex(machine.run("aragora backup verify --input latest-configuration", user="aragora"), "NOT SAVED: .*pg_hba.conf: Permission denied")
                machine.run("chgrp aragora /etc/postgresql/15/main/pg_hba.conf")
                machine.run("aragora backup create --due", user="aragora")
                before = machine.path("/etc/aragora/credentials/ARAGORA_ENCRYPTION_KEY").read_text()
                new = kept.enter_context(Machine())
                shutil.copytree(machine.path("/mnt/backups"), new.path("/mnt/backups"), symlinks=True)
                shutil.copy(machine.path("/root/recovery.key"), new.path("/root/recovery.key"))
            new.install_aragora()
            new.install_postgresql()
            self.assertEqual(new.run("find /etc/aragora -type f"), "")
            new.run("chown -R aragora:aragora /mnt/backups")
            out = self.type(new, GONE)
            self.assertNotIn(before.strip(), out)
            self.assertNotIn(PASSWORD, out)
            self.assertLessEqual({"before", "late"}, self.names(new))
            self.assertEqual(new.path("/etc/aragora/credentials/ARAGORA_ENCRYPTION_KEY").read_text(), before)
            self.assertEqual(new.run("stat -c '%a %U' /etc/aragora/credentials/* /etc/aragora/credentials | sort -u"), "640 root\n750 root\n")
            self.assertEqual(new.run("stat -c '%a %U %G' /etc/aragora/aragora.toml"), "640 root aragora\n")
            self.assertIn("# ours: 7f3a", new.path("/etc/postgresql/15/main/pg_hba.conf").read_text())
            self.assertEqual(new.run("psql -qAtc 'SHOW work_mem'", user="postgres").strip(), "7MB")
            self.insert(new, "goes on")
            self.wait_for_log(new)
            # Nothing is overwritten, and a stranger's key opens nothing.
            again = self.book.sections[GONE][0].text
            self.assertIn("exists already", new.run(again.splitlines()[-1], check=73))
            new.run("aragora backup keygen --out /root/other.key")
            new.run("aragora restore --configuration --from /mnt/backups --identity /root/other.key --to /root/none", check=65)
            self.assertFalse(new.path("/root/none").exists())

    def test_without_aragora_a_dump_and_a_new_key(self):
        with self.postgres() as machine:
            self.prepared(machine)
            machine.run("systemctl stop aragora-wal")  # it writes where we read
            self.type(machine, WITHOUT, only=[0, 1])
            self.assertEqual(oct(machine.path("/root/settings.json").stat().st_mode & 0o777), "0o600")
            machine.run("aragora restore --configuration --input /root/settings.json --to /root/settings --dry-run")
            self.assertIn("before", self.names(machine, "-d new"))
            self.type(machine, WITHOUT, only=[2])
            # What fails on the way must end the recovery, not the log.
            whole = self.book.sections[WITHOUT][3]
            machine.run("cd /var/lib/postgresql/15; mv log/*[0-9A-F] /root; mkdir kept; mv log kept; mkdir -m 700 log; cp kept/log/base.tar.zst log; chown -R postgres log; for name in /root/0*; do mkdir log/$(basename $name); done; chmod -R a+rX log")
            failed = machine.run(whole.text, user=whole.user, check=None)
            self.assertNotIn("count", failed)
            log = machine.path("/var/lib/postgresql/15/look.log").read_text()
            self.assertIn("exit code 200", log)
            self.assertNotIn("database system is ready", log)
            machine.run("cd /var/lib/postgresql/15; rm -r recovered look.log log; mv kept/log .; mv /root/0* log; chown -R postgres log")
            self.type(machine, WITHOUT, only=[3])
            found = self.names(machine, "-p 5433 -d aragora")
            self.assertLessEqual({"before", "late"}, found, "through the open segment")
            self.assertNotIn("kept", found)
            machine.run("/usr/lib/postgresql/15/bin/pg_ctl -D /var/lib/postgresql/15/recovered -w stop", user="postgres")
            # Only a dump.
            machine.run("psql -d aragora -qc \"DELETE FROM settings WHERE name = 'before'\"", user="postgres")
            self.type(machine, DUMP)
            self.assertIn("before", self.names(machine))
            # A new key.
            self.type(machine, LEAKED, only=[0])
            machine.run("cd /etc/aragora/credentials; mv ARAGORA_ENCRYPTION_KEY ARAGORA_ENCRYPTION_PREVIOUS_KEYS; umask 077; openssl rand -hex 32 > ARAGORA_ENCRYPTION_KEY; chown aragora *; "
                        "sed -i 's|^key_file.*|&\\nprevious_keys_file = \"/etc/aragora/credentials/ARAGORA_ENCRYPTION_PREVIOUS_KEYS\"|' ../aragora.toml")
            self.type(machine, LEAKED, only=[1, 2, 3])
            machine.run("sed -i '/previous_keys_file/d' /etc/aragora/aragora.toml")
            machine.run("aragora backup verify --level 1 --from offsite", user="aragora")

    def test_sqlite(self):
        with Machine() as machine:
            self.configure(machine, postgres=False)
            machine.run("install -d -o aragora -g aragora -m 0750 /backups /mnt/backups; runuser -u aragora -- aragora backup copy --init")
            self.name_recipient(machine, machine.run("aragora backup keygen --out /root/recovery.key"))
            machine.run("aragora migrate", user="aragora")
            machine.run("aragora backup create", user="aragora")
            machine.run("systemctl start aragora")
            database = machine.path("/var/lib/aragora/aragora.db")
            self.assertTrue(database.exists())
            self.type(machine, SQLITE)
            self.assertEqual(len(list(database.parent.glob("aragora.db.pre-restore-*"))), 1)
            self.type(machine, WITHOUT, only=[4])
            self.assertEqual(machine.path("/root/aragora.db").read_bytes()[:15], b"SQLite format 3")


if __name__ == "__main__":
    main()
