"""A machine of a test's own, to type commands at as they are printed: private mount, network, process and host name
spaces around a throw-away root with this machine's programs, Debian's PostgreSQL packages as they come, the users that the
units and packages make, and a systemctl that runs the unit files as far as the runbook needs. The machine underneath is
not touched. Needs root."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from support import BINARY, SOURCE

SETUP = r"""
set -e
root=$1 binary=$2
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mkdir -p usr proc dev sys tmp var/tmp var/lib/postgresql var/log/postgresql var/cache run/postgresql run/lock root home backups mnt/backups units
chmod 1777 tmp var/tmp
for name in bin sbin lib lib64; do [ ! -L /$name ] || cp -a /$name .; done
mount --rbind /usr usr
mount -o remount,ro,bind usr
mount --bind local usr/local/bin
mount --rbind /dev dev
mount -t proc proc proc
[ -d etc ] || cp -a /etc etc
rm -rf etc/postgresql etc/aragora etc/default/aragora
mkdir -m 0755 etc/postgresql
rmdir backups mnt/backups 2>/dev/null || true
grep -q ^aragora: etc/passwd || echo 'aragora:x:64321:64321::/var/lib/aragora:/bin/bash' >> etc/passwd
grep -q ^aragora: etc/group || echo 'aragora:x:64321:' >> etc/group
ln -sfn /run var/run
chown postgres:postgres var/lib/postgresql var/log/postgresql run/postgresql etc/postgresql
chmod 2775 run/postgresql
ip link set lo up
hostname new-machine
touch ready
exec chroot "$root" /bin/sh -c 'while :; do sleep 1000 & wait; done'
"""

SYSTEMCTL = r"""#!/usr/bin/python3
# What the runbook asks of systemd: start, stop, restart, enable --now, of the units in /units and of postgresql.
import configparser, os, pathlib, pwd, shlex, signal, socket, subprocess, sys, time

