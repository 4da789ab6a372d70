"""What every part of the site file is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

# The architecture that everything here is proved on.
ARCH = "amd64"
TOMCAT_PORT = 8080
ROLES = ("db", "app", "dns", "storage")
Role = Literal["db", "app", "dns", "storage"]
# The applications' share of the database's connections; the rest is for psql, the import and administrators.
POOL_PERCENT = 60
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
