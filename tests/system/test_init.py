"""What `init --target` writes for each place is taken by the programs of that place, and made once."""
import base64
import pathlib
import re
import shlex
import subprocess
import tomllib
import unittest

import yaml

from support import SOURCE, Sandbox, main

HOST = "aragora.example.com"
HOOK = "/etc/letsencrypt/renewal-hooks/deploy/aragora"
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
        self.assertEqual(re.findall(r"(?m)^  (\d+)\. ", self.said), ["1", "2", "3"], self.said)
        document = self.sandbox.run_json("init", "--target", target, "--host", HOST, "--directory", self.directory, check=0)
        self.assertEqual(re.findall(r"(?m)^  \d\. (.*)", self.said), document["next"])
        if document["proxy"]:
            self.assertIn("\n  ".join([f"\nThen, for https://{HOST}, with nginx and certbot here:", *document["proxy"]]), self.said)
        (self.directory / changed).write_text("by hand\n")
        again = self.init(target)
        self.assertEqual(again, {**before, changed: "by hand\n"})
        self.assertIn("exists, left as it is", self.said)
        self.assertEqual(self.init(target, "--overwrite"), before)

    def test_systemd(self):
        files = self.init("systemd")
        self.assertEqual(set(files), {"aragora.toml", "database.sql", "nginx/aragora.conf", "nginx/aragora-proxy.conf", "certbot/aragora", "certbot/settings", "certbot/check.toml", "systemd/own-user.conf",
                                      *(f"credentials/{name}" for name in ("JWT_SECRET", "ARAGORA_ENCRYPTION_KEY", "ARAGORA_API_TOKEN", "DATABASE_URL"))})
        for name in ("database.sql", "credentials/DATABASE_URL", "credentials/JWT_SECRET"):
            self.assertEqual(mode(self.directory / name), 0o600, name)
        self.assertEqual(mode(self.directory / "credentials"), 0o700)
        password = re.search("PASSWORD '(.*)'", files["database.sql"])[1]
        self.assertEqual(files["credentials/DATABASE_URL"], f"postgresql://aragora:{password}@127.0.0.1:5432/aragora\n")
        # What is left for the administrator to give is asked for by name, and then nothing is missing.
        configuration = {"ARAGORA_CONFIG": str(self.directory / "aragora.toml"), "ARAGORA_STATE_DIR": "", "ARAGORA_BACKUP_CONTINUOUS": "true", "ARAGORA_BACKUP_DIR": str(self.sandbox.directory / "backups")}
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

    def test_compose(self):
        files = self.init("compose")
        self.assertEqual(mode(self.directory / "secrets"), 0o700)
        named = re.findall(r"file: \./(secrets/\w+)", files["compose.yaml"])
        self.assertEqual({name for name in named if name not in files}, {"secrets/anthropic_api_key"}, "is made by nobody")
        self.assertNotIn("build:", files["compose.yaml"])
        postgres, redis = files["secrets/postgres_password"].strip(), re.search("requirepass (.*)", files["secrets/redis_conf"])[1]
        self.assertEqual(files["secrets/database_url"], f"postgresql://aragora:{postgres}@postgres:5432/aragora\n")
        self.assertIn(f":{redis}@redis:6379", files["secrets/redis_url"])
        done = subprocess.run(["docker-compose", "-f", self.directory / "compose.yaml", "config", "-q"], capture_output=True, text=True, timeout=60, cwd=self.directory)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.made_once("compose", 5, "compose.yaml")

    def test_kubernetes(self):
        files = self.init("kubernetes")
        documents = {name: list(yaml.safe_load_all(text)) for name, text in files.items() if name.endswith(".yaml")}
        named = {*documents["kustomization.yaml"][0]["resources"], *documents["kustomization.yaml"][0]["configMapGenerator"][0]["files"]}
        made = ("jwt_secret", "encryption_key", "api_token", "metrics_token")
        self.assertEqual(named | {"kustomization.yaml"} | {f"secrets/{name}" for name in made}, set(files))
        self.assertEqual({mode(path) for path in (self.directory / "secrets").iterdir()}, {0o600})
        create = re.search(r"(kubectl -n aragora create secret \S+ .*)", self.said)[1].split()
        secret = yaml.safe_load(subprocess.run([*create, "--dry-run=client", "-o", "yaml"], check=True, capture_output=True, text=True, timeout=60).stdout)
        self.assertEqual((secret["kind"], secret["metadata"]["name"]), ("Secret", "aragora"))
        decoded = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
        self.assertEqual(decoded, {name: files[f"secrets/{name}"] for name in made})
        self.assertEqual({rule["host"] for rule in documents["ingress.yaml"][0]["spec"]["rules"]}, {HOST})
        self.assertNotIn("aragora.example.org", "".join(files.values()))
        built = list(yaml.safe_load_all(subprocess.run(["kubectl", "kustomize", self.directory], check=True, capture_output=True, text=True, timeout=60).stdout))
        self.assertLessEqual({"ConfigMap", "Deployment", "Ingress", "Job"}, {one["kind"] for one in built})
        # Every file that the settings name is one of the secret's; with them, where a pod has them, nothing is missing.
        given = {"database_url": "postgresql://aragora:a-passw0rd-of-some-length@db.example.com:5432/aragora", "redis_url": "redis://:a-passw0rd-of-some-length@redis.example.com:6379/0", "anthropic_api_key": PROVIDER}
        for name in given:
            self.assertIn(f"{self.directory}/secrets/{name}", self.said)
        mounted = tomllib.loads(files["aragora.toml"])
        text = files["aragora.toml"]
        for path in set(re.findall(r'(?m)^\w+_file = "(/run/secrets/aragora/\w+)"', text)):
            name = path.rsplit("/", 1)[1]
            text = text.replace(path, str(self.sandbox.write(f"mounted/{name}", {**decoded, **given}[name])))
        self.assertEqual(mounted["environment"], "production")
        result = self.sandbox.run("validate-env", "--offline", ARAGORA_CONFIG=str(self.sandbox.write("mounted/aragora.toml", text)), ARAGORA_BACKUP_DIR=str(self.sandbox.directory))
        self.assertEqual(result.returncode, 0, result.stdout)
        self.made_once("kubernetes", 4, "ingress.yaml")

    def test_what_is_no_host_and_no_target_is_refused(self):
        for host in ("https://aragora.example.com", "Aragora.example.com", "a b", "a:443", "*"):
            self.assertEqual(self.sandbox.run("init", "--target", "docker", "--host", host, "--directory", self.directory).returncode, 64, host)
        self.assertIn("did you mean systemd?", self.sandbox.run("init", "--target", "systemdd", check=64).stderr)
        self.assertFalse(pathlib.Path(self.directory).exists())

    def test_secrets_are_only_put_where_nobody_else_comes(self):
        """What containers read is readable for everybody: the directory is what protects it."""
        for target, name in (("docker", "secrets"), ("compose", "secrets"), ("kubernetes", "secrets"), ("systemd", "credentials")):
            with self.subTest(target=target):
                self.directory = self.sandbox.directory / f"made-{target}"
                folder = self.directory / name
                folder.mkdir(parents=True)
                folder.chmod(0o777)
                self.init(target)  # empty and ours
                self.assertEqual(mode(folder), 0o700)
                before = files_below(self.directory)
                folder.chmod(0o777)
                for path in folder.iterdir():
                    path.unlink()
                (folder / "of_somebody").write_text("x")
                self.assertEqual(set(self.init(target, check=77)) - set(before), {f"{name}/of_somebody"})
                line = re.search("chmod 07[05]0 .*(?=, and again)", self.said)[0]
                subprocess.run(shlex.split(line), check=True)
                self.assertEqual(set(self.init(target)), {*before, f"{name}/of_somebody"})
                # And never behind a link.
                elsewhere = self.sandbox.directory / f"elsewhere-{target}"
                elsewhere.mkdir(mode=0o755)
                folder.rename(self.sandbox.directory / f"kept-{target}")
                folder.symlink_to(elsewhere)
                self.init(target, check=73)
                self.assertIn("is a symbolic link", self.said)
                self.assertEqual(list(elsewhere.iterdir()), [])

    def test_a_link_is_not_written_over(self):
        for target, name in (("docker", "aragora.env"), ("systemd", "nginx/aragora.conf"), ("kubernetes", "ingress.yaml")):
            with self.subTest(target=target):
                self.directory = self.sandbox.directory / f"linked-{target}"
                before = self.init(target)
                shared = self.sandbox.write(f"shared-{target}", "of others\n")
                (self.directory / name).unlink()
                (self.directory / name).symlink_to(shared)
                self.init(target, "--overwrite", check=73)
                self.assertIn(f"{name} is a symbolic link", self.said)
                self.assertTrue((self.directory / name).is_symlink())
                self.init(target)
                self.assertEqual(shared.read_text(), "of others\n")
                (self.directory / name).unlink()
                self.assertEqual(self.init(target, "--overwrite"), before)

    def test_what_is_printed_is_typed_whatever_the_directory_is_called(self):
        for name in ("a b", "it's", 'say "so"', "$(touch ran)", "`touch ran`", "a#b", "; touch ran", "back\\slash", "*", "ä"):
            for target in ("docker", "compose", "kubernetes", "systemd"):
                if target == "kubernetes" and '"' in name:
                    continue
                with self.subTest(name=name, target=target):
                    self.directory = self.sandbox.directory / "odd" / target / name
                    self.init(target)
                    # The hook itself is at a place of the machine's; test_first_day has it run.
                    commands = [command.replace(HOOK, "true") for command in re.findall(r"(?m)^  (?:[123]\. )?(.*)", self.said)]
                    self.assertEqual(len(commands), 5 if target == "systemd" else 3)
                    self.typed(commands)
                    for path in self.directory.rglob("*.toml"):
                        for value in re.findall(r"/.*", "\n".join(map(str, tomllib.loads(path.read_text()).get("auth", {}).values()))):
                            self.assertTrue(value.startswith(("/run/secrets/", f"{self.directory}/")), value)

    def typed(self, commands):
        """By a shell, with programs that note how they were called: every path in it is one word, below the directory."""
        programs = self.sandbox.directory / "programs"
        programs.mkdir(exist_ok=True)
        for name in ("docker", "kubectl", "install", "runuser", "aragora", "systemctl", "certbot"):
            (programs / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@" >>"$NOTED"\n')
            (programs / name).chmod(0o755)
        noted = self.sandbox.directory / "noted"
        noted.write_text("")
        work = self.sandbox.directory / "work"
        work.mkdir(exist_ok=True)
        for command in commands:
            subprocess.run(["bash", "-ec", command], check=True, cwd=work, stdin=subprocess.DEVNULL, env={"PATH": f"{programs}:/usr/bin:/bin", "NOTED": str(noted)})
        words = [word for word in noted.read_text().splitlines() if str(self.sandbox.directory) in word]
        self.assertTrue(words)
        for word in words:
            self.assertIn(str(self.directory), word)
        self.assertEqual(list(work.iterdir()), [])

    def test_names_that_cannot_be_used_are_refused_before_anything_is_made(self):
        for target, names in {"docker": ("a:b", "a\nb", "a\x1b[31mb", "a\tb"), "compose": ("a:b", "a\nb"), "kubernetes": ("a,b", "a=b", "a:b", 'a"b', "a?b", "a\nb"), "systemd": ("a\nb", "a\rb")}.items():
            for name in names:
                with self.subTest(target=target, name=name):
                    self.directory = self.sandbox.directory / "refused" / name
                    self.assertEqual(self.init(target, check=64), {})
                    self.assertFalse(self.directory.parent.exists())
                    self.assertNotIn("\x1b", self.said)
        for more in (["--production"], []):
            self.sandbox.run("init", *more, "--directory", self.sandbox.directory / "refused/a\nb", check=64)

    def test_without_a_host_it_says_that_one_is_missing(self):
        said = self.sandbox.run("init", "--target", "systemd", "--directory", self.directory, check=0).stdout
        self.assertIn("--host", said)
        self.assertNotIn("nginx", "".join(files_below(self.directory)))
        self.assertIn("allowed_origins = []", files_below(self.directory)["aragora.toml"])

    def test_whoever_says_which_units_a_first_day_enables_says_the_same(self):
        said = {"init": self.sandbox.run("init", "--target", "systemd", "--directory", self.directory, check=0).stdout,
                **{path: (SOURCE / path).read_text() for path in ("README.md", "man/aragora.1", "deploy/debian/postinst")}}
        units = {where: re.findall(r"systemctl enable (?:-q )?--now (aragora[^\n\"]*)", text) for where, text in said.items()}
        self.assertEqual(units, dict.fromkeys(said, ["aragora.socket aragora aragora-backup.timer aragora-drill.timer aragora-validate.timer"]))


if __name__ == "__main__":
    main()
