"""Which .deb files a host needs: apt resolves them in a root of its own, never with this machine's package state.

The root's list of installed packages is empty, so the closure is full: it holds libc6 and bash too. That costs a tenth
of the file (measured for a site with database, application and DNS: 27 of 259 MB), and a customer's host that is
older than the archive can still be served; ``push`` sends a host only what its own apt would install.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path

from implops import texts
from implops.bundle import sources
from implops.bundle.apt import complaint
from implops.errors import KitError, MachineError
from implops.site.part import ARCH
from implops.units import format_size

Say = Callable[[str], None]
RELEASES = ("bookworm", "trixie")
# restic 0.14 of bookworm lacks what the backup engine needs; trixie's 0.18 wants nothing but glibc 2.34.
BORROWED = {"bookworm": {"restic": "trixie"}}
INDEX_SECONDS = 24 * 3600.0
APT_SECONDS = 1800.0
# Texts for people: a target never shows them, and they are most of an index.
_DROPPED = ("Description", "Description-md5", "Homepage", "Tag", "Maintainer", "MD5sum", "SHA1", "Built-Using")
# apt reads more into a word: ``name-`` removes, ``name=1`` and ``name/suite`` choose, ``name*`` matches.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+]")
_INSTALL = re.compile(r"Inst (\S+) (?:\[\S+\] )?\((\S+) .*\[([a-z0-9]+)\]\)", re.MULTILINE)


@dataclass(frozen=True)
class Deb:
    """One package file: ``file`` its name, ``size`` in bytes, ``stanza`` its entry in an index (without Filename)."""

    package: str
    version: str
    file: str
    size: int
    sha256: str
    stanza: str


@dataclass(frozen=True)
class Closure:
    """``hosts``: names of the files that each host needs; ``dated``: time of the newest package index (RFC 3339);
    ``origins``: who signed the indexes as what (``Debian bookworm-updates``).
    """

    release: str
    dated: str
    origins: list[str]
    debs: dict[str, Deb]
    hosts: dict[str, list[str]]


def cache() -> Path:
    """``implops/`` in the user's cache folder (XDG)."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "implops"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def stored(deb: Deb) -> Path:
    """Where the cache keeps a package file: by content."""
    return cache() / "debs" / deb.sha256[:2] / f"{deb.sha256}.deb"


def resolve(release: str, packages: dict[str, list[str]], say: Say, *, refresh: bool = False) -> Closure:
    """The closure of every host's ``packages`` for a Debian release.

    The package index is fetched when it is older than a day, or with ``refresh``; without network an older one serves.
    Raises MachineError when apt cannot work here, KitError when the release has no such package.
    """
    for package in sorted({one for wanted in packages.values() for one in wanted}):
        if not _PACKAGE.fullmatch(package):
            raise KitError("bundle.bad_package", name=package)
    with _root(release) as root:
        root.update(say, refresh)
        key = hashlib.sha256(json.dumps([root.digest(), packages, BORROWED, ARCH, 2]).encode()).hexdigest()
        kept = root.folder / f"closure-{key[:16]}.json"
        if kept.is_file():
            return _loads(kept.read_text(encoding="utf-8"))
        found = {host: root.install(wanted) if wanted else [] for host, wanted in packages.items()}
        debs = root.describe(sorted({one for chosen in found.values() for one in chosen}))
        hosts = {host: sorted(debs[one].file for one in chosen) for host, chosen in found.items()}
        files = {deb.file: deb for deb in debs.values()}
        closure = Closure(release, root.dated(), root.origins(), dict(sorted(files.items())), hosts)
        part = kept.with_suffix(".part")
        part.write_text(json.dumps(asdict(closure)), encoding="utf-8")
        part.rename(kept)
        return closure


def _fields(path: Path, *names: str) -> list[str]:
    """Fields of a Release file, those that it has."""
    text = path.read_text(encoding="utf-8")
    found = [re.search(rf"^{name}: (.+)$", text, re.MULTILINE) for name in names]
    return [one[1].strip() for one in found if one]


def _loads(text: str) -> Closure:
    value = json.loads(text)
    return Closure(**{**value, "debs": {name: Deb(**deb) for name, deb in value["debs"].items()}})


