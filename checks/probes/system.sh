kv uid "$U"
set -- $(uname -nrm)
kv hostname "$1"; kv kernel "$2"; kv arch "$3"
tells machine_id /etc/machine-id boot_id /proc/sys/kernel/random/boot_id uptime /proc/uptime init /proc/1/comm
lines os /etc/os-release
asked glibc 5 getconf GNU_LIBC_VERSION
# systemd-detect-virt ends with 1 on bare metal, and says "none".
if have systemd-detect-virt; then kv virt "$(within 5 systemd-detect-virt)"; else no virt "tool systemd-detect-virt"; fi
if [ -r /sys/class/dmi/id/product_uuid ]; then tell product_uuid /sys/class/dmi/id/product_uuid
else no product_uuid "unreadable product_uuid"; fi
if [ -e /run/reboot-required ]; then kv reboot 1
elif have needs-restarting; then if within 20 needs-restarting -r >/dev/null; then kv reboot 0; else kv reboot 1; fi
else kv reboot 0; fi
if have dmesg; then
  v=$({ within 5 dmesg || echo @failed; } | grep -E '@failed|Hardware Error|I/O error|EXT4-fs error|xfs_repair|XFS .*[Cc]orruption' | grep -v -E 'dev (fd|sr)[0-9]' | tail -n 20)
  case $v in
    *@failed*) if [ "$U" = 0 ]; then no kmsg# "command dmesg"; else no kmsg# no_sudo; fi;;
    *) rows kmsg "$v";;
  esac
else no kmsg# "tool dmesg"; fi
