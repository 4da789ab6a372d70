"""Build the demo's business system: the WAR from its sources. No network, no compiler (Tomcat compiles the pages).

The same sources give the same bytes: sorted names, one fixed time.

    python examples/his/build.py release/his-1.0.0.war
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

SOURCES = Path(__file__).parent / "webapp"
_TIME = (2026, 1, 1, 0, 0, 0)


def build(target: Path) -> Path:
    """Write the WAR; its folder is made. Returns ``target``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as war:
        for path in sorted(one for one in SOURCES.rglob("*") if one.is_file()):
            about = zipfile.ZipInfo(path.relative_to(SOURCES).as_posix(), _TIME)
            about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            war.writestr(about, path.read_bytes())
    return target


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
