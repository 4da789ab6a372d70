"""How fast the declared directories are: only with --deep, because measuring it is a load."""

from __future__ import annotations

from dataclasses import replace

from implops.check.registry import check
from implops.facts.base import Unknown
from implops.facts.deep import Speed

# A flush that is faster than any cable was not one (a disk in memory, a cache that lies).
_LEAST_MICROS = 5


def _each(case, found):
    """(directory, what was measured there), and an error for what was not."""
    for path, value in found.items():
        if planned := case.coming(path):
            yield path, None, case.will_be_set(planned, "—", "—", target=path)
        elif isinstance(value, Unknown):
            yield path, None, case.error(value.reason, target=path, detail=value.detail)
        else:
            yield path, value, None


@check("DSK13", "write.mbs", roles=("db", "storage", "app"), unit="rate", deep=True)
def writing(case):
    """The best of three: the slower ones had company."""
    found = case.fact(Speed).writes
    if not found:
        yield case.skip("nothing_to_test")
    for path, rates, failed in _each(case, found):
        yield failed or case.least(max(rates), target=path)


@check("DSK14", "fsync.lat", roles=("db",), unit="ms", ceiling=True, deep=True)
def flushing(case):
    """The better of two rounds of 500 flushed writes of 8 KiB, its 99th percentile."""
    found = case.fact(Speed).flushes
    if not found:
        yield case.skip("nothing_to_test")
    for path, rounds, failed in _each(case, found):
        if failed:
            yield failed
            continue
        best = min(rounds, key=lambda one: one.p99)
        if best.median < _LEAST_MICROS:
            yield case.error("implausible", target=path, detail=f"p50 {best.median} µs")
            continue
        one = case.most(-(-best.p99 // 1000), target=path)
        note = "mean_only" if best.mean else "percentiles"
        shown = {"p50": f"{best.median / 1000:.2f} ms", "p99": f"{best.p99 / 1000:.2f} ms"}
        yield replace(one, note=one.note or note, params=shown)


@check("DSK15", "rand.iops", roles=("db",), severity="warn", unit="count", deep=True)
def jumping(case):
    """Four at a time, 8 KiB, past the cache, seven reads to three writes."""
    found = case.fact(Speed).accesses
    if not found:
        yield case.skip("nothing_to_test")
    for path, each_second, failed in _each(case, found):
        yield failed or case.least(each_second, target=path)
