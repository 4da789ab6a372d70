"""The vendor's program as an executable jar or an archive with a start command: a release, an account, a hardened unit.

``releases/VERSION-RUN`` and ``current`` are those of every system; what the program writes belongs into ``shared``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from implops.deploy import probes
from implops.deploy.release import RELEASES
from implops.errors import InputError, StepError
from implops.secrets import Secret
from implops.site import Host, Site

META = {
    "id": "app_program", "roles": ("app",), "needs": ("jdk", "nginx", "schema", "resolver"), "timeout": 600,
    "system": True,
}  # fmt: skip

FILES = "/var/lib/implops/bundle/files"
OPEN_FILES = 65535
START_SECONDS = 120
# In a release: what it was made of. The service is started anew when this or its configuration changes.
MARK = ".implops-release"


def wanted(site: Site, host: Host) -> bool:
    return bool(site.system and site.system.kind in ("jar", "archive"))


def account(site: Site) -> str:
    """A name of its own: the system may be called like something that the host has already."""
    assert site.system
    return f"app-{site.system.name}"[:32]


def unit(site: Site) -> str:
    assert site.system
    return f"app-{site.system.name}.service"


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    assert site.system
    return [
        ("directory", f"{RELEASES}/{site.system.name}", "root"),
        ("user", account(site), ""),
        ("port", str(site.system.port), "java" if site.system.kind == "jar" else "*"),
        ("service", unit(site).removesuffix(".service"), ""),
    ]


def values(site: Site, host: Host) -> dict[str, Any]:
    """What a configuration template may name. The password is revealed when it is rendered, and nowhere else."""
    assert site.system
    found: dict[str, Any] = {
        "name": site.system.name,
        "version": site.system.version,
        "environment": site.project.environment,
        "host": host.name,
        "address": host.address,
        "port": site.system.port,
        "zone": site.time.zone,
        "shared": f"{RELEASES}/{site.system.name}/shared",
        "hosts": {one.name: one.address for one in site.hosts.values()},
    }
    if site.database:
        database, db = site.database, site.only("db")
        found["database"] = {
            "url": site.jdbc_url,
            "address": db.address,
            "port": database.port,
            "name": database.name,
            "user": database.app.role,
            "password": database.app.password.resolve().reveal(),
            "pool": site.pool,
        }
    return found


def _render(path: Path, about: dict[str, Any]) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
        return environment.from_string(text).render(about)
    except OSError as error:
        raise InputError("recipe.app_program.no_template", path=path, why=error.strerror) from None
    # The vendor's template may go wrong in any way; in the sandbox it reaches nothing but its values.
    except Exception as error:
        place = f"{path}:{getattr(error, 'lineno', None) or 1}"
        raise InputError(
            "recipe.app_program.template", place=place, why=(str(error).splitlines() or ["-"])[0][:200]
        ) from None


def params(site: Site, host: Host) -> dict[str, Any]:
    system = site.system
    assert system
    with system.artifact.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    about = values(site, host)
    return {
        **rollback_params(site, host),
        "version": system.version,
        "artifact": system.artifact.name,
        "sha256": sha256,
        "kind": system.kind,
        # It may hold the password: a Secret is blinded in the journal's key and never printed.
        "config": {path: Secret(_render(template, about)) for path, template in system.config.items()},
        "schema_files": [
            {"name": one.name, "sha256": hashlib.sha256(one.read_bytes()).hexdigest()} for one in system.schema_
        ],
        "start": _start(site),
        "open_files": OPEN_FILES,
        "zone": site.time.zone,
    }


def files(site: Site, host: Host) -> dict[str, str]:
    assert site.system
    current = f"{RELEASES}/{site.system.name}/current"
    found = {"version": f"{current}/RELEASE.json", "schema_files": f"{current}/RELEASE.json"}
    found |= dict.fromkeys(("account", "start", "open_files", "zone", "java_home"), f"{current}/{unit(site)}")
    return found | {f"config.{path}": f"{current}/{path}" for path in site.system.config}


def _start(site: Site) -> list[str]:
    """The command, its program first; paths are relative to the release."""
    system = site.system
    assert system
    start = system.start
    if system.kind == "archive":
        return [start.command or "", *start.arguments]
    heap = [f"-Xms{start.heap // 2**20}m", f"-Xmx{start.heap // 2**20}m"] if start.heap else []
    fixed = ["-XX:+ExitOnOutOfMemoryError", "-Dfile.encoding=UTF-8", f"-Duser.timezone={site.time.zone}"]
    jar = ["-cp", f"{system.name}.jar", start.main] if start.main else ["-jar", f"{system.name}.jar"]
    return ["java", *heap, *fixed, *start.options, *jar, *start.arguments]


def rollback_params(site: Site, host: Host) -> dict[str, Any]:
    """What switching to another release needs: nothing of the vendor's files, and no secret."""
    assert site.system
    return {
        "system": site.system.name,
        "account": account(site),
        "unit": unit(site),
        "port": site.system.port,
        "address": host.address,
        "watched": sorted(site.system.config),
        "logs": site.system.logs,
        "java_home": site.jdk.home if site.jdk else "",
    }


