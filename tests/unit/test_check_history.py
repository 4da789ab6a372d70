"""Facts of a real shell on this machine, judged, stored, judged again; answers for other programs."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from implops import kit
from implops.check import formats, history, registry
from implops.check.gather import Seen, _parameters, about, kinds, scripts_of
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.check.model import Result, State, Verdict
from implops.cli.main import main
from implops.deploy.recipes import planned
from implops.errors import InputError, SiteError
from implops.facts.base import Unknown, build
from implops.facts.script import assemble, load_probe, parse
from implops.facts.system import Cpu, Kernel, Memory, System
from implops.site import Site, load
from implops.store import Store, record

NONCE = "0123456789abcdef"


@pytest.fixture(scope="module", params=["dash", "bash", "busybox sh"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def asked_here(site: Site, shell: str) -> Seen:
    """The first trip's script in a shell of this machine, on standard input as on a host."""
    host, probes = site.hosts["db1"], kit.files("checks/probes", None, "*.sh")
    wanted = [kind for kind in kinds() if kind.trip == 1]
    script = assemble([load_probe(k.section, probes, _parameters(k, site, host, [])) for k in wanted], NONCE)
    done = subprocess.run([*shell.split(), "-s"], input=script.encode(), capture_output=True, timeout=60)
    answer = parse(done.stdout, NONCE, [kind.section for kind in wanted])
    facts = {kind: build(kind, answer.sections[kind.section]) for kind in wanted}
    return Seen(host, facts=facts, raw={1: done.stdout}, sent=1, received=2, login_ms=50)


def test_a_real_shell_answers_what_the_kernel_says(site: Site, shell: str) -> None:
    seen = asked_here(site, shell)
    system, kernel, memory, cpu = (seen.fact(kind) for kind in (System, Kernel, Memory, Cpu))
    assert not any(isinstance(one, Unknown) for one in (system, kernel, memory, cpu))
    assert system.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # Values of several digits: a shell that reads /proc/sys byte by byte sees only the first.
    assert kernel.somaxconn == int(Path("/proc/sys/net/core/somaxconn").read_text(encoding="ascii"))
    assert kernel.keepalive == int(Path("/proc/sys/net/ipv4/tcp_keepalive_time").read_text(encoding="ascii"))
    assert memory.swappiness == int(Path("/proc/sys/vm/swappiness").read_text(encoding="ascii"))
    assert cpu.count >= 1
    # Every section came whole, whatever shell printed it.
    assert [kind.section for kind, one in seen.facts.items() if isinstance(one, Unknown)] == []


def test_every_script_is_understood_by_every_shell(site: Site, shell: str) -> None:
    for host in site.hosts.values():
        for trip, _, probes in scripts_of(site, planned(site), host, (1, 2, 3)):
            done = subprocess.run([*shell.split(), "-n"], input=assemble(probes, NONCE).encode(), capture_output=True)
            assert (done.returncode, done.stderr) == (0, b""), (host.name, trip)


def test_stored_answers_are_judged_as_they_were_and_by_new_thresholds(site: Site, store: Store) -> None:
    seen = asked_here(site, "dash")
    checks = registry.load(None)
    first = judge(Scene(site, {"db1": seen}, [], {}, Limits(site, checks)), checks)
    with record(store, site, "check", "王工/1", {}) as run:
        evidence = tuple(run.keep(raw) for raw in seen.raw.values())
        verdicts = [one.payload() for one in first]
        run.event("host.checked", {"host": "db1", "about": about(seen), "verdicts": verdicts}, evidence)
        run.finish("pass", {})
    _, again = history.replay(site, store, run.id, [])
    assert [one.payload() for one in again] == verdicts
    assert history.compare(verdicts, again) == []
    folder = site.base / "checks" / "profiles"
    folder.mkdir(parents=True)
    (folder / "small.yml").write_text("thresholds: {LIM07: {db: {need: 1000000000}}}\n", encoding="utf-8")
    _, stricter = history.replay(site, store, run.id, [])
    one = next(one for one in stricter if one.id == "LIM07")
    assert (one.state, one.result.source) == ("warn", "profile")
    assert "1000000000" in one.result.required
    assert history.not_passed(store) == tuple(
        dict.fromkeys(one.id for one in first if one.state in ("fail", "warn", "error", "absent"))
    )
    assert history.find(store, "last") == run.id == history.find(store, run.id[-6:].lower())
    with pytest.raises(InputError):
        history.find(store, "nothing")


