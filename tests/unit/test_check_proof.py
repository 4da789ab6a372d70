"""Paths: what the words of a failed connection mean, who answers an echo, and a listener that always goes away."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from implops import kit
from implops.check import registry
from implops.check.gather import Seen
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.check.model import Verdict
from implops.errors import HostError
from implops.facts.base import Fact, Section, Unknown, build
from implops.facts.echo import Bandwidth, Echo, Heard, Idle, Listening
from implops.facts.network import Network, Nic
from implops.facts.peers import Flows, Packets, Tried, _tried, paths_of
from implops.facts.script import Probe, assemble, load_probe, parse, write
from implops.site import Site

CHECKS = registry.load(None)
NONCE, TOKEN, OTHER = "0011223344556677", "aaaa000011112222", "bbbb000011112222"
DB = "10.77.1.11:5432:tcp"


def section(*lines: tuple[str, str]) -> Section:
    """Lines with the count of every key that repeats."""
    counted = [(f"{key}#", str(sum(name == key for name, _ in lines))) for key in ("echo", "port", "path", "vip")]
    return Section((*lines, *counted))


def verdicts(site: Site, facts: dict[str, list[Fact]], *ids: str, away: str = "") -> dict[str, Verdict]:
    """Verdicts on app1 by target."""
    seen = {name: Seen(host, deep=True, facts={type(one): one for one in facts.get(name, [])})
            for name, host in site.hosts.items()}  # fmt: skip
    if away:
        seen[away].error = HostError("remote.timeout", host=away, address="x", port=22, seconds=10)
    found = judge(Scene(site, seen, [], {}, Limits(site, CHECKS)), CHECKS, ids)
    return {one.result.target: one for one in found if one.host == "app1"}


@pytest.mark.parametrize(
    ("told", "seen"),
    [
        ("0 open 100 150 200 260 300 9000 400 455 500 551", ("open", 55)),
        ("0 x: connect: Connection refused x: line 1: /dev/tcp/10.77.1.11/5432: Connection refused", ("refused", None)),
        ("124 ", ("timeout", None)),
        ("0 x: connect: No route to host", ("no_route", None)),
        ("0 x: connect: Network is unreachable", ("no_route", None)),
        # Routes of the host itself: prohibit, blackhole; a rule that drops what it sends.
        ("0 x: connect: Permission denied", ("local", None)),
        ("0 x: connect: Invalid argument", ("local", None)),
        ("0 x: line 1: printf: write error: Operation not permitted", ("local", None)),
        ("0 a.b: Name or service not known a.b: /dev/tcp/a.b/443: Invalid argument", ("no_name", None)),
        ("0 tls_silent 100 150", ("tls_silent", 50)),
    ],
)
def test_the_words_of_a_connection_are_told_apart(told: str, seen: tuple[str, int | None]) -> None:
    assert _tried(f"{DB} {told}") == (DB, Tried(*seen))  # type: ignore[arg-type]


def test_words_that_nobody_knows_are_never_guessed() -> None:
    assert isinstance(_tried(f"{DB} 1 x: connect: Protocol error")[1].seen, Unknown)


def heard(told: str) -> Echo | Unknown:
    return build(Echo, section(("echo", f"{DB} {told}")))  # type: ignore[return-value]


def listening(port: str = "bound 5432/tcp", token: str = TOKEN) -> Fact:
    return build(Listening, section(("token", token), ("port", port)))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("told", "port", "state", "note"),
    [
        (f"0 said implops {NONCE} {TOKEN}", "bound 5432/tcp", "pass", "echo_verified"),
        (f"0 said implops {NONCE} {OTHER}", "bound 5432/tcp", "fail", "echo_other"),
        (f"0 said implops {NONCE}", "bound 5432/tcp", "fail", "echo_missing"),
        ("0 said HTTP/1.1 400 Bad Request", "bound 5432/tcp", "fail", "echo_missing"),
        ("0 silent", "bound 5432/tcp", "fail", "echo_missing"),
        ("0 end", "bound 5432/tcp", "fail", "echo_missing"),
        ("0 IO::Socket::INET: connect: Connection refused", "bound 5432/tcp", "fail", "flow_refused"),
        ("0 IO::Socket::INET: connect: timeout", "bound 5432/tcp", "fail", "flow_timeout"),
        ("124 ", "bound 5432/tcp", "fail", "flow_timeout"),
        ("0 IO::Socket::INET: connect: Protocol error", "bound 5432/tcp", "error", "reason.garbled"),
        ("0 silent", "failed 5432/tcp Address already in use", "skip", "port_in_use"),
        ("0 silent", "failed 5432/tcp Permission denied", "error", "reason.not_proved"),
    ],
)
def test_only_the_token_of_the_target_proves_a_path(
    site: Site, told: str, port: str, state: str, note: str
) -> None:  # fmt: skip
    facts: dict[str, list[Any]] = {"app1": [heard(told)], "db1": [listening(port)], "sto1": [listening("", OTHER)]}
    one = verdicts(site, facts, "NET02")["→ db1:5432/tcp"]
    assert (one.state, one.result.note) == (state, note)


def test_whatever_answers_for_a_host_that_is_away_is_a_fault(site: Site) -> None:
    tried = Flows({path.key: Tried("open", 90) for path in paths_of(site, site.hosts["app1"])})
    facts: dict[str, list[Any]] = {"app1": [heard("0 said hello"), tried]}
    assert verdicts(site, facts, "NET02", away="db1")["→ db1:5432/tcp"].state == "fail"
    one = verdicts(site, facts, "NET01", away="db1")["→ db1:5432/tcp"]
    assert (one.state, one.result.note) == ("pass", "connect_only")


def test_a_proved_path_says_so_and_an_unproved_one_does_not(site: Site) -> None:
    tried = Flows({path.key: Tried("open", 90) for path in paths_of(site, site.hosts["app1"])})
    for told, note in ((f"0 said implops {NONCE} {TOKEN}", "echo_verified"), ("0 silent", "connect_only")):
        facts: dict[str, list[Any]] = {"app1": [heard(told), tried], "db1": [listening()]}
        assert verdicts(site, facts, "NET01")["→ db1:5432/tcp"].result.note == note


@pytest.mark.parametrize(
    ("told", "state"), [("1000000000 8000", "pass"), ("67108864 2000", "warn"), ("67108864 4000", "warn")]
)
def test_bandwidth_is_that_of_what_arrived(site: Site, told: str, state: str) -> None:
    facts: dict[str, list[Any]] = {
        "app1": [heard(f"0 said implops {NONCE} {TOKEN}"),
                 build(Bandwidth, section(("echo", f"{DB} 0 said got {told}")))],
        "db1": [listening()],
    }  # fmt: skip
    one = verdicts(site, facts, "NET06")["→ db1 (Mb/s)"]
    size, millis = map(int, told.split())
    assert (one.state, one.result.actual) == (state, str(size * 8 // 1000 // millis))


@pytest.mark.parametrize(
    ("rested", "told", "state"),
    [
        (30, f"0 said implops {NONCE} {TOKEN}", "pass"),
        (20, f"0 said implops {NONCE} {TOKEN}", "warn"),
        (30, "0 silent", "warn"),
        (30, "0 end", "warn"),
        (30, "124 ", "warn"),
        (30, "0 strange", "error"),
    ],
)
def test_an_idle_connection_must_reach_the_same_listener(site: Site, rested: int, told: str, state: str) -> None:
    roles = {**site.roles, "app": site.roles["app"].model_copy(update={"checks": {"NET12": {"need": "30 s"}}})}
    mine = site.model_copy(update={"roles": roles})
    mine._path = site.path
    facts: dict[str, list[Any]] = {
        "app1": [heard(f"0 said implops {NONCE} {TOKEN}"),
                 build(Idle, section(("seconds", str(rested)), ("echo", f"{DB} {told}")))],
        "db1": [listening()],
    }  # fmt: skip
    assert verdicts(mine, facts, "NET12")["→ db1:5432/tcp"].state == state


def pinged(*lines: str) -> Fact:
    return build(Packets, section(*(("path", line) for line in lines), ("vip", "10.77.1.100 1 -")))  # type: ignore[return-value]


def network(address: str, mtu: int) -> Fact:
    known: dict[str, Any] = {"addresses": {address: "host0@if7"}, "nics": (Nic("host0", "02:00:00:00:00:01", mtu, 0),)}
    return Network(**{**dict.fromkeys((one.name for one in dataclasses.fields(Network)), Unknown("missing")), **known})


@pytest.mark.parametrize(
    ("line", "theirs", "loss", "mtu"),
    [
        ("1500 good 20 20", 1500, "pass", "pass"),
        ("1500 good 20 19", 1500, "warn", "pass"),
        ("1500 good 20 18", 1500, "warn", "pass"),
        # Small packets arrive, large ones vanish: a black hole.
        ("1500 lost 20 20", 1500, "pass", "fail"),
        ("1500 big 20 20", 1500, "pass", "fail"),
        ("9000 good 20 20", 1500, "pass", "fail"),
        # A firewall that drops every ping says nothing about sizes.
        ("1500 lost 20 0", 1500, "info", "info"),
    ],
)
def test_pings_tell_loss_and_sizes(site: Site, line: str, theirs: int, loss: str, mtu: str) -> None:
    facts = {"app1": [pinged(f"10.77.1.11 {line}")], "db1": [network("10.77.1.11", theirs)]}
    assert verdicts(site, facts, "NET04")["→ db1"].state == loss
    assert verdicts(site, facts, "NET05")["→ db1"].state == mtu


@pytest.mark.parametrize(
    ("line", "state"),
    [("10.77.1.100 1 -", "pass"), ("10.77.1.100 0 -", "fail"), ("10.77.1.100 1 2e:8c:04:39:d2:5b", "fail"),
     ("10.77.1.101 1 -", "error")],
)  # fmt: skip
def test_an_address_that_will_move_must_answer_nobody(site: Site, line: str, state: str) -> None:
    mine = site.model_copy(update={"vips": ["10.77.1.100"]})
    mine._path = site.path
    packets: Any = build(Packets, section(("vip", line)))
    assert verdicts(mine, {"app1": [packets, network("10.77.1.12", 1500)]}, "NET09")["10.77.1.100"].state == state


def test_what_this_side_saw_is_read_back_like_a_hosts_answer() -> None:
    lines = [("token", "a\tb\\n\nc"), ("port", "failed 1/tcp x"), ("port#", "1")]
    found = parse(write(NONCE, {"listening": lines, "echo": []}), NONCE, ["listening", "echo"])
    assert found.sections["listening"] == Section(tuple(lines))
    assert found.sections["echo"] == Section(())
    assert found.noise == 0
    cut = write(NONCE, {"listening": lines}).replace(b"failed", b"bound!")
    assert isinstance(parse(cut, NONCE, ["listening"]).sections["listening"], Unknown)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextlib.contextmanager
def listener(*ports: str, lease: int = 20) -> Iterator[subprocess.Popen[bytes]]:
    program = (kit.shipped() / "checks" / "probes" / "listen.pl").read_text(encoding="utf-8")
    command = ["perl", "-e", program, "127.0.0.1", NONCE, TOKEN, str(lease), *ports]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            while process.stdout.readline() not in (b"ready\n", b""):
                pass
            yield process
        finally:
            process.kill()


def asked(mode: str, *keys: str) -> Section:
    files = kit.files("checks/probes", None, "*.sh")
    probe: Probe = load_probe("echo", files, {"ECHO": list(keys), "NONCE": [NONCE], "MODE": mode.split()})
    done = subprocess.run(["sh", "-s"], input=assemble([probe], NONCE).encode(), capture_output=True, timeout=60)
    found = parse(done.stdout, NONCE, ["echo"]).sections["echo"]
    assert isinstance(found, Section)
    return found


def test_callers_hear_the_token_by_both_protocols_and_on_a_rested_connection() -> None:
    port = free_port()
    tcp, udp, nobody = f"127.0.0.1:{port}:tcp", f"127.0.0.1:{port}:udp", f"127.0.0.1:{free_port()}:tcp"
    with listener(f"{port}/tcp", f"{port}/udp"):
        echo: Any = build(Echo, asked("echo", tcp, udp, nobody))
        assert {key: one.token for key, one in echo.heard.items() if isinstance(one, Heard)} == {tcp: TOKEN, udp: TOKEN}
        assert echo.heard[nobody] == Unknown("refused", "IO::Socket::INET: connect: Connection refused")
        flood: Any = build(Bandwidth, asked("flood 1000000", tcp))
        assert flood.speed[tcp] > 0
        idle: Any = build(Idle, asked("idle 1", tcp))
        assert (idle.seconds, idle.heard[tcp].token) == (1, TOKEN)


def test_who_does_not_know_the_nonce_is_told_nothing() -> None:
    port = free_port()
    with listener(f"{port}/tcp"), socket.create_connection(("127.0.0.1", port), 5) as one:
        one.sendall(b"implops 0000000000000000\n")
        assert one.recv(100) == b""


@pytest.mark.parametrize("way", ["end of input", "lease", "killed"])
def test_a_listener_goes_away_however_it_ends(way: str) -> None:
    port = free_port()
    with listener(f"{port}/tcp", lease=1 if way == "lease" else 20) as process:
        assert process.stdin
        if way == "lease":
            started = time.monotonic()
            process.stdin.write(b"\n")
            process.stdin.flush()
        elif way == "killed":
            process.kill()
        else:
            process.stdin.close()
        code = process.wait(10)
        assert code == {"end of input": 0, "lease": -signal.SIGALRM, "killed": -signal.SIGKILL}[way]
        if way == "lease":
            assert time.monotonic() - started >= 0.9
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_a_port_in_use_is_said_and_the_others_are_listened_on() -> None:
    port = free_port()
    program = (kit.shipped() / "checks" / "probes" / "listen.pl").read_text(encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        taken = busy.getsockname()[1]
        command = ["perl", "-e", program, "127.0.0.1", NONCE, TOKEN, "5", f"{taken}/tcp", f"{port}/tcp"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert done.stdout.splitlines() == [f"failed {taken}/tcp Address already in use", f"bound {port}/tcp", "ready"]
