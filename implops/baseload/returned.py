"""What came back from the customer, judged by the mappings alone before there is a server: missing, wrong, complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from implops.baseload.check import dictionary, judged, wanted_codes
from implops.baseload.judge import Known, lookups
from implops.baseload.mapping import Mapping
from implops.baseload.proof import prove
from implops.baseload.rows import Reader, Reject
from implops.baseload.sheet import sheets
from implops.baseload.target import Cell, Table, TableColumn, fit
from implops.baseload.template import sheet_name, titles
from implops.errors import DataError, ImplopsError, InputError

_TYPES = {"text": "text", "int": "int8", "decimal": "numeric", "date": "date", "datetime": "timestamp", "time": "time",
          "bool": "bool"}  # fmt: skip


@dataclass
class Returned:
    """One import's data. ``state``: complete | missing | empty | rejected | refused. ``unjudged``: columns whose codes
    only the database knows.
    """

    mapping: Mapping
    state: str
    file: str = ""
    sha256: str = ""
    rows: int = 0
    rejects: list[Reject] = field(default_factory=list)
    rejected: int = 0
    error: ImplopsError | None = None
    unjudged: list[str] = field(default_factory=list)


def validate(mappings: Sequence[Mapping], place: Path) -> list[Returned]:
    """Judge a workbook of collect, or a folder with such workbooks and files. Raises InputError when it is neither."""
    books = _workbooks(place)
    found: list[Returned] = []
    pending: Known = {}
    for number, mapping in enumerate(mappings):
        one = _source(mapping, place, books)
        if one is None:
            found.append(Returned(mapping, "missing"))
            continue
        try:
            found.append(_judge(one, pending, wanted_codes(one, mappings[number + 1 :])))
        except (InputError, DataError) as error:
            empty = error.key in ("import.no_rows", "import.empty_file")
            found.append(Returned(one, "empty" if empty else "refused", one.file.name, error=error))
    return found


def _workbooks(place: Path) -> dict[str, Path]:
    """Sheet -> workbook."""
    if place.is_dir():
        paths = sorted(one for one in place.glob("*.xlsx") if not one.name.startswith((".", "~$")))
    elif place.suffix.lower() == ".xlsx" and place.is_file():
        paths = [place]
    else:
        raise InputError("collect.no_place", path=place)
    found: dict[str, Path] = {}
    for path in paths:
        from implops.baseload.inspection import bare

        for name in sheets(bare(path, "utf-8", kind="xlsx")):
            found.setdefault(name, path)
    return found


def _source(mapping: Mapping, place: Path, books: dict[str, Path]) -> Mapping | None:
    """The mapping pointed at what came back: a file of its name, or its sheet of a workbook; None when neither is."""
    name = Path(mapping.source.file).name
    if place.is_dir() and any(place.glob(name) if any(one in name for one in "*?") else [(place / name).is_file()]):
        return _moved(mapping, {"file": name}, place, {})
    path = books.get(sheet_name(mapping))
    if path is None:
        return None
    named = titles(mapping)
    columns = {
        name: column.model_copy(update={"source": named[name]}) if name in named else column
        for name, column in mapping.columns.items()
    }
    source: dict[str, object] = {
        "file": path.name, "format": "xlsx", "sheet": sheet_name(mapping), "encoding": "", "member": None,
        "header_row": 1, "skip": (0, 0), "sha256": None, "widths": [],
    }  # fmt: skip
    return _moved(mapping, source, path.parent, {"columns": columns, "ignore": []})


def _moved(mapping: Mapping, source: dict[str, object], folder: Path, more: dict[str, object]) -> Mapping:
    made = mapping.model_copy(update={"source": mapping.source.model_copy(update=source), **more})
    made.__dict__.pop("file", None)
    # Dictionaries lie beside the mapping, the data elsewhere: an absolute name finds it.
    made = made.model_copy(
        update={"source": made.source.model_copy(update={"file": str((folder / str(source["file"])).absolute())})}
    )
    made._path = mapping.path
    return made


def _judge(mapping: Mapping, pending: Known, collect: frozenset[str]) -> Returned:
    proof = prove(mapping)
    cells = fit(mapping, table_of(mapping))
    known, unjudged = _known(mapping, cells, pending)
    reader, _ = judged(
        lambda told: Reader(mapping, cells, known, {}, collect=collect, suspicious=True, suspects=told),
        lambda rows, line: None,
    )
    for column, codes in reader.collected.items():
        pending[(mapping.target.schema_name, mapping.target.table_name, column)] = codes
    state = "complete" if reader.tally.rejected <= mapping.allowed_rejects(reader.tally.rows) else "rejected"
    return Returned(mapping, state, mapping.file.name, proof.sha256, reader.tally.rows, reader.rejects,
                    reader.tally.rejected, unjudged=unjudged)  # fmt: skip


class _Anything(set[str]):
    """Codes that only the database knows: nothing is refused for want of them."""

    def issuperset(self, other: object) -> bool:
        return True


def _known(mapping: Mapping, cells: Sequence[Cell], pending: Known) -> tuple[Known, list[str]]:
    known: Known = {}
    unjudged: list[str] = []
    for cell in cells:
        for key in lookups(cell):
            if not key[0] and mapping.dictionaries[key[2]].table is None:
                known[key] = dictionary(None, mapping, key[2]) | {""}
            elif key[0] and key[:3] in pending:
                known[key] = set(pending[key[:3]]) | {""}
            else:
                known[key] = _Anything()
                unjudged.append(cell.name)
    return known, unjudged


def table_of(mapping: Mapping) -> Table:
    """A table that takes whatever the mapping allows."""
    columns = {}
    for name, column in mapping.columns.items():
        digits, behind = column.precision if column.kind == "decimal" else (None, None)
        columns[name] = TableColumn(name, _TYPES[column.kind], None, digits, behind, False, False, False)
    return Table((mapping.target.schema_name, mapping.target.table_name), columns, "UTF8", 0, 0, ())
