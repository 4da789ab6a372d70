"""Paths proved with --deep: the target itself answers, fast enough, and goes on answering."""

from __future__ import annotations

from implops.check.registry import check
from implops.facts.base import Unknown
from implops.facts.echo import Bandwidth, Echo, Heard, Idle, Listening, confirmed, floods, proved

_SEEN = ("refused", "timeout", "no_route", "local", "no_name")
_BUSY = "Address already in use"


def _listener(case, path):
    """(token, None) of the target's listener, or (None, the Result that says why it had none)."""
    target, seen = f"→ {path.subject}", case.scene.seen.get(path.target)
    if seen is None:
        return None, case.skip("left_out", target=target)
    if seen.error is not None:
        return "", None
    found = seen.fact(Listening)
    failed = found if isinstance(found, Unknown) else found.ask("failed")
    token = found if isinstance(found, Unknown) else found.ask("token")
    for one in (failed, token):
        if isinstance(one, Unknown):
            return None, case.error("not_proved", target=target, detail=f"{one.reason} {one.detail}".strip())
    why = failed.get(f"{path.port}/{path.protocol}", "—")
    if why == _BUSY:
        return None, case.skip("port_in_use", target=target)
    return (None, case.error("not_proved", target=target, detail=why)) if why else (token, None)


def _echoed(case, path):
    """The Result for a path whose target did not answer at all (NET02 says how), else None."""
    seen = case.scene.seen.get(path.target)
    listening = seen.fact(Listening) if seen is not None else Unknown("missing")
    if confirmed(case.seen.fact(Echo), listening, path):
        return None
    return case.skip("not_echoed", target=f"→ {path.subject}")


def _owner(case, token):
    """The host whose listener has this token, or "—"."""
    for name, seen in case.scene.seen.items():
        found = seen.fact(Listening)
        if not isinstance(found, Unknown) and token and found.ask("token") == token:
            return name
    return "—"


@check("NET02", "flow.proof", deep=True)
def proof(case):
    heard = case.fact(Echo).heard
    for path in proved(case.site, case.host):
        target = f"→ {path.subject}"
        token, none = _listener(case, path)
        if none:
            yield none
            continue
        one = heard.get(path.key, Unknown("missing", path.key))
        if isinstance(one, Heard):
            yield _heard(case, path, token, one)
        elif one.reason in _SEEN:
            yield case.bad(one.reason, "echo", target=target, note=f"flow_{one.reason}")
        else:
            yield case.error(one.reason, target=target, detail=one.detail)


def _heard(case, path, token, one):
    target = f"→ {path.subject}"
    if token and one.token == token:
        return case.good("echo", "echo", target=target, note="echo_verified")
    owner = _owner(case, one.token)
    if owner != "—":
        return case.bad(owner, "echo", target=target, note="echo_other", found=owner, target_host=path.target)
    return case.bad(one.said or "open", "echo", target=target, note="echo_missing")


@check("NET06", "bandwidth", severity="warn", unit="count", deep=True)
def bandwidth(case):
    """In megabits a second, as network people count."""
    if case.seen.untested:
        reason, _, detail = case.seen.untested.partition(" ")
        yield case.error(reason, detail=detail)
        return
    paths = [path for path in floods(case.site, case.host) if path.target in case.scene.seen]
    found = case.seen.fact(Bandwidth)
    speeds = {} if isinstance(found, Unknown) and found.reason == "missing" else case.fact(Bandwidth).speed
    for path in paths:
        target = f"→ {path.target} (Mb/s)"
        _, none = _listener(case, path)
        far = case.scene.seen[path.target]
        if none := none or _echoed(case, path):
            yield none
        elif far.untested:
            reason, _, detail = far.untested.partition(" ")
            yield case.error(reason, target=target, detail=detail)
        else:
            one = speeds.get(path.key, Unknown("missing", path.key))
            if isinstance(one, Unknown):
                yield case.error(one.reason, target=target, detail=one.detail)
            else:
                yield case.least(one, target=target)


@check("NET12", "idle.cut", severity="warn", unit="seconds", deep=True)
def idle(case):
    """A connection that rested still reaches the same listener: what a firewall forgets is cut without a word."""
    if case.limit.need is None:
        yield case.skip("idle_not_asked")
        return
    paths = [path for path in proved(case.site, case.host) if path.protocol == "tcp"]
    if not paths:
        return
    found = case.seen.fact(Idle)
    rested, heard = (0, {}) if isinstance(found, Unknown) else (case.fact(Idle).seconds, case.fact(Idle).heard)
    for path in paths:
        target = f"→ {path.subject}"
        token, none = _listener(case, path)
        if none := none or _echoed(case, path):
            yield none
            continue
        one = heard.get(path.key, found if isinstance(found, Unknown) else Unknown("missing", path.key))
        if isinstance(one, Heard) and token and one.token == token:
            yield case.least(rested, target=target)
        elif isinstance(one, Heard) or one.reason in _SEEN:
            yield case.bad("—", f"≥ {case.show(case.limit.need)}", target=target, note="idle_cut")
        else:
            yield case.error(one.reason, target=target, detail=one.detail)
