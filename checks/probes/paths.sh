# To every other host: a packet of the full MTU that may not be split, and twenty small ones; root may send them fast.
i=0.2; [ "$(id -u)" = 0 ] && i=0.02
set -- $PEERS
if [ $# = 0 ]; then kv path# 0
elif ! have ping; then no path# "tool ping"
elif ! have ip; then no path# "tool ip"
else
  v=$(for p in "$@"; do (
      m=
      d=$(ip -4 -o route get "$p" | sed -n 's/.* dev \([^ ]*\) .*/\1/p')
      [ -n "$d" ] && IFS= read -r m <"/sys/class/net/$d/mtu"
      o=$(within 4 ping -n -q -c 3 -i $i -W 1 -M do -s "$((${m:-1500}-28))" "$p" 2>&1); r=$?
      w=lost
      case $o in *"too long"*|*"needed"*) w=big;; esac
      [ "$r" = 0 ] && w=good
      o=$(within 9 ping -n -q -c 20 -i $i -W 1 "$p" | sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received.*/\1 \2/p')
      printf '%s %s %s %s\n' "$p" "${m:-?}" "$w" "${o:-? ?}"
    ) & done; wait)
  rows path "$v"
fi
# Who answers for an address that must be free: also one that keeps silent to ping shows itself to its neighbours.
set -- $VIPS
if [ $# = 0 ]; then kv vip# 0
elif ! have ping || ! have ip; then no vip# "tool ping"
else
  v=$(for p in "$@"; do (
      # What the neighbours said long ago does not count; only root may forget it.
      ip -4 neigh flush to "$p"
      within 3 ping -n -q -c 2 -i 0.2 -W 1 "$p" >/dev/null; r=$?
      n=$(ip -4 -o neigh show to "$p" | sed -n 's/.* lladdr \([0-9a-f:]*\) .*REACHABLE.*/\1/p' | sed -n 1p)
      printf '%s %s %s\n' "$p" "$r" "${n:--}"
    ) & done; wait)
  rows vip "$v"
fi
