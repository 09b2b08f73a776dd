"""Containers without a Docker engine: podman and buildah with a storage, a network and settings of a test's own; nothing of it
stays. Images are made of Debian packages, the daemon's by its Dockerfile. Needs root."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import debian_root
from support import BINARY, SOURCE

IMAGE = "docker.io/aragora/aragora:latest"
# The limits that podman sets by default are more than a machine in a sandbox may have; crun wants a cgroup hierarchy without the first version.
SETTINGS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
lock_type = "file"
tmp_dir = "{base}/tmp"
[network]
network_backend = "netavark"
network_config_dir = "{base}/networks"
"""
# PostgreSQL and Redis as their images behave, in what compose.yaml asks of them.
ENTRYPOINT = """#!/bin/sh
set -e
export PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
user=postgres; [ "$1" = postgres ] || user=redis
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /data && chown postgres "$PGDATA" && chown redis /data && cd /data
  exec setpriv --reuid=$user --regid=$user --init-groups "$0" "$@"
fi
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" -A scram-sha-256 -E UTF8 --locale=C.UTF-8 -N --no-instructions >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  printf "listen_addresses = '*'\\nunix_socket_directories = '/tmp'\\n" >>"$PGDATA/postgresql.conf"
  pg_ctl -o "-c listen_addresses=''" -w start >/dev/null
  PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") createdb -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl -w stop >/dev/null
fi
exec "$@"
"""


