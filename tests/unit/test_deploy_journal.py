"""What a run that was cut off leaves for the one that takes it up."""

from __future__ import annotations

import pytest

from implops.deploy import journal
from implops.site import Site
from implops.store import Store, record

ABOUT = {"check_run": "C", "resumed": False, "release_sha256": "one", "bundle_sha256": "two"}


@pytest.mark.parametrize(
    ("steps", "kept"),
    [([], False), (["jdk@app1"], False), (["jdk@app1", "schema@db1"], True), (["app_war@app1"], True)],
)
def test_a_backup_counts_only_when_the_data_were_touched_after_it(
    site: Site, store: Store, steps: list[str], kept: bool
) -> None:
    with pytest.raises(OSError), record(store, site, "deploy", "李工/1", ABOUT) as run:
        run.event("database.saved", {"run": "B"})
        for step in steps:
            run.event("step.started", {"step": step})
        raise OSError
    assert journal.unfinished(store, "last").saved == ({"run": "B"} if kept else None)


def test_other_content_is_not_what_was_begun(site: Site, store: Store) -> None:
    with pytest.raises(OSError), record(store, site, "deploy", "李工/1", ABOUT):
        raise OSError
    earlier = journal.unfinished(store, "last")
    assert [earlier.same(*one) for one in (("one", "two"), ("other", "two"), ("one", "other"))] == [True, False, False]
