"""Name servers: what they tell to whom, judged by answers as they stand on the wire; shares by what their users saw."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from implops import kit
from implops.check import registry
from implops.check.gather import Seen, scripts_of
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.check.model import Verdict
from implops.deploy import recipes
from implops.facts.base import NotMeasured, Section, Unknown, build
from implops.facts.names import Config, Names, Outside, Served, fqdns, question, read_answer
from implops.facts.network import Listener, Ports
from implops.facts.planned import Planned
from implops.facts.script import Probe, assemble, load_probe, parse
from implops.facts.shares import Shared, Shares, SmallFiles, admitted
from implops.site import Share, Site, load

CHECKS = registry.load(None)
_SOA = "dns1.his.example. hostmaster.his.example. 2026112601 1 2 3 4"
SOA = dns.rrset.from_text("his.example.", 3600, "IN", "SOA", _SOA)


def reply(kind: str, name: str, *records: dns.rrset.RRset, code: int = 0, recursion: bool = False) -> bytes:
    """A server's answer to our own question, as it stands on the wire."""
    message = dns.message.make_response(dns.message.from_wire(question(kind, name)))
    message.set_rcode(dns.rcode.Rcode(code))
    message.flags = (message.flags | dns.flags.RA) if recursion else (message.flags & ~dns.flags.RA)
    message.answer = list(records)
    return message.to_wire()


def test_answers_are_read_and_strangers_are_not() -> None:
    soa = read_answer(reply("SOA", "his.example", SOA, recursion=True), 7)
    assert (soa.code, soa.recursion, soa.records, soa.micros) == (0, True, ("2026112601",), 7)
    wire = reply("SOA", "his.example", SOA)
    for other in (b"", wire[:20], b"\0\0" + wire[2:], question("SOA", "his.example"), b"HTTP/1.1 400 Bad Request"):
        with pytest.raises(NotMeasured):
            read_answer(other, 7)


def line(server: str, protocol: str, kind: str, name: str, wire: bytes | None, code: str = "0") -> tuple[str, str]:
    framed = b"" if wire is None else (len(wire).to_bytes(2, "big") if protocol == "tcp" else b"") + wire
    told = f"1000 3000 {framed.hex()}" if wire is not None else "x: Connection refused" if code == "0" else ""
    return "answer", f"{server}:{protocol}:{kind}/{name} {code} {told}"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_name_server_where_nobody_listens_is_refused_whichever_question_is_told_so(count: int) -> None:
    asked, server = [f"a{number}.his.example" for number in range(count)], "127.0.0.9"
    files = kit.files("checks/probes", None, "*.sh")
    probe = load_probe("served", files, {"SERVED_BY": [server], "NAMES": asked})
    nonce = "0123456789abcdef"
    done = subprocess.run(["sh", "-s"], input=assemble([probe], nonce).encode(), capture_output=True, timeout=60)
    found = build(Served, parse(done.stdout, nonce, ["served"]).sections["served"])
    assert isinstance(found, Served)
    assert found.answers == {(server, name): Unknown("refused", name) for name in asked}


def names(*lines: tuple[str, str]) -> Any:
    return build(Names, Section((("name#", "0"), *lines, ("answer#", str(len(lines))))))


def verdicts(site: Site, facts: dict[str, list[Any]], id: str, *, planned: list[Planned] | None = None,
             done: dict[str, list[str]] | None = None,
             then: dict[tuple[str, str], frozenset[Planned]] | None = None) -> list[Verdict]:  # fmt: skip
    seen = {name: Seen(host, deep=True, facts={type(one): one for one in facts.get(name, [])})
            for name, host in site.hosts.items()}  # fmt: skip
    return judge(Scene(site, seen, planned or [], done or {}, Limits(site, CHECKS), then or {}), CHECKS, [id])


def _with(site: Site, **changed: Any) -> Site:
    made = site.model_copy(update=changed)
    made._path = site.path
    return made


def outside(recursion: str = "0", transfer: str = "5", *records: str) -> Any:
    rows = [("record", one) for one in records]
    told = [("asked", "1"), ("recursion", recursion), ("transfer", transfer), *rows, ("record#", str(len(rows)))]
    return build(Outside, Section(tuple(told)))


