"""Where what was installed comes from: who built the bundle, whose packages are in it, which files were given."""

from __future__ import annotations

from typing import Any

from implops import texts
from implops.documents.common import Frame, mono, short_hash
from implops.documents.model import Cell, Table
from implops.documents.steps import columns
from implops.units import format_size

Row = tuple[Cell | str, ...]


def sources(frame: Frame, starts: list[dict[str, Any]]) -> Table:
    """``starts``: what the run recorded each time that it was begun; one bundle is told once."""
    described = columns(
        frame, ("medium", 2.4, ""), ("content", 1.3, ""), ("source", 3.2, ""), ("dated", 1.9, ""),
        ("size", 0.8, "right"), ("sha256", 1.85, ""), ("signature", 2.1, ""),
    )  # fmt: skip
    rows: list[Row] = []
    for one in {one["bundle_sha256"]: one for one in starts}.values():
        rows += _bundle(frame, one)
    return Table(frame.say("form_install.sources"), described, tuple(rows))


def _bundle(frame: Frame, start: dict[str, Any]) -> list[Row]:
    source = start.get("source")
    name, sha256 = mono(start.get("bundle")), short_hash(start["bundle_sha256"])
    content = frame.say("form_install.content.bundle")
    if source is None:
        return [(name, content, "—", "—", "—", sha256, "—")]
    # Who built it, and when, stands in the records of the machine that did.
    events = frame.store.events(kind="bundle.finished")
    built = next((one for one in events if one.payload.get("sha256") == start["bundle_sha256"]), None)
    by = frame.say("form_install.built", tool=source["tool"], by=built.operator if built else "—")
    key = " ".join(word for word in (source["signer"], source["key"]) if word)
    rows: list[Row] = [(
        name, content, by, frame.when(built.time) if built else "—",
        format_size(built.payload["size"]) if built else "—", sha256,
        mono(key) if key else frame.say("form_install.unsigned"),
    )]  # fmt: skip
    if source["debs"]:
        origins = frame.say("form_install.archive", origins=", ".join(source["origins"])) if source["origins"] else "—"
        rows.append((
            frame.say("form_install.debs", count=source["debs"]), frame.say("form_install.content.packages"), origins,
            frame.say("form_install.index_of", date=frame.when(source["dated"])), "—", "—",
            frame.say("form_install.index_signed"),
        ))  # fmt: skip
    for one in source["files"]:
        # ``system.schema[0]``: the place in the list is no matter here.
        key = one["key"].partition("[")[0]
        what = texts.find(f"form_install.content.{key.replace('.', '_')}", frame.language) if key else None
        rows.append((
            mono(one["name"]), what or frame.say(f"form_install.content.{one['kind']}"),
            frame.say("form_install.given", key=key) if key else "—", "—", format_size(one["size"]),
            short_hash(one["sha256"]), "—",
        ))  # fmt: skip
    return rows
