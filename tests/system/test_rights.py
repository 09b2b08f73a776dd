"""Who owns what commands write, and what they answer to who may not look: as root in the service's directories, and as nobody
in somebody's. Needs root."""
import os
import pathlib
import pwd
import shutil
import subprocess
import unittest

from support import BINARY, SOURCE, Daemon, Sandbox, main

NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups", "--"]


class Rights(unittest.TestCase):
    def setUp(self):
        self.assertEqual(os.geteuid(), 0, "needs root: it works as two users")
        self.sandbox = self.enterContext(Sandbox())
        self.sandbox.directory.chmod(0o755)
        self.state = self.sandbox.directory / "state"
        self.state.mkdir(mode=0o750)
        os.chown(self.state, NOBODY.pw_uid, NOBODY.pw_gid)
        binary = self.sandbox.directory / "aragora"  # where anybody may run it
        shutil.copy(BINARY, binary)
        (self.sandbox.directory / "empty.toml").chmod(0o644)

    def as_nobody(self, *arguments, **environment):
        return subprocess.run([*AS_NOBODY, self.sandbox.directory / "aragora", *arguments], env={**self.sandbox.environment, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def foreign(self, directory):
        return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.lstat().st_uid != NOBODY.pw_uid or path.lstat().st_gid != NOBODY.pw_gid)

    def test_what_root_writes_in_the_directory_of_the_service_is_the_services(self):
        run = self.sandbox.run
        commands = [("init", "--directory", self.sandbox.directory / "etc"), ("migrate",), ("user", "add", "--email", "a@example.org", "--name", "A"), ("backup",), ("backup", "create", "--due"),
                    ("backup", "verify", "--every-kind"), ("verify",), ("drill",), ("backup", "pin", "--input", "latest", "--reason", "audit"), ("backup", "unpin", "--input", "latest"),
                    ("restore", "--input", "latest", "--yes"), ("backup",), ("backup", "rekey"), ("backup", "prune"), ("restore", "--input", "latest", "--to", self.state / "copy.db")]
        for command in commands:
            with self.subTest(command=command[:2]):
                run(*command, check=0)
                self.assertEqual(self.foreign(self.state), [])
        os.chmod(self.state / "aragora.db", 0o660)
        run("restore", "--input", "latest", "--yes", check=0)
        self.assertEqual(self.foreign(self.state), [])
        self.assertEqual((self.state / "aragora.db").stat().st_mode & 0o777, 0o660, "as what it replaced")
        with Daemon(self.sandbox) as daemon:  # root's daemon, once by mistake
            self.assertEqual(daemon.request("POST", "/api/debates", {"task": "Who owns it?", "rounds": 1})[0] // 100, 2)
        self.assertEqual(self.foreign(self.state), [])
        for command in (("migrate", "status"), ("backup",), ("backup", "verify"), ("drill",), ("restore", "--input", "latest", "--yes"), ("user", "list")):
            with self.subTest(as_service=command):
                result = self.as_nobody(*command)
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_a_copy_elsewhere_is_its_owners_too(self):
        mount = self.sandbox.directory / "mnt"
        mount.mkdir()
        os.chown(mount, NOBODY.pw_uid, NOBODY.pw_gid)
        self.sandbox.elsewhere(mount)
        self.sandbox.run("migrate", check=0)
        self.sandbox.run("backup", check=0)
        self.sandbox.run("backup", "copy", check=0)
        self.assertTrue(list(mount.rglob("manifest.json")))
        self.assertEqual(self.foreign(mount), [])

    def test_what_may_not_be_read_is_not_taken_for_absent(self):
        self.sandbox.run("migrate", check=0)
        self.sandbox.run("backup", check=0)
        for path in self.state.rglob("*"):
            os.chown(path, 0, 0, follow_symlinks=False)
        os.chown(self.state, 0, 0)
        cases = (("migrate", "status"), ("migrate",), ("key", "show"), ("key", "backup-identity"), ("verify",), ("backup",), ("backup", "list"), ("backup", "verify"), ("backup", "status"), ("drill",), ("drill", "list"),
                 ("restore", "--input", "latest", "--dry-run"), ("user", "list"), ("serve",), ("backup", "prune", "--dry-run"))
        for arguments in cases:
            for mode, where in ((0o700, self.state), (0o755, self.state)):
                self.state.chmod(mode)
                with self.subTest(command=arguments, mode=oct(mode)):
                    result = self.as_nobody(*arguments)
                    said = result.stdout + result.stderr
                    self.assertEqual(result.returncode, 77, said)
                    self.assertIn(str(where), said)
                    self.assertIn("ermission denied", said)
                    self.assertNotIn("internal error", said)
        # Its secrets may be read here, what they open may not.
        for path in (self.state / "secrets").iterdir():
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        (self.state / "secrets").chmod(0o711)
        for arguments in [case for case in cases if case[0] != "key"]:
            with self.subTest(command=arguments, what="the data"):
                result = self.as_nobody(*arguments)
                said = result.stdout + result.stderr
                self.assertEqual(result.returncode, 77, said)
                self.assertIn("ermission denied", said)


if __name__ == "__main__":
    main()
