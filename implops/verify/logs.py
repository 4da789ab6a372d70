"""Lines of a log since the system was last started by us: what an earlier release wrote says nothing about this one.

Before a start the place where the log ends is noted on the host: inode, size, time, and a digest of what stands before.
A log that was turned away, cut or written anew since is read whole. Pure: shell text for the target.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence

FOLDER = "/var/lib/implops/applied"
# Enough to tell a log that goes on from one that was written anew.
_BEFORE = 4096


def _mark(file: str, folder: str) -> str:
    return f"{folder}/log-{hashlib.sha256(file.encode()).hexdigest()[:16]}"


def note(files: Sequence[str], folder: str = FOLDER) -> str:
    """Commands that note where the files end; for one that is not there nothing."""
    lines = [f"mkdir -p {shlex.quote(folder)}"]
    for file in files:
        mark, name = shlex.quote(_mark(file, folder)), shlex.quote(file)
        lines.append(
            f"if [ -f {name} ]; then echo \"$(stat -L -c '%i %s %.9Y' -- {name}) "
            f'$(tail -c {_BEFORE} -- {name} | sha256sum | cut -c 1-64)" > {mark}.part && mv -f {mark}.part {mark}; '
            f"else rm -f {mark}; fi"
        )
    return "; ".join(lines)


def since(file: str, limit: int, folder: str = FOLDER) -> str:
    """Commands that print the last ``limit`` bytes of what was written since the note; without one, of all."""
    mark, name = shlex.quote(_mark(file, folder)), shlex.quote(file)
    return f"""from=1
if read -r inode size time sum 2>/dev/null < {mark}; then
  set -- $(stat -L -c '%i %s %.9Y' -- {name})
  first=$((size > {_BEFORE} ? size - {_BEFORE} : 0)); length=$((size - first))
  if [ "$1" = "$inode" ] && [ "$2" -ge "$size" ] && {{ [ "$2" != "$size" ] || [ "$3" = "$time" ]; }} &&
    [ "$(tail -c +$((first + 1)) -- {name} | head -c $length | sha256sum | cut -c 1-64)" = "$sum" ]
  then from=$((size + 1)); fi
fi
tail -c +$from -- {name} | tail -c {limit}"""
