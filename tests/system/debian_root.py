"""Root file systems of Debian packages, for images: of the packages as they are installed on this machine, which takes seconds
where a download and an installation take a minute. No maintainer script runs; what theirs would have made and is needed is here."""
import os
import pathlib
import re
import subprocess

ESSENTIAL = ("apt", "debian-archive-keyring")
KEPT_OUT = re.compile(r"/usr/share/(doc/.*/(?!copyright$)[^/]*$|doc/[^/]*/[^/]*/|man/|info/|locale/|lintian/)|/usr/lib/systemd/system/.*\.wants/")  # as the slim image
FIELDS = ("Package", "Status", "Essential", "Provides", "Pre-Depends", "Depends")


def installed():
    """Name → (names it depends on, each a list of alternatives, essential)."""
    listed = subprocess.run(["dpkg-query", "-W", "-f", "".join(f"${{{field}}}\x1f" for field in FIELDS) + "\n"], check=True, capture_output=True, text=True).stdout
    packages, provided = {}, {}
    for line in listed.splitlines():
        name, status, essential, provides, *needs = line.split("\x1f")[:len(FIELDS)]
        if not status.endswith(" installed"):
            continue
        packages[name] = ([[re.split(r"[ :(]", one.strip())[0] for one in need.split("|")] for need in ", ".join(filter(None, needs)).split(", ") if need], essential == "yes")
        for virtual in filter(None, provides.split(", ")):
            provided.setdefault(virtual.split()[0], name)
    return packages, provided


def closure(wanted):
    packages, provided = installed()
    found, open_ = set(), [name for name, (_, essential) in packages.items() if essential] + [*ESSENTIAL, *wanted]
    while open_:
        name = open_.pop()
        if name in found:
            continue
        assert name in packages, f"{name} is not installed: scripts/install-packages test"
        found.add(name)
        for alternatives in packages[name][0]:
            here = next((one for one in alternatives if one in packages), None) or next((provided[one] for one in alternatives if one in provided), None)
            assert here, f"{name} depends on {alternatives}, which are not installed"
            open_.append(here)
    return found


def database(packages, users):
    """What dpkg knows of these packages, and who is there."""
    entries = re.findall(r"^Package: (\S+)\n(.*?)\n(?:\n|\Z)", pathlib.Path("/var/lib/dpkg/status").read_text(), re.M | re.S)
    yield "var/lib/dpkg/status", "".join(f"Package: {name}\n{rest}\n\n" for name, rest in entries if name in packages)
    yield "var/lib/dpkg/info/format", "1\n"
    for name in ("passwd", "group"):
        here = [line for line in pathlib.Path(f"/etc/{name}").read_text().splitlines(True) if line.split(":")[0] in users]
        yield f"etc/{name}", pathlib.Path(f"/usr/share/base-passwd/{name}.master").read_text() + "".join(here)
    yield "etc/dpkg/dpkg.cfg.d/docker", "path-exclude /usr/share/man/*\npath-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\nforce-unsafe-io\n"


def alternatives(root):
    """The links that update-alternatives makes, where they lead to something here."""
    for file in pathlib.Path("/var/lib/dpkg/alternatives").iterdir():
        link, chosen = pathlib.Path(file.read_text().splitlines()[1]), pathlib.Path("/etc/alternatives", file.name)
        if chosen.is_symlink() and (root / os.readlink(chosen).lstrip("/")).exists() and not os.path.lexists(root / str(link).lstrip("/")):
            yield link, chosen
            yield chosen, os.readlink(chosen)


def make(root, *wanted, users=()):
    """Fills the directory `root` with these packages and all that they depend on, and with these users of this machine."""
    root = pathlib.Path(root)
    packages = closure(wanted)
    root.mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    names = subprocess.run(["dpkg-query", "-L", *packages], check=True, capture_output=True, text=True).stdout.splitlines()
    names += [str(file) for file in pathlib.Path("/var/lib/dpkg/info").iterdir() if file.stem.split(":")[0] in packages]
    names += map(str, [*pathlib.Path("/etc/apt").glob("sources.list"), *pathlib.Path("/etc/apt/sources.list.d").glob("*.*")])
    files = {re.sub(r"^/(bin|sbin|lib|lib64)/", r"/usr/\1/", name) for name in names if name.startswith("/")}
    files = sorted(file[1:] for file in files if not KEPT_OUT.search(file) and os.path.lexists(file) and not re.fullmatch(r"/(\.|bin|sbin|lib|lib64|sys|proc|dev)?", file))
    copied = subprocess.run(["bash", "-c", 'set -o pipefail; tar -C / --no-recursion --null -T - -c | tar -C "$0" -x', root], input="\0".join(files).encode(), capture_output=True)
    assert copied.returncode == 0, copied.stderr.decode()[-2000:]
    for name, text in database(packages, users):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for link, target in list(alternatives(root)):
        (root / str(link).lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / str(link).lstrip("/")).symlink_to(target)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    for name in ("proc", "sys", "dev", "usr/local/bin", "usr/local/share"):
        (root / name).mkdir(parents=True, exist_ok=True)
    subprocess.run(["bash", "-e", "-c", "chroot . /sbin/ldconfig; chroot . /usr/sbin/pwconv; chroot . /usr/sbin/grpconv"], cwd=root, check=True, capture_output=True)
    return root
