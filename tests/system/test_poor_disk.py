"""File systems that can do less (CIFS, exFAT): said first, kept all the same. And a disk that is not mounted is an error."""
import contextlib
import json
import os
import shutil
import sqlite3
import time
import unittest

from support import Daemon, TinyDisk, main, sqlite_deployment

LIBRARY = os.environ["FAULTS_LIBRARY"]
POOR = {"LD_PRELOAD": LIBRARY, "FAULT_LACKS": "dirsync,symlink,hardlink"}


def check_of(sandbox, name, **environment):
    return sandbox.run_json("validate-env", **environment)["checks"][name]


class PoorFileSystem(unittest.TestCase):
    def test_everything_works_without_links_and_synced_directories(self):
        with sqlite_deployment() as sandbox:
            backups, live = sandbox.directory / "backups", sandbox.directory / "state/aragora.db"
            run = lambda *arguments, check=0: sandbox.run(*arguments, check=check, **POOR)
            made = run("backup")
            self.assertIn("cannot sync a directory", made.stderr)
            self.assertEqual(made.stderr.count("cannot sync"), 1, "said once")
            latest = backups / "latest"
            self.assertTrue(latest.is_file() and not latest.is_symlink())
            newest, = (backups / "full").iterdir()
            self.assertEqual(latest.read_text(), f"full/{newest.name}\n")
            run("backup", "create", "--kind", "configuration")
            run("backup")
            self.assertEqual(latest.read_text().strip(), "full/" + max(p.name for p in (backups / "full").iterdir()))
            self.assertEqual([p.name for p in backups.rglob(".*") if ".lock" not in p.name], [], "leftovers")
            for arguments in (("backup", "verify"), ("backup", "verify", "--input", latest), ("backup", "verify", "--every-kind"), ("backup", "rekey"), ("backup", "list"), ("drill",),
                              ("restore", "--configuration", "--input", backups / "latest-configuration", "--to", sandbox.directory / "etc"),
                              ("restore", "--input", latest, "--yes"), ("restore", "--input", latest, "--to", sandbox.directory / "beside.db")):
                run(*arguments)
            kept, = live.parent.glob("*.pre-restore-*")
            for file in (kept, live):
                with contextlib.closing(sqlite3.connect(file)) as database:
                    self.assertEqual(database.execute("PRAGMA integrity_check").fetchone(), ("ok",))
            # Carried to a better disk, the link is one again.
            sandbox.run("backup", check=0)
            self.assertTrue(latest.is_symlink())
            run("backup")
            self.assertFalse(latest.is_symlink())

    def test_the_copy_elsewhere_too(self):
        with sqlite_deployment() as sandbox:
            sandbox.elsewhere()
            sandbox.run("backup", check=0, **POOR)
            shutil.rmtree(sandbox.directory / "backups")
            sandbox.run("backup", "verify", "--from", "offsite", check=0, **POOR)

    def test_what_is_lacking_is_found_first(self):
        with sqlite_deployment() as sandbox:
            sandbox.run("backup", check=0)
            self.assertEqual(check_of(sandbox, "backup_directory")["status"], "ok")
            for lack, words in (("dirsync", "fsync of directories"), ("symlink", "symbolic links"), ("hardlink", "hard links")):
                found = check_of(sandbox, "backup_directory", LD_PRELOAD=LIBRARY, FAULT_LACKS=lack)
                self.assertEqual(found["status"], "warning", found)
                self.assertIn(words, json.dumps(found))
            self.assertEqual([p.name for p in (sandbox.directory / "backups").iterdir() if "abilities" in p.name], [])

    def test_without_locks_nothing_is_begun(self):
        with sqlite_deployment() as sandbox:
            sandbox.run("backup", check=0)
            before = sorted((sandbox.directory / "backups").rglob("*"))
            found = check_of(sandbox, "backup_directory", LD_PRELOAD=LIBRARY, FAULT_LACKS="flock")
            self.assertEqual(found["status"], "error", found)
            refused = sandbox.run("backup", LD_PRELOAD=LIBRARY, FAULT_LACKS="flock")
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("flock(2)", refused.stderr)
            self.assertEqual(sorted((sandbox.directory / "backups").rglob("*")), before)


