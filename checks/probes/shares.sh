# In every share, as the account that will work there: make a file, force it to disk, rename it, lock it, delete it.
t='f=$0/.implops-test-$$; trap "rm -f \"$f\" \"$f.2\"" EXIT; s() { echo "$1"; exit 0; }
[ -d "$0" ] || s missing
printf x >"$f" || s create
dd if=/dev/zero of="$f" bs=4096 count=1 conv=fsync,notrunc || s fsync
mv "$f" "$f.2" || s rename
flock -n "$f.2" true || s lock
rm "$f.2" || s delete
echo good'
set -- $SHARES
if [ $# = 0 ]; then kv share# 0
elif [ "$(id -u)" != 0 ]; then no share# no_sudo
elif ! have runuser || ! have flock; then no share# "tool runuser"
else
  v=$(for p in "$@"; do (
      u=${p##*:}; p=${p%:*}
      if id -u "$u" >/dev/null; then
        o=$(within 10 runuser -u "$u" -- sh -c "$t" "$p"); r=$?
        case $r in 0) ;; 124|137) o=timeout;; *) o=failed;; esac
      else o=no_user; fi
      printf '%s %s\n' "$p" "$o"
    ) & done; wait)
  rows share "$v"
fi
set -- $SERVERS
if [ $# = 0 ]; then kv export# 0
elif ! have showmount; then no export# "tool showmount"
else
  v=; r=0
  for h in "$@"; do
    o=$(within 8 showmount --no-headers -e "$h") || { r=$?; break; }
    v=$v$NL$(printf '%s\n' "$o" | sed "s/^/$h /")
  done
  case $r in 0) rows export "$v";; 124|137) no export# "timeout showmount";; *) no export# "command showmount:$r";; esac
fi
