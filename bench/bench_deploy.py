"""``make bench-deploy``: implops deploy on bare lab hosts against the bare floor, and its second run against peers.

floor    the same packages, files and commands by plain parallel SSH: the bundle's files as one stream a host, then
         every changing command of implops's own run with its input, a thread a host, behind what it needs
deploy   what does the same work in ``implops deploy``: sending the bundle, all steps with their verification
again    ``implops deploy`` once more: nothing changes, everything is asked
ansible, pyinfra
         a second run of the same work on all hosts, a process a host side by side: packages and files by their own
         modules, everything else by the question that implops's recipe asks

The hosts' base has Python, which Ansible needs on them (implops and the floor do not). Prints a table and ends with
one JSON line.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections import Counter
from pathlib import Path
from typing import Any

import paramiko

from implops import kit, lab
from implops.bundle import latest
from implops.bundle.apt import BUNDLE, update_command
from implops.deploy import plan, recipes
from implops.lab import base
from implops.remote import prompt_transport
from implops.site import Site, load

ROOT = Path(__file__).parents[1]
NETWORK = "10.77.241"
PEERS = ("ansible-core==2.19.*", "pyinfra>=3.10,<3.11")
SHARED = "-o ControlMaster=auto -o ControlPersist=60s"
_PUT = re.compile(
    r"chown '?(\w+):(\w+)'? '?(/[\w./@-]+)\.part'? (?:&&|;) *chmod (\d+)|chown (\w+):(\w+) (/\S+)\.part; chmod (\d+)"
)


def write_site(folder: Path) -> Site:
    text = kit.annotated_site().read_text(encoding="utf-8").replace("10.77.1.", f"{NETWORK}.")
    (folder / "site.yml").write_text(text, encoding="utf-8")
    (folder / "secrets").mkdir(mode=0o700)
    for name in ("db_app", "db_import", "restic"):
        path = folder / "secrets" / name
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(18), encoding="ascii")
    his = ROOT / "examples" / "his"
    for name in ("data", "mappings"):
        subprocess.run(["cp", "-r", ROOT / "examples" / name, folder / name], check=True)
    (folder / "release").mkdir()
    subprocess.run(["cp", "-r", his / "schema", folder / "release" / "schema"], check=True)
    subprocess.run(
        [sys.executable, his / "build.py", folder / "release" / "his-1.0.0.war"], check=True, capture_output=True
    )
    return load(folder / "site.yml")


def implops(site: Site, *words: str, trace: Path | None = None, code: int = 0) -> float:
    """Wall seconds of a whole process."""
    environment = {**os.environ, "IMPLOPS_OPERATOR": "bench/1"}
    if trace:
        trace.mkdir()
        path = os.pathsep.join([str(ROOT / "bench" / "trace"), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment |= {"IMPLOPS_TRACE": str(trace), "PYTHONPATH": path}
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "implops.cli.main", *words], cwd=site.base, env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)  # fmt: skip
    seconds = time.monotonic() - began
    if done.returncode != code:
        raise SystemExit(f"implops {' '.join(words)}: {done.returncode}\n{done.stderr}")
    return seconds


def entries(trace: Path) -> list[dict[str, Any]]:
    lines = [line for path in trace.glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted((json.loads(line) for line in lines), key=lambda one: one["at"])


def work_ms(site: Site) -> int:
    """Milliseconds of the last run from its start to the end of its last step: bundle and steps."""
    from datetime import datetime

    from implops.store import Store

    store = Store.of(site.state)
    run = store.events(kind="deploy.started")[-1].run
    events = store.events(run=run)
    end = [one for one in events if one.kind == "step.finished"][-1]
    begin = next(one for one in events if one.kind == "deploy.started")
    span = datetime.fromisoformat(end.time) - datetime.fromisoformat(begin.time)
    return round(span.total_seconds() * 1000)


def client(site: Site, name: str) -> paramiko.SSHClient:
    ssh = paramiko.SSHClient()
    ssh.load_host_keys(str(site.known_hosts))
    ssh.set_missing_host_key_policy(paramiko.RejectPolicy())
    ssh.connect(site.hosts[name].address, username=site.ssh.user, key_filename=str(site.ssh.key), allow_agent=False,
                look_for_keys=False, transport_factory=prompt_transport)  # fmt: skip
    return ssh


def call(ssh: paramiko.SSHClient, command: str, stdin: bytes = b"") -> bytes:
    channel = ssh.get_transport().open_session()  # type: ignore[union-attr]
    channel.exec_command(command)
    # paramiko copies what is left of a block at each packet.
    for at in range(0, len(stdin), 2**18):
        channel.sendall(stdin[at : at + 2**18])
    channel.shutdown_write()
    out = channel.makefile("rb").read()
    error = channel.makefile_stderr("rb").read()
    if channel.recv_exit_status():
        said = (out + error).decode("utf-8", "replace")[-1500:]
        raise SystemExit(f"floor: {command[:200]}\n{said}")
    return out


def identities(site: Site) -> dict[str, bytes]:
    """Host -> its SSH host keys, as a tar."""
    found = {}
    for name in site.hosts:
        ssh = client(site, name)
        found[name] = call(ssh, "sudo -n sh -c 'cd /etc/ssh && tar -c -f - ssh_host_*'")
        ssh.close()
    return found


def bare_again(site: Site) -> None:
    """Bare hosts in place of the deployed ones, with the host keys of these: files of the first run name them."""
    keys, known = identities(site), site.known_hosts.read_bytes()
    implops(site, "lab", "down", "site.yml")
    lab.up(site)
    for name, body in keys.items():
        ssh = client(site, name)
        call(ssh, "sudo -n tar -x -f - -C /etc/ssh", body)
        call(ssh, "sudo -n systemctl restart ssh")
        ssh.close()
    site.known_hosts.write_bytes(known)


class Floor:
    """Plain SSH, a thread a host, the traced commands in their order; a command waits for what its step needs."""

    def __init__(
        self, site: Site, commands: list[dict[str, Any]], files: dict[str, list[str]], index: dict[str, bytes]
    ) -> None:
        self.site, self.files, self.index = site, files, index
        self.bundle = latest(site)
        made = plan.make(site, recipes.load(site.base))
        self.steps: dict[str, list[tuple[str, list[dict[str, Any]]]]] = {name: [] for name in site.hosts}
        for one in commands:
            step = f"{one['op'].split('.')[1]}@{one['host']}"
            mine = self.steps[one["host"]]
            if not mine or mine[-1][0] != step:
                mine.append((step, []))
            mine[-1][1].append(one)
        self.needs = {step.id: step.needs for step in made.steps}
        busy = {step for mine in self.steps.values() for step, _ in mine}
        self.done = {id: threading.Event() for id in self.needs}
        for id, event in self.done.items():
            if id not in busy:
                event.set()
        self.failed: list[BaseException] = []

    def host(self, name: str) -> None:
        from implops.bundle import verify

        try:
            ssh = client(self.site, name)
            bundle = verify(self.bundle) if self.files[name] else None
            prepare = f"sudo -n sh -c 'umask 022; mkdir -p {BUNDLE}/apt {BUNDLE}/files /var/lib/implops/applied'"
            call(ssh, prepare)
            if bundle:
                data = bundle.tar(self.files[name]).read()
                call(ssh, f"sudo -n tar -x -f - --no-same-owner -C {BUNDLE}", data)
                # The stream is flat; the bundle has a folder for packages and one for files.
                move = (
                    f'cd {BUNDLE}; for f in ./*; do case $f in ./apt|./files) ;; *.deb) mv -f "$f" apt/ ;; '
                    '*) mv -f "$f" files/ ;; esac; done'
                )
                call(ssh, f"sudo -n sh -c {quote(move)}")
                call(ssh, f"sudo -n tee {BUNDLE}/apt/Packages", self.index[name])
                call(ssh, f"sudo -n sh -c {quote(update_command())}")
            for step, commands in self.steps[name]:
                for need in self.needs[step]:
                    self.done[need].wait(600)
                for one in commands:
                    call(ssh, f"exec sudo -n sh -c {quote(one['command'])}", base64.b64decode(one["stdin"]))
                self.done[step].set()
            ssh.close()
        except BaseException as error:
            self.failed.append(error)
            for event in self.done.values():
                event.set()

    def run(self) -> float:
        threads = [threading.Thread(target=self.host, args=(name,)) for name in self.site.hosts]
        began = time.monotonic()
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        if self.failed:
            raise self.failed[0]
        return time.monotonic() - began


def quote(text: str) -> str:
    import shlex

    return shlex.quote(text)


def peers_of(trace: list[dict[str, Any]], site: Site) -> dict[str, list[dict[str, Any]]]:
    """Host -> what a peer does for each operation: packages, a file, or the question that the recipe asks."""
    found: dict[str, list[dict[str, Any]]] = {}
    made = plan.make(site, recipes.load(site.base))
    for name in site.hosts:
        ssh = client(site, name)
        tasks: list[dict[str, Any]] = []
        for step in made.steps:
            if step.host.name == name and step.packages:
                tasks.append({"kind": "packages", "names": list(step.packages)})
        seen: set[str] = set()
        for one in (entry for entry in trace if entry["kind"] == "command" and entry["host"] == name and entry["op"]):
            puts = [[word for word in match if word] for match in _PUT.findall(one["command"])]
            for user, group, path, mode in puts:
                body = call(ssh, f"sudo -n cat {path}")
                tasks.append({"kind": "file", "path": path, "user": user, "group": group, "mode": f"0{mode}",
                              "body": base64.b64encode(body).decode()})  # fmt: skip
            question = "flock -w" not in one["command"] and not one["command"].startswith("j=")
            if question and one["op"] not in seen and ".packages" not in one["op"]:
                seen.add(one["op"])
                tasks.append({"kind": "question", "command": one["command"]})
        found[name] = tasks
        ssh.close()
    return found


def ansible(work: dict[str, list[dict[str, Any]]], site: Site, place: Path, python: Path) -> float:
    hosts = {name: {"ansible_host": site.hosts[name].address} for name in work}
    common = {"ansible_user": site.ssh.user, "ansible_ssh_private_key_file": str(site.ssh.key),
              "ansible_ssh_common_args": f"-o UserKnownHostsFile={site.known_hosts} {SHARED}",
              "ansible_python_interpreter": "/usr/bin/python3"}  # fmt: skip
    (place / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}), encoding="utf-8")
    plays = []
    for name, tasks in work.items():
        listed = []
        for number, one in enumerate(tasks):
            if one["kind"] == "packages":
                # Its apt module wants python3-apt, which no bundle brings: the cheaper question in its place.
                asked = {"argv": ["dpkg-query", "-W", *one["names"]]}
                listed.append({"name": f"p{number}", "ansible.builtin.command": asked, "changed_when": False})
            elif one["kind"] == "file":
                source = place / f"{name}-{number}"
                source.write_bytes(base64.b64decode(one["body"]))
                owner = {"owner": one["user"], "group": one["group"], "mode": one["mode"]}
                copy = {"src": str(source), "dest": one["path"], **owner}
                listed.append({"name": f"f{number}", "ansible.builtin.copy": copy})
            else:
                shell = {"ansible.builtin.shell": {"cmd": one["command"]}}
                listed.append({"name": f"q{number}", **shell, "changed_when": False, "failed_when": False})
        plays.append({"hosts": name, "become": True, "gather_facts": False, "tasks": listed})
    books = []
    for play in plays:
        path = place / f"{play['hosts']}.json"
        path.write_text(json.dumps([play]), encoding="utf-8")
        books.append(path)
    environment = {**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_HOST_KEY_CHECKING": "1", "ANSIBLE_NOCOWS": "1"}
    began = time.monotonic()
    # A process a host, side by side: a playbook would go through one play after the other.
    running = [
        subprocess.Popen(
            [python.parent / "ansible-playbook", "-i", place / "inventory.json", book], env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for book in books
    ]  # fmt: skip
    for one in running:
        said, _ = one.communicate()
        changed = re.findall(r"changed=(\d+)", said)
        if one.returncode or changed != ["0"]:
            raise SystemExit(f"ansible: {said[-2000:]}")
    return time.monotonic() - began


def pyinfra(work: dict[str, list[dict[str, Any]]], site: Site, place: Path, python: Path) -> float:
    (place / "work.json").write_text(json.dumps(work), encoding="utf-8")
    about = {"ssh_user": site.ssh.user, "ssh_key": str(site.ssh.key), "_sudo": True,
             "ssh_known_hosts_file": str(site.known_hosts), "ssh_strict_host_key_checking": "yes"}  # fmt: skip
    hosts = [(name, {"ssh_hostname": site.hosts[name].address, **about}) for name in work]
    (place / "hosts.py").write_text(f"hosts = {hosts!r}\n", encoding="utf-8")
    (place / "deploy.py").write_text(
        "import base64, io, json\n"
        "from pyinfra import host\n"
        "from pyinfra.operations import apt, files, server\n"
        f"for number, one in host.loop(list(enumerate(json.load(open({str(place / 'work.json')!r}))[host.name]))):\n"
        "    if one['kind'] == 'packages':\n"
        "        apt.packages(name=f'p{number}', packages=one['names'])\n"
        "    elif one['kind'] == 'file':\n"
        "        files.put(name=f'f{number}', src=io.BytesIO(base64.b64decode(one['body'])), dest=one['path'],\n"
        "                  user=one['user'], group=one['group'], mode=one['mode'])\n"
        "    else:\n"
        "        server.shell(name=f'q{number}', commands=[one['command']], _ignore_errors=True)\n",
        encoding="utf-8",
    )
    began = time.monotonic()
    # A process a host, as above: in one the different work of two hosts has no common order.
    command = [python.parent / "pyinfra", "-y", place / "hosts.py", place / "deploy.py", "--limit"]
    running = [
        subprocess.Popen([*command, name], cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
        for name in work
    ]  # fmt: skip
    for one in running:
        said, _ = one.communicate()
        if one.returncode:
            raise SystemExit(f"pyinfra: {said[-2000:]}")
    return time.monotonic() - began


def peers_python() -> Path:
    place = ROOT / ".cache" / "peers"
    if not (place / "bin" / "ansible-playbook").exists():
        venv.create(place, with_pip=True)
        subprocess.run(
            [place / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEERS], check=True
        )
    return place / "bin" / "python"


def story(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-peers", action="store_true", help="without Ansible and pyinfra's CLI (no download)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the traces are left (made by this run)")
    given = parser.parse_args()
    python = None if given.no_peers else peers_python()
    if "python3" not in base.PACKAGES:
        base.PACKAGES += ("python3",)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        site = write_site(place)
        try:
            story("lab, check, bundle")
            lab.up(site)
            implops(site, "check", "site.yml", "-q")
            implops(site, "bundle", "build", "site.yml")
            story("implops deploy")
            whole = implops(site, "deploy", "site.yml", "--yes", trace=place / "trace")
            fresh = work_ms(site) / 1000
            traced = entries(place / "trace")
            changing = [
                one for one in traced if one["kind"] == "command" and one["op"]
                and ("flock -w" in one["command"] or "j=/var" in one["command"])
            ]  # fmt: skip
            files, index = {}, {}
            for name in site.hosts:
                ssh = client(site, name)
                files[name] = call(ssh, f"cd {BUNDLE} && find apt files -type f ! -name Packages").decode().split()
                index[name] = call(ssh, f"cat {BUNDLE}/apt/Packages")
                ssh.close()
            story("implops deploy, once more")
            again_whole = implops(site, "deploy", "site.yml", "--yes", trace=place / "again")
            again = work_ms(site) / 1000
            again_trips = [one for one in entries(place / "again") if one["kind"] == "trip"]
            by_ansible = by_pyinfra = None
            if python:
                work = peers_of(traced, site)
                peers = place / "peers"
                peers.mkdir()
                story("ansible")
                by_ansible = ansible(work, site, peers, python)
                story("pyinfra")
                by_pyinfra = pyinfra(work, site, peers, python)
            if given.keep:
                shutil.copytree(place / "trace", given.keep / "fresh")
                shutil.copytree(place / "again", given.keep / "again")
            bare_again(site)
            story("floor")
            floor = Floor(site, changing, files, index).run()
        finally:
            implops(site, "lab", "down", "site.yml")
    trips = Counter(one["op"] for one in traced if one["kind"] == "trip" and one["op"])
    ops = Counter(one["op"] for one in changing)
    result = {
        "bench": "deploy", "floor_s": round(floor, 1), "deploy_s": round(fresh, 1), "ratio": round(fresh / floor, 2),
        "deploy_whole_s": round(whole, 1), "again_s": round(again, 1), "again_whole_s": round(again_whole, 1),
        "ansible_again_s": by_ansible and round(by_ansible, 1),
        "pyinfra_again_s": by_pyinfra and round(by_pyinfra, 1),
        "again_to_ansible": by_ansible and round(again / by_ansible, 2),
        "commands": len(changing), "trips_fresh": sum(trips.values()),
        "trips_an_operation": round(sum(trips.values()) / max(1, len(ops)), 2), "trips_again": len(again_trips),
    }  # fmt: skip
    for name, value in result.items():
        print(f"{name:>20}  {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
