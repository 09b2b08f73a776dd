"""The scripts of a first day: packages, quickstart, a source tree without git. apt and the compiler are stand-ins; locks, mounts and
processes are real."""
import contextlib
import fcntl
import http.server
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from support import BINARY, SOURCE, free_port, main

SLEEPS = "sleep 300"


class Place:
    """A directory with stand-ins first in PATH, and a mount namespace where chosen files of the system are ours."""

    def __init__(self, name="first day"):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="aragora-scripts-"))
        self.bin = self.root / "bin"
        self.bin.mkdir()
        self.calls = self.root / "calls"
        self.calls.touch()
        self.sbin = self.root / "sbin"
        self.sbin.mkdir()
        self.checkout = self.root / name
        self.mounts = [(self.sbin, "/usr/sbin")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root, ignore_errors=True)

    def program(self, name, script):
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def tree(self):
        """A checkout with the scripts and a binary that is built already."""
        shutil.copytree(SOURCE / "scripts", self.checkout / "scripts")
        binary = self.checkout / "build/release/cli/aragora"
        binary.parent.mkdir(parents=True)
        shutil.copy(BINARY, binary)
        self.program("cmake", f'echo "cmake $*" >>{self.calls}')
        self.program("dpkg-query", "echo -n install ok installed")
        return self.checkout

    def apt(self, script):
        """apt-get that is recorded, of a machine where every package is missing."""
        self.program("dpkg-query", "exit 1")
        self.program("apt-get", f'echo "$*" >>{self.calls}\n{script}')

    def os_release(self, text):
        path = self.root / "os-release"
        path.write_text(text)
        self.mounts.append((path, "/etc/os-release"))

    def command(self, *arguments, path=None):
        binds = "".join(f'mount --bind "{source}" {target}; ' for source, target in self.mounts)
        inside = binds + f'export PATH="{path or str(self.bin) + ":" + os.environ["PATH"]}"; exec "$@"'
        return ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-m", "--propagation", "private", "/bin/bash", "-c", inside, "place", *map(str, arguments)]

    def run(self, *arguments, path=None, timeout=120, **environment):
        return subprocess.run(self.command(*arguments, path=path), env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)

    def start(self, *arguments):
        return subprocess.Popen(self.command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def called(self, what, limit=30):
        deadline = time.monotonic() + limit
        while what not in self.calls.read_text():
            assert time.monotonic() < deadline, f"{what} was not called: {self.calls.read_text()}"
            time.sleep(0.02)


INSTALL = SOURCE / "scripts/install-packages"


class InstallPackages(unittest.TestCase):
    def setUp(self):
        self.place = self.enterContext(Place())

    def test_packages_are_named_and_the_policy_is_there_only_meanwhile(self):
        self.place.apt('case "$*" in *install*) cat /usr/sbin/policy-rc.d >>' + str(self.place.calls) + " ;; esac")
        result = self.place.run(INSTALL, "bench")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("installing 3 packages with apt-get: pgbackrest restic borgbackup", result.stderr)
        self.assertIn("exit 101", self.place.calls.read_text())
        self.assertEqual(list(self.place.sbin.iterdir()), [])

    def test_another_vendors_package_will_do(self):
        self.place.apt("")
        self.place.program("dpkg-query", 'case "$*" in *kubernetes-client*) exit 1 ;; esac; printf "install ok installed"')
        result = self.place.run(INSTALL, "test")
        self.assertEqual((result.returncode, self.place.calls.read_text()), (0, ""), result.stderr)
        self.place.program("dpkg-query", 'case "$*" in *kubernetes-client*|*kubectl*) exit 1 ;; esac; printf "install ok installed"')
        result = self.place.run(INSTALL, "test")
        self.assertIn("installing 1 packages with apt-get: kubernetes-client\n", result.stderr)

    def test_a_policy_of_somebody_else_stays(self):
        theirs = self.place.sbin / "policy-rc.d"
        theirs.write_text("#!/bin/sh\nexit 0\n")
        self.place.apt("")
        self.assertEqual(self.place.run(INSTALL, "bench").returncode, 0)
        self.assertEqual(theirs.read_text(), "#!/bin/sh\nexit 0\n")

    def test_a_lost_connection_leaves_no_policy_behind(self):
        self.place.apt(f'case "$*" in *install*) exec {SLEEPS} ;; esac')
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            self.place.calls.write_text("")
            process = self.place.start(INSTALL, "bench")
            self.place.called("install -y")
            self.assertTrue((self.place.sbin / "policy-rc.d").exists())
            os.killpg(process.pid, number)
            process.communicate(timeout=30)
            self.assertEqual((process.returncode != 0, list(self.place.sbin.iterdir())), (True, []), number)

    def test_what_a_killed_run_left_goes_with_the_next(self):
        self.place.apt(f'case "$*" in *install*) exec {SLEEPS} ;; esac')
        process = self.place.start(INSTALL, "bench")
        self.place.called("install -y")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        self.assertTrue((self.place.sbin / "policy-rc.d").exists())
        self.place.apt("")
        self.assertEqual(self.place.run(INSTALL, "bench").returncode, 0)
        self.assertEqual(list(self.place.sbin.iterdir()), [])

    def test_apts_lock_is_waited_for_and_said_once(self):
        lists = self.place.root / "lists"
        (lists / "partial").mkdir(parents=True)
        nothing = self.place.root / "nothing"
        for name in ("apt.conf.d", "preferences.d", "sources.list.d", "trusted.gpg.d", "auth.conf.d"):
            (nothing / name).mkdir(parents=True)
        self.place.mounts += [(lists, "/var/lib/apt/lists"), (nothing, "/etc/apt")]
        self.place.apt('case "$*" in *update*) exec /usr/bin/apt-get "$@" ;; esac')
        with open(lists / "lock", "w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            process = self.place.start(INSTALL, "bench")
            self.assertIn("installing", process.stderr.readline())
            self.assertIn("waiting for another apt", process.stderr.readline())
            fcntl.lockf(lock, fcntl.LOCK_UN)
            rest = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 0, rest)
        self.assertNotIn("waiting", rest)
        self.place.called("install -y")

    def test_a_lock_that_stays_ends_the_wait(self):
        self.place.apt('echo "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)" >&2; exit 100')
        result = self.place.run(INSTALL, "bench", APT_PATIENCE="1")
        self.assertEqual(result.returncode, 100, result.stderr)
        self.assertIn("was held for 1 s", result.stderr)

    def test_without_root_and_sudo_it_says_what_to_do(self):
        self.place.apt("")
        self.place.program("id", "echo 1000")
        for name in ("realpath", "dirname", "sed", "flock", "grep", "xargs", "bash", "env"):
            (self.place.bin / name).symlink_to(shutil.which(name))
        result = self.place.run(INSTALL, "bench", path=str(self.place.bin))
        self.assertEqual((result.returncode, self.place.calls.read_text()), (1, ""), result.stderr)
        self.assertIn("as root: apt-get install --no-install-recommends pgbackrest restic borgbackup", result.stderr)

    def test_another_distribution_is_told_which_one_is_needed(self):
        for text in ('ID=ubuntu\nVERSION_ID="24.04"\n', 'ID=debian\nVERSION_ID="13"\n', 'ID=fedora\nVERSION_ID=41\n', ""):
            with Place() as place:
                place.apt("")
                place.os_release(text)
                result = place.run(INSTALL, "bench")
                self.assertEqual((result.returncode, place.calls.read_text()), (1, ""), text)
                self.assertIn("Debian 12 is needed", result.stderr)

    def test_a_group_that_is_none_is_named(self):
        self.assertIn("the groups are: build test bench", self.place.run(INSTALL, "biuld").stderr)


class Quickstart(unittest.TestCase):
    def setUp(self):
        self.place = self.enterContext(Place())
        self.tree = self.place.tree()
        self.port = free_port()
        self.addCleanup(self.run_it, "stop")

    def run_it(self, *arguments, **environment):
        return self.place.run(self.tree / "scripts/quickstart", *arguments, **{"ARAGORA_PORT": str(self.port), **environment})

    def test_in_a_path_with_spaces_it_starts_twice_and_stops(self):
        first = self.run_it()
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn(f"building aragora in {self.tree}/build/release", first.stderr)
        self.assertIn(f"runs at http://127.0.0.1:{self.port}", first.stdout)
        self.assertIn("first\\ day", first.stdout)
        again = self.run_it()
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("runs already", again.stderr)
        other = self.run_it(ARAGORA_PORT=str(free_port()))
        self.assertEqual(other.returncode, 1)
        self.assertIn(f"it runs already, on port {self.port}", other.stderr)
        self.assertEqual(self.run_it("stop").stdout, "stopped\n")
        self.assertEqual(self.run_it("stop").stdout, "not running\n")
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", self.port)), 0)

    def test_stop_leaves_a_process_alone_that_got_the_number(self):
        bystander = subprocess.Popen(["sleep", "300"])
        self.addCleanup(bystander.wait)
        self.addCleanup(bystander.kill)
        (self.tree / ".run").mkdir()
        (self.tree / ".run/serve.pid").write_text(f"{bystander.pid} {self.port}\n")
        self.assertEqual(self.run_it("stop").stdout, "not running\n")
        self.assertIsNone(bystander.poll())

    def test_a_port_that_anything_listens_on_is_said_before_the_build(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self.hang_up, args=(listener,), daemon=True).start()
            result = self.run_it(ARAGORA_PORT=str(listener.getsockname()[1]))
            self.assertEqual((result.returncode, self.place.calls.read_text()), (1, ""), result.stderr)
            self.assertIn("is in use by another program", result.stderr)
            self.assertIn("ARAGORA_PORT=", result.stderr)

    @staticmethod
    def hang_up(listener):
        with contextlib.suppress(OSError):
            while True:
                listener.accept()[0].close()

    def test_another_aragora_on_the_port_is_not_taken_for_ours(self):
        self.assertEqual(self.run_it().returncode, 0)
        with Place("another checkout") as second:
            second.tree()
            result = second.run(second.checkout / "scripts/quickstart", ARAGORA_PORT=str(self.port))
            self.assertEqual(result.returncode, 1, result.stdout)
            self.assertIn("is in use by another Aragora", result.stderr)

    def test_a_checkout_that_cannot_be_written_is_refused(self):
        script = f'mount --bind "{self.tree}" "{self.tree}" && mount -o remount,bind,ro "{self.tree}" && exec "{self.tree}/scripts/quickstart"'
        result = self.place.run("bash", "-c", script)
        self.assertEqual((result.returncode, self.place.calls.read_text()), (1, ""), result.stderr)
        self.assertIn("cannot be written", result.stderr)

    def test_help_and_what_is_unknown(self):
        result = self.run_it("--help")
        self.assertEqual(result.returncode, 0)
        self.assertIn("scripts/quickstart stop", result.stdout)
        self.assertEqual(self.run_it("strat").returncode, 1)
        self.assertFalse((self.tree / ".run").exists())


class Tarball(unittest.TestCase):
    def test_lint_looks_at_every_source_without_git(self):
        with Place() as place:
            for name in ("common", "cli", "daemon", "deploy", "tests", "scripts", "man", "systemd", "docs", "migrations", ".ci", "ARCHITECTURE.md", "CHANGELOG.md"):
                source = SOURCE / name
                if source.exists():
                    (shutil.copytree if source.is_dir() else shutil.copy)(source, place.checkout / name if source.is_dir() else place.checkout / name)
            for name in ("shellcheck", "mandoc", "systemd-analyze"):
                place.program(name, "exit 0")
            place.program("clang-format-14", f'printf "%s\\n" "$@" >>{place.calls}')
            place.program("git", "echo there is no git >&2; exit 128")
            result = place.run(place.checkout / "scripts/lint")
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn("common/base/text.cpp", place.calls.read_text())
            self.assertIn("cli/main.cpp", place.calls.read_text())



class Layers(unittest.TestCase):
    def check(self, path, include):
        with tempfile.TemporaryDirectory(prefix="aragora-layers-") as directory:
            root = pathlib.Path(directory)
            (root / "scripts").mkdir()
            shutil.copy(SOURCE / "scripts/check-layers", root / "scripts")
            file = root / path
            file.parent.mkdir(parents=True)
            file.write_text(f'#include "{include}"\n')
            return subprocess.run([root / "scripts/check-layers"], capture_output=True, text=True, timeout=60)

    def test_an_arrow_that_is_not_written_down_is_found(self):
        for path, include in (("common/base/text.cpp", "common/config/config.h"), ("common/accounts/accounts.h", "common/config/config.h"),
                              ("common/database/connection.cpp", "common/database/postgres/postgres_connection.h"),
                              ("common/database/sqlite/sqlite_connection.cpp", "common/database/postgres/lsn.h"),
                              ("common/backup/manifest.cpp", "common/backup/create.h"), ("common/backup/physical/recover.cpp", "common/backup/restore.h"),
                              ("common/backup/create.cpp", "common/drill/drill.h"), ("common/redis/client.cpp", "common/config/config.h"),
                              ("common/attic/old.cpp", "common/base/text.h"), ("common/base/text.cpp", "daemon/server.h"),
                              ("daemon/edge/door.cpp", "daemon/web/router.h"), ("daemon/ws/hub.cpp", "daemon/assembly.h"), ("daemon/web/guard.cpp", "cli/context.h"),
                              ("cli/commands/drill.cpp", "daemon/api/api.h"), ("common/storage/place.cpp", "libpq-fe.h")):
            found = self.check(path, include)
            self.assertEqual(found.returncode, 1, f"{path} includes {include}")
            self.assertIn(path, found.stderr)

    def test_an_arrow_that_is_written_down_is_not(self):
        for path, include in (("common/database/engines.cpp", "common/database/sqlite/sqlite_database.h"), ("common/backup/create.cpp", "common/backup/manifest.h"),
                              ("common/backup/physical/recover.cpp", "common/backup/repository.h"), ("common/drill/visitor.cpp", "common/net/http_client.h"),
                              ("daemon/ws/hub.cpp", "daemon/wire/events.h"), ("daemon/assembly.cpp", "daemon/ws/hub.h"), ("cli/commands/serve.cpp", "daemon/server.h"),
                              ("cli/commands/drill.cpp", "common/drill/drill.h")):
            found = self.check(path, include)
            self.assertEqual((found.returncode, found.stderr), (0, ""), f"{path} includes {include}")


if __name__ == "__main__":
    main()