class Engine:
    def __init__(self):
        if os.geteuid() != 0:
            raise AssertionError("needs root: it runs containers")
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="aragora-containers-", dir="/var/tmp"))
        self.processes = []
        # Memory: an overlay does not lie on an overlay, which the root of a container is.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3g", "containers", self.base], check=True)
        (self.base / "containers.conf").write_text(SETTINGS.format(base=self.base))
        (self.base / "networks").mkdir()
        # A network of our own: ports 8080 and 5432 are nobody else's, and no rule of the machine's firewall is touched. In it
        # lives a resolver of our own: netavark would take one that runs already, wherever, by its file below /run.
        (self.base / "resolver").mkdir()
        holder = self.start("unshare", "-n", "-m", "--propagation", "private", "sh", "-e", "-c", 'mkdir -p /run/containers/networks; mount --bind "$0" /run/containers/networks; ip link set lo up; echo ready; exec sleep 3600',
                            self.base / "resolver", stdout=subprocess.PIPE)
        assert holder.stdout.readline() == b"ready\n", "a network of our own could not be made"
        self.inside = ["nsenter", "-t", str(holder.pid), "-m", "-n"]
        # Bridges and their rules are the kernel's to have or not; without them all containers share our network.
        self.bridges = subprocess.run([*self.inside, "sh", "-e", "-c", "iptables -w -t nat -S && ip link add probe type bridge && ip link delete probe"], capture_output=True).returncode == 0
        (self.base / "scratch").mkdir()
        self.environment = {**os.environ, "TMPDIR": str(self.base / "scratch"), "CONTAINERS_CONF": str(self.base / "containers.conf"), "STORAGE_DRIVER": self.driver()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(subprocess.SubprocessError):
            self.podman("rm", "-f", "-a", "-t", "0", check=None)
            self.podman("network", "prune", "-f", check=None)
        with contextlib.suppress(OSError, ValueError):  # the resolver of the networks that were in use
            os.kill(int((self.base / "resolver/aardvark-dns/aardvark.pid").read_text()), signal.SIGTERM)
        for process in reversed(self.processes):
            process.terminate()
            process.wait()
            if process.stdout:
                process.stdout.close()
        # Who watches over a command in a container stays for five minutes after its end; each names our directory.
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.base).encode() in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
        subprocess.run(["umount", "-R", "-l", self.base], capture_output=True)
        shutil.rmtree(self.base, ignore_errors=True)

    def start(self, *command, **how):
        self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, **how))
        return self.processes[-1]

    def driver(self):
        """vfs copies every layer, and works where overlays cannot be mounted."""
        probe = self.base / "probe"
        for name in ("lower", "upper", "work", "root"):
            (probe / name).mkdir(parents=True)
        mounted = subprocess.run(["mount", "-t", "overlay", "-o", f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work", "probe", probe / "root"], capture_output=True)
        subprocess.run(["umount", probe / "root"], capture_output=True)
        return "overlay" if mounted.returncode == 0 else "vfs"

    def program(self, name, *arguments, check=0, before=(), timeout=300, stdin=subprocess.DEVNULL):
        where = ["--root", self.base / "storage", "--runroot", self.base / "run"]
        result = subprocess.run([*before, name, *where, *map(str, arguments)], env=self.environment, stdin=stdin, capture_output=True, text=True, timeout=timeout)
        # Health timers are systemd's, which is not here.
        result.stderr = "".join(line for line in result.stderr.splitlines(True) if "systemd connection" not in line and "connect to syslog" not in line)
        if check is not None and result.returncode != check:
            raise AssertionError(f"{name} {' '.join(map(str, arguments))}: exit {result.returncode}, not {check}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
        return result

    def buildah(self, *arguments):
        """With the machine's network: packages come from there."""
        return self.program("buildah", *arguments, before=[argument for argument in self.inside if argument != "-n"], timeout=600).stdout.strip()

    def podman(self, *arguments, check=0):
        return self.program("podman", *arguments, check=check, before=self.inside)

    def network(self, name, *published):
        """The options of a container in the network of this name, which reaches the others by theirs; or, without bridges, in ours."""
        if not self.bridges:
            return ["--network", "host", "--add-host", "postgres:127.0.0.1", "--add-host", "redis:127.0.0.1"]
        if name not in self.podman("network", "ls", "--format", "{{.Name}}").stdout.split():
            self.podman("network", "create", name)
        return ["--network", name, *(part for port in published for part in ("-p", f"{port}:{port}"))]

    def docker(self):
        """A directory with the program `docker`: podman takes the same words, and Compose is Debian's own program."""
        program = self.base / "programs/docker"
        program.parent.mkdir(exist_ok=True)
        where = "" if self.bridges else '[ "$1" = run ] && { shift; set -- run --network host "$@"; }\n'
        inside = " ".join([*self.inside, "podman", "--root", str(self.base / "storage"), "--runroot", str(self.base / "run")])
        program.write_text(f'#!/bin/sh\n[ "$1" = compose ] && {{ shift; exec docker-compose "$@"; }}\n{where}exec {inside} "$@"\n')
        program.chmod(0o755)
        return program.parent

    def curl(self, *arguments):
        return subprocess.run([*self.inside, "curl", "-sS", *arguments], capture_output=True, text=True, timeout=60).stdout

    def logs(self, name):
        result = self.podman("logs", name)
        return result.stdout + result.stderr

    def image_of(self, name, root, *settings):
        how = [part for setting in settings for part in ("-c", setting)]
        # What only PostgreSQL's compiler of queries needs is a third of everything.
        with subprocess.Popen(["tar", "-C", root, "--exclude=libLLVM*", "-c", "."], stdout=subprocess.PIPE) as tar:
            self.program("podman", "import", "--quiet", *how, "-", name, before=self.inside, stdin=tar.stdout)
        shutil.rmtree(root)

    def make_image(self):
        """The daemon's, as its Dockerfile says, with the package of what is built."""
        self.image_of("docker.io/library/debian:bookworm-slim", debian_root.make(self.base / "root"))
        context = self.base / "context"
        (context / "build/packages").mkdir(parents=True)
        (context / "build/left-out").write_text("no business of an image")
        shutil.copy(SOURCE / ".dockerignore", context)
        subprocess.run([SOURCE / "scripts/package", context / "build/packages", pathlib.Path(BINARY).parent.parent.name], check=True, capture_output=True, timeout=300)
        self.buildah("bud", "--format", "docker", "--isolation", "chroot", "--pull-never", "-t", IMAGE, "-f", SOURCE / "deploy/docker/Dockerfile", context)

    def make_servers(self):
        """What stands in for the images postgres and redis."""
        root = debian_root.make(self.base / "servers", "postgresql-15", "redis-server", users=("postgres", "redis"))
        (root / "entrypoint").write_text(ENTRYPOINT)
        (root / "entrypoint").chmod(0o755)
        self.image_of("docker.io/library/postgres:15", root, 'ENTRYPOINT ["/entrypoint"]', 'CMD ["postgres"]', "ENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        self.podman("tag", "docker.io/library/postgres:15", "docker.io/library/redis:7-alpine")

    def wait(self, condition, limit=60):
        deadline = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < deadline, self.podman("ps", "-a").stdout
            time.sleep(0.2)

    def healthy(self, name):
        return self.podman("healthcheck", "run", name, check=None).returncode == 0

    @contextlib.contextmanager
    def docker_host(self):
        """The environment of a Docker client. Meanwhile the health of what starts is looked at, as systemd's timers would."""
        socket, ended = self.base / "docker.sock", threading.Event()
        service = self.start(*self.inside, "podman", "--root", self.base / "storage", "--runroot", self.base / "run", "system", "service", "-t", "0", f"unix://{socket}",
                             env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def look():
            while not ended.wait(0.5):
                for name in self.podman("ps", "--filter", "health=starting", "--format", "{{.Names}}", check=None).stdout.split():
                    self.podman("healthcheck", "run", name, check=None)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            self.wait(socket.exists)
            yield {**self.environment, "DOCKER_HOST": f"unix://{socket}"}
        finally:
            ended.set()
            thread.join()
            service.terminate()
            service.wait()
