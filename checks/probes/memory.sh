if [ -r /proc/meminfo ]; then
  while read -r k v r; do
    case $k in MemTotal:|MemAvailable:|SwapTotal:|HugePages_Total:|Hugepagesize:|CommitLimit:) kv "${k%:}" "$v";; esac
  done </proc/meminfo
else no MemTotal "unreadable /proc/meminfo"; fi
if [ -r /sys/fs/cgroup/memory.max ]; then tell limit /sys/fs/cgroup/memory.max; else kv limit max; fi
tell swappiness /proc/sys/vm/swappiness
tell overcommit /proc/sys/vm/overcommit_memory
tell zone_reclaim /proc/sys/vm/zone_reclaim_mode
if [ -e /sys/kernel/mm/transparent_hugepage/enabled ]; then
  tell thp /sys/kernel/mm/transparent_hugepage/enabled
else kv thp "[never]"; fi
