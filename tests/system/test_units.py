"""The units as systemd runs them, on a machine that booted: started, watched, told of, reloaded, restarted under load, stopped, and
left alone when nothing can be done."""
import json
import re
import shutil
import subprocess
import unittest

from booted import URL, Booted
from support import SOURCE, main

UNITS = sorted(path.name for kind in ("service", "timer", "socket") for path in (SOURCE / "systemd").glob(f"*.{kind}"))
# What `aragora notify unit` would send is written down instead.
TELL = "[Service]\nExecStart=\nExecStart=/bin/sh -c 'echo \"%i $MONITOR_SERVICE_RESULT $MONITOR_EXIT_STATUS\" >> /var/lib/aragora/told'\n"
RECEIVER = """
import http.server
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        open("/root/received", "ab").write(body + b"\\n")
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 9100), Receiver).serve_forever()
"""
# Four clients, a connection a request, until /root/enough is there.
CLIENTS = """
import http.client, json, os, threading
token = open("/etc/aragora/credentials/ARAGORA_API_TOKEN").read().strip()
lock, answers, wrong = threading.Lock(), [0], []
def ask():
    while not os.path.exists("/root/enough"):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)
            connection.request("GET", "/api/debates?limit=1", headers={"Authorization": "Bearer " + token})
            response = connection.getresponse()
            response.read()
            said = response.status
            connection.close()
        except Exception as error:
            said = repr(error)
        with lock:
            answers[0] += 1
            if said != 200: wrong.append(said)
threads = [threading.Thread(target=ask) for _ in range(4)]
[one.start() for one in threads]
[one.join() for one in threads]
json.dump({"answers": answers[0], "wrong": wrong[:20]}, open("/root/answers", "w"))
"""
# Half a request; the rest once the daemon says that it drains.
HALF = """
import socket, subprocess, time
token = open("/etc/aragora/credentials/ARAGORA_API_TOKEN").read().strip()
body = b'{"task": "said while it stops", "agents": ["anthropic", "anthropic"]}'
connection = socket.create_connection(("127.0.0.1", 8080), timeout=30)
connection.sendall(("POST /api/debates HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: application/json\\r\\nAuthorization: Bearer %s\\r\\nContent-Length: %d\\r\\n\\r\\n" % (token, len(body))).encode() + body[:9])
time.sleep(0.3)
subprocess.run(["systemctl", "stop", "--no-block", "aragora"], check=True)
deadline = time.monotonic() + 20
while b"draining" not in subprocess.run(["systemctl", "show", "-P", "StatusText", "aragora"], capture_output=True).stdout and time.monotonic() < deadline: time.sleep(0.02)
connection.sendall(body[9:])
print(connection.recv(4096).split(b"\\r\\n")[0].decode())
"""


