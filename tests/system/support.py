"""What the system tests share: a clean place to run the binary in, a daemon, databases of their own."""
import contextlib
import http.client
import json
import os
import pathlib
import queue
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

BINARY = os.environ["ARAGORA_BINARY"]
SOURCE = pathlib.Path(os.environ["SOURCE_DIR"])


def service(name):
    value = os.environ.get(name)
    if not value:
        raise AssertionError(f"{name} is not set: start the servers with scripts/services and source its env file")
    return value


def free_port():
    """Below those that the system gives to clients, and by chance: tests run side by side and take theirs a moment later."""
    while True:
        port = secrets.SystemRandom().randrange(10000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def clock_at(offset):
    """The environment of a machine whose clock is that far off ("-130d", "+3d"). Not the program faketime: its shared memory is named
    after its process number, and it says 1 for whatever went wrong."""
    return {"LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DISABLE_SHM": "1"}


class Sandbox:
    """A home and state directory of its own; the environment has nothing of ours but what a test puts in."""

    def __init__(self, **environment):
        self.prefix = []  # before the binary: faketime, nsenter
        self.binary = BINARY
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="aragora-system-"))
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "ARAGORA_STATE_DIR": str(self.directory / "state"),
                            "ARAGORA_CONFIG": str(self.write("empty.toml", "")), **environment}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory, ignore_errors=True)

    def write(self, name, text, mode=0o600):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def run(self, *arguments, check=None, timeout=120, clock=None, **environment):
        if clock:
            environment = {**clock_at(clock), **environment}
        result = subprocess.run([*self.prefix, self.binary, *map(str, arguments)], env={**self.environment, **environment}, stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=timeout)
        if check is not None and result.returncode != check:
            raise AssertionError(f"aragora {' '.join(map(str, arguments))}: exit {result.returncode}, not {check}\n{result.stdout}\n{result.stderr}")
        return result

    def elsewhere(self, directory=None):
        """A directory for the copies elsewhere: marked as an operator does it, and configured."""
        directory = directory or self.directory / "mnt"
        self.environment["ARAGORA_OFFSITE"] = str(directory)
        self.run("backup", "copy", "--init", check=0)
        return directory

    def run_json(self, *arguments, check=None, **environment):
        return json.loads(self.run(*arguments, "--json", check=check, **environment).stdout)


@contextlib.contextmanager
def sqlite_deployment(**environment):
    """A migrated SQLite database with a key of its own, and a backup directory."""
    with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), **environment) as sandbox:
        sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
        sandbox.run("migrate", check=0)
        yield sandbox


def with_hosts(sandbox, lines):
    """The words before a command for which /etc/hosts has these lines and no others."""
    user = [] if os.geteuid() == 0 else ["-Ur"]
    return ["unshare", *user, "-m", "--propagation", "private", "sh", "-ec", 'mount --bind "$0" /etc/hosts; exec "$@"', str(sandbox.write("hosts", "\n".join([*lines, ""]), 0o644))]


