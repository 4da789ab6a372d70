"""What the lab's stories share: a site folder of their own, the command line as a user runs it, what a lab leaves."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from implops import kit
from implops.lab import plan
from implops.remote import ssh_options
from implops.site import Site, load

OPERATOR = "测试员/T001"
SECRETS = ("db_app", "db_import", "restic", "sudo")


def free_network() -> str:
    """``10.77.N``, a network that this machine does not use at the moment: several test runs may go on at once."""
    routes = subprocess.run(["ip", "-j", "-4", "route"], capture_output=True, text=True, check=True).stdout
    used = {route["dst"] for route in json.loads(routes)}
    start = os.getpid()
    return next(net for step in range(100) if f"{(net := f'10.77.{101 + (start + step) % 100}')}.0/24" not in used)


def write_site(folder: Path, edit: Callable[[str], str] = lambda text: text) -> Site:
    """The annotated site file in ``folder``, on a network of its own, with its secrets made."""
    folder.mkdir(parents=True, exist_ok=True)
    text = kit.annotated_site().read_text(encoding="utf-8").replace("10.77.1.", f"{free_network()}.")
    (folder / "site.yml").write_text(edit(text), encoding="utf-8")
    vault = folder / "secrets"
    vault.mkdir(mode=0o700, exist_ok=True)
    for name in SECRETS:
        path = vault / name
        path.touch(mode=0o600)
        path.write_text(f"{secrets.token_urlsafe(18)}\n", encoding="ascii")
    return load(folder / "site.yml")


_MODULES = """requirement: SRS-3.4}
    - {id: tomcat, name: 应用服务, systemd: tomcat10.service, requirement: SRS-4.1}
    - {id: rows, name: 科室数据, sql: {query: select count(*) from departments, value: "6"}, requirement: SRS-4.2}
"""


def on_mariadb(text: str) -> str:
    """The annotated site on MariaDB, JDK 21 and Debian 13, with two application hosts and two name servers."""
    found = re.search(r"10\.77\.\d+\.", text)
    assert found
    net = found[0]
    for old, new in (
        ("engine: postgresql", "engine: mariadb"),
        ("  major: 15\n", "  major: 11\n"),
        ("jdk: {major: 17}", "jdk: {major: 21}"),
        ("listens: [5432]", "listens: [3306]"),
        ("listens: [80, 8080]", "listens: [80, 443, 8080]"),
        ("  encoding: UTF8\n  locale: zh_CN.UTF-8\n", ""),
        ("data: /data/pg", "data: /data/mysql"),
        ("release/schema/", "release/schema-mariadb/"),
        ("release: bookworm", "release: trixie\n  releases: {sto1: bookworm}"),
        ("port: 80}", "port: 80, tls: generate}"),
        ("requirement: SRS-3.4}\n", _MODULES),
        ("  dns1: {address", f"  app2: {{address: {net}22, roles: [app]}}\n  dns1: {{address"),
        ("  sto1: {address", f"  dns2: {{address: {net}23, roles: [dns]}}\n  sto1: {{address"),
    ):
        assert old in text, old
        text = text.replace(old, new, 1) if old != "release/schema/" else text.replace(old, new)
    return text


def on_trixie(text: str) -> str:
    """The annotated site on PostgreSQL 17, JDK 21 and Debian 13; the storage host keeps Debian 12."""
    for old, new in (
        ("  major: 15\n", "  major: 17\n"),
        ("jdk: {major: 17}", "jdk: {major: 21}"),
        ("release: bookworm", "release: trixie\n  releases: {sto1: bookworm}"),
    ):
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def write_demo(site: Site) -> Site:
    """The release, the mappings and the data of examples/ beside the site file, as an engineer carries them."""
    examples = Path(__file__).parents[2] / "examples"
    for name in ("data", "mappings"):
        shutil.copytree(examples / name, site.base / name)
    for name in ("schema", "schema-mariadb"):
        shutil.copytree(examples / "his" / name, site.base / "release" / name)
    build = [sys.executable, examples / "his" / "build.py", site.base / "release" / "his-1.0.0.war"]
    subprocess.run(build, check=True, capture_output=True)
    return load(site.path)


def implops(*arguments: str | Path, code: int | None = 0, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command line without a terminal; ``code`` is the exit code that the story expects (None: any)."""
    done = subprocess.run(
        [sys.executable, "-m", "implops.cli.main", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(),
    )
    assert code is None or done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def environment() -> dict[str, str]:
    return {**os.environ, "IMPLOPS_OPERATOR": OPERATOR, "IMPLOPS_LANG": "zh-Hans", "COLUMNS": "160"}


def ssh(site: Site, host: str, script: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a script on a host through OpenSSH as the site's user."""
    where = site.hosts[host]
    command = ["ssh", *ssh_options(site, where), f"{site.ssh.user}@{where.address}", "sh", "-s"]
    return subprocess.run(command, input=script, capture_output=True, text=True, timeout=timeout)


def leftovers(site: Site) -> list[str]:
    """Every trace of the site's lab: loop devices, mounts that any process sees, processes, control groups, links."""
    assert site.lab
    word, network = str(site.base), site.lab.network.rpartition(".")[0]
    found = [
        f"loop {one}"
        for one in Path("/sys/block").glob("loop*/loop/backing_file")
        if word in one.read_text(encoding="utf-8")
    ]
    for place in plan.of(site).places.values():
        found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/*{place.machine}")]
        found += [place.link] * Path("/sys/class/net", place.link).exists()
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if any(arg in (b"systemd-nspawn", b"unshare") for arg in arguments) and word.encode() in b" ".join(
                arguments
            ):
                found.append(f"process {process.name}")
            if word in (process / "mountinfo").read_text(encoding="utf-8"):
                found.append(f"mount seen by {process.name}")
        except OSError:
            continue  # ended while we looked
    links = json.loads(subprocess.run(["ip", "-j", "address"], capture_output=True, text=True, check=True).stdout)
    for link in links:
        if any(str(info.get("local", "")).startswith(f"{network}.") for info in link["addr_info"]):
            found.append(f"link {link['ifname']}")
    return found
