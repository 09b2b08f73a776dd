"""The image, compose.yaml and the manifests of Kubernetes, each run for real: podman, docker-compose, podman play kube."""
import base64
import json
import pathlib
import re
import secrets
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

import yaml

from containers import IMAGE, Engine
from runbooks import read
from support import BINARY, SOURCE, main

KEY = f"sk-ant-api03-{secrets.token_hex(20)}"
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "-m", "256m")


def block(folder, title, number=0):
    """A block of a README, as it is printed."""
    return read((SOURCE / "deploy" / folder / "README.md").read_text())[title][number].text


class Containers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = cls.enterClassContext(Engine())
        servers = threading.Thread(target=cls.engine.make_servers)
        servers.start()
        try:
            cls.engine.make_image()
        finally:
            servers.join()

    def tearDown(self):
        self.engine.podman("pod", "rm", "-f", "-a", "-t", "0", check=None)
        self.engine.podman("rm", "-f", "-a", "-t", "0")
        self.engine.podman("volume", "prune", "-f")
        self.engine.podman("secret", "rm", "-a")

    def run_image(self, *options, command=(), check=0):
        return self.engine.podman("run", "--rm", *HARDENED, *options, IMAGE, *command, check=check)

    def status_of(self, name):
        """What the kernel says of the first process in a container."""
        pid = self.engine.podman("inspect", name, "--format", "{{.State.Pid}}").stdout.strip()
        return dict(re.findall(r"^(\w+):\s+(.*)$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M))

    def assert_confined(self, name):
        status = self.status_of(name)
        self.assertEqual((status["Uid"].split()[0], status["Gid"].split()[0], int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]), ("10001", "10001", 0, 0, "1"))
        self.engine.podman("exec", name, "sh", "-c", "! touch /usr/bin/x 2>/dev/null && touch /var/lib/aragora/x && rm /var/lib/aragora/x")

    def test_a_container_alone(self):
        engine, token = self.engine, secrets.token_hex(32)
        start = ["run", "-d", "--name", "alone", *HARDENED, *engine.network("alone", 8080), "-v", "alone:/var/lib/aragora", "-e", f"ARAGORA_API_TOKEN={token}", IMAGE]
        engine.podman(*start)
        engine.wait(lambda: engine.healthy("alone"))
        self.assert_confined("alone")
        self.assertEqual(engine.podman("exec", "-u", "0", "alone", "find", "/", "-xdev", "(", "-name", "left-out", "-o", "-name", "aragora*.deb", ")", "-print", check=None).stdout, "")

        call = ("-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json")
        debate = json.loads(engine.curl(*call, "-d", '{"task": "Does it stay?"}', "http://127.0.0.1:8080/api/debates"))["debate_id"]
        engine.wait(lambda: json.loads(engine.curl(*call, f"http://127.0.0.1:8080/api/debates/{debate}"))["status"] == "completed")

        # A request that has begun is finished: its body comes while the daemon has been told to stop.
        body = '{"task": "Is it finished?"}'
        program = (f"import socket, sys\ns = socket.create_connection(('127.0.0.1', 8080)); s.sendall(b'POST /api/debates HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer {token}\\r\\n"
                   f"Content-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n')\nprint('begun', flush=True); sys.stdin.readline(); s.sendall(b'{body}'); print(s.recv(4096).decode().splitlines()[0])")
        request = subprocess.Popen([*engine.inside, "python3", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(request.stdout.readline(), "begun\n")
        stopped = threading.Thread(target=engine.podman, args=("stop", "-t", "30", "alone"))
        stopped.start()
        engine.wait(lambda: "stopping on signal" in engine.logs("alone"))
        said = request.communicate("go\n", timeout=30)[0]
        stopped.join()
        self.assertRegex(said, r"HTTP/1.1 20\d ")
        self.assertEqual(engine.podman("inspect", "alone", "--format", "{{.State.ExitCode}}").stdout.strip(), "0")
        engine.podman("rm", "alone")

        # Another container on the same volume finds what the first one left: data and the secrets that were made for it.
        engine.podman(*start)
        engine.wait(lambda: engine.healthy("alone"))
        self.assertEqual(json.loads(engine.curl(*call, f"http://127.0.0.1:8080/api/debates/{debate}"))["task"], "Does it stay?")
        self.assertIn("The data is as it should be", engine.podman("exec", "alone", "aragora", "verify").stdout)

    def test_a_refused_configuration_is_78_and_the_last_line_says_why(self):
        for reason, options in {"ARAGORA_PORT: 'http' is not": ("-e", "ARAGORA_API_TOKEN=" + secrets.token_hex(32), "-e", "ARAGORA_PORT=http"), "ARAGORA_API_TOKEN is not set": ()}.items():
            refused = self.run_image(*options, check=78)
            self.assertIn(reason, refused.stderr.strip().splitlines()[-1])
        production = self.run_image("-e", "ARAGORA_ENV=production", check=78).stderr
        for name in ("JWT_SECRET", "ARAGORA_ENCRYPTION_KEY", "DATABASE_URL", "ARAGORA_ALLOWED_ORIGINS"):
            self.assertIn(f"  {name}: ", production)

    def test_a_secret_is_taken_as_it_is_mounted(self):
        """By Kubernetes (links to a directory of its own, 0440 with fsGroup or 0444), by Docker and Compose (a bind mount or a tmpfs, 0444)."""
        secret = secrets.token_hex(32)
        kubernetes = self.engine.base / "kubernetes"
        (kubernetes / "..2026_11_28").mkdir(parents=True)
        (kubernetes / "..data").symlink_to("..2026_11_28")
        (kubernetes / "jwt").symlink_to("..data/jwt")
        file = kubernetes / "..2026_11_28/jwt"
        file.write_text(secret + "\n")

        def taken(*options, where="/etc/secrets/jwt"):
            self.assertNotIn("✗", self.run_image(*options, "-e", f"JWT_SECRET_FILE={where}", command=("validate-env", "--only", "configuration")).stdout)
            return self.run_image(*options, "-e", f"JWT_SECRET_FILE={where}", command=("config", "show", "--origin")).stdout

        for mode, group in ((0o440, 10001), (0o444, 0)):
            file.chmod(mode)
            shutil.chown(file, group=group)
            self.assertIn("[/etc/secrets/jwt (env JWT_SECRET_FILE)]", taken("-v", f"{kubernetes}:/etc/secrets:ro"))
        self.assertIn("64 chars", taken("-v", f"{file}:/run/secrets/jwt:ro", where="/run/secrets/jwt"))
        self.engine.podman("secret", "create", "jwt", file)
        self.assertIn("64 chars", taken("--secret", "jwt", "--read-only=false", where="/run/secrets/jwt"))  # podman 4.3 cannot do both
        file.chmod(0o440)
        shutil.chown(file, group=0)
        self.assertIn("Permission denied", self.run_image("-v", f"{kubernetes}:/etc/secrets:ro", "-e", "JWT_SECRET_FILE=/etc/secrets/jwt", check=78).stderr)

    def test_compose_brings_up_the_three_services(self):
        engine, folder = self.engine, self.engine.base / "docker"
        shutil.copytree(SOURCE / "deploy/docker", folder)
        title = "Compose: with PostgreSQL and Redis"
        with engine.docker_host() as environment:
            def shell(script, text=""):
                result = subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=environment, input=text, capture_output=True, text=True, timeout=300)
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr + "".join(engine.logs(name)[-1500:] for name in engine.podman("ps", "-a", "--format", "{{.Names}}").stdout.split()))
                return result.stdout + result.stderr

            shell(block("docker", title), KEY + "\n")
            shell("echo ARAGORA_TRUSTED_PROXIES=10.89.0.0/16 >>.env")  # podman's networks
            if not engine.bridges:
                self.without_networks(folder / "compose.yaml")
            up = block("docker", title, 1)
            shell(up)
            engine.wait(lambda: engine.healthy("docker_aragora_1"))
            self.assert_confined("docker_aragora_1")
            ready = json.loads(engine.curl("http://127.0.0.1:8080/api/ready"))
            self.assertEqual((ready["status"], ready["database"], ready["redis"]), ("ready", "connected", "connected"))
            self.assertIn("All production requirements met", shell(block("docker", title, 2)))

            # No secret stands where `docker inspect` shows it.
            shown = engine.podman("inspect", *engine.podman("ps", "-a", "--format", "{{.Names}}").stdout.split()).stdout
            values = [file.read_text().strip() for file in (folder / "secrets").iterdir()]
            self.assertEqual(len(values), 8)
            self.assertEqual([value for value in values if value in shown], [])
            # Nobody but this machine reaches the daemon, and nobody at all the databases.
            listening = subprocess.run([*engine.inside, "ss", "-Hltn"], check=True, capture_output=True, text=True).stdout
            if engine.bridges:
                self.assertEqual({line.split()[3] for line in listening.splitlines() if not line.split()[3].endswith(":53")}, {"127.0.0.1:8080"})

            engine.podman("exec", "docker_aragora_1", "aragora", "user", "add", "--email", "ada@example.org")
            for line in block("docker", title, 3).splitlines():
                shell(line)
            shell("docker-compose down")
            shell(up)
            engine.wait(lambda: engine.healthy("docker_aragora_1"))
            self.assertIn("ada@example.org", engine.podman("exec", "docker_aragora_1", "aragora", "user", "list").stdout)
            self.assertIn("The data is as it should be", engine.podman("exec", "docker_aragora_1", "aragora", "verify").stdout)
            stopping = time.monotonic()
            shell("docker-compose stop aragora")
            self.assertLess(time.monotonic() - stopping, 25)
            self.assertEqual(engine.podman("inspect", "docker_aragora_1", "--format", "{{.State.ExitCode}}").stdout.strip(), "0")

    @staticmethod
    def without_networks(file):
        compose = yaml.safe_load(file.read_text())
        del compose["networks"]
        for service in compose["services"].values():
            service.pop("ports", None)
            del service["networks"]
            service |= {"network_mode": "host", "extra_hosts": ["postgres:127.0.0.1", "redis:127.0.0.1"]}
        file.write_text(yaml.safe_dump(compose))

    def play(self, *manifests):
        file = self.engine.base / "play.yaml"
        file.write_text("---\n".join(yaml.safe_dump(manifest) for manifest in manifests))
        return self.engine.podman("play", "kube", "--network", "kube" if self.engine.bridges else "host", file)

    def ended(self, pod, template, shared):
        """Runs the pod of a job to its end; podman knows no jobs."""
        spec = template["spec"]
        self.play(*shared, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "labels": template["metadata"]["labels"]}, "spec": spec})
        last = f"{pod}-{spec['containers'][0]['name']}"
        status = self.engine.podman("wait", last).stdout.strip()
        said = self.engine.logs(last)
        self.assertEqual(status, "0", said)
        self.engine.podman("pod", "rm", "-f", "-t", "0", pod)
        return said

    def test_kubernetes_pods_run_as_the_manifests_say(self):
        engine = self.engine
        folder = engine.base / "kube"
        folder.mkdir()
        password = secrets.token_hex(16)
        postgres, redis = self.database_urls(password)
        subprocess.run(["bash", "-e", "-c", block("kubernetes", "Secrets").replace("cat >database_url", f"echo {postgres} >database_url")
                        .replace("cat >redis_url", f"echo {redis} >redis_url").replace("cat >anthropic_api_key", f"echo {KEY} >anthropic_api_key")], cwd=folder, check=True)
        made = subprocess.run(["kubectl", "create", "secret", "generic", "aragora", "--from-file=secrets", "--dry-run=client", "-o", "yaml"], cwd=folder, check=True, capture_output=True, text=True).stdout
        pods, manifests, config = self.pods_run(SOURCE / "deploy/kubernetes", made, folder, password)

        # The backup as it runs every night, then the rehearsal, in pods that share the volume of backups and nothing else.
        self.ended("backup", manifests["CronJob", "aragora-backup"]["spec"]["jobTemplate"]["spec"]["template"], (config,))
        self.ended("drill", manifests["CronJob", "aragora-drill"]["spec"]["jobTemplate"]["spec"]["template"], (config,))
        engine.podman("stop", "-t", "40", *pods)
        self.assertEqual(set(engine.podman("inspect", *pods, "--format", "{{.State.ExitCode}}").stdout.split()), {"0"})

    def database_urls(self, password):
        postgres, redis = ("postgres", "redis") if self.engine.bridges else ("127.0.0.1", "127.0.0.1")
        return f"postgresql://aragora:{password}@{postgres}:5432/aragora", f"redis://:{password}@{redis}:6379/0"

    def pods_run(self, directory, made, folder, password):
        """Everything of `directory` that podman plays, with the secret `made` as kubectl writes it: migrated and ready."""
        engine = self.engine
        rendered = subprocess.run(["kubectl", "kustomize", directory], check=True, capture_output=True, text=True).stdout
        manifests = {(one["kind"], one["metadata"]["name"].removesuffix("-" + one["metadata"]["name"].split("-")[-1]) if one["kind"] == "ConfigMap" else one["metadata"]["name"]): one
                     for one in yaml.safe_load_all(rendered)}
        secret, config = yaml.safe_load(made), manifests["ConfigMap", "aragora"]
        self.assertEqual(base64.b64decode(secret["data"]["anthropic_api_key"]).decode(), KEY + "\n")
        # podman 4.3 writes the values of a Secret into its volume as they stand, in base64: it is given what they say.
        (folder / "values.yaml").write_text(yaml.safe_dump({**secret, "data": {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}}))
        engine.podman("secret", "create", "aragora", folder / "values.yaml")

        (folder / "password").write_text(password)
        (folder / "redis").write_text(f"requirepass {password}\n")
        engine.podman("run", "-d", "--name", "postgres", *engine.network("kube"), "-e", "POSTGRES_USER=aragora", "-e", "POSTGRES_DB=aragora", "-e", "POSTGRES_PASSWORD_FILE=/password",
                      "-v", f"{folder}/password:/password:ro", "docker.io/library/postgres:15")
        engine.podman("run", "-d", "--name", "redis", *engine.network("kube"), "-v", f"{folder}/redis:/redis:ro", "docker.io/library/redis:7-alpine", "redis-server", "/redis")
        (folder / "password").chmod(0o444)
        (folder / "redis").chmod(0o444)
        engine.wait(lambda: engine.podman("exec", "postgres", "pg_isready", "-q", "-h", "127.0.0.1", check=None).returncode == 0)

        migrated = self.ended("migrate", manifests["Job", "aragora-migrate"]["spec"]["template"], (config, manifests["PersistentVolumeClaim", "aragora-backups"]))
        self.assertIn("✓ 0001_debates applied", migrated)

        deployment = manifests["Deployment", "aragora"]
        del deployment["spec"]["template"]["spec"]["containers"][0]["ports"]  # podman 4.3 takes them for ports of the machine, of which there is one each
        if not engine.bridges:
            deployment["spec"]["replicas"] = 1  # there is one port 8080
        self.play(config, deployment)
        pods = engine.podman("ps", "--filter", "label=app=aragora", "--format", "{{.Names}}").stdout.split()
        pods = [pod for pod in pods if pod.endswith("-aragora")]
        self.assertEqual(len(pods), deployment["spec"]["replicas"], engine.podman("ps", "-a").stdout)
        for pod in pods:
            infra = engine.podman("pod", "inspect", pod.removesuffix("-aragora"), "--format", "{{.InfraContainerID}}").stdout.strip()
            address = engine.podman("inspect", infra, "--format", "{{.NetworkSettings.Networks.kube.IPAddress}}").stdout.strip() if engine.bridges else "127.0.0.1"
            engine.wait(lambda: '"status":"ready"' in engine.curl(f"http://{address}:8080/api/ready"))
            self.assert_confined(pod)
        return pods, manifests, config

    def init(self, target):
        """What `aragora init` wrote, and the three commands that it says come next."""
        folder = self.engine.base / "site" / target
        said = subprocess.run([BINARY, "init", "--target", target, "--host", "aragora.example.com", "--directory", folder], check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": str(self.engine.base)}).stdout
        return folder, re.findall(r"(?m)^  [123]\. (.*)", said)

    def typed(self, environment, command, *texts):
        """As somebody types it at a terminal: what it asks for on its standard input is a text for each part of the command."""
        for part, text in zip(command.split(" && "), texts) if texts else ((command, ""),):
            result = subprocess.run(["bash", "-e", "-c", part], env=environment, input=text, capture_output=True, text=True, timeout=300)
            self.assertEqual(result.returncode, 0, f"{part}\n" + result.stdout + result.stderr + "".join(self.engine.logs(name)[-1500:] for name in self.engine.podman("ps", "-a", "--format", "{{.Names}}").stdout.split()))
        return result.stdout + result.stderr

    def test_what_init_writes_for_compose_comes_up(self):
        engine = self.engine
        folder, (key, up, account) = self.init("compose")
        with engine.docker_host() as environment:
            environment |= {"PATH": f"{engine.docker()}:{environment['PATH']}"}
            self.typed(environment, key, KEY + "\n")
            with (folder / ".env").open("a") as file:
                file.write("ARAGORA_TRUSTED_PROXIES=10.89.0.0/16\n")  # podman's networks
            if not engine.bridges:
                self.without_networks(folder / "compose.yaml")
            self.typed(environment, up)
            engine.wait(lambda: engine.healthy("compose_aragora_1"))
            self.assert_confined("compose_aragora_1")
            ready = json.loads(engine.curl("http://127.0.0.1:8080/api/ready"))
            self.assertEqual((ready["status"], ready["database"], ready["redis"]), ("ready", "connected", "connected"))
            said = self.typed(environment, f"script -qec {shlex.quote(account)} /dev/null")
            self.assertIn("https://aragora.example.com/", said)
            self.typed(environment, f"docker compose -f {folder}/compose.yaml down")

    def test_what_init_prints_for_docker_is_run(self):
        engine = self.engine
        folder, (given, migrate, run) = self.init("docker")
        password, environment = secrets.token_hex(16), {**engine.environment, "PATH": f"{engine.docker()}:{engine.environment['PATH']}"}
        (engine.base / "password").write_text(password)
        (engine.base / "password").chmod(0o444)
        engine.podman("run", "-d", "--name", "database", *([] if engine.bridges else ["--network", "host"]), "-e", "POSTGRES_USER=aragora", "-e", "POSTGRES_DB=aragora", "-e", "POSTGRES_PASSWORD_FILE=/password",
                      "-v", f"{engine.base}/password:/password:ro", "docker.io/library/postgres:15")
        engine.wait(lambda: engine.podman("exec", "database", "pg_isready", "-q", "-h", "127.0.0.1", check=None).returncode == 0)
        address = engine.podman("inspect", "database", "--format", "{{.NetworkSettings.IPAddress}}").stdout.strip() or "127.0.0.1"
        self.typed(environment, given, f"postgresql://aragora:{password}@{address}:5432/aragora\n", KEY + "\n")
        self.assertIn("✓ 0001_debates applied", self.typed(environment, migrate))
        self.typed(environment, run)
        engine.wait(lambda: engine.healthy("aragora"))
        self.assert_confined("aragora")
        self.assertEqual(engine.curl("-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8080/api/health"), "200")
        self.assertIn("All production requirements met", engine.podman("exec", "aragora", "aragora", "validate-env").stdout)
        shown = engine.podman("inspect", "aragora").stdout
        self.assertEqual([file.name for file in (folder / "secrets").iterdir() if file.read_text().strip() in shown], [])
        engine.podman("stop", "aragora")
        self.assertEqual(engine.podman("inspect", "aragora", "--format", "{{.State.ExitCode}}").stdout.strip(), "0")

    def test_what_the_readme_says_of_docker_is_run(self):
        engine = self.engine
        run = re.search(r"(?m)^    docker run (.*\\\n)*.*$", (SOURCE / "deploy/docker/README.md").read_text())[0]
        self.typed({**engine.environment, "PATH": f"{engine.docker()}:{engine.environment['PATH']}"}, run)
        engine.wait(lambda: engine.healthy("aragora"))
        self.assert_confined("aragora")
        self.assertEqual(engine.curl("-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8080/api/health"), "200")

    def test_what_init_writes_for_kubernetes_runs(self):
        folder, (given, create, apply) = self.init("kubernetes")
        password = secrets.token_hex(16)
        self.typed(self.engine.environment, given, *(f"{url}\n" for url in (*self.database_urls(password), KEY)))
        self.assertEqual(apply, f"kubectl apply -k {folder}")
        namespace, secret = create.split(" && ")
        # There is no server of Kubernetes here: what is sent to it is looked at and played by podman.
        self.assertIn("kind: Namespace", self.typed(self.engine.environment, namespace.replace("kubectl apply -f", "cat")))
        made = self.typed(self.engine.environment, f"{secret} --dry-run=client -o yaml")
        scratch = self.engine.base / "init-kubernetes"
        scratch.mkdir()
        pods, manifests, config = self.pods_run(folder, made, scratch, password)
        self.assertIn("rotated_at = 20", config["data"]["aragora.toml"])
        self.assertEqual({rule["host"] for rule in manifests["Ingress", "aragora"]["spec"]["rules"]}, {"aragora.example.com"})


class Lint(unittest.TestCase):
    def lint(self, tree=SOURCE):
        return subprocess.run([SOURCE / "scripts/deploy-lint", tree], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)

    def test_nothing_is_found(self):
        result = self.lint()
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_what_is_wrong_is_found(self):
        tree = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "tree"
        shutil.copytree(SOURCE / "deploy", tree / "deploy")
        for name, good, bad in (("kubernetes/deployment.yaml", "containerPort: 8080", "containerPorts: 8080"), ("kubernetes/backups.yaml", "backoffLimit: 3", 'backoffLimit: "3"'),
                                ("docker/Dockerfile", "STOPSIGNAL", "STOPSIGNALS"), ("docker/compose.yaml", "restart: unless-stopped", "restart:  unless-stopped")):
            file = tree / "deploy" / name
            file.write_text(file.read_text().replace(good, bad))
        result = self.lint(tree)
        self.assertEqual(result.returncode, 1)
        for found in ("'\"containerPorts\"' does not exist in type 'ContainerPort'", "Type 'string' is not assignable to type 'number'", "Unknown instruction: STOPSIGNALS", "too many spaces"):
            self.assertIn(found, result.stdout + result.stderr)


if __name__ == "__main__":
    main()
