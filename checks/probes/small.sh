# Two hundred files of 4 KiB in a folder of their own, which goes away again; cut after ten seconds.
t='d=$0/.implops-small-$$; trap "rm -rf \"$d\"" EXIT; mkdir "$d" || exit 9
b=$(printf "%4096s" x); s=$(date +%s%N); i=0
while [ $i -lt 200 ]; do
  printf %s "$b" >"$d/$i" || exit 9
  i=$((i+1))
  if [ $((i%20)) = 0 ]; then e=$(date +%s%N); [ $(((e-s)/1000000000)) -ge 10 ] && break; fi
done
e=$(date +%s%N); echo "$i $(((e-s)/1000))"'
v=; for p in $SMALL; do
  o=$(within 18 sh -c "$t" "$p"); r=$?
  v="$v$NL$p $r $o"
done
rows small "$v"
