"""What `init --target` writes for each place is taken by the programs of that place, and made once."""
import pathlib
import re
import unittest

from support import Sandbox, main

HOST = "aragora.example.com"
PROVIDER = "sk-ant-api03-0123456789abcdef0123456789abcdef"


def files_below(directory):
    return {str(path.relative_to(directory)): path.read_text() for path in sorted(directory.rglob("*")) if path.is_file()}


def mode(path):
    return path.stat().st_mode & 0o777


class Target(unittest.TestCase):
    def setUp(self):
        self.sandbox = self.enterContext(Sandbox())
        self.directory = self.sandbox.directory / "made"

    def init(self, target, *more, check=0):
        result = self.sandbox.run("init", "--target", target, "--host", HOST, "--directory", self.directory, *more, check=check)
        self.said = result.stdout + result.stderr
        return files_below(self.directory)

    def secrets_of(self, files):
        return set(re.findall(r"[0-9a-f]{64}", "".join(files.values())))

    def made_once(self, target, secrets, changed):
        """Said nowhere, not made again, left alone; what is no secret is written anew when that is asked for."""
        before = files_below(self.directory)
        self.assertEqual(len(self.secrets_of(before)), secrets)
        for secret in self.secrets_of(before):
            self.assertNotIn(secret, self.said)
        self.assertEqual(len(re.findall(r"(?m)^  [123]\. ", self.said)), 3, self.said)
        (self.directory / changed).write_text("by hand\n")
        again = self.init(target)
        self.assertEqual(again, {**before, changed: "by hand\n"})
        self.assertIn("exists, left as it is", self.said)
        self.assertEqual(self.init(target, "--overwrite"), before)

    def test_systemd(self):
        files = self.init("systemd")
        self.assertEqual(set(files), {"aragora.toml", "database.sql", "nginx/aragora.conf", "nginx/aragora-proxy.conf", "certbot/aragora", "certbot/settings",
                                      *(f"credentials/{name}" for name in ("JWT_SECRET", "ARAGORA_ENCRYPTION_KEY", "ARAGORA_API_TOKEN", "DATABASE_URL"))})
        for name in ("database.sql", "credentials/DATABASE_URL", "credentials/JWT_SECRET"):
            self.assertEqual(mode(self.directory / name), 0o600, name)
        self.assertEqual(mode(self.directory / "credentials"), 0o700)
        password = re.search("PASSWORD '(.*)'", files["database.sql"])[1]
        self.assertEqual(files["credentials/DATABASE_URL"], f"postgresql://aragora:{password}@127.0.0.1:5432/aragora\n")
        # What is left for the administrator to give is asked for by name, and then nothing is missing.
        configuration = {"ARAGORA_CONFIG": str(self.directory / "aragora.toml"), "ARAGORA_STATE_DIR": "", "ARAGORA_BACKUP_CONTINUOUS": "true"}
        self.assertIn("credentials/ANTHROPIC_API_KEY", self.sandbox.run("validate-env", "--offline", check=78, **configuration).stdout)
        self.sandbox.write("made/credentials/ANTHROPIC_API_KEY", PROVIDER)
        result = self.sandbox.run("validate-env", "--offline", **configuration)
        self.assertEqual(result.returncode, 0, result.stdout)
        (self.directory / "credentials/ANTHROPIC_API_KEY").unlink()
        self.assertIn(f"server_name {HOST};", files["nginx/aragora.conf"])
        self.assertEqual(re.findall("server 127.0.0.1:(.*) max", files["nginx/aragora.conf"]), ["8080"])
        self.made_once("systemd", 4, "nginx/aragora.conf")

    def test_a_password_that_went_to_the_database_is_the_one_of_the_url(self):
        files = self.init("systemd")
        (self.directory / "credentials/DATABASE_URL").unlink()
        self.assertEqual(self.init("systemd"), files)
        (self.directory / "database.sql").unlink()
        self.assertNotIn("database.sql", self.init("systemd"))

    def test_docker(self):
        files = self.init("docker")
        self.assertEqual(set(files), {"aragora.env", "secrets/jwt_secret", "secrets/encryption_key", "secrets/api_token"})
        self.assertEqual(mode(self.directory / "secrets"), 0o700)
        variables = dict(line.split("=", 1) for line in files["aragora.env"].splitlines() if not line.startswith("#"))
        self.assertEqual(variables["ARAGORA_ALLOWED_ORIGINS"], f"https://{HOST}")
        # As the container sees it.
        for name, value in (("database_url", "postgresql://aragora:a-passw0rd-of-some-length@db.example.com:5432/aragora"), ("anthropic_api_key", PROVIDER)):
            self.sandbox.write(f"made/secrets/{name}", value)
        seen = {name: value.replace("/run/secrets", str(self.directory / "secrets")) for name, value in variables.items()}
        for path in (self.directory / "secrets").iterdir():
            path.chmod(0o600)
        result = self.sandbox.run("validate-env", "--offline", **seen)
        self.assertEqual(result.returncode, 0, result.stdout)
        for name in ("database_url", "anthropic_api_key"):
            (self.directory / "secrets" / name).unlink()
        self.made_once("docker", 3, "aragora.env")

    def test_what_is_no_host_and_no_target_is_refused(self):
        for host in ("https://aragora.example.com", "Aragora.example.com", "a b", "a:443", "*"):
            self.assertEqual(self.sandbox.run("init", "--target", "docker", "--host", host, "--directory", self.directory).returncode, 64, host)
        self.assertIn("did you mean systemd?", self.sandbox.run("init", "--target", "systemdd", check=64).stderr)
        self.assertFalse(pathlib.Path(self.directory).exists())

    def test_without_a_host_it_says_that_one_is_missing(self):
        said = self.sandbox.run("init", "--target", "systemd", "--directory", self.directory, check=0).stdout
        self.assertIn("--host", said)
        self.assertNotIn("nginx", "".join(files_below(self.directory)))
        self.assertIn("allowed_origins = []", files_below(self.directory)["aragora.toml"])


if __name__ == "__main__":
    main()
