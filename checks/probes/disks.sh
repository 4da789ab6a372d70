m=; [ -r /proc/mounts ] && m=$(cat /proc/mounts)
if [ -n "$m" ]; then rows mount "$m"; else no mount# "unreadable /proc/mounts"; fi
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
    if e=$(ls -A "$d"); then l=$IFS; IFS=$NL; set -- $e; IFS=$l; kv dir "$d $# $1"; else kv dir "$d ?"; fi
  elif [ -e "$d" ]; then kv dir "$d !"
  else kv dir "$d -"; fi
  c=$((c+1))
done
kv dir# "$c"
# The disks below each mounted device (partition, volume, RAID), and how the kernel treats them. The shell's own cd
# follows the links of sysfs without a process.
l=$IFS; IFS=$NL; sources=
for x in $m; do
  case $x in /dev/*) x=${x%%" "*}; case "$sources " in *" $x "*) ;; *) sources="$sources $x";; esac;; esac
done
IFS=$l; c=0; disks=
for s in $sources; do
  b=${s#/dev/}
  case $b in
    mapper/*) set +f
      for x in /sys/class/block/dm-*; do
        v=; IFS= read -r v <"$x/dm/name"; [ "$v" = "${b#mapper/}" ] && b=${x##*/}
      done; set -f;;
  esac
  todo=$b; found=
  while [ -n "$todo" ]; do
    set -- $todo; b=$1; shift; todo=$*
    [ -e "/sys/class/block/$b" ] || continue
    set +f; set -- "/sys/class/block/$b/slaves/"*; set -f
    if [ -e "$1" ]; then for x in "$@"; do todo="$todo ${x##*/}"; done
    elif [ -e "/sys/class/block/$b/partition" ]; then
      cd -P "/sys/class/block/$b/.." && todo="$todo ${PWD##*/}"; cd /
    else found="$found $b"; case "$disks " in *" $b "*) ;; *) disks="$disks $b";; esac; fi
  done
  kv base "$s$found"; c=$((c+1))
done
kv base# "$c"; c=0
for b in $disks; do
  v=; w=
  IFS= read -r v <"/sys/class/block/$b/queue/scheduler"; IFS= read -r w <"/sys/class/block/$b/queue/rotational"
  kv queue "$b ${w:--} ${v:--}"; c=$((c+1))
done
kv queue# "$c"
set +f; c=0
for f in /etc/systemd/system/*.mount /run/systemd/system/*.mount; do
  [ -r "$f" ] || continue
  v=; w=
  while IFS= read -r l; do case $l in What=*) v=${l#*=};; Where=*) w=${l#*=};; esac; done <"$f"
  kv unit "$w $v"; c=$((c+1))
done
kv unit# "$c"
# Disks that are to be put into use: PATH KIND SIZE READ-ONLY USE SIGNATURE, as far as the login may look.
c=0
for x in $DEVICES; do
  p=${x%%:*}; d=${x#*:}; k=block; z=0; w=0; u=-; f=-
  if [ ! -e "$d" ]; then k=missing
  elif [ ! -b "$d" ]; then k=other
  else
    t=$(stat -L -c '%t %T' "$d"); b=$((0x${t% *})):$((0x${t#* })); s=/sys/dev/block/$b
    IFS= read -r z <"$s/size"; z=$((z * 512)); IFS= read -r w <"$s/ro"
    set +f
    for y in "$s"/*/partition "$s"/holders/*; do [ ! -e "$y" ] || u=children; done
    set -f
    while read -r y t v rest; do
      [ "$v" != "$b" ] || [ "$u" = "$p" ] || { rest=${rest#* }; u=${rest%%" "*}; }
    done </proc/self/mountinfo
    if [ -r "$d" ] && have blkid && have cmp; then
      v=$(within 8 blkid -p -o export "$d"); r=$?
      case $r in
        0) f=$(printf '%s\n' "$v" | sed -n 's/^TYPE=//p'); case $v in *PTTYPE=*) u=children;; esac; f=${f:-unknown};;
        2) within 8 cmp -s -n 4194304 "$d" /dev/zero; r=$?
           if [ $r = 0 ]; then within 8 cmp -s -n 1048576 -i $((z > 1048576 ? z - 1048576 : 0)):0 "$d" /dev/zero; r=$?; fi
           case $r in 0) ;; 1) f=data;; *) f='?';; esac;;
        *) f='?';;
      esac
    else f='?'; fi
  fi
  kv device "$p $k ${z:-0} ${w:-0} $u $f"; c=$((c+1))
done
kv device# "$c"
