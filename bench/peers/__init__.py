"""Other tools asked for the same facts on the same hosts, each in the way its users run it.

They live in an environment of their own (``.cache/bench-peers``), made by ``ready`` from the package index.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from implops.site import Site

HERE = Path(__file__).parent
ROOT = HERE.parent.parent / ".cache" / "bench-peers"
PACKAGES = ("pyinfra>=3.10,<3.11", "ansible-core>=2.15", "pytest-testinfra>=10.2", "pytest-xdist>=3")
# server.Os and so on: pyinfra's names of what the first trip reads.
_FACTS = ("server.Os", "server.Kernel", "server.KernelVersion", "server.Arch", "server.Hostname",
          "server.LinuxDistribution", "server.Mounts", "server.Users", "server.Groups", "server.Locales",
          "hardware.Cpus", "hardware.Memory",
          "hardware.BlockDevices", "hardware.NetworkDevices", "hardware.Ipv4Addrs", "systemd.SystemdStatus",
          "deb.DebPackages")  # fmt: skip


def ready() -> None:
    """Make the environment when it is not there (says so)."""
    if (ROOT / ".ready").exists():
        return
    print("bench: installing peers into .cache/bench-peers: " + " ".join(PACKAGES), file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(ROOT)], check=True)
    subprocess.run([str(ROOT / "bin/pip"), "install", "-q", *PACKAGES], check=True)
    (ROOT / ".ready").touch()


def commands(site: Site, folder: Path) -> dict[str, list[str]]:
    """Name -> command line; what each needs is written into ``folder``. Host keys stay strict."""
    about = {"user": site.ssh.user, "key": str(site.ssh.key), "known": str(site.known_hosts)}
    hosts = [
        (host.address, {"ssh_user": about["user"], "ssh_key": about["key"], "ssh_known_hosts_file": about["known"],
                        "ssh_strict_host_key_checking": "yes", "_sudo": True})
        for host in site.hosts.values()
    ]  # fmt: skip
    (folder / "inventory.py").write_text(f"hosts = {hosts!r}\n", encoding="utf-8")
    options = f"-o UserKnownHostsFile={about['known']} -o StrictHostKeyChecking=yes"
    lines = [host.address for host in site.hosts.values()]
    (folder / "hosts.ini").write_text(
        "\n".join([*lines, "[all:vars]", f"ansible_user={about['user']}",
                   f"ansible_ssh_private_key_file={about['key']}",
                   f"ansible_ssh_common_args='{options}'", "ansible_python_interpreter=/usr/bin/python3", ""]),
        encoding="utf-8",
    )  # fmt: skip
    (folder / "ssh_config").write_text(
        f"Host *\n  User {about['user']}\n  IdentityFile {about['key']}\n  UserKnownHostsFile {about['known']}\n"
        "  StrictHostKeyChecking yes\n  ControlMaster auto\n  ControlPersist 60\n"
        f"  ControlPath {folder}/%h\n",
        encoding="utf-8",
    )
    names = ",".join(f"ssh://{address}" for address in lines)
    return {
        "pyinfra": [str(ROOT / "bin/pyinfra"), "-y", str(folder / "inventory.py"), "fact", *_FACTS],
        "ansible": [str(ROOT / "bin/ansible-playbook"), "-f", "40", "-i", str(folder / "hosts.ini"),
                    str(HERE / "playbook.yml")],
        "testinfra": [str(ROOT / "bin/pytest"), "-q", "-n", "8", "-p", "no:cacheprovider", "--hosts", names,
                      "--ssh-config", str(folder / "ssh_config"), "--sudo", str(HERE / "test_facts.py")],
    }  # fmt: skip
