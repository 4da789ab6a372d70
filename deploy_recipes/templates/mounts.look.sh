# What is on a disk and where it is in use: one line. blank | resume UUID | fs TYPE UUID | mounted TYPE UUID, or
# "bad CODE DETAIL" for everything that must not be touched.
device={{ device }} mount={{ mount }} need={{ need }} accepted={{ accepted }} note={{ note }}
bad() { echo "bad $*" | tr '\n' ' '; exit 0; }
look() (
  [ -e "$device" ] || bad missing
  [ -b "$device" ] || bad not_block "$(stat -L -c %F "$device")"
  number=$((0x$(stat -L -c %t "$device"))):$((0x$(stat -L -c %T "$device")))
  sys=/sys/dev/block/$number
  [ -r $sys/size ] || bad unreadable $sys/size
  size=$(($(cat $sys/size) * 512))
  if mountpoint -q "$mount"; then
    [ "$(mountpoint -d "$mount")" = $number ] || bad other_mount "$(findmnt -n -o SOURCE -M "$mount" | tail -n 1)"
    kind=$(findmnt -n -o FSTYPE -M "$mount" | tail -n 1)
    case " $accepted " in *" $kind "*) ;; *) bad signature "$kind" ;; esac
    echo "mounted $kind $(blkid -p -s UUID -o value "$device")"; return
  fi
  if [ -L "$mount" ] || { [ -e "$mount" ] && [ ! -d "$mount" ]; }; then bad not_dir; fi
  [ -z "$(ls -A "$mount" 2>/dev/null)" ] || bad not_empty "$(ls -A "$mount" | head -n 1)"
  [ "$(cat $sys/ro)" = 0 ] || bad read_only
  for one in $sys/*/partition; do [ ! -e "$one" ] || bad children "$(basename "${one%/partition}")"; done
  [ -z "$(ls -A $sys/holders 2>/dev/null)" ] || bad children "$(ls $sys/holders)"
  # In every process's own view: a container or a unit may have mounted it where nobody else sees it.
  used=$(cat /proc/[0-9]*/mountinfo 2>/dev/null | awk -v n=$number '$3 == n { print $5; exit }')
  [ -z "$used" ] || bad in_use "$used"
  while read -r one rest; do
    [ -b "$one" ] || continue
    [ $((0x$(stat -L -c %t "$one"))):$((0x$(stat -L -c %T "$one"))) != $number ] || bad in_use swap
  done </proc/swaps
  [ $((size * 100)) -ge $((need * {{ percent }})) ] || bad small $size
  signs=$(blkid -p -o export "$device"); found=$?
  kind=$(echo "$signs" | sed -n 's/^TYPE=//p') uuid=$(echo "$signs" | sed -n 's/^UUID=//p')
  table=$(echo "$signs" | sed -n 's/^PTTYPE=//p')
  case $found in
    0) [ -z "$table" ] || bad children "$table" ;;
    2) ;;
    *) bad signature "blkid $found" ;;
  esac
  begun=
  if [ -e "$note" ] && [ "$(head -n 1 "$note")" = "$(identity)" ]; then begun=$(tail -n 1 "$note"); fi
  if [ $found = 0 ]; then
    # Half made by us: never mounted, made anew.
    [ -z "$begun" ] || { [ "$uuid" = "$begun" ] || bad signature "$kind $uuid"; echo "resume $begun"; return; }
    case " $accepted " in *" $kind "*) ;; *) bad signature "${kind:-?}" ;; esac
    [ -n "$uuid" ] || bad signature "$kind, UUID ?"
    echo "fs $kind $uuid"; return
  fi
  [ -z "$begun" ] || { echo "resume $begun"; return; }
  signs=$(wipefs -n "$device" 2>&1) || bad unreadable "$signs"
  [ -z "$signs" ] || bad signature "$(echo "$signs" | tail -n 1)"
  # blkid says "nothing" too where it cannot read: only bytes that were read and are zero are proof.
  zero 4194304 0; zero 1048576 $((size - 1048576))
  echo blank
)
zero() {
  cmp -s -n $1 -i $2:0 "$device" /dev/zero
  case $? in 0) ;; 1) bad data $2 ;; *) bad unreadable "$device" ;; esac
}
# Which disk a note is about: another one that took its name is judged by itself.
identity() {
  for one in wwid serial device/wwid device/serial dm/uuid start ../wwid ../serial ../device/wwid ../device/serial; do
    tr -cd '[:graph:]' <$sys/$one; echo
  done 2>/dev/null | paste -sd , | sed "s/^/$size,/"
}
