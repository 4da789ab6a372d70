# What the host's own resolver says of the site's names, and what each name server answers itself.
c=0
if have getent; then
  # All addresses: a second one (of /etc/hosts, or of the zone) is where some connections go.
  v=$(for n in $NAMES; do ( a=$(within 6 getent ahostsv4 "$n"); r=$?
    l=$(printf '%s\n' "$a" | while read -r x y z; do [ "$y" != STREAM ] || printf ',%s' "$x"; done); l=${l#,}
    printf '%s %s %s\n' "$n" "$r" "${l:--}" ) & done; wait)
  rows name "$v"
else no name# "tool getent"; fi
# The query is DNS wire format in hex; the answer is read back as hex.
q='h=$3; b=; while [ -n "$h" ]; do b="$b\\x${h:0:2}"; h=${h:2}; done
s=${EPOCHREALTIME/./}; exec 3<>/dev/$2/$1/53 || exit 9; printf "$b" >&3
if [ "$2" = tcp ]; then
  a=$(dd bs=1 count=2 <&3 2>/dev/null | od -An -v -tx1 | tr -d " \n")
  if [ ${#a} = 4 ]; then a=$a$(dd bs=1 count=$((16#$a)) <&3 2>/dev/null | od -An -v -tx1 | tr -d " \n"); fi
else a=$(dd bs=600 count=1 <&3 2>/dev/null | od -An -v -tx1 | tr -d " \n"); fi
e=${EPOCHREALTIME/./}
# Asked again for the time alone: the programs that read the first answer take longer than a name server.
if [ "$2" = udp ] && [ -n "$a" ] && [ $((e-s)) -lt 1000000 ]; then
  t=${EPOCHREALTIME/./}; printf "$b" >&3; IFS= read -r -t 1 -n 1 -u 3 x; r=$?
  if [ $r -le 128 ]; then s=$t; e=${EPOCHREALTIME/./}; fi
fi
echo "$s $e $a"'
if [ -z "$QUERIES" ]; then kv answer# 0
elif ! have bash || ! have timeout || ! have od; then no answer# "tool bash"
else
  v=$(for f in $QUERIES; do (
      l=$IFS; IFS=:; set -- $f; IFS=$l
      o=$(timeout 3 bash -c "$q" ask "$1" "$2" "$4" 2>&1); r=$?
      printf '%s:%s:%s %s %s\n' "$1" "$2" "$3" "$r" "$(printf '%s' "$o" | tr '\n' ' ')"
    ) & done; wait)
  rows answer "$v"
fi
