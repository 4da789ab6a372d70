"""Programs that start themselves: an archive with a start command, and a real jar of a third party on JDK 21."""

from __future__ import annotations

import io
import json
import os
import shutil
import ssl
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from power import free_network, implops, ssh
from releases import files_of_parameters, notes

from implops import lab
from implops.site import Site, load
from implops.store import Store

pytestmark = pytest.mark.lab

SITE = """
project: {{code: PRG, name: 程序, contract: C-1, customer: 某某医院, environment: test}}
ssh: {{user: deploy, key: secrets/id_ed25519}}
time: {{zone: Asia/Shanghai, ntp: [{net}.11]}}
hosts:
  app1: {{address: {net}.11, roles: [app]}}
{parts}
lab: {{network: {net}.0/24, release: {release}}}
"""
# What every Debian has: Perl. It answers with its configuration, and dies when told to.
SERVER = r"""#!/usr/bin/perl
use strict; use warnings; use IO::Socket::INET;
my %conf; open(my $file, '<', 'conf/server.properties') or die "no configuration: $!";
while (<$file>) { chomp; my ($name, $value) = split /=/, $_, 2; $conf{$name} = $value if defined $value }
my $asked = 0;
my $socket = IO::Socket::INET->new(LocalPort => $conf{port}, Listen => 20, ReuseAddr => 1) or die "port: $!";
open(my $note, '>>', "$ENV{HOME}/started") or die "shared: $!"; print $note "VERSION\n"; close $note;
while (my $client = $socket->accept) {
    my $line = <$client> // ''; while (<$client>) { last if /^\r?\n$/ }
    my $body = "VERSION as $conf{who} with " . join(' ', @ARGV) . "\n";
    my $status = FAULT;
    print $client "HTTP/1.0 $status OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body"; close $client;
}
"""
CONFIG = "port={{ port }}\nwho={{ name }}@{{ host }}\nsecret={{ hosts.app1 }}\n"


