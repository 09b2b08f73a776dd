"""A deployment for the contract of the API: a daemon, people of every role, and one request for each operation that it grants."""
import contextlib
import os
import pathlib
import secrets
import time
import urllib.parse

from contract import Contract
from support import Daemon, TinyDisk, strong_secret
from test_provider import KEY, Endpoint, speak
from test_totp import code

PASSWORD = "a password that is long enough"
NOBODY = "nobody-has-this"
SOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
TWO = {"agents": ["demo-a", "demo-b"], "rounds": 0}  # by name: nobody else is to be asked
DEBATE = {"task": "Ship on Friday?", "agents": ["demo-a", "demo-b", "demo-c"], "rounds": 1, "domain": "rockets"}
CHAT = {"model": "aragora/default", "messages": [{"role": "user", "content": "Ship on Friday?"}], "aragora": {"agents": ["demo-a", "demo-b"], "rounds": 0}}


def bearer(token):
    return {"Authorization": f"Bearer {token}"} if token else {}


class Ask:
    """A request to an operation. `path` and `query` fill in what it takes."""

    def __init__(self, who=None, body=None, query="", headers=None, **path):
        self.who, self.body, self.query, self.headers, self.path = who, body, query, headers or {}, path


class Answer(dict):
    """What an answer holds, where it holds something, its status and its headers."""

    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text