def served(*rows: str) -> Any:
    return build(Served, Section((*(("served", one) for one in rows), ("served#", str(len(rows))))))


def address_of(name: str, *addresses: str, code: int = 0) -> str:
    records = [dns.rrset.from_text(f"{name}.", 60, "IN", "A", *addresses)] if addresses else []
    return reply("A", name, *records, code=code).hex()


DB1 = "db1.his.example"


@pytest.mark.parametrize(
    ("resolved", "told", "state", "actual", "note"),
    [
        ("0 10.77.1.11", address_of(DB1, "10.77.1.11"), "pass", "10.77.1.11", ""),
        # /etc/hosts is right; the zone is wrong, or does not have the name, or has it twice.
        ("0 10.77.1.11", address_of(DB1, "10.9.9.9"), "fail", "10.9.9.9", "hosts_file_masks"),
        ("0 10.77.1.11", address_of(DB1, code=3), "fail", "rcode 3", "hosts_file_masks"),
        ("0 10.77.1.11", address_of(DB1), "fail", "rcode 0", "hosts_file_masks"),
        ("0 10.77.1.11", address_of(DB1, "10.77.1.11", "10.9.9.9"), "fail", "10.77.1.11 10.9.9.9", "hosts_file_masks"),
        # No server answers (DNS04 says so): shown for what it is.
        ("0 10.77.1.11", "timeout", "pass", "10.77.1.11", "from_hosts_file"),
        ("0 10.77.1.11", "Connection refused", "pass", "10.77.1.11", "from_hosts_file"),
        # The zone is right, /etc/hosts is wrong, or has the name twice: programs get what /etc/hosts says.
        ("0 10.77.1.11,10.9.9.8", address_of(DB1, "10.77.1.11"), "fail", "10.77.1.11 10.9.9.8", ""),
        ("0 10.9.9.8", address_of(DB1, "10.77.1.11"), "fail", "10.9.9.8", ""),
        ("2 -", "timeout", "fail", "—", ""),
        # Neither a name nor an answer about another one is an answer.
        ("0 10.77.1.11", "48545450", "error", "—", "reason.garbled"),
        ("0 10.77.1.11", "x", "error", "—", "reason.garbled"),
        ("0 10.77.1.11", address_of("app1.his.example", "10.77.1.11"), "error", "—", "reason.garbled"),
        ("0 10.77.1.11", question("A", DB1).hex(), "error", "—", "reason.garbled"),
    ],
)
def test_a_hosts_file_hides_no_fault_of_the_zone(
    site: Site, resolved: str, told: str, state: str, actual: str, note: str
) -> None:
    line = (("name", f"{DB1} {resolved}"), ("name#", "1"), ("answer#", "0"))
    facts = {"app1": [build(Names, Section(line)), served(f"10.77.1.13 {DB1} {told}")]}
    (found,) = (one for one in verdicts(site, facts, "DNS02") if (one.host, one.result.target) == ("app1", DB1))
    assert (found.state, found.result.actual, found.result.note) == (state, actual, note)


def test_a_name_that_no_server_was_asked_for_is_not_known_to_be_served(site: Site) -> None:
    line = (("name", f"{DB1} 0 10.77.1.11"), ("name#", "1"), ("answer#", "0"))
    made = verdicts(site, {"app1": [build(Names, Section(line)), served()]}, "DNS02")
    (found,) = (one for one in made if (one.host, one.result.target) == ("app1", DB1))
    assert (found.state, found.result.note) == ("error", "reason.missing")


def test_probes_of_one_trip_mean_the_same_by_a_name(example: Path) -> None:
    text = example.read_text(encoding="utf-8").replace(
        "# storage: ", "storage: {shares: [{path: /mnt/his, hosts: [app], user: tomcat, export: 'sto1:/srv'}]}\n# "
    )
    example.write_text(text, encoding="utf-8")
    site = load(example)
    for host in site.hosts.values():
        for _, _, probes in scripts_of(site, recipes.planned(site), host, (1, 2, 3)):
            assert assemble(probes, "0123456789abcdef")
    mine = [Probe("a", "", {"NAMES": ["x"]}), Probe("b", "", {"NAMES": ["y"]})]
    with pytest.raises(ValueError, match="NAMES"):
        assemble(mine, "0123456789abcdef")


