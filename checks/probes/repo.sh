# Whether apt could fetch from the sources that it has. Its own lists and cache stay untouched: one Release file of each
# source comes into a folder of ours, which ends with this section.
if ! have apt-get; then no repo# "tool apt-get"
else
  u=$(within 10 apt-get -q -o Dir::State::lists=/nonexistent --print-uris update | sed -n "s/^'\([^' ]*\)'.*/\1/p" | sort -u | head -n 6)
  d=
  if [ -n "$u" ]; then d=$(mktemp -d) && chmod 755 "$d"; fi
  trap 'rm -rf "$d"' EXIT; trap 'exit 1' HUP INT TERM
  if [ -n "$u" ] && [ -z "$d" ]; then no repo# "command mktemp"
  else
    v=$(c=0; for s in $u; do c=$((c+1)); (
        r=dead
        case $s in
          file:*|copy:*) p=${s#*:}; p=/${p#"${p%%[!/]*}"}; p=${p%/*}
            for f in InRelease Release Packages Packages.gz Packages.xz; do [ -r "$p/$f" ] && r=good; done;;
          cdrom:*) r=media;;
          *) mkdir "$d/$c"; chown _apt "$d/$c"
            within 15 /usr/lib/apt/apt-helper -o Acquire::Retries=0 -o Acquire::http::Timeout=6 -o Acquire::https::Timeout=6 \
              download-file "$s" "$d/$c/f" >/dev/null && [ -s "$d/$c/f" ] && r=good;;
        esac
        printf '%s %s\n' "$r" "$s"
      ) & done; wait)
    rows repo "$v"
  fi
fi
