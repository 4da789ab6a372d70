# Resident pages and name of every process of its own memory; kernel threads have none.
set +f
if v=$(cat /proc/[0-9]*/stat | sed -n -E 's/^[0-9]+ \((.*)\) [A-Za-z] ([^ ]+ ){20}([1-9][0-9]*) .*/\3 \1/p'); then rows process "$v"
else no process# "unreadable /proc"; fi
kv page "$(getconf PAGE_SIZE)"