def test_a_zone_that_is_still_to_be_made_is_no_fault(site: Site) -> None:
    facts = {"app1": [build(Names, Section((("name", f"{DB1} 0 10.77.1.11"), ("name#", "1"), ("answer#", "0")))),
                      served(f"10.77.1.13 {DB1} {address_of(DB1, code=5)}")]}  # fmt: skip
    made = verdicts(site, facts, "DNS02", planned=recipes.planned(site))
    (found,) = (one for one in made if (one.host, one.result.target) == ("app1", "bind9"))
    assert (found.state, found.result.note, found.result.params["recipe"]) == ("info", "will_be_set", "bind9")


def test_another_address_is_told_while_the_name_is_still_to_come(site: Site) -> None:
    other = f"sto1.{site.dns.zone}"  # type: ignore[union-attr]
    told = [("name", f"{name} 0 10.9.9.9" if name == other else f"{name} 2 -") for name in fqdns(site)]
    here = build(Names, Section((*told, ("name#", str(len(told))), ("answer#", "0"))))
    made = verdicts(site, {"app1": [here, served()]}, "DNS02", planned=recipes.planned(site))
    shown = {one.result.target: (one.state, one.result.actual) for one in made if one.host == "app1"}
    assert shown == {other: ("info", "10.9.9.9"), "bind9": ("info", f"0 / {len(told) - 1}")}


def test_names_that_are_right_are_told_together_and_each_wrong_one_by_itself(site: Site) -> None:
    wrong = f"sto1.{site.dns.zone}"  # type: ignore[union-attr]
    heard = {**fqdns(site), wrong: "10.9.9.9"}
    told = [("name", f"{name} 0 {address}") for name, address in heard.items()]
    here = build(Names, Section((*told, ("name#", str(len(told))), ("answer#", "0"))))
    asked = served(*(f"10.77.1.13 {name} {address_of(name, address)}" for name, address in heard.items()))
    made = [one for one in verdicts(site, {"app1": [here, asked]}, "DNS02") if one.host == "app1"]
    assert [(one.state, one.result.target) for one in made] == [("fail", wrong), ("pass", "his.example")]
    assert made[1].result.actual == f"{len(heard) - 1} / {len(heard) - 1}"


AXFR = ("10.77.1.13", "tcp", "AXFR", "his.example")


def test_a_zone_is_given_to_nobody(site: Site) -> None:
    shut = names(line(*AXFR, reply("AXFR", "his.example", code=5)))
    wide = names(line(*AXFR, reply("AXFR", "his.example", SOA)))
    silent = names(line(*AXFR, None))
    assert {one.state for one in verdicts(site, {"app1": [shut]}, "DNS10") if one.host == "app1"} == {"pass"}
    (found,) = (one for one in verdicts(site, {"app1": [wide]}, "DNS10") if one.host == "app1")
    assert (found.state, found.result.actual, found.result.note) == ("warn", "SOA 2026112601", "transfer_open")
    # No server answered: nothing is known, and nothing is claimed.
    assert not [one for one in verdicts(site, {"app1": [silent]}, "DNS10") if one.host == "app1"]


def two_servers(site: Site) -> Site:
    """A second name server on sto1."""
    hosts = {**site.hosts, "sto1": site.hosts["sto1"].model_copy(update={"roles": ["storage", "dns"]})}
    for name, host in hosts.items():
        host._name = name
    return _with(site, hosts=hosts)


def test_the_second_name_server_must_get_the_zone_from_the_first(site: Site) -> None:
    for code, records, state in ((0, (SOA,), "pass"), (5, (), "warn")):
        facts = {"sto1": [names(line(*AXFR, reply("AXFR", "his.example", *records, code=code)))]}
        assert [one.state for one in verdicts(two_servers(site), facts, "DNS10") if one.host == "sto1"] == [state]


@pytest.mark.parametrize(
    ("seen", "transfer", "recursion"),
    [
        (outside(), "pass", "pass"),
        (outside("1"), "pass", "warn"),
        (outside("0", "0", "2026112601"), "warn", "pass"),
    ],
)
def test_an_outsider_gets_neither_the_zone_nor_recursion(
    site: Site, seen: Any, transfer: str, recursion: str
) -> None:  # fmt: skip
    facts = {"dns1": [seen, names()]}
    for id, state in (("DNS10", transfer), ("DNS11", recursion)):
        assert [one.state for one in verdicts(site, facts, id) if one.result.target == "← *"] == [state]