def units(site: Site, host: Host) -> list[str]:
    """The services that hold the database open."""
    return [unit(site)]


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops, release_ops

    d = host.data
    home = f"{RELEASES}/{d.system}"
    ops.bounded_shell(
        f"useradd --system --user-group --no-create-home --home-dir {home}/shared --shell /usr/sbin/nologin "
        f"{d.account}",
        unless=f"getent passwd {d.account} >/dev/null",
        name="recipe.app_program.account",
    )
    ops.folders(
        [
            ops.Folder("/opt/implops"),
            ops.Folder(RELEASES),
            ops.Folder(home),
            ops.Folder(f"{home}/shared", "750", d.account, d.account),
        ],
        name="recipe.app_program.folders",
    )
    stranger = ops.fact(f"systemctl is-active -q {d.unit} || ss -Hltn 'sport = :{d.port}' | head -n 1; true").strip()
    if stranger:
        raise StepError("recipe.app_program.port_taken", host=host.name, port=d.port, who=stranger[:120])
    # The unit lies in the release: start options go back with the program.
    text = ops.template(
        "app_program.service.j2", system=d.system, account=d.account, home=home, command=_command(d, home),
        open_files=d.open_files, zone=d.zone, java_home=d.java_home,
    )  # fmt: skip
    config = [ops.File(path, text_, "640", group=d.account) for path, text_ in d.config.items()]
    name = f"{d.system}.jar" if d.kind == "jar" else "program.archive"
    release = release_ops.Release(
        d.system,
        d.version,
        d.run,
        [(f"{FILES}/{d.artifact}", name, d.sha256)],
        [*config, ops.File(d.unit, text), ops.File(MARK, f"{d.version} {d.sha256}\n")],
        d.schema_files,
    )
    id = release_ops.release_id(release)
    release_ops.stage(release, id, unpack=name if d.kind == "archive" else "", name="recipe.app_program.release")
    _switch(d, id)


def _command(d: Any, home: str) -> str:
    """For ExecStart: systemd's own characters are doubled, every word quoted."""
    program, *words = d.start
    path = "/usr/bin/java" if d.kind == "jar" else f"{home}/current/{program}"
    escaped = [one.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") for one in words]
    return " ".join([path, *(f'"{one}"' for one in escaped)])


def rollback() -> None:
    from pyinfra import host

    _switch(host.data, host.data.release)


def _switch(d: Any, id: str) -> None:
    from implops.deploy import ops, release_ops

    home = f"{RELEASES}/{d.system}"
    path = f"/etc/systemd/system/{d.unit}"
    release_ops.activate(home, id, name="recipe.app_program.current")
    # Through ``current``: program, configuration and start command go forward and back with one rename.
    ops.links(
        [(path, f"{home}/current/{d.unit}"), (f"/etc/systemd/system/multi-user.target.wants/{d.unit}", f"../{d.unit}")],
        name="recipe.app_program.unit",
    )
    read = [path, *(f"{home}/current/{one}" for one in (MARK, *d.watched))]
    if d.java_home:
        read.append(f"{d.java_home}/release")
    ops.restart_if_stale(
        d.unit, read, mark=f"release-{d.system}", watched=d.logs, name="recipe.app_program.restart"
    )  # fmt: skip


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.system and site.system.port
    return [
        probes.active(unit(site), stable_s=3),
        probes.tcp(host.address, site.system.port, deadline_s=START_SECONDS),
    ]


def undo_params(site: Site, host: Host) -> dict[str, Any]:
    return rollback_params(site, host)


def leaves(site: Site, host: Host) -> list[str]:
    assert site.system
    return [f"{RELEASES}/{site.system.name}"]


def undo() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    folder = "/etc/systemd/system"
    files = [f"{folder}/multi-user.target.wants/{d.unit}", f"{folder}/{d.unit}", f"{RELEASES}/{d.system}/current"]
    files.append(f"{ops.APPLIED}/release-{d.system}")
    ops.withdraw([d.unit], files, name="recipe.app_program.undo")
