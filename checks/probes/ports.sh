if have ss; then
  v=$(within 8 ss -Hlntup); r=$?
  w=$v
  case $r in 0) rows listen "$v";; 124|137) no listen# "timeout ss";; *) no listen# "command ss:$r";; esac
  # Owner and open files of each listening process, with one grep; a process may end while we look at it.
  p=; f=
  while :; do
    case $w in *pid=*) ;; *) break;; esac
    w=${w#*pid=}; x=${w%%,*}
    case "$p " in *" $x "*) ;; *) p="$p $x"; f="$f /proc/$x/status /proc/$x/limits";; esac
  done
  if [ -n "$f" ]; then rows process "$(grep -H -E '^(Uid:|Max open files)' $f | tr '\t' ' ')"; else kv process# 0; fi
else no listen# "tool ss"; no process# "tool ss"; fi
kv root "$U"