class TinyDisk:
    """A file system of a few megabytes at a directory, in a mount namespace of its own: commands see it through `prefix`."""

    def __init__(self, directory, size="4m"):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        root = os.geteuid() == 0
        self.holder = subprocess.Popen(["unshare", *([] if root else ["-Ur"]), "-m", "--propagation", "private", "sh", "-c", 'mount -t tmpfs -o "size=$1" tiny "$2" && echo ready && exec sleep 900', "tiny", size, str(directory)],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n", "a file system of our own could not be mounted"
        self.prefix = ["nsenter", "-t", str(self.holder.pid), "-m", *([] if root else ["-U", "--preserve-credentials"])]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()

    def sh(self, script):
        return subprocess.run([*self.prefix, "sh", "-c", script, "sh", str(self.directory)], capture_output=True, text=True, timeout=60).stdout

    def fill(self):
        self.sh('dd if=/dev/zero of="$1/filler" bs=4k 2>/dev/null')

    def empty(self):
        self.sh('rm "$1/filler"')

    def remount(self, how):
        self.sh(f'mount -o remount,{how} "$1"')


class Daemon:
    def __init__(self, sandbox, wait=True, **environment):
        self.sandbox = sandbox
        self.port = free_port()
        self.log_path = sandbox.directory / f"serve-{self.port}.log"
        self.log = open(self.log_path, "w")
        self.started = time.monotonic()
        self.process = subprocess.Popen([*sandbox.prefix, sandbox.binary, "serve"], env={**sandbox.environment, "ARAGORA_PORT": str(self.port), "ARAGORA_IP_RATE_LIMIT": "0", **environment},
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        self.ready_after = None
        if wait:
            self.wait_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def text(self):
        return self.log_path.read_text()

    def wait_ready(self, limit=20):
        while time.monotonic() - self.started < limit:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.text()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/api/ready")[0] == 200:
                    self.ready_after = time.monotonic() - self.started
                    return
            time.sleep(0.005)
        raise AssertionError(f"serve was not ready in {limit} s:\n{self.text()}")

    def connection(self, timeout=20):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=20):
        connection = self.connection(timeout)
        try:
            data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
            all_headers = {"Content-Type": "application/json", **(headers or {})} if data is not None else (headers or {})
            connection.request(method, path, data, all_headers)
            response = connection.getresponse()
            return response.status, dict((k.lower(), v) for k, v in response.getheaders()), response.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        status, _, body = self.request("GET", path, headers=headers)
        return status, json.loads(body)

    def post(self, path, body=None, **headers):
        status, _, data = self.request("POST", path, body, headers)
        return status, json.loads(data)

    def raw(self, data, timeout=5):
        """Sends bytes and reads until the server closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(data)
            received = b""
            with contextlib.suppress(socket.timeout, ConnectionResetError):
                while chunk := connection.recv(65536):
                    received += chunk
            return received

    def wait_finished(self, debate_id, limit=30):
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            status, debate = self.get(f"/api/debates/{debate_id}")
            if status not in (200, 503):
                raise AssertionError(f"debate {debate_id}: {status} {debate}")
            if status == 200 and debate["status"] in ("completed", "failed", "cancelled"):
                return debate
            time.sleep(0.02 if status == 200 else 0.5)  # a busy server is asked again
        raise AssertionError(f"debate {debate_id} did not end: {debate}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, limit=40):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(limit)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise AssertionError(f"serve did not stop in {limit} s:\n{self.text()}")
        self.log.close()
        return self.process.returncode


@contextlib.contextmanager
def postgres_database(template="template1"):
    """The URL of a database that is dropped afterwards: an empty one, or the copy of one that nobody uses."""
    url = urllib.parse.urlsplit(service("TEST_POSTGRES"))
    name = "system_" + secrets.token_hex(6)
    psql = ["psql", "-qAtX", service("TEST_POSTGRES"), "-c"]
    subprocess.run([*psql, f"CREATE DATABASE {name} TEMPLATE {template}"], check=True)
    try:
        yield url._replace(path="/" + name).geturl()
    finally:
        subprocess.run([*psql, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE '{name}%' AND backend_type = 'client backend'"], check=True, stdout=subprocess.DEVNULL)
        listed = subprocess.run([*psql, f"SELECT datname FROM pg_database WHERE datname LIKE '{name}%'"], check=True, capture_output=True, text=True)
        for database in listed.stdout.split():
            for patience in range(10, -1, -1):  # whoever was ended above may take a moment to leave
                if subprocess.run([*psql, f'DROP DATABASE IF EXISTS "{database}"'], check=patience == 0).returncode == 0:
                    break
                time.sleep(0.5)


class Authority:
    """A certificate authority of a test's own, and a server's certificate for one name that it signed."""

    EC = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")

    def __init__(self, name="localhost", key=EC):
        self.directory = tempfile.TemporaryDirectory()
        at = pathlib.Path(self.directory.name)
        self.file, self.key, self.certificate = at / "ca.pem", at / "key.pem", at / "cert.pem"
        new = ["openssl", "req", "-x509", "-newkey", *self.EC, "-nodes", "-days", "2"]
        self.run(*new, "-subj", "/CN=authority of a test", "-keyout", at / "ca.key", "-out", self.file, "-addext", "basicConstraints=critical,CA:TRUE")
        self.run("openssl", "req", "-newkey", *key, "-nodes", "-subj", f"/CN={name}", "-keyout", self.key, "-out", at / "request")
        (at / "extensions").write_text(f"subjectAltName=DNS:{name}\n")
        self.run("openssl", "x509", "-req", "-in", at / "request", "-CA", self.file, "-CAkey", at / "ca.key", "-CAcreateserial", "-days", "2", "-extfile", at / "extensions",
                 "-out", self.certificate)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.directory.cleanup()

    @staticmethod
    def run(*arguments):
        subprocess.run([str(a) for a in arguments], check=True, capture_output=True)

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Cluster:
    """A PostgreSQL server of a test's own, to be killed, copied and thrown away. Everybody on loopback is trusted."""

    BIN = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))[-1]

    def __init__(self, standby_of=None, initdb=(), **settings):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="aragora-cluster-"))
        self.directory.chmod(0o755)
        self.data = self.directory / "data"
        self.data.mkdir(mode=0o700)
        self.port = free_port()
        if os.geteuid() == 0:
            shutil.chown(self.data, "postgres")
            shutil.chown(self.directory, "postgres")
        if standby_of:
            self.program("pg_basebackup", "-h", "127.0.0.1", "-p", standby_of.port, "-U", "postgres", "-D", self.data, "-R", "-c", "fast")
        else:
            self.program("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-instructions", *initdb)
        self.configure(listen_addresses="127.0.0.1", port=self.port, unix_socket_directories=self.directory, **settings)
        self.start()
        if not standby_of:
            self.sql("CREATE ROLE aragora LOGIN CREATEDB REPLICATION PASSWORD 'n0t-the-sample-pw'", user="postgres", database="postgres")
            self.sql("CREATE DATABASE aragora OWNER aragora", user="postgres", database="postgres")
        self.url = f"postgresql://aragora:n0t-the-sample-pw@127.0.0.1:{self.port}/aragora"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)

    def program(self, name, *arguments, check=True):
        """PostgreSQL's programs refuse to run as root."""
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
        return subprocess.run([*user, self.BIN / name, *map(str, arguments)], check=check, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", timeout=120)

    def configure(self, **settings):
        with open(self.data / "postgresql.auto.conf", "a") as file:
            for name, value in settings.items():
                file.write(f"{name} = '{value}'\n")

    def start(self):
        if self.program("pg_ctl", "-D", self.data, "-w", "-t", "60", "-l", self.data / "server.log", "start", check=False).returncode != 0:
            raise AssertionError("PostgreSQL did not start:\n" + (self.data / "server.log").read_text()[-3000:])

    def stop(self, mode="fast"):
        self.program("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def kill(self, children=False):
        """SIGKILL to the postmaster; its children notice and leave. With `children` they die at the same moment."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        if not children:
            return os.kill(postmaster, signal.SIGKILL)
        children = [int(p) for p in subprocess.run(["pgrep", "-P", str(postmaster)], capture_output=True, text=True).stdout.split()]
        for pid in [postmaster, *children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait_until_gone(self, limit=30):
        """Until no process works in the data directory any more."""
        deadline = time.monotonic() + limit
        while subprocess.run(["pgrep", "-f", f"{self.data}|postgres: .*{self.port}"], stdout=subprocess.DEVNULL).returncode == 0 or self.listens():
            assert time.monotonic() < deadline, "the server's processes stay"
            time.sleep(0.05)
        # What it would take for the files of a server that runs while nobody has waited for the killed process.
        for lock in (self.data / "postmaster.pid", self.directory / f".s.PGSQL.{self.port}.lock"):
            lock.unlink(missing_ok=True)

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def sql(self, text, user="aragora", database="aragora"):
        return subprocess.run([self.BIN / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", user, "-d", database, "-c", text],
                              check=True, capture_output=True, text=True, timeout=120).stdout.strip()


class RedisServer:
    """A Redis of a test's own, to be stopped, killed and emptied. Keeps nothing over a restart. With an authority it speaks TLS, too."""

    def __init__(self, password="n0t-the-sample-pw", authority=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="aragora-redis-"))
        self.port, self.password, self.process = free_port(), password, None
        self.socket = self.directory / "redis.sock"
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0"
        self.tls = []
        if authority:
            tls_port = free_port()
            self.tls_url = f"rediss://:{password}@localhost:{tls_port}/0"
            self.tls = ["--tls-port", str(tls_port), "--tls-cert-file", str(authority.certificate), "--tls-key-file", str(authority.key), "--tls-ca-cert-file", str(authority.file), "--tls-auth-clients", "no"]
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, limit=20):
        self.process = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self.directory),
                                         "--requirepass", self.password, *self.tls], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + limit
        while self.cli("PING", check=False) != "PONG":
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def freeze(self, frozen=True):
        self.process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def cli(self, *arguments, check=True):
        result = subprocess.run(["redis-cli", "--no-auth-warning", "-p", str(self.port), "-a", self.password, *map(str, arguments)], capture_output=True, text=True, timeout=30)
        assert not check or result.returncode == 0, result.stderr
        return result.stdout.strip()


