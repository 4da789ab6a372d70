"""Building from an archive in a folder: real apt, real packages, no network."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from implops import kit, machine
from implops.bundle import Bundle, artifacts, build, closure, latest, sources, verify
from implops.bundle.build import target_releases
from implops.cli.main import main
from implops.deploy import recipes
from implops.errors import DataError, GateRefused, InputError, KitError, MachineError, SiteError
from implops.site import Site, load
from implops.store import Store

DATE = "Mon, 05 Jan 2026 10:20:30 UTC"


class Archive:
    """An apt archive in a folder: ``add`` makes a package of a release, ``publish`` writes its index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stanzas: dict[str, list[str]] = {}

    def add(self, release: str, name: str, version: str, depends: str = "") -> None:
        place, tree = self.folder / release, self.folder / "tree" / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        place.mkdir(exist_ok=True)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@example.org>\n"
        control += f"Installed-Size: 8\nDepends: {depends}\n" if depends else "Installed-Size: 8\n"
        (tree / "DEBIAN" / "control").write_text(f"{control}Description: {name}\n", encoding="utf-8")
        (tree / "DEBIAN").chmod(0o755)
        file = place / f"{name}_{version.partition(':')[2] or version}_all.deb"
        subprocess.run(["dpkg-deb", "-Zgzip", "--build", "--root-owner-group", tree, file], check=True, stdout=-3)
        data = file.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        entry = f"{control}Filename: ./{file.name}\nSize: {len(data)}\nSHA256: {sha256}\nDescription: {name}\n more\n\n"
        self.stanzas.setdefault(release, []).append(entry)

    def publish(self) -> None:
        for release, stanzas in self.stanzas.items():
            index = "".join(stanzas).encode()
            (self.folder / release / "Packages").write_bytes(index)
            sums = f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
            head = f"Origin: Test\nSuite: {release}\nCodename: {release}\nDate: {DATE}\n"
            (self.folder / release / "Release").write_text(head + sums, encoding="utf-8")


@dataclass(frozen=True)
class Local:
    folder: Path
    suffix: str = ""

    def line(self, release: str) -> str:
        return f"deb [trusted=yes] file:{self.folder}/{release} ./"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    made = Archive(tmp_path / "archive")
    made.folder.mkdir()
    made.add("bookworm", "nginx", "1:1.22", "libc6 (>= 2.34), nginx-common (= 1:1.22)")
    made.add("bookworm", "nginx-common", "1:1.22")
    made.add("bookworm", "libc6", "2.36")
    made.add("bookworm", "restic", "0.14", "libc6")
    made.add("bookworm", "broken", "1", "libnope (>= 2)")
    made.add("trixie", "restic", "0.18", "libc6 (>= 2.34)")
    made.add("trixie", "libc6", "2.41")
    made.publish()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "configured", lambda: [Local(made.folder)])
    return made


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = tmp_path / "site"
    (folder / "release" / "schema").mkdir(parents=True)
    (folder / "site.yml").write_text(kit.annotated_site().read_text(encoding="utf-8"), encoding="utf-8")
    for name in ("his-1.0.0.war", "schema/001_base.sql", "schema/002_departments.sql"):
        (folder / "release" / name).write_text(f"-- {name}\n", encoding="utf-8")
    return load(folder / "site.yml")


Make = Callable[..., Bundle]


def _wanted() -> dict[str, list[str]]:
    return {"app1": ["nginx", "restic"], "db1": ["restic"]}


@pytest.fixture
def make(archive: Archive, site: Site) -> Make:
    def one(packages: dict[str, list[str]] | None = None, **options: object) -> Bundle:
        return build(site, _wanted() if packages is None else packages, artifacts(site), lambda line: None, **options)  # type: ignore[arg-type]

    return one


def test_a_host_gets_its_closure_and_its_files(make: Make, site: Site) -> None:
    bundle = make()
    hosts = bundle.manifest["hosts"]
    assert hosts["app1"] == {
        "release": "bookworm",
        "packages": ["nginx", "restic"],
        "debs": [
            "apt/libc6_2.36_all.deb",
            "apt/nginx-common_1.22_all.deb",
            "apt/nginx_1.22_all.deb",
            "apt/restic_0.18_all.deb",
        ],
        "files": ["files/his-1.0.0.war"],
    }
    assert hosts["db1"]["files"] == ["files/001_base.sql", "files/002_departments.sql"]
    assert hosts["dns1"] == {"release": "bookworm", "packages": [], "debs": [], "files": []}
    assert bundle.read("files/his-1.0.0.war") == b"-- his-1.0.0.war\n"
    assert bundle.manifest["dated"] == "2026-01-05T10:20:30+00:00"
    assert latest(site) == bundle.path


def test_restic_alone_comes_from_the_newer_release(make: Make) -> None:
    assert make().versions == {"libc6": "2.36", "nginx": "1:1.22", "nginx-common": "1:1.22", "restic": "0.18"}


