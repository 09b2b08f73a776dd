"""scripts/security: this source and this binary pass, whatever is planted is found, and what was not looked at is not called well."""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from support import BINARY, SOURCE, main

SCRIPT = SOURCE / "scripts/security"
STALE = "Mon, 05 Jan 2026 10:00:00 UTC"


class Security(unittest.TestCase):
    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="aragora-security-"))
        self.addCleanup(shutil.rmtree, self.place)

    def look(self, *arguments, status, root=None, **environment):
        result = subprocess.run([SCRIPT, "--root", root or self.place, "--binary", BINARY, *arguments], capture_output=True, text=True, timeout=300, env={**os.environ, **environment})
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        return result.stdout

    def plant(self, name, text):
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def test_this_source_and_this_binary(self):
        """All of it, where nobody knows Debian's security archive: what could not be looked at is not called well, whatever else is."""
        apt, _, _ = self.archive({})
        shutil.rmtree(self.place / "lists")
        (self.place / "lists/partial").mkdir(parents=True)
        out = self.look(status=69, root=SOURCE, **apt)
        self.assertRegex(out, r"(?m)^- advisories: could not verify: no list of Debian's security archive")
        self.assertEqual(set(re.findall(r"(?m)^✓ (\w+)", out)), {"secrets", "binary", "shell", "spelling", "yaml", "containers", "cppcheck"}, out)
        counted = {part: int(number) for part, number in re.findall(r"(?m)^✓ (\w+): (?:\S+/aragora, )?(\d+) ", out)}
        for part, least in (("secrets", 900), ("binary", 9), ("shell", 14), ("spelling", 800), ("yaml", 2), ("cppcheck", 300)):
            self.assertGreaterEqual(counted[part], least, out)

    def test_a_planted_secret_is_found_and_not_repeated(self):
        planted = {"a.cpp": "const char* key = \"sk-ant-" + "api03-" + "x" * 24 + "\";\n", "b/c.env": "JWT_" + "SECRET=" + "0f" * 20 + "\n",
                   "d.md": "postgresql://aragora:" + "hunter2hunter2@db/aragora\n", "e.pem": "-----BEGIN " + "PRIVATE KEY-----\n", "f with blank.txt": "ghp_" + "a" * 36 + "\n",
                   "g.age": "AGE-SECRET-" + "KEY-1" + "Q" * 58 + "\n"}
        for name, text in planted.items():
            self.plant(name, text)
        self.plant("innocent.md", "postgresql://user:password@host/name, key_file = \"/etc/aragora/credentials/KEY\"\n")
        out = self.look("secrets", status=1)
        for name in planted:
            self.assertIn(f"{name}:1: looks like a secret", out)
        self.assertNotIn("innocent", out)
        for text in planted.values():
            self.assertNotIn(text.strip(), out)

    def test_what_is_wrong_in_files_is_found(self):
        self.plant("run.sh", "#!/bin/bash\nrm -rf $1/*\n")
        self.plant("text.md", "an occ" + "ured er" + "or\n")
        self.plant("bad.yml", "a: 1\na: 2\n")
        self.plant("common/x.cpp", "int f() { int* p = nullptr; return *p; }\n")
        self.plant("Dockerfile", "FROM debian\nENV API_TOKEN=abc\nRUN curl https://x | sh\n")
        self.plant("compose.yaml", "services: {a: {image: redis, privileged: true, environment: {DB_PASSWORD: x}}}\n")
        out = self.look("shell", "spelling", "yaml", "cppcheck", "containers", status=1)
        for said in ("run.sh:2:", "text.md:1:", "bad.yml:2:", "common/x.cpp:1: error nullPointer", "a base without a tag", "its last USER is root", "fetches and runs", "bakes a secret in",
                     "is privileged", "takes whatever redis is", "a secret in its environment: DB_PASSWORD"):
            self.assertIn(said, out)
        self.assertNotIn("✓", out)

    def test_a_binary_without_hardening_is_found(self):
        self.plant("soft.c", '#include <string.h>\nint main(int n, char** v) { char b[8]; strcpy(b, v[n - 1]); return b[0]; }\n')
        soft = self.place / "soft"
        subprocess.run(["gcc", "-O1", "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-no-pie", "-z", "execstack", "-z", "norelro", "-z", "lazy", "-Wl,-rpath,/tmp", "-o", soft, self.place / "soft.c"], check=True, capture_output=True)
        result = subprocess.run([SCRIPT, "--root", self.place, "--binary", soft, "binary"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 1)
        for said in ("not position independent", "relocations stay writable", "bound late", "stack is executable", "RPATH", "no stack protector", "not fortified"):
            self.assertIn(said, result.stdout)

    def test_a_program_that_is_missing_fails(self):
        tools = self.place / "bin"
        tools.mkdir()
        for name in ("bash", "env", "dirname", "realpath", "git", "grep", "sed", "find", "head", "tr", "cat"):
            (tools / name).symlink_to(shutil.which(name))
        out = self.look("shell", "spelling", "yaml", "cppcheck", "binary", status=1, PATH=str(tools))
        for name in ("shellcheck", "codespell", "yamllint", "cppcheck", "readelf"):
            self.assertIn(f"{name} is missing", out)
        self.assertNotIn("✓", out)

    def archive(self, versions, date=None):
        """Lists of a security archive as `apt-get update` leaves them, with these versions; the environment that has apt read them."""
        architecture = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
        name = "lists/deb.debian.org_debian-security_dists_bookworm-security"
        text = "".join(f"Package: {package}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: nobody\nFilename: pool/{package}.deb\nSize: 1\nSHA256: {'0' * 64}\nDescription: x\n\n"
                       for package, version in versions.items())
        date = date or time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime())
        self.plant(f"{name}_InRelease", f"Origin: Debian\nSuite: stable-security\nCodename: bookworm-security\nDate: {date}\nSHA256:\n"
                                        f" {hashlib.sha256(text.encode()).hexdigest()} {len(text):8} main/binary-{architecture}/Packages\n")
        self.plant(f"{name}_main_binary-{architecture}_Packages", text)
        self.plant("lists/partial/lock", "")
        self.plant("sources.list", "deb http://deb.debian.org/debian-security bookworm-security main\n")
        self.plant("apt.conf", f'Dir::State::lists "{self.place}/lists";\nDir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
                               f'Dir::Etc::sourcelist "{self.place}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n')
        return {"APT_CONFIG": str(self.place / "apt.conf")}, self.place / f"{name}_main_binary-{architecture}_Packages", self.place / f"{name}_InRelease"

    def test_advisories_name_what_is_mended_and_pass_what_is_not_concerned(self):
        have = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "libc6"], check=True, capture_output=True, text=True).stdout
        mended = have + "+deb99u1"
        apt, _, _ = self.archive({"libc6": mended, "not-loaded-by-it": "99"})
        out = self.look("advisories", status=1, **apt)
        self.assertIn(f"libc6: {have} is installed, {mended} is there\n", out)
        self.assertIn("1 lines of findings", out)
        self.assertNotIn("not-loaded-by-it", out)
        apt, packages, _ = self.archive({"libc6": have, "libstdc++6": "0.1", "not-loaded-by-it": "99"})
        self.assertRegex(self.look("advisories", status=0, **apt), r"✓ advisories: \d+ packages that the binary loads, as new as the security archive of 0 days ago")
        # As apt keeps them where it is told to: Debian's images are.
        self.archive({"libc6": mended})
        subprocess.run(["gzip", packages], check=True)
        self.assertIn(mended, self.look("advisories", status=1, **apt))

    def test_advisories_need_lists_that_are_there_whole_and_fresh(self):
        apt, packages, index = self.archive({"libc6": "99", "zlib1g": "99"}, STALE)
        shutil.rmtree(self.place / "lists")
        (self.place / "lists/partial").mkdir(parents=True)
        out = self.look("advisories", status=69, **apt)
        self.assertIn("could not verify", out)
        self.assertNotIn("✓", out)
        self.archive({"libc6": "0.1"}, STALE)
        self.assertIn("days old", self.look("advisories", status=69, **apt))
        # Whatever is cut, nothing is called new.
        for file in (packages, index):
            for left in (0.5, 0):
                self.archive({"zlib1g": "0.1", "libc6": "99"})
                os.truncate(file, int(file.stat().st_size * left))
                out = self.look("advisories", status=69, **apt)
                self.assertIn("not what Debian's security archive signed", out)
                self.assertNotIn("✓", out)
        self.archive({"libc6": "99"})
        index.unlink()
        self.assertIn("not what Debian's security archive signed", self.look("advisories", status=69, **apt))

    def test_a_part_that_there_is_not(self):
        self.assertEqual(subprocess.run([SCRIPT, "secret"], capture_output=True).returncode, 64)


if __name__ == "__main__":
    main()
