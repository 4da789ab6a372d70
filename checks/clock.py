"""Time: synchronised, together, in the site's zone."""

from __future__ import annotations

from dataclasses import replace

from implops.check.registry import check
from implops.facts.base import NotMeasured, Unknown
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
    # One host alone has nobody to differ from.
    return case.bad("—", "NTP", warn=len(case.site.hosts) == 1)


@check("TIM02", "ref.offset", unit="ms", ceiling=True)
def offset(case):
    return case.most(abs(case.fact(Clock).offset_us) // 1000)


def skews(case):
    """Host -> (difference to this machine's clock, half of what the trip leaves open), microseconds; and the errors of
    hosts without it.
    """

    def read(one):
        # Without both readings there is no difference: the reason is that of the reading that is missing.
        _ = (one.fact(Start).at, one.fact(Finish).at)
        if one.seen.ahead is None:
            raise NotMeasured(Unknown("missing", "clock"))
        return one.seen.ahead, one.seen.open

    return case.measured(read)


@check("TIM03", "skew", scope="site", unit="ms", ceiling=True)
def skew(case):
    """The largest difference between two hosts' clocks, with what the trips leave open. Worse than a limit only beyond
    that; where the trips leave open whether it is, it is not measured.
    """
    found, failed = skews(case)
    yield from failed
    for one in case.cases:
        if one.host.name not in found:
            continue
        mine, half = found[one.host.name]
        apart = {name: (abs(mine - theirs), half + open_) for name, (theirs, open_) in found.items()
                 if name != one.host.name}  # fmt: skip
        if not apart:
            yield (
                one.host.name,
                one.skip("one_host")
                if not failed
                else one.error("missing", detail=" ".join(name for name, _ in failed)),
            )
            continue
        # The pair that is surely furthest apart; of equal ones, the one that seems to be.
        other = max(apart, key=lambda name: (max(0, apart[name][0] - apart[name][1]), apart[name][0]))
        yield one.host.name, _skewed(one, other, *(value // 1000 for value in apart[other]))


def _skewed(case, other, seems, leaves):
    limit, target = case.limit, f"↔ {other}"
    need = limit.want if limit.need is None else limit.need
    want = need if limit.want is None else limit.want
    surely, at_most = max(0, seems - leaves), seems + leaves
    judged = case.most(seems, target=target)
    shown = f"{format_seconds(seems / 1000)} ± {format_seconds(leaves / 1000)}"
    if want is None or surely > need or (seems <= want and at_most <= need) or (want < surely and at_most <= need):
        return replace(judged, actual=shown)
    return case.error("inconclusive", target=target, detail=shown)


@check("TIM05", "tz")
def zone(case):
    clock, wanted = case.fact(Clock), case.site.time.zone
    if clock.zone == wanted:
        return case.same(wanted, wanted)
    planned = case.planned("zone", wanted)
    return case.will_be_set(planned, clock.zone, wanted) if planned else case.bad(clock.zone, wanted)


@check("TIM06", "rtc", severity="warn")
def hardware_clock(case):
    clock = case.fact(Clock)
    if clock.rtc == "LOCAL":
        return case.bad(clock.rtc, "UTC")
    # Two hands on one clock: the guest tools step it while the time service slews it.
    if clock.guest:
        return case.bad("vmtoolsd + NTP", "UTC", note="two_services")
    return case.good(clock.rtc, "UTC")


@check("TIM07", "controller", scope="site", severity="warn")
def controller(case):
    """All hosts off by the same: then it is this machine's clock."""
    found, failed = skews(case)
    if not found:
        yield from failed[:1]
        return
    common = sorted(value for value, _ in found.values())[len(found) // 2]
    shown = format_seconds(abs(common) / 1_000_000)
    first = next(one for one in case.cases if one.host.name in found)
    wrong = abs(common) > 5_000_000
    yield first.host.name, (first.bad if wrong else first.good)(shown, "≤ 5 s")


@check("TIM04", "same.source", scope="site", severity="warn")
def same_source(case):
    """Two hosts on two clocks agree only by chance. A host that is itself the site's time server counts for itself."""
    servers = set(case.site.time.ntp)

    def chosen(one):
        if one.host.address in servers:
            return None
        return next((source.address for source in one.fact(Clock).sources if source.state == "*"), "—")

    asked, failed = case.measured(chosen)
    yield from failed
    found = {name: source for name, source in asked.items() if source is not None}
    for one in case.cases:
        if one.host.name in found:
            mine = found[one.host.name]
            wrong = mine != "—" and mine not in servers and len(set(found.values())) > 1
            yield one.host.name, (one.bad if wrong else one.good)(mine, " ".join(case.site.time.ntp))
