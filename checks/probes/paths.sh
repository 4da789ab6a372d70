# A packet of the full MTU that may not be split, to every other host.
set -- $PEERS
if [ $# = 0 ]; then kv path# 0
elif ! have ping; then no path# "tool ping"
else
  v=$(for p in "$@"; do (
      m=${p#*:}; p=${p%:*}
      o=$(within 3 ping -n -c 1 -W 1 -M do -s "$((m-28))" "$p" 2>&1); r=$?
      w=lost
      case $o in *"too long"*|*"needed"*) w=big;; esac
      [ "$r" = 0 ] && w=good
      printf '%s %s %s\n' "$p" "$m" "$w"
    ) & done; wait)
  rows path "$v"
fi
