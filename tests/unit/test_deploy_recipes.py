"""Recipes as far as they can be judged without a host: what is planned, refused, rendered."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from implops import kit, trust
from implops.deploy import parameters, plan, recipes
from implops.errors import InputError, KitError
from implops.site import Site, load
from implops.site.environment import Account


def recipe(name: str) -> ModuleType:
    return kit.load(kit.shipped() / "deploy_recipes" / f"{name}.py", "deploy_recipes")


def test_the_plan_puts_every_step_behind_what_it_needs(site: Site) -> None:
    made = plan.make(site, recipes.load(site.base))
    order = [step.id for step in made.steps]
    for step in made.steps:
        assert all(order.index(need) < order.index(step.id) for need in step.needs)
    war = made.step("app_war@app1")
    # Its own host's Tomcat, and the other hosts' schema.
    assert {"tomcat@app1", "schema@db1", "resolver@app1"} <= set(war.needs)
    assert "storage@sto1" in made.step("backup_jobs@db1").needs


def test_what_the_plan_sets_covers_what_the_site_declares(site: Site) -> None:
    planned = {(one.host, one.kind, one.name) for one in recipes.planned(site)}
    ports = [("db1", "5432"), ("app1", "80"), ("app1", "8080"), ("dns1", "53")]
    others = [("db1", "locale", "zh_CN.utf8"), ("app1", "jdk", "17"), ("sto1", "user", "implops-backup")]
    for wanted in [*((host, "port", port) for host, port in ports), *others]:
        assert wanted in planned


def test_recipes_that_need_each_other_are_refused(site: Site, tmp_path: Path) -> None:
    folder = site.base / "deploy_recipes"
    folder.mkdir()
    body = 'META = {{"id": "{0}", "roles": "*", "needs": ("{1}",)}}\n\n\ndef install():\n    pass\n'
    for mine, other in (("one", "two"), ("two", "one")):
        (folder / f"{mine}.py").write_text(body.format(mine, other), encoding="utf-8")
    with pytest.raises(KitError, match=r"one@|two@"):
        plan.make(site, recipes.load(site.base))


@pytest.mark.parametrize(
    ("module", "call"), [("ops", 'bounded_shell("echo secret")'), ("release_ops", 'activate("/x", "1")')]
)
def test_an_operation_without_a_name_is_refused(site: Site, module: str, call: str) -> None:
    folder = site.base / "deploy_recipes"
    folder.mkdir()
    (folder / "mine.py").write_text(
        'META = {"id": "mine", "roles": "*"}\n\n\ndef install():\n'
        f"    from implops.deploy import {module}\n    {module}.{call}\n",
        encoding="utf-8",
    )
    with pytest.raises(KitError, match=r"mine\.py:6"):
        recipes.load(site.base)


def test_every_operation_has_a_text() -> None:
    import re

    from implops import texts

    for path in (kit.shipped() / "deploy_recipes").glob("*.py"):
        assert texts.find(f"recipe.{path.stem}.title"), path.stem
        for key in re.findall(r'"(recipe\.[a-z0-9_]+\.[a-z_]+)"', path.read_text(encoding="utf-8")):
            assert texts.find(key), key


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("create table a (b int);\ncommit;\n", (2, "commit")),
        ("BEGIN;\ncreate table a (b int);", (1, "BEGIN")),
        ("-- one\n\\i other.sql\n", (2, "\\i")),
        ("create table a (b int);\n\n  rollback", (3, "rollback")),
        ("select 1; savepoint x;", (1, "savepoint")),
    ],
)
def test_a_schema_file_may_not_end_its_transaction(text: str, found: tuple[int, str]) -> None:
    assert recipe("schema").refused(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "-- commit;\nselect 'begin; commit;', $$ begin; end; $$, \"end\";",
        "/* rollback;\n */ create function f() returns int as $body$ begin return 1; end $body$ language plpgsql;",
        "insert into t values ('it''s \\n; commit');",
        "create table beginning (ended boolean);",
    ],
)
def test_words_inside_strings_and_bodies_do_not_count(text: str) -> None:
    assert recipe("schema").refused(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("create table a (b int);\nuse mysql;\n", (2, "use")),
        ("-- one\n  source /etc/passwd\n", (2, "source")),
        ("select 1;\n\\! reboot\n", (2, "\\!")),
        ("select 'a\\'b';\nSYSTEM id\n", (2, "SYSTEM")),
    ],
)
def test_a_schema_file_of_mariadb_may_not_command_the_client(text: str, found: tuple[int, str]) -> None:
    assert recipe("schema").refused(text, "mariadb") == found


@pytest.mark.parametrize(
    "text",
    [
        "delimiter //\ncreate procedure p() begin select 1; end//\ndelimiter ;\n",
        "# use mysql;\n/*\nsource x\n*/ select '\nuse a', `use`;\n",
        "insert into t values ('C:\\\\dir\\n');\n",
    ],
)
def test_words_that_only_look_like_commands_of_the_client_do_not_count(text: str) -> None:
    assert recipe("schema").refused(text, "mariadb") is None


def test_mariadb_stores_a_password_as_the_server_itself_would() -> None:
    """``select password('secret')`` of MariaDB 10.11."""
    assert recipe("mariadb").native("secret") == "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"


def test_the_engine_of_the_site_file_chooses_the_recipe(site: Site) -> None:
    text = site.path.read_text(encoding="utf-8")
    text = text.replace("engine: postgresql", "engine: mariadb").replace("major: 15", "major: 10")
    text = text.replace("encoding: UTF8", "encoding: utf8mb4")
    site.path.write_text(text, encoding="utf-8")
    made = plan.make(load(site.path), recipes.load(site.base))
    steps = {step.id for step in made.steps}
    assert "mariadb@db1" in steps
    assert "postgresql@db1" not in steps
    assert "mariadb@db1" in made.step("schema@db1").needs
    assert "libmariadb-java" in made.step("tomcat@app1").packages


def test_a_schema_file_in_another_encoding_is_named_with_its_line(site: Site) -> None:
    for path in site.system.schema_:  # type: ignore[union-attr]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"create table a (b int);\n-- \xd6\xd0\n")
    with pytest.raises(InputError, match=r"001_base\.sql:2"):
        recipe("schema").params(site, site.hosts["db1"])


def test_a_zone_keeps_its_serial_while_it_is_the_same_and_never_goes_back() -> None:
    serial = recipe("bind9").serial
    assert serial("2026112401", True, "20261125") == 2026112401
    assert serial("2026112401", False, "20261124") == 2026112402
    assert serial("2026112401", False, "20261125") == 2026112501
    assert serial("4000000000", False, "20261125") == 4000000001
    assert serial("", False, "20261125") == 2026112501


def test_etc_hosts_gets_one_block_and_keeps_the_rest() -> None:
    hosts_file = recipe("os_base").hosts_file
    entries = [["10.0.0.1", "db1.his.example", "db1"], ["10.0.0.2", "app1.his.example", "app1"]]
    own = ["db1.his.example", "db1"]
    before = "127.0.0.1 localhost\n127.0.1.1 db1 db1.his.example other\n10.9.9.9 printer # keep\n"
    once = hosts_file(before, own, entries)
    assert hosts_file(once, own, entries) == once
    assert "127.0.1.1\tother" in once
    assert "10.9.9.9 printer # keep" in once
    assert once.count("db1.his.example") == 1


def test_a_password_that_scram_would_change_is_refused(site: Site) -> None:
    vault = site.base / "secrets"
    vault.mkdir(mode=0o700)
    for name, value in (("db_app", "päßwort-123"), ("db_import", "good-password")):
        (vault / name).write_text(value, encoding="utf-8")
        (vault / name).chmod(0o600)
    with pytest.raises(InputError, match="his_app"):
        recipe("postgresql").params(site, site.hosts["db1"])


def test_a_scram_verifier_is_the_one_of_the_rfc() -> None:
    """RFC 7677's example: user and salt of its exchange, keys computed from it."""
    import base64

    from implops.deploy.scram import verifier

    text = verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert text == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_every_recipe_can_be_undone_and_backwards(site: Site) -> None:
    found = recipes.load(site.base)
    assert [one.id for one in found.values() if not one.can_undo] == []
    made = plan.make(site, found)
    back = plan.undo(made, [], {one.id for one in made.steps})
    order = [one.id for one in back.steps]
    assert sorted(order) == sorted(one.id for one in made.steps)
    for step in made.steps:
        assert all(order.index(step.id) < order.index(need) for need in step.needs)
        assert all(step.id in back.step(need).needs for need in step.needs)


