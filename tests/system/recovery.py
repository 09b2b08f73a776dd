"""What the tests of recovery share: a receiver of the log, load with a record of what was acknowledged, and a deployment
with a PostgreSQL server of its own."""
import contextlib
import json
import pathlib
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from support import BINARY, Cluster, Sandbox


class Receiver:
    def __init__(self, sandbox, *options, wait=True, **environment):
        self.archive = sandbox.directory / "backups/wal"
        self.log_path = sandbox.directory / "wal.log"
        self.log = open(self.log_path, "a")
        began = time.time()
        self.process = subprocess.Popen([BINARY, "backup", "wal", *options], env={**sandbox.environment, **environment}, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        if wait:
            self.wait(lambda status: not status["problem"] and (self.archive / "status.json").stat().st_mtime >= began)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def text(self):
        return self.log_path.read_text()

    def status(self):
        return json.loads((self.archive / "status.json").read_text())

    def wait(self, condition, limit=30):
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the receiver ended with {self.process.returncode}:\n{self.text()}")
            with contextlib.suppress(OSError, ValueError):
                if condition(self.status()):
                    return
            time.sleep(0.02)
        raise AssertionError(f"not reached: {self.status()}\n{self.text()}")

    def wait_for_position(self, position):
        self.wait(lambda status: lsn(status["flushed"]) >= lsn(position))

    def stop(self):
        self.process.terminate()
        return self.process.wait(20)


class Network:
    """A way to the server that can be cut (connections end and none are taken) or go silent (nothing comes through)."""

    def __init__(self, target):
        self.target, self.trouble, self.stopping, self.accepted = target, None, False, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.listener.settimeout(0.05)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
        self.listener.close()

    def run(self):
        pairs = []
        while not self.stopping:
            with contextlib.suppress(TimeoutError):
                client, _ = self.listener.accept()
                self.accepted += 1
                if self.trouble == "cut":
                    client.close()
                else:
                    pairs.append((client, socket.create_connection(("127.0.0.1", self.target))))
            if self.trouble == "silent":
                continue
            ends = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
            if self.trouble == "cut":
                for one in ends:
                    one.close()
                pairs = []
                continue
            ready = select.select(list(ends), [], [], 0.02)[0] if ends else []
            for one in ready:
                try:
                    data = one.recv(1 << 20)
                    if data:
                        ends[one].sendall(data)
                        continue
                except OSError:
                    pass
                for pair in [pair for pair in pairs if one in pair]:
                    pairs.remove(pair)
                    for end in pair:
                        end.close()
                break
        for pair in pairs:
            for end in pair:
                end.close()


def signed(sandbox, record):
    """A signed record as whoever holds the key writes it: a line of JSON and its Ed25519 signature."""
    seed = bytes.fromhex(sandbox.run("key", "backup-writer", check=0).stdout.strip().split(".")[-1])
    text = json.dumps(record, separators=(",", ":"))
    with tempfile.TemporaryDirectory() as directory:
        key, line = pathlib.Path(directory, "key.der"), pathlib.Path(directory, "line")
        key.write_bytes(bytes.fromhex("302e020100300506032b657004220420") + seed)
        line.write_text(text)
        signature = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", key, "-in", line], check=True, capture_output=True).stdout
    return f"{text}\n{signature.hex()}\n"


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


class Load:
    """Commits from several sessions; `acknowledged` holds what the server confirmed, and when."""

    def __init__(self, cluster, sessions=4):
        self.acknowledged = {}
        self.stopping = False
        self.threads = [threading.Thread(target=self.run, args=(cluster, number)) for number in range(sessions)]
        for thread in self.threads:
            thread.start()

    def run(self, cluster, number):
        psql = subprocess.Popen([cluster.BIN / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", cluster.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)
        count = 0
        with contextlib.suppress(BrokenPipeError, OSError):
            while not self.stopping:
                count += 1
                name = f"s{number}-{count}"
                psql.stdin.write(f"INSERT INTO settings (name, value, updated_at) VALUES ('{name}', repeat('x', 500), 0) RETURNING name;\n")
                if psql.stdout.readline().strip() != name:
                    break
                self.acknowledged[name] = time.monotonic()
        with contextlib.suppress(OSError):
            psql.kill()
        psql.wait()
        with contextlib.suppress(BrokenPipeError, OSError):
            psql.stdin.close()
        psql.stdout.close()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()
        return set(self.acknowledged)


@contextlib.contextmanager
def deployment(**settings):
    with Cluster(**settings) as cluster, Sandbox(DATABASE_URL=cluster.url) as sandbox:
        sandbox.directory.chmod(0o755)  # recovered clusters run as another user when the tests run as root
        sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
        sandbox.run("migrate", check=0)
        yield cluster, sandbox


@contextlib.contextmanager
def recovered(cluster, directory):
    """The recovered cluster, started in the place of the lost one."""
    with contextlib.suppress(subprocess.CalledProcessError):
        cluster.stop("immediate")
    shutil.rmtree(cluster.data, ignore_errors=True)
    shutil.move(directory, cluster.data)
    for stale in cluster.directory.glob(".s.PGSQL.*"):  # of the server that was killed; nobody may have reaped it yet
        stale.unlink()
    cluster.start()
    yield cluster


def names(cluster):
    return set(cluster.sql("SELECT name FROM settings").split())