def download(closure: Closure, say: Say) -> int:
    """Fetch what the cache lacks (or holds damaged); the number of bytes fetched. Raises MachineError."""
    with _root(closure.release) as root:
        arriving = root.folder / "fetch"
        arriving.mkdir(exist_ok=True)
        _adopt(arriving, closure)  # what a fetch that was cut off left whole
        missing = [deb for deb in closure.debs.values() if not _intact(deb)]
        total = sum(deb.size for deb in missing)
        if missing:
            root.fetch(missing, arriving, lambda done: say(_progress(done, total)))
            _adopt(arriving, closure)
        shutil.rmtree(arriving)
    for deb in missing:
        if not _intact(deb):
            raise MachineError("bundle.fetch", why=deb.file)
    return total


def _adopt(folder: Path, closure: Closure) -> None:
    """Move the package files of ``closure`` that lie whole in ``folder`` to their places in the cache."""
    known = {deb.sha256: deb for deb in closure.debs.values()}
    for path in folder.glob("*.deb"):
        if deb := known.get(_sha256(path)):
            stored(deb).parent.mkdir(parents=True, exist_ok=True)
            path.replace(stored(deb))


def _progress(percent: float, total: int) -> str:
    done = format_size(total * percent / 100)
    return texts.say("bundle.progress", percent=int(percent), done=done, total=format_size(total))


def _intact(deb: Deb) -> bool:
    path = stored(deb)
    return path.is_file() and path.stat().st_size == deb.size and _sha256(path) == deb.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def index(debs: list[Deb]) -> bytes:
    """The ``Packages`` file of a folder that holds ``debs``."""
    return "".join(f"{deb.stanza}Filename: ./{deb.file}\n\n" for deb in debs).encode()


@contextmanager
def _root(release: str) -> Iterator[_Root]:
    """The apt root of a release in the cache, locked: two builds at once would spoil each other's lists."""
    folder = cache() / "apt" / f"{release}-{ARCH}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _Root(release, folder)