class SlowWire:
    """A way to a server on loopback on which every byte takes `delay` seconds each way; changed while it is in use."""

    def __init__(self, port):
        self.target, self.delay = port, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                for source, sink in ((client, server), (server, client)):
                    parcels = queue.Queue()
                    threading.Thread(target=self.take, args=(source, parcels), daemon=True).start()
                    threading.Thread(target=self.bring, args=(sink, parcels), daemon=True).start()

    def take(self, source, parcels):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                parcels.put((time.monotonic() + self.delay, data))
        parcels.put((0, b""))

    @staticmethod
    def bring(sink, parcels):
        with contextlib.suppress(OSError):
            while True:
                due, data = parcels.get()
                if not data:
                    break
                time.sleep(max(0, due - time.monotonic()))
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        sink.close()


def strong_secret():
    return secrets.token_hex(32)


def production_environment(database_url, redis_url, **more):
    """Everything the checklist asks for."""
    return {"ARAGORA_ENV": "production", "DATABASE_URL": database_url, "REDIS_URL": redis_url, "JWT_SECRET": strong_secret(), "ARAGORA_ENCRYPTION_KEY": strong_secret(),
            "ANTHROPIC_API_KEY": "sk-ant-api03-" + secrets.token_hex(20), "OPENROUTER_API_KEY": "sk-or-v1-" + secrets.token_hex(20),
            "ARAGORA_ALLOWED_ORIGINS": "https://aragora.example.org", "ARAGORA_API_TOKEN": strong_secret(), "ARAGORA_BEHIND_PROXY": "true",
            "ARAGORA_ENCRYPTION_KEY_ROTATED_AT": "2026-10-01", **more}


def main():
    unittest.main(verbosity=2)
