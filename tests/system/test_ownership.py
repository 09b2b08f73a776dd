"""Others than root and the owner of a directory are refused before they begin, with the line to type; what an earlier run
left to root is healed; a file that was laid as a trap is not given away; who may not read is told so. Needs root."""
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time
import unittest

from support import BINARY, Cluster, Sandbox, main, strong_secret

SERVICE = pwd.getpwnam("daemon")
OTHER = pwd.getpwnam("nobody")


class Shared(Sandbox):
    """A sandbox whose state belongs to a service user; the key is known to everybody who runs something."""

    def __init__(self, **environment):
        super().__init__(JWT_SECRET=strong_secret(), ARAGORA_ENCRYPTION_KEY=strong_secret(), **environment)
        self.directory.chmod(0o755)
        self.state = self.directory / "state"
        self.state.mkdir(mode=0o750)
        os.chown(self.state, SERVICE.pw_uid, SERVICE.pw_gid)
        self.binary = self.directory / "aragora"  # where everybody may run it
        shutil.copy(BINARY, self.binary)
        self.binary.chmod(0o755)
        (self.directory / "empty.toml").chmod(0o644)
        self.environment["TMPDIR"] = "/var/tmp"

    def user(self, who, *arguments, check=None, **environment):
        command = [self.binary, *map(str, arguments)]
        if who is not None:
            command = ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", *command]
        result = subprocess.run(command, env={**self.environment, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, cwd="/")
        if check is not None and result.returncode != check:
            raise AssertionError(f"{arguments} as {who and who.pw_name}: exit {result.returncode}, not {check}\n{result.stdout}\n{result.stderr}")
        return result

    def strangers(self):
        """What in the state directory is not the service user's."""
        return [str(path) for path in [self.state, *self.state.rglob("*")] if (path.lstat().st_uid, path.lstat().st_gid) != (SERVICE.pw_uid, SERVICE.pw_gid)]


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class RootWorksForTheService(unittest.TestCase):
    def test_a_file_of_roots_with_another_name_elsewhere_is_not_given_away(self):
        with Shared() as sandbox:
            precious = sandbox.write("precious", "of root\n")
            (sandbox.state / "backups").mkdir()
            os.chown(sandbox.state / "backups", SERVICE.pw_uid, SERVICE.pw_gid)
            os.link(precious, sandbox.state / "backups/.lock")
            sandbox.user(None, "migrate", check=0)
            sandbox.user(None, "backup", check=0)
            self.assertEqual((precious.stat().st_uid, precious.stat().st_gid), (0, 0))

    def test_keys_that_root_makes_are_the_services(self):
        with Shared() as sandbox:
            for name in ("JWT_SECRET", "ARAGORA_ENCRYPTION_KEY"):
                del sandbox.environment[name]
            sandbox.user(None, "user", "list")
            sandbox.user(None, "init", "--directory", sandbox.state / "configuration", check=0)
            self.assertTrue((sandbox.state / "secrets/encryption_key").exists())
            self.assertEqual(sandbox.strangers(), [])
            sandbox.user(SERVICE, "key", "show", check=0)

    def test_a_database_that_an_earlier_run_left_to_root_is_healed_by_the_next_restore(self):
        with Shared() as sandbox:
            sandbox.user(SERVICE, "migrate", check=0)
            sandbox.user(SERVICE, "backup", check=0)
            os.chown(sandbox.state / "aragora.db", 0, 0)
            sandbox.user(None, "restore", "--input", "latest", "--yes", check=0)
            os.chown(next(sandbox.state.glob("*.pre-restore-*")), SERVICE.pw_uid, SERVICE.pw_gid)
            self.assertEqual(sandbox.strangers(), [])

    def test_the_log_that_root_receives_is_the_services(self):
        with Cluster(wal_level="replica") as cluster, Shared(DATABASE_URL=cluster.url) as sandbox:
            sandbox.user(None, "migrate", check=0)
            sandbox.user(None, "backup", "create", "--kind", "base", check=0)
            receiver = subprocess.Popen([sandbox.binary, "backup", "wal"], env=sandbox.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            try:
                deadline = time.monotonic() + 60
                while not list(sandbox.state.glob("backups/wal/0*/*.partial")):
                    self.assertIsNone(receiver.poll(), "the receiver ended")
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.05)
                for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGHUP, signal.SIGRTMIN + 3):
                    receiver.send_signal(number)
                cluster.sql("SELECT pg_switch_wal()", user="postgres")
                while not list(sandbox.state.glob("backups/wal/0*/*.age")):
                    self.assertIsNone(receiver.poll(), "a stray signal ended the receiver")
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.05)
            finally:
                receiver.terminate()
                said = receiver.communicate(timeout=40)[1]
            self.assertEqual(receiver.returncode, 0, said)
            self.assertTrue((sandbox.state / "backups/wal/cluster.json").exists())
            self.assertEqual(sandbox.strangers(), [])


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class OthersAreRefusedBeforeTheyBegin(unittest.TestCase):
    def test_in_a_directory_of_the_service_that_they_could_write_to(self):
        with Shared() as sandbox:
            sandbox.user(SERVICE, "migrate", check=0)
            sandbox.user(SERVICE, "backup", check=0)
            for path in [sandbox.state, *sandbox.state.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o777 if path.is_dir() else 0o666)
            before = sorted(sandbox.state.rglob("*"))
            for arguments in (["backup"], ["backup", "verify"], ["backup", "prune"], ["backup", "copy"], ["restore", "--input", "latest", "--yes"], ["migrate"], ["drill"], ["serve"]):
                refused = sandbox.user(OTHER, *arguments, ARAGORA_OFFSITE=str(sandbox.state / "offsite"), ARAGORA_PORT="0")
                self.assertEqual(refused.returncode, 77, (arguments, refused.stdout, refused.stderr))
                config = sandbox.environment["ARAGORA_CONFIG"]
                self.assertIn(f"sudo -u {SERVICE.pw_name} aragora --config {config} {' '.join(arguments)}", refused.stderr, "the variable would not go with it")
            self.assertEqual(sorted(sandbox.state.rglob("*")), before, "it began")


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class WithoutRights(unittest.TestCase):
    """77 and what could not be read."""

    COMMANDS = (["migrate", "status"], ["migrate", "plan"], ["verify"], ["backup", "list"], ["backup", "status"], ["backup", "verify"], ["restore", "--input", "latest", "--dry-run"], ["drill"], ["user", "list"])

    def refused(self, sandbox, arguments, names):
        result = sandbox.user(OTHER, *arguments)
        self.assertEqual(result.returncode, 77, (arguments, result.stdout, result.stderr))
        self.assertIn(names, result.stderr, arguments)
        for wrong in ("internal error", "bug", "no encryption key", "pending", "no database at", "no backup"):
            self.assertNotIn(wrong, result.stdout + result.stderr, arguments)

    def test_a_state_directory_that_may_not_be_entered(self):
        with Shared() as sandbox:
            sandbox.user(SERVICE, "migrate", check=0)
            sandbox.user(SERVICE, "backup", check=0)
            for arguments in self.COMMANDS:
                self.refused(sandbox, arguments, str(sandbox.state))

    def test_a_database_that_may_not_be_read(self):
        with Shared() as sandbox:
            sandbox.user(SERVICE, "migrate", check=0)
            sandbox.state.chmod(0o755)
            (sandbox.state / "aragora.db").chmod(0o600)
            for arguments in (["migrate", "status"], ["verify"], ["user", "list"]):
                self.refused(sandbox, arguments, str(sandbox.state))

    def test_backups_that_may_not_be_read(self):
        with Shared() as sandbox:
            sandbox.user(SERVICE, "migrate", check=0)
            sandbox.user(SERVICE, "backup", check=0)
            sandbox.state.chmod(0o755)
            (sandbox.state / "backups").chmod(0o700)
            for arguments in (["backup", "list"], ["backup", "status"], ["restore", "--input", "latest", "--dry-run"]):
                self.refused(sandbox, arguments, str(sandbox.state / "backups"))

    def test_keys_that_may_not_be_read(self):
        with Shared() as sandbox:
            for name in ("JWT_SECRET", "ARAGORA_ENCRYPTION_KEY"):
                del sandbox.environment[name]
            sandbox.user(SERVICE, "init", "--directory", sandbox.state / "configuration", check=0)
            for arguments in (["key", "show"], ["key", "backup-identity"], ["backup", "list"], ["config", "show"]):
                self.refused(sandbox, arguments, str(sandbox.state / "secrets"))


if __name__ == "__main__":
    main()
