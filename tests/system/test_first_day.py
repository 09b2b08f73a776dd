"""The first day of a sysadmin, as root and as the service's user, on a machine that booted: what is typed, what the units then
do, and what happens when something is taken away from them."""
import re
import time
import unittest

from booted import Booted
from support import main

class FirstDay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = Booted()
        cls.addClassCleanup(cls.machine.__exit__)
        run = cls.machine.run
        run("systemd-sysusers && systemd-tmpfiles --create aragora.conf")
        cls.printed = cls.machine.configure_production()

    def setUp(self):
        self.run = self.machine.run
        self.run("systemctl reset-failed; systemctl restart aragora")

    def ready(self):
        return self.machine.ready()

    def foreign(self):
        """What below the state directory is not the service's."""
        return self.run("find /var/lib/aragora ! -user aragora -ls")

    def test_what_init_writes_is_roots_and_the_service_reads_it(self):
        self.assertEqual(self.run("stat -c '%a %U %G' /etc/aragora /etc/aragora/aragora.toml /etc/aragora/credentials /etc/aragora/credentials/* | sort -u"), "640 root aragora\n750 root aragora\n")
        self.assertIn('state_directory = "/var/lib/aragora"', self.run("cat /etc/aragora/aragora.toml"))
        out = self.run("aragora validate-env --unit aragora")
        self.assertIn("All production requirements met", out)
        self.assertTrue(self.ready())
        # The same for the service's user, and by hand.
        self.assertIn("All production requirements met", self.run("aragora validate-env", user="aragora"))

    def test_what_the_service_cannot_read_is_named_before_it_fails(self):
        for broken, path, mended in (("chmod 0600 /etc/aragora/aragora.toml", "/etc/aragora/aragora.toml", "chmod 0640 /etc/aragora/aragora.toml"),
                                     ("chgrp root /etc/aragora/credentials", "/etc/aragora/credentials", "chgrp aragora /etc/aragora/credentials"),
                                     ("chgrp root /etc/aragora/credentials/JWT_SECRET", "/etc/aragora/credentials/JWT_SECRET", "chgrp aragora /etc/aragora/credentials/JWT_SECRET"),
                                     ("chown root /var/lib/aragora && chmod 0700 /var/lib/aragora", "/var/lib/aragora", "chown aragora /var/lib/aragora && chmod 0750 /var/lib/aragora")):
            with self.subTest(broken):
                self.run(broken)
                try:
                    for how in ("--unit aragora", ""):
                        out = self.run(f"aragora validate-env {how}", check=78)
                        self.assertRegex(out, f"✗ Service user: aragora cannot (read|write) {path}")
                finally:
                    self.run(mended)
        # The advice, typed as it is printed, repairs it.
        self.run("chgrp root /etc/aragora/credentials/JWT_SECRET; chmod 0600 /etc/aragora/credentials/JWT_SECRET")
        advice = re.search(r"cannot read /etc/aragora/credentials/JWT_SECRET.*\n\s+→ (.*)", self.run("aragora validate-env --unit aragora", check=78))[1]
        self.run(advice)
        self.run("aragora validate-env --unit aragora")

    def test_what_root_does_leaves_everything_to_the_service(self):
        self.run("aragora backup && aragora backup create --kind configuration && aragora backup verify && aragora drill")
        self.assertEqual(self.foreign(), "")
        self.run("systemctl start aragora-backup")
        self.assertEqual(self.machine.shows("aragora-backup", "Result"), "success")
        self.assertEqual(self.foreign(), "")
        # The runbook, as either of them.
        newest = re.search(r"\d{8}T\d{6}Z-\w+", self.run("aragora backup list", user="aragora"))
        self.assertTrue(newest)
        for user in ("root", "aragora"):
            self.run("systemctl stop aragora")
            self.assertIn("would", self.run("aragora restore --input latest --dry-run", user=user))
            self.assertIn("without a terminal it needs --yes", self.run("aragora restore --input latest", user=user, check=64))
            self.run("aragora restore --input latest --yes --verify", user=user)
            self.run("systemctl start aragora")
            self.assertTrue(self.ready())
        self.assertEqual(self.foreign(), "")

    def test_without_its_configuration_it_is_not_another_service(self):
        self.run("mv /etc/aragora/aragora.toml /root/away")
        try:
            self.assertNotEqual(self.machine.status("systemctl restart aragora"), 0)
            self.assertEqual(self.machine.shows("aragora", "ExecMainStatus"), "78")
            self.assertEqual(self.machine.shows("aragora", "ActiveState"), "failed")
            self.assertFalse(self.ready())
            # Typed by hand neither.
            for user in ("root", "aragora"):
                self.assertIn("/etc/aragora/aragora.toml", self.run("aragora backup", user=user, check=78))
            self.assertEqual(self.run("ls /var/lib/aragora").count(".db"), 0)
        finally:
            self.run("mv /root/away /etc/aragora/aragora.toml")
        # Nobody else is told that there is none.
        self.assertIn("/etc/aragora/aragora.toml", self.run("cd /; HOME=/ runuser -u nobody -- aragora backup list 2>&1", check=77))

    def test_it_comes_back_with_its_database(self):
        self.run("systemctl stop postgresql@15-main")
        try:
            self.machine.status("systemctl restart aragora")
            self.machine.wait(lambda: int(self.machine.shows("aragora", "NRestarts")) >= 6, 60)  # five were the limit once
            self.assertIn("status=69", self.run("journalctl -q -u aragora -n 30 --no-pager -o cat"))
        finally:
            self.run("systemctl start postgresql@15-main")
        self.machine.wait(self.ready, 30)

    def test_credentials_of_the_unit_are_looked_at(self):
        self.run("mv /etc/aragora/credentials/JWT_SECRET /etc/jwt && chown root:root /etc/jwt && chmod 0600 /etc/jwt && sed -i 's|^jwt_secret_file|# jwt_secret_file|' /etc/aragora/aragora.toml")
        self.run("mkdir -p /etc/systemd/system/aragora.service.d && printf '[Service]\\nLoadCredential=JWT_SECRET:/etc/jwt\\n' > /etc/systemd/system/aragora.service.d/jwt.conf && systemctl daemon-reload")
        try:
            self.run("systemctl restart aragora && aragora validate-env --unit aragora")
            self.run("mv /etc/jwt /etc/jwt.away")
            self.assertIn("/etc/jwt", self.run("aragora validate-env --unit aragora", check=78))
            self.run("mv /etc/jwt.away /etc/jwt")
        finally:
            self.run("rm -r /etc/systemd/system/aragora.service.d; systemctl daemon-reload; install -m 0640 -g aragora /etc/jwt /etc/aragora/credentials/JWT_SECRET; sed -i 's|^# jwt_secret_file|jwt_secret_file|' /etc/aragora/aragora.toml")

    def test_what_only_the_unit_says_is_found_by_root_and_named_to_its_user(self):
        """Secrets that only systemd reads, one encrypted, one under a name of its own, a variable in a file that only root reads."""
        drop_in = ["LoadCredential=DATABASE_URL:/root/secrets/DATABASE_URL", "LoadCredential=anthropic_api_key:/root/secrets/ANTHROPIC_API_KEY", "LoadCredential=jwt:/root/secrets/JWT_SECRET",
                   "LoadCredential=KEY:/root/secrets/ARAGORA_ENCRYPTION_KEY", "Environment=ARAGORA_ENCRYPTION_KEY_FILE=%d/KEY", "LoadCredentialEncrypted=ARAGORA_API_TOKEN:/root/secrets/token.cred"]
        self.run("cp -a /etc/aragora /root/kept; install -d -m 700 /root/secrets; cp /etc/aragora/credentials/* /root/secrets; rm /etc/aragora/credentials/*; chmod 600 /root/secrets/*; sed -i '/_file = /d' /etc/aragora/aragora.toml")
        try:
            self.run("umask 077; echo JWT_SECRET_FILE=/run/credentials/aragora.service/jwt > /etc/default/aragora; systemd-creds encrypt --with-key=host --name=ARAGORA_API_TOKEN /root/secrets/ARAGORA_API_TOKEN /root/secrets/token.cred 2>&1")
            self.run("mkdir -p /etc/systemd/system/aragora.service.d; printf '%s\\n' '[Service]' " + " ".join(f"'{line}'" for line in drop_in) + " > /etc/systemd/system/aragora.service.d/secrets.conf; systemctl daemon-reload")
            self.run("systemctl restart aragora")
            self.assertTrue(self.ready())
            for command in ("aragora validate-env --unit aragora", "aragora validate-env"):
                self.assertIn("All production requirements met", self.run(command))
            self.run("aragora verify; aragora verify --unit aragora.service")
            self.assertIn("as root: aragora --unit aragora.service", self.run("aragora verify", user="aragora", check=77))
            # What this process's own environment says counts before what the unit says.
            self.assertIn("sqlite", self.run("ARAGORA_ENV=development DATABASE_URL=postgresql://x:y@127.0.0.1:1/sqlite aragora config show --json").lower())
            # Gone, it is a finding, as it would be for systemd.
            self.run("mv /root/secrets/DATABASE_URL /root/secrets/away")
            self.assertIn("/root/secrets/DATABASE_URL", self.run("aragora validate-env --offline --unit aragora", check=78))
            self.assertIn("does not know the unit", self.run("aragora validate-env --offline --unit aragorra", check=78))
            self.run("printf '[Service]\\nUser=nobody-here\\n' > /etc/systemd/system/aragora.service.d/user.conf")
            self.assertIn("there is no user nobody-here", self.run("aragora validate-env --offline --unit aragora", check=78))
        finally:
            self.run("rm -rf /etc/aragora /etc/default/aragora /etc/systemd/system/aragora.service.d; mv /root/kept /etc/aragora; systemctl daemon-reload")

    def test_the_server_is_asked_as_the_units_user(self):
        """PostgreSQL's own rule on Debian's socket: who asks is the user."""
        self.run("cp -p /etc/aragora/credentials/DATABASE_URL /root/url; echo 'postgresql:///aragora?host=/var/run/postgresql' > /etc/aragora/credentials/DATABASE_URL")
        try:
            self.run("systemctl restart aragora")
            self.assertIn("All production requirements met", self.run("aragora validate-env --unit aragora"))
        finally:
            self.run("cp /root/url /etc/aragora/credentials/DATABASE_URL")

    def test_a_program_that_prints_a_secret_runs_as_the_unit_runs_it(self):
        self.run("""cat > /usr/local/bin/the-key <<'END'
#!/bin/sh
id -un >> /tmp/who-asked
cat "$HOME/the-key"
END
chmod 0755 /usr/local/bin/the-key; rm -f /tmp/who-asked; install -m 0666 /dev/null /tmp/who-asked
install -m 0400 -o aragora -g aragora /etc/aragora/credentials/JWT_SECRET /var/lib/aragora/the-key
cp -p /etc/aragora/aragora.toml /root/good; sed -i 's|^jwt_secret_file.*|jwt_secret_command = "/usr/local/bin/the-key"|' /etc/aragora/aragora.toml; mv /etc/aragora/credentials/JWT_SECRET /root/away""")
        try:
            for command in ("aragora validate-env --unit aragora", "aragora validate-env", "aragora verify"):
                self.run(command)
            self.assertEqual(self.run("sort -u /tmp/who-asked"), "aragora\n")
            self.run("mv /usr/local/bin/the-key /usr/local/bin/gone")
            self.assertIn("/usr/local/bin/the-key", self.run("aragora verify", check=78))
        finally:
            self.run("mv /root/good /etc/aragora/aragora.toml; mv /root/away /etc/aragora/credentials/JWT_SECRET; rm -f /var/lib/aragora/the-key")

    def test_a_nightly_run_waits_for_its_database(self):
        self.run("""mkdir -p /etc/systemd/system/aragora-backup.service.d; printf '[Service]\\nRestartSec=1\\n' > /etc/systemd/system/aragora-backup.service.d/soon.conf; systemctl daemon-reload; systemctl stop postgresql@15-main""")
        try:
            self.machine.status("systemctl start aragora-backup")
            self.machine.wait(lambda: int(self.machine.shows("aragora-backup", "NRestarts")) >= 2, 30)
            before = self.run("aragora backup list --json | grep -c '\"full\"' || true")
            self.run("systemctl start postgresql@15-main")
            self.machine.wait(lambda: self.machine.shows("aragora-backup", "ActiveState") == "inactive", 60)
            self.assertEqual(self.machine.shows("aragora-backup", "Result"), "success")
            self.assertIn("full", self.run("aragora backup list"), before)
        finally:
            self.run("systemctl start postgresql@15-main; rm -r /etc/systemd/system/aragora-backup.service.d; systemctl daemon-reload")

    def test_what_init_says_for_this_machine_is_all_that_there_is_to_type(self):
        """The commands as they are printed, but for certbot's own, which needs an authority of the internet: a certificate of our own lies where it would."""
        host, sql = "aragora.example.org", "psql -q -c 'ALTER DATABASE {0} RENAME TO {1}' -c 'ALTER ROLE {0} RENAME TO {1}'"
        self.run("systemctl stop aragora; mkdir /root/before; mv /etc/aragora /root/before/etc; mv /var/lib/aragora /root/before/lib; systemd-tmpfiles --create aragora.conf")
        self.run(sql.format("aragora", "before"), user="postgres")
        try:
            printed = self.run(f"aragora init --target systemd --host {host}")
            create, key, begin, certificate, proxy = re.findall(r"(?m)^  (?:[123]\. )?(\S.+)", printed)
            self.assertEqual(certificate, f"certbot certonly --webroot -w /var/www/html -d {host}")
            self.run(f"{create}; echo 'sk-ant-api03-{'0123456789' * 4}' | {key}; {begin}")
            self.machine.wait(self.ready, 30)
            self.assertEqual(set(self.run("systemctl is-active aragora.socket aragora aragora-backup.timer aragora-drill.timer aragora-validate.timer").split()), {"active"})
            self.assertEqual(set(self.run("systemctl is-enabled aragora.socket aragora aragora-backup.timer aragora-drill.timer aragora-validate.timer").split()), {"enabled"})
            self.assertEqual(self.run("stat -c '%a %U %G' /etc/aragora/aragora.toml /etc/aragora/credentials/* | sort -u"), "640 root aragora\n")
            self.assertEqual(self.run("stat -c '%a %U %G' /etc/aragora/database.sql"), "600 root root\n")
            # Whoever makes backups knows the database, and no key of a provider; the daemon's user deletes none.
            self.run("systemctl start aragora-backup")
            self.assertEqual(self.run("stat -c '%U %G' /var/backups/aragora/full/*/manifest.json"), "aragora-backup aragora\n")
            self.assertIn("proven by restore", self.run("aragora backup list", user="aragora"))
            self.assertNotEqual(self.machine.status("runuser -u aragora -- rm -r /var/backups/aragora/full 2>/dev/null"), 0)
            self.assertNotEqual(self.machine.status("runuser -u aragora-backup -- cat /etc/aragora/credentials/ANTHROPIC_API_KEY 2>/dev/null"), 0)
            made = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN={host} -addext subjectAltName=DNS:{host} -keyout privkey.pem -out fullchain.pem 2>/dev/null"
            renew = f"cd /etc/letsencrypt/live/{host}; {made}; RENEWED_DOMAINS={host} RENEWED_LINEAGE=$PWD /etc/letsencrypt/renewal-hooks/deploy/aragora"
            self.run(f"mkdir -p /etc/letsencrypt/live/{host}; cd /etc/letsencrypt/live/{host}; {made}")
            for command in (proxy, renew):
                self.assertIn(f"that of {host} is shown by localhost:443, valid until", self.run(command))
                asked = f"curl -sS --cacert /etc/letsencrypt/live/{host}/fullchain.pem --resolve {host}:443:127.0.0.1 https://{host}"
                self.assertIn('"healthy"', self.run(f"{asked}/api/health"))
                self.assertEqual(self.run(f"{asked}/metrics -o /dev/null -w '%{{http_code}}'"), "404")
            self.assertEqual(self.run("ls -A /etc/aragora/tls | wc -l"), "3\n", "the one before is kept")
            # The check that was set up looks at what is shown, which ends in nine days.
            self.run(f"echo '127.0.0.1 {host}' >>/etc/hosts")
            self.assertIn(f"clients of {host} are shown: {host}:443: its certificate", self.run("aragora validate-env --only certificate.shown", check=1))
        finally:
            self.run("systemctl stop nginx; systemctl disable --now aragora.socket aragora aragora-backup.timer aragora-drill.timer aragora-validate.timer", check=None)
            self.run("rm -rf /etc/systemd/system/aragora-{backup,drill,wal}.service.d /var/backups/aragora/*; systemctl daemon-reload")
            self.run("rm -rf /etc/aragora /var/lib/aragora; mv /root/before/etc /etc/aragora; mv /root/before/lib /var/lib/aragora")
            self.run("psql -q -c 'DROP DATABASE IF EXISTS aragora' -c 'DROP ROLE IF EXISTS aragora'; " + sql.format("before", "aragora"), user="postgres")

    def test_a_reload_says_what_it_did(self):
        before = self.machine.shows("aragora", "MainPID")
        self.run("cp -p /etc/aragora/aragora.toml /root/good")
        try:
            self.run("echo 'broken = [' >> /etc/aragora/aragora.toml")
            self.assertNotEqual(self.machine.status("systemctl reload aragora"), 0)
            self.assertTrue(self.ready())
            self.run("cp /root/good /etc/aragora/aragora.toml; sed -i 's|^behind_proxy|port = 9090\\nbehind_proxy|' /etc/aragora/aragora.toml; systemctl reload aragora")
            said = lambda: self.run("journalctl -q -u aragora -n 20 --no-pager -o cat")
            self.machine.wait(lambda: "after a restart only: server.port (8080 now, 9090 in the configuration)" in said())
            for signal in ("USR1", "USR2"):
                self.run(f"kill -{signal} {before}")
            self.machine.wait(lambda: said().count("means nothing here") == 2)
            self.assertTrue(self.ready())
            self.assertEqual(self.machine.shows("aragora", "MainPID"), before)
        finally:
            self.run("cp /root/good /etc/aragora/aragora.toml")


if __name__ == "__main__":
    main()
