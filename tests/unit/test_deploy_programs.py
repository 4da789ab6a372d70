"""Programs that start themselves, and the proxy before them: what can be judged without a host."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from implops import kit
from implops.deploy import plan, recipes
from implops.errors import InputError, SiteError
from implops.secrets import Secret
from implops.site import Site, load


def recipe(name: str) -> ModuleType:
    return kit.load(kit.shipped() / "deploy_recipes" / f"{name}.py", "deploy_recipes")


JAR = """  kind: jar
  port: 8888
  start: {main: nu.validator.servlet.Main, arguments: ["8888"], options: [-Xss2m], heap: 256 MiB}
  config: {config/application.properties: release/application.properties}
"""


def program(site: Site, body: str = JAR, *edits: tuple[str, str]) -> Site:
    text = re.sub(r"  kind: war.*\n", lambda _: body, site.path.read_text(encoding="utf-8"))
    text = text if "kind: war" in body else text.replace("tomcat: 10, ", "")
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    site.path.write_text(text, encoding="utf-8")
    return load(site.path)


@pytest.fixture
def ready(carried: Site) -> Site:
    (carried.base / "release" / "application.properties").write_text(
        "url={{ database.url }}\npassword={{ database.password }}\nport={{ port }}\n", encoding="utf-8"
    )
    return carried


def test_a_jar_is_started_with_its_class_and_its_configuration_holds_the_password_as_a_secret(ready: Site) -> None:
    site = program(ready)
    steps = {step.id for step in plan.make(site, recipes.load(site.base)).steps}
    assert {"app_program@app1", "nginx@app1", "jdk@app1"} <= steps
    assert not {"tomcat@app1", "app_war@app1"} & steps
    params = recipe("app_program").params(site, site.hosts["app1"])
    assert params["start"][:3] == ["java", "-Xms256m", "-Xmx256m"]
    assert params["start"][-4:] == ["-cp", "his.jar", "nu.validator.servlet.Main", "8888"]
    config = params["config"]["config/application.properties"]
    assert isinstance(config, Secret)
    assert "pw-db_app-1" not in repr(params)
    assert config.reveal() == ("url=jdbc:postgresql://10.77.1.11:5432/his\npassword=pw-db_app-1\nport=8888\n")


def test_every_file_of_its_configuration_is_named_where_it_lies(ready: Site) -> None:
    site = program(ready)
    app, files = recipe("app_program"), recipe("app_program").files(site, site.hosts["app1"])
    current = "/opt/implops/releases/his/current"
    assert files["config.config/application.properties"] == f"{current}/config/application.properties"
    assert files["start"] == f"{current}/{app.unit(site)}"
    given = app.params(site, site.hosts["app1"])
    assert {one.partition(".")[0] for one in files} <= set(given)


def test_systemds_own_characters_stay_arguments() -> None:
    class Data:
        start, kind = ["bin/run", "100%", "$HOME", 'a"b', "c\\d"], "archive"

    assert recipe("app_program")._command(Data, "/h") == '/h/current/bin/run "100%%" "$$HOME" "a\\"b" "c\\\\d"'


def test_a_template_that_names_what_is_not_there_is_refused_with_its_place(ready: Site) -> None:
    site = program(ready)
    path = ready.base / "release" / "application.properties"
    path.write_text("a=1\nb={{ nothing }}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"application\.properties.*nothing"):
        recipe("app_program").params(site, site.hosts["app1"])
    # Faults of any kind, and a template that looks for a way out of its values.
    for wrong in ("{{ 1/0 }}", "{{ port + 'x' }}", "{% include 'x' %}", "{{ ''.__class__.__mro__ }}"):
        path.write_text(f"a={wrong}\n", encoding="utf-8")
        with pytest.raises(InputError, match=r"application\.properties:1"):
            recipe("app_program").params(site, site.hosts["app1"])
    path.unlink()
    with pytest.raises(InputError, match=r"application\.properties"):
        recipe("app_program").params(site, site.hosts["app1"])


@pytest.mark.parametrize(
    ("body", "key", "word"),
    [
        (JAR.replace("  port: 8888\n", ""), "site.needs_part", "system.port"),
        (JAR.replace("8888\n  start", "80\n  start"), "site.same_port", "80"),
        (JAR.replace("main: nu", "command: bin/x, main: nu"), "site.not_of_kind", "system.start.command"),
        (JAR.replace("nu.validator", "nu-validator"), "site.form.java_name", "nu-validator"),
        (JAR.replace('"8888"', '"a b"'), "site.form.argument", "a b"),
        (JAR.replace("config/app", "../etc/app"), "site.form.inside", "../etc"),
        ("  kind: archive\n  port: 9\n  start: {command: bin/x}\n", "site.archive_form", ".tar.gz"),
        ("  kind: war\n  port: 9\n", "site.not_of_kind", "system.port"),
    ],
)
def test_what_a_kind_of_system_does_not_have_is_refused(ready: Site, body: str, key: str, word: str) -> None:
    with pytest.raises(SiteError) as caught:
        program(ready, body)
    assert caught.value.key == key
    assert "site.yml:" in str(caught.value)
    assert word in str(caught.value)


def test_the_front_shares_out_and_the_others_ask_their_own_server_first(site: Site) -> None:
    text = site.path.read_text(encoding="utf-8")
    app2 = "  app2: {address: 10.77.1.22, roles: [app]}\n  dns1:"
    site.path.write_text(text.replace("  dns1:", app2, 1).replace("his: app1", "his: app2"), encoding="utf-8")
    two = load(site.path)
    backends = recipe("nginx").backends
    assert [(one["address"], one["spare"]) for one in backends(two, two.hosts["app1"])] == [
        ("10.77.1.12", False), ("10.77.1.22", True)]  # fmt: skip
    assert [(one["address"], one["spare"]) for one in backends(two, two.hosts["app2"])] == [
        ("10.77.1.22", False), ("10.77.1.12", False)]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "key", "word"),
    [
        ("{id: a, name: A}", "site.one_kind", "url tcp sql"),
        ("{id: a, name: A, tcp: 80, process: java}", "site.one_kind", "a"),
        ("{id: a, name: A, tcp: 80, expect: {status: 200}}", "site.not_of_kind", "expect"),
        ("{id: a, name: A, systemd: 'x; reboot'}", "site.form.unit", "x; reboot"),
        ("{id: a, name: A, process: '-x'}", "site.form.process", "-x"),
        ("{id: a, name: A, log: {file: x.log, pattern: y}}", "site.form.path", "x.log"),
        ("{id: a, name: A, tcp: 80, deadline: 5}", "site.form.duration", "5"),
    ],
)
def test_a_module_says_how_it_is_asked(example: Path, module: str, key: str, word: str) -> None:
    text = example.read_text(encoding="utf-8")
    example.write_text(text.replace("  modules: ", f"  modules:\n    - {module}  ", 1), encoding="utf-8")
    with pytest.raises(SiteError) as caught:
        load(example)
    assert caught.value.key == key
    assert word in str(caught.value)