RUN = pathlib.Path("/run/units")
RUN.mkdir(exist_ok=True)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def settings(name):
    found = {}
    for line in pathlib.Path(f"/units/{name}.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def environment(unit):
    found = {"PATH": PATH}
    found.update(line.split("=", 1) for line in unit.get("Environment", []))
    file = pathlib.Path(unit["EnvironmentFile"][0].lstrip("-"))
    if file.exists():
        found.update(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
    return found


def postgresql(action):
    if action in ("stop", "restart"):
        subprocess.run(["pg_ctlcluster", "15", "main", "stop", "-m", "fast"], stderr=subprocess.DEVNULL)
    if action in ("start", "restart"):
        subprocess.run(["pg_ctlcluster", "15", "main", "start"], check=True)


def stop(name):
    pid_file = RUN / name
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    try:
        os.kill(pid, signal.SIGTERM)
        for _ in range(600):
            if pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                break
            time.sleep(0.05)
        else:
            os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        pass
    pid_file.unlink()


def start(name):
    unit = settings(name)
    user = pwd.getpwnam(unit["User"][0])
    for directory, mode in ((f"/var/lib/{unit['StateDirectory'][0]}", 0o750), (f"/etc/{unit['ConfigurationDirectory'][0]}", 0o750)):
        if not os.path.isdir(directory):
            os.mkdir(directory, mode)
            if directory.startswith("/var/lib"):
                os.chown(directory, user.pw_uid, user.pw_gid)
    command = shlex.split(unit["ExecStart"][0])
    command[0] = os.path.basename(command[0])
    notify = f"/run/units/{name}.notify"
    if os.path.exists(notify):
        os.unlink(notify)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(notify)
    os.chmod(notify, 0o777)
    listener.settimeout(0.2)
    log = open(f"/var/log/{name}.log", "a")
    process = subprocess.Popen(["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--", *command], env={**environment(unit), "NOTIFY_SOCKET": notify, "HOME": user.pw_dir, "STATE_DIRECTORY": f"/var/lib/{unit['StateDirectory'][0]}"},
                               stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True, umask=0o077)
    (RUN / name).write_text(str(process.pid))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{name} ended with {process.returncode}: " + open(f"/var/log/{name}.log").read()[-2000:])
        try:
            if b"READY=1" in listener.recv(4096):
                return
        except TimeoutError:
            pass
    sys.exit(f"{name} is not ready: " + open(f"/var/log/{name}.log").read()[-2000:])


action, names = sys.argv[1], [name for name in sys.argv[2:] if not name.startswith("-")]
if action not in ("start", "stop", "restart", "enable"):
    sys.exit(f"systemctl {action} is not known here")
for name in names:
    if name == "postgresql":
        postgresql(action)
        continue
    if action in ("stop", "restart"):
        stop(name)
    if action != "stop":
        start(name)
"""


class Machine:
    def __init__(self):
        if os.geteuid() != 0:
            raise AssertionError("needs root: it makes name spaces and works as other users")
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="aragora-machine-", dir="/var/tmp"))
        self.root.chmod(0o755)
        local = self.root / "local"
        local.mkdir()
        shutil.copy(BINARY, local / "aragora")
        (local / "systemctl").write_text(SYSTEMCTL)
        (local / "systemctl").chmod(0o755)
        (self.root / "units").mkdir()
        for unit in (SOURCE / "systemd").glob("*.service"):
            shutil.copy(unit, self.root / "units")
        self.holder = subprocess.Popen(["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "bash", "-c", SETUP, "setup", self.root, BINARY], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + 30
        while not (self.root / "ready").exists():
            if self.holder.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the name spaces were not made:\n" + (self.holder.stdout.read() if self.holder.poll() is not None else ""))
            time.sleep(0.02)
        self.init = subprocess.run(["pgrep", "-P", str(self.holder.pid)], capture_output=True, text=True, check=True).stdout.split()[0]
        while os.readlink(f"/proc/{self.init}/root") != str(self.root) and time.monotonic() < deadline:
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(self.init), signal.SIGKILL)  # the first process of its name space: everything ends with it
        self.holder.wait()
        self.holder.stdout.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, text, user="root", check=0, **environment):
        """In a shell that stops at the first line that fails. Answers what it printed."""
        home = {"root": "/root", "postgres": "/var/lib/postgresql", "aragora": "/var/lib/aragora"}[user]
        result = subprocess.run(["nsenter", "-t", self.init, "-m", "-n", "-p", "-u", "-i", "-r", "--", "runuser", "-u", user, "--", "env", "-i", "-C", home, f"HOME={home}", f"USER={user}",
                                 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *(f"{name}={value}" for name, value in environment.items()), "bash", "-e", "-c", text],
                                capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL)
        if check is not None and result.returncode != check:
            raise AssertionError(f"as {user}:\n{text}\nexit {result.returncode}, not {check}\n{result.stdout}\n{result.stderr}\n{self.logs()}")
        return result.stdout + result.stderr

    def logs(self):
        return "\n".join(f"== {path}\n{path.read_text(errors='replace')[-1500:]}" for path in [*self.root.glob("var/log/aragora*.log"), *self.root.glob("var/log/postgresql/*.log"), *self.root.glob("var/lib/postgresql/15/*.log")])

    def path(self, path):
        return self.root / path.lstrip("/")

    def install_postgresql(self, password="n0t-the-sample-pw"):
        """As the package does it, and the database that the deployment uses."""
        self.run("pg_createcluster 15 main >/dev/null && pg_ctlcluster 15 main start")

    def make_database(self, password):
        self.run(f"psql -q -c \"CREATE ROLE aragora LOGIN CREATEDB PASSWORD '{password}'\" -c 'CREATE DATABASE aragora OWNER aragora'", user="postgres")

    def install_aragora(self):
        """As the package does it: the user's directories."""
        self.run("install -d -o aragora -g aragora -m 0750 /var/lib/aragora && install -d -o root -g aragora -m 0750 /etc/aragora")


def sections():
    """The runbook: its titles with the blocks of each, and the user that the first line of a block names."""
    found, title, block = {}, None, None
    for line in (SOURCE / "docs/runbooks/recovery.md").read_text().splitlines():
        if line.startswith("## "):
            title, block = line[3:], None
            found[title] = []
        elif line.startswith("    ") and title:
            if block is None:
                user = re.match(r"    # as (\w+)", line)
                assert user, f"a block does not say who types it: {line}"
                block = [user[1], []]
                found[title].append(block)
            block[1].append(line[4:])
        else:
            block = None
    return {title: [(user, "\n".join(lines)) for user, lines in blocks] for title, blocks in found.items()}
