"""The runbooks of incidents, typed as they stand on a machine that booted and is really broken: nothing is simulated but the providers
of models, which answer as they are told to. One machine for all; each test leaves it well."""
import json
import os
import pathlib
import re
import secrets
import time

from booted import PASSWORD
from machine import Machine
from runbooks import Book, RunbookTests
from support import main
from test_totp import code, settle

# Anthropic's API on port 9000 and OpenAI's on 9001: the key that /run/provider/PORT names is answered, everybody else with the status there.
# What it says that an answer took may stand behind: a number of tokens, or none when it does not say.
PROVIDERS = r'''
import http.server, json, sys, threading
def speech(system, data):
    data = data[data["boundary"]]
    if "Criticise" in system:
        return json.dumps({"critiques": [{"target": one["id"], "issues": [{"claim": "too long", "severity": 4, "why": "read it"}], "strongest_point": "clear"} for one in data["proposals"]]})
    if "Choose the best" in system:
        return json.dumps({"choice": data["proposals"][0]["id"], "confidence": 90, "reason": "first"})
    return "The answer of a model."
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, key, *tokens = open(f"/run/provider/{self.server.server_port}").read().split()
        took = lambda *names: {name: int(tokens[0]) if tokens else 1 for name in names} if tokens != ["none"] else {}
        given = self.headers.get("x-api-key") or self.headers.get("Authorization", "")[7:]
        text = lambda content: content if isinstance(content, str) else content[0]["text"]
        if given != key:
            kind = {"401": "authentication_error", "429": "rate_limit_error"}[status]
            answer = {"type": "error", "error": {"type": kind, "message": "no"}}
        elif "chat" in self.path:
            status = 200
            said = speech(text(asked["messages"][0]["content"]), json.loads(text(asked["messages"][1]["content"])))
            answer = {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}], "usage": took("prompt_tokens", "completion_tokens")}
        else:
            status = 200
            said = speech(text(asked["system"]), json.loads(text(asked["messages"][0]["content"])))
            answer = {"model": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": said}], "stop_reason": "end_turn", "usage": took("input_tokens", "output_tokens")}
        body = json.dumps(answer).encode()
        self.send_response(int(status))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
'''
READY = "until curl -fs http://127.0.0.1:8080/api/ready; do sleep 0.1; done"
NOT_READY = "while curl -fs http://127.0.0.1:8080/api/ready; do sleep 0.1; done"
END_CONNECTIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'aragora'"


