"""What makes a copy of the base image one host of the site: name, address, keys, account, time. Laid down once.

Everything is the site file's or random; nothing is this machine's.
"""

from __future__ import annotations

import io
import os
import tarfile
import uuid
from pathlib import Path

from implops.lab.plan import Place, Plan
from implops.lab.tools import call
from implops.secrets import Secret

# The machine's clock is all hosts' clock and right by definition here: the site's time servers serve it as a stratum
# that nobody takes for a real one.
_STRATUM = 8


def user_key(path: Path) -> str:
    """The public half of the site's SSH key; the key is made (ed25519, 0600) when the site has none yet."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "implops", "-f", path])
    return call(["ssh-keygen", "-y", "-P", "", "-f", path]).strip()


def host_key(folder: Path) -> tuple[bytes, str]:
    """A fresh host key: the private file's bytes and the public ``TYPE BASE64``."""
    path = folder / "ssh_host_ed25519_key"
    path.unlink(missing_ok=True)
    call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path])
    public = path.with_suffix(".pub").read_text(encoding="ascii").split()
    private = path.read_bytes()
    path.unlink()
    path.with_suffix(".pub").unlink()
    return private, f"{public[0]} {public[1]}"


def files(plan: Plan, place: Place, private: bytes, public: str) -> dict[str, tuple[bytes, int]]:
    """Path in the host -> content and mode."""
    site, name, address = plan.site, place.name, place.host.address
    fstab = "".join(f"UUID={disk_uuid(place, disk.path)} {disk.path} xfs defaults 0 0\n" for disk in place.disks)
    texts = {
        "etc/hostname": f"{name}\n",
        "etc/hosts": f"127.0.0.1\tlocalhost\n{address}\t{name}\n\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        "etc/fstab": fstab,
        "etc/ssh/ssh_host_ed25519_key.pub": f"{public}\n",
        "etc/systemd/network/10-lab.network": (
            "[Match]\nName=host0\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
            f"Address={address}/{plan.network.prefixlen}\n"
        ),
        "etc/chrony/conf.d/site.conf": chrony(plan, address),
    }
    if place.port != 22:
        texts["etc/ssh/sshd_config.d/port.conf"] = f"Port {place.port}\n"
    found = {path: (text.encode(), 0o644) for path, text in texts.items()}
    found["etc/machine-id"] = (found["etc/machine-id"][0], 0o444)
    found["etc/ssh/ssh_host_ed25519_key"] = (private, 0o600)
    if site.ssh.sudo and site.ssh.user != "root":
        free = "" if site.ssh.sudo_password else "NOPASSWD: "
        found["etc/sudoers.d/implops"] = (f"{site.ssh.user} ALL=(ALL:ALL) {free}ALL\n".encode(), 0o440)
    return found


def chrony(plan: Plan, address: str) -> str:
    """chrony.conf of a host: a time server of the site serves the machine's clock, the others ask it."""
    servers = plan.site.time.ntp
    if address in servers:
        return f"local stratum {_STRATUM}\nallow {plan.network}\n"
    # Only the lab's own servers can answer; a short poll finds one that booted later than its client.
    return "".join(f"server {server} iburst minpoll 0 maxpoll 4\n" for server in servers)


def disk_uuid(place: Place, path: str) -> str:
    """The filesystem's UUID of a data disk: known before it is made, so that /etc/fstab can name it."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{place.machine}{path}"))


def write(path: Path, found: dict[str, tuple[bytes, int]]) -> None:
    """A tar archive (0600) of the files, all root's."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, (data, mode) in found.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))


def account(plan: Plan, key: str, password: Secret | None) -> str:
    """Shell lines that make the site's user in ``root/``. They go to a shell's standard input: no secret in argv."""
    import shlex

    user = plan.site.ssh.user
    home = "root" if user == "root" else f"home/{user}"
    lines = [] if user == "root" else [f"chroot root useradd --create-home --shell /bin/bash {user}"]
    lines += [
        f"mkdir -p -m 700 root/{home}/.ssh",
        f"printf '%s\\n' {shlex.quote(key)} > root/{home}/.ssh/authorized_keys",
        f"chmod 600 root/{home}/.ssh/authorized_keys",
        f"chroot root chown -R {user}: /{home}/.ssh",
    ]
    if password:
        lines.append(f"printf '%s\\n' {shlex.quote(f'{user}:{password.reveal()}')} | chroot root chpasswd")
    return "\n".join(lines) + "\n"
