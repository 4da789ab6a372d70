# What every fix shares. State of a fix: $state/KEY with copies of files, and "undo", which brings them back.
set -u
umask 022
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

tell() { # PATH: what stands there now
  if [ -L "$1" ]; then readlink -- "$1"; elif [ -e "$1" ]; then sha256sum <"$1"; else echo absent; fi
}

save() { # PATH: keep it as it is, once
  if grep -qsxF -- "$1" "$kept/names"; then return 0; fi
  echo "$1" >>"$kept/names"
  number=$(wc -l <"$kept/names")
  if [ -e "$1" ] || [ -L "$1" ]; then cp -a -- "$1" "$kept/$number"; fi
  printf '%s\t%s\n' "$number" "$1" >>"$kept/paths"
}

replace() { # PATH: by $kept/new, in one move; a file that is a mount of its own is written in place
  folder=${1%/*}
  if [ ! -d "$folder" ]; then mkdir -p -- "$folder"; echo "$folder" >>"$kept/folders"; fi
  if [ -e "$1" ]; then cp -p -- "$1" "$1.implops"; else : >"$1.implops"; chmod 644 "$1.implops"; fi
  cat "$kept/new" >"$1.implops"
  mv -f -- "$1.implops" "$1" 2>/dev/null || { cat "$kept/new" >"$1"; rm -f -- "$1.implops"; }
}

put() { # PATH, text on standard input: a file of ours
  save "$1"; cat >"$kept/new"; replace "$1"
}

edit() { # PATH COMMAND: its text through a filter
  [ -f "$1" ] || { echo "no file $1"; return 1; }
  save "$1"
  sh -ec "$2" <"$1" >"$kept/new"
  [ -s "$kept/new" ] || { echo "nothing would be left of $1"; return 1; }
  replace "$1"
}

link() { # PATH TARGET
  [ -e "$2" ] || { echo "no file $2"; return 1; }
  save "$1"; ln -sfT -- "$2" "$1.implops"; mv -fT -- "$1.implops" "$1"
}

make_undo() {
  cat >"$kept/undo" <<'UNDO'
#!/bin/sh
# Brings back what this fix changed: files as they were, then what runs. A file that somebody changed since stays.
set -eu
cd "$(dirname "$0")"
[ ! -e undone ] || { echo "already undone"; exit 0; }
tell() { if [ -L "$1" ]; then readlink -- "$1"; elif [ -e "$1" ]; then sha256sum <"$1"; else echo absent; fi; }
tab=$(printf '\t')
if [ -e after ]; then
  while IFS=$tab read -r path was; do
    [ "$(tell "$path")" = "$was" ] || { echo "$path was changed since this fix; the old file is in $PWD" >&2; exit 1; }
  done <after
fi
if [ -e paths ]; then
  while IFS=$tab read -r number path; do
    if [ -e "$number" ] || [ -L "$number" ]; then
      cp -a -- "$number" "$path.implops"
      mv -fT -- "$path.implops" "$path" 2>/dev/null || { cat "$number" >"$path"; rm -f -- "$path.implops"; }
    else rm -f -- "$path"; fi
  done <paths
fi
if [ -e after ] && [ ! -s paths ] && [ ! -s back ]; then
  echo "nothing can be brought back: this fix changed no file" >&2; exit 1
fi
if [ -e folders ]; then while IFS= read -r folder; do rmdir -- "$folder" 2>/dev/null || :; done <folders; fi
if [ -e back ]; then sh ./back; fi
: >undone
echo undone
UNDO
}

one() { # KEY: one fix; what it did is one line
  kept=$state/$1
  if [ -e "$kept/after" ] && [ ! -e "$kept/undone" ]; then
    printf 'implops-fix\t%s\tdone-before\tsh %s/undo\n' "$1" "$kept"; return 0
  fi
  if [ -e "$kept" ]; then
    # Undone since, or cut off in the middle (the host went down): once more, from the old state.
    if [ -e "$kept/undo" ] && ! said=$(sh "$kept/undo" 2>&1); then
      printf 'implops-fix\t%s\tfailed-half\t%s\n' "$1" "$(echo "$said" | tr -s '\n\t\r' '   ' | cut -c 1-300)"; return 1
    fi
    mv -- "$kept" "$kept.before.$(date +%s).$$"
  fi
  mkdir -p -m 700 "$kept"
  : >"$kept/names"
  : >"$kept/paths"
  make_undo
  (
    set -e
    "back_$1" >"$kept/back"
    "fix_$1"
    "now_$1"
    while read -r path; do printf '%s\t%s\n' "$path" "$(tell "$path")"; done <"$kept/names" >"$kept/after"
  ) </dev/null >"$kept/said" 2>&1
  code=$?
  said=$(tail -n 3 "$kept/said" | tr -s '\n\t\r' '   ' | cut -c 1-300)
  if [ $code = 0 ]; then printf 'implops-fix\t%s\tdone\tsh %s/undo\n' "$1" "$kept"; return 0; fi
  rm -f "$kept/after"
  state_word=failed
  sh "$kept/undo" >>"$kept/said" 2>&1 || state_word=failed-half
  mv -- "$kept" "$kept.failed.$(date +%s).$$"
  printf 'implops-fix\t%s\t%s\t%s\n' "$1" "$state_word" "$said"
  return 1
}
