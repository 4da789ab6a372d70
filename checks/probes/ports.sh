if have ss; then
  v=$(within 8 ss -Hlntup); r=$?
  w=$v
  case $r in 0) rows listen "$v";; 124|137) no listen# "timeout ss";; *) no listen# "command ss:$r";; esac
  c=0
  for p in $(printf '%s\n' "$w" | sed -e 's/pid=/\n/g' | sed -n 's/^\([0-9][0-9]*\),.*/\1/p' | sort -u); do
    # A process may end while we look at it.
    [ -r /proc/$p/status ] || continue
    u=; f=
    while read -r k a b; do case $k in Uid:) u=$a; break;; esac; done </proc/$p/status
    while read -r a b d s h r; do case "$a $b $d" in "Max open files") f=$s; break;; esac; done </proc/$p/limits
    kv process "$p ${u:-?} ${f:-?}"; c=$((c+1))
  done
  kv process# "$c"
else no listen# "tool ss"; no process# "tool ss"; fi
kv root "$(id -u)"