def test_a_replay_knows_the_waivers_of_today_and_refuses_what_needs_a_host(
    site: Site, example: Path, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    seen = asked_here(site, "dash")
    with record(store, site, "check", "王工/1", {}) as run:
        run.event("host.checked", {"host": "db1", "about": about(seen), "verdicts": []}, (run.keep(seen.raw[1]),))
        run.finish("pass", {})
    # More memory than this machine has.
    text = example.read_text(encoding="utf-8").replace("{need: 2 GB, want: 4 GB}", "{need: 900 TB}")
    waiver = "{id: MEM01, host: db1, at: '%s', reason: x, approver: 项目经理, until: 2099-12-31}"
    # Of a host that this run did not ask, and of a test that a replay cannot run: no mistakes.
    more = waiver.replace("MEM01", "DSK03").replace("db1", "app1") + ", " + waiver.replace("MEM01", "T.fonts.x")
    for at, state, lapsed in (("1 MB", "waived", None), ("800 TB", "fail", "worse")):
        example.write_text(text.replace("waive: []", f"waive: [{waiver % at}, {more % (1, 1)}]"), encoding="utf-8")
        _, found = history.replay(load(example), store, run.id, [])
        (one,) = (one for one in found if one.id == "MEM01")
        assert (one.state, one.result.params.get("lapsed")) == (state, lapsed)
    example.write_text(text.replace("waive: []", f"waive: [{waiver.replace('MEM01', 'LIM99') % 1}]"), encoding="utf-8")
    with pytest.raises(SiteError) as caught:
        history.replay(load(example), store, run.id, [])
    assert caught.value.key == "check.waiver_id"

    example.write_text(text, encoding="utf-8")
    monkeypatch.setenv("IMPLOPS_OPERATOR", "王工/1")
    script = example.with_name("x.sh")

    def replayed(*words: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["check", str(example), "--replay", "last", *words])
        return ended.value.code, *capsys.readouterr()

    for words in (["--apply"], ["--fix-script", str(script)], ["--deep"], ["--host", "db1"], ["--retry-failed"]):
        code, out, err = replayed(*words)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert words[0] in err
    assert not script.exists()
    code, out, _ = replayed("--json", "--only", "MEM01")
    assert (code, [one["state"] for one in json.loads(out)["verdicts"]]) == (1, ["fail"])
    assert replayed("--only", "MEM99")[0] == 2
    assert store.last("check.finished").run == run.id  # type: ignore[union-attr]


def verdict(id: str, state: State, actual: str = "1", **more: str) -> Verdict:
    return Verdict(id, "db1", "fail", Result(state, actual, "≥ 2", **more))


def test_what_is_new_cleared_and_drifted() -> None:
    before = [
        verdict("MEM01", "pass"),
        verdict("SEC03", "fail", "mysqld"),
        verdict("DSK03", "warn", "85 %"),
        verdict("OS01", "fail"),
    ]
    after = [verdict("MEM01", "fail", "0"), verdict("SEC03", "pass", "—"), verdict("DSK03", "warn", "88 %")]
    found = history.compare([one.payload() for one in before], after)
    assert [(one.kind, one.id) for one in found] == [
        ("new", "MEM01"), ("cleared", "SEC03"), ("drifted", "DSK03"), ("cleared", "OS01"),
    ]  # fmt: skip


def test_a_host_that_is_away_is_one_change_and_clears_nothing() -> None:
    before = [verdict("DSK03", "warn", target="/data"), verdict("MEM01", "pass"), verdict("OS01", "fail")]
    after = [verdict("DSK03", "absent"), verdict("MEM01", "absent"), verdict("OS01", "absent")]
    found = history.compare([one.payload() for one in before], after)
    assert [(one.kind, one.host) for one in found] == [("away", "db1")]
    assert history.compare([one.payload() for one in after], after) == []


def test_a_run_of_some_checks_clears_only_what_it_asked() -> None:
    before = [verdict("DSK03", "warn", target="/data"), verdict("DSK03", "warn", target="/"), verdict("OS01", "fail")]
    found = history.compare([one.payload() for one in before], [verdict("DSK03", "warn", target="/")], whole=False)
    assert [(one.kind, one.id, one.target) for one in found] == [("cleared", "DSK03", "/data")]


def test_what_is_known_is_the_last_complete_check_and_what_was_asked_again(site: Site, store: Store) -> None:
    def checked(complete: bool, *verdicts: Verdict) -> None:
        with record(store, site, "check", "王工/1", {}) as run:
            run.event("host.checked", {"host": "db1", "verdicts": [one.payload() for one in verdicts]})
            run.finish("fail", {"complete": complete})

    with pytest.raises(InputError):
        history.not_passed(store)
    checked(True, verdict("OS01", "fail"))
    checked(True, verdict("MEM01", "fail"), verdict("DSK03", "warn", target="/"), verdict("DSK03", "warn", target="/b"))
    checked(False, verdict("DSK03", "pass", target="/"))
    checked(False, verdict("SEC03", "fail"))
    assert history.not_passed(store) == ("MEM01", "SEC03")
    assert len(history.standing(store)) == 3


EVERY = [verdict("A1", "pass", "<1 & \"2\""), verdict("A2", "fail"), verdict("A3", "error", note="reason.tool"),
         verdict("A4", "skip", note="no_dns"), verdict("A5", "warn"), verdict("A6", "absent")]  # fmt: skip


def test_junit_counts_what_failed_what_was_not_measured_and_what_does_not_apply() -> None:
    suite = ET.fromstring(formats.junit(EVERY, lambda one: "title # <x>", lambda one: "\x1bsaid"))[0]  # noqa: S314 - our own text
    assert suite.attrib == {"name": "db1", "tests": "6", "failures": "2", "errors": "1", "skipped": "1"}
    assert [next(iter(case)).tag for case in suite] == [
        "system-out",
        "failure",
        "error",
        "skipped",
        "system-out",
        "failure",
    ]


def test_tap_has_a_line_for_every_verdict() -> None:
    lines = formats.tap(EVERY, lambda one: "t # t", lambda one: "a\nb").splitlines()
    assert lines[:2] == ["TAP version 13", "1..6"]
    assert [line.split(" - ")[0] for line in lines[2:]] == ["ok 1", "not ok 2", "not ok 3", "ok 4", "ok 5", "not ok 6"]
    assert lines[5].endswith("# SKIP")


@pytest.mark.parametrize(
    ("chosen", "word", "code"),
    [(EVERY, "CRITICAL", 2), (EVERY[2:5], "UNKNOWN", 3), (EVERY[3:5], "WARNING", 1), (EVERY[:1], "OK", 0)],
)
def test_nagios_says_the_worst_in_one_line(chosen: list[Verdict], word: str, code: int) -> None:
    line, number = formats.nagios(chosen)
    assert (number, line.split()[1]) == (code, word)
    assert "\n" not in line
    assert line.count("|") == 1
