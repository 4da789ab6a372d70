"""An application host is left by its users before it is changed: fronts hand it nothing new, what it has begun ends.

The fronts' own configuration says who is away, so a run that was killed leaves them as they serve best: the host that
it was changing stays away until a run makes it good, or the front's recipe is carried out again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from implops.deploy import recipes
from implops.errors import HostError, ImplopsError
from implops.remote import Connection, each
from implops.site import Host, Site

_SECONDS = 60.0


def apart(site: Site, open_: Mapping[str, Connection], away: Collection[str]) -> list[str]:
    """Tell every front that the hosts ``away`` get no new request, and all others do; the fronts.

    Raises HostError for a front that cannot do it: then nobody is changed behind it.
    """
    chosen = recipes.wanted(site, recipes.load(site.base))
    told = {
        host.name: script
        for host in site.with_role("app")
        if (script := "".join(one.drain(site, host, away) for one in chosen[host.name]))
    }

    def tell(host: Host) -> None:
        result = open_[host.name].run(told[host.name], timeout=_SECONDS, sudo=True)
        if result.rc:
            why = result.err.decode("utf-8", "replace").strip()[-200:] or "-"
            raise HostError("deploy.front", host=host.name, why=why)

    for answer in each([site.hosts[name] for name in told], tell).values():
        if isinstance(answer, ImplopsError):
            raise answer
    return list(told)


def away(site: Site, open_: Mapping[str, Connection]) -> set[str]:
    """Application hosts that some front hands nothing to: an earlier run has not made them good again.

    Raises HostError for a front that cannot tell.
    """
    chosen = recipes.wanted(site, recipes.load(site.base))
    names = {host.address: host.name for host in site.with_role("app")}
    fronts = [one for one in site.with_role("app") if any(recipe.drains for recipe in chosen[one.name])]

    def ask(host: Host) -> set[str]:
        script = "\n".join(one.led_away(site, host) for one in chosen[host.name] if one.drains)
        result = open_[host.name].run(script, timeout=_SECONDS, sudo=True)
        if result.rc:
            raise HostError("deploy.front", host=host.name, why=result.err.decode("utf-8", "replace")[-200:] or "-")
        return {names[line] for line in result.text.split() if line in names}

    found: set[str] = set()
    for answer in each(fronts, ask).values():
        if isinstance(answer, ImplopsError):
            raise answer
        found |= answer
    return found


def quiet(connection: Connection, port: int, seconds: float) -> int:
    """Wait until nobody has a connection to the host's own server any more; how many still had one in the end."""
    script = f"""left=0
for fifth in $(seq {max(1, round(seconds * 5))}); do
  left=$(ss -Htn state established '( sport = :{port} )' | wc -l)
  [ "$left" != 0 ] || break
  sleep 0.2
done
echo "$left"
"""
    result = connection.run(script, timeout=seconds * 2 + _SECONDS, sudo=True)
    if result.rc or not result.text.strip().isdigit():
        raise HostError("deploy.front", host=connection.name, why=result.err.decode("utf-8", "replace")[-200:] or "-")
    return int(result.text)