def test_the_file_of_a_parameter_is_that_of_a_parameter(carried: Site) -> None:
    site = carried
    site.known_hosts.parent.mkdir(exist_ok=True)
    site.known_hosts.write_text(f"{trust.name_of(site, site.hosts['sto1'])} ssh-ed25519 AAAA\n", encoding="ascii")
    for text in (site.path.read_text(encoding="utf-8"), _mariadb(site)):
        site.path.write_text(text, encoding="utf-8")
        made = plan.make(load(site.path), recipes.load(site.base))
        given, files = parameters.of(made, b"k" * 32), parameters.files(made)
        # What a recipe is given is known; where each of its parts lies is said for the parts that it has.
        for step, declared in files.items():
            for name, paths in declared.items():
                assert name in given[step] or any(one.startswith(f"{name}.") for one in given[step]), (step, name)
                assert paths and all(one.startswith("/") for one in paths), (step, name)
        assert {"os_base", "bind9", "resolver", "tomcat", "nginx", "app_war", "storage", "backup_jobs"} < {
            step.partition("@")[0] for step in files
        }


def _mariadb(site: Site) -> str:
    text = site.path.read_text(encoding="utf-8")
    for old, new in (("engine: postgresql", "engine: mariadb"), ("  major: 15\n", "  major: 10\n"),
                     ("  encoding: UTF8\n  locale: zh_CN.UTF-8\n", "")):  # fmt: skip
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def test_undoing_asks_for_no_secret_and_no_file_of_the_vendor(site: Site) -> None:
    made = plan.make(site, recipes.load(site.base))
    back = plan.undo(made, [], {one.id for one in made.steps})
    assert site.system
    assert not site.system.artifact.exists()
    assert not (site.base / "secrets").exists()
    for step in back.steps:
        order = back.order(step, "RUN", "run")
        assert order["call"] == "undo"
        assert all(one["id"].startswith("stopped:") for one in order["probes"])
    stopped = {one.recipe.id for one in back.steps if one.recipe.gone(site, one.host)}
    assert stopped == {"postgresql", "bind9", "tomcat", "nginx", "backup_jobs"}


