"""What a deployment puts below the business system: packages by version, archives by digest; compared by promotion."""

from __future__ import annotations

from implops.bundle import Bundle
from implops.deploy.plan import Plan


def of(made: Plan, bundle: Bundle) -> dict[str, dict[str, str]]:
    """Recipe -> package -> version in the bundle (of several Debian releases: joined by a blank), and ``archive`` ->
    SHA-256 of a JDK or Tomcat that the engineer brings. Hosts and addresses do not count.
    """
    found: dict[str, dict[str, set[str]]] = {}
    for step in made.steps:
        for name, version in made.brings(step).items():
            found.setdefault(step.recipe.id, {}).setdefault(name, set()).add(version)
    said = {recipe: {name: " ".join(sorted(many)) for name, many in mine.items()} for recipe, mine in found.items()}
    site = made.site
    for recipe, path in (("jdk", site.jdk and site.jdk.archive), ("tomcat", site.web and site.web.archive)):
        if path:
            said.setdefault(recipe, {})["archive"] = bundle.items[f"files/{path.name}"].sha256
    return said
