"""What an interrupted run leaves: nothing. Signals at several moments of drills, verifications and recoveries; and kill -9,
after which the next run removes what was left."""
import contextlib
import os
import pathlib
import secrets
import signal
import subprocess
import time
import unittest

from recovery import Receiver
from support import BINARY, Cluster, Daemon, Sandbox, main


def process_state(process):
    """The letter of proc(5), behind the name in brackets."""
    return (process / "stat").read_text().rpartition(") ")[2][:1]


def processes_of(directory):
    """Whoever works in the directory or was started with it in arguments or environment."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            where = os.readlink(process / "cwd")
            said = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
            if where.startswith(str(directory)) or os.fsencode(str(directory)) in said:
                found.append(f"{process.name} {said.rstrip(bytes(1))[:200]!r} in {where}, state {process_state(process)}")
    return found


class Interrupts(unittest.TestCase):
    @contextlib.contextmanager
    def deployment(self, **environment):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), **environment) as sandbox:
            sandbox.directory.chmod(0o755)
            sandbox.environment["ARAGORA_BACKUP_DIR"] = str(sandbox.directory / "backups")
            self.scratch = sandbox.directory / "scratch"
            self.scratch.mkdir(mode=0o755)
            sandbox.environment["TMPDIR"] = str(self.scratch)
            sandbox.run("migrate", check=0)
            with Daemon(sandbox) as daemon:
                daemon.wait_finished(daemon.post("/api/debates", {"task": "kept", "rounds": 0})[1]["debate_id"])
            yield sandbox

    def start(self, sandbox, *arguments):
        return subprocess.Popen([BINARY, *map(str, arguments)], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for(self, condition, process, what, limit=30):
        deadline = time.monotonic() + limit
        while not condition():
            if process.poll() is not None:
                out, error = process.communicate()
                self.fail(f"exit {process.returncode} before {what}:\n{out}\n{error}")
            self.assertLess(time.monotonic(), deadline, f"no {what}")
            time.sleep(0.005)

    def nothing_is_left(self, sandbox, when):
        deadline = time.monotonic() + 5
        while (running := processes_of(self.scratch)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(running, [], when)
        self.assertEqual([str(path) for path in self.scratch.rglob("*")], [], when)
        self.assertEqual(list((sandbox.directory / "state").glob("scratch/*")), [], when)

    def no_file_has_the_key(self, sandbox, when):
        key = sandbox.environment["ARAGORA_ENCRYPTION_KEY"]
        found = subprocess.run(["grep", "-rlF", "-e", key, "-e", key.upper(), sandbox.directory], capture_output=True, text=True)
        self.assertEqual(found.stdout, "", when)

    def daemon_runs(self):
        return any("serve" in line for line in processes_of(self.scratch))

    def interrupted(self, sandbox, arguments, moments, numbers=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP), left=lambda: ""):
        """Each moment is a number of seconds or a condition; each gets the next signal of the row."""
        for index, moment in enumerate(moments):
            number = numbers[index % len(numbers)]
            when = f"{' '.join(arguments)}, {number.name} at moment {index}"
            with self.start(sandbox, *arguments) as process:
                try:
                    if callable(moment):
                        self.wait_for(moment, process, when)
                    else:
                        self.wait_for(lambda: any(self.scratch.iterdir()), process, when)
                        time.sleep(moment)
                    process.send_signal(signal.SIGSTOP)  # it does not end while the files are read
                    self.no_file_has_the_key(sandbox, when)
                    sent = time.monotonic()
                    process.send_signal(number)
                    process.send_signal(signal.SIGCONT)
                    out, error = process.communicate(timeout=30)
                    self.assertLess(time.monotonic() - sent, 8, when + error)
                finally:
                    process.kill()
            if process.returncode == 0 and not callable(moment):
                continue  # it was done before
            self.assertEqual(process.returncode, 130, when + out + error)
            self.assertIn(f"interrupted by {number.name}", error, when)
            self.assertRegex(error, "removed|nothing was left", when)
            self.nothing_is_left(sandbox, when + error)
            self.assertEqual(left(), "", when)
            self.no_file_has_the_key(sandbox, when)

    def killed(self, sandbox, arguments, moments, following, left=lambda: ""):
        for index, moment in enumerate(moments):
            when = f"{' '.join(arguments)}, killed at moment {index}"
            with self.start(sandbox, *arguments) as process:
                if callable(moment):
                    self.wait_for(moment, process, when)
                else:
                    self.wait_for(lambda: any(self.scratch.iterdir()), process, when)
                    time.sleep(moment)
                process.kill()
                process.communicate()
            self.no_file_has_the_key(sandbox, when)
            sandbox.run(*following, check=0)
            self.nothing_is_left(sandbox, when)
            self.assertEqual(left(), "", when)

    def test_a_drill_of_sqlite(self):
        with self.deployment() as sandbox:
            sandbox.run("backup", check=0)
            moments = [0, self.daemon_runs, 0.1, 0.4, self.daemon_runs, 0.8]
            self.interrupted(sandbox, ["drill"], moments)
            self.killed(sandbox, ["drill"], moments[:4], ["drill"])
            self.killed(sandbox, ["drill"], moments[:2], ["backup", "verify"])

    def test_a_drill_of_a_dump(self):
        with Cluster() as cluster, self.deployment(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("backup", check=0)
            left = lambda: cluster.sql("SELECT string_agg(datname, ' ') FROM pg_database WHERE datname ~ '^aragora_(drill|verify|restore)_'")
            made = lambda: left() != ""
            moments = [made, 0, self.daemon_runs, 0.15, 0.4, self.daemon_runs]
            self.interrupted(sandbox, ["drill"], moments, left=left)
            self.interrupted(sandbox, ["backup", "verify"], [made, made, made, made], (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT), left=left)
            self.killed(sandbox, ["drill"], moments[:4], ["drill"], left=left)
            self.killed(sandbox, ["backup", "verify"], [made], ["backup", "verify"], left=left)

    def test_a_drill_of_a_cluster(self):
        with Cluster() as cluster, self.deployment(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox) as receiver:
                cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('late', '', 0)")
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                receiver.stop()
            server_runs = lambda: any(self.scratch.glob("**/postmaster.pid"))
            moments = [0, server_runs, self.daemon_runs, 0.3, 0.8, server_runs, 1.2]
            self.interrupted(sandbox, ["drill"], moments)
            self.interrupted(sandbox, ["backup", "verify", "--input", "latest-base"], [0, server_runs])
            self.killed(sandbox, ["drill"], [server_runs, self.daemon_runs, 0.3], ["drill"])
            self.killed(sandbox, ["backup", "verify", "--input", "latest-base"], [server_runs], ["backup", "verify", "--input", "latest-base"])

    def test_a_server_that_does_not_answer_goes_with_all_its_processes(self):
        """Each process of PostgreSQL has a session of its own, and one that is busy does not look whether its postmaster lives."""
        with Cluster() as cluster, self.deployment(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("backup", "create", "--kind", "base", check=0)
            server_runs = lambda: any("postgres: " in line for line in processes_of(self.scratch))
            for number in (signal.SIGTERM, signal.SIGINT):
                with self.start(sandbox, "drill") as process:
                    self.wait_for(server_runs, process, "server")
                    servers = [int(line.split()[0]) for line in processes_of(self.scratch) if "postgres" in line]
                    for server in servers:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(server, signal.SIGSTOP)
                    process.send_signal(number)
                    out, error = process.communicate(timeout=30)
                self.assertEqual(process.returncode, 130, out + error)
                self.nothing_is_left(sandbox, f"{number.name} with {servers} stopped: {error}")

    def test_a_recovery_removes_what_it_had_unpacked(self):
        with Cluster() as cluster, self.deployment(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("backup", "create", "--kind", "base", check=0)
            with Receiver(sandbox) as receiver:
                receiver.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
                receiver.stop()
            to = sandbox.directory / "to/recovered"
            unfinished = sandbox.directory / "to/recovered.unfinished"
            server_runs = lambda: (unfinished / "postmaster.pid").exists()
            command = ["restore", "--latest", "--to", str(to)]
            self.interrupted(sandbox, command, [unfinished.exists, server_runs], left=lambda: " ".join(map(str, to.parent.glob("*"))))
            with self.start(sandbox, *command) as process:
                self.wait_for(server_runs, process, "server")
                self.assertIn("is under way", sandbox.run(*command, check=73).stderr)
                process.kill()
                process.communicate()
            self.assertIn("a run that was killed left it", sandbox.run(*command, check=0).stderr)
            self.assertEqual(list(to.parent.iterdir()), [to])

    def test_a_run_that_lives_is_left_alone(self):
        """Two at once: the second must not take the first one's scratch for abandoned."""
        with self.deployment() as sandbox:
            sandbox.run("backup", check=0)
            runs = [self.start(sandbox, "drill") for _ in range(3)]
            for run in runs:
                out, error = run.communicate(timeout=60)
                self.assertEqual(run.returncode, 0, out + error)
            self.nothing_is_left(sandbox, "three at once")

    def test_an_ordinary_user_has_scratch_in_the_state(self):
        if os.geteuid() != 0:
            self.skipTest("is one")
        with Cluster() as cluster, self.deployment(DATABASE_URL=cluster.url) as sandbox:
            sandbox.run("backup", "create", "--kind", "base", check=0)
            sandbox.run("backup", check=0)
            subprocess.run(["chown", "-R", "nobody", sandbox.directory], check=True)
            own = sandbox.directory / "state/scratch"
            program = sandbox.directory / "aragora"
            program.write_bytes(pathlib.Path(BINARY).read_bytes())
            program.chmod(0o755)
            run = lambda *arguments: subprocess.Popen(["setpriv", "--reuid=nobody", "--clear-groups", program, *arguments], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/")
            for kind in ("physical", "logical"):
                with run("drill", "--kind", kind) as process:
                    self.wait_for(lambda: any("serve" in line for line in processes_of(own)), process, "daemon")
                    self.assertEqual(own.stat().st_mode & 0o777, 0o700)
                    self.no_file_has_the_key(sandbox, kind)
                    process.kill()
                    process.communicate()
                deadline = time.monotonic() + 10
                while processes_of(own) and time.monotonic() < deadline:
                    time.sleep(0.05)
                self.assertEqual(processes_of(own), [], "what a killed run had started ends with it")
                self.assertNotEqual(list(own.iterdir()), [])
                with run("drill", "--kind", kind) as process:
                    out, _ = process.communicate(timeout=60)
                    self.assertEqual(process.returncode, 0, out)
                self.assertEqual(list(own.iterdir()), [])
            self.assertEqual(list(self.scratch.iterdir()), [])


if __name__ == "__main__":
    main()