def archive(
    path: Path, version: str, status: int = 200, fault: str = "STATUS", links: Mapping[str, str] | None = None
) -> None:
    """``his-VERSION/bin/server``, as vendors pack it: one folder that holds everything."""
    body = SERVER.replace("VERSION", version).replace("FAULT", fault).replace("STATUS", str(status)).encode()
    with tarfile.open(path, "w:gz") as tar:
        for name, data, mode in ((f"his-{version}/bin/server", body, 0o755), (f"his-{version}/README", b"-", 0o644)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(f"his-{version}/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)


def write(folder: Path, parts: str, release: str) -> Site:
    (folder / "secrets").mkdir(mode=0o700)
    (folder / "release").mkdir()
    text = SITE.format(net=free_network(), parts=parts, release=release)
    (folder / "site.yml").write_text(text, encoding="utf-8")
    return load(folder / "site.yml")


def booted(site: Site) -> Iterator[Site]:
    try:
        implops("lab", "up", site.path)
        yield site
    finally:
        implops("lab", "down", site.path, code=None)


def deploy(site: Site, code: int = 0) -> str:
    implops("check", site.path)
    implops("bundle", "build", site.path, timeout=900)
    done = implops("deploy", site.path, "--yes", code=code, timeout=900)
    return done.stdout + done.stderr


def change(site: Site, old: str, new: str) -> Site:
    text = site.path.read_text(encoding="utf-8")
    assert old in text
    site.path.write_text(text.replace(old, new), encoding="utf-8")
    return load(site.path)


def modules(site: Site) -> dict[str, str]:
    event = Store.of(site.state).last("deploy.finished")
    assert event
    return {one["module"]: one["state"] for one in event.payload["modules"]}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    parts = """
web: {port: 80}
system:
  name: his
  version: "1.0"
  kind: archive
  artifact: release/his-1.0.tgz
  port: 9000
  start: {command: bin/server, arguments: ["--mode=100%", "$HOME", 'a"b']}
  config: {conf/server.properties: release/server.properties}
  modules:
    - id: page
      name: 页面
      url: /
      deadline: 15 s
      expect: {status: 200, text: '{{ version }} as his@app1 with --mode=100% $HOME a"b'}
    - {id: port, name: 端口, tcp: 9000, deadline: 15 s, requirement: SRS-1}
    - {id: unit, name: 服务, systemd: app-his.service, deadline: 15 s, stable_for: 1 s}
    - {id: perl, name: 进程, process: perl, deadline: 15 s}
    - {id: note, name: 记录, deadline: 15 s, log: {file: /opt/implops/releases/his/shared/started, pattern: '^1\\.'}}
"""
    site = write(tmp_path_factory.mktemp("program"), parts, "bookworm")
    archive(site.base / "release" / "his-1.0.tgz", "1.0")
    (site.base / "release" / "server.properties").write_text(CONFIG, encoding="utf-8")
    yield from booted(site)


def test_1_an_archive_runs_under_its_own_account_in_a_hardened_unit(program: Site) -> None:
    deploy(program)
    assert set(modules(program).values()) == {"pass"}
    files_of_parameters(program)
    shown = ssh(program, "app1", "systemctl show app-his -p User -p ProtectSystem -p NoNewPrivileges -p MainPID").stdout
    assert {"User=app-his", "ProtectSystem=strict", "NoNewPrivileges=yes"} <= set(shown.split())
    home = "/opt/implops/releases/his"
    assert (
        ssh(program, "app1", f"stat -c '%a %U:%G' {home}/current/conf/server.properties").stdout == "640 root:app-his\n"
    )
    assert ssh(program, "app1", f"sudo -n -u app-his touch {home}/current/bin/server").returncode != 0
    assert "无需改动" in deploy(program)


def test_2_a_release_that_answers_wrongly_is_left_for_the_last_good_one(program: Site) -> None:
    archive(program.base / "release" / "his-1.1.tgz", "1.1", status=503)
    site = change(change(program, '"1.0"', '"1.1"'), "his-1.0.tgz", "his-1.1.tgz")
    deploy(site, code=1)
    assert ssh(site, "app1", "readlink /opt/implops/releases/his/current").stdout.startswith("1.0-")
    assert ssh(site, "app1", "systemctl is-active app-his").stdout.strip() == "active"
    started = ssh(site, "app1", "sudo -n cat /opt/implops/releases/his/shared/started").stdout.split()
    assert started[-2:] == ["1.1", "1.0"]
    # The site file says again what runs.
    change(change(site, '"1.1"', '"1.0"'), "his-1.1.tgz", "his-1.0.tgz")


def test_3_a_module_that_does_not_hold_is_named_with_what_was_found(program: Site) -> None:
    edits = [("tcp: 9000", "tcp: 9001"), ("process: perl", "process: python3"), ("pattern: '^1", "pattern: '^9"),
             ("systemd: app-his.service", "systemd: app-hers.service")]  # fmt: skip
    site = program
    for old, new in edits:
        site = change(site, old, new)
    done = implops("verify", site.path, code=1, timeout=400)
    for word in ("9001", "python3", "app-hers.service", "^9"):
        assert word in done.stdout
    for old, new in edits:
        site = change(site, new, old)


def test_3_a_service_that_systemd_starts_again_and_again_never_holds(program: Site) -> None:
    # It is down for no more than a twentieth of a second: hardly anybody who asks finds it so.
    drop = "/etc/systemd/system/app-his.service.d"
    body = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=\nExecStart=/bin/sleep 0.5\n"
    body += "Restart=always\nRestartSec=50ms\n"
    restart = "systemctl daemon-reload; systemctl restart app-his"
    lab.enter(program, "app1", ["sh", "-c", f"mkdir -p {drop}; cat > {drop}/x.conf; {restart}"], given=body)
    implops("verify", program.path, code=1, timeout=400)
    told = {one.payload["module"]: one.payload for one in Store.of(program.state).events(kind="module.finished")}
    assert told["unit"]["state"] == "fail"
    lab.enter(program, "app1", ["sh", "-c", f"rm -r {drop}; {restart}"])
    implops("verify", program.path, timeout=400)


@pytest.mark.full
@pytest.mark.parametrize(
    ("version", "fault"),
    [
        # In every other second it answers 503, for ever.
        ("1.2", "STATUS == 200 && time % 2 ? 503 : STATUS"),
        # It comes up, answers, and is gone before it has held for as long as it must; systemd starts it again.
        ("1.3", "time - $^T > 1 ? exit(1) : STATUS"),
        # What answers is the old version.
        ("1.4", "$body =~ s/1[.]4/1.0/ ? STATUS : 500"),
    ],
    ids=["flapping", "dying", "old"],
)
def test_3a_a_program_that_does_not_hold_is_left_for_the_last_good_one(program: Site, version: str, fault: str) -> None:
    text = program.path.read_text(encoding="utf-8")
    archive(program.base / "release" / f"his-{version}.tgz", version, fault=fault)
    site = change(change(program, text.partition("version: ")[2][:5], f'"{version}"'),
                  text.partition("artifact: release/")[2].partition("\n")[0], f"his-{version}.tgz")  # fmt: skip
    said = deploy(site, code=1)
    assert "已回滚到 1.0-" in said
    known = ssh(site, "app1", "sudo -n sh -c 'cat /opt/implops/releases/his/*/RELEASE.json'").stdout
    assert {state for id, state in notes(known).items() if id.startswith(version)} == {"bad"}
    assert ssh(site, "app1", "readlink /opt/implops/releases/his/current").stdout.startswith("1.0-")
    # A system that went back is one that can be worked with.
    implops(
        "verify", change(change(site, f'"{version}"', '"1.0"'), f"his-{version}.tgz", "his-1.0.tgz").path, timeout=300
    )


VNU = ("26.9.16", "26.9.27")


@pytest.fixture(scope="module")
def vnu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The Nu Html Checker as npm brings it, two versions; kept in the cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "implops" / "npm"
    cache.mkdir(parents=True, exist_ok=True)
    parts = f"""
jdk: {{major: 21}}
web: {{port: 80, tls: generate}}
system:
  name: vnu
  version: {VNU[0]}
  kind: jar
  artifact: release/vnu-{VNU[0]}.jar
  port: 8888
  start: {{main: nu.validator.servlet.Main, arguments: ["8888"], heap: 256 MiB, options: [-Xss2m]}}
  modules:
    - {{id: page, name: 首页, url: /, expect: {{status: 200, text: Nu Html Checker}}, deadline: 120 s}}
    - {{id: port, name: 端口, tcp: 8888}}
    - {{id: java, name: 进程, process: java}}
"""
    site = write(tmp_path_factory.mktemp("vnu"), parts, "trixie")
    for version in VNU:
        packed = cache / f"vnu-jar-{version}.tgz"
        if not packed.exists():
            assert shutil.which("npm"), "npm is missing: run .ci/setup full"
            subprocess.run(["npm", "pack", "--silent", f"vnu-jar@{version}"], cwd=cache, check=True, stdout=-3)
        with tarfile.open(packed) as tar:
            jar = tar.extractfile("package/build/dist/vnu.jar")
            assert jar
            (site.base / "release" / f"vnu-{version}.jar").write_bytes(jar.read())
    yield from booted(site)


def checked(site: Site) -> list[str]:
    """What the checker says about a page with a fault; the site's own authority vouches for its certificate."""
    request = urllib.request.Request(
        f"https://{site.hosts['app1'].address}/?out=json",
        b"<!DOCTYPE html><title>t</title><p>x</i>",
        {"Content-Type": "text/html; charset=utf-8"},
    )
    trust = ssl.create_default_context(cafile=site.base / "tls" / "ca.pem")
    with urllib.request.urlopen(request, context=trust, timeout=60) as answer:  # noqa: S310 - our own https address
        return [one["message"] for one in json.loads(answer.read())["messages"]]


@pytest.mark.full
def test_4_a_third_partys_jar_is_deployed_used_upgraded_and_taken_back(vnu: Site) -> None:
    deploy(vnu)
    assert set(modules(vnu).values()) == {"pass"}
    assert "Stray end tag" in " ".join(checked(vnu))
    site = change(vnu, VNU[0], VNU[1])
    deploy(site)
    assert ssh(site, "app1", "readlink /opt/implops/releases/vnu/current").stdout.startswith(f"{VNU[1]}-")
    implops("rollback", site.path, "--yes", timeout=400)
    assert ssh(site, "app1", "readlink /opt/implops/releases/vnu/current").stdout.startswith(f"{VNU[0]}-")
    assert checked(site)
