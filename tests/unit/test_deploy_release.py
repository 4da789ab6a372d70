"""Releases: their notes as a real shell keeps them, which one a rollback chooses, what is removed. And the gates."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest

from implops import kit
from implops.deploy import parameters, plan, recipes, release, rollback
from implops.deploy.release import Release, Releases
from implops.errors import GateRefused, InputError
from implops.gates import change, override, promotion, window
from implops.secrets import Secret
from implops.site import Site, load
from implops.store import Store, record


class Here:
    """This machine in the place of a host: the same scripts in the same shell."""

    name = "here"

    def run(self, script: str, *, timeout: float, sudo: bool) -> Any:
        done = subprocess.run(["sh", "-s"], input=script.encode(), capture_output=True, timeout=timeout)
        return SimpleNamespace(rc=done.returncode, text=done.stdout.decode(), err=done.stderr)


def stage(home: Path, version: str, run: str, state: str) -> str:
    id = f"{version}-{run}"
    (home / id).mkdir(parents=True)
    note = release.note(version, run, f"d{run}", {"a.war": "s"}, [{"name": "1.sql", "sha256": "x"}])
    (home / id / "RELEASE.json").write_text(note + "\n", encoding="utf-8")
    if state != "staged":
        release.mark(Here(), str(home), id, state)  # type: ignore[arg-type]
    return id


def test_a_state_is_written_and_read_and_the_rest_of_the_note_stays(tmp_path: Path) -> None:
    home = tmp_path / "his system"
    one = stage(home, "1.0", "A1", "good")
    two = stage(home, "1.1", "A2", "staged")
    (home / "current").symlink_to(two)
    found = release.ask(Here(), str(home))  # type: ignore[arg-type]
    assert found.current == two
    assert [(x.id, x.state, x.schema, x.files) for x in found.all] == [
        (one, "good", (("1.sql", "x"),), ("s",)),
        (two, "staged", (("1.sql", "x"),), ("s",)),
    ]
    # A good release that is switched to again stays good; a staged one becomes active.
    for id, state in ((one, "good"), (two, "active")):
        subprocess.run(["sh", "-c", release.mark_command(str(home), id, "active", unless=("good",))], check=True)
        assert json.loads((home / id / "RELEASE.json").read_text(encoding="utf-8"))["state"] == state


def test_a_host_without_releases_has_none(tmp_path: Path) -> None:
    assert release.ask(Here(), str(tmp_path / "none")) == Releases()  # type: ignore[arg-type]


def test_cleaning_up_keeps_good_ones_and_never_counts_a_bad_one(tmp_path: Path) -> None:
    states = ["good", "good", "bad", "good", "bad", "bad", "good"]
    ids = [stage(tmp_path, "1.0", f"A{n}", state) for n, state in enumerate(states)]
    (tmp_path / "current").symlink_to(ids[6])
    # Two good ones beside the active: A3 and A1. The bad ones in between stay with them.
    assert release.prune(Here(), str(tmp_path), 2) == [ids[0]]  # type: ignore[arg-type]
    assert sorted(x.name for x in tmp_path.iterdir() if x.is_dir() and not x.is_symlink()) == ids[1:]
    assert release.prune(Here(), str(tmp_path), 2) == []  # type: ignore[arg-type]


def have(current: str, **states: str) -> Releases:
    made = [Release(id, "1", id, state, f"d{id}") for id, state in states.items()]
    return Releases(current, made)


def test_a_rollback_goes_to_the_newest_good_release_and_never_to_a_bad_one() -> None:
    found = {"app1": have("R4", R1="good", R2="good", R3="bad", R4="active")}
    way = rollback.choose(found)
    assert (way.release.id, way.hosts) == ("R2", ("app1",))
    # From a good one to the good one before it.
    assert rollback.choose({"app1": have("R2", R1="good", R2="good", R3="bad")}).release.id == "R1"
    # Two bad ones in a row still find it.
    assert rollback.choose({"app1": have("R4", R2="good", R3="bad", R4="bad")}).release.id == "R2"


def test_a_release_must_be_good_on_every_host() -> None:
    found = {"app1": have("R3", R1="good", R2="good", R3="active"), "app2": have("R1", R1="good", R2="active")}
    way = rollback.choose(found)
    assert way.release.id == "R1"
    assert way.hosts == ("app1",)  # the canary alone has to be switched
    # The configuration of a host is its own; what the vendor delivered must be the same.
    mine = have("R2", R1="good", R2="bad")
    first = mine.all[0]
    other = Releases("R1", [replace(first, sha256="its own address in the configuration")])
    assert rollback.choose({"app1": mine, "app2": other}).release.id == "R1"
    for unlike in (replace(first, files=("another",)), replace(first, schema=(("1.sql", "another"),))):
        with pytest.raises(InputError):
            rollback.choose({"app1": mine, "app2": Releases("R1", [unlike])})


def test_a_version_names_the_newest_of_its_releases() -> None:
    found = {"app1": have("R3", R1="good", R2="good", R3="good")}
    found["app1"].all = [replace(one, version="1.0") for one in found["app1"].all]
    assert rollback.choose(found, "1.0").release.id == "R3"


def test_a_backup_and_a_release_must_know_the_same_schema_files() -> None:
    one, two, three = ("1.sql", "a"), ("2.sql", "b"), ("3.sql", "c")
    assert rollback.unlike((one, two), (one, two)) == []
    assert rollback.unlike((one, two), None) == []  # a backup that does not say
    assert rollback.unlike((one, two), (one, two, three)) == ["3.sql"]
    assert rollback.unlike((one, two), (one,)) == ["2.sql"]
    assert rollback.unlike((one,), (("1.sql", "edited"),)) == ["1.sql"]
    assert rollback.unlike((one, two), (two, one)) == ["2.sql", "1.sql"]


def test_there_may_be_nothing_to_go_back_to() -> None:
    with pytest.raises(InputError) as none:
        rollback.choose({"app1": have("R1", R1="active")})
    assert none.value.key == "rollback.none"
    # The last deployment failed before it switched anything: what runs is the last good one.
    with pytest.raises(InputError) as nothing:
        rollback.choose({"app1": have("R2", R1="good", R2="good", R3="staged")}, failed_run=True)
    assert nothing.value.key == "rollback.nothing"
    with pytest.raises(InputError) as named:
        rollback.choose({"app1": have("R2", R1="bad", R2="good")}, "R1")
    assert named.value.key == "rollback.not_good"


def test_what_only_a_backup_undoes() -> None:
    assert rollback.since([("1.sql", "a")], [("1.sql", "a"), ("2.sql", "b")]) == ["2.sql"]
    assert rollback.since([("1.sql", "a")], [("1.sql", "a")]) == []


def two_hosts(site: Site) -> Site:
    text = site.path.read_text(encoding="utf-8")
    more = "".join(f"  app{n}: {{address: 10.77.1.{13 + n}, roles: [app]}}\n" for n in (2, 3))
    text = text.replace("  dns1:", f"{more}  dns1:", 1)
    site.path.write_text(text, encoding="utf-8")
    return load(site.path)


def test_hosts_take_turns_and_the_first_goes_alone(site: Site) -> None:
    site = two_hosts(site)
    assert plan.batches(["a", "b", "c", "d"], 2) == [["a"], ["b", "c"], ["d"]]
    made = plan.make(site, recipes.load(site.base), plan.batches(["app1", "app2", "app3"], 2))
    assert "app_war@app1" in made.step("tomcat@app2").needs
    assert "app_war@app1" in made.step("app_war@app3").needs
    assert "app_war@app2" not in made.step("app_war@app3").needs  # the same batch
    # Every front is as it will stay before users are led away from the first host.
    assert {"nginx@app1", "nginx@app2", "nginx@app3"} <= set(made.step("jdk@app1").needs)
    # Without turns (a first installation) they do not wait for each other.
    assert "app_war@app1" not in plan.make(site, recipes.load(site.base)).step("app_war@app2").needs


def test_a_host_that_is_changed_gets_no_requests_and_the_last_one_always_does(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = two_hosts(site)
    nginx = kit.load(kit.shipped() / "deploy_recipes" / "nginx.py", "deploy_recipes")
    path = tmp_path / "upstream.conf"
    monkeypatch.setattr(nginx, "UPSTREAM", path)
    front = site.hosts["app1"]
    template = (kit.shipped() / "deploy_recipes" / "templates" / "nginx.upstream.j2").read_text(encoding="utf-8")
    whole = jinja2.Template(template, trim_blocks=True, lstrip_blocks=True).render(
        address=front.address, port=site.backend_port, backends=nginx.backends(site, front)
    )
    path.write_text(whole, encoding="utf-8")

    def down(*away: str) -> list[str]:
        script = nginx.drain(site, front, away)
        # nginx does not run here: the file is all that changes.
        subprocess.run(["sh", "-c", script.replace("systemctl is-active", "false")], check=True)
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.split()[1].partition(":")[0] for line in lines if line.endswith(" down;")]

    def told() -> list[str]:
        script = nginx.led_away(site, front).replace(f"{nginx.ETC}/implops-upstream.conf", str(path))
        return subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout.split()

    addresses = {name: host.address for name, host in site.hosts.items()}
    assert told() == []
    assert down("app1") == [addresses["app1"]]
    # This host's own server is still asked by those who want to know about it.
    assert path.read_text(encoding="utf-8").count(f"server {front.address}:") == 2
    assert sorted(down("app2", "app3")) == [addresses["app2"], addresses["app3"]]
    assert sorted(told()) == [addresses["app2"], addresses["app3"]]
    # Written anew, the front still hands them nothing.
    again = jinja2.Template(template, trim_blocks=True, lstrip_blocks=True).render(
        address=front.address, port=site.backend_port,
        backends=[{**one, "down": one["address"] in told()} for one in nginx.backends(site, front)],
    )  # fmt: skip
    assert again == path.read_text(encoding="utf-8")
    assert sorted(down("app1", "app2", "app3")) == [addresses["app2"], addresses["app3"]]
    assert down() == []
    assert path.read_text(encoding="utf-8") == whole


def test_a_window_may_go_over_midnight() -> None:
    assert window.inside("22:00-06:00", time(23, 0))
    assert window.inside("22:00-06:00", time(5, 59))
    assert not window.inside("22:00-06:00", time(6, 0))
    assert not window.inside("01:00-05:00", time(23, 0))


def edited(site: Site, *pairs: tuple[str, str]) -> Site:
    text = site.path.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    site.path.write_text(text, encoding="utf-8")
    return load(site.path)


def test_outside_the_window_by_the_sites_own_time(site: Site) -> None:
    site = edited(site, ('  # window: "22:00-06:00"', '  window: "22:00-06:00"'))
    noon, night = datetime(2026, 11, 25, 4, 0, tzinfo=UTC), datetime(2026, 11, 25, 15, 0, tzinfo=UTC)  # 12:00 and 23:00
    assert window.require(site, at=night) == "22:00-06:00"
    with pytest.raises(GateRefused, match="12:00"):
        window.require(site, at=noon)
    passed = override.ask("window", lambda: window.require(site, at=noon), ("window",), "紧急修复")
    assert (passed.state, passed.reason) == ("override", "紧急修复")
    with pytest.raises(InputError):
        override.refuse_empty(("window",), "  ")


def test_a_production_change_has_a_number_and_an_approver_of_this_very_file(site: Site, store: Store) -> None:
    assert change.require(store, site, "", "r") == ""  # a test environment
    site = edited(site, ("environment: test ", "environment: production "))
    with pytest.raises(GateRefused) as none:
        change.require(store, site, " ", "r")
    assert none.value.key == "gate.no_change"

    def refused() -> str:
        with pytest.raises(GateRefused) as caught:
            change.require(store, site, "CHG-1", "r")
        return caught.value.key

    def approve(**other: str) -> None:
        given = {"subject": "deploy", "approver": "李工", "reason": "会签", "of_run": "", "lab": True}
        exact = {"site_sha256": site.model_sha256, "change": "CHG-1", "release_sha256": "r"}
        store.append("approval", {**given, **exact, **other}, run="R", operator="o")

    assert refused() == "gate.not_approved"
    approve(site_sha256="old")
    assert refused() == "gate.approved_other"
    # What was approved was another program, or another change.
    approve(release_sha256="another")
    assert refused() == "gate.approved_other"
    approve(change="CHG-0")
    assert refused() == "gate.approved_change"
    approve()
    assert change.require(store, site, "CHG-1", "r") == "李工"
    # One approval, one deployment, though it was killed before its end.
    store.append("deploy.started", {"resumed": False}, run="D", operator="o")
    assert refused() == "gate.not_approved"


def test_promotion_wants_this_release_verified_at_the_other_site(site: Site, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "test-site"
    folder.mkdir()
    (folder / "site.yml").write_text(site.path.read_text(encoding="utf-8"), encoding="utf-8")
    other = load(folder / "site.yml")
    site = edited(
        site,
        ("environment: test ", "environment: production "),
        ("  # promote_from: ../test/site.yml", "  promote_from: test-site/site.yml"),
    )

    software = {"jdk": {"openjdk-17-jdk-headless": "17.0.20"}, "os_base": {"tzdata": "2026a"}}

    def refused() -> str:
        with pytest.raises(GateRefused) as caught:
            promotion.require(site, "sha-of-release", software)
        return caught.value.key

    assert refused() == "gate.promotion_none"
    there = Store.of(other.state)

    def deployed(sha256: str, conclusion: str, **changed: dict[str, str]) -> None:
        # What the other site has no use for is not compared: it has no name server, the bundle has one.
        on = {"software": {"jdk": software["jdk"], **changed}}
        with record(there, other, "deploy", "o", {}) as run:
            run.finish(conclusion, {"release_sha256": sha256, **on})

    def verified(conclusion: str) -> str:
        with record(there, other, "verify", "o", {}) as run:
            run.finish(conclusion, {})
        return run.id

    deployed("another", "pass")
    assert refused() == "gate.promotion_other"
    deployed("sha-of-release", "pass", jdk={"openjdk-17-jdk-headless": "17.0.19"})
    assert refused() == "gate.promotion_software"
    deployed("sha-of-release", "pass", jdk={"archive": "5e8b"})
    assert refused() == "gate.promotion_software"
    deployed("sha-of-release", "fail")
    assert refused() == "gate.promotion_bad"
    deployed("sha-of-release", "pass")
    assert refused() == "gate.promotion_unverified"
    run = verified("pass")
    assert promotion.require(site, "sha-of-release", software) == run
    # What was verified in pre-production must have come from where it had been verified itself.
    other = edited(other, ("environment: test ", "environment: pre-production "))
    assert refused() == "gate.promotion_chain"
    with record(there, other, "deploy", "o", {"gates": [{"gate": "promotion", "state": "pass"}]}) as again:
        again.finish("pass", {"release_sha256": "sha-of-release", "software": software})
    run = verified("pass")
    assert promotion.require(site, "sha-of-release", software) == run
    # One failing later record shuts it again, and so does a record that somebody altered.
    verified("fail")
    assert refused() == "gate.promotion_unverified"
    verified("pass")
    with there.engine.begin() as connection:
        connection.exec_driver_sql("drop trigger event_no_UPDATE")
        connection.exec_driver_sql("update event set operator = 'x' where sequence = 2")
    assert refused() == "gate.promotion_broken"


def test_parameters_of_the_record_hold_no_secret(site: Site) -> None:
    vault = site.base / "secrets"
    vault.mkdir()
    for name in ("db_app", "db_import", "restic"):
        (vault / name).touch(mode=0o600)
        (vault / name).write_text(f"planted-{name}-secret", encoding="utf-8")
    made = plan.make(site, recipes.load(site.base))
    steps = [one for one in made.steps if one.recipe.id in ("postgresql", "os_base", "tomcat")]
    part = plan.Plan(site, tuple(steps))
    site.state.mkdir(exist_ok=True)
    key = parameters.key(site.state)
    assert parameters.key(site.state) == key
    assert (site.state / "parameters.key").stat().st_mode & 0o777 == 0o600
    found = parameters.of(part, key)
    shown = json.dumps(found, ensure_ascii=False)
    assert "planted" not in shown
    assert "***" in shown
    assert "his_owner" in shown
    # A password that was changed shows as changed, and at another site as something else altogether.
    (vault / "db_app").write_text("planted-another-secret", encoding="utf-8")
    again = parameters.of(plan.Plan(load(site.path), tuple(steps)), key)
    assert {name for name, value in again["postgresql@db1"].items() if value != found["postgresql@db1"][name]}
    assert parameters.of(part, b"another key") != found
    # What has parts is told by their names, as people write it.
    assert parameters._text([{"address": "10.1.2.3", "spare": False}, Secret("hunter22")], b"k").startswith(
        "address=10.1.2.3 spare=False ***#"
    )
