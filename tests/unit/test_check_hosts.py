"""Checks of one host on recorded answers with a few lines changed: Java, certificate, leftovers, arrays, settings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import recordings as rec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from implops.check.limits import Limits
from implops.deploy.recipes import planned
from implops.errors import KitError
from implops.facts.arrays import _maps
from implops.facts.software import Software
from implops.site import Site, load


def edited(example: Path, *pairs: tuple[str, str]) -> Site:
    text = example.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    example.write_text(text, encoding="utf-8")
    return load(example)


JAVA = [
    (17, ['/usr/lib/jvm/java-17-openjdk-amd64 "17.0.9"|"x86_64"|"Debian"'], [], "pass", ""),
    (8, ['/usr/lib/jvm/java-17-openjdk-amd64 "17.0.9"|"x86_64"|"Debian"'], [], "fail", ""),
    (8, ['/opt/jdk8 "1.8.0_151"|"amd64"|'], [], "fail", ""),
    (8, ['/opt/jdk8 "1.8.0_392"|"amd64"|"Temurin"'], [], "pass", ""),
    (8, ['/opt/jdk8 "1.8.0_392"|"aarch64"|"Temurin"'], [], "fail", ""),
    (8, ['/opt/jdk8 "1.8.0_392"|"amd64"|', '/opt/jdk17 "17.0.9"|"x86_64"|'], ["JAVA_HOME=/opt/jdk17"], "warn",
     "java_home"),
    (8, ['/opt/jdk8 "1.8.0_392"|"amd64"|'], ['export JAVA_HOME="/opt/jdk8/"'], "pass", ""),
]  # fmt: skip


@pytest.mark.parametrize(("major", "jdks", "homes", "state", "note"), JAVA, ids=range(len(JAVA)))
def test_java(site: Site, major: int, jdks: list[str], homes: list[str], state: str, note: str) -> None:
    assert site.jdk
    mine = site.model_copy(update={"jdk": site.jdk.model_copy(update={"major": major})})
    changed = rec.changed("deployed", "app1", "software", {"jdk": jdks, "java_home": homes, "java": "-"})
    made = rec.scene(site, "deployed", **changed)
    found = rec.one(rec.Scene(mine, made.seen, [], {}, made.limits), "APP01", "app1")
    assert (found.state, found.result.note) == (state, note)


def test_another_java_first_in_the_path(site: Site) -> None:
    changed = rec.changed("deployed", "app1", "software", {"java": "/opt/jdk11/bin/java"})
    assert rec.one(rec.scene(site, "deployed", **changed), "APP01", "app1").result.note == "other_java_first"


def make_pair(folder: Path, *, names: list[str], days: int, other: bool = False, password: bytes | None = None) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "his.his.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now - timedelta(days=400))
    builder = builder.not_valid_after(now + timedelta(days=days, hours=1))
    if names:
        listed = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
        builder = builder.add_extension(listed, critical=False)
    folder.mkdir(exist_ok=True)
    (folder / "site.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    kept = ec.generate_private_key(ec.SECP256R1()) if other else key
    how = BestAvailableEncryption(password) if password else NoEncryption()
    path = folder / "site.key"
    path.touch(mode=0o600)
    path.write_bytes(kept.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))


TLS = (
    "web: {tomcat: 10, heap: 512 MiB, proxy: nginx, port: 80",
    "web: {tls: {cert: tls/site.pem, key: file:tls/site.key}, tomcat: 10, heap: 512 MiB, proxy: nginx, port: 80",
)


@pytest.mark.parametrize(
    ("given", "target", "state"),
    [
        ({"names": ["his.his.example"], "days": 90}, None, "pass"),
        ({"names": ["*.his.example"], "days": 90}, None, "pass"),
        ({"names": ["his.his.example"], "days": 90, "other": True}, "key", "fail"),
        ({"names": ["his.his.example"], "days": -1}, "notAfter", "fail"),
        # An hour more than so many days; 30 are wanted, one is needed.
        ({"names": ["his.his.example"], "days": 30}, "notAfter", "pass"),
        ({"names": ["his.his.example"], "days": 29}, "notAfter", "warn"),
        ({"names": ["his.his.example"], "days": 1}, "notAfter", "warn"),
        ({"names": ["his.his.example"], "days": 0}, "notAfter", "fail"),
        ({"names": ["other.example"], "days": 90}, "SAN", "fail"),
        # The common name alone has stood for nothing for years.
        ({"names": [], "days": 90}, "SAN", "fail"),
        ({"names": ["his.his.example"], "days": 90, "password": b"secret"}, "site.pem", "fail"),
    ],
)
def test_certificate(example: Path, given: dict[str, object], target: str | None, state: str) -> None:
    site = edited(example, TLS)
    make_pair(site.base / "tls", **given)  # type: ignore[arg-type]
    found = rec.one(rec.scene(site), "SEC06", "app1", target)
    assert found.state == state, found


@pytest.mark.parametrize("broken", ["site.pem", "site.key"])
def test_a_certificate_that_is_none_is_a_fault_not_an_exception(example: Path, broken: str) -> None:
    site = edited(example, TLS)
    make_pair(site.base / "tls", names=["his.his.example"], days=90)
    (site.base / "tls" / broken).write_text("no PEM\n", encoding="ascii")
    assert rec.one(rec.scene(site), "SEC06", "app1").state == "fail"
    (site.base / "tls" / broken).unlink()
    found = rec.one(rec.scene(site), "SEC06", "app1")
    assert (found.state, found.result.note.startswith("reason.")) == ("fail", False)


def test_what_an_earlier_installation_left(example: Path) -> None:
    site = load(example)
    files = rec.changed("bookworm", "app1", "services", {"file": ["tomcat10.service", "cloud-init.service"]})
    found = rec.one(rec.scene(site, **files), "OS12", "app1")
    assert (found.state, found.result.actual) == ("fail", "tomcat10.service")
    running = rec.changed("bookworm", "db1", "running", {"process": ["100 sshd", "9000 postgres"]})
    assert rec.one(rec.scene(site, **running), "OS12").result.actual == "postgres"
    known = edited(example, ("roles: [app], owner: 信息科}", "roles: [app], owner: 信息科, existing: true}"))
    assert rec.one(rec.scene(known, **files), "OS12", "app1").state == "info"


@pytest.mark.parametrize(
    ("host", "package", "state"),
    [
        ("app1", "ii |nginx|1.22.1-9", "fail"),
        ("app1", "ii |tomcat9|9.0.70-2", "fail"),
        ("db1", "ii |postgresql-14|14.9-1.pgdg120+1", "fail"),
        # Removed, its configuration kept; a client; a server that is not planned here.
        ("db1", "rc |postgresql-14|14.9-1.pgdg120+1", "pass"),
        ("db1", "ii |postgresql-client-15|15.8", "pass"),
        ("app1", "ii |postgresql-15|15.8", "pass"),
    ],
)
def test_the_same_software_by_another_name_was_there_before(site: Site, host: str, package: str, state: str) -> None:
    made = rec.scene(site, **rec.changed("bookworm", host, "software", {"package": [package]}))
    found = rec.one(made, "OS12", host)
    assert (found.state, found.result.actual) == (state, package.split("|")[1] if state == "fail" else "—")


def test_packages_of_the_same_software_are_asked_for_by_pattern(site: Site) -> None:
    asked = Software.planned_parameters([one for one in planned(site) if one.host == "db1"])["PACKAGES"]
    assert {"postgresql-15", "postgresql-[0-9][0-9]"} <= set(asked)
    assert not [one for one in asked if one.startswith("nginx")]


@pytest.mark.parametrize(
    ("may", "state"), [(["postgres:/data/pg 1"], "pass"), (["postgres:/data/pg 0"], "fail"), ([], "fail")]
)
def test_the_account_of_the_service_writes_in_its_folder(site: Site, may: list[str], state: str) -> None:
    changed = rec.changed("deployed", "db1", "security", {"writer": may})
    assert rec.one(rec.scene(site, "deployed", **changed), "DSK10").state == state


@pytest.mark.parametrize(
    ("lines", "running", "state", "note"),
    [
        (["/etc/sysctl.d/90-x.conf:net.core.somaxconn = 128"], "4096", "warn", "other_in_file"),
        (["/etc/sysctl.d/90-x.conf:net.core.somaxconn=4096"], "4096", "pass", ""),
        # Of two files of one name that in /etc counts; of two names, the later.
        (["/usr/lib/sysctl.d/90-x.conf:net.core.somaxconn=128", "/etc/sysctl.d/90-x.conf:net/core/somaxconn=4096"],
         "4096", "pass", ""),
        (["/etc/sysctl.d/91-y.conf:-net.core.somaxconn=128", "/etc/sysctl.d/90-x.conf:net.core.somaxconn=4096"],
         "4096", "warn", "other_in_file"),
        (["/etc/sysctl.d/99-sysctl.conf:net.core.somaxconn=128", "/etc/sysctl.d/90-x.conf:net.core.somaxconn=4096"],
         "4096", "warn", "other_in_file"),
        ([], "2048", "warn", "in_no_file"),
        ([], "4096", "pass", ""),
    ],
)  # fmt: skip
def test_settings_that_would_not_last(site: Site, lines: list[str], running: str, state: str, note: str) -> None:
    text = rec.tamper(rec.raw("bookworm-dns1-1"), "settings", {"sysctl": lines})
    text = rec.tamper(text, "limits", {"somaxconn": running})
    found = rec.one(rec.scene(site, dns1={1: text}), "LIM12", "dns1")
    assert (found.state, found.result.note) == (state, note)


def test_a_running_setting_shows_what_is_configured(site: Site) -> None:
    lines = ["/etc/sysctl.d/90-x.conf:net.core.somaxconn = 512"]
    found = rec.one(rec.scene(site, **rec.changed("bookworm", "db1", "settings", {"sysctl": lines})), "LIM07")
    assert (found.result.actual, found.result.configured) == ("4096", "512")


def test_a_recipe_that_will_set_too_little_is_no_excuse(example: Path) -> None:
    site = edited(
        example, ("      MEM04: {want: 100}", "      MEM04: {want: 100}\n      LIM07: {need: 8192, want: 8192}")
    )
    low = rec.changed("bookworm", "db1", "limits", {"somaxconn": "128"})
    found = rec.one(rec.scene(site, **low), "LIM07")
    assert (found.state, found.result.note, found.result.params["value"]) == ("warn", "plan_misses", "4096")


def test_huge_pages_only_for_a_database_that_wants_them(example: Path) -> None:
    assert rec.one(rec.scene(load(example)), "MEM07").state == "skip"
    site = edited(example, ("  shared_buffers: 128 MiB", "  shared_buffers: 128 MiB\n  huge_pages: true"))
    assert rec.one(rec.scene(site), "MEM07").state == "fail"
    enough = rec.changed("bookworm", "db1", "memory", {"HugePages_Total": "64", "Hugepagesize": "2048"})
    assert rec.one(rec.scene(site, **enough), "MEM07").state == "pass"


def test_standby_and_primary_have_one_glibc(example: Path) -> None:
    site = edited(example, ("roles: [storage], owner", "roles: [storage, db], owner"))
    assert rec.one(rec.scene(site), "LOC03", "sto1").state == "pass"
    other = rec.changed("bookworm", "sto1", "system", {"glibc": "glibc 2.28"})
    found = rec.one(rec.scene(site, **other), "LOC03", "sto1")
    assert (found.state, found.result.actual) == ("fail", "2.28")


def test_shares_snapshots_and_paths_as_declared(example: Path) -> None:
    site = edited(
        example,
        ("      /backup: {size: 20 GB, separate: true}", "      /backup: {size: 20 GB, options: [hard, vers=4.2]}\n"
         "    snapshots: [vg0]\n    multipath: true"),
    )  # fmt: skip
    mounts = ["/dev/sda1 / ext4 rw 0 0", "nas:/export /backup nfs4 rw,soft,vers=4.2 0 0"]
    text = rec.tamper(rec.raw("bookworm-sto1-1"), "disks", {"mount": mounts})
    text = rec.tamper(text, "arrays", {"group": ["  vg0 107374182400B 5368709120B"], "multipath": MULTIPATH})
    made = rec.scene(site, sto1={1: text})
    assert rec.one(made, "STO01", "sto1").result.actual == "nfs4 vers=4.2 − hard"
    assert (rec.one(made, "STO06", "sto1").state, rec.one(made, "STO06", "sto1").result.actual) == ("warn", "5 %")
    assert (rec.one(made, "STO07", "sto1").state, rec.one(made, "STO07", "sto1").result.actual) == ("fail", "1")


MULTIPATH = (
    "mpatha (360000000000000000e00000000010001) dm-2 IET,VIRTUAL-DISK\\nsize=10G features='0' hwhandler='0' wp=rw\\n"
    "|-+- policy='service-time 0' prio=1 status=active\\n| `- 2:0:0:1 sda 8:0 active ready running\\n"
    "`-+- policy='service-time 0' prio=0 status=enabled\\n  `- 3:0:0:1 sdb 8:16 failed faulty running"
)


def test_multipath_counts_the_paths_that_carry_data() -> None:
    text = MULTIPATH.replace("\\n", "\n")
    assert _maps(text) == {"mpatha": 1}
    assert _maps(text.replace("failed faulty", "active ready")) == {"mpatha": 2}
    assert _maps("") == {}


@pytest.mark.parametrize(
    ("shown", "state"),
    [("100 half 0 0", "warn"), ("1000 full 7 0", "warn"), ("1000 full 0 0", "warn"), ("-1 - 0 0", "skip")],
)
def test_a_slow_or_faulty_network_card(site: Site, shown: str, state: str) -> None:
    """1000 Mb/s is enough by itself; the other hosts have 10 000."""
    changed = rec.changed("bookworm", "db1", "network", {"nic": [f"host0 0a:00:00:00:00:01 1500 {shown}"]})
    assert rec.one(rec.scene(site, **changed), "NET07").state == state
    assert rec.one(rec.scene(site), "NET07").state == "pass"


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        (["http_proxy=http://10.0.0.1:3128"], "warn"),
        (["http_proxy=http://10.0.0.1:3128", "no_proxy=10.77.1.0/24,.his.example"], "pass"),
        (["http_proxy=http://10.0.0.1:3128", 'export NO_PROXY="10.77.1."'], "pass"),
        (["http_proxy=http://10.0.0.1:3128", "no_proxy=localhost,10.77.1.11"], "warn"),
    ],
)
def test_a_proxy_must_leave_the_site_out(site: Site, lines: list[str], state: str) -> None:
    assert (
        rec.one(rec.scene(site, **rec.changed("bookworm", "db1", "network", {"proxy": lines})), "NET11").state == state
    )


def test_a_threshold_layer_of_the_wrong_shape_is_refused(site: Site) -> None:
    folder = site.base / "checks" / "profiles"
    folder.mkdir(parents=True)
    for text in ("{MEM01: 4 GiB}", "{MEM01: {db: 4 GiB}}", "{DSK13: {db: {need: 50}}}", "{SEC06: {app: {need: 30}}}"):
        (folder / "small.yml").write_text(f"thresholds: {text}\n", encoding="utf-8")
        with pytest.raises(KitError):
            Limits(site, rec.CHECKS)