@pytest.mark.parametrize(
    ("words", "key"), [(["tomcat"], "app_war@app1"), (["os_base@db1"], "@db1"), (["apache"], "apache")]
)
def test_what_cannot_be_undone_alone_is_refused(site: Site, words: list[str], key: str) -> None:
    made = plan.make(site, recipes.load(site.base))
    with pytest.raises(InputError, match=key):
        plan.undo(made, words, {one.id for one in made.steps})


def test_what_was_never_deployed_is_not_ours_to_stop(site: Site) -> None:
    made = plan.make(site, recipes.load(site.base))
    with pytest.raises(InputError, match=r"site\.yml"):
        plan.undo(made, [], set())
    with pytest.raises(InputError, match="nginx"):
        plan.undo(made, ["nginx"], {"os_base@app1"})
    # Of a deployment that stopped half way: what it began, and nothing needs what it never came to.
    assert [one.id for one in plan.undo(made, [], {"os_base@app1", "jdk@app1"}).steps] == ["jdk@app1", "os_base@app1"]
    assert [one.id for one in plan.undo(made, ["os_base"], {"os_base@app1"}).steps] == ["os_base@app1"]
    site.hosts["app1"] = site.hosts["app1"].model_copy(update={"existing": True})
    with pytest.raises(InputError, match="existing"):
        plan.undo(plan.make(site, recipes.load(site.base)), ["nginx"], {"nginx@app1"})


def test_the_hosts_file_without_our_block_still_has_the_host_itself() -> None:
    os_base = recipes.load(None)["os_base"].module
    mine = "127.0.0.1\tlocalhost\n"
    text = os_base.hosts_file(f"{mine}127.0.1.1\tdb1\n", ["db1"], [["10.77.1.11", "db1"], ["10.77.1.12", "app1"]])
    assert os_base.without_block(text, "db1") == f"{mine}127.0.1.1\tdb1\n"
    assert os_base.without_block(f"{mine}10.77.1.11 db1 # by hand\n", "db1") == f"{mine}10.77.1.11 db1 # by hand\n"


@pytest.mark.parametrize("text", ["", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "ssh-ed25519 AAAA x\nssh-rsa AAAA y\n",
                                  'command="sh" ssh-ed25519 AAAA x\n', "ssh-ed25519 AAAA'; id\n"])  # fmt: skip
def test_what_is_no_public_key_is_refused(site: Site, tmp_path: Path, text: str) -> None:
    (tmp_path / "x.pub").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.pub"):
        recipe("os_base")._key(tmp_path / "x.pub")


def test_accounts_are_given_to_the_hosts_that_they_name(site: Site, tmp_path: Path) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHx vendor@office"
    (tmp_path / "x.pub").write_text(f"# vendor\n{key}\n", encoding="utf-8")
    about = {"hosts": ["app", "db1"], "key": "x.pub", "groups": ["adm"]}
    site.accounts["vendor"] = Account.model_validate(about, context={"base": tmp_path})
    given = {one.name: recipe("os_base").params(site, one)["people"] for one in site.hosts.values()}
    assert given["app1"] == given["db1"] == [["vendor", "/bin/bash", ["adm"], key]]
    assert given["dns1"] == []