class NotMounted(unittest.TestCase):
    def all_refuse(self, sandbox, words):
        """Whatever uses the copy elsewhere says so, and makes nothing there."""
        for arguments, status in ((("backup",), 69), (("backup", "create", "--due"), 69), (("backup", "copy"), 69), (("backup", "copy", "--again"), 69), (("backup", "prune"), 69), (("backup", "list", "--from", "offsite"), 69),
                                  (("backup", "verify", "--from", "offsite"), 69), (("drill", "--from", "offsite"), 69), (("restore", "--from", "offsite", "--input", "latest", "--to", sandbox.directory / "no.db"), 69)):
            with self.subTest(arguments=arguments):
                refused = sandbox.run(*arguments, check=status)
                self.assertIn(words, refused.stderr)
                self.assertIn("aragora backup copy --init", refused.stderr)
        status = sandbox.run("backup", "status", check=1)
        self.assertIn(words, status.stdout)
        found = check_of(sandbox, "backup_offsite")
        self.assertEqual(found["status"], "error", found)
        self.assertIn(words, json.dumps(found))

    def test_a_directory_that_is_not_there_is_not_made(self):
        with sqlite_deployment(ARAGORA_OFFSITE="") as sandbox:
            place = sandbox.directory / "mnt/not-there"
            sandbox.environment["ARAGORA_OFFSITE"] = str(place)
            self.all_refuse(sandbox, "is not there")
            self.assertFalse(place.parent.exists())

    def test_an_empty_directory_is_a_disk_that_is_not_mounted(self):
        with sqlite_deployment() as sandbox:
            place = sandbox.directory / "mnt"
            place.mkdir()
            sandbox.environment["ARAGORA_OFFSITE"] = str(place)
            self.all_refuse(sandbox, "may not be mounted")
            (place / "lost+found").mkdir()
            self.all_refuse(sandbox, "may not be mounted")
            self.assertEqual([p.name for p in place.iterdir()], ["lost+found"])
            self.assertIn("is marked", sandbox.run("backup", "copy", "--init", check=0).stdout)
            self.assertFalse(sandbox.run_json("backup", "copy", "--init", check=0)["marked"], "again is no harm")
            sandbox.run("backup", check=0)
            sandbox.run("backup", "verify", "--from", "offsite", check=0)
            self.assertEqual(check_of(sandbox, "backup_offsite")["status"], "ok")
            # The disk goes: what is below it has no mark.
            place.rename(sandbox.directory / "disk")
            place.mkdir()
            self.all_refuse(sandbox, "may not be mounted")
            self.assertEqual(list(place.iterdir()), [])

    def test_a_mount_point_needs_no_mark(self):
        with sqlite_deployment() as sandbox, TinyDisk(sandbox.directory / "mnt", size="64m") as disk:
            sandbox.environment["ARAGORA_OFFSITE"] = str(disk.directory)
            sandbox.run("backup", check=69)
            sandbox.prefix = disk.prefix
            sandbox.run("backup", check=0)
            sandbox.run("backup", "verify", "--from", "offsite", check=0)
            sandbox.prefix = []
            self.assertEqual(list(disk.directory.iterdir()), [])
            sandbox.run("backup", "copy", check=69)

    def test_copies_of_before_count_as_the_mark(self):
        with sqlite_deployment() as sandbox:
            place = sandbox.elsewhere()
            sandbox.run("backup", check=0)
            (place / "aragora-copies.json").unlink()
            sandbox.run("backup", check=0)
            (place / "deployment.json").unlink()  # a version that wrote none
            sandbox.run("backup", check=0)
            sandbox.run("backup", "list", "--from", "offsite", check=0)

    def test_a_file_and_a_bucket_are_no_directory(self):
        with sqlite_deployment() as sandbox:
            sandbox.environment["ARAGORA_OFFSITE"] = str(sandbox.write("file", ""))
            self.assertIn("not a directory", sandbox.run("backup", "copy", check=69).stderr)
            sandbox.run("backup", "copy", "--init", check=73)
            self.assertIn("needs no mark", sandbox.run("backup", "copy", "--init", ARAGORA_OFFSITE="s3://bucket/x", ARAGORA_OFFSITE_ACCESS_KEY="a", ARAGORA_OFFSITE_SECRET_KEY="b" * 20, check=64).stderr)

    def test_the_daemon_says_it_and_goes_on(self):
        with sqlite_deployment(ARAGORA_BACKUP_CONTINUOUS="true", ARAGORA_BACKUP_INTERVAL_SECONDS="1") as sandbox:
            sandbox.environment["ARAGORA_OFFSITE"] = str(sandbox.directory / "mnt")
            with Daemon(sandbox) as daemon:
                deadline = time.monotonic() + 30
                while "is not there" not in daemon.text() or not list(sandbox.directory.glob("backups/full/2*")):
                    self.assertLess(time.monotonic(), deadline, daemon.text())
                    time.sleep(0.1)
                sandbox.run("backup", "copy", "--init", check=0)
                while not list(sandbox.directory.glob("mnt/full/2*/manifest.json")):
                    self.assertLess(time.monotonic(), deadline, daemon.text())
                    time.sleep(0.1)


if __name__ == "__main__":
    main()
