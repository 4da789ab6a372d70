if [ -r /proc/meminfo ]; then
  while read -r k v r; do
    case $k in MemTotal:|MemAvailable:|SwapTotal:|HugePages_Total:|HugePages_Free:|Hugepagesize:|CommitLimit:) kv "${k%:}" "$v";; esac
  done </proc/meminfo
else no MemTotal "unreadable /proc/meminfo"; fi
# Control groups of version 2, then of version 1.
if [ -r /sys/fs/cgroup/memory.max ]; then tell limit /sys/fs/cgroup/memory.max
elif [ -r /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then tell limit /sys/fs/cgroup/memory/memory.limit_in_bytes
else kv limit max; fi
tells swappiness /proc/sys/vm/swappiness overcommit /proc/sys/vm/overcommit_memory
# A kernel without NUMA has no such file.
if [ -e /proc/sys/vm/zone_reclaim_mode ]; then tell zone_reclaim /proc/sys/vm/zone_reclaim_mode; else kv zone_reclaim 0; fi
set +f; set -- /sys/devices/system/node/node[0-9]*; set -f
if [ -e "$1" ]; then kv nodes $#; else kv nodes 1; fi
if [ -e /sys/kernel/mm/transparent_hugepage/enabled ]; then
  tell thp /sys/kernel/mm/transparent_hugepage/enabled
else kv thp "[never]"; fi
