"""Database servers judged by their own recorded answers, before and after their recipe; what a refused login says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from implops.check import registry
from implops.check.gather import Seen
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.check.login import _words, ask_logins
from implops.check.model import Verdict
from implops.facts.base import Fact, Section, Unknown, build
from implops.facts.clock import Clock
from implops.facts.database import Login, Server, Tunnelled, questions
from implops.facts.planned import Planned
from implops.facts.storage import Disks, Mount, Room
from implops.facts.system import Memory
from implops.site import Site

CHECKS = registry.load(None)
GIB = 2**30
PLAN = [Planned("postgresql", "db1", "port", "5432", "postgres")]
DONE = {"db1": ["postgresql"]}
# What PostgreSQL 15.18 and MariaDB 10.11.19 of Debian 12 said to our questions; most extensions and rights left out.
POSTGRESQL = """\
set archive_command (disabled)
set archive_mode off
set data_directory /data/pg
set fsync on
set full_page_writes on
set max_connections 100
set server_encoding UTF8
set server_version_num 150018
set superuser_reserved_connections 3
set synchronous_commit on
set TimeZone Asia/Shanghai
set shared_buffers 134217728
database his UTF8 zh_CN.UTF-8 zh_CN.UTF-8
database template1 UTF8 zh_CN.UTF-8 zh_CN.UTF-8
set size 30211796
extension pg_trgm
right his_owner CREATE true
right his_owner CONNECT true
right his_app CREATE false
right his_app CONNECT true
right his_import CONNECT true
right his_owner LOGIN true
right his_app LOGIN true
right his_import LOGIN true
right his_owner PUBLIC true
right his_app PUBLIC false
set recovery false
set archive_failing false"""
MARIADB = """\
set sql_mode STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION
set max_connections 151
set character_set_server utf8mb4
set max_allowed_packet 67108864
set collation_server utf8mb4_nopad_bin
set innodb_doublewrite ON
set sync_binlog 0
set innodb_buffer_pool_size 134217728
set lower_case_table_names 0
set innodb_flush_log_at_trx_commit 1
set version 10.11.19-MariaDB-0+deb12u1
set datadir /data/pg/
set read_only OFF
set log_bin OFF
set time_zone SYSTEM
database his utf8mb4 utf8mb4_nopad_bin -
set size 4079616
set zones 1784
right his_app SELECT true
right his_app INSERT true
right his_app UPDATE true
right his_app DELETE true
right his_owner CREATE true
right his_owner ALTER true
right his_owner INDEX true
right his_owner REFERENCES true
right his_owner CREATE TEMPORARY TABLES true
right his_import SELECT true
right his_import INSERT true
set replica off"""


def answer(text: str, engine: str = "postgresql") -> Section:
    lines = text.splitlines()
    return Section((("server", engine), *(("told", line) for line in lines), ("told#", str(len(lines)))))


def disks(free: int = 20 * GIB) -> Disks:
    mounts = (
        Mount("/dev/sda1", "/", "ext4", frozenset()),
        Mount("/dev/sdb1", "/data", "xfs", frozenset()),
        Mount("/dev/sdc1", "/backup", "xfs", frozenset()),
    )
    room = Room("/dev/sdc1", "/backup", 30 * GIB, GIB, free, 0, 0)
    return fact(Disks, mounts=mounts, rooms={"/backup/his": room})  # type: ignore[return-value]


def fact(kind: type[Fact], **known: Any) -> Fact:
    """A fact of which only these fields are known."""
    return kind(**{**dict.fromkeys((one.name for one in dataclasses.fields(kind)), Unknown("missing")), **known})


def judged(site: Site, text: str, *, engine: str = "postgresql", done: dict[str, list[str]] | None = None,
           more: dict[str, list[Fact]] | None = None) -> list[Verdict]:  # fmt: skip
    built = build(Server, answer(text, engine))
    facts = {"db1": [built, disks(), fact(Clock, zone="Asia/Shanghai", offset="+0800"), fact(Memory, total=8 * GIB)],
             "sto1": [disks()], **(more or {})}  # fmt: skip
    seen = {
        name: Seen(host, facts={type(one): one for one in facts.get(name, [])}) for name, host in site.hosts.items()
    }
    scene = Scene(site, seen, PLAN, DONE if done is None else done, Limits(site, CHECKS))
    ids = [id for id in CHECKS if id.startswith("DB")]
    return [one for one in judge(scene, CHECKS, ids) if one.host == ("app1" if more else "db1")]


def mariadb(site: Site) -> Site:
    assert site.database
    other = site.database.model_copy(update={"engine": "mariadb", "major": 10, "encoding": "utf8mb4"})
    return _with(site, database=other)


def _with(site: Site, **changed: Any) -> Site:
    made = site.model_copy(update=changed)
    made._path = site.path
    return made


def test_a_disk_that_is_still_to_be_mounted_is_not_judged_by_that_of_the_system(site: Site) -> None:
    root = Mount("/dev/sda1", "/", "ext4", frozenset())
    bare = fact(Disks, mounts=(root,), rooms={"/backup/his": Room("/dev/sda1", "/", GIB, GIB, 1, 0, 0)})
    seen = {
        name: Seen(site.hosts[name], facts={Server: build(Server, answer(POSTGRESQL)), Disks: bare})
        for name in ("db1", "sto1")
    }
    plans = [Planned("mounts", "sto1", "mount", "/backup", "/dev/vdb"), Planned("mounts", "db1", "mount", "/data", "x")]
    verdicts = judge(Scene(site, seen, [*PLAN, *plans], DONE, Limits(site, CHECKS)), CHECKS, ["DB12", "DB13"])
    told = {one.result.target: (one.state, one.result.note) for one in verdicts if one.host == "db1"}
    assert told["mount"] == told["→ sto1:/backup/his"] == ("info", "will_be_set")


def test_a_healthy_server_of_either_engine_passes_everything(site: Site) -> None:
    for found in (judged(site, POSTGRESQL), judged(mariadb(site), MARIADB, engine="mariadb")):
        assert {one.id for one in found} >= {f"DB{number:02d}" for number in range(1, 14)} - {"DB09"}
        assert {one.state for one in found} <= {"pass", "info", "skip"}
        assert not [one for one in found if one.state == "pass" and one.result.actual in ("", "—")]


FAULTS = [
    ("postgresql", "set server_version_num 150018", "set server_version_num 160004", "DB01", "", "postgresql 16"),
    ("postgresql", "database his UTF8", "database his SQL_ASCII", "DB02", "his", "SQL_ASCII"),
    ("postgresql", "template1 UTF8 zh_CN.UTF-8 zh_CN.UTF-8", "template1 UTF8 C C", "DB03", "template1", "C"),
    ("postgresql", "set max_connections 100", "set max_connections 74", "DB05", "", "74"),
    ("postgresql", "set shared_buffers 134217728", "set shared_buffers 16777216", "DB06", "shared_buffers", "16 MiB"),
    ("postgresql", "set fsync on", "set fsync off", "DB07", "fsync", "off"),
    ("postgresql", "set synchronous_commit on", "set synchronous_commit off", "DB07", "synchronous_commit", "off"),
    ("postgresql", "right his_owner CREATE true", "right his_owner CREATE false", "DB08", "his_owner", "PUBLIC"),
    ("postgresql", "set TimeZone Asia/Shanghai", "set TimeZone Etc/UTC", "DB10", "", "Etc/UTC"),
    ("postgresql", "set data_directory /data/pg", "set data_directory /var/lib/pg", "DB12", "mount", "/"),
    ("postgresql", "archive_command (disabled)\nset archive_mode off", "archive_command false\nset archive_mode on",
     "DB13", "archive_command", "false"),
    ("postgresql", "set size 30211796", "set size 30211796000", "DB13", "→ sto1:/backup/his", "20 GiB"),
    ("mariadb", "set version 10.11.19", "set version 10.6.9", "DB01", "", "mariadb 10.6"),
    ("mariadb", "set character_set_server utf8mb4", "set character_set_server latin1", "DB02", "character_set_server",
     "latin1"),
    ("mariadb", "set collation_server utf8mb4_nopad_bin", "set collation_server latin1_swedish_ci", "DB03",
     "collation_server", "latin1_swedish_ci"),
    ("mariadb", "set lower_case_table_names 0", "set lower_case_table_names 1", "DB04", "", "1"),
    ("mariadb", "set innodb_flush_log_at_trx_commit 1", "set innodb_flush_log_at_trx_commit 2", "DB07",
     "innodb_flush_log_at_trx_commit", "2"),
    ("mariadb", "set log_bin OFF", "set log_bin ON", "DB07", "sync_binlog", "0"),
    ("mariadb", "right his_owner CREATE true", "right his_owner DROP true", "DB08", "his_owner",
     "ALTER INDEX REFERENCES"),
    ("mariadb", "set zones 1784", "set zones 0", "DB10", "mysql.time_zone_name", "0"),
    ("mariadb", "set max_allowed_packet 67108864", "set max_allowed_packet 1048576", "DB11", "max_allowed_packet",
     "1 MiB"),
    ("mariadb", "set sql_mode STRICT_TRANS_TABLES,ERROR", "set sql_mode ERROR", "DB11", "sql_mode",
     "ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION"),
]  # fmt: skip


@pytest.mark.parametrize(("engine", "old", "new", "id", "target", "actual"), FAULTS,
                         ids=[f"{one[3]}-{n}" for n, one in enumerate(FAULTS)])  # fmt: skip
def test_a_fault_of_a_server_is_caught_alone(
    site: Site, engine: str, old: str, new: str, id: str, target: str, actual: str
) -> None:
    text = {"postgresql": POSTGRESQL, "mariadb": MARIADB}[engine]
    assert text.count(old) == 1
    bad = [
        one
        for one in judged(mariadb(site) if engine == "mariadb" else site, text.replace(old, new), engine=engine)
        if one.state in ("fail", "warn", "error")
    ]
    assert {one.id for one in bad} == {id}
    assert (target, actual) in {(one.result.target, one.result.actual) for one in bad}
    assert {one.state for one in bad} == {CHECKS[id].severity}


def test_connections_at_the_limit_are_enough(site: Site) -> None:
    # Pools of 60, a fifth more, three for the administrators.
    text = POSTGRESQL.replace("set max_connections 100", "set max_connections 75")
    assert [one.state for one in judged(site, text) if one.id == "DB05"] == ["pass"]
    assert site.web
    larger = _with(site, web=site.web.model_copy(update={"pool": 90}))
    assert [one.state for one in judged(larger, POSTGRESQL) if one.id == "DB05"] == ["fail"]


def test_before_its_recipe_a_server_is_not_asked_for(site: Site) -> None:
    found = judged(site, POSTGRESQL, done={})
    assert {one.state for one in found} == {"skip"}
    assert {one.result.note for one in found} == {"no_server_yet"}


def test_a_customers_own_server_is_judged_without_any_recipe(site: Site) -> None:
    assert site.database
    own = _with(site, database=site.database.model_copy(update={"existing": True}))
    assert {one.state for one in judged(own, POSTGRESQL, done={})} == {"pass", "info", "skip"}


@pytest.mark.parametrize(
    "lines",
    [
        (("server", "-"),),
        (("server!", "no_sudo"),),
        (("server!", "command psql:2 connection refused"),),
        (("server", "postgresql"), ("told", "set fsync on"), ("told#", "2")),
        (("server", "postgresql"), ("told", "set fsync on"), ("told#", "1")),
        (),
    ],
)
def test_a_server_that_should_be_there_and_says_nothing_is_never_a_pass(
    site: Site, lines: tuple[tuple[str, str], ...]
) -> None:
    seen = {name: Seen(host) for name, host in site.hosts.items()}
    seen["db1"].facts[Server] = build(Server, Section(lines))
    scene = Scene(site, seen, PLAN, DONE, Limits(site, CHECKS))
    found = [one for one in judge(scene, CHECKS, [id for id in CHECKS if id.startswith("DB")]) if one.host == "db1"]
    assert {one.state for one in found} <= {"error", "skip"}
    # Only what asks MariaDB alone does not concern a server that says it is PostgreSQL.
    assert {one.id for one in found if one.state == "skip"} <= {"DB04", "DB11"}


def test_the_tunnel_stands_in_where_the_socket_is_closed(site: Site) -> None:
    seen = {name: Seen(host) for name, host in site.hosts.items()}
    seen["db1"].facts = {
        Server: build(Server, Section((("server!", "no_sudo"),))),
        Tunnelled: build(Tunnelled, answer(POSTGRESQL)),
    }
    found = judge(Scene(site, seen, PLAN, DONE, Limits(site, CHECKS)), CHECKS, ["DB02", "DB07"])
    assert {one.state for one in found} == {"pass"}


def _login(*lines: tuple[str, str]) -> Callable[[Site], Verdict]:
    def judge_it(site: Site) -> Verdict:
        more: dict[str, list[Any]] = {"app1": [build(Login, Section(lines))]}
        return next(one for one in judged(site, POSTGRESQL, more=more) if one.id == "DB09")

    return judge_it


def test_a_login_counts_only_as_the_application_from_its_own_address(site: Site) -> None:
    right = _login(("account", "his_app@10.77.1.12"), ("refused", ""))(site)
    assert (right.state, right.result.actual) == ("pass", "his_app@10.77.1.12")
    # Something on the way puts its own address in the place of the host's.
    assert _login(("account", "his_app@10.77.1.1"), ("refused", ""))(site).state == "fail"
    said = 'FATAL: no pg_hba.conf entry for host "10.77.1.12"'
    refused = _login(("account", ""), ("refused", said))(site)
    assert (refused.state, refused.result.actual) == ("fail", said)
    assert _login(("account!", "no_forward app1"), ("refused!", "no_forward app1"))(site).state == "error"


def test_a_password_that_cannot_be_had_stops_nothing_else(site: Site) -> None:
    # The file secrets/db_app is not there: nobody is connected to, and the fact says why.
    seen = {"app1": Seen(site.hosts["app1"])}
    ask_logins(site, seen)
    found = seen["app1"].fact(Login)
    assert not isinstance(found, Unknown)
    assert found.ask("account") == Unknown("no_password")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('connection failed: connection to server at "127.0.0.1", port 40481 failed: FATAL:  password authentication '
         'failed for user "his_app"', 'FATAL: password authentication failed for user "his_app"'),
        ('connection failed: connection to server at "127.0.0.1", port 40481 failed: FATAL:  no pg_hba.conf entry for '
         'host "10.77.1.12", user "a", SSL encryption\nconnection to server at "127.0.0.1", port 40481 failed: FATAL:  '
         'no pg_hba.conf entry for host "10.77.1.12", user "a", no encryption',
         'FATAL: no pg_hba.conf entry for host "10.77.1.12", user "a", SSL encryption'),
        ("(1045, \"Access denied for user 'his_app'@'10.77.1.12' (using password: YES)\")",
         "Access denied for user 'his_app'@'10.77.1.12' (using password: YES)"),
    ],
)  # fmt: skip
def test_the_servers_words_stay_and_our_own_ports_go(said: str, words: str) -> None:
    assert _words(said) == words


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_statements_survive_the_way_into_the_script_word_by_word(site: Site, engine: str) -> None:
    assert site.database
    for one in questions(site.database.model_copy(update={"engine": engine})):
        assert " ".join(one.split()) == one
        assert one.endswith(";")
        assert one.startswith("select ")
