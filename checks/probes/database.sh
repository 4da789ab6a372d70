# What the declared database server says of itself: its own administrator through its own socket, one connection.
set -- $DATABASE
r=; o=
socket="/run/postgresql/.s.PGSQL.$2"; client=psql
if [ "$1" = mariadb ]; then socket=/run/mysqld/mysqld.sock; client=mariadb; have mariadb || client=mysql; fi
if [ $# = 0 ] || [ ! -S "$socket" ]; then kv server -
elif [ "$(id -u)" != 0 ]; then no server no_sudo
elif ! have $client; then no server "tool $client"
elif ! have runuser; then no server "tool runuser"
elif [ "$1" = postgresql ]; then
  for d in "$3" postgres; do
    o=$(printf '%s\n' "$SQL" | within 15 runuser -u postgres -- env PGCONNECT_TIMEOUT=8 \
      PGOPTIONS='-c default_transaction_read_only=on -c lc_messages=C' \
      psql -XAtqw -v ON_ERROR_STOP=1 -h /run/postgresql -p "$2" -d "$d" -f - 2>&1); r=$?
    # The site's own database may not have been made yet.
    case $r:$o in 2:*"does not exist"*) continue;; esac
    break
  done
else
  o=$(printf 'set session transaction read only;\n%s\n' "$SQL" | within 15 $client --no-defaults --protocol=socket \
    --socket="$socket" -uroot -N -B --raw --connect-timeout=8 2>&1); r=$?
fi
case $r in
  '') ;;
  0) kv server "$1"; rows told "$o";;
  124|137) no server "timeout $client";;
  *) no server "command $client:$r $(printf '%s' "$o" | tr '\n' ' ' | cut -c 1-200)";;
esac
