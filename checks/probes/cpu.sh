asked online 5 getconf _NPROCESSORS_ONLN
tells loadavg /proc/loadavg clocksource /sys/devices/system/clocksource/clocksource0/current_clocksource
if [ -e /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor ]; then
  tell governor /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor
else kv governor -; fi
f=; m=
if [ -r /proc/cpuinfo ]; then
  while IFS= read -r l; do
    case $l in
      "model name"*) m=${l#*: };;
      flags*|Features*) f=${l#*: }; break;;
    esac
  done </proc/cpuinfo
fi
kv model "$m"
if [ -n "$f" ]; then kv flags "$f"; else no flags "unreadable /proc/cpuinfo"; fi
# What control groups grant: version 2, then version 1; and the processors that this login may use.
if [ -r /sys/fs/cgroup/cpu.max ]; then tell quota /sys/fs/cgroup/cpu.max
elif [ -r /sys/fs/cgroup/cpu/cpu.cfs_quota_us ]; then
  kv quota "$(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us | tr '\n' ' ')"
else kv quota max; fi
while read -r k v r; do case $k in Cpus_allowed_list:) kv allowed "$v"; break;; esac; done </proc/self/status
