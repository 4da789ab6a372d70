lines mount /proc/mounts
if [ -e /etc/fstab ]; then lines fstab /etc/fstab; else kv fstab# 0; fi
# The filesystem of a path that is not there yet is that of its nearest parent.
all=
for p in $PATHS; do
  q=$p
  while [ ! -e "$q" ] && [ "$q" != / ]; do q=${q%/*}; [ -n "$q" ] || q=/; done
  kv parent "$p $q"; all="$all $q"
done
set -- $PATHS; kv parent# $#
if have df; then
  for o in k i; do
    v=$(within 8 df -P$o -- $all); r=$?
    case $r in
      0) rows df$o "$(printf '%s\n' "$v" | sed 1d)";;
      124|137) no df$o# "timeout df";;
      *) no df$o# "command df:$r";;
    esac
  done
else no dfk# "tool df"; no dfi# "tool df"; fi
c=0
for d in $DIRS; do
  if [ -d "$d" ]; then
    if e=$(ls -A "$d"); then kv dir "$d $(printf '%s' "$e" | grep -c .)"; else kv dir "$d ?"; fi
  elif [ -e "$d" ]; then kv dir "$d !"
  else kv dir "$d -"; fi
  c=$((c+1))
done
kv dir# "$c"
