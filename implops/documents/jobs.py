"""What the backup record and the drill record share."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from implops.documents.common import Frame, error_text
from implops.documents.model import Column


def columns(frame: Frame, *described: tuple[str, float, str]) -> tuple[Column, ...]:
    """(name, relative width, ``right`` or empty) with titles ``form_backup.column.NAME``."""
    return tuple(
        Column(frame.say(f"form_backup.column.{name}"), width, "right" if align == "right" else "left")
        for name, width, align in described
    )


def local(frame: Frame, time: str | None) -> str:
    """A host's time on the clock that the rest of the form uses: hosts may live in another zone than this machine."""
    if time is None:
        return "—"
    zone = datetime.fromisoformat(frame.started.time).tzinfo
    return datetime.fromisoformat(time).astimezone(zone).strftime("%H:%M:%S")


def fault(frame: Frame, answer: dict[str, Any]) -> str:
    """Why a job went wrong: an error of ours, or a code of the program on the host with its last words."""
    error = answer["error"]
    if "key" in error:
        return error_text(error, frame.language)
    lines = [line.strip() for line in str(error["detail"]).splitlines() if line.strip()]
    return frame.say(f"backup.error.{error['code']}", detail=(lines[-1] if lines else "-")[:300])
