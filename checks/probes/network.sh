if have ip; then
  v=$(within 5 ip -o -4 addr show); r=$?
  if [ $r = 0 ]; then rows address "$v"; else no address# "command ip:$r"; fi
  v=$(within 5 ip -4 route show default); r=$?
  if [ $r = 0 ]; then rows default "$v"; else no default# "command ip:$r"; fi
else no address# "tool ip"; no default# "tool ip"; fi
set +f; c=0
for d in /sys/class/net/*; do
  [ -e "$d/address" ] || continue
  a=; m=; s=; x=; e=; t=
  IFS= read -r a <"$d/address"; IFS= read -r m <"$d/mtu"; IFS= read -r s <"$d/speed"; IFS= read -r x <"$d/duplex"
  IFS= read -r e <"$d/statistics/rx_errors"; IFS= read -r t <"$d/statistics/tx_errors"
  kv nic "${d##*/} ${a:--} ${m:--} ${s:--} ${x:--} ${e:--} ${t:--}"; c=$((c+1))
done
kv nic# "$c"
if [ -r /etc/resolv.conf ]; then lines resolv /etc/resolv.conf; else kv resolv# 0; fi
lines hosts /etc/hosts
set +f
v=$(grep -h -s -i -E '^[^#]*(https?|all|no)_proxy=' /etc/environment /etc/profile.d/*.sh)
rows proxy "$v"
