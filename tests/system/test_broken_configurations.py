"""Sixty broken configurations. Each is refused by validate-env and by serve, with the variable, its origin and the fix
named, and with no secret in what is printed."""
import secrets
import subprocess
import unittest

from support import BINARY, Daemon, Sandbox, free_port, main, postgres_database, production_environment, service, strong_secret

CANARY = "canary" + secrets.token_hex(16)
UNREACHABLE = "127.0.0.1:1"


def certificate(sandbox, name, days="30", key=None):
    key_path, request, cert_path = (sandbox.directory / f"{name}.{suffix}" for suffix in ("key", "csr", "crt"))
    openssl = lambda *arguments: subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x", "-keyout", key_path, "-out", request)
    openssl("x509", "-req", "-in", request, "-signkey", key_path, "-days", days, "-out", cert_path)
    key_path.chmod(0o600)
    return {"ARAGORA_TLS_CERT_PATH": str(cert_path), "ARAGORA_TLS_KEY_PATH": str(key or key_path)}


# name: (changes to a good production environment, variable that must be named, exit status)
SIMPLE = {
    "no encryption key": ({"ARAGORA_ENCRYPTION_KEY": ""}, "ARAGORA_ENCRYPTION_KEY", 78),
    "encryption key too short": ({"ARAGORA_ENCRYPTION_KEY": "abc123"}, "ARAGORA_ENCRYPTION_KEY", 78),
    "encryption key too long": ({"ARAGORA_ENCRYPTION_KEY": secrets.token_hex(33)}, "ARAGORA_ENCRYPTION_KEY", 78),
    "encryption key 64 characters, not hex": ({"ARAGORA_ENCRYPTION_KEY": CANARY + "z" * (64 - len(CANARY))}, "ARAGORA_ENCRYPTION_KEY", 78),
    "encryption key all equal": ({"ARAGORA_ENCRYPTION_KEY": "a" * 64}, "ARAGORA_ENCRYPTION_KEY", 78),
    "encryption key counts up": ({"ARAGORA_ENCRYPTION_KEY": "0123456789abcdef" * 4}, "ARAGORA_ENCRYPTION_KEY", 78),
    "encryption key is the checklist's placeholder": ({"ARAGORA_ENCRYPTION_KEY": "your-32-byte-hex-key"}, "ARAGORA_ENCRYPTION_KEY", 78),
    "previous key not hex": ({"ARAGORA_ENCRYPTION_PREVIOUS_KEYS": CANARY}, "ARAGORA_ENCRYPTION_PREVIOUS_KEYS", 78),
    "rotation date not a date": ({"ARAGORA_ENCRYPTION_KEY_ROTATED_AT": "soon"}, "ARAGORA_ENCRYPTION_KEY_ROTATED_AT", 78),
    "rotation date in the future": ({"ARAGORA_ENCRYPTION_KEY_ROTATED_AT": "2999-01-01"}, "ARAGORA_ENCRYPTION_KEY_ROTATED_AT", 78),
    "no JWT secret": ({"JWT_SECRET": ""}, "JWT_SECRET", 78),
    "JWT secret too short": ({"JWT_SECRET": CANARY[:31]}, "JWT_SECRET", 78),
    "JWT secret is the checklist's placeholder": ({"JWT_SECRET": "your-32-char-secret"}, "JWT_SECRET", 78),
    "JWT secret says change-me": ({"JWT_SECRET": "change-me-" + CANARY}, "JWT_SECRET", 78),
    "JWT secret repeats itself": ({"JWT_SECRET": "abcabcabc" * 5}, "JWT_SECRET", 78),
    "JWT secret all equal": ({"JWT_SECRET": "x" * 40}, "JWT_SECRET", 78),
    "JWT secret is digits only and short on bits": ({"JWT_SECRET": "31415926535897932384626433832795"}, "JWT_SECRET", 78),
    "JWT secret unexpanded shell": ({"JWT_SECRET": "$(openssl rand -hex 32)"}, "JWT_SECRET", 78),
    "JWT aliases differ": ({"ARAGORA_JWT_SECRET": strong_secret()}, "JWT_SECRET", 78),
    "no provider": ({"ANTHROPIC_API_KEY": "", "OPENROUTER_API_KEY": ""}, "ANTHROPIC_API_KEY", 78),
    "only the fallback provider": ({"ANTHROPIC_API_KEY": ""}, "ANTHROPIC_API_KEY", 78),
    "provider placeholder": ({"ANTHROPIC_API_KEY": "sk-ant-xxx"}, "ANTHROPIC_API_KEY", 78),
    "provider key of another vendor": ({"ANTHROPIC_API_KEY": "sk-proj-" + CANARY}, "ANTHROPIC_API_KEY", 78),
    "provider key with a blank": ({"OPENAI_API_KEY": "sk-" + CANARY + " x"}, "OPENAI_API_KEY", 78),
    "provider key quoted": ({"OPENROUTER_API_KEY": '"sk-or-' + CANARY + '"'}, "OPENROUTER_API_KEY", 78),
    "no database": ({"DATABASE_URL": ""}, "DATABASE_URL", 78),
    "database aliases differ": ({"ARAGORA_POSTGRES_DSN": f"postgresql://u:{CANARY}@{UNREACHABLE}/x"}, "DATABASE_URL", 78),
    "database URL without a scheme": ({"DATABASE_URL": f"u:{CANARY}@localhost/x"}, "DATABASE_URL", 78),
    "database URL of MySQL": ({"DATABASE_URL": f"mysql://u:{CANARY}@localhost/x"}, "DATABASE_URL", 78),
    "database URL malformed": ({"DATABASE_URL": f"postgresql://u:{CANARY}@localhost:port/x%zz"}, "DATABASE_URL", 78),
    "database password is the sample": ({"DATABASE_URL": f"postgresql://aragora:password@{UNREACHABLE}/aragora"}, "DATABASE_URL", 78),
    "database unreachable": ({"DATABASE_URL": f"postgresql://u:{CANARY}@{UNREACHABLE}/x"}, "DATABASE_URL", 69),
    "database host unknown": ({"DATABASE_URL": f"postgresql://u:{CANARY}@no-such-host.invalid/x"}, "DATABASE_URL", 69),
    "database wrong password for a role that is not there": ({"DATABASE_URL": None}, "DATABASE_URL", 69),
    "no Redis for shared state": ({"REDIS_URL": ""}, "REDIS_URL", 78),
    "Redis unreachable": ({"REDIS_URL": f"redis://:{CANARY}@{UNREACHABLE}/0"}, "REDIS_URL", 69),
    "Redis scheme": ({"REDIS_URL": f"http://:{CANARY}@localhost"}, "REDIS_URL", 78),
    "Redis without a scheme": ({"REDIS_URL": f"{CANARY}:6379"}, "REDIS_URL", 78),
    "Redis database not a number": ({"REDIS_URL": f"redis://:{CANARY}@localhost/abc"}, "REDIS_URL", 78),
    "Redis wrong password": ({"REDIS_URL": "WRONG_PASSWORD"}, "REDIS_URL", 69),
    "Redis aliases differ": ({"ARAGORA_REDIS_URL": f"redis://:{CANARY}@{UNREACHABLE}"}, "REDIS_URL", 78),
    "no origins": ({"ARAGORA_ALLOWED_ORIGINS": ""}, "ARAGORA_ALLOWED_ORIGINS", 78),
    "wildcard origin": ({"ARAGORA_ALLOWED_ORIGINS": "*"}, "ARAGORA_ALLOWED_ORIGINS", 78),
    "wildcard subdomain": ({"ARAGORA_ALLOWED_ORIGINS": "https://*.example.org"}, "ARAGORA_ALLOWED_ORIGINS", 78),
    "origin with a path": ({"ARAGORA_ALLOWED_ORIGINS": "https://example.org/app"}, "ARAGORA_ALLOWED_ORIGINS", 78),
    "origin null": ({"ARAGORA_ALLOWED_ORIGINS": "https://ok.example,null"}, "ARAGORA_ALLOWED_ORIGINS", 78),
    "origin not https": ({"ARAGORA_ALLOWED_ORIGINS": "http://example.org"}, "ARAGORA_ALLOWED_ORIGINS", 78),
    "public URL not https": ({"ARAGORA_BASE_URL": "http://aragora.example.org"}, "ARAGORA_BASE_URL", 78),
    "bind host a star": ({"ARAGORA_BIND_HOST": "*"}, "ARAGORA_BIND_HOST", 78),
    "bind host a name": ({"ARAGORA_BIND_HOST": "aragora.example.org"}, "ARAGORA_BIND_HOST", 78),
    "proxy by name": ({"ARAGORA_TRUSTED_PROXIES": "nginx"}, "ARAGORA_TRUSTED_PROXIES", 78),
    "proxy block too narrow": ({"ARAGORA_TRUSTED_PROXIES": "10.0.0.0/33"}, "ARAGORA_TRUSTED_PROXIES", 78),
    "origin in capitals": ({"ARAGORA_ALLOWED_ORIGINS": "https://Example.org"}, "ARAGORA_ALLOWED_ORIGINS", 78),
    "origin with the default port": ({"ARAGORA_ALLOWED_ORIGINS": "https://x:443"}, "ARAGORA_ALLOWED_ORIGINS", 78),
    "origin with a slash": ({"ARAGORA_ALLOWED_ORIGINS": "https://x.example/"}, "ARAGORA_ALLOWED_ORIGINS", 78),
    "state directory is a file": ({"ARAGORA_STATE_DIR": "/etc/hostname"}, "ARAGORA_STATE_DIR", 78),
    "state directory below a file": ({"ARAGORA_STATE_DIR": "/etc/hostname/state"}, "ARAGORA_STATE_DIR", 78),
    "provider URL of another kind": ({"OPENAI_BASE_URL": "ftp://models.example"}, "OPENAI_BASE_URL", 78),
    "database password with an @ in it": ({"DATABASE_URL": f"postgresql://u:{CANARY}@spectrum@{UNREACHABLE}/x"}, "DATABASE_URL", 78),
    "environment misspelt": ({"ARAGORA_ENV": "prodution"}, "ARAGORA_ENV", 78),
    "environment abbreviated": ({"ARAGORA_ENV": "prod"}, "ARAGORA_ENV", 78),
    "environment names differ": ({"ARAGORA_ENVIRONMENT": "development"}, "ARAGORA_ENV", 78),
    "port not a number": ({"ARAGORA_PORT": "http"}, "ARAGORA_PORT", 78),
    "port too large": ({"ARAGORA_PORT": "70000"}, "ARAGORA_PORT", 78),
    "pool of none": ({"ARAGORA_DB_POOL_SIZE": "0"}, "ARAGORA_DB_POOL_SIZE", 78),
    "flag neither true nor false": ({"ARAGORA_BEHIND_PROXY": "maybe"}, "ARAGORA_BEHIND_PROXY", 78),
    "log level unknown": ({"ARAGORA_LOG_LEVEL": "loud"}, "ARAGORA_LOG_LEVEL", 78),
    "relative state directory": ({"ARAGORA_STATE_DIR": "state"}, "ARAGORA_STATE_DIR", 78),
    "secret file missing": ({"JWT_SECRET": "", "JWT_SECRET_FILE": "/no/such/file"}, "JWT_SECRET_FILE", 78),
    "secret program fails": ({"JWT_SECRET": "", "JWT_SECRET_COMMAND": "false"}, "JWT_SECRET_COMMAND", 78),
    "API token weak": ({"ARAGORA_API_TOKEN": "token"}, "ARAGORA_API_TOKEN", 78),
    "metrics token placeholder": ({"ARAGORA_METRICS_TOKEN": "change-me"}, "ARAGORA_METRICS_TOKEN", 78),
}


