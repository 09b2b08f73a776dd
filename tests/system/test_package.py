"""The Debian package: what is in it, that it comes out the same, and its life on a machine that booted."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from booted import Booted
from support import BINARY, SOURCE, main
from test_links import LINK, broken, documents, prose

PRESET = pathlib.Path(BINARY).parent.parent.name


def package(folder, version="", **environment):
    """Makes the package of what is built; answers its path."""
    result = subprocess.run([SOURCE / "scripts/package", folder, PRESET], env={**os.environ, "PACKAGE_VERSION": version, **environment}, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return next(folder.glob("*.deb"))


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="aragora-package-")))
        cls.deb = package(cls.folder / "one")

    def contents(self):
        listing = subprocess.run(["dpkg-deb", "-c", self.deb], check=True, capture_output=True, text=True).stdout
        return {line.split(maxsplit=5)[5].removeprefix("."): line.split() for line in listing.splitlines()}

    def test_policy_has_no_complaint(self):
        self.assertEqual(self.deb.name, f"aragora_{re.search(r'VERSION ([0-9.]+)', (SOURCE / 'CMakeLists.txt').read_text().split('project(')[1])[1]}_amd64.deb")
        result = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning,pedantic", "--pedantic", self.deb], capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)

    def test_it_holds_what_is_promised_and_nothing_that_anybody_may_write(self):
        contents = self.contents()
        for path in (f"/usr/share/man/man{page.suffix[1:]}/{page.name}.gz" for page in (SOURCE / "man").iterdir()):
            self.assertIn(path, contents)
        for unit in (*(SOURCE / "systemd").glob("*.service"), *(SOURCE / "systemd").glob("*.timer"), *(SOURCE / "systemd").glob("*.socket")):
            self.assertIn(f"/usr/lib/systemd/system/{unit.name}", contents)
        for path in ("/usr/bin/aragora", "/etc/default/aragora", "/usr/lib/sysusers.d/aragora.conf", "/usr/lib/tmpfiles.d/aragora.conf", "/usr/share/bash-completion/completions/aragora",
                     "/usr/share/fish/vendor_completions.d/aragora.fish", "/usr/share/doc/aragora/copyright", "/usr/share/doc/aragora/changelog.gz"):
            self.assertIn(path, contents)
        looked_in = subprocess.run(["zsh", "-fc", "print -rl -- $fpath"], check=True, capture_output=True, text=True).stdout.split()
        self.assertTrue({f"{directory}/_aragora" for directory in looked_in} & set(contents), looked_in)
        for path, (mode, owner, *_) in contents.items():
            self.assertEqual(owner, "root/root", path)
            self.assertEqual(mode, "drwxr-xr-x" if path.endswith("/") else "-rwxr-xr-x" if path in ("/usr/bin/aragora", "/usr/share/aragora/deploy/certbot/aragora") else "-rw-r--r--", path)
        subprocess.run(["dpkg-deb", "-x", self.deb, self.folder / "out"], check=True)
        sections = subprocess.run(["readelf", "-S", self.folder / "out/usr/bin/aragora"], check=True, capture_output=True, text=True).stdout
        self.assertNotIn(".debug_info", sections)
        self.assertIn("0.1", subprocess.run([self.folder / "out/usr/bin/aragora", "--version"], check=True, capture_output=True, text=True).stdout)

    def test_what_alerts_and_boxes_name_is_installed(self):
        out, state = self.folder / "named", self.folder / "state"
        subprocess.run(["dpkg-deb", "-x", self.deb, out], check=True)
        state.mkdir()
        (state / "aragora.toml").write_text("")
        report = subprocess.run([out / "usr/bin/aragora", "checklist", "--json"], env={"PATH": os.environ["PATH"], "ARAGORA_CONFIG": str(state / "aragora.toml"), "ARAGORA_STATE_DIR": str(state)},
                                capture_output=True, text=True, timeout=60).stdout
        boxes = {box["document"] for box in json.loads(report)["report"]["boxes"] if box["document"]}
        alerts = set(re.findall(r'runbook: "([^"#]+)', "".join(file.read_text() for file in (out / "usr/share/aragora/deploy/prometheus").glob("*.rules.yml"))))
        self.assertGreater(len(boxes), 5)
        self.assertGreater(len(alerts), 7)
        for name in boxes | alerts:
            page = re.fullmatch(r"(aragora[\w.-]*)\((\d)\)", name)
            path = f"/usr/share/man/man{page[2]}/{page[1]}.{page[2]}.gz" if page else name
            self.assertRegex(path, "^/usr/share/", name)
            self.assertTrue((out / path[1:]).exists(), name)
        # What these pages link to came with them.
        self.assertEqual([one for path in documents(out) for target in LINK.findall(prose(path.read_text())) if not re.match("[a-z]+:", target) for one in [broken(path, target, out)] if one], [])

    def test_the_same_bytes_wherever_it_is_made(self):
        before = os.umask(0o077)
        try:
            other = package(self.folder / "another/place", TZ="Pacific/Kiritimati", LANG="C", LC_ALL="C", HOME="/nonexistent", USER="somebody")
        finally:
            os.umask(before)
        self.assertEqual(other.read_bytes(), self.deb.read_bytes())

    def test_nothing_in_it_tells_where_it_was_built(self):
        """What two builds in two places would differ in (docs/decisions/0045)."""
        subprocess.run(["dpkg-deb", "-R", self.deb, self.folder / "looked"], check=True)
        for path in (self.folder / "looked").rglob("*"):
            if path.is_file():
                self.assertNotIn(str(SOURCE).encode() + b"/", path.read_bytes(), path)


class Life(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = Booted(installed=False)
        cls.addClassCleanup(cls.machine.__exit__)
        folder = cls.machine.path("/root/packages")
        for name, version in (("first", ""), ("second", "9.1.0"), ("third", "9.2.0")):
            shutil.copy(package(folder / name, version), folder / f"{name}.deb")

    def test_install_upgrade_downgrade_remove_purge(self):
        run, machine = self.machine.run, self.machine
        printed = run("dpkg -i /root/packages/first.deb")
        self.assertIn("aragora init --production", printed)
        self.assertEqual(run("systemctl is-active aragora || true; systemctl is-enabled aragora || true").split(), ["inactive", "disabled"])
        self.assertEqual(run("stat -c '%a %U %G %n' /etc/aragora /var/lib/aragora /etc/aragora/credentials"),
                         "750 root aragora /etc/aragora\n750 aragora aragora /var/lib/aragora\n750 root aragora /etc/aragora/credentials\n")
        self.assertEqual(run("stat -c '%a %U %G' /var/backups/aragora"), "2750 aragora-backup aragora\n")
        machine.configure_production()
        run("echo '# mine' >> /etc/default/aragora")
        run("systemctl enable -q --now aragora aragora-backup.timer && systemctl enable -q aragora.socket aragora-validate.timer")
        machine.wait(machine.ready)
        run("systemctl start redis-server; echo redis://127.0.0.1:6379/0 | install -m 0600 /dev/stdin /etc/aragora/credentials/REDIS_URL; sed -i '/^single_instance/d' /etc/aragora/aragora.toml; systemctl restart aragora")
        run("psql -q -c 'ALTER ROLE aragora REPLICATION'", user="postgres")
        running = ("aragora", "aragora@8081", "aragora-wal")
        run("systemctl start aragora@8081 aragora-wal")

        # An upgrade restarts what runs, and keeps what the administrator changed. What keeps no daemon from starting keeps no
        # upgrade from taking effect.
        run("""mkdir /etc/aragora/checks.d; printf '[[check]]\nid = "mine"\ntitle = "Mine"\nkind = "file"\npath = "/no/such"\nfix = "make it"\n' > /etc/aragora/checks.d/own.toml""")
        self.assertNotEqual(machine.status("aragora validate-env --unit aragora"), 0)
        first = {unit: machine.shows(unit, "MainPID") for unit in running}
        upgraded = run("dpkg -i /root/packages/second.deb")
        machine.wait(machine.ready)
        second = {unit: machine.shows(unit, "MainPID") for unit in running}
        for unit in running:
            self.assertNotIn(second[unit], (first[unit], "0"), f"{unit}\n{upgraded}")
        self.assertNotIn("The old one runs on", upgraded)
        self.assertIn("# mine", run("cat /etc/default/aragora"))
        self.assertEqual(run("systemctl is-enabled aragora").strip(), "enabled")

        # It is no time for it while the database is away.
        run("systemctl stop postgresql@15-main")
        refused = run("dpkg -i /root/packages/third.deb")
        self.assertEqual(len(re.findall(r"(?m)^aragora\S*: the new version is not started, because what it needs does not answer", refused)), 3, refused)
        self.assertIn("validate-env --unit aragora.service --start-up is content: then systemctl restart aragora.service", refused)
        self.assertEqual({unit: machine.shows(unit, "MainPID") for unit in running}, second, refused)
        run("systemctl start postgresql@15-main; systemctl stop aragora@8081 aragora-wal")
        machine.wait(machine.ready)

        # A configuration that the new version refuses leaves the old one running.
        run("sed -i.good 's|^allowed_origins = .*|allowed_origins = [\"*\"]|' /etc/aragora/aragora.toml")
        self.assertIn("does not take this configuration (above). The old one runs on", run("dpkg -i /root/packages/third.deb"))
        self.assertEqual(machine.shows("aragora", "MainPID"), second["aragora"])
        self.assertTrue(machine.ready())
        run("mv /etc/aragora/aragora.toml.good /etc/aragora/aragora.toml")

        run("dpkg -i --force-downgrade /root/packages/first.deb")
        machine.wait(machine.ready)
        self.assertNotIn(machine.shows("aragora", "MainPID"), (first["aragora"], second["aragora"]))

        run("aragora backup")
        run("systemctl is-active aragora-backup.timer")
        run("dpkg -r aragora")
        self.assertEqual(run("systemctl is-active aragora aragora-backup.timer || true").split(), ["inactive", "inactive"])
        self.assertEqual(run("pgrep -x aragora", check=None), "")
        run("test -s /etc/aragora/aragora.toml -a -d /var/lib/aragora/backups")

        run("dpkg -i /root/packages/first.deb && systemctl enable -q --now aragora")
        machine.wait(machine.ready)
        run("cd /etc/systemd/system; for unit in backup drill wal; do install -D -m 0644 /dev/null aragora-$unit.service.d/own-user.conf; done; touch aragora-drill.service.d/mine.conf /var/backups/aragora/kept; mkdir -p /var/lib/aragora-backup")
        printed = run("dpkg -P aragora")
        self.assertIn("backups stay in /var/lib/aragora;", printed)
        self.assertIn("backups stay in /var/backups/aragora;", printed)
        self.assertEqual(run("cd /etc/systemd/system; ls -d aragora* aragora-*.d/* /var/backups/aragora/* /var/lib/aragora*", check=None).split(),
                         ["/var/backups/aragora/kept", "/var/lib/aragora", "aragora-drill.service.d", "aragora-drill.service.d/mine.conf"])
        self.assertEqual(run("ls -A /var/lib/aragora").split(), ["backups"])
        self.assertEqual(run("ls -d /etc/aragora /etc/default/aragora /etc/systemd/system/multi-user.target.wants/aragora.service /etc/systemd/system/sockets.target.wants/aragora.socket 2>/dev/null", check=None), "")


if __name__ == "__main__":
    main()