def test_the_index_serves_apt_and_holds_no_text_for_people(make: Make) -> None:
    index = make().read("apt/Packages").decode()
    assert "Description" not in index
    assert "Filename: ./nginx_1.22_all.deb" in index
    assert "Depends: libc6 (>= 2.34), nginx-common (= 1:1.22)" in index


def test_unchanged_inputs_find_the_same_file_and_a_changed_one_makes_another(make: Make, site: Site) -> None:
    first = make()
    before = first.path.stat().st_ino
    assert make().path.stat().st_ino == before
    first.path.unlink()
    assert make().sha256 == first.sha256
    assert site.system
    site.system.artifact.write_bytes(b"-- his-1.0.0.waR\n")
    second = make()
    assert second.path != first.path
    assert latest(site) == second.path
    site.system.artifact.write_bytes(b"-- his-1.0.0.war\n")
    make()
    assert latest(site) == first.path


def test_a_damaged_bundle_or_cache_is_made_good(make: Make, tmp_path: Path) -> None:
    first = make()
    data = bytearray(first.path.read_bytes())
    data[-2000] ^= 1
    first.path.write_bytes(data)
    for deb in (tmp_path / "cache").glob("implops/debs/*/*.deb"):
        deb.write_bytes(bytes([deb.read_bytes()[0] ^ 1]) + deb.read_bytes()[1:])
    assert make().sha256 == first.sha256
    verify(first.path)