class _Root:
    def __init__(self, release: str, folder: Path) -> None:
        self.release, self.folder = release, folder
        etc = [f"etc/apt/{part}.d" for part in ("apt.conf", "sources.list", "preferences")]
        for place in (*etc, "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"):
            (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / "var/lib/dpkg/status").touch()
        self.lists = folder / "var/lib/apt/lists"
        self.conf = folder / "apt.conf"
        self.conf.write_text(self._configuration(), encoding="utf-8")
        (folder / "etc/apt/preferences").write_text(self._preferences(), encoding="utf-8")

    def _configuration(self) -> str:
        # Proxies and the like are this machine's; everything else of its apt configuration stays out.
        done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
        own = re.findall(r"^Acquire::(?:https?|Retries|ForceIPv|Check-).*$", done.stdout, re.MULTILINE)
        return "\n".join([
            *own, f'Dir "{self.folder}";', f'Dir::State::status "{self.folder}/var/lib/dpkg/status";',
            f'APT::Architecture "{ARCH}";', f'APT::Architectures {{ "{ARCH}"; }};', 'APT::Sandbox::User "";',
            'APT::Install-Recommends "false";', 'APT::Update::Error-Mode "any";', 'Acquire::Languages "none";', "",
        ])  # fmt: skip

    def _preferences(self) -> str:
        stanzas = []
        for package, other in BORROWED.get(self.release, {}).items():
            stanzas += [f"Package: *\nPin: release n={other}\nPin-Priority: -1\n"]
            stanzas += [f"Package: {package}\nPin: release n={other}\nPin-Priority: 990\n"]
        return "\n".join(stanzas)

    def _run(self, *argv: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                argv,
                env=self._environment(),
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=APT_SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise MachineError("bundle.no_apt", program=argv[0]) from None
        except subprocess.TimeoutExpired:
            raise MachineError("bundle.fetch", why=f"{int(APT_SECONDS)} s") from None

    def _environment(self) -> dict[str, str]:
        proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        path = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        return {"PATH": path, "LC_ALL": "C.UTF-8", "APT_CONFIG": str(self.conf), **proxies}

    def update(self, say: Say, refresh: bool) -> None:
        """Fetch the package index when it is missing, old, of other sources, or when asked to."""
        lines = [one.line(self.release) for one in sources.configured()]
        others = sorted(set(BORROWED.get(self.release, {}).values()))
        lines += [one.line(other) for other in others for one in sources.configured() if one.suffix == ""]
        text, path, stamp = "\n".join(lines) + "\n", self.folder / "etc/apt/sources.list", self.folder / "updated"
        same = path.is_file() and path.read_text(encoding="utf-8") == text
        age = time.time() - stamp.stat().st_mtime if stamp.is_file() and same else None
        if age is not None and 0 <= age < INDEX_SECONDS and not refresh:
            return
        if not same:
            stamp.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
        say(texts.say("bundle.updating", release=self.release))
        done = self._run("apt-get", "update", "-q")
        if done.returncode == 0:
            stamp.touch()
        elif age is not None:
            say(texts.say("bundle.old_index", dated=self.dated(), why=complaint(done.stderr)))
        else:
            raise MachineError("bundle.no_index", release=self.release, why=complaint(done.stderr))

    def digest(self) -> str:
        """What the index holds, not where it came from."""
        return hashlib.sha256("".join(sorted(_sha256(path) for path in self._signed())).encode()).hexdigest()

    def dated(self) -> str:
        dates = [re.search(r"^Date: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE) for path in self._signed()]
        newest = max(parsedate_to_datetime(found[1]) for found in dates if found)
        return newest.astimezone(UTC).isoformat(timespec="seconds")

    def origins(self) -> list[str]:
        """What the indexes say of themselves, under the signature that apt has checked."""
        return sorted({" ".join(_fields(path, "Label", "Codename")) for path in self._signed()})

    def _signed(self) -> list[Path]:
        return sorted(self.lists.glob("*Release"))

    def install(self, packages: list[str]) -> list[str]:
        """``package=version`` of everything that an empty system would install for ``packages``."""
        done = self._run("apt-get", "install", "-s", "-q", "-y", "--", *packages)
        if done.returncode:
            raise KitError("bundle.unresolved", release=self.release, why=complaint(done.stdout + done.stderr))
        return [f"{name}={version}" for name, version, _ in _INSTALL.findall(done.stdout)]

    def describe(self, chosen: list[str]) -> dict[str, Deb]:
        done = self._run("apt-cache", "show", "--", *chosen)
        debs = {}
        for text in done.stdout.strip().split("\n\n"):
            fields = dict(re.findall(r"^([A-Za-z0-9-]+): ((?:.|\n )*)$", text, re.MULTILINE))
            kept = {name: value for name, value in fields.items() if name not in (*_DROPPED, "Filename")}
            one = f"{fields['Package']}={fields['Version']}"
            stanza = "".join(f"{name}: {value}\n" for name, value in kept.items())
            name = fields["Filename"].rpartition("/")[2]
            debs[one] = Deb(fields["Package"], fields["Version"], name, int(fields["Size"]), fields["SHA256"], stanza)
        if set(debs) != set(chosen):
            raise MachineError("bundle.fetch", why=" ".join(sorted(set(chosen) ^ set(debs)))[:200])
        return debs

    def fetch(self, debs: list[Deb], folder: Path, progress: Callable[[float], None]) -> None:
        """Download into ``folder``; apt checks every file against the signed index. ``progress`` gets percent."""
        names = [f"{deb.package}={deb.version}" for deb in debs]
        with tempfile.TemporaryFile("w+") as said, subprocess.Popen(
            ["apt-get", "download", "-qq", "-o", "APT::Status-Fd=1", "--", *names],
            env=self._environment(), cwd=folder, stdout=subprocess.PIPE, stderr=said, text=True,
        ) as apt:  # fmt: skip
            last = time.monotonic()
            try:
                for line in apt.stdout or ():
                    found = re.match(r"dlstatus:[0-9]+:([0-9.]+):", line)
                    if found and time.monotonic() - last > 2:
                        last = time.monotonic()
                        progress(float(found[1]))
            except BaseException:
                apt.kill()  # an interrupted build does not wait for the rest
                raise
            if apt.wait():
                said.seek(0)
                raise MachineError("bundle.fetch", why=complaint(said.read()))