def test_forwarders_must_answer_and_the_sites_hosts_may_ask(site: Site) -> None:
    assert site.dns
    mine = _with(site, dns=site.dns.model_copy(update={"forwarders": ["10.77.1.200"]}))
    root = ("10.77.1.200", "udp", "NS", ".")
    soa = ("10.77.1.13", "udp", "SOA", "his.example")
    for wire, code, state in ((reply("NS", ".", code=2), "0", "pass"), (None, "124", "warn"), (None, "0", "warn")):
        facts = {"dns1": [names(line(*root, wire, code))]}
        assert [one.state for one in verdicts(mine, facts, "DNS11") if one.host == "dns1"] == [state]
    for recursion, state in ((True, "pass"), (False, "warn")):
        facts = {"app1": [names(line(*soa, reply("SOA", "his.example", SOA, recursion=recursion)))]}
        assert [one.state for one in verdicts(mine, facts, "DNS11") if one.host == "app1"] == [state]


def test_serials_of_two_servers_are_compared_and_a_missing_one_is_no_pass(site: Site) -> None:
    mine = two_servers(site)
    other = dns.rrset.from_text("his.example.", 1, "IN", "SOA", "a. b. 2026112602 1 2 3 4")
    first = line("10.77.1.13", "udp", "SOA", "his.example", reply("SOA", "his.example", SOA))

    def second(record: dns.rrset.RRset) -> tuple[str, str]:
        return line("10.77.1.14", "udp", "SOA", "his.example", reply("SOA", "his.example", record))

    def states(*lines: tuple[str, str], **more: Any) -> set[str]:
        return {one.state for one in verdicts(mine, {"app1": [names(*lines)]}, "DNS09", **more)}

    assert states(first, second(SOA)) == {"pass"}
    assert CHECKS["DNS09"].severity in states(first, second(other))
    assert states(first) == {"error"}
    plan = [Planned("bind9", name, "port", "53", "named") for name in ("dns1", "sto1")]
    assert states(first, planned=plan) == {"skip"}


def test_the_configuration_is_what_its_own_program_says(site: Site) -> None:
    said = "/etc/bind/named.conf:9: missing ';' before 'recursion'"
    for tool, fault, state in (("named-checkconf", "", "pass"), ("named-checkconf", said, "fail"), ("-", "", "skip")):
        facts: dict[str, list[Any]] = {"dns1": [Config(tool, fault)]}
        (found,) = verdicts(site, facts, "DNS08")
        assert found.state == state
        assert not fault or found.result.actual == said


def test_port_53_may_be_held_by_our_own_server_only(site: Site) -> None:
    for process, address, state in (("named", "10.77.1.13", "pass"), ("systemd-resolve", "127.0.0.53", "fail")):
        ports = Ports((Listener("udp", address, 53, (process,), (0,), None),))
        (found,) = verdicts(site, {"dns1": [ports]}, "DNS07")
        assert (found.state, found.result.actual) == (state, process)


@pytest.mark.parametrize(
    ("clients", "good"),
    [("*", True), ("(everyone)", True), ("10.77.1.12", True), ("10.77.1.0/24", True), ("10.77.1.0/255.255.255.0", True),
     ("10.77.1.11,10.77.1.12", True), ("10.77.1.1", False), ("10.77.2.0/24", False), ("10.77.1.0/99", False),
     ("", False)],
)  # fmt: skip
def test_an_export_admits_addresses_and_networks(clients: str, good: bool) -> None:
    assert admitted(tuple(clients.split(",")), "10.77.1.12") is good


def sharing(site: Site, **more: Any) -> Site:
    share = Share.model_validate({"path": "/mnt/his", "hosts": ["app", "db"], "user": "tomcat", **more})
    return _with(site, storage=site.storage.model_copy(update={"shares": [share]}))


