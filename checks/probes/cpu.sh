asked online 5 getconf _NPROCESSORS_ONLN
tell loadavg /proc/loadavg
tell clocksource /sys/devices/system/clocksource/clocksource0/current_clocksource
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
if [ -r /sys/fs/cgroup/cpu.max ]; then tell quota /sys/fs/cgroup/cpu.max; else kv quota max; fi
