if have dpkg-query; then
  kv manager dpkg
  set -- $PACKAGES
  if [ $# -gt 0 ]; then
    rows package "$(within 10 dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\n' "$@")"
  else kv package# 0; fi
elif have rpm; then
  kv manager rpm
  no package# "tool dpkg-query"
else no manager "tool dpkg-query"; no package# "tool dpkg-query"; fi
c=0
for t in $TOOLS; do if have "$t"; then kv tool "$t 1"; else kv tool "$t 0"; fi; c=$((c+1)); done
kv tool# "$c"
set +f; c=0
for f in /usr/lib/jvm/*/release /opt/*/release /opt/implops/jdk/[0-9]*/release /usr/java/*/release /usr/local/*/release; do
  [ -r "$f" ] || continue
  d=${f%/release}; [ -L "$d" ] && continue
  v=; m=; a=
  while IFS= read -r l; do
    case $l in JAVA_VERSION=*) v=${l#*=};; IMPLEMENTOR=*) m=${l#*=};; OS_ARCH=*) a=${l#*=};; esac
  done <"$f"
  [ -n "$v" ] && { kv jdk "$d $v|$a|$m"; c=$((c+1)); }
done
kv jdk# "$c"
if have java; then kv java "$(readlink -f "$(command -v java)")"; else kv java -; fi
v=$(grep -h -s -E '^[^#]*JAVA_HOME=' /etc/environment /etc/profile /etc/profile.d/*.sh)
rows java_home "$v"
