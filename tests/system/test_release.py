"""A release: made by scripts/release with keys of a test, checked as somebody who downloads it does, installed and upgraded by apt from
its repository, and refused when anything of it is another's. apt works in a copy of this machine's root; nothing of it stays."""
import contextlib
import functools
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import unittest

import jsonschema

from booted import MOUNT
from support import BINARY, SOURCE, main, postgres_database

PRESET = pathlib.Path(BINARY).parents[1].name
# What CycloneDX 1.5 requires of the parts that are used here (bom-1.5.schema.json), and nothing else may be in them.
LICENCES = {"type": "array", "items": {"type": "object", "required": ["license"], "properties": {"license": {"type": "object", "oneOf": [{"required": ["id"]}, {"required": ["name"]}]}}}}
COMPONENT = {"type": "object", "required": ["type", "name", "version", "bom-ref", "purl"], "additionalProperties": False, "properties": {
    "type": {"enum": ["application", "library"]}, "name": {"type": "string", "minLength": 1}, "version": {"type": "string", "minLength": 1}, "bom-ref": {"type": "string", "minLength": 1},
    "purl": {"type": "string", "pattern": "^pkg:deb/"}, "licenses": LICENCES,
    "hashes": {"type": "array", "items": {"type": "object", "required": ["alg", "content"], "properties": {"alg": {"const": "SHA-256"}, "content": {"pattern": "^[0-9a-f]{64}$"}}}},
    "properties": {"type": "array", "items": {"type": "object", "required": ["name", "value"]}}}}
BILL = {"type": "object", "required": ["bomFormat", "specVersion", "version", "serialNumber"], "additionalProperties": False, "properties": {
    "bomFormat": {"const": "CycloneDX"}, "specVersion": {"const": "1.5"}, "version": {"type": "integer", "minimum": 1},
    "serialNumber": {"pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    "metadata": {"type": "object", "required": ["timestamp", "component"], "properties": {"timestamp": {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}, "component": COMPONENT}},
    "components": {"type": "array", "minItems": 10, "uniqueItems": True, "items": COMPONENT},
    "dependencies": {"type": "array", "items": {"type": "object", "required": ["ref"], "properties": {"ref": {"type": "string"}, "dependsOn": {"type": "array", "uniqueItems": True, "items": {"type": "string"}}}}}}}
FORGER = "another key"


def run(*command, check=0, **how):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, **how)
    if check is not None and result.returncode != check:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {result.returncode}, not {check}\n{result.stdout}\n{result.stderr}")
    return result


def gpg(home, *arguments):
    home.mkdir(mode=0o700, exist_ok=True)
    return run("gpg", "--batch", "--quiet", *arguments, env={**os.environ, "GNUPGHOME": str(home)})


def make_key(folder, name):
    home = folder / f"gnupg-{name.replace(' ', '-')}"
    gpg(home, "--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "0")
    gpg(home, "--output", home / "secret", "--export-secret-keys")
    run("gpgconf", "--kill", "all", env={**os.environ, "GNUPGHOME": str(home)})
    return home


class Root:
    """This machine's root without aragora, over a tmpfs; commands run in it with chroot."""

    def __init__(self):
        assert os.geteuid() == 0, "needs root: apt installs"
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="aragora-apt-", dir="/var/tmp"))
        run("bash", "-c", MOUNT, "mount", self.base, "", SOURCE)
        self.root = self.base / "root"
        run("bash", "-c", 'cd "$1" && mount -t proc proc proc && mount --rbind /dev dev && mount --make-rslave dev && rm -f etc/apt/sources.list etc/apt/sources.list.d/*', "mount", self.root)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for path in (self.root / "dev", self.root / "proc", self.root, self.base):
            run("umount", "-R", "-l", path, check=None)
        shutil.rmtree(self.base, ignore_errors=True)

    def run(self, text, check=0):
        result = run("chroot", self.root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "HOME=/root", "bash", "-c", text, check=check)
        return result.stdout + result.stderr


