# The name server judges its own configuration; -z loads every zone as a start would.
if [ -z "$NAMED" ]; then kv tool -; kv fault ''
elif have named-checkconf; then kv tool named-checkconf
  v=$(within 20 named-checkconf -z 2>&1); r=$?
elif have unbound-checkconf; then kv tool unbound-checkconf
  v=$(within 20 unbound-checkconf 2>&1); r=$?
else kv tool -; kv fault ''
fi
case $r in
  '') ;;
  0) kv fault '';;
  124|137) no fault "timeout named-checkconf";;
  # What the tool only warns of stands there too; a fault says so in its line.
  *) l=$(printf '%s\n' "$v" | grep -v ': loaded serial ')
    v=$(printf '%s\n' "$l" | grep -iE 'error|fail|expected|unknown|missing|not found|no ttl' | sed -n 1p)
    [ -n "$v" ] || v=$(printf '%s\n' "$l" | sed -n 1p)
    kv fault "${v:-rc $r}";;
esac
