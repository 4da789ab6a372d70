if have systemctl; then
  set -- $UNITS
  rows active "$(within 8 systemctl is-active "$@")"
  kv units "$*"
else no active# "tool systemctl"; no units "tool systemctl"; fi
