if have systemctl; then
  set -- $UNITS
  v=$(within 8 systemctl show -p LoadState -p ActiveState -p LimitNOFILE -p LimitNOFILESoft -p LimitNPROC -p TasksMax "$@"); r=$?
  if [ $r = 0 ]; then kv show "$v"; else no show "command systemctl:$r"; fi
  kv units "$*"
else no show "tool systemctl"; no units "tool systemctl"; fi
set +f; c=0
for f in /etc/systemd/system/*.service /etc/systemd/system/*.timer /etc/systemd/system/*.mount; do
  if [ -e "$f" ] && [ ! -L "$f" ]; then kv file "${f##*/}"; c=$((c+1)); fi
done
kv file# "$c"