class BrokenConfigurations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.database = postgres_database()
        cls.url = cls.database.__enter__()
        cls.sandbox = Sandbox()
        cls.good = production_environment(cls.url, service("TEST_REDIS"), ARAGORA_PORT=str(free_port()))
        cls.sandbox.run("migrate", check=0, **cls.good)

    @classmethod
    def tearDownClass(cls):
        cls.sandbox.__exit__()
        cls.database.__exit__(None, None, None)

    def refused(self, environment, variable, status):
        secret_values = [value for name, value in environment.items() if value and ("SECRET" in name or "KEY" in name or "TOKEN" in name or "URL" in name or "DSN" in name)
                         and not name.endswith(("_PATH", "_AT", "_FILE", "_COMMAND")) and not name.endswith("BASE_URL") and len(value) > 12]
        for command in ("validate-env", "serve"):
            result = self.sandbox.run(command, timeout=30, **environment)
            printed = result.stdout + result.stderr
            self.assertEqual(result.returncode, status, f"{command}:\n{printed}")
            lines = [line for line in printed.splitlines() if variable in line]
            self.assertTrue(lines, f"{command} does not name {variable}:\n{printed}")
            self.assertIn("→", printed)
            self.assertIn("[", printed)
            self.assertNotIn(CANARY, printed, command)
            for value in secret_values:
                self.assertNotIn(value, printed, f"{command} prints a secret")

    def test_a_mistake_elsewhere_does_not_call_a_generated_key_missing(self):
        with Sandbox() as sandbox:
            with Daemon(sandbox):
                pass
            refused = subprocess.run([BINARY, "serve"], env={**sandbox.environment, "ARAGORA_PORT": "99999"}, capture_output=True, text=True, timeout=20)
            self.assertEqual(refused.returncode, 78)
            self.assertIn("1 check failed", refused.stderr)
            self.assertNotIn("ENCRYPTION_KEY", refused.stderr)

    def test_the_good_configuration_passes(self):
        self.sandbox.run("validate-env", check=0, **self.good)

    def test_sixty_of_them(self):
        self.assertGreaterEqual(len(SIMPLE), 60)
        for name, (changes, variable, status) in SIMPLE.items():
            with self.subTest(name):
                environment = {**self.good, **changes}
                if environment["DATABASE_URL"] is None:
                    environment["DATABASE_URL"] = self.good["DATABASE_URL"].replace("aragora:", "nobody-here:", 1)
                if environment["REDIS_URL"] == "WRONG_PASSWORD":
                    environment["REDIS_URL"] = service("TEST_REDIS").replace("redis-test-pw", CANARY)
                self.refused(environment, variable, status)

    def test_files_and_certificates(self):
        sandbox = self.sandbox
        strong = strong_secret()
        sandbox.directory.chmod(0o755)  # in a directory that nobody enters, modes say nothing
        readable = sandbox.write("readable", strong, 0o644)
        linked = sandbox.directory / "links/linked"
        linked.parent.mkdir()
        linked.symlink_to(sandbox.write("target", strong))
        bare = {"container": ""}  # not one, whatever this machine has
        config = lambda name, text, mode=0o600: {"ARAGORA_CONFIG": str(sandbox.write(name, text, mode))}
        other = certificate(sandbox, "other")
        cases = {
            "secret file open to all": ({**bare, "JWT_SECRET": "", "JWT_SECRET_FILE": str(readable)}, "JWT_SECRET_FILE"),
            "secret file is a link to elsewhere": ({"JWT_SECRET": "", "JWT_SECRET_FILE": str(linked)}, "JWT_SECRET_FILE"),
            "secret with a byte order mark": ({"JWT_SECRET": "", "JWT_SECRET_FILE": str(sandbox.write("bom", "\ufeff" + strong))}, "byte order mark (U+FEFF)"),
            "token with a blank": ({"ARAGORA_API_TOKEN": "", "ARAGORA_API_TOKEN_FILE": str(sandbox.write("blank", strong_secret() + " \n"))}, "ends with a blank (U+0020)"),
            "token with two line ends": ({"ARAGORA_API_TOKEN": "", "ARAGORA_API_TOKEN_FILE": str(sandbox.write("ends", strong_secret() + "\r\n\r\n"))}, "ends with a carriage return (U+000D)"),
            "provider key with a zero-width space": ({"OPENAI_API_KEY": "sk-\u200b" + strong_secret()}, "zero-width space (U+200B)"),
            "environment empty": (config("empty-env.toml", 'environment = ""\n') | {"ARAGORA_ENV": ""}, "empty-env.toml"),
            "acknowledged without a reason": ({"ARAGORA_ACKNOWLEDGED": "cpu 2026-11-27"}, "the reason is missing"),
            "acknowledged without a date": ({"ARAGORA_ACKNOWLEDGED": "cpu because"}, "the date is missing"),
            "acknowledged in the future": ({"ARAGORA_ACKNOWLEDGED": "cpu 2099-01-01 because"}, "lies ahead"),
            "acknowledged what is no check": ({"ARAGORA_ACKNOWLEDGED": "cpus 2026-11-27 because"}, "no check 'cpus'"),
            "secret file empty": ({"JWT_SECRET": "", "JWT_SECRET_FILE": str(sandbox.write("empty", ""))}, "JWT_SECRET_FILE"),
            "value and file differ": ({"JWT_SECRET_FILE": str(sandbox.write("different", strong_secret()))}, "JWT_SECRET_FILE"),
            "unknown setting": (config("unknown.toml", "[server]\nprot = 1\n"), "server.prot"),
            "syntax error": (config("syntax.toml", "[server\nport = 1\n"), "syntax.toml"),
            "wrong type": (config("type.toml", "[server]\nworkers = \"many\"\n"), "server.workers"),
            "configuration missing": ({"ARAGORA_CONFIG": "/no/such.toml"}, "/no/such.toml"),
            "secrets in a file open to all": ({**config("open.toml", f"[auth]\njwt_secret = \"{strong}\"\n", 0o644), "JWT_SECRET": ""}, "open.toml"),
            "two secrets the same": ({"JWT_SECRET": self.good["ARAGORA_ENCRYPTION_KEY"]}, "JWT_SECRET"),
            "certificate without a key": ({"ARAGORA_TLS_CERT_PATH": other["ARAGORA_TLS_CERT_PATH"]}, "certificate and key"),
            "certificate missing": ({**other, "ARAGORA_TLS_CERT_PATH": "/no/such.crt"}, "ARAGORA_TLS_CERT_PATH"),
            "key of another certificate": (certificate(sandbox, "mixed", key=other["ARAGORA_TLS_KEY_PATH"]), "ARAGORA_TLS_KEY_PATH"),
            "certificate expired": (certificate(sandbox, "expired", days="-1"), "ARAGORA_TLS_CERT_PATH"),
        }
        for name, (changes, variable) in cases.items():
            with self.subTest(name):
                self.refused({**self.good, **changes}, variable, 78)

    def test_pending_migrations_and_a_foreign_key_are_refused(self):
        with postgres_database() as url:
            self.refused({**self.good, "DATABASE_URL": url}, "Migrations", 78)
            self.sandbox.run("migrate", check=0, **{**self.good, "DATABASE_URL": url})
            self.sandbox.run("backup", "--output", self.sandbox.directory / "b", check=0, **{**self.good, "DATABASE_URL": url})
            self.refused({**self.good, "DATABASE_URL": url, "ARAGORA_ENCRYPTION_KEY": strong_secret()}, "ARAGORA_ENCRYPTION_KEY", 78)


if __name__ == "__main__":
    main()
