"""What explain tells comes from the check's own code, and every check can be explained."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from implops.check import explain, registry
from implops.cli import explain as verb
from implops.errors import InputError
from implops.site import Site

CHECKS = registry.load(None)


def test_how_a_check_is_read_is_what_its_function_names() -> None:
    found = explain.explain(CHECKS["LIM07"], CHECKS, None)
    assert [fact.name for fact in found.facts] == ["Kernel"]
    assert found.facts[0].lines == ("somaxconn /proc/sys/net/core/somaxconn",)
    assert (found.cost, found.risk, found.deploy_aware) == ("trip1", "safe", True)
    assert ("thresholds.yml", "*", "128", "1024") in found.limits
    # Through a function of its file, and for a second trip.
    flows = explain.explain(CHECKS["NET01"], CHECKS, None)
    assert "Flows" in {fact.name for fact in flows.facts}
    assert flows.cost == "trip2"
    assert explain.explain(CHECKS["ACC01"], CHECKS, None).cost == "computed"


def test_every_check_says_how_it_is_read(site: Site) -> None:
    silent = {id for id, one in CHECKS.items() if not explain.explain(one, CHECKS, site.base).facts}
    # These look at the connection itself, or at the site file.
    assert silent <= {"ACC01", "ACC02", "ACC03", "ACC05", "ACC06", "SEC06"}


def test_the_verb_works_without_a_site_and_stays_within_the_width(site: Site) -> None:
    done = CliRunner().invoke(verb.command, ["mem01"])
    assert done.exit_code == 0
    assert "本站点" not in done.output
    assert max(map(cell_len, done.output.splitlines())) <= 80
    with_site = CliRunner().invoke(verb.command, ["MEM01", str(site.path), "-v"])
    assert "本站点" in with_site.output
    assert "db1:必须 1.86 GiB" in with_site.output
    assert "# checks/probes/memory.sh" in with_site.output


def test_an_unknown_id_is_answered_with_those_near_it() -> None:
    with pytest.raises(InputError) as caught:
        verb.say("MEM99", None)
    assert "MEM01" in str(caught.value)
