"""A machine that really boots: systemd in systemd-nspawn on an overlay of this one's root, with the binary, the units and the
users as a package installs them, or without, for a package. Nothing of it stays. Needs root."""
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import tempfile
import time

from support import BINARY, SOURCE

PASSWORD = "n0t-the-sample-pw"
URL = f"postgresql://aragora:{PASSWORD}@127.0.0.1:5432/aragora"
MOUNT = r"""
set -e
mount -t tmpfs -o size=2g booted "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" booted "$1/root"
cd "$1/root"
rm -rf etc/systemd/system/*.wants/* etc/aragora etc/default/aragora var/lib/aragora etc/postgresql/15 var/lib/postgresql/15
: > etc/machine-id
rm -f usr/sbin/policy-rc.d
if [ -n "$2" ]; then
  install -m 0755 "$2" usr/bin/aragora
  install -m 0644 "$3"/systemd/*.service "$3"/systemd/*.timer "$3"/systemd/*.socket lib/systemd/system
  install -m 0644 "$3/systemd/aragora.sysusers" usr/lib/sysusers.d/aragora.conf
  install -m 0644 "$3/systemd/aragora.tmpfiles" usr/lib/tmpfiles.d/aragora.conf
fi
sed -i '/^aragora:/d' etc/passwd etc/group etc/shadow etc/gshadow
"""


class Booted:
    def __init__(self, installed=True):
        if os.geteuid() != 0:
            raise AssertionError("needs root: it boots a machine")
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="aragora-booted-", dir="/var/tmp"))
        self.process = None
        try:
            subprocess.run(["bash", "-c", MOUNT, "mount", self.base, BINARY if installed else "", SOURCE], check=True, capture_output=True, text=True)
            self.log = open(self.base / "console", "w")
            self.process = subprocess.Popen(["systemd-nspawn", "--quiet", "-D", self.base / "root", "--register=no", "--keep-unit", "--private-network", "--settings=no", "--console=pipe", "-b",
                                             "systemd.unit=multi-user.target"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
            self.wait(lambda: self.leader() and self.run("systemctl is-active multi-user.target", check=None).strip() == "active", 60)
        except BaseException as error:
            console = (self.base / "console").read_text(errors="replace")[-3000:] if (self.base / "console").exists() else getattr(error, "stderr", "")
            self.__exit__()
            raise AssertionError(f"the machine did not boot: {error}\n{console}") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()  # systemd-nspawn hands it on as a request to power off
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.log.close()
        for path in (self.base / "root", self.base):
            subprocess.run(["umount", "-R", "-l", path], capture_output=True)
        shutil.rmtree(self.base, ignore_errors=True)

    def leader(self):
        return subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()[:1]

    @staticmethod
    def wait(condition, limit=30):
        deadline = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < deadline, "it did not come to that in time"
            time.sleep(0.1)

    def run(self, text, user="root", check=0, **environment):
        """In a shell that stops at the first line that fails. Answers what it printed."""
        home = {"root": "/root", "postgres": "/var/lib/postgresql", "aragora": "/var/lib/aragora"}[user]
        result = subprocess.run(["nsenter", "-t", *self.leader(), "-a", "--", "runuser", "-u", user, "--", "env", "-i", f"HOME={home}", f"USER={user}", "container=",
                                 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *(f"{name}={value}" for name, value in environment.items()), "bash", "-e", "-c", f"cd {home} 2>/dev/null || cd /\n{text}"],
                                capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL)
        if check is not None and result.returncode != check:
            journal = "" if text.startswith("journalctl") else self.run("journalctl -q -n 40 --no-pager -o cat", check=None)
            raise AssertionError(f"as {user}:\n{text}\nexit {result.returncode}, not {check}\n{result.stdout}\n{result.stderr}\n{journal}")
        return result.stdout + result.stderr

    def status(self, text, user="root"):
        return int(self.run(f"set +e; ({text}) >/dev/null 2>&1; echo $?", user=user))

    def configure_production(self):
        """PostgreSQL, a configuration and its secrets, as `init --production` says; answers what that printed."""
        self.run("pg_createcluster 15 main >/dev/null && systemctl start postgresql@15-main")
        self.run(f"psql -q -c \"CREATE ROLE aragora LOGIN CREATEDB PASSWORD '{PASSWORD}'\" -c 'CREATE DATABASE aragora OWNER aragora'", user="postgres")
        printed = self.run("aragora init --production")
        for name, value in (("DATABASE_URL", URL), ("ANTHROPIC_API_KEY", f"sk-ant-api03-{secrets.token_hex(20)}")):
            command = re.search(r"install -m .*DATABASE_URL", printed)[0].replace("DATABASE_URL", name)  # as it is printed
            self.run(f"echo '{value}' | {command}")
        self.run("sed -i -e 's|^allowed_origins = .*|allowed_origins = [\"https://aragora.example.org\"]|' -e 's|^# anthropic_api_key_file|anthropic_api_key_file|' /etc/aragora/aragora.toml")
        self.run("aragora migrate")
        return printed

    def ready(self):
        return self.status("curl -sf http://127.0.0.1:8080/api/ready") == 0

    def shows(self, unit, name):
        return self.run(f"systemctl show -P {name} {unit}").strip()

    def path(self, path):
        return self.base / "root" / path.lstrip("/")
