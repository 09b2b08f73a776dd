"""The first day of an operator, typed as README says: from a signed apt repository to the purge, on a machine that booted, with
nginx, PostgreSQL, Redis, a provider of models on loopback, and then the next release, with a migration of its own, in the repository."""
import json
import os
import pathlib
import re
import secrets
import shutil
import tempfile
import time

from machine import Machine
from runbooks import Book, RunbookTests
from support import BINARY, SOURCE, main
from test_incidents import PROVIDERS
from test_release import gpg, make_key, run

HOST = "aragora.example.org"
TITLE = "An operator's first day"
# No fallback for the provider, no recovery key, no copy elsewhere, no log; no account that could have a second factor.
LACKING = {"backup.proved", "backup.elsewhere", "backup.rpo"}
UNSEEN = {"backup.log", "access.mfa"}
PRESET = pathlib.Path(BINARY).parents[1].name
NEXT = pathlib.Path(BINARY).parents[1] / "tests/aragora_next"
README = Book("../../README.md")
# A hundred questions a second, each on a connection of its own; lists and new debates as often as one address may have them.
LOAD = """
import http.client, json, os, threading, time
token = open("/etc/aragora/credentials/ARAGORA_API_TOKEN").read().strip()
lock, answers, wrong, acknowledged = threading.Lock(), {}, [], []
def ask(method, path, every, body=None):
    while not os.path.exists("/root/enough"):
        began = time.monotonic()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)
            connection.request(method, path, body, {"Authorization": "Bearer " + token, "Content-Type": "application/json"})
            response = connection.getresponse()
            said, text = response.status, response.read()
            connection.close()
        except Exception as error:
            said = repr(error)
        with lock:
            answers[path] = answers.get(path, 0) + 1
            if said != 200: wrong.append(f"{method} {path}: {said}")
            elif body: acknowledged.append(json.loads(text)["debate_id"])
            with open("/root/load.new", "w") as file: json.dump({"answers": answers, "wrong": wrong[:20], "acknowledged": acknowledged}, file)
            os.rename("/root/load.new", "/root/load.json")
        time.sleep(max(0, began + every - time.monotonic()))
work = [("GET", "/api/health", 0.04)] * 4 + [("GET", "/api/debates?limit=1", 1), ("POST", "/api/debates", 2.5, '{"task": "load", "rounds": 0}')]
threads = [threading.Thread(target=ask, args=one) for one in work]
[one.start() for one in threads]
[one.join() for one in threads]
"""


def repository(folder):
    """Two states of it: this release as scripts/release makes it, and later the next one beside it."""
    keys = make_key(folder, "releases of a test")
    run("minisign", "-G", "-W", "-p", folder / "minisign.pub", "-s", folder / "minisign.key")
    run(SOURCE / "scripts/release", "--minisign-key", folder / "minisign.key", "--gpg-key", keys / "secret", "--preset", PRESET, "--output", folder / "release", "--dirty")
    first = folder / "release/apt"
    apt = pathlib.Path(shutil.copytree(first, folder / "later"))
    run(SOURCE / "scripts/package", folder, PRESET, env={**os.environ, "PACKAGE_VERSION": "9.1.0"})
    run("dpkg-deb", "-R", folder / "aragora_9.1.0_amd64.deb", folder / "next")
    run("strip", "-o", folder / "next/usr/bin/aragora", NEXT)
    run("bash", "-c", "find . -type f -not -path './DEBIAN/*' -printf '%P\\0' | xargs -0 md5sum >DEBIAN/md5sums", cwd=folder / "next")
    run("dpkg-deb", "-Z", "gzip", "-b", folder / "next", apt / "aragora_9.1.0_amd64.deb")
    for name in ("Packages.gz", "Release.gpg", "InRelease", "Release"):
        (apt / name).unlink()
    run("bash", "-c", "apt-ftparchive packages . >Packages && gzip -9nk Packages && apt-ftparchive -o APT::FTPArchive::Release::Origin=Aragora -o APT::FTPArchive::Release::Label=Aragora -o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Architectures=amd64 release . >../Release && mv ../Release Release", cwd=apt)
    gpg(keys, "--output", apt / "InRelease", "--clearsign", apt / "Release")
    return first, apt


