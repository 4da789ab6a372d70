"""Directories that several hosts share."""

from __future__ import annotations

from implops.check.registry import check
from implops.facts.base import Unknown
from implops.facts.shares import Shared, Shares, SmallFiles, admitted, server_of, shares_of, small_places


@check("STO02", "st.rw")
def work(case):
    found = case.fact(Shares).work if shares_of(case.site, case.host) else {}
    for share in shares_of(case.site, case.host):
        seen = found.get(share.path)
        planned = case.planned("user", share.user)
        if seen is None:
            yield case.error("missing", target=share.path)
        elif seen == "no_user" and planned and not case.post(planned):
            yield case.will_be_set(planned, "—", "good", target=share.path)
        elif seen == "timeout":
            yield case.error("timeout", target=share.path, detail=share.path)
        else:
            yield (case.good if seen == "good" else case.bad)(seen, "good", target=share.path)


@check("STO03", "st.shared", deep=True)
def shared(case):
    """What one host wrote, the others see within five seconds: same content, same owner."""
    for share in shares_of(case.site, case.host):
        hosts = case.site.sharing(share)
        if len(hosts) < 2:
            yield case.skip("single_host", target=share.path)
            continue
        writer = hosts[0].name
        if writer == case.host.name:
            continue
        if writer not in case.scene.seen:
            yield case.skip("left_out", target=share.path)
            continue
        there = case.scene.seen[writer].fact(Shared)
        wrote = there if isinstance(there, Unknown) else there.ask("wrote")
        if isinstance(wrote, Unknown) or share.path not in wrote:
            yield case.error("not_asked", target=share.path, detail=writer)
            continue
        mine, wanted = case.fact(Shared).saw.get(share.path), wrote[share.path]
        shown = "—" if mine is None else f"uid {mine.uid}"
        good = mine is not None and (mine.uid, mine.text) == (wanted.uid, wanted.text)
        yield (case.good if good else case.bad)(shown, f"uid {wanted.uid}", target=f"{share.path} ← {writer}")


@check("STO04", "st.export", severity="warn")
def exports(case):
    for share in shares_of(case.site, case.host):
        if not share.export:
            yield case.skip("no_export", target=share.path)
            continue
        clients = case.fact(Shares).exports.get(server_of(case.site, share), ())
        good = admitted(clients, case.host.address)
        yield (case.good if good else case.bad)(" ".join(clients) or "—", case.host.address, target=share.export)


@check("STO05", "st.small", severity="warn", unit="count", deep=True)
def small(case):
    """Files a second."""
    places = small_places(case.site, case.host)
    found = case.fact(SmallFiles).rate if places else {}
    for path in places:
        if planned := case.coming(path):
            yield case.will_be_set(planned, "—", "—", target=path)
            continue
        one = found.get(path, Unknown("missing", path))
        if isinstance(one, Unknown):
            yield case.error(one.reason, target=path, detail=one.detail)
        else:
            yield case.least(one, target=path)