@pytest.mark.parametrize(
    ("step", "state"),
    [("good", "pass"), ("create", "fail"), ("lock", "fail"), ("missing", "fail"), ("timeout", "error"),
     ("no_user", "fail")],
)  # fmt: skip
def test_the_first_step_that_a_share_refuses_is_named(site: Site, step: str, state: str) -> None:
    shares = build(Shares, Section((("share", f"/mnt/his {step}"), ("share#", "1"), ("export#", "0"))))
    (found,) = (one for one in verdicts(sharing(site), {"app1": [shares]}, "STO02") if one.host == "app1")
    assert found.state == state
    assert state == "error" or found.result.actual == step
    if step == "no_user":
        plan = [Planned("tomcat", "app1", "user", "tomcat")]
        (found,) = (one for one in verdicts(sharing(site), {"app1": [shares]}, "STO02", planned=plan)
                    if one.host == "app1")  # fmt: skip
        assert (found.state, found.result.note) == ("info", "will_be_set")


def shared(*lines: str) -> Any:
    return build(Shared, Section((*(("file", one) for one in lines), ("file#", str(len(lines))))))


@pytest.mark.parametrize(
    ("saw", "state"),
    [("saw /mnt/his 1500 aa", "pass"), ("saw /mnt/his 1501 aa", "fail"), ("saw /mnt/his 1500 bb", "fail"),
     ("saw /mnt/his - -", "fail")],
)  # fmt: skip
def test_what_one_host_wrote_the_other_sees_with_owner_and_content(site: Site, saw: str, state: str) -> None:
    # db1 stands first in the site file: it writes.
    facts = {"db1": [shared("wrote /mnt/his 1500 aa")], "app1": [shared(saw)]}
    (found,) = verdicts(sharing(site), facts, "STO03")
    assert (found.host, found.state) == ("app1", state)
    assert [one.state for one in verdicts(sharing(site), {"app1": [shared(saw)]}, "STO03")] == ["error"]


@pytest.mark.parametrize(("told", "state"), [("/backup 0 200 500000", "pass"), ("/backup 0 200 2000000", "warn"),
                                             ("/backup 0 100 10000000", "warn"), ("/backup 9 ", "error"),
                                             ("/backup 124 ", "error")])  # fmt: skip
def test_small_files_a_second(site: Site, told: str, state: str) -> None:
    facts = {"sto1": [build(SmallFiles, Section((("small", told), ("small#", "1"))))]}
    (found,) = (one for one in verdicts(site, facts, "STO05") if one.host == "sto1")
    assert found.state == state


def test_an_unknown_fact_is_never_a_pass(site: Site) -> None:
    mine = sharing(_with(site, vips=["10.77.1.100"]), export="sto1:/srv/his")
    ids = [id for id in CHECKS if id.startswith(("DNS", "STO", "NET"))]
    found = [one for id in ids for one in verdicts(mine, {}, id)]
    assert found
    assert {one.state for one in found} <= {"error", "skip"}


def test_a_name_that_the_site_file_asks_for_only_since_is_still_to_come(site: Site) -> None:
    told = [("name", f"{name} 0 {address}") for name, address in fqdns(site).items()]
    here = build(Names, Section((*told, ("name#", str(len(told))), ("answer#", "0"))))
    new = f"lis.{site.dns.zone}"  # type: ignore[union-attr]
    rows = [f"10.77.1.13 {name} {address_of(name, address)}" for name, address in fqdns(site).items()]
    asked = served(*rows, f"10.77.1.13 {new} {address_of(new, code=3)}")
    planned = recipes.planned(site)
    done = {host: list(recipes.load(site.base)) for host in site.hosts}
    then = {("dns1", "bind9"): frozenset(one for one in planned if one.recipe == "bind9")}
    site.dns.names["lis"] = "app1"  # type: ignore[union-attr]

    def states(then: dict[tuple[str, str], frozenset[Planned]]) -> dict[str, str]:
        found = verdicts(site, {"app1": [here, asked]}, "DNS02", planned=recipes.planned(site), done=done, then=then)
        return {one.result.target: one.state for one in found if one.host == "app1"}

    assert states(then)[new] == "info"
    assert {state for name, state in states(then).items() if name != new} == {"pass"}
    # It was to be there after the last deployment, and is not.
    assert states({("dns1", "bind9"): frozenset(recipes.planned(site))})[new] == "fail"
    assert states({})[new] == "fail"
