"""Numbers, builds and writes the documents of a run, and records that it did. The one place that chooses writers."""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import pkgutil
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from implops import documents
from implops.documents.model import Document, Language
from implops.errors import InputError
from implops.site import Site
from implops.store import Event, Store

_NOT_FORMS = {"model", "common", "render"}
# The middle of a document number: HIS-TEST-ENV-0001.
_ENVIRONMENTS = {"test": "TEST", "pre-production": "PRE", "production": "PROD"}
FORMATS = ("docx", "xlsx", "html")


def forms() -> dict[str, ModuleType]:
    """KIND -> form file, by walking this folder. A form file has ``KIND``, ``VERBS`` and ``build``."""
    found = {}
    for info in pkgutil.iter_modules(documents.__path__):
        if info.name not in _NOT_FORMS and not info.name.startswith("_"):
            module = importlib.import_module(f"{documents.__name__}.{info.name}")
            if hasattr(module, "KIND"):
                found[str(module.KIND)] = module
    return found


def kinds_of(verb: str) -> list[str]:
    """The forms that document a run of ``verb``."""
    return [kind for kind, module in forms().items() if verb in module.VERBS]


def started_of(store: Store, run: str) -> Event:
    """The VERB.started of a run. Raises InputError when the store has no such run."""
    for event in store.events(run=run):
        if event.kind.endswith(".started") and "project" in event.payload:
            return event
    raise InputError("document.unknown_run", run=run)


def number(store: Store, site_code: str, environment: str, kind: str, run: str) -> str:
    """``HIS-TEST-ENV-0001``: the run's own number when it was rendered before, else the next of its kind."""
    prefix = f"{site_code}-{_ENVIRONMENTS[environment]}-{kind}-"
    highest = 0
    for event in store.events(kind="document.rendered"):
        given = str(event.payload["number"])
        if event.payload["kind"] == kind and event.payload["of_run"] == run:
            return given
        if match := re.fullmatch(re.escape(prefix) + r"([0-9]+)", given):
            highest = max(highest, int(match[1]))
    return f"{prefix}{highest + 1:04d}"


def build(store: Store, run: str, kind: str, document_number: str) -> Document:
    """The format-free document, in the language that the project asked for when it ran."""
    language: Language = started_of(store, run).payload["project"]["language"]
    built = _form(kind).build(store, run, document_number, language)
    assert isinstance(built, Document)
    return built


def emit(
    store: Store, site: Site, run_id: str, kind: str, operator: str, formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Write the document of a run into ``site.out`` and append ``document.rendered``; the paths.

    The same run keeps its number, and the same record gives the same bytes.
    """
    started = started_of(store, run_id)
    verb = started.kind.removesuffix(".started")
    if verb not in _form(kind).VERBS:
        raise InputError("document.no_run", run=run_id, verbs=" ".join(_form(kind).VERBS))
    project = started.payload["project"]
    site.out.mkdir(parents=True, exist_ok=True)
    with _numbering(site.state):
        given = number(store, project["code"], project["environment"], kind, run_id)
        document = build(store, run_id, kind, given)
        paths = [_write(document, site.out / f"{given}.{suffix}") for suffix in formats]
        files = [{"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in paths]
        payload = {
            "number": given,
            "kind": kind,
            "of_run": run_id,
            "verb": verb,
            "language": document.language,
            "files": files,
        }
        store.append("document.rendered", payload, run=run_id, operator=operator)
    return paths


def _form(kind: str) -> ModuleType:
    known = forms()
    if kind not in known:
        raise InputError("document.no_kind", kind=kind, known=" ".join(known))
    return known[kind]


def _write(document: Document, path: Path) -> Path:
    """Beside it, then renamed over it: a reader never sees half a document."""
    if path.suffix == ".docx":
        from implops.writers.word import write
    elif path.suffix == ".xlsx":
        from implops.writers.excel import write
    else:
        from implops.writers.html import write
    part = path.with_name(f".{path.name}.part")
    try:
        write(document, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


@contextmanager
def _numbering(folder: Path) -> Iterator[None]:
    """Two runs that end together do not take the same number."""
    descriptor = os.open(folder / "numbering", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
