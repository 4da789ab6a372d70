"""Read a YAML file strictly into a model: YAML 1.2, line numbers, unknown and duplicate keys refused with the nearest
right word. The site file and the mapping files of an import share it.

Errors are SiteError with a key of the ``site`` area and ``place="site.yml:14 hosts.db1"``.
"""

from __future__ import annotations

import difflib
import io
import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError

from implops import texts
from implops.errors import SiteError

M = TypeVar("M", bound=BaseModel)
Where = tuple[str | int, ...]


class Lines:
    """Finds the line of a path of keys in the document."""

    def __init__(self, path: Path, document: Any) -> None:
        self.path, self.document = path, document

    def place(self, where: Where) -> str:
        node, line = self.document, 1
        for key in where:
            marks = getattr(node, "lc", None)
            try:
                mark = marks.key(key) if isinstance(node, dict) else marks.item(key)  # type: ignore[union-attr]
                line = mark[0] + 1
                node = node[key]
            except (KeyError, TypeError, IndexError, AttributeError):
                break
        dotted = ".".join(str(key) for key in where)
        return f"{self.path.name}:{line} {dotted}".rstrip()


def read(path: Path) -> tuple[dict[str, Any], Lines]:
    """The file as plain values, and where each stands. Raises SiteError for what is not a YAML mapping."""
    document = _parse(path)
    lines = Lines(path, document)
    plain = _plain(document)
    if not isinstance(plain, dict):
        raise SiteError("site.not_a_mapping", place=lines.place(()))
    return plain, lines


def validate(model: type[M], plain: dict[str, Any], lines: Lines, context: dict[str, Any]) -> M:
    """The model of ``plain``. Raises SiteError("site.…") for the first fault in the order of the file."""
    try:
        return model.model_validate(plain, context=context)
    except ValidationError as error:
        raise _first(model, error, plain, lines) from None


def nearest(word: str, known: list[str]) -> str:
    """What may stand instead of ``word``, the closest first: ``hosts?(project hosts roles)``."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"{close[0]}?({' '.join(known)})" if close else " ".join(known)


def _parse(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise SiteError("site.not_utf8", place=f"{path.name}:{line}") from None
    except OSError as error:
        raise SiteError("site.unreadable", path=path, why=error.strerror) from None
    yaml = YAML(typ="rt")
    yaml.version = (1, 2)
    try:
        return yaml.load(io.StringIO(text.lstrip("\ufeff")))
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        found = re.search(r'duplicate key "?([^" ]+)"?', str(error.problem))
        raise SiteError("site.duplicate", place=f"{path.name}:{line}", key=found[1] if found else "") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SiteError("site.yaml", place=f"{path.name}:{line}", why=error.problem or error.context) from None


def _plain(value: Any) -> Any:
    """ruamel's round-trip types as plain ones; the model must not depend on how a number was written."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _first(root: type[BaseModel], error: ValidationError, plain: Any, lines: Lines) -> SiteError:
    """The first fault in the order of the file."""
    found = error.errors(include_url=False)
    # A misspelt key is missing under its right name as well; the line of the misspelling is the one to mend.
    misspelt = {fault["loc"][:-1] for fault in found if fault["type"] == "extra_forbidden"}
    found = [fault for fault in found if fault["type"] != "missing" or fault["loc"][:-1] not in misspelt]
    faults = [(lines.place(_where(fault["loc"], plain)), fault) for fault in found]
    place, fault = min(faults, key=lambda one: int(one[0].split(":")[1].split(" ")[0]))
    kind, where = fault["type"], _where(fault["loc"], plain)
    value = fault.get("input")
    if kind == "extra_forbidden":
        key = str(fault["loc"][-1])
        return SiteError("site.unknown", place=place, key=key, known=nearest(key, _known_keys(root, where[:-1])))
    if kind == "missing":
        return SiteError("site.missing", place=place, key=fault["loc"][-1])
    if kind == "literal_error":
        expected = re.findall(r"'([^']*)'|\b([0-9]+)\b", fault.get("ctx", {}).get("expected", ""))
        words = [a or b for a, b in expected]
        return SiteError("site.literal", place=place, value=_short(value), known=nearest(str(value), words))
    if kind == "value_error":
        code, got, allowed = ([*str(fault["msg"]).removeprefix("Value error, ").split("|"), "", ""])[:3]
        key = code if "." in code else f"site.form.{code}"
        if texts.find(key):
            return SiteError(key, place=place, value=_short(got), allowed=allowed)
    why = texts.find(f"site.why.{kind}")
    reason = why.format_map(fault.get("ctx", {})) if why else fault["msg"]
    return SiteError("site.type", place=place, value=_short(value), why=reason)


def _where(loc: Where, plain: Any) -> Where:
    """pydantic's location without its own words (``[key]``, names of union members)."""
    path: list[str | int] = []
    node = plain
    for step in loc:
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
        elif step == loc[-1] and step != "[key]":
            path.append(step)
            break
        else:
            continue
        path.append(step)
    return tuple(path)


def _known_keys(root: type[BaseModel], where: Where) -> list[str]:
    """The keys that the model knows at a path."""
    model: Any = root
    for step in where:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if step in fields:
            model = _models(fields[str(step)].annotation)
    return (
        [field.alias or name for name, field in model.model_fields.items()]
        if isinstance(model, type) and issubclass(model, BaseModel)
        else []
    )


def _models(annotation: Any) -> Any:
    """The model inside ``X | None``, ``list[X]`` or ``dict[K, X]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _models(inner)
        if found is not None:
            return found
    return None


def _short(value: object) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return text if len(text) <= 60 else text[:57] + "…"