class OperatorDay(RunbookTests):
    books = [README]

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="aragora-day-", dir="/var/tmp")))
        apt, cls.later = repository(folder)
        cls.machine = Machine(installed=False)
        cls.addClassCleanup(cls.machine.__exit__)
        cls.machine.install_postgresql()
        shutil.copytree(apt, cls.machine.path("/srv/apt"))
        cls.machine.run("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* && mkdir -p /etc/apt/keyrings && cp /srv/apt/aragora-archive-keyring.pgp /etc/apt/keyrings")
        sources = cls.machine.path("/srv/apt/aragora.sources").read_text()
        cls.machine.path("/etc/apt/sources.list.d/aragora.sources").write_text(re.sub("(?m)^URIs: .*", "URIs: file:/srv/apt/", sources))
        cls.provider()
        cls.certificate()

    @classmethod
    def provider(cls):
        """What the administrator has been given: a key, and for this test an address of a provider that is not the internet."""
        run, path = cls.machine.run, cls.machine.path
        key = f"sk-ant-api03-{secrets.token_hex(20)}"
        path("/root/anthropic.key").write_text(key + "\n")
        path("/root/redis.url").write_text("redis://127.0.0.1:6379/0\n")
        path("/root/providers.py").write_text(PROVIDERS)
        run(f"mkdir /run/provider; echo '401 {key}' >/run/provider/9000; systemctl start redis-server; systemd-run -q /usr/bin/python3 /root/providers.py 9000")

    @classmethod
    def certificate(cls):
        """As certbot would have left it, of an authority that this machine trusts."""
        live = f"/etc/letsencrypt/live/{HOST}"
        cls.machine.run(f"""mkdir -p {live} /etc/nginx/conf.d; cd {live}; echo '127.0.0.1 {HOST}' >>/etc/hosts
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN={HOST} -addext subjectAltName=DNS:{HOST} -keyout privkey.pem -out fullchain.pem 2>/dev/null
            cp fullchain.pem /usr/local/share/ca-certificates/aragora.crt; update-ca-certificates >/dev/null 2>&1; rm -f /etc/nginx/sites-enabled/*; systemctl start nginx""")

    def type(self, *numbers, **how):
        return README.type(self.machine.run, TITLE, numbers, **how)

    def sql(self, text):
        return self.machine.run(f"cd /; psql -qAt -d aragora -c \"{text}\"", user="postgres").strip()

    def test_the_day(self):
        """In less than five minutes, the test's own looks included."""
        began = time.monotonic()
        machine, run = self.machine, self.machine.run
        self.type(0, 1)
        self.assertEqual(run("systemctl is-active aragora", check=3).strip(), "inactive")
        self.type(2)
        run("sed -i 's|^\\[providers\\]|[providers]\\nanthropic_base_url = \"http://127.0.0.1:9000\"|' /etc/aragora/aragora.toml")
        self.type(3, 4)
        machine.wait(machine.ready)
        debates = int(self.sql("SELECT count(*) FROM debates"))
        self.type(5)
        self.assertEqual(int(self.sql("SELECT count(*) FROM debates")), debates, "the test debate was deleted")
        self.the_night()
        self.type(6, 7)
        self.the_checklist(machine.path("/root/checklist.md").read_text())
        self.the_next_release()
        self.and_back()
        self.type(10)
        self.assertIn("full", run("ls -A /var/backups/aragora").split())
        self.assertEqual(run("ls -d /var/lib/aragora /var/lib/aragora-backup /etc/systemd/system/aragora* 2>/dev/null", check=2), "")
        self.assertEqual(run("ls -d /etc/aragora /usr/bin/aragora 2>/dev/null", check=2), "")
        took = time.monotonic() - began
        print(f"\nthe day took {took:.0f} s", flush=True)
        self.assertLess(took, 300)

    def the_night(self):
        """The timer itself fires, at a time that comes sooner."""
        run = self.machine.run
        before = run("aragora backup list --json | grep -c '\"full\"' || true")
        run("""mkdir -p /etc/systemd/system/aragora-backup.timer.d
            printf '[Timer]\\nOnCalendar=\\nOnCalendar=*:*:*\\nRandomizedDelaySec=0\\nAccuracySec=1s\\n' >/etc/systemd/system/aragora-backup.timer.d/soon.conf
            systemctl daemon-reload; systemctl restart aragora-backup.timer""")
        self.machine.wait(lambda: self.machine.shows("aragora-backup", "ExecMainStartTimestampMonotonic") not in ("", "0"), 30)
        run("rm -r /etc/systemd/system/aragora-backup.timer.d; systemctl daemon-reload; systemctl restart aragora-backup.timer")
        self.machine.wait(lambda: self.machine.shows("aragora-backup", "ActiveState") == "inactive", 90)
        self.assertEqual(self.machine.shows("aragora-backup", "Result"), "success")
        self.assertNotEqual(run("aragora backup list --json | grep -c '\"full\"' || true"), before)

    def the_checklist(self, report):
        """Nothing is left open but what the day does not have, and what the machine is too small or too slow for."""
        of = lambda state: set(re.findall(rf"(?m)^- \[.\] .* \(`([\w.]+)`\): \*\*{state}\*\*", report))
        self.assertEqual({box for box in of("failed") if not box.startswith(("infra.", "speed."))}, LACKING)
        self.assertEqual(of("could not verify"), UNSEEN)
        self.assertLessEqual({"env.database.url", "env.validated", "after.services", "after.sockets", "after.debate", "deploy.certificates", "drill.restore", "drill.smoke"}, of("proved"))
        if os.environ.get("KEEP_CHECKLIST"):
            (SOURCE / "docs/examples/checklist.md").write_text(report)

    def the_next_release(self):
        """Nobody who asks is refused from the installation to the restart, and what was written then is there after the way back, too."""
        run = self.machine.run
        self.machine.path("/root/load.py").write_text(LOAD)
        run("systemd-run -q --unit=load /usr/bin/python3 /root/load.py")
        load = lambda: json.loads(run("cat /root/load.json 2>/dev/null || echo '{\"acknowledged\": []}'"))
        self.machine.wait(lambda: load()["acknowledged"])
        before = self.machine.shows("aragora", "MainPID")
        self.assertIn('"0.1', run("curl -s http://127.0.0.1:8080/api/health"))
        shutil.copytree(self.later, self.machine.path("/srv/apt"), dirs_exist_ok=True)
        self.type(8)
        self.machine.wait(self.machine.ready)
        self.assertNotEqual(self.machine.shows("aragora", "MainPID"), before)
        self.assertIn("9.1.0", run("curl -s http://127.0.0.1:8080/api/health"))
        self.machine.wait(lambda: len(load()["acknowledged"]) > 5 and sum(load()["answers"].values()) > 1000)
        run("touch /root/enough; while systemctl -q is-active load; do sleep 0.1; done")
        counted = load()
        self.assertEqual(counted["wrong"], [])
        print("\nasked during the upgrade:", counted["answers"], flush=True)
        self.acknowledged = set(counted["acknowledged"])

    def and_back(self):
        run = self.machine.run
        self.type(9)
        self.machine.wait(self.machine.ready)
        self.assertIn('"0.1', run("curl -s http://127.0.0.1:8080/api/health"))
        there = set(self.sql("SELECT id FROM debates").split())
        self.assertEqual(self.acknowledged - there, set())


if __name__ == "__main__":
    main()
