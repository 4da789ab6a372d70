"""Operations on what is unpacked and switched: releases of the business system, JDK and Tomcat from archives.

What is put in place is whole: made beside its place, every file checked, flushed and renamed. Used in the worker only.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyinfra.api import StringCommand, operation

from implops.deploy import release as releases
from implops.deploy.ops import fact
from implops.deploy.shell import File, guarded, q

# Shell, in the folder that a tar was unpacked to: what is in it, without a single folder that holds everything.
_TOP = 'top=.; if [ "$(ls -A | wc -l)" = 1 ] && [ -d "$(ls -A)" ] && [ ! -L "$(ls -A)" ]; then top=$(ls -A); fi'


@dataclass(frozen=True)
class Release:
    """A release of the business system: files of the bundle as (path there, name, SHA-256), the configuration that
    goes with them (paths relative to the release), the schema files it is deployed with.
    """

    name: str
    version: str
    run: str
    files: Sequence[tuple[str, str, str]]
    config: Sequence[File] = ()
    schema: Sequence[dict[str, str]] = ()

    @property
    def home(self) -> str:
        return releases.place(self.name)

    @property
    def sums(self) -> dict[str, str]:
        return {name: sha256 for _, name, sha256 in self.files}

    @property
    def digest(self) -> str:
        return releases.digest(self.version, self.sums, [(one.path, one.state) for one in self.config])


def release_id(release: Release) -> str:
    """The folder that holds this release: the active one while it is the same, so that a second run changes nothing;
    else the one that this run stages.
    """
    current = f"{release.home}/current"
    seen = fact(f"readlink {q(current)}; cat {q(current)}/RELEASE.json 2>/dev/null; true").splitlines()
    same = f'"sha256": "{release.digest}"'
    if len(seen) > 1 and same in seen[1] and '"state": "bad"' not in seen[1]:
        return seen[0]
    return f"{release.version}-{release.run}"


@operation()
def stage(release: Release, id: str, unpack: str = "") -> Iterator[StringCommand]:
    """Put a release beside its place, every file checked, flushed, and renamed: a folder that is there is whole.

    Secrets of its configuration travel on standard input. ``unpack`` is the tar among its files whose contents are the
    release; a single folder that holds everything in it is left out.
    """
    home, folder = release.home, f"{release.home}/{id}"
    # One that a cut-off run staged may hold what has been corrected since.
    same = q(f'"sha256": "{release.digest}"')
    if fact(f"if grep -qF {same} {q(folder)}/RELEASE.json 2>/dev/null; then echo there; fi"):
        return
    part = f"{folder}.part"
    lines = ["set -e; umask 022", f"rm -rf {q(part)}", f"mkdir {q(part)}"]
    for source, name, sha256 in release.files:
        lines += [
            f"echo {q(f'{sha256}  {source}')} | sha256sum --status -c -",
            f"cp {q(source, f'{part}/{name}')}",
        ]
    if unpack:
        tar = f"{part}/{unpack}"
        lines += [
            f"mkdir {q(f'{part}/.in')}; tar -xf {q(tar)} --no-same-owner -C {q(f'{part}/.in')}; rm {q(tar)}",
            f"cd {q(f'{part}/.in')}; {_TOP}",
            f'cp -a -- "$top/." {q(part)}; cd /; rm -rf {q(f"{part}/.in")}; chmod -R u=rwX,go=rX {q(part)}',
        ]
    about = releases.note(release.version, release.run, release.digest, release.sums, release.schema)
    for one in [*release.config, File("RELEASE.json", about + "\n", "600")]:
        path = f"{part}/{one.path}"
        folder_ = q(str(Path(path).parent))
        lines += [
            # A link in the vendor's archive must not lead a file of ours out of the release.
            f'case $(realpath -m {folder_})/ in "$(realpath {q(part)})"/*) ;; '
            f"*) echo {q(one.path)} leaves the release >&2; exit 1 ;; esac",
            f"mkdir -p {folder_}; rm -f {q(path)}",
            f'IFS= read -r body; (umask 077; printf %s "$body" | base64 -d > {q(path)})',
            f"chown {q(f'{one.user}:{one.group}', path)}; chmod {q(one.mode, path)}",
        ]
    lines += [
        f"sync -f {q(part)}",
        f"rm -rf {q(folder)}",
        f"mv -T {q(part, folder)}",
        f"sync {q(home)}",
    ]
    bodies = [*(one.text for one in release.config), about + "\n"]
    stdin = "".join(f"{base64.b64encode(text.encode()).decode()}\n" for text in bodies)
    yield StringCommand(guarded("\n".join(lines), 300), _stdin=stdin)


@operation()
def unpack(archive: str, sha256: str, place: str) -> Iterator[StringCommand]:
    """``place`` (a link) shows what is in a tar of the bundle: unpacked beside it, flushed, switched by one rename.

    A single folder that holds everything in the tar is left out.
    """
    folder = f"{place}-{sha256[:12]}"
    if fact(f"readlink {q(place)}; [ -d {q(folder)} ] && echo there; true").split() == [folder, "there"]:
        return
    part, link = f"{folder}.part", f"{place}.part"
    command = f"""set -e; umask 022
echo {q(f"{sha256}  {archive}")} | sha256sum --status -c -
rm -rf {q(part, folder)}; mkdir -p {q(part)}
tar -xf {q(archive)} --no-same-owner -C {q(part)}
cd {q(part)}; {_TOP}
chmod -R u=rwX,go=rX "$top"; sync -f "$top"; cd /
if [ "$top" = . ]; then mv -T {q(part, folder)}; else mv -T "{part}/$top" {q(folder)}; rm -rf {q(part)}; fi
rm -f {q(link)}; ln -s {q(folder, link)}; mv -fT {q(link, place)}; sync {q(str(Path(place).parent))}"""
    yield StringCommand(guarded(command, 300))


@operation()
def activate(home: str, id: str) -> Iterator[StringCommand]:
    """Point ``current`` to a release by one rename, and say so in its RELEASE.json (a good one stays good)."""
    current = f"{home}/current"
    seen = fact(f'readlink {q(current)}; grep -c \'"state": "staged"\' {q(f"{home}/{id}/RELEASE.json")}; true')
    if seen.split() == [id, "0"]:
        return
    part = f"{current}.part"
    switch = f"rm -f {q(part)} && ln -s {q(id, part)} && mv -fT {q(part, current)} && sync {q(home)}"
    yield StringCommand(guarded(f"{switch} && {releases.mark_command(home, id, 'active', unless=('good',))}", 60))
