"""What apt answered on real Debian 12 hosts, and what becomes of it."""

from __future__ import annotations

import shlex

import pytest

from implops.bundle import install_command
from implops.bundle.apt import Change, changes
from implops.errors import GateRefused

GOOD = """Reading package lists...
Building dependency tree...
Reading state information...
The following NEW packages will be installed:
  restic
The following packages will be upgraded:
  libssl3
1 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.
Inst libssl3 [3.0.15-1~deb12u1] (3.0.17-1~deb12u3 localhost [amd64])
Inst restic (0.18.0-1+b4 localhost [amd64])
Conf libssl3 (3.0.17-1~deb12u3 localhost [amd64])
Conf restic (0.18.0-1+b4 localhost [amd64])
"""
HEAD = "Reading package lists...\nBuilding dependency tree...\nReading state information...\n"
UNMET = f"""{HEAD}Some packages could not be installed. This may mean that you have
requested an impossible situation or if you are using the unstable
distribution that some required packages have not yet been created
or been moved out of Incoming.
The following information may help to resolve the situation:

The following packages have unmet dependencies:
 his-x : Depends: libnope (>= 2) but it is not installable
E: Unable to correct problems, you have held broken packages.
"""
GONE = f"{HEAD}E: Unable to locate package nosuch\n"
NO_CANDIDATE = f"""{HEAD}Package sysvinit-core is not available, but is referred to by another package.
This may mean that the package is missing, has been obsoleted, or
is only available from another source
However the following packages replace it:
  systemd-sysv

E: Package 'sysvinit-core' has no installation candidate
"""
REMOVES = f"""{HEAD}The following packages will be REMOVED:
  python3 cron
The following NEW packages will be installed:
  his-y
0 upgraded, 1 newly installed, 2 to remove and 0 not upgraded.
E: Packages need to be removed but remove is disabled.
"""


def test_new_packages_and_upgrades_are_told_apart() -> None:
    assert changes("db1", 0, GOOD) == [
        Change("libssl3", "3.0.15-1~deb12u1", "3.0.17-1~deb12u3"),
        Change("restic", "", "0.18.0-1+b4"),
    ]


@pytest.mark.parametrize(
    ("answer", "key", "named"),
    [
        (UNMET, "bundle.unmet", "his-x : Depends: libnope (>= 2)"),
        (GONE, "bundle.unmet", "nosuch"),
        (NO_CANDIDATE, "bundle.unmet", "sysvinit-core"),
        (REMOVES, "bundle.would_remove", "python3 cron"),
        ("E: dpkg was interrupted\n", "bundle.unmet", "dpkg was interrupted"),
    ],
)
def test_what_stands_in_the_way_is_named(answer: str, key: str, named: str) -> None:
    with pytest.raises(GateRefused) as raised:
        changes("db1", 100, answer)
    assert raised.value.key == key
    assert named in str(raised.value)
    assert "db1" in str(raised.value)


def test_the_installation_asks_nothing_removes_nothing_and_sees_no_other_source() -> None:
    words = shlex.split(install_command(["nginx", "g++"]))
    assert words[-4:] == ["--", "nginx", "g++", "</dev/null"]
    assert "DEBIAN_FRONTEND=noninteractive" in words
    assert words.index("--fix-broken") < words.index("&&")
    assert {"-y", "--no-remove", "APT::Install-Recommends=false", "Dpkg::Options::=--force-confold"} <= set(words)
    assert {"Dir::Etc::sourcelist=/var/lib/implops/apt/sources.list", "Dir::Etc::sourceparts=/dev/null"} <= set(words)
    assert not any(word.startswith(("Dir::State::status", "Dir::State=", "Dir=")) for word in words)