@contextlib.contextmanager
def served(folder):
    """The folder over HTTP on loopback; answers the address."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class Release(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="aragora-release-")))
        run("minisign", "-G", "-W", "-p", cls.folder / "minisign.pub", "-s", cls.folder / "minisign.key")
        cls.gnupg = make_key(cls.folder, "releases of a test")
        with postgres_database() as url:
            cls.first = cls.release("first", url)
        cls.version = re.search(r"VERSION ([0-9.]+)", (SOURCE / "CMakeLists.txt").read_text().split("project(")[1])[1]

    @classmethod
    def release(cls, name, postgres="", **environment):
        folder = cls.folder / name
        run(SOURCE / "scripts/release", "--minisign-key", cls.folder / "minisign.key", "--gpg-key", cls.gnupg / "secret", "--preset", PRESET, "--output", folder, "--dirty",
            *(["--postgres", postgres] if postgres else []), env={**os.environ, **environment})
        return folder

    def minisign(self, folder, check=0):
        return run("minisign", "-V", "-p", self.folder / "minisign.pub", "-m", folder / "SHA256SUMS", check=check)

    def copy(self, name):
        shutil.copytree(self.first, self.folder / name)
        return self.folder / name

    def test_everything_is_in_the_sums_and_the_sums_are_signed(self):
        self.assertIn(f"aragora {self.version} of ", self.minisign(self.first).stdout)
        run("sha256sum", "--strict", "-c", "SHA256SUMS", cwd=self.first)
        listed = {line.split("  ")[1] for line in (self.first / "SHA256SUMS").read_text().splitlines()}
        there = {str(path.relative_to(self.first)) for path in self.first.rglob("*") if path.is_file()}
        self.assertEqual(there - listed, {"SHA256SUMS", "SHA256SUMS.minisig"})
        tampered = self.copy("tampered")
        sums = tampered / "SHA256SUMS"
        good = sums.read_text()
        sums.write_text(good.replace(good[:8], "00000000", 1))
        self.assertIn("Signature verification failed", self.minisign(tampered, check=1).stderr)
        sums.write_text(good)
        with open(tampered / f"aragora_{self.version}_amd64.deb", "r+b") as file:
            file.seek(1000)
            file.write(b"x")
        run("sha256sum", "--strict", "-c", "SHA256SUMS", cwd=tampered, check=1)

    def test_what_it_refuses(self):
        keys = ["--minisign-key", self.folder / "minisign.key", "--gpg-key", self.gnupg / "secret"]
        for arguments, status, why in ((["--key", "x"], 64, "there is no --key"), (keys[:2], 66, "--gpg-key names no file"), ([*keys, "--dirty", "--output", self.first], 73, "is there already")):
            self.assertIn(why, run(SOURCE / "scripts/release", *arguments, check=status).stderr)

    def test_the_sources_are_all_there_and_nobodys(self):
        with tarfile.open(self.first / f"aragora-{self.version}.tar.gz") as sources:
            members = sources.getmembers()
            commit = sources.extractfile(f"aragora-{self.version}/.commit").read().decode().strip()
        names = {member.name.partition("/")[2] for member in members}
        for needed in ("CMakeLists.txt", "cli/main.cpp", "migrations/postgres/0001_debates.up.sql", "scripts/release", "deploy/debian/postinst", "LICENSE"):
            self.assertTrue(needed in names, needed)
        self.assertFalse([name for name in names if name.startswith((".git/", "build/", ".run/"))])
        self.assertEqual({(m.uid, m.gid, m.uname, m.gname, m.mode & 0o022) for m in members}, {(0, 0, "", "", 0)})
        self.assertEqual(len({m.mtime for m in members}), 1)
        self.assertTrue(commit)

    def test_the_bill_of_materials_names_what_is_linked_and_compiled_in(self):
        bill = json.loads((self.first / f"aragora-{self.version}.cdx.json").read_text())
        jsonschema.validate(bill, BILL)
        installed = self.folder / "installed"
        run("dpkg-deb", "-x", self.first / f"aragora_{self.version}_amd64.deb", installed)
        binary = installed / "usr/bin/aragora"
        self.assertEqual(bill["metadata"]["component"]["hashes"][0]["content"], run("sha256sum", binary).stdout.split()[0])
        named = {one["name"]: one for one in bill["components"]}
        depends = set(re.findall(r"^([a-z0-9.+-]+)", "\n".join(re.split(r",\s*", run("dpkg-deb", "-f", self.first / f"aragora_{self.version}_amd64.deb", "Depends").stdout)), re.M)) - {"systemd"}
        self.assertGreater(len(depends), 10)
        provided = {name: run("dpkg-query", "-W", "-f=${Provides}", name).stdout for name in named}
        self.assertEqual([one for one in depends - set(named) if not any(one in provides for provides in provided.values())], [], "what the package depends on")
        for name in ("libboost1.81-dev", "libcli11-dev", "libtomlplusplus-dev"):
            self.assertIn("compiled in", named[name]["properties"][-1]["value"])
        for name, one in named.items():
            self.assertEqual(one["version"], run("dpkg-query", "-W", "-f=${Version}", name if name.endswith("-dev") else f"{name}:amd64", check=None).stdout or run("dpkg-query", "-W", "-f=${Version}", name).stdout)
        refs = {bill["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in bill["components"])}
        self.assertLessEqual({ref for one in bill["dependencies"] for ref in (one["ref"], *one["dependsOn"])}, refs)
        licensed = [one for one in bill["components"] if "licenses" in one]
        self.assertGreater(len(licensed), len(bill["components"]) // 2)

    def test_the_notes_hold_the_changes_and_the_plan(self):
        notes = (self.first / f"aragora-{self.version}-upgrade.md").read_text()
        changes = (SOURCE / "CHANGELOG.md").read_text()
        entries = re.findall(r"(?ms)^- .*?(?=^- |^\n|\Z)", changes.split("\n## ")[1])
        self.assertGreater(len(entries), 100)
        self.assertEqual([entry for entry in entries if entry not in notes], [], "nothing cuts the section")
        self.assertEqual([entry for entry in entries if not entry.endswith(".\n")], [], "and no entry is cut")
        for migration in (SOURCE / "migrations/postgres").glob("*.up.sql"):
            self.assertIn("    " + migration.name.removesuffix(".up.sql"), notes)
        self.assertIn("locks: ShareUpdateExclusive", notes, "of PostgreSQL")
        self.assertIn("migrate down --to 0 --dry-run", notes)

    def test_apt_installs_and_upgrades_from_it_and_takes_nothing_that_is_anothers(self):
        second = self.release("second", PACKAGE_VERSION="9.1.0")
        repository = self.folder / "repository"
        shutil.copytree(self.first / "apt", repository)
        with Root() as root, served(repository) as address:
            sources = (repository / "aragora.sources").read_text().replace("https://packages.example.org/aragora/", address)
            (root.root / "etc/apt/sources.list.d/aragora.sources").write_text(sources)
            (root.root / "etc/apt/keyrings").mkdir(exist_ok=True)
            shutil.copy(repository / "aragora-archive-keyring.pgp", root.root / "etc/apt/keyrings")
            root.run("apt-get update")
            self.assertIn("aragora is installed and not running", root.run("apt-get install -y --no-install-recommends aragora"))
            self.assertIn(self.version, root.run("aragora version && man -w aragora 2>/dev/null; dpkg -V aragora"))

            def replace(source, *names):
                for path in source.iterdir():
                    if not names or path.name in names:
                        shutil.copy(path, repository / path.name)
                        os.utime(repository / path.name)

            def refused(why, text="apt-get update"):
                root.run("rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb")
                self.assertRegex(root.run(f"{text} -o APT::Update::Error-Mode=any", check=100), why)

            # The index of another release under this one's signature; another's signature; none at all; a package that was touched.
            replace(second / "apt", "Packages", "Packages.gz", "aragora_9.1.0_amd64.deb")
            refused("Hash Sum mismatch|unexpected size")
            replace(second / "apt")
            forger = make_key(self.folder, FORGER)
            (repository / "InRelease").unlink()
            (repository / "Release.gpg").unlink()
            gpg(forger, "--clearsign", "--output", repository / "InRelease", repository / "Release")
            refused("NO_PUBKEY|couldn't be verified")
            (repository / "InRelease").unlink()
            refused("is not signed")
            replace(second / "apt")
            with open(repository / "aragora_9.1.0_amd64.deb", "r+b") as file:
                file.seek(2000)
                file.write(b"forged")
            root.run("rm -rf /var/lib/apt/lists/*; apt-get update")
            refused("Hash Sum mismatch", "apt-get update >/dev/null; apt-get install -y --no-install-recommends aragora")
            self.assertIn(self.version, root.run("dpkg-query -W -f='${Version}' aragora"), "what was there stays")
            replace(second / "apt")
            root.run("rm -rf /var/lib/apt/lists/*; apt-get update && apt-get install -y --no-install-recommends --only-upgrade aragora")
            self.assertEqual(root.run("dpkg-query -W -f='${Version}' aragora"), "9.1.0")
            root.run("apt-get purge -y aragora")


if __name__ == "__main__":
    main()