class World:
    """A daemon that allows everything, with accounts of every role. The subclasses say on which engine."""

    maxDiff = None
    PEOPLE = ("admin", "viewer", "member")

    @classmethod
    def setUpClass(cls):
        cls.sandbox = cls.enterClassContext(cls.deployment())
        cls.sandbox.environment |= {"ARAGORA_API_TOKEN": strong_secret(), "ARAGORA_METRICS_TOKEN": strong_secret(), "ARAGORA_REGISTRATION": "true", "ARAGORA_LOGIN_RATE_LIMIT": "0", "ARAGORA_DEMO": "true"}
        slow = cls.enterClassContext(Endpoint(lambda _, body: (time.sleep(2), speak(body))[1]))
        cls.sandbox.environment |= {"OPENAI_BASE_URL": slow.url, "OPENAI_API_KEY": KEY}
        cls.sandbox.run("migrate", check=0)
        # A control group of our making, where the daemon looks for its own, and a disk that is full at our word.
        cls.groups = cls.enterClassContext(TinyDisk(pathlib.Path("/sys/fs/cgroup")))
        cls.use_memory(10)
        cls.sandbox.prefix = cls.groups.prefix
        cls.full = cls.sandbox.directory / "full"
        cls.daemon = cls.enterClassContext(Daemon(cls.sandbox, LD_PRELOAD=os.environ["FAULTS_LIBRARY"], FAULT_KIND="enospc", FAULT_AT="1", FAULT_WHILE=str(cls.full)))
        cls.contract = Contract(cls.daemon.get("/api/openapi.json")[1])
        cls.tokens = {"anonymous": None, "api_token": cls.sandbox.environment["ARAGORA_API_TOKEN"], "metrics_token": cls.sandbox.environment["ARAGORA_METRICS_TOKEN"]}

    @contextlib.contextmanager
    def beside(self, **environment):
        """Another daemon of the same deployment."""
        with Daemon(self.sandbox, **environment) as daemon:
            yield daemon

    @classmethod
    def use_memory(cls, percent):
        cls.groups.sh(f'cd "$1" && echo {percent}000000 > memory.current && echo 100000000 > memory.max && echo inactive_file 0 > memory.stat')

    def ask(self, name, ask, expect=None, daemon=None, more=""):
        """What is answered, after it was held against the description."""
        method, path = name.split(" ")
        for key, value in ask.path.items():
            path = path.replace("{" + key + "}", value)
        query = "&".join(part for part in (ask.query, more) if part)
        headers = {**bearer(self.tokens.get(ask.who, ask.who)), **ask.headers}
        status, got, body = (daemon or self.daemon).request(method, path + ("?" + query if query else ""), ask.body, headers)
        answer = Answer(status, got, body)
        with self.subTest(f"{name} as {str(ask.who)[:20]}, for {expect}"):  # one fault does not hide the next
            value = self.contract.check(name, status, got, body)
            answer.update(value if isinstance(value, dict) else {})
            self.assertEqual(status, expect or status, body[:400])
        return answer

    def wait(self, condition, limit=20):
        deadline = time.monotonic() + limit
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.daemon.text()[-2000:])
            time.sleep(0.02)

    # Accounts

    def fresh(self):
        """Somebody new, logged in."""
        email = f"{secrets.token_hex(6)}@example.org"
        made = self.ask("POST /api/auth/register", Ask(body={"email": email, "password": PASSWORD}), 201)
        return {"email": email, "who": made["access_token"], "refresh": made["refresh_token"], "id": made["user_id"]}

    def with_factor(self, person=None):
        person = person or self.fresh()
        secret = self.ask("POST /api/auth/mfa/setup", Ask(person["who"], {"password": PASSWORD}), 200)["secret"]
        number = code(secret, int(time.time()) // 30)
        person["codes"] = self.ask("POST /api/auth/mfa/enable", Ask(person["who"], {"code": number}), 200)["backup_codes"]
        return person

    def pending(self, person):
        return self.ask("POST /api/auth/login", Ask(body={"email": person["email"], "password": PASSWORD}), 200)["pending_token"]

    def log_in(self, role):
        login = {"email": f"{role}@example.org", "password": PASSWORD if role == "admin" else self.passwords[role]}
        if role == "admin":
            login["mfa_code"] = self.admin["codes"].pop()
        self.tokens[role] = self.ask("POST /api/auth/login", Ask(body=login), 200)["access_token"]

    def populate(self):
        """The first administrator comes by a link; wrong ones, and one for an address that is taken, are refused before."""
        link = self.sandbox.run("user", "setup-link", check=0).stdout
        token = link.split("token=")[1].split()[0]
        self.taken = self.fresh()["email"]
        new = {"token": token, "email": "admin@example.org", "password": PASSWORD, "name": "Ada"}
        self.ask("POST /api/auth/setup", Ask(body={**new, "token": "of nobody"}), 401)
        self.ask("POST /api/auth/setup", Ask(body={**new, "email": self.taken}), 409)
        for wrong, status in (({"token": "of nobody"}, 401), ({"email": self.taken}, 409), ({"password": "short"}, 400), ({"email": "nobody"}, 400)):
            self.assertIn(b"<form ", self.fill_in({**new, **wrong}, status))
        self.before_the_first(Ask(body=new))
        self.first(new)
        first = self.ask("POST /api/auth/login", Ask(body={"email": new["email"], "password": PASSWORD}), 200)
        self.admin = self.with_factor({"who": first["access_token"], "email": new["email"]})
        self.passwords = {role: self.sandbox.run("user", "add", "--email", f"{role}@example.org", "--role", role, check=0).stdout.strip().splitlines()[-1] for role in ("viewer", "member")}
        for role in self.PEOPLE:
            self.log_in(role)
        self.keys = {scope: self.make_key("member", scopes=[scope])["key"] for scope in ("read", "write", "account")}
        self.debate = self.ask("POST /api/debates", Ask("member", DEBATE), 200)["debate_id"]
        self.wait(lambda: self.ask("GET /api/debates/{id}", Ask("viewer", id=self.debate), 200)["status"] == "completed")

    def fill_in(self, fields, status):
        """The page behind the link; what it answers is a page, too."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST /api/auth/setup", Ask(body=urllib.parse.urlencode(fields).encode(), headers=form), status).text

    def proof(self, who):
        return {"password": self.passwords.get(who, PASSWORD)}

    def make_key(self, who, **body):
        return self.ask("POST /api/auth/api-keys", Ask(who, {**self.proof(who), **body}), 201)

    def ended_debate(self):
        debate = self.ask("POST /api/debates", Ask("member", {"task": "short", **TWO}), 200)["debate_id"]
        self.wait(lambda: self.ask("GET /api/debates/{id}", Ask("viewer", id=debate), 200)["status"] == "completed")
        return debate

    def running_debate(self):
        """It goes on for some seconds."""
        return self.ask("POST /api/debates", Ask("member", {"task": "long", "rounds": 2, "agents": ["openai", "openai"]}), 200)["debate_id"]

    # One request for each operation that it grants. Those that use something up make it first.

    def successes(self):
        debate = lambda **more: lambda: Ask("viewer", id=self.debate, **more)
        reading = lambda **more: lambda: Ask("viewer", **more)
        asks = {f"GET /api/debates/{{id}}{view}": debate() for view in ("", "/messages", "/events", "/rounds", "/votes", "/agents", "/timeline", "/consensus", "/summary", "/export", "/receipt", "/costs")}
        asks |= {f"GET {path}": reading() for path in ("/api/budgets", "/api/debates", "/api/debates/stats", "/api/debates/queue/status", "/api/analytics/disagreements", "/api/agents", "/api/leaderboard", "/api/leaderboard-view", "/api/leaderboard/movers", "/api/leaderboard/domains", "/api/matches/recent", "/api/auth/me", "/api/auth/sessions", "/api/auth/api-keys")}
        asks |= {f"GET {path}": Ask for path in ("/api/health", "/api/ready", "/healthz", "/api/health/db", "/api/health/redis", "/api/version", "/api/openapi.json", "/api/auth/setup")}
        asks |= {f"GET /api/admin/{path}": lambda: Ask("admin") for path in ("audit", "audit/export", "audit/verify", "settings", "instances", "breakers", "api-keys", "users")}
        asks |= {
            "GET /api/receipts/checkpoint": reading(),
            "GET /api/receipts/consistency": reading(query="from=1"),
            **{f"GET /api/receipts/{{id}}{view}": reading(id="0") for view in ("", "/inclusion")},
            "GET /.well-known/aragora-keys.json": Ask,
            "GET /metrics": lambda: Ask("metrics_token"),
            "GET /ws": reading(headers=SOCKET),
            "GET /api/search": reading(query="q=ship"),
            "GET /api/agents/{name}": reading(name="demo-a"),
            "GET /api/agents/{name}/history": reading(name="demo-a"),
            "GET /api/leaderboard/domain/{domain}": reading(domain="rockets"),
            "GET /api/leaderboard/compare": reading(query="agent_a=demo-a&agent_b=demo-b"),
            "GET /api/debates/{id}/export/{format}": debate(format="md"),
            "POST /api/debates": lambda: Ask("member", DEBATE, headers={"Idempotency-Key": secrets.token_hex(8)}),
            "GET /v1/models": reading(),
            "GET /v1/models/{id}": reading(id="default"),
            "POST /v1/chat/completions": lambda: Ask("member", CHAT, headers={"Idempotency-Key": secrets.token_hex(8)}),
            "POST /api/debates/batch": lambda: Ask("member", {"items": [{"task": "one", **TWO}, {"question": "two", **TWO}]}),
            "GET /api/debates/batch/{id}/status": lambda: Ask("viewer", id=self.ask("POST /api/debates/batch", Ask("member", {"items": [{"task": "one", **TWO}]}), 200)["batch_id"]),
            "DELETE /api/debates/{id}": lambda: Ask("member", id=self.ended_debate()),
            "POST /api/debates/{id}/messages": lambda: Ask("member", {"content": "Mind the cost."}, id=self.running_debate()),
            "PATCH /api/debates/{id}": lambda: Ask("member", {"title": "Friday", "tags": ["a"], "metadata": {"k": 1}}, id=self.debate),
            "POST /api/debates/{id}/fork": lambda: Ask("member", {"rounds": 0}, id=self.debate),
            "POST /api/debates/{id}/cancel": lambda: Ask("member", id=self.running_debate()),
            "POST /api/debates/{id}/pause": lambda: Ask("member", id=self.running_debate()),
            "POST /api/debates/{id}/resume": lambda: Ask("member", id=self.running_debate()),
            "POST /api/ws-ticket": lambda: Ask("viewer"),
            "POST /api/auth/login": lambda: Ask(body={"email": "viewer@example.org", "password": self.passwords["viewer"]}),
            "POST /api/auth/refresh": lambda: Ask(body={"refresh_token": self.fresh()["refresh"]}),
            "POST /api/auth/logout": lambda: Ask(self.fresh()["who"]),
            "POST /api/auth/logout-all": lambda: Ask(self.fresh()["who"]),
            "PATCH /api/auth/me": lambda: Ask(self.fresh()["who"], {"name": "Ada", "preferences": {"theme": "dark"}, "email": f"{secrets.token_hex(6)}@example.org", "password": PASSWORD}),
            "DELETE /api/auth/sessions/{id}": self.of_a_session,
            "POST /api/auth/register": lambda: Ask(body={"email": f"{secrets.token_hex(6)}@example.org", "password": PASSWORD, "name": "Eve"}),
            "POST /api/auth/password/change": lambda: Ask(self.fresh()["who"], {"current_password": PASSWORD, "new_password": PASSWORD + "!"}),
            "POST /api/auth/password/reset": lambda: Ask(body={"token": self.reset_token(), "new_password": PASSWORD + "!"}),
            "POST /api/auth/password/forgot": Ask,
            "POST /api/auth/setup": None,  # seen when the administrator was made: there is one only
            "POST /api/auth/mfa/setup": lambda: Ask(self.fresh()["who"], {"password": PASSWORD}),
            "POST /api/auth/mfa/enable": self.of_an_enrolment,
            "POST /api/auth/mfa/disable": self.of_a_code,
            "POST /api/auth/mfa/backup-codes": self.of_a_code,
            "POST /api/auth/mfa/step-up": self.of_a_code,
            "POST /api/auth/mfa/verify": self.of_half_a_login,
            "POST /api/auth/api-keys": lambda: Ask("viewer", {**self.proof("viewer"), "name": "nightly", "scopes": ["read"], "expires_in_days": 1}),
            "DELETE /api/auth/api-keys/{id}": lambda: Ask("member", id=self.make_key("member")["id"]),
            "POST /api/auth/api-keys/{id}/rotate": lambda: Ask("member", {**self.proof("member"), "overlap_hours": 1}, id=self.make_key("member")["id"]),
            "DELETE /api/admin/api-keys/{id}": lambda: Ask("admin", id=self.make_key("member")["id"]),
            "GET /api/admin/users/{id}/sessions": lambda: Ask("admin", id=self.fresh()["id"]),
            "DELETE /api/admin/users/{id}/sessions": lambda: Ask("admin", id=self.fresh()["id"]),
            "DELETE /api/admin/users/{id}/sessions/{session}": self.of_their_session,
            "POST /api/admin/breakers/{name}": lambda: Ask("admin", {"action": "reset"}, name="openai"),
            "POST /api/admin/users/{id}/reset": lambda: Ask("admin", id=self.fresh()["id"]),
            "POST /api/admin/users/{id}/unlock": lambda: Ask("admin", id=self.fresh()["id"]),
        }
        return asks

    def of_a_session(self):
        person = self.fresh()
        return Ask(person["who"], id=self.ask("GET /api/auth/sessions", Ask(person["who"]), 200)["sessions"][0]["id"])

    def of_their_session(self):
        user = self.fresh()["id"]
        return Ask("admin", id=user, session=self.ask("GET /api/admin/users/{id}/sessions", Ask("admin", id=user), 200)["sessions"][0]["id"])

    def of_an_enrolment(self):
        who = self.fresh()["who"]
        secret = self.ask("POST /api/auth/mfa/setup", Ask(who, {"password": PASSWORD}), 200)["secret"]
        return Ask(who, {"code": code(secret, int(time.time()) // 30)})

    def of_a_code(self):
        person = self.with_factor()
        return Ask(person["who"], {"code": person["codes"][0]})

    def of_half_a_login(self):
        person = self.with_factor()
        return Ask(body={"code": person["codes"][0], "pending_token": self.pending(person)})

    def reset_token(self):
        return self.ask("POST /api/admin/users/{id}/reset", Ask("admin", id=self.fresh()["id"]), 200)["token"]

    def drivers(self):
        """For every operation that is described, those that are other names of one among them."""
        asks = self.successes()
        for name, operation in self.contract.operations():
            yield name, operation, asks[operation.get("x-same-as", name)]
