if [ -z "$GROUPS_ASKED" ]; then kv group# 0
elif [ "$U" != 0 ]; then no group# no_sudo
elif have vgs || have zpool; then
  v=; r=0
  if have vgs; then v=$(within 8 vgs --noheadings --units b -o vg_name,vg_size,vg_free); r=$?; fi
  if have zpool; then v="$v$NL$(within 8 zpool list -H -p -o name,size,free)"; fi
  if [ $r = 0 ]; then rows group "$v"; else no group# "command vgs:$r"; fi
else no group# "tool vgs"; fi
if [ -z "$MULTIPATH" ]; then kv multipath ""
elif [ "$U" != 0 ]; then no multipath no_sudo
else asked multipath 8 multipath -ll; fi
