"""Fixes: declared beside checks, run by a real shell, undone byte for byte; none stops or hides another."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from implops.check import fixes, registry, script
from implops.check.fixes import Fix, Planned
from implops.check.gather import Seen
from implops.check.judge import Scene
from implops.check.limits import Limits
from implops.check.model import Result, Verdict
from implops.errors import KitError
from implops.facts.network import Network
from implops.facts.system import Kernel
from implops.site import Site


def planned(key: str, fix: Fix, risk: fixes.Risk = "safe", host: str = "db1") -> Planned:
    id = key.partition("_")[0]
    return Planned(host, key, Verdict(id, host, "warn", Result("warn", "1", "2", target="x")), risk, fix)


@pytest.fixture(params=["dash", "bash"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def mended(shell: str, folder: Path, *chosen: Planned) -> list[script.Applied]:
    """What a host would do, with its state below ``folder``."""
    text = script.for_host("RUN", chosen).replace(script.STATE_FOLDER, str(folder / "state"))
    done = subprocess.run([shell, "-s"], input=text.encode(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return script.read(done.stdout.decode(), chosen)


def undone(applied: script.Applied) -> subprocess.CompletedProcess[str]:
    assert applied.state == "done", applied.said
    return subprocess.run(["sh", "-c", applied.said], capture_output=True, text=True, timeout=60)


def looks(*paths: Path) -> list[object]:
    return [
        (path.readlink() if path.is_symlink() else (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns))
        if os.path.lexists(path)
        else None
        for path in paths
    ]


def test_a_fix_changes_files_and_what_runs_and_its_undo_brings_both_back(tmp_path: Path, shell: str) -> None:
    edited, written, link, running = (tmp_path / name for name in ("edited", "new/folder/written", "link", "running"))
    edited.write_bytes(b"a\r\n\xff\x00no newline")
    edited.chmod(0o640)
    link.symlink_to(edited)
    running.write_text("old")
    before = looks(edited, written, link)
    made = Fix(
        {str(written): "it's $HOME `x` \\n\n"}, {str(edited): "cat; echo more"}, {str(link): str(running)},
        now=f"printf new >{running}", back=f"echo \"printf '$(cat {running})' >{running}\"",
    )  # fmt: skip
    (one,) = mended(shell, tmp_path, planned("LIM07", made))
    assert (one.state, running.read_text()) == ("done", "new")
    assert edited.read_bytes() == b"a\r\n\xff\x00no newlinemore\n"
    assert edited.stat().st_mode & 0o777 == 0o640
    assert written.read_text() == "it's $HOME `x` \\n\n"
    assert link.readlink() == running
    # Asked for again it says so and does nothing.
    assert [again.state for again in mended(shell, tmp_path, planned("LIM07", made))] == ["done-before"]
    done = undone(one)
    assert (done.returncode, done.stdout) == (0, "undone\n")
    assert looks(edited, written, link) == before
    assert running.read_text() == "old"
    assert not (tmp_path / "new/folder").exists()


def test_a_fix_that_fails_is_brought_back_and_the_others_go_on(tmp_path: Path, shell: str) -> None:
    file = tmp_path / "file"
    file.write_text("old\n")
    before = looks(file)
    applied = mended(
        shell, tmp_path,
        planned("MEM05", Fix({str(file): "new\n"}, now="echo 'sysctl: permission denied' >&2; false; echo no")),
        planned("LIM05", Fix(edit={str(tmp_path / "missing"): "cat"})),
        planned("LIM06", Fix(edit={str(file): "true"})),
        planned("LIM08", Fix(link={str(tmp_path / "zone"): str(tmp_path / "nowhere")})),
        planned("LIM09", Fix(now="exit 7")),
        planned("LIM07", Fix({str(tmp_path / "good"): "1\n"})),
    )  # fmt: skip
    assert [one.state for one in applied] == ["failed"] * 5 + ["done"]
    assert "permission denied" in applied[0].said
    assert "missing" in applied[1].said
    assert looks(file) == before
    assert (tmp_path / "good").read_text() == "1\n"


def test_undo_leaves_a_file_that_somebody_changed_since(tmp_path: Path, shell: str) -> None:
    file = tmp_path / "file"
    file.write_text("old\n")
    (one,) = mended(shell, tmp_path, planned("LIM07", Fix({str(file): "new\n"})))
    file.write_text("new\nand the customer's own line\n")
    done = undone(one)
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert file.read_text() == "new\nand the customer's own line\n"


def test_a_host_that_tells_nothing_leaves_its_fixes_unknown() -> None:
    chosen = [planned("LIM07", Fix()), planned("MEM04", Fix())]
    told = script.read("Welcome!\nimplops-fix\tLIM07\tdone\tsh x\nimplops-fix\tMEM04\tgarb", chosen)
    assert [one.state for one in told] == ["done", "unknown"]


def for_people(site: Site, folder: Path, *chosen: Planned) -> Path:
    path = folder / "fix.sh"
    text = script.for_people(site, "RUN", chosen, lambda one: ["现为 1\nrm -rf /", "要求 2"], ["head"], ["usage it's"])
    path.write_text(text.replace(script.STATE_FOLDER, str(folder / "state")), encoding="utf-8")
    return path


def run(path: Path, *words: str, force: bool = True, shell: str = "sh") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **({"FORCE": "1"} if force else {})}
    return subprocess.run([shell, str(path), *words], capture_output=True, text=True, timeout=60, env=env)


def test_the_script_for_people_changes_nothing_unasked(site: Site, tmp_path: Path) -> None:
    made = tmp_path / "made"
    safe, other = planned("LIM07", Fix({str(made): "1\n"})), planned("TIM01", Fix(now=f"touch {tmp_path}/x"), "restart")
    elsewhere = planned("LIM07", Fix({str(tmp_path / "elsewhere"): "1\n"}), host="app1")
    path = for_people(site, tmp_path, safe, other, elsewhere)
    assert subprocess.run(["sh", "-n", str(path)]).returncode == 0
    for words, code in ((("nobody",), 2), ((), 2), (("db1", "destroy"), 2), (("db1",), 0)):
        assert run(path, *words).returncode == code
    assert "LIM07  safe" in run(path, "db1").stdout
    # On a machine that is not that host.
    assert run(path, "db1", "apply", force=False).returncode == 1
    assert not made.exists()
    # Without names only what is safe; the rest by name.
    assert run(path, "db1", "apply").returncode == 0
    assert made.exists()
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "elsewhere").exists()
    assert run(path, "db1", "apply", "TIM01", "OS08").returncode == 1
    assert (tmp_path / "x").exists()
    assert run(path, "db1", "undo", "LIM07").returncode == 0
    assert not made.exists()


def test_the_script_for_people_says_what_failed_and_brings_it_back(site: Site, tmp_path: Path, shell: str) -> None:
    file = tmp_path / "file"
    refused = planned("LIM03", Fix({str(file): "new\n"}, now="echo refused; false; echo went on"))
    path = for_people(site, tmp_path, refused, planned("LIM07", Fix({str(tmp_path / "good"): "1\n"})))
    done = run(path, "db1", "apply", shell=shell)
    assert done.returncode == 1
    assert "LIM03\tfailed\trefused" in done.stdout
    assert "LIM07\tdone\t" in done.stdout
    assert not file.exists()


def test_what_restarts_the_host_comes_after_the_others(site: Site, tmp_path: Path, shell: str) -> None:
    told = tmp_path / "told"
    path = for_people(site, tmp_path, planned("OS07", Fix(now=f"echo OS07 >>{told}"), "reboot"),
                      planned("TIM01", Fix(now=f"echo TIM01 >>{told}"), "restart"))  # fmt: skip
    done = run(path, "db1", "apply", "OS07", "TIM01", shell=shell)
    assert (done.returncode, told.read_text()) == (0, "TIM01\nOS07\n")


def test_undo_says_what_cannot_be_brought_back(tmp_path: Path, shell: str) -> None:
    (one,) = mended(shell, tmp_path, planned("TIM02", Fix(now=":")))
    done = undone(one)
    assert done.returncode == 1
    assert "nothing can be brought back" in done.stderr


def test_a_fix_that_was_undone_is_made_again(tmp_path: Path, shell: str) -> None:
    file = tmp_path / "file"
    file.write_text("old\n")
    chosen = planned("LIM07", Fix({str(file): "new\n"}))
    for _ in range(2):
        (one,) = mended(shell, tmp_path, chosen)
        assert file.read_text() == "new\n"
        assert undone(one).returncode == 0
        assert file.read_text() == "old\n"


def test_a_fix_that_was_cut_off_in_the_middle_is_made_from_the_old_state(tmp_path: Path, shell: str) -> None:
    file, cut = tmp_path / "file", tmp_path / "cut"
    file.write_text("old\n")
    cut.touch()
    # The host goes down before the second half.
    chosen = planned("LIM07", Fix(edit={str(file): "cat; echo more"}, now=f"if [ -e {cut} ]; then kill -9 0; fi"))
    text = script.for_host("RUN", [chosen]).replace(script.STATE_FOLDER, str(tmp_path / "state"))
    subprocess.run([shell, "-s"], input=text.encode(), capture_output=True, timeout=60, start_new_session=True)
    assert file.read_text() == "old\nmore\n"
    cut.unlink()
    (one,) = mended(shell, tmp_path, chosen)
    assert file.read_text() == "old\nmore\n"
    assert undone(one).returncode == 0
    assert file.read_text() == "old\n"


def scene(site: Site, **facts: object) -> Scene:
    kernel = {field.name: 0 for field in dataclasses.fields(Kernel)} | facts
    network = {field.name: () for field in dataclasses.fields(Network)}
    seen = {
        name: Seen(host, facts={Kernel: Kernel(**kernel), Network: Network(**network)})  # type: ignore[arg-type]
        for name, host in site.hosts.items()
    }
    return Scene(site, seen, [], {}, Limits(site, registry.load(None)))


def test_every_declared_fix_is_of_a_known_check_and_class(site: Site) -> None:
    checks = registry.load(None)
    found = fixes.load(site.base, checks)
    assert set(found) <= set(checks)
    assert {one.risk for one in found.values()} <= set(fixes.RISKS)
    assert all((one.function is None) == (one.risk == "never") for one in found.values())
    # What a machine may do unasked names a lasting setting: a file.
    assert found["MEM04"].risk == "safe"
    assert found["DSK16"].risk == "never"


@pytest.mark.parametrize(
    "id", ["LIM03", "LIM04", "LIM05", "LIM07", "LIM08", "LIM09", "LIM10", "MEM04", "MEM05", "MEM06", "TIM05"]
)
def test_safe_fixes_set_what_runs_and_what_lasts(site: Site, id: str) -> None:
    checks = registry.load(None)
    wrong = Verdict(id, "db1", "warn", Result("warn", "5432", "—"))
    place = scene(site, sem=(1, 2, 3, 500), aio_max=9_000_000, aio_free=5, reserved=((1, 2),), port_range=(1, 9))
    (one,) = fixes.plan(place, checks, fixes.load(site.base, checks), [wrong])
    assert one.fix.write
    assert one.fix.now or one.fix.link
    assert one.fix.back or one.fix.link
    if id == "LIM04":
        # 65536 free ones beside those that are taken.
        assert "= 9065531\n" in one.fix.write["/etc/sysctl.d/99-zz-implops-LIM04.conf"]
    if id == "LIM05":
        assert one.fix.write == {"/etc/sysctl.d/99-zz-implops-LIM05.conf": "kernel.sem = 250 32000 100 500\n"}
    if id == "LIM08":
        assert "= 1-2,5432\n" in one.fix.write["/etc/sysctl.d/99-zz-implops-LIM08.conf"]


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_only_faults_are_mended_and_an_authors_error_leaves_its_fault_to_a_person(
    site: Site, error: type[BaseException]
) -> None:
    checks = registry.load(None)
    found = fixes.load(site.base, checks)
    verdicts = [
        Verdict("LIM07", "db1", "warn", Result(state))  # type: ignore[arg-type]
        for state in ("pass", "info", "skip", "error", "waived", "absent")
    ]
    assert fixes.plan(scene(site), checks, found, verdicts) == []

    def broken(case: object, result: object) -> None:
        raise error

    found["LIM09"] = fixes.Remedy("LIM09", "safe", broken)  # type: ignore[arg-type]
    faults = [Verdict(id, "db1", "warn", Result("warn")) for id in ("LIM09", "LIM07", "LIM07")]
    assert [one.key for one in fixes.plan(scene(site), checks, found, faults)] == ["LIM07", "LIM07_2"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("NEVER = ('XX99',)", "check.unknown_id"),
        (
            "from implops.check.fixes import fix\n@fix('LIM07', risk='harmless')\ndef f(case, found): pass",
            "fix.bad_risk",
        ),
        ("NEVER = ('LIM07',)", "check.two_files"),
    ],
)
def test_a_wrong_declaration_is_refused(site: Site, text: str, key: str) -> None:
    folder = site.base / "checks" / "fixes"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text(text, encoding="utf-8")
    with pytest.raises(KitError) as caught:
        fixes.load(site.base, registry.load(site.base))
    assert caught.value.key == key


HOSTS = """127.0.0.1\tlocalhost
127.0.1.1\tdb1.his.example db1 extra # own name
# implops begin
10.9.9.9\tapp1
# implops end
10.1.1.1 app1
10.1.1.2 printer
"""


def test_the_hosts_file_keeps_what_is_not_ours(site: Site, tmp_path: Path, shell: str) -> None:
    checks = registry.load(None)
    wrong = Verdict("NET10", "db1", "warn", Result("warn"))
    (one,) = fixes.plan(scene(site), checks, fixes.load(site.base, checks), [wrong])
    done = subprocess.run([shell, "-ec", one.fix.edit["/etc/hosts"]], input=HOSTS, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0] == "# implops begin"
    assert "10.77.1.12\tapp1.his.example his.his.example app1" in lines
    assert lines[lines.index("# implops end") + 1 :] == ["127.0.0.1\tlocalhost", "127.0.1.1 extra", "10.1.1.2 printer"]