class Units(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = Booted()
        cls.addClassCleanup(cls.machine.__exit__)
        cls.machine.run("systemd-sysusers && systemd-tmpfiles --create aragora.conf")
        cls.machine.configure_production()
        cls.drop_in("aragora-notify@", TELL)
        cls.machine.run("sed -i 's|^behind_proxy|rate_limit = 1000000\\nbehind_proxy|' /etc/aragora/aragora.toml; cp -a /etc/aragora /root/good")

    def setUp(self):
        self.run = self.machine.run
        self.machine.wait(lambda: not self.run("systemctl --plain --no-legend list-units --state=activating 'aragora-notify@*'"))
        self.run("rm -rf /etc/aragora; cp -a /root/good /etc/aragora; rm -f /var/lib/aragora/told; systemctl reset-failed; systemctl start aragora")

    @classmethod
    def drop_in(cls, unit, text):
        folder = cls.machine.path(f"/etc/systemd/system/{unit}.service.d")
        folder.mkdir(exist_ok=True)
        (folder / "test.conf").write_text(text)
        cls.machine.run("systemctl daemon-reload")

    def take_back(self, unit):
        self.run(f"rm -r /etc/systemd/system/{unit}.service.d; systemctl daemon-reload")

    def shows(self, unit, name):
        return self.machine.shows(unit, name)

    def told(self):
        return self.run("cat /var/lib/aragora/told 2>/dev/null", check=None)

    def status(self, text, user="root"):
        return self.machine.status(text, user)

    def edit(self, old, new):
        self.run(f"sed -i 's|{old}|{new}|' /etc/aragora/aragora.toml")

    def asked(self, path, token=None, method="GET"):
        token = token or self.run("cat /etc/aragora/credentials/ARAGORA_API_TOKEN").strip()
        return self.run(f"curl -s -o /dev/null -w '%{{http_code}}' -X {method} -H 'Authorization: Bearer {token}' http://127.0.0.1:8080{path}", check=None)

    def test_systemd_has_nothing_to_say_against_any(self):
        for unit in UNITS:
            name = unit.replace("@.", "@8080.")
            with self.subTest(unit):
                self.assertEqual(self.run(f"systemd-analyze verify --man=no {name}"), "")
                if unit.endswith(".service"):
                    self.run(f"systemd-analyze security --threshold=12 {name} >/dev/null")

    def test_it_is_ready_once_it_was_started_and_has_what_it_needs(self):
        self.run("systemctl stop aragora && systemctl start aragora && curl -sf http://127.0.0.1:8080/api/ready >/dev/null")
        self.machine.wait(lambda: self.shows("aragora", "StatusText").startswith("serving"))
        self.assertEqual([self.shows("aragora", name) for name in ("TasksMax", "MemoryMax", "LimitNOFILE", "User")], ["8192", str(2 << 30), "65536", "aragora"])
        pid = self.shows("aragora", "MainPID")
        secrets = self.run("cat /etc/aragora/credentials/*").split()
        environment = self.run(f"cat /proc/{pid}/environ").replace("\0", "\n")
        for secret in secrets:
            self.assertNotIn(secret, environment)
        self.assertEqual(self.run(f"stat -c '%a' /run/credentials/aragora.service/aragora_JWT_SECRET"), "400\n")
        # Root's own, and named nowhere: systemd hands it over all the same.
        self.run("chmod 0600 /etc/aragora/credentials/JWT_SECRET && chgrp root /etc/aragora/credentials/JWT_SECRET && sed -i '/^jwt_secret_file/d' /etc/aragora/aragora.toml && systemctl restart aragora")
        self.assertTrue(self.machine.ready())
        self.assertIn("All production requirements met", self.run("aragora validate-env --unit aragora"))
        self.run("systemctl restart aragora-validate")
        # Without the directory it is the daemon that says what is missing.
        self.run("mv /etc/aragora/credentials /root/away")
        self.assertNotEqual(self.status("systemctl restart aragora"), 0)
        self.assertEqual(self.shows("aragora", "ExecMainStatus"), "78")
        self.run("mv /root/away /etc/aragora/credentials")

    def test_the_lines_of_a_request_are_found_by_its_identity(self):
        """As aragora-serve(8) shows it."""
        command = re.search(r"\$ (journalctl ARAGORA_REQUEST_ID=(\S+))", (SOURCE / "man/aragora-serve.8").read_text())
        created = json.loads(self.run(f"""curl -s -H 'X-Request-ID: {command[2]}' -H "Authorization: Bearer $(cat /etc/aragora/credentials/ARAGORA_API_TOKEN)" -H 'Content-Type: application/json' \
            -d '{{"task": "x", "agents": ["anthropic", "anthropic"], "rounds": 0, "deadline_seconds": 5}}' http://127.0.0.1:8080/api/debates"""))
        lines = lambda: [json.loads(line) for line in self.run(f"{command[1]} -q --no-pager -o json").splitlines()]
        self.machine.wait(lambda: "debate_ended" in {line.get("ARAGORA_EVENT") for line in lines()}, 60)
        access, = (line for line in lines() if line.get("ARAGORA_EVENT") == "access")
        self.assertEqual((access["ARAGORA_METHOD"], access["ARAGORA_ROUTE"], access["ARAGORA_STATUS"]), ("POST", "/api/debates", "200"))
        of_debate = [line for line in lines() if line.get("ARAGORA_DEBATE_ID") == created["debate_id"]]
        self.assertIn("debate_ended", {line.get("ARAGORA_EVENT") for line in of_debate})
        self.assertTrue([line for line in of_debate if "anthropic" in line["MESSAGE"]], "there is no way to it from here, which is said with the same identity")
        self.assertEqual({line["_SYSTEMD_UNIT"] for line in lines()}, {"aragora.service"})
        self.assertEqual(self.run(f"{command[1]}-of-nobody -q --no-pager", check=None), "")

    def test_the_unit_that_migrates_goes_before_the_daemon(self):
        """Of a deployment of its own, in whose database nothing is yet."""
        sql = lambda text, database: self.run(f"cd /; psql -qAt -d {database} -c \"{text}\"", user="postgres").strip()
        sql("CREATE DATABASE fresh OWNER aragora", "postgres")
        self.run(f"systemctl stop aragora; mv /var/lib/aragora /root/state; systemd-tmpfiles --create aragora.conf; echo '{URL[:URL.rindex('/')]}/fresh' > /etc/aragora/credentials/DATABASE_URL")
        try:
            self.assertNotEqual(self.status("systemctl start aragora"), 0)
            self.assertEqual(self.shows("aragora", "ExecMainStatus"), "78")
            self.run("systemctl reset-failed; systemctl start aragora-migrate aragora")
            self.assertEqual([self.shows("aragora-migrate", name) for name in ("Result", "ExecMainStatus", "ActiveState")], ["success", "0", "inactive"])
            self.assertTrue(self.machine.ready())
            of = lambda database: sql("SELECT version, name, checksum FROM aragora_migrations ORDER BY version", database)
            self.assertEqual(of("fresh"), of("aragora"))
            said = lambda: self.run("journalctl -q -u aragora-migrate --no-pager -o cat")
            self.assertEqual(re.findall(r"(\d{4})_\w+ applied in", said()), [f"{int(line.split('|')[0]):04}" for line in of("aragora").splitlines()])
            # Again there is nothing to do; and nothing starts it but somebody.
            self.run("systemctl start aragora-migrate")
            self.assertEqual(said().count("Nothing to do"), 1)
            self.assertEqual(self.run("systemctl is-enabled aragora-migrate", check=None).strip(), "static")
        finally:
            self.run("systemctl stop aragora; rm -rf /var/lib/aragora; mv /root/state /var/lib/aragora")
            sql("DROP DATABASE fresh", "postgres")

    def test_one_that_hangs_is_killed_and_started_anew(self):
        self.drop_in("aragora", "[Service]\nWatchdogSec=4\nRestartSec=100ms\n")
        try:
            self.run("systemctl restart aragora")
            before = self.shows("aragora", "MainPID")
            self.run(f"kill -STOP {before}")
            self.machine.wait(lambda: self.shows("aragora", "MainPID") not in (before, "0") and self.machine.ready(), 60)
            self.assertIn("Watchdog timeout", self.run("journalctl -q -u aragora -n 60 --no-pager -o cat"))
            self.assertEqual(self.told(), "", "it runs again: nobody is woken up")
        finally:
            self.take_back("aragora")

    def test_a_refused_configuration_is_told_once_and_not_tried_again(self):
        self.edit("^allowed_origins = .*", 'allowed_origins = ["*"]')
        self.assertNotEqual(self.status("systemctl restart aragora"), 0)
        self.assertEqual([self.shows("aragora", name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")], ["failed", "78", "0"])
        self.assertNotEqual(self.status("systemctl start aragora-validate"), 0)
        self.machine.wait(lambda: len(self.told().splitlines()) == 2)
        self.assertEqual(self.told(), "aragora.service exit-code 78\naragora-validate.service exit-code 78\n")
        self.assertIn("ExecStart=/usr/bin/aragora notify unit %i\n", self.run("systemctl cat aragora-notify@aragora.service"))
        # Nor by those who connect.
        since = self.run("systemctl reset-failed; systemctl start aragora.socket; sleep 1; date +%s").strip()
        try:
            self.machine.wait(lambda: self.status("curl -s -m 5 http://127.0.0.1:8080/api/health") == 7, 60)  # refused
            self.assertEqual(self.shows("aragora.socket", "Result"), "trigger-limit-hit")
            self.machine.wait(lambda: "aragora.socket" in self.told())
            starts = self.run(f"journalctl -q -u aragora --no-pager -o cat --since @{since}").count("does not start")
            self.assertLessEqual(starts, 9)
        finally:
            self.run("systemctl stop aragora.socket; systemctl reset-failed")

    def test_people_are_told_with_the_lines_of_the_journal(self):
        """The unit as it is shipped, and a receiver that writes down what it is sent."""
        self.take_back("aragora-notify@")
        self.machine.path("/root/receiver.py").write_text(RECEIVER)
        self.run("rm -f /root/received; systemd-run -q --unit=receiver /usr/bin/python3 /root/receiver.py; openssl rand -base64 32 | install -m 0640 -g aragora /dev/stdin /etc/aragora/credentials/WEBHOOK_KEY")
        try:
            self.run("printf '\\n[notify]\\nwebhook_url = \"http://127.0.0.1:9100/\"\\nwebhook_key_file = \"/etc/aragora/credentials/WEBHOOK_KEY\"\\n' >>/etc/aragora/aragora.toml; aragora notify test")
            self.run("rm /root/received; sed -i 's|^allowed_origins = .*|allowed_origins = [\"*\"]|' /etc/aragora/aragora.toml")
            self.assertNotEqual(self.status("systemctl restart aragora"), 0)
            self.machine.wait(lambda: self.status("test -s /root/received") == 0)
            received = self.run("cat /root/received")
            for part in ("aragora.service", "78", "does not start"):
                self.assertIn(part, received)
            self.assertEqual(self.shows("aragora-notify@aragora.service", "Result"), "success")
        finally:
            self.run("systemctl stop receiver")
            self.drop_in("aragora-notify@", TELL)

    def test_a_database_that_is_away_is_waited_for_without_an_end(self):
        """Ten minutes at two seconds are some 200 starts: here they come faster, and 12 are more than twice what systemd allows by itself."""
        self.drop_in("aragora", "[Service]\nRestartSec=50ms\n")
        try:
            self.run("systemctl stop postgresql@15-main")
            self.status("systemctl restart --no-block aragora")
            self.machine.wait(lambda: int(self.shows("aragora", "NRestarts")) >= 12, 120)
            self.assertNotEqual(self.shows("aragora", "ActiveState"), "failed")
            self.machine.wait(self.told)
            self.assertEqual(self.told(), "aragora.service exit-code 69\n", "once, after the fifth time")
            self.run("systemctl start postgresql@15-main")
            self.machine.wait(self.machine.ready)
        finally:
            self.run("systemctl start postgresql@15-main")
            self.take_back("aragora")

    def test_its_socket_outlives_a_database_that_is_away(self):
        """Those who connect meanwhile wait, and are answered."""
        self.run("systemctl stop aragora; systemctl start aragora.socket aragora; systemctl stop postgresql@15-main; rm -f /root/asked")
        try:
            self.run("systemd-run -q --unit=asking bash -c 'while true; do curl -s -m 300 -o /dev/null -w \"%{http_code}\\n\" http://127.0.0.1:8080/api/health >>/root/asked; sleep 0.1; done'; systemctl restart --no-block aragora")
            self.machine.wait(lambda: int(self.shows("aragora", "NRestarts")) >= 7, 60)
            self.assertEqual(self.shows("aragora.socket", "ActiveState"), "active")
            self.run("systemctl start postgresql@15-main")
            self.machine.wait(self.machine.ready)
            self.assertEqual(self.shows("aragora.socket", "ActiveState"), "active")
            self.run("sleep 1")
            self.assertEqual(set(self.run("cat /root/asked").split()), {"200"})
        finally:
            self.run("systemctl start postgresql@15-main; systemctl stop asking aragora.socket aragora", check=None)

    def test_timers_catch_up_and_no_night_is_skipped(self):
        for name in ("backup", "validate", "drill"):  # as they are, they spread what they make up for over a quarter of an hour
            self.run(f"mkdir -p /etc/systemd/system/aragora-{name}.timer.d; printf '[Timer]\\nRandomizedDelaySec=0\\n' > /etc/systemd/system/aragora-{name}.timer.d/now.conf")
        self.run("systemctl daemon-reload; mkdir -p /var/lib/systemd/timers; cd /var/lib/systemd/timers; touch -d '-200 days' stamp-aragora-backup.timer stamp-aragora-validate.timer")
        self.run("systemctl start aragora-backup.timer aragora-validate.timer")
        for name in ("backup", "validate"):
            self.machine.wait(lambda: self.shows(f"aragora-{name}.timer", "LastTriggerUSec") and self.shows(f"aragora-{name}", "ActiveState") == "inactive" and self.shows(f"aragora-{name}", "ExecMainExitTimestampMonotonic") != "0", 180)
            self.assertEqual(self.shows(f"aragora-{name}", "Result"), "success", name)
        self.assertIn("full", self.run("aragora backup list"))
        self.run("touch -d '-200 days' /var/lib/systemd/timers/stamp-aragora-drill.timer; systemctl start aragora-drill.timer")
        self.machine.wait(lambda: self.shows("aragora-drill", "ActiveState") == "inactive" and self.shows("aragora-drill", "ExecMainExitTimestampMonotonic") != "0", 180)
        self.assertEqual(self.shows("aragora-drill", "Result"), "success")
        # What was backed up is out of the daemon's reach, whoever is inside of it.
        self.run("systemctl restart aragora")
        pid = self.shows("aragora", "MainPID")
        self.assertIn("Read-only file system", self.run(f"nsenter -t {pid} -m -- rm -rf /var/lib/aragora/backups/full 2>&1", check=1))
        self.run(f"nsenter -t {pid} -m -- touch /var/lib/aragora/mine; rm /var/lib/aragora/mine; aragora backup verify --level 1")
        # Berlin's nights when the hour from 2 to 3 does not exist, and when it comes twice.
        for unit in ("backup", "validate"):
            when = re.search(r"OnCalendar=(.*)", (SOURCE / f"systemd/aragora-{unit}.timer").read_text())[1]
            for day in ("2027-03-26", "2027-10-29"):
                shown = subprocess.run(["systemd-analyze", "calendar", "--iterations=5", f"--base-time={day} 12:00:00", when], env={"TZ": "Europe/Berlin", "PATH": "/usr/bin"}, capture_output=True, text=True, check=True).stdout
                hours = [int(d) * 24 + int(h) + int(m) / 60 for d, h, m in re.findall(r"\(in UTC\): \w+ \d+-\d+-(\d+) (\d+):(\d+)", shown)]
                self.assertEqual([b - a for a, b in zip(hours, hours[1:]) if b > a], [24.0] * sum(b > a for a, b in zip(hours, hours[1:])), shown)
                self.assertGreaterEqual(len(hours), 5, shown)
        # The first days of its quarters, at the same hour of the world's clock.
        when = re.search(r"OnCalendar=(.*)", (SOURCE / "systemd/aragora-drill.timer").read_text())[1]
        shown = subprocess.run(["systemd-analyze", "calendar", "--iterations=5", "--base-time=2027-02-01 12:00:00", when], env={"TZ": "Europe/Berlin", "PATH": "/usr/bin"}, capture_output=True, text=True, check=True).stdout
        self.assertEqual(re.findall(r"\(in UTC\): \w+ (\S+ \S+)", shown), [f"{day} 04:30:00" for day in ("2027-04-01", "2027-07-01", "2027-10-01", "2028-01-01", "2028-04-01")])

    def test_backups_may_have_a_user_of_their_own(self):
        """As the README says it, with the settings of the daemon and without the keys of its providers."""
        source, there = SOURCE / "deploy/systemd/backup-user", self.machine.path("/usr/share/doc/aragora/examples/backup-user")
        shutil.copytree(source, there)
        self.run("\n".join(line[4:] for line in (source / "README.md").read_text().splitlines() if line.startswith("    ")))
        try:
            self.assertEqual(self.run("find /var/backups/aragora ! -user aragora-backup"), "")
            self.assertEqual(self.run("find /var/lib/aragora ! -user aragora"), "")
            # The daemon's user reads, and changes nothing; theirs does not read what is not theirs.
            self.assertIn("proven by restore", self.run("aragora backup list", user="aragora"))
            self.assertIn("Permission denied", self.run("rm -rf /var/backups/aragora/full 2>&1", user="aragora", check=1))
            for path in ("credentials/ANTHROPIC_API_KEY", "credentials/JWT_SECRET", "aragora.toml"):
                self.assertIn("Permission denied", self.run(f"runuser -u aragora-backup -- cat /etc/aragora/{path} 2>&1", check=1))
            self.run("systemctl start aragora-drill aragora-validate")
            self.assertIn("✓ Last drill", self.run("aragora backup status || true", user="aragora"))
            self.machine.wait(lambda: re.search(r"\naragora_backups\S* [1-9]", self.run("curl -s http://127.0.0.1:8080/metrics")))
            # What they save of the configuration is all of it but those keys, and that is said; by hand of root, too.
            for again in ("true", "printf '\\n[log]\\nlevel = \"debug\"\\n' >>/etc/aragora/aragora.toml; aragora backup create --kind configuration"):
                restored = self.run(f"{again}; rm -rf /root/restored; aragora restore --configuration --to /root/restored")
                self.assertIn("not saved: the keys of providers", restored)
                self.assertEqual(self.run("ls /root/restored/credentials"), self.run("ls /etc/aragora/credentials | grep -v ANTHROPIC"))
                self.assertEqual(self.run("cat /root/restored/credentials/JWT_SECRET"), self.run("cat /etc/aragora/credentials/JWT_SECRET"))
                self.assertEqual(self.run("grep ^state_directory /root/restored/aragora.toml"), self.run("grep ^state_directory /etc/aragora/aragora.toml"))
                self.assertIn("https://aragora.example.org", self.run("grep ^allowed_origins /root/restored/aragora.toml"))
            self.assertIn("log", self.run("cat /root/restored/aragora.toml"))
            self.run("aragora backup verify --level 1; runuser -u postgres -- psql -d postgres -qc 'ALTER ROLE aragora REPLICATION'; systemctl start aragora-wal")
            self.machine.wait(lambda: self.status("ls /var/backups/aragora/wal/*/*.partial") == 0)
            self.assertEqual(self.run("find /var/backups/aragora ! -user aragora-backup"), "")
        finally:
            self.run("systemctl stop aragora-wal; rm -r /etc/systemd/system/aragora-{backup,drill,wal}.service.d; systemctl daemon-reload")

    def test_a_restart_behind_its_socket_fails_nobody(self):
        self.run("systemctl stop aragora; systemctl start aragora.socket aragora; rm -f /root/enough /root/answers")
        self.machine.path("/root/clients.py").write_text(CLIENTS)
        try:
            self.run("setsid -f /usr/bin/python3 /root/clients.py > /root/clients.log 2>&1 < /dev/null")
            seen = {self.shows("aragora", "MainPID")}
            for _ in range(3):
                self.run("sleep 1; systemctl restart aragora")
                seen.add(self.shows("aragora", "MainPID"))
            self.assertEqual(len(seen), 4)
            self.run("sleep 1.5; touch /root/enough")
            self.machine.wait(lambda: self.machine.path("/root/answers").exists() and self.run("cat /root/answers").endswith("}"), 60)
            result = json.loads(self.run("cat /root/answers"))
            self.assertEqual(result["wrong"], [])
            self.assertGreaterEqual(result["answers"], 1000)
            self.assertIn("an inherited socket", self.run("journalctl -q -u aragora --no-pager -o cat --grep 'inherited socket'"))
        finally:
            self.run("touch /root/enough; systemctl stop aragora.socket aragora")

    def test_a_stop_finishes_what_is_under_way(self):
        self.machine.path("/root/half.py").write_text(HALF)
        self.assertRegex(self.run("/usr/bin/python3 /root/half.py"), r"HTTP/1.1 20[012]")
        self.machine.wait(lambda: self.shows("aragora", "ActiveState") == "inactive")
        self.assertEqual([self.shows("aragora", name) for name in ("Result", "ExecMainStatus")], ["success", "0"])
        self.assertEqual(self.told(), "")

    def test_a_reload_changes_all_or_nothing_and_is_done_when_it_returns(self):
        pid = self.shows("aragora", "MainPID")
        old = self.run("cat /etc/aragora/credentials/ARAGORA_API_TOKEN").strip()
        # Nothing, for whatever reason.
        line = self.run("grep -n ^allowed_origins /etc/aragora/aragora.toml").split(":")[0]
        for wrong, where in (('["*"]', f"aragora.toml:{line}"), ("[", "aragora.toml:")):
            self.edit("^allowed_origins = .*", f"allowed_origins = {wrong}")
            self.run("printf %s 0123456789abcdef0123456789ABCDEFnew > /etc/aragora/credentials/ARAGORA_API_TOKEN")
            for user in ("root", "aragora"):
                said = self.run("aragora reload", user=user, check=78)
                self.assertIn(where, said)
                self.assertIn("nothing was changed", said)
            self.assertNotEqual(self.status("systemctl reload aragora"), 0)
            self.assertEqual((self.asked("/api/debates", old), self.asked("/api/debates")), ("200", "401"))
        self.run("rm -rf /etc/aragora; cp -a /root/good /etc/aragora")
        # All at once: the token and the keys that debates are held with, and what waits for a restart by its name.
        self.edit("^behind_proxy", "port = 9090\\nbehind_proxy")
        self.run("openssl rand -hex 32 > /etc/aragora/credentials/ARAGORA_API_TOKEN; echo sk-ant-api03-ffffffffffffffffffffffffffffffffffffffff > /etc/aragora/credentials/ANTHROPIC_API_KEY")
        new = self.run("cat /etc/aragora/credentials/ARAGORA_API_TOKEN").strip()
        self.run("systemctl reload aragora")
        self.assertEqual((self.asked("/api/debates", old), self.asked("/api/debates", new)), ("401", "200"))
        told = json.loads(self.run("aragora reload --json", user="aragora"))
        self.assertEqual((told["reloaded"], told["applied"]), (True, []))
        self.assertEqual(told["after_restart"], ["server.port (8080 now, 9090 in the configuration)"])
        said = self.run("journalctl -q -u aragora -n 30 --no-pager -o cat")
        self.assertRegex(said, "configuration reloaded: .*auth.api_token.*providers.anthropic_api_key")
        self.assertNotIn(new, said)
        self.assertEqual(self.shows("aragora", "MainPID"), pid)
        self.assertEqual(self.shows("aragora", "ActiveState"), "active")
        # What systemd alone hands over is a copy of the start, also to a reload; that there is a new one is seen by the
        # times of a file that is root's alone.
        file = "/etc/aragora/credentials/ARAGORA_API_TOKEN"
        self.run(f"sed -i '/^port = 9090/d; /^api_token_file/d' /etc/aragora/aragora.toml; chmod 0600 {file}; chgrp root {file}; systemctl reload aragora")
        told = json.loads(self.run("aragora reload --json", user="aragora"))
        self.assertEqual((told["after_restart"], told["as_at_start"]), ([f"auth.api_token ({file} was changed after the start)"], []))
        self.assertEqual((self.asked("/api/debates", old), self.asked("/api/debates", new)), ("200", "401"))
        self.run("systemctl restart aragora")
        told = json.loads(self.run("aragora reload --json", user="aragora"))
        self.assertEqual((told["after_restart"], told["as_at_start"]), ([], []))
        self.assertEqual(self.asked("/api/debates", new), "200")
        # Nobody else, and nobody there.
        self.assertEqual(self.status("runuser -u nobody -- aragora reload --socket /run/aragora/control.sock"), 77)
        self.run("systemctl stop aragora")
        self.assertIn("no daemon runs here", self.run("aragora reload", check=69))

    def test_three_instances_share_a_machine(self):
        self.run("systemctl stop aragora; systemctl start redis-server; echo redis://127.0.0.1:6379/0 > /etc/aragora/credentials/REDIS_URL; chmod 0600 /etc/aragora/credentials/REDIS_URL; sed -i '/^single_instance/d' /etc/aragora/aragora.toml")
        try:
            self.run("systemctl start aragora@8080 aragora@8081 aragora@8082")
            for port in (8080, 8081, 8082):
                self.assertIn('"healthy"', self.run(f"curl -sf http://127.0.0.1:{port}/api/health"))
            self.run("aragora validate-env --unit aragora@8081; systemctl reload aragora@8081; aragora reload --socket /run/aragora-8082/control.sock")
            self.run("systemctl restart aragora@8081")
            self.assertEqual(self.run("systemctl is-active aragora@8080 aragora@8081 aragora@8082").split(), ["active"] * 3)
        finally:
            self.run("systemctl stop aragora@8080 aragora@8081 aragora@8082 redis-server")


if __name__ == "__main__":
    main()
