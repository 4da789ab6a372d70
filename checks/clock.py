"""Time: synchronised, together, in the site's zone."""

from __future__ import annotations

from implops.check.registry import check
from implops.facts.base import Unknown
from implops.facts.clock import Clock, Finish, Start
from implops.units import format_seconds


@check("TIM01", "sync.state")
def synchronised(case):
    clock = case.fact(Clock)
    planned = next(iter(case.plans("timesync")), None)
    if clock.synchronised:
        reference = clock.ask("reference")
        return case.good("—" if isinstance(reference, Unknown) else reference, "NTP")
    if planned and not case.post(planned):
        return case.will_be_set(planned, "—", " ".join(case.site.time.ntp))
    return case.bad("—", "NTP")


@check("TIM02", "ref.offset", unit="ms", ceiling=True)
def offset(case):
    return case.most(abs(case.fact(Clock).offset_us) // 1000)


def skews(case):
    """Host -> (offset to this machine's clock, half the uncertainty), microseconds, from the midpoints of one trip."""
    found = {}
    for one in case.cases:
        start, finish = one.fact(Start).at, one.fact(Finish).at
        ours, theirs = (one.seen.sent + one.seen.received) // 2, (start + finish) // 2
        found[one.host.name] = (theirs - ours, max(0, one.seen.received - one.seen.sent - (finish - start)) // 2)
    return found


@check("TIM03", "skew", scope="site", unit="ms", ceiling=True)
def skew(case):
    """The largest difference between two hosts' clocks; worse than the limit only beyond what the trips leave open."""
    found = skews(case)
    for one in case.cases:
        mine, half = found[one.host.name]
        worst, other = 0, ""
        for name, (theirs, theirs_half) in found.items():
            surely = max(0, abs(mine - theirs) - half - theirs_half)
            if name != one.host.name and surely >= worst:
                worst, other = surely, name
        yield one.host.name, one.most(worst // 1000, target=f"↔ {other}" if other else "")


@check("TIM05", "tz")
def zone(case):
    clock, wanted = case.fact(Clock), case.site.time.zone
    if clock.zone == wanted:
        return case.same(wanted, wanted)
    planned = case.planned("zone", wanted)
    return case.will_be_set(planned, clock.zone, wanted) if planned else case.bad(clock.zone, wanted)


@check("TIM06", "rtc", severity="warn")
def hardware_clock(case):
    found = case.fact(Clock).rtc
    return case.bad(found, "UTC") if found == "LOCAL" else case.good(found, "UTC")


@check("TIM07", "controller", scope="site", severity="warn")
def controller(case):
    """All hosts off by the same: then it is this machine's clock."""
    found = skews(case)
    common = sorted(value for value, _ in found.values())[len(found) // 2]
    shown = format_seconds(abs(common) / 1_000_000)
    for one in case.cases[:1]:
        wrong = abs(common) > 5_000_000
        yield one.host.name, (one.bad if wrong else one.good)(shown, "≤ 5 s")


@check("TIM04", "same.source", scope="site", severity="warn")
def same_source(case):
    """Two hosts on two clocks agree only by chance. A host that is itself the site's time server counts for itself."""
    servers = set(case.site.time.ntp)
    found = {}
    for one in case.cases:
        if one.host.address not in servers:
            chosen = [source.address for source in one.fact(Clock).sources if source.state == "*"]
            found[one.host.name] = chosen[0] if chosen else "—"
    for one in case.cases:
        if one.host.name in found:
            mine = found[one.host.name]
            wrong = mine != "—" and mine not in servers and len(set(found.values())) > 1
            yield one.host.name, (one.bad if wrong else one.good)(mine, " ".join(case.site.time.ntp))
