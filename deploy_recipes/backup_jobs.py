"""What makes a host back itself up: the program, its key and password, configuration, timers. No controller needed."""

from __future__ import annotations

import json
from typing import Any

from implops import kit, trust
from implops.backup import jobs, keys
from implops.deploy import probes
from implops.errors import InputError
from implops.site import Host, Site

META = {"id": "backup_jobs", "roles": jobs.SOURCES, "needs": ("os_base", "storage"), "timeout": 900}

ETC, LIB, PROGRAM = "/etc/implops/backup", "/opt/implops/lib/backup", "/opt/implops/bin/implops-backup"
ACCOUNT = "implops-backup"


def wanted(site: Site, host: Host) -> bool:
    return site.backup is not None


def packages(site: Site, host: Host) -> list[str]:
    return ["restic", "openssh-client", "python3"]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    return [
        *(("package", name, "") for name in packages(site, host)),
        *(("service", f"implops-backup@{job}.timer", "") for job in jobs.jobs(site, host)),
    ]


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.backup
    storage = site.hosts[site.backup.repository.host]
    name = trust.name_of(site, storage)
    pinned = trust.read(site.known_hosts).get(name)
    if pinned is None:
        raise InputError("recipe.backup_jobs.no_key", host=storage.name)
    declared = jobs.jobs(site, host)
    config = {"host": host.name, "repository": f"sftp:implops-repo:{jobs.place(site, host)}", "jobs": declared}
    policies = {"database": site.backup.database, "program": site.backup.program}
    timers = {}
    for job in declared:
        policy = policies[job]
        timers[f"implops-backup@{job}"] = jobs.calendar(policy.every)
        if policy.drill != "never":
            timers[f"implops-drill@{job}"] = jobs.drill_calendar(policy.every, policy.drill)
    return {
        "config": json.dumps(config, indent=1),
        "program": {name: path.read_text(encoding="utf-8") for name, path in kit.files("backups", site.base).items()},
        "known_hosts": f"{name} {pinned}\n",
        "storage": [storage.address, storage.port or site.ssh.port],
        "key": keys.private(site, host),
        "password": site.backup.repository.password.resolve(),
        "timers": timers,
    }


def files(site: Site, host: Host) -> dict[str, str]:
    found = {"config": "config.json", "known_hosts": "known_hosts", "storage": "ssh_config", "key": "id_ed25519",
             "password": "repo-password"}  # fmt: skip
    given = params(site, host)
    return {
        **{name: f"{ETC}/{file}" for name, file in found.items()},
        **{f"program.{name}": f"{LIB}/{name}" for name in given["program"]},
        **{f"timers.{name}": f"/etc/systemd/system/{name}.timer" for name in given["timers"]},
    }


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    ops.install(d.packages, name="recipe.backup_jobs.packages")
    ops.folders(
        [
            ops.Folder("/etc/implops", "700"),
            ops.Folder(ETC, "700"),
            ops.Folder("/var/lib/implops/backup", "700"),
            ops.Folder("/var/cache/implops", "700"),
            ops.Folder("/opt/implops"),
            ops.Folder("/opt/implops/bin"),
            ops.Folder(LIB),
        ],
        name="recipe.backup_jobs.folders",
    )
    address, port = d.storage
    files = [ops.File(f"{LIB}/{name}", text) for name, text in d.program.items()]
    files += [
        # Isolated from the environment and from other people's Python; no .pyc beside the sources.
        ops.File(PROGRAM, f'#!/bin/sh\nexec /usr/bin/python3 -B -E -s {LIB}/main.py "$@"\n', "755"),
        ops.File(f"{ETC}/config.json", d.config + "\n", "600"),
        ops.File(f"{ETC}/repo-password", d.password + "\n", "600"),
        ops.File(f"{ETC}/id_ed25519", d.key if d.key.endswith("\n") else d.key + "\n", "600"),
        ops.File(f"{ETC}/known_hosts", d.known_hosts, "600"),
        ops.File(
            f"{ETC}/ssh_config",
            ops.template("backup_jobs.ssh.j2", address=address, port=port, user=ACCOUNT, etc=ETC),
            "600",
        ),
        *(_unit(verb) for verb in ("run", "drill")),
        *(_timer(name, calendar) for name, calendar in d.timers.items()),
    ]
    ops.write(files, name="recipe.backup_jobs.files")
    ops.bounded_shell(f"{PROGRAM} init", 180, unless=f"{PROGRAM} ready", name="recipe.backup_jobs.repository")
    timers = [f"{name}.timer" for name in d.timers]
    ops.service(timers, name="recipe.backup_jobs.timers")
    for name in d.timers:
        path = f"/etc/systemd/system/{name}.timer"
        ops.restart_if_stale(f"{name}.timer", [path], name="recipe.backup_jobs.started")


def _unit(verb: str) -> Any:
    from implops.deploy import ops

    name = "backup" if verb == "run" else "drill"
    return ops.File(
        f"/etc/systemd/system/implops-{name}@.service",
        ops.template("backup_jobs.service.j2", verb=verb, program=PROGRAM),
    )


def _timer(name: str, calendar: str) -> Any:
    from implops.deploy import ops

    return ops.File(
        f"/etc/systemd/system/{name}.timer", ops.template("backup_jobs.timer.j2", name=name, calendar=calendar)
    )


def verify(site: Site, host: Host) -> list[probes.Probe]:
    timers = [f"implops-backup@{job}.timer" for job in jobs.jobs(site, host)]
    return [
        probes.shell("backup:repository", f"{PROGRAM} ready", deadline_s=60),
        *(probes.active(timer, stable_s=0) for timer in timers),
    ]


def undo_params(site: Site, host: Host) -> dict[str, Any]:
    return {"jobs": jobs.jobs(site, host)}


def undo() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    names = [f"implops-{what}@{job}.timer" for what in ("backup", "drill") for job in d.jobs]
    units = [*names, "implops-backup@.service", "implops-drill@.service"]
    # The key and the password go: this host has nothing more to do with the repository.
    secrets = [f"{ETC}/{name}" for name in ("id_ed25519", "repo-password", "config.json", "known_hosts", "ssh_config")]
    ops.withdraw(names, [*(f"/etc/systemd/system/{one}" for one in units), *secrets], name="recipe.backup_jobs.undo")
