"""Every expected error, with the exit code it ends in.

    ImplopsError(key, **params)
    ├─ SiteError · KitError · InputError       2  your input (site file, kit, arguments, password)
    ├─ StepError · DataError · BackupError     1  bad news
    ├─ HostError · StoreError · MachineError   3  could not do or tell
    ├─ LockError                               4  someone else is at it
    └─ GateRefused                             5  a rule says not yet

The text of an error is a key of the catalogue (implops/locale/LANG/AREA.toml): one line that names the place, the
fault and the way out. A bad verdict is a value, not an exception; only a bug shows a traceback.
"""

from __future__ import annotations

from typing import Any, ClassVar

from implops import texts


class ImplopsError(Exception):
    """An error a user can cause or mend. ``key`` is ``area.name`` of the catalogue, ``params`` fill its text."""

    code: ClassVar[int] = 1

    def __init__(self, key: str, /, **params: Any) -> None:
        super().__init__(key)
        self.key = key
        self.params = params

    def __str__(self) -> str:
        return texts.say(self.key, **self.params)


class SiteError(ImplopsError):
    code = 2


class KitError(ImplopsError):
    code = 2


class InputError(ImplopsError):
    code = 2


class StepError(ImplopsError):
    code = 1


class DataError(ImplopsError):
    code = 1


class BackupError(ImplopsError):
    code = 1


class HostError(ImplopsError):
    code = 3


class StoreError(ImplopsError):
    code = 3


class MachineError(ImplopsError):
    """The machine that runs implops lacks something."""

    code = 3


class LockError(ImplopsError):
    code = 4


class GateRefused(ImplopsError):
    code = 5
