"""Storage that comes from elsewhere: shared mounts and their options, room for snapshots, paths to a LUN."""

from __future__ import annotations

from implops.check.registry import check
from implops.facts.arrays import Arrays, declared_options, multipath_wanted, snapshot_groups
from implops.facts.storage import Disks


@check("STO01", "st.mount")
def mounted(case):
    """A mount that declares options has them: hard against soft decides whether a write is lost."""
    disks = case.fact(Disks)
    for path, wanted in declared_options(case.site, case.host).items():
        if planned := case.coming(path):
            yield case.will_be_set(planned, "—", " ".join(wanted), target=path)
            continue
        mount = disks.mount_of(path)
        if mount.target != path:
            yield case.bad(mount.target, path, target=path, note="not_mounted")
            continue
        missing = [option for option in wanted if option not in mount.options]
        told = f"{mount.fs} {' '.join(sorted(set(wanted) & mount.options))}".strip()
        if missing:
            yield case.bad(f"{told} − {' '.join(missing)}", " ".join(wanted), target=path)
        else:
            yield case.good(told, " ".join(wanted), target=path)


@check("STO06", "st.snapshot", severity="warn", unit="percent")
def snapshots(case):
    """Free room of the volume groups and pools that the site takes snapshots in."""
    wanted = snapshot_groups(case.site, case.host)
    if not wanted:
        yield case.skip("not_declared")
        return
    found = case.fact(Arrays).groups
    for name in wanted:
        if name not in found:
            yield case.bad("—", name, target=name, note="no_group")
        else:
            total, free = found[name]
            yield case.least(free * 100 // total if total else 0, target=name)


@check("STO07", "st.multipath", unit="count")
def paths(case):
    if not multipath_wanted(case.site, case.host):
        yield case.skip("not_declared")
        return
    maps = case.fact(Arrays).maps
    if not maps:
        yield case.bad("0", f"≥ {case.limit.need}")
    for name, active in maps.items():
        yield case.least(active, target=name)