class Incidents(RunbookTests):
    startup, database, redis, provider, outage, budgets, disk, incidents = (Book(f"{name}.md") for name in ("startup", "database", "redis", "provider", "provider-outage", "budgets", "disk-full", "incidents"))
    rotation = Book("rotation.md", only=["A secret leaked"])
    books = [startup, database, redis, provider, outage, budgets, disk, incidents, rotation]

    @classmethod
    def setUpClass(cls):
        cls.boot()

    @classmethod
    def boot(cls):
        cls.machine = Machine()
        cls.addClassCleanup(cls.machine.__exit__)
        run = cls.machine.run
        for place, size, owner in (("/var/lib/postgresql", "400m", "postgres"), ("/backups", "8m", "root")):
            run(f"mkdir -p {place}; mount -t tmpfs -o size={size},mode=755 small {place}; chown {owner}: {place}")
        cls.machine.install_aragora()
        run("chown aragora: /backups")
        cls.machine.configure_production()
        run(f"echo 'requirepass {PASSWORD}' >> /etc/redis/redis.conf; systemctl start redis-server")
        cls.keys = {9000: f"sk-ant-api03-{secrets.token_hex(20)}", 9001: f"sk-{secrets.token_hex(20)}"}
        for name, value in (("REDIS_URL", f"redis://:{PASSWORD}@127.0.0.1:6379/0"), ("ANTHROPIC_API_KEY", cls.keys[9000]), ("OPENAI_API_KEY", cls.keys[9001])):
            run(f"echo '{value}' | install -m 0640 -g aragora /dev/stdin /etc/aragora/credentials/{name}")
        recipient = re.search(r"age1\w+", run("aragora backup keygen --out /root/recovery.key; cat /root/recovery.key"))[0]
        toml = cls.machine.path("/etc/aragora/aragora.toml")
        text = re.sub(r'(?m)^# (url_file = "/etc/aragora/credentials/REDIS_URL").*', r"\1", toml.read_text())
        text = text.replace("[providers]", '[providers]\nopenai_api_key_file = "/etc/aragora/credentials/OPENAI_API_KEY"\nanthropic_base_url = "http://127.0.0.1:9000"\nopenai_base_url = "http://127.0.0.1:9001/v1"')
        toml.write_text(text + f'\n[backup]\ndirectory = "/backups"\nrecipients = ["{recipient}"]\n')
        cls.machine.path("/root/providers.py").write_text(PROVIDERS)
        cls.machine.path("/etc/systemd/system/provider@.service").write_text("[Service]\nExecStart=/usr/bin/python3 /root/providers.py %i\n")
        run("mkdir /run/provider; systemctl daemon-reload")
        cls.serve(9000)
        cls.serve(9001)
        run("systemctl start aragora && aragora backup create && aragora backup verify")

    @classmethod
    def serve(cls, port, status=401, key=None, tokens=""):
        cls.machine.run(f"echo '{status} {key or cls.keys[port]} {tokens}' > /run/provider/{port}; systemctl start provider@{port}")
        cls.machine.wait(lambda: cls.machine.status(f"curl -s http://127.0.0.1:{port}/") == 0)

    def setUp(self):
        super().setUp()
        if not self.machine.ready():  # what failed before left it broken
            self.boot()
        self.in_machine = self.machine.run
        self.addCleanup(lambda: self.machine.run("journalctl --rotate -q; journalctl --vacuum-time=1s -q 2>/dev/null"))

    def type(self, book, title, only=None, **environment):
        self.in_machine("journalctl --sync")
        return book.type(self.machine.run, title, only, **environment)

    def refused(self, status):
        """The daemon does not start, and says this status."""
        self.assertNotEqual(self.machine.status("systemctl restart aragora"), 0)
        self.assertEqual(self.machine.shows("aragora", "ExecMainStatus"), str(status))

    def sql(self, text):
        return self.in_machine(f"cd /; psql -qAt -d aragora -c \"{text}\"", user="postgres")

    def debate(self, agents="", seconds=20):
        """Begins one and waits for its end."""
        more = f', "deadline_seconds": {seconds}' + (agents and f', "agents": {json.dumps(agents.split())}')
        return self.in_machine("""token=$(cat /etc/aragora/credentials/ARAGORA_API_TOKEN)
            id=$(curl -fs --retry 10 -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d '{"task": "x", "rounds": 0'"$MORE"'}' http://127.0.0.1:8080/api/debates | sed 's/.*"debate_id":"\\([^"]*\\)".*/\\1/')
            until curl -fs -H "Authorization: Bearer $token" "http://127.0.0.1:8080/api/debates/$id" | grep -oE '"status":"(completed|failed)"'; do sleep 0.5; done""", MORE=more).strip()

    def administrator(self):
        """The access token of one who has just logged in, as production wants it."""
        password = self.in_machine("aragora user add boss@example.org --role admin 2>/dev/null").strip().splitlines()[-1]
        secret = re.search(r"secret=(\w+)", self.in_machine("aragora user mfa enrol boss@example.org"))[1]
        now = settle()
        self.in_machine(f"echo {code(secret, now - 1)} | aragora user mfa confirm boss@example.org")
        body = json.dumps({"email": "boss@example.org", "password": password, "mfa_code": code(secret, now)})
        login = self.in_machine(f"curl -s -H 'Content-Type: application/json' -d '{body}' http://127.0.0.1:8080/api/auth/login")
        self.addCleanup(lambda: self.machine.run("aragora user delete boss@example.org --yes", check=None))
        return re.search(r'"access_token":"([^"]+)', login)[1]

    # startup.md

    def test_settings_and_secrets(self):
        self.in_machine("sed -i 's/^\\[server\\]/[server]\\nprot = 1/' /etc/aragora/aragora.toml")
        self.refused(78)
        self.assertIn("ExecMainStatus=78", self.type(self.startup, "Which one is it"))
        self.type(self.startup, "A setting is wrong")

        self.in_machine("chgrp root /etc/aragora/credentials/JWT_SECRET")
        self.refused(78)
        said = self.in_machine("journalctl -u aragora -n 20 -o cat --no-pager")
        self.assertIn("so that aragora may", said)
        self.assertNotIn("sudo", said, "a daemon that is started by hand as root is no cure")
        self.type(self.startup, "A secret cannot be read")

        self.in_machine("rm /etc/aragora/credentials/JWT_SECRET")
        self.refused(78)
        self.type(self.startup, "A secret is gone")

    def test_a_file_that_cannot_be_read_makes_nothing_else_missing(self):
        """It said that the encryption key was missing, with a line that would have written a new one over it."""
        self.in_machine("cp -a /etc/aragora/aragora.toml /root/kept; sed -i 's/^\\[server\\]/[server/' /etc/aragora/aragora.toml")
        self.refused(78)
        self.assertIn("the daemon does not start: 1 check failed", self.in_machine("journalctl -u aragora -n 20 -o cat --no-pager"))
        said = self.in_machine("aragora validate-env --unit aragora", check=78)
        self.assertIn("syntax error", said)
        self.assertNotIn("missing", said)
        self.assertNotIn("openssl rand", said)
        self.in_machine("mv /root/kept /etc/aragora/aragora.toml; systemctl restart aragora")

    def test_the_encryption_key(self):
        key = self.machine.path("/etc/aragora/credentials/ARAGORA_ENCRYPTION_KEY")
        before = key.read_text()
        self.in_machine("aragora backup create --kind configuration; openssl rand -hex 32 > /etc/aragora/credentials/ARAGORA_ENCRYPTION_KEY")
        self.refused(78)
        self.type(self.startup, "The encryption key is another one, or gone")
        self.assertEqual(key.read_text().strip(), before.strip())

    def test_the_schema(self):
        known = int(self.sql("SELECT max(version) FROM aragora_migrations"))
        self.in_machine(f"aragora migrate down --to {known - 1} --allow-data-loss --no-backup")
        self.refused(78)
        self.type(self.startup, "Migrations are pending")
        self.sql(f"CREATE TABLE later (x int); ALTER TABLE later OWNER TO aragora; INSERT INTO aragora_migrations SELECT {known + 1}, 'later', checksum, applied_at, applied_by, duration_ms, 1, 1, 'DROP TABLE later;', '' FROM aragora_migrations WHERE version = {known}")
        self.refused(78)
        self.type(self.startup, "The schema is newer than this version", KNOWN=str(known))
        self.assertEqual(self.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'later'").strip(), "0")

    def test_the_port_is_taken(self):
        self.in_machine("systemctl stop aragora; systemd-run -q --unit stranger python3 -m http.server 8080 --bind 127.0.0.1; until curl -s -o /dev/null http://127.0.0.1:8080/; do sleep 0.1; done")
        self.refused(73)
        self.assertIn("stranger.service", self.type(self.startup, "The port is taken"))

    def test_killed(self):
        self.in_machine("systemctl kill --kill-whom=main -s KILL aragora; " + NOT_READY + "; " + READY)
        self.assertIn("NRestarts=", self.type(self.startup, "It was killed, or crashed"))

    def drop_in(self, name, text):
        self.in_machine(f"mkdir -p /etc/systemd/system/aragora.service.d; printf '[Service]\\n{text}\\n' > /etc/systemd/system/aragora.service.d/{name}.conf; systemctl daemon-reload")
        self.addCleanup(lambda: self.machine.run(f"rm -f /etc/systemd/system/aragora.service.d/{name}.conf; systemctl daemon-reload; systemctl restart aragora"))

    def test_the_watchdog(self):
        self.drop_in("watchdog", "WatchdogSec=4\\nTimeoutAbortSec=2")
        self.in_machine("systemctl restart aragora")
        before = self.machine.shows("aragora", "MainPID")
        self.in_machine(f"kill -STOP {before}")
        self.machine.wait(lambda: self.machine.shows("aragora", "MainPID") not in (before, "0") and self.machine.ready(), 60)
        self.assertIn("NRestarts=1", self.type(self.startup, "The watchdog killed it"))

    def test_the_memory(self):
        """The kernel's own killer, by a control group around the daemon: of the first version, which systemd in here does not see (MemoryMax= is
        taken and does nothing), so that the result is called signal, and not oom-kill."""
        # A daemon that has just begun: what an older one has free again takes nothing from the group.
        self.in_machine("systemctl restart aragora")
        self.machine.wait(self.machine.ready, 60)
        before = self.machine.shows("aragora", "MainPID")
        group = pathlib.Path(f"/sys/fs/cgroup/memory/aragora-test-{secrets.token_hex(4)}")
        group.mkdir()
        try:
            (group / "memory.limit_in_bytes").write_text("2M")
            (group / "cgroup.procs").write_text(self.outside(before))
            # What it is asked now takes memory beyond it.
            self.in_machine("head -c 900000 /dev/zero > /root/body; for i in $(seq 40); do curl -s -m 5 -o /dev/null -H \"Authorization: Bearer $(cat /etc/aragora/credentials/ARAGORA_API_TOKEN)\" -H 'Content-Type: application/json' --data-binary @/root/body http://127.0.0.1:8080/api/debates & done; wait || true")
            self.machine.wait(lambda: self.machine.shows("aragora", "MainPID") not in (before, "0") and self.machine.ready(), 60)
            self.assertRegex((group / "memory.oom_control").read_text(), r"oom_kill [1-9]")
        finally:
            self.machine.wait(lambda: not (group / "cgroup.procs").read_text().strip())
            group.rmdir()
        self.assertIn("NRestarts=", self.type(self.startup, "The memory ran out"))

    def outside(self, pid):
        """The number that a process in the machine has outside of it."""
        space = os.readlink(f"/proc/{self.machine.leader()[0]}/ns/pid")
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "ns/pid") == space and re.search(rf"(?m)^NSpid:.*\t{pid}$", (process / "status").read_text()):
                    return process.name
            except OSError:
                pass
        raise AssertionError(f"no process {pid} in there")

    def test_a_limit_that_is_too_small(self):
        self.drop_in("limits", "LimitAS=200M")
        self.refused(70)
        self.type(self.startup, "Which one is it")
        self.type(self.startup, "It ends with 70")

    def embedded(self):
        """On SQLite, with a small disk."""
        self.in_machine("systemctl stop aragora; mount -t tmpfs -o size=2m,mode=750 small /var/lib/aragora; chown aragora: /var/lib/aragora; echo '[server]' > /etc/aragora/lite.toml; chmod 0644 /etc/aragora/lite.toml")
        self.addCleanup(lambda: self.machine.run("systemctl stop aragora; umount -l /var/lib/aragora; systemctl start aragora"))
        self.drop_in("embedded", "Environment=ARAGORA_ENV=development ARAGORA_CONFIG=/etc/aragora/lite.toml\\nLoadCredential=\\nSetCredential=")

    def test_its_own_disk(self):
        self.embedded()
        self.in_machine("dd if=/dev/zero of=/var/lib/aragora/core.dump bs=4k status=none 2>/dev/null || true")
        self.refused(74)
        self.type(self.startup, "Its own disk is full")

    def test_another_daemon(self):
        self.embedded()
        self.in_machine("systemd-run -q --unit stray --uid aragora --setenv=ARAGORA_ENV=development --setenv=ARAGORA_CONFIG=/etc/aragora/lite.toml --setenv=ARAGORA_STATE_DIR=/var/lib/aragora --setenv=ARAGORA_PORT=8099 /usr/bin/aragora serve; until curl -fs http://127.0.0.1:8099/api/ready; do sleep 0.1; done")
        self.refused(75)
        self.type(self.startup, "Another has its data")
        self.assertNotEqual(self.machine.status("systemctl is-active -q stray"), 0)

    # database.md

    def test_the_database_is_stopped(self):
        self.in_machine("systemctl stop postgresql@15-main; " + NOT_READY)
        self.assertIn("unreachable", self.type(self.database, "Which one is it"))
        self.assertIn("no connection can be made", self.type(self.incidents, "The first five minutes"))
        self.type(self.database, "It is stopped")
        self.type(self.incidents, "Afterwards")

    def test_the_database_refuses(self):
        self.sql(f"ALTER ROLE aragora PASSWORD 'other'; {END_CONNECTIONS}")
        self.in_machine(NOT_READY)
        self.type(self.database, "It refuses the password")
        self.sql(f"ALTER ROLE aragora CONNECTION LIMIT 0; {END_CONNECTIONS}")
        self.in_machine(NOT_READY)
        self.type(self.database, "No connection is left")
        self.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        self.sql("SELECT pg_reload_conf()")
        self.in_machine(NOT_READY)
        self.type(self.database, "It takes no writes")

    def test_something_holds_a_lock(self):
        title = "Something holds a lock"
        self.in_machine("systemd-run -q --unit holder runuser -u postgres -- bash -c \"{ echo 'BEGIN; LOCK TABLE debates;'; sleep 300; } | psql -d aragora\"")
        self.machine.wait(lambda: "debates" in self.sql("SELECT relation::regclass FROM pg_locks WHERE mode = 'AccessExclusiveLock'"))
        self.in_machine("systemd-run -q --unit waiting bash -c 'while true; do curl -s -H \"Authorization: Bearer $(cat /etc/aragora/credentials/ARAGORA_API_TOKEN)\" http://127.0.0.1:8080/api/debates; sleep 1; done'")
        self.machine.wait(lambda: self.sql("SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0").strip() != "0")
        self.type(self.database, title, [0, 1])
        self.in_machine("systemctl stop waiting holder", check=None)
        self.type(self.database, title, [2])

    # redis.md

    def test_redis(self):
        away = "until curl -fs http://127.0.0.1:8080/api/ready | grep '\"redis\":\"unreachable\"'; do sleep 0.1; done"
        self.in_machine("systemctl stop redis-server; " + away)
        self.type(self.redis, "Redis is away")
        self.in_machine(f"redis-cli config set requirepass other; export REDISCLI_AUTH=other; for type in normal pubsub; do redis-cli client kill type $type; done; {away}", REDISCLI_AUTH=PASSWORD)
        self.type(self.redis, "Redis refuses the password")
        self.in_machine("redis-cli config set maxmemory 1mb; until journalctl -u aragora -n 20 -o cat | grep 'does not count'; do curl -s -o /dev/null http://127.0.0.1:8080/api/debates; sleep 0.2; done", REDISCLI_AUTH=PASSWORD)
        self.type(self.redis, "Redis has no memory left")

    # provider.md

    def test_the_provider_is_away(self):
        self.assertEqual(self.debate(), '"status":"completed"')
        self.in_machine("systemctl stop provider@9000")
        self.assertEqual(self.debate(), '"status":"failed"')
        self.assertIn("Connection refused", self.type(self.provider, "Which one is it"))
        title = "It cannot be reached"
        self.type(self.provider, title, [0, 1, 2])
        self.serve(9000)
        self.type(self.provider, title, [3])
        self.assertEqual(self.debate(), '"status":"completed"')

    def test_the_provider_refuses(self):
        title = "Too many requests, or no money left"
        self.serve(9000, 429, "another")
        self.assertEqual(self.debate(), '"status":"failed"')
        self.type(self.provider, title, [0, 1])
        self.assertIn("debates.max_concurrent = 10", self.in_machine("aragora config show"))
        self.serve(9000)
        self.type(self.provider, title, [2])

        title = "The key is refused"
        new = f"sk-ant-api03-{secrets.token_hex(20)}"
        self.serve(9000, 401, new)
        self.assertEqual(self.debate(), '"status":"failed"')
        self.type(self.provider, title, [0])
        typed = lambda text, **more: self.machine.run(f"exec < <(echo {new})\n{text}", **more)  # what is typed on its standard input
        self.provider.type(typed, title, [1])
        self.type(self.provider, title, [2])
        self.serve(9000, 401, new)
        type(self).keys = {**self.keys, 9000: new}

    def test_a_new_key_is_used_without_a_restart(self):
        title, new = "Its key or its money", f"sk-ant-api03-{secrets.token_hex(20)}"
        self.serve(9000, 401, new)
        self.assertEqual(self.debate(), '"status":"failed"')
        before = self.machine.shows("aragora", "MainPID")
        self.type(self.outage, title, [0])
        self.outage.type(lambda text, **more: self.machine.run(f"exec < <(echo {new})\n{text}", **more), title, [1])
        type(self).keys = {**self.keys, 9000: new}
        self.assertEqual(self.debate(), '"status":"completed"')
        self.assertEqual(self.machine.shows("aragora", "MainPID"), before)

    # provider-outage.md

    def test_circuits_open(self):
        self.in_machine("systemctl stop provider@9000 provider@9001")
        self.assertEqual(self.debate(seconds=10), '"status":"failed"')
        self.type(self.outage, "Which one is it")
        self.assertEqual(self.debate("openai openai-skeptic openai-pragmatist", seconds=10), '"status":"failed"')
        self.type(self.outage, "Nobody can be asked")
        self.serve(9000)
        self.serve(9001)
        self.type(self.outage, "Its circuit is open", token=self.administrator())
        self.assertEqual(self.debate(), '"status":"completed"', "long before its next probe")
        self.in_machine("systemctl restart aragora")

    # budgets.md

    def test_the_budget_of_the_day(self):
        edit = lambda amount: self.in_machine(f"sed -i 's|^daily_usd = .*|daily_usd = \"{amount}\"|' /etc/aragora/aragora.toml; aragora reload")
        self.in_machine("cp -a /etc/aragora/aragora.toml /root/kept; printf '\n[budget]\ndaily_usd = \"20\"\n' >> /etc/aragora/aragora.toml; aragora reload")
        self.addCleanup(lambda: self.machine.run("mv /root/kept /etc/aragora/aragora.toml; aragora reload"))
        self.assertEqual(self.debate(), '"status":"completed"')
        self.type(self.budgets, "A budget is nearly used up")
        edit("0.0001")
        self.assertEqual(self.debate(), '"status":"failed"')
        self.type(self.budgets, "Debates end as budget_exhausted")
        self.assertEqual(self.debate(), '"status":"completed"')
        self.serve(9000, tokens="none")
        self.addCleanup(lambda: self.serve(9000))
        self.debate()
        self.assertRegex(self.type(self.budgets, "Much of it is unknown"), r'"unknown_usd":"[\d.]*[1-9]')
        self.serve(9000, tokens="50000")
        self.debate()
        self.type(self.budgets, "A provider charges more than its prices")

    # disk-full.md

    def test_the_disk_of_the_database(self):
        title = "The disk of the database"
        self.type(self.disk, "Before it happens")
        self.in_machine("dd if=/dev/zero of=/var/lib/postgresql/filler bs=64k", check=None)
        deadline = time.monotonic() + 60
        while self.machine.ready():
            self.in_machine("cd /; psql -q -d aragora -c \"INSERT INTO settings (name, value, updated_at) SELECT 'fill' || random()::text, repeat('x', 1000), 0 FROM generate_series(1, 100)\"", user="postgres", check=None)
            self.in_machine("curl -s -H \"Authorization: Bearer $(cat /etc/aragora/credentials/ARAGORA_API_TOKEN)\" -H 'Content-Type: application/json' -d '{\"task\": \"x\", \"rounds\": 0}' http://127.0.0.1:8080/api/debates")
            self.assertLess(time.monotonic(), deadline)
        self.assertIn('"database":"full"', self.type(self.disk, "Which one is it"))
        self.type(self.disk, title, [0, 1])
        self.in_machine("rm /var/lib/postgresql/filler")  # what somebody put there
        self.sql("DELETE FROM settings WHERE name LIKE 'fill%'")
        self.type(self.disk, title, [2, 3, 4])

    def test_the_disk_of_the_backups(self):
        free = int(self.in_machine("df --output=avail -B1 /backups | tail -1"))
        self.in_machine(f"head -c {free - 200_000} /dev/urandom > /backups/stranger")
        self.type(self.disk, "The disk of the backups")
        self.type(self.disk, "Logs")

    # rotation.md

    def test_a_secret_leaked(self):
        title = "A secret leaked"
        path = lambda name: self.machine.path(f"/etc/aragora/credentials/{name}")
        asks = lambda token, where="/api/debates": self.in_machine(f"curl -s -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer {token}' http://127.0.0.1:8080{where}")
        password = self.in_machine("aragora user add ada@example.org --role member 2>/dev/null").strip().splitlines()[-1]
        login = self.in_machine(f"curl -s -H 'Content-Type: application/json' -d '{{\"email\": \"ada@example.org\", \"password\": \"{password}\"}}' http://127.0.0.1:8080/api/auth/login")
        session = re.search(r'"access_token":"([^"]+)', login)[1]
        token = path("ARAGORA_API_TOKEN").read_text().strip()
        self.assertEqual([asks(session, "/api/auth/me"), asks(token)], ["200", "200"])
        self.type(self.rotation, title, [0])
        self.assertEqual([asks(session, "/api/auth/me"), asks(token), asks(path("ARAGORA_API_TOKEN").read_text().strip())], ["401", "401", "200"])

        key, number = re.search(r"ara_(\w{12})_\S+", self.in_machine("aragora user key create --email ada@example.org --name leaked")).group(0, 1)
        self.assertEqual(asks(key), "200")
        self.type(self.rotation, title, [1], KEY=number)
        self.assertEqual(asks(key), "401")

        url = path("DATABASE_URL").read_text().strip()
        self.assertEqual(self.machine.status(f"psql '{url}' -c 'SELECT 1'"), 0)
        self.type(self.rotation, title, [2])
        self.assertNotEqual(self.machine.status(f"psql '{url}' -c 'SELECT 1'"), 0, "the old password is still good")
        self.type(self.rotation, title, [3])
        self.in_machine("aragora user mfa enrol ada@example.org")
        self.type(self.rotation, title, [4])


if __name__ == "__main__":
    main()
