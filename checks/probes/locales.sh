if have locale; then
  v=$(within 8 locale -a); r=$?
  if [ $r = 0 ]; then rows locale "$v"; else no locale# "command locale:$r"; fi
else no locale# "tool locale"; fi
v=$(cat /etc/default/locale /etc/locale.conf | grep -E '^(export )?LANG=')
rows lang "$v"
if have fc-list; then kv fonts "$(within 8 fc-list :lang=zh | grep -c .)"; else kv fonts 0; fi
