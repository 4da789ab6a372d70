"""Releases of the demo's system for the stories: other versions, broken pages, further schema files."""

from __future__ import annotations

import json
import re
import shlex
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from power import implops, ssh, write_demo, write_site

from implops.site import Site, load
from implops.store import Store

BROKEN = '<%@ page contentType="text/html;charset=UTF-8" %><% if (true) throw new IllegalStateException("boom"); %>'


def write(site: Site, version: str, *, mark: str = "", broken: str = "", schema: dict[str, str] | None = None) -> Site:
    """The site file names ``version``: the first release with a marked login page, a page that fails, more files."""
    first = site.base / "release" / "his-1.0.0.war"
    made = site.base / "release" / f"his-{version}.war"
    with zipfile.ZipFile(first) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for about in old.infolist():
            body = old.read(about)
            if about.filename == "login.jsp" and mark:
                body = body.replace(b"</body>", f"<p>{mark}</p></body>".encode())
            if about.filename == broken:
                body = BROKEN.encode()
            # The dates of the entries stay: that is what a reproducible build does.
            new.writestr(about, body)
    text = site.path.read_text(encoding="utf-8")
    text = re.sub(r"\n  version: \S+", f"\n  version: {version}", text)
    text = re.sub(r"artifact: release/his-\S+\.war", f"artifact: release/his-{version}.war", text)
    for name, body in (schema or {}).items():
        (site.base / "release" / "schema" / name).write_text(body, encoding="utf-8")
        text = re.sub(r"(  schema: \[[^\]]*)\]", rf"\1, release/schema/{name}]", text)
    site.path.write_text(text, encoding="utf-8")
    return load(site.path)


def prepare(site: Site) -> None:
    """Check and bundle, as before every deployment."""
    implops("check", site.path, "-q")
    implops("bundle", "build", site.path, timeout=900)


def fresh(
    folder: Path,
    edit: Callable[[str], str] = lambda text: text,
    arrange: Callable[[Site], None] = lambda site: None,
) -> Iterator[Site]:
    """A site of its own in ``folder``: booted, checked, bundled, deployed once; brought down in the end.

    ``edit`` changes the site file, ``arrange`` what lies beside it.
    """
    site = write_demo(write_site(folder, edit))
    arrange(site)
    try:
        implops("lab", "up", site.path)
        prepare(site)
        implops("deploy", site.path, "--yes", timeout=900)
        yield site
    finally:
        implops("lab", "down", site.path, code=None)


def last(site: Site, kind: str) -> dict[str, object]:
    event = Store.of(site.state).last(kind)
    assert event, kind
    return event.payload


def files_of_parameters(site: Site) -> None:
    """Every file that the form names for a parameter is on its host, written by the step that was given it."""
    store = Store.of(site.state)
    written: dict[str, set[str]] = {}
    for event in store.events(kind="op.finished"):
        paths = {one["path"] for one in event.payload.get("files", [])}
        written.setdefault(event.payload["step"], set()).update(paths)
    start = store.last("deploy.started")
    assert start and start.payload["files"]
    named: dict[str, set[str]] = {}
    for step, declared in start.payload["files"].items():
        for name, paths in declared.items():
            # What a release holds is put there as a whole.
            here = [one for one in paths if one in written.get(step, set()) or one.startswith("/opt/implops/releases/")]
            assert len(here) == 1, (step, name, paths)
            named.setdefault(step.partition("@")[2], set()).update(here)
    assert named.keys() == site.hosts.keys()
    for host, paths in named.items():
        asked = " ".join(f"[ -f {one} ] || echo {one};" for one in sorted(paths))
        assert ssh(site, host, f"sudo -n sh -c {shlex.quote(asked + ' true')}").stdout == "", host


def page(site: Site, kind: str, run: str) -> str:
    """The HTML of a run's form."""
    listed = [one.payload for one in Store.of(site.state).events(kind="document.rendered", run=run)]
    names = [one["number"] for one in listed if one["kind"] == kind]
    return Path(site.out / f"{names[-1]}.html").read_text(encoding="utf-8")


def notes(text: str) -> dict[str, str]:
    """Release -> state, of the lines of several RELEASE.json."""
    found = [json.loads(line) for line in text.splitlines() if line.strip()]
    return {one["id"]: one["state"] for one in found}
