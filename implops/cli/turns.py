"""Application hosts that are in use change one after the other: left by their users before, back when all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from implops import texts
from implops.cli import steps
from implops.cli.output import Session
from implops.errors import ImplopsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from implops.deploy.plan import Step
    from implops.remote import Connection
    from implops.store.run import Run
    from implops.verify.modules import Older


class Turns:
    """``ready`` and ``accept`` of the engine's journal. A host that does not come back good stays away."""

    def __init__(
        self, session: Session, open_: Mapping[str, Connection], run: Run, away: Collection[str],
        older: Older | None = None,
    ) -> None:  # fmt: skip
        """``away``: who stays without users since an earlier run (``drain.away``). ``older``: as in ``ask_modules``."""
        self.session, self.open, self.run, self.older = session, open_, run, older
        self.away = set(away)
        self.fronts: list[str] = []

    def ready(self, step: Step) -> dict[str, Any] | None:
        """Before a host's service is interrupted (a step of a rolling recipe changes it) nobody is sent there any more,
        and who is there is served.
        """
        from implops.deploy import drain

        site, name = self.session.site, step.host.name
        if name in self.away:
            return None
        self.away.add(name)
        try:
            self.fronts = drain.apart(site, self.open, self.away)
            if not self.fronts:
                return None
            left = drain.quiet(self.open[name], site.backend_port, site.deploy.drain)
        except ImplopsError as error:
            return steps.fault(error)
        self.run.event("host.away", {"host": name, "fronts": self.fronts, "left": left})
        key = "deploy.still_served" if left else "deploy.away"
        self.session.story(texts.say(key, host=name, left=left, seconds=round(site.deploy.drain)))
        return None

    def accept(self, step: Step) -> dict[str, Any] | None:
        """A host's modules must answer before users return to it and the next host is touched."""
        from implops.deploy import drain

        if not step.recipe.system:
            return None
        # A host that nothing was changed on answers as it has all the time.
        fresh = step.host.name in self.away
        asked = steps.ask_modules(self.session, self.open, self.run, [step.host], fresh=fresh, older=self.older)
        wrong = steps.bad(asked)
        if wrong:
            return {"code": "module", "modules": [one["name"] for one in wrong]}
        self.away.discard(step.host.name)
        try:
            self.fronts = drain.apart(self.session.site, self.open, self.away)
        except ImplopsError as error:
            return steps.fault(error)
        if fresh and self.fronts:
            self.run.event("host.back", {"host": step.host.name, "fronts": self.fronts})
        return None

    def tell(self) -> None:
        """Who is left without users when the steps have come to their end."""
        if self.away:
            self.session.story(texts.say("deploy.stays_away", hosts=" ".join(sorted(self.away))))
