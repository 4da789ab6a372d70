# {{ make }} {{ device }}
{{ look }}
umask 077
seen=$(look)
case $seen in
  blank)
    uuid=$(cat /proc/sys/kernel/random/uuid) force=
    number=$((0x$(stat -L -c %t "$device"))):$((0x$(stat -L -c %T "$device")))
    sys=/sys/dev/block/$number; size=$(($(cat $sys/size) * 512))
    # Before the first byte: who comes after a power cut knows that what lies there half made is ours.
    mkdir -p "${note%/*}" && { identity; echo $uuid; } >"$note.part" && sync "$note.part" &&
      mv -fT "$note.part" "$note" && sync "${note%/*}" && sync {{ state }} || exit 1 ;;
  "resume "*) uuid=${seen#resume } force={{ force }} ;;
  *) echo "$seen" >&2; exit 1 ;;
esac
{{ make }} $force {{ uuid }} "$device" </dev/null >&2 && sync "$device" && rm -f "$note" && sync "${note%/*}"