def test_a_build_that_fails_leaves_no_bundle(make: Make, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def ready(folder: Path, *, disk: int) -> None:
        if folder.name == "bundle" and site.system:
            site.system.artifact.write_bytes(b"-- changed after it was summed\n")

    monkeypatch.setattr(machine, "ready", ready)
    with pytest.raises(DataError) as raised:
        make()
    assert raised.value.key == "bundle.changed"
    assert list((site.state / "bundle").iterdir()) == []


def test_new_packages_come_with_a_refresh(make: Make, archive: Archive) -> None:
    make()
    archive.add("bookworm", "nginx", "1:1.24", "libc6")
    archive.publish()
    assert make().versions["nginx"] == "1:1.22"
    assert make(refresh=True).versions["nginx"] == "1:1.24"


def test_without_a_network_the_last_index_serves_and_none_is_an_error(make: Make, archive: Archive) -> None:
    first = make()
    hidden = archive.folder.rename(archive.folder.with_name("gone"))
    assert make(refresh=True).sha256 == first.sha256
    hidden.rename(archive.folder)
    closure_root = closure.cache() / "apt"
    closure_root.rename(closure_root.with_name("elsewhere"))
    archive.folder.rename(hidden)
    with pytest.raises(MachineError) as raised:
        make()
    assert raised.value.key == "bundle.no_index"


@pytest.mark.parametrize(("package", "named"), [("nosuch", "nosuch"), ("broken", "libnope (>= 2)")])
def test_a_package_that_the_release_lacks_is_named(make: Make, package: str, named: str) -> None:
    with pytest.raises(KitError) as raised:
        make({"db1": [package]})
    assert raised.value.key == "bundle.unresolved"
    assert named in str(raised.value)


@pytest.mark.parametrize("name", ["nginx-", "nginx=1", "nginx/trixie", "-o", "ng*x", "Nginx", ""])
def test_only_plain_package_names_reach_apt(make: Make, name: str) -> None:
    with pytest.raises(KitError) as raised:
        make({"db1": [name]})
    assert raised.value.key == "bundle.bad_package"


def test_this_machines_packages_do_not_count(make: Make) -> None:
    """libc6 is installed wherever these tests run; the bundle brings it all the same."""
    assert "libc6" in make({"db1": ["restic"]}).versions


def test_a_missing_file_of_the_release_is_refused_with_its_place(site: Site) -> None:
    assert site.system
    site.system.schema_[1].unlink()
    with pytest.raises(SiteError) as raised:
        artifacts(site)
    assert "site.yml system.schema[1]" in str(raised.value)
    assert "002_departments.sql" in str(raised.value)


def test_two_files_of_one_name_are_refused(site: Site) -> None:
    text = site.path.read_text(encoding="utf-8").replace("release/schema/002_departments.sql", "release/001_base.sql")
    (site.base / "release" / "001_base.sql").touch()
    site.path.write_text(text, encoding="utf-8")
    with pytest.raises(SiteError) as raised:
        artifacts(load(site.path))
    assert raised.value.key == "bundle.same_name"


def test_a_real_site_must_say_its_release(make: Make, site: Site, tmp_path: Path) -> None:
    text = site.path.read_text(encoding="utf-8")
    site.path.write_text(text[: text.index("\nlab:")], encoding="utf-8")
    real = load(site.path)
    with pytest.raises(InputError) as raised:
        build(real, {}, {}, lambda line: None)
    assert raised.value.key == "bundle.which_release"
    with pytest.raises(GateRefused):
        latest(real)
    text = real.path.read_text(encoding="utf-8").replace("major: 15", "major: 17").replace("jdk: {major: 17}", "")
    real.path.write_text(text.replace("web: {tomcat", "jdk: {major: 21}\nweb: {tomcat"), encoding="utf-8")
    real = load(real.path)
    trixie = target_releases(real, ["trixie"])
    assert build(real, {"db1": ["restic"]}, {}, lambda line: None, release=trixie).versions["libc6"] == "2.41"


def test_hosts_of_two_releases_get_their_own_packages_from_one_bundle(make: Make, site: Site) -> None:
    text = site.path.read_text(encoding="utf-8")
    site.path.write_text(text.replace("  release: bookworm\n", "  release: bookworm\n  releases: {sto1: trixie}\n"))
    bundle = build(load(site.path), {"db1": ["restic"], "sto1": ["restic"]}, {}, lambda line: None)
    assert bundle.releases == ["bookworm", "trixie"]
    assert bundle.for_host("db1")["debs"] == ["apt/libc6_2.36_all.deb", "apt/restic_0.18_all.deb"]
    assert bundle.for_host("sto1")["debs"] == ["apt/libc6_2.41_all.deb", "apt/restic_0.18_all.deb"]
    assert bundle.versions == {"libc6": "2.36 2.41", "restic": "0.18"}


@pytest.mark.parametrize(
    ("given", "seen", "found"),
    [
        (["trixie", "db1=bookworm"], {}, "app1"),  # JDK 17 is asked for, and Debian 13 has 21
        (["bookworm", "sto1=trixie"], {}, {"sto1": "trixie", "db1": "bookworm"}),
        ([], dict.fromkeys(("db1", "app1", "dns1", "sto1"), "bookworm"), {"db1": "bookworm"}),
        ([], {"db1": "bookworm", "app1": "—"}, "app1"),
        (["bookworm", "db9=trixie"], {}, "db9"),
        ([], {"db1": "buster"}, "buster"),
    ],
)
def test_releases_are_given_or_seen_and_refused_with_the_host(
    site: Site, given: list[str], seen: dict[str, str], found: str | dict[str, str]
) -> None:
    text = site.path.read_text(encoding="utf-8")
    site.path.write_text(text[: text.index("\nlab:")], encoding="utf-8")
    if isinstance(found, str):
        with pytest.raises(InputError, match=found):
            target_releases(load(site.path), given, seen)
    else:
        assert found.items() <= target_releases(load(site.path), given, seen).items()


def test_what_a_killed_build_left_is_used_or_goes(make: Make, site: Site) -> None:
    first = make()
    debs = {
        deb.file: closure.stored(deb) for deb in closure.resolve("bookworm", _wanted(), lambda line: None).debs.values()
    }
    arriving = closure.cache() / "apt" / "bookworm-amd64" / "fetch"
    arriving.mkdir()
    debs["nginx_1.22_all.deb"].rename(arriving / "nginx_1%3a1.22_all.deb")
    debs["libc6_2.36_all.deb"].rename(arriving / "libc6_2.36_all.deb")
    with (arriving / "libc6_2.36_all.deb").open("r+b") as half:
        half.truncate(100)
    part = first.path.with_suffix(".part")
    first.path.rename(part)
    fetched: list[str] = []
    assert build(site, _wanted(), artifacts(site), fetched.append).sha256 == first.sha256
    assert any(f" {debs['libc6_2.36_all.deb'].stat().st_size} B" in line for line in fetched)
    assert not part.exists()
    assert not arriving.exists()


@pytest.fixture
def implops(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setattr(recipes, "packages", lambda site: _wanted())
    monkeypatch.setenv("IMPLOPS_OPERATOR", "张工/1042")
    monkeypatch.setenv("IMPLOPS_LANG", "zh-Hans")

    def run(*arguments: str | Path) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


Run = Callable[..., int]


def test_the_verb_records_what_it_built(implops: Run, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert implops("bundle", "build", site.path, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    path = latest(site)
    assert answer["built"] is True
    assert answer["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    (event,) = Store.of(site.state).events(kind="bundle.finished")
    assert event.run == answer["run"]
    assert event.payload["conclusion"] == "pass"
    assert event.payload["file"] == path.name
    assert event.payload["packages"]["restic"] == "0.18"
    assert event.payload["artifacts"]["files/his-1.0.0.war"]["kind"] == "artifact"
    assert implops("bundle", "build", site.path) == 0
    said = capsys.readouterr()
    assert path.name in said.out
    assert "内容未变" in said.err
    assert implops("bundle", "verify", site.path) == 0
    assert "与制作记录一致" in capsys.readouterr().out


def test_the_verbs_refuse_with_one_line(implops: Run, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert implops("bundle", "verify", site.path) == 5
    assert "implops bundle build" in capsys.readouterr().err
    assert implops("bundle", "build", site.path, "--release", "buster") == 2
    assert "bookworm trixie" in capsys.readouterr().err
    assert site.system
    site.system.artifact.unlink()
    assert implops("bundle", "build", site.path) == 2
    error = capsys.readouterr().err
    assert "site.yml system.artifact" in error
    assert len(error.splitlines()) == 1
    assert Store.of(site.state).events() == []
