"""The adversarial list on answers of real hosts: each fault one line of an answer changed, and what it must lead to."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import recordings as rec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from implops.check import coverage, differences
from implops.check.model import Verdict
from implops.check.run import code
from implops.errors import SiteError
from implops.facts.deep import Flushes, Speed
from implops.facts.planned import Planned
from implops.facts.storage import within
from implops.facts.system import Memory
from implops.remote import HostUnreachable
from implops.site import Site, load

BAD = ("fail", "warn", "error", "absent")
# The name server's query times and connects of a machine that was busy when it was recorded.
BUSY = ("NET03", "NET04", "NET05", "NET09", "DB09")


def bad(found: list[Verdict]) -> set[tuple[str, str]]:
    return {(one.host, one.id) for one in found if one.state in BAD and one.id not in BUSY}


@pytest.mark.parametrize("state", ["bookworm", "trixie", "deployed"])
def test_healthy_hosts_are_silent_and_judged_the_same_twice(site: Site, state: str) -> None:
    first, second = (rec.verdicts(rec.scene(site, state)) for _ in range(2))
    assert bad(first) == set()
    assert [one.payload() for one in first] == [one.payload() for one in second]
    assert sum(one.state == "pass" for one in first) > 50


# section, changed lines, id, expected state and a word of what is told
ONE_LINE: list[tuple[str, str, dict[str, object], str, str, str]] = [
    # A01: no time service answers at all.
    ("A01", "clock", {"tracking": "!tool chronyc", "source": "!tool chronyc", "ntpq": "!tool ntpq",
                      "ntp_synchronized": "!command timedatectl:1"}, "TIM01", "error", "timedatectl"),
    ("A01", "clock", {"tracking": "!command chronyc:1", "ntpq": "!tool ntpq"}, "TIM01", "info", ""),
    # A02: synchronised to nothing, with a small offset.
    ("A02", "clock", {"tracking": "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.0,0.0,0.0,"
                                  "1.000000000,1.000000000,0.0,Not synchronised"}, "TIM01", "info", ""),
    ("A03", "security", {"selinux": "-", "selinux_config": "-"}, "SEC01", "skip", ""),
    ("A03", "security", {"selinux": "!command getenforce:1"}, "SEC01", "error", ""),
    ("SEC01", "security", {"selinux": "Enforcing", "selinux_config": "permissive"}, "SEC01", "warn", "Enforcing"),
    ("SEC01", "security", {"selinux": "Permissive", "selinux_config": "enforcing"}, "SEC01", "warn", "enforcing"),
    # A08
    ("A08", "cpu", {"governor": "-"}, "CPU03", "skip", ""),
    ("A08", "cpu", {"online": "0"}, "CPU01", "error", ""),
    ("A08", "cpu", {"quota": "-1 100000"}, "CPU01", "pass", ""),
    ("A08", "cpu", {"quota": "50000 100000"}, "CPU01", "warn", "1"),
    ("CPU01", "cpu", {"allowed": "0"}, "CPU01", "warn", "1"),
    ("CPU03", "cpu", {"governor": "powersave"}, "CPU03", "warn", "powersave"),
    ("CPU05", "cpu", {"clocksource": "hpet"}, "CPU05", "warn", "hpet"),
    ("A08", "memory", {"limit": "9223372036854771712"}, "MEM01", "pass", ""),
    ("MEM01", "memory", {"limit": "1073741824"}, "MEM01", "fail", "1 GiB"),
    ("MEM04", "memory", {"SwapTotal": "67108864"}, "MEM04", "warn", "64 GiB"),
    ("MEM06", "memory", {"nodes": "2", "zone_reclaim": "1"}, "MEM06", "warn", "2"),
    ("MEM06", "memory", {"nodes": "2", "zone_reclaim": "0"}, "MEM06", "pass", ""),
    ("LIM05", "limits", {"sem": "32 64 1 2"}, "LIM05", "warn", "32 64 1 2"),
    ("LIM06", "limits", {"shmmax": "1048576"}, "LIM06", "fail", "1 MiB"),
    ("LIM06", "limits", {"shmall": "16"}, "LIM06", "fail", "64 KiB"),
    ("LIM10", "limits", {"tw_recycle": "1"}, "LIM10", "fail", "1"),
    ("LIM12", "limits", {"somaxconn": "2000"}, "LIM12", "warn", "2000"),
    # A14: a date that prints a literal N.
    ("A14", "start", {"epoch_ns": "1764000000N"}, "TIM03", "error", ""),
    # A13: an ss that lists nothing.
    ("A13", "ports", {"listen": []}, "SEC03", "error", ""),
    # A16: a hung network filesystem stops df; what was read before it stands.
    ("A16", "disks", {"dfk": "!timeout df"}, "DSK03", "error", "df"),
    ("A16", "disks", {"dfk": "!timeout df"}, "DSK01", "pass", ""),
    # A17: without root.
    ("A17", "security", {"shadow": "!no_sudo"}, "ACC09", "error", ""),
    ("OS03", "system", {"kernel": "6.1.0-14-amd64"}, "OS03", "fail", "6.1.0-14"),
    ("OS07", "system", {"reboot": "1"}, "OS07", "warn", "reboot"),
    ("OS07", "system", {"uptime": "120.5 3.2", "virt": "kvm"}, "OS07", "warn", "2 min"),
    ("OS11", "system", {"kmsg": ["[1.0] sda: I/O error, dev sda, sector 8"]}, "OS11", "warn", "1"),
    ("OS11", "system", {"kmsg": []}, "OS11", "pass", "0"),
    ("OS11", "system", {"kmsg": "!command dmesg"}, "OS11", "info", ""),
    ("OS13", "running", {"process": ["100 sshd", "2500 ds_agent"]}, "OS13", "info", "ds_agent"),
    ("TIM06", "clock", {"rtc": "LOCAL"}, "TIM06", "warn", "LOCAL"),
    ("TIM06", "clock", {"guest": "Enabled"}, "TIM06", "warn", "vmtoolsd"),
    ("DSK07", "disks", {"fstab": ["/dev/sdb1 /data xfs defaults 0 0"]}, "DSK07", "warn", "/dev/sdb1"),
    ("DSK07", "disks", {"fstab": [], "unit": ["/data /dev/disk/by-uuid/4"]}, "DSK07", "pass", "unit"),
    ("DSK07", "disks", {"fstab": []}, "DSK07", "warn", "—"),
    # A30
    ("A30", "disks", {"dir": ["/data/pg 1 lost+found"]}, "DSK09", "fail", "1"),
    ("ACC05", "system", {"reboot": "0"}, "ACC05", "pass", "0 B"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "section", "edits", "id", "state", "word"), ONE_LINE,
    ids=[f"{case}-{id}-{number}" for number, (case, _, _, id, _, _) in enumerate(ONE_LINE)],
)  # fmt: skip
def test_one_line_of_an_answer(
    site: Site, case: str, section: str, edits: rec.Edits, id: str, state: str, word: str
) -> None:
    found = rec.one(rec.scene(site, **rec.changed("bookworm", "db1", section, edits)), id)
    assert found.state == state, found
    assert word in f"{found.result.actual} {found.result.params}"


@pytest.mark.parametrize("edits", [edits for case, _, edits, _, _, _ in ONE_LINE if case in ("A01", "A02")])
def test_a01_a02_no_time_source_is_no_pass_and_after_deployment_no_excuse(site: Site, edits: rec.Edits) -> None:
    found = rec.one(rec.scene(site, "deployed", **rec.changed("deployed", "db1", "clock", edits)), "TIM01")
    assert found.state in ("fail", "error")
    assert found.blocks


def test_a04_the_limit_of_the_service_counts_and_not_that_of_a_login(site: Site) -> None:
    kept = rec.raw("deployed-db1-1").decode()
    assert "LimitNOFILE=65535" in kept
    assert rec.one(rec.scene(site, "deployed"), "LIM01").state == "pass"
    text = rec.sealed(kept.replace("LimitNOFILE=65535", "LimitNOFILE=1024").encode())
    text = rec.tamper(text, "settings", {"limit": ["/etc/security/limits.d/90.conf:* soft nofile 1048576"]})
    found = rec.one(rec.scene(site, "deployed", db1={1: text}), "LIM01")
    assert (found.state, found.result.actual, found.result.note) == ("fail", "1024", "limits_d_ignored")
    assert found.result.params["value"] == "1048576"


def test_lim02_tasks_of_the_unit(site: Site) -> None:
    few = re.sub(r"TasksMax=(\d+|infinity)", "TasksMax=50", rec.raw("deployed-app1-1").decode())
    found = rec.one(rec.scene(site, "deployed", app1={1: rec.sealed(few.encode())}), "LIM02", "app1")
    assert (found.state, found.result.actual) == ("fail", "50")


def test_a05_numbers_are_compared_as_numbers(site: Site) -> None:
    bare = rec.changed("bookworm", "db1", "limits", {"somaxconn": "90"})
    assert rec.one(rec.scene(site, **bare), "LIM07").state == "info"  # a recipe will set it
    deployed = rec.changed("deployed", "db1", "limits", {"somaxconn": "90"})
    assert rec.one(rec.scene(site, "deployed", **deployed), "LIM07").state == "warn"


def test_a06_a_mount_holds_only_what_lies_below_it() -> None:
    assert within("/data1/x", "/data1")
    assert not within("/data10/x", "/data1")


@pytest.mark.parametrize(("short", "state"), [(0, "pass"), (1, "warn")])
def test_a07_a_value_exactly_at_its_limit_is_good(site: Site, short: int, state: str) -> None:
    made = rec.scene(site)
    made.seen["db1"].facts[Memory] = Memory(
        4_000_000_000 * 93 // 100 - short, 2**33, 0, 0, 10, 0, 0, "never", nodes=1, huge_pages=0
    )
    assert rec.one(made, "MEM01").state == state


def test_a09_noise_before_is_counted_and_noise_inside_spoils_everything(site: Site) -> None:
    text = rec.raw("bookworm-db1-1")
    banner = b"@ffffffffffffffff begin\nWelcome\n@0123 section cpu\nonline\t64\n"
    made = rec.scene(site, db1={1: banner + text})
    assert rec.one(made, "ACC05").result.actual == f"{len(banner)} B"
    assert rec.one(made, "CPU01").state == "pass"
    middle = text.index(b"\n", len(text) // 2) + 1
    spoilt = rec.scene(site, db1={1: text[:middle] + b"Broadcast message\n" + text[middle:]})
    assert rec.one(spoilt, "CPU01").state == rec.one(spoilt, "MEM01").state == "error"


def test_a10_what_comes_after_the_cut_is_not_measured(site: Site) -> None:
    text = rec.raw("bookworm-db1-1")
    made = rec.scene(site, db1={1: text[: text.index(b"section memory")]})
    assert rec.one(made, "CPU01").state == "pass"
    for id in ("MEM01", "SEC03", "OS01"):
        found = rec.one(made, id)
        assert (found.state, found.result.note) == ("error", "reason.truncated")


def test_a15_an_unreachable_host_is_absent_and_the_others_are_complete(site: Site) -> None:
    made = rec.scene(site)
    alone = [one.payload() for one in rec.verdicts(made) if one.host == "dns1"]
    made.seen["sto1"].error = HostUnreachable("remote.timeout", host="sto1", address="x", port=22, seconds=10)  # type: ignore[index]
    found = rec.verdicts(made)
    assert {one.state for one in found if one.host == "sto1"} == {"absent"}
    after = [one.payload() for one in found if one.host == "dns1"]
    assert [one["id"] for one in after] == [one["id"] for one in alone]
    assert not {one["state"] for one in after if one["id"] not in BUSY} & {"absent", "error", "fail"}


def test_a12_a_missing_tool_is_named_by_the_checks_that_needed_it(site: Site) -> None:
    for trip, section, key, tool, id in (
        (1, "ports", "listen", "ss", "SEC03"),
        (2, "flows", "flow", "bash", "NET01"),
        (1, "disks", "dfk", "df", "DSK03"),
        (1, "system", "glibc", "getconf", "OS04"),
    ):
        made = rec.scene(site, **rec.changed("bookworm", "db1", section, {key: f"!tool {tool}"}, trip))
        found = rec.one(made, id)
        assert (found.state, found.result.params["detail"]) == ("error", tool)
        covered = coverage.of(rec.CHECKS, rec.verdicts(made))
        assert id in covered.not_measured["reason.tool"]
        assert covered.measured + covered.not_applicable + sum(map(len, covered.not_measured.values())) == len(
            rec.CHECKS
        )


def test_a19_one_check_alone_is_that_one(site: Site) -> None:
    assert {one.id for one in rec.verdicts(rec.scene(site), "DSK03")} == {"DSK03"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("listens: [5432]", "listens: []"),
        ("encoding: UTF8", "encoding: "),
        ("{size: 20 GB, fs: [xfs, ext4], separate: true}", "{size: 20, fs: [xfs, ext4]}"),
        ("/data: {size: 20 GB,", "/data: {size: 20 GB, options: [\"hard; reboot\"],"),
        ("    listens: [53]", "    listens: [53]\n    snapshots: [\"a b\"]"),
        ("    listens: [53]", "    listens: [53]\n    multipath: 2 paths"),
    ],
)  # fmt: skip
def test_a20_an_empty_or_unclear_expectation_is_refused_with_its_line(example: Path, old: str, new: str) -> None:
    text = example.read_text(encoding="utf-8")
    assert old in text
    example.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(SiteError, match=r"site\.yml:\d+"):
        load(example)


APP1, DNS1 = "app1: {address: 10.77.1.12, roles: [app]", "dns1: {address: 10.77.1.13, roles: [dns]"


def edited(example: Path, old: str, new: str) -> Site:
    text = example.read_text(encoding="utf-8")
    assert old in text
    example.write_text(text.replace(old, new), encoding="utf-8")
    return load(example)


def test_a22_two_roles_that_claim_one_port_are_a_conflict_of_the_plan(example: Path) -> None:
    made = edited(
        example, "app1: {address: 10.77.1.12, roles: [app]", "app1: {address: 10.77.1.12, roles: [app, storage]"
    )
    made = edited(example, "  storage:\n    mounts:", "  storage:\n    listens: [8080]\n    mounts:")
    found = rec.one(rec.scene(made), "SEC03", "app1", "8080")
    assert (found.state, found.result.note, found.result.actual) == ("fail", "plan_conflict", "app storage")


def test_a22_two_recipes_that_want_opposite_values_are_a_conflict_of_the_plan(site: Site) -> None:
    from dataclasses import replace

    made = rec.scene(site)
    more = [
        Planned("other", "db1", "sysctl", "vm.swappiness", "60"),
        Planned("other", "db1", "directory", "/data/pg", "x"),
    ]
    made = replace(made, planned=[*made.planned, *more])
    assert rec.one(made, "LIM12", target="vm.swappiness").result.note == "plan_conflict"
    assert rec.one(made, "DSK09", target="/data/pg").result.note == "plan_conflict"


def test_a23_three_answers_have_three_codes(site: Site) -> None:
    fail = rec.scene(site, **rec.changed("bookworm", "db1", "memory", {"MemTotal": "1000000"}))
    warn = rec.scene(site, **rec.changed("bookworm", "db1", "security", {"umask": "077"}))
    error = rec.scene(site, **rec.changed("bookworm", "db1", "memory", {"MemTotal": "!unreadable /proc/meminfo"}))
    assert [code([one for one in rec.verdicts(made) if one.id not in BUSY]) for made in (fail, warn, error)] == [
        1,
        0,
        3,
    ]


def test_a25_a_rule_of_one_role_says_nothing_about_another(site: Site) -> None:
    options = {"mount": ["/dev/sda1 / ext4 rw,noexec 0 0", "tmpfs /tmp tmpfs rw,noexec 0 0"]}
    other = rec.scene(site, **rec.changed("bookworm", "dns1", "disks", options))
    assert not [one for one in rec.verdicts(other, "DSK06") if one.host == "dns1"]
    found = rec.one(rec.scene(site, **rec.changed("bookworm", "app1", "disks", options)), "DSK06", "app1", "/tmp")
    assert (found.state, found.result.actual) == ("fail", "noexec")


@pytest.mark.parametrize(
    ("rounds", "state"),
    [
        # One slow outlier in one round: the other round counts.
        ((Flushes(500, 3000, 66_000, False), Flushes(500, 3000, 8_000, False)), "pass"),
        ((Flushes(500, 3000, 66_000, False), Flushes(500, 3000, 41_000, False)), "fail"),
        ((Flushes(500, 3000, 20_000, False),), "warn"),
        ((Flushes(500, 0, 1, False),), "error"),
        ((Flushes(100, 3000, 3_000, True),), "pass"),
    ],
)
def test_a29_flush_latency(site: Site, rounds: tuple[Flushes, ...], state: str) -> None:
    made = rec.scene(site)
    made.seen["db1"].deep = True
    made.seen["db1"].facts[Speed] = Speed({"/data/pg": (10**8,)}, {"/data/pg": rounds}, {"/data/pg": 4000})
    assert rec.one(made, "DSK14").state == state


def test_the_recorded_tests_of_a_disk_are_read(site: Site) -> None:
    seen = rec.answered(site, "db1", {trip: rec.raw(f"bookworm-db1-{trip}") for trip in (1, 2, 3)})
    made = rec.scene(site)
    made.seen["db1"] = seen  # type: ignore[index]
    assert [rec.one(made, id).state for id in ("DSK13", "DSK14", "DSK15")] == ["pass"] * 3
    assert rec.one(made, "DSK13").result.actual == "971 MB/s"
    failures = (
        ("/data/pg write ! no_room", "DSK13", "no_room"),
        ("/data/pg sync ! perl:6", "DSK14", "command"),
        ("/data/pg random ! perl", "DSK15", "tool"),
    )
    for line, id, reason in failures:
        text = rec.tamper(rec.raw("bookworm-db1-3"), "speed", {"result": [line]})
        made.seen["db1"] = rec.answered(site, "db1", {1: rec.raw("bookworm-db1-1"), 3: text})  # type: ignore[index]
        assert rec.one(made, id).result.note == f"reason.{reason}"


@pytest.mark.parametrize(
    ("ahead", "leaves", "state"),
    [
        (10, 75, "pass"),
        (120, 200, "error"),  # A32: inside the error bound
        (10, 600, "error"),
        (300, 20, "warn"),
        (3000, 100, "fail"),
        (520, 100, "error"),
        (500, 0, "warn"),
        (100, 0, "pass"),
    ],
)
def test_a32_clocks_that_differ_less_than_the_trips_leave_open_are_not_measured(
    site: Site, ahead: int, leaves: int, state: str
) -> None:
    made = rec.scene(site)
    for one in made.seen.values():
        one.ahead, one.open = 0, 0
    made.seen["db1"].ahead, made.seen["db1"].open = ahead * 1000, leaves * 1000
    assert rec.one(made, "TIM03").state == state


def test_the_odd_one_out_is_named_from_three_hosts_up(example: Path) -> None:
    site = edited(
        example, "dns1: {address: 10.77.1.13, roles: [dns]", "dns1: {address: 10.77.1.13, roles: [dns, storage]"
    )
    made = rec.scene(site, **rec.changed("bookworm", "sto1", "system", {"kernel": "6.1.0-9-amd64"}))
    (two,) = [one for one in differences.find(site, made.seen) if one.what == "kernel"]
    assert (two.role, two.odd) == ("storage", ())
    site = edited(
        example, "app1: {address: 10.77.1.12, roles: [app]", "app1: {address: 10.77.1.12, roles: [app, storage]"
    )
    made = rec.scene(site, **rec.changed("bookworm", "sto1", "system", {"kernel": "6.1.0-9-amd64"}))
    (three,) = [one for one in differences.find(site, made.seen) if one.what == "kernel"]
    assert three.odd == ("sto1",)
    assert not [one for one in differences.find(site, rec.scene(site).seen) if one.what in ("kernel", "zone", "mtu")]


def test_a_plan_that_does_not_fit_names_the_edit_that_does(example: Path) -> None:
    site = edited(example, "heap: 512 MiB", "heap: 22 GiB")
    found = rec.one(rec.scene(site), "MEM02", "app1")
    assert (found.state, found.result.note) == ("fail", "budget_edit")
    mended = edited(example, "heap: 22 GiB", found.result.params["edit"].removeprefix("web."))
    assert rec.one(rec.scene(mended), "MEM02", "app1").state == "pass"


def test_two_mounts_on_one_filesystem_have_to_fit_together(example: Path) -> None:
    site = edited(example, "separate: true}\n", "separate: true}\n      /data/more: {size: 15 GB, separate: false}\n")
    lines = [line.partition("\t")[::2] for line in rec.raw("bookworm-db1-1").decode().split("\n")]
    rows = {key: [value for name, value in lines if name == key] for key in ("dfk", "dfi", "parent")}
    rows = {key: [found[0], *found] for key, found in rows.items()}
    rows["parent"][0] = "/data/more /data"
    made = rec.scene(site, **rec.changed("bookworm", "db1", "disks", rows))
    found = rec.one(made, "DSK02", target="/data")
    assert (found.state, found.result.note) == ("fail", "disk_edit")
    assert rec.numbers(found.result.params["edit"]) == [5]


SECTIONS = ["clock", "cpu", "disks", "limits", "memory", "network", "ports", "security", "services", "settings",
            "software", "system", "running", "locales"]  # fmt: skip
Mangle = Callable[[bytes, int, bytes], bytes]
MANGLES: dict[str, Mangle] = {
    "cut": lambda text, at, _: text[:at],
    "noise": lambda text, at, noise: text[:at] + noise + text[at:],
    "over": lambda text, at, noise: text[:at] + noise + text[at + len(noise) :],
    "twice": lambda text, at, _: text[:at] + text,
    "drop": lambda text, at, noise: text[:at] + text[at + 1 + len(noise) :],
}
_CLEAN: dict[tuple[str, str], str] = {}


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(MANGLES)), st.floats(0, 1), st.binary(min_size=1, max_size=60), st.booleans())
def test_no_garbled_answer_passes_where_the_clean_one_does_not(
    site: Site, how: str, where: float, noise: bytes, reseal: bool
) -> None:
    """Cut, interleaved, overwritten, doubled, thinned; also when the digest fits, as a host that itself garbles it."""
    if not _CLEAN:
        clean = rec.alone(site, **rec.changed("trixie", "db1", "memory", {"MemTotal": "1000000"}))
        _CLEAN.update({(one.id, one.result.target): one.state for one in rec.verdicts(clean)})
    text = rec.tamper(rec.raw("trixie-db1-1"), "memory", {"MemTotal": "1000000"})
    garbled = MANGLES[how](text, int(where * len(text)), noise)
    if reseal and garbled.count(f"@{rec.NONCE} done ".encode()) == 1 and f"@{rec.NONCE} begin\n".encode() in garbled:
        garbled = rec.sealed(garbled) if garbled.index(b" begin\n") < garbled.rindex(b" done ") else garbled
    found = rec.verdicts(rec.alone(site, db1={1: garbled}))
    assert not [one for one in found if one.result.note == "reason.raised"]
    if not reseal:
        # An answer whose digest does not fit says nothing new.
        wrong = [
            one
            for one in found
            if one.state == "pass" and _CLEAN.get((one.id, one.result.target)) not in ("pass", None)
        ]
        assert not wrong


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SECTIONS), st.data())
def test_strange_values_in_any_section_are_errors_and_never_exceptions(
    site: Site, section: str, data: st.DataObject
) -> None:
    lines = rec.raw("trixie-db1-1").decode().split("\n")
    start = lines.index(f"@{rec.NONCE} section {section}")
    end = next(number for number in range(start + 1, len(lines)) if lines[number].startswith("@"))
    keys = {line.partition("\t")[0] for line in lines[start + 1 : end]}
    key = data.draw(st.sampled_from(sorted(key for key in keys if not key.endswith(("#", "!")))))
    words = st.text(st.characters(blacklist_characters="\n\t\r\\", blacklist_categories=("Cs",)), max_size=30)
    value = data.draw(
        st.one_of(words, st.sampled_from(["-1", "0", "99999999999999999999", "NaN", "０", "1 2 3", "max", "²"]))
    )
    many = f"{key}#" in keys
    made = rec.alone(site, **rec.changed("trixie", "db1", section, {key: [value] if many else value}))
    found = rec.verdicts(made)
    assert not [one for one in found if one.result.note == "reason.raised"], (section, key, value)
