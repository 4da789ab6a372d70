kv uid "$(id -u)"
set -- $(uname -nrm)
kv hostname "$1"; kv kernel "$2"; kv arch "$3"
tell machine_id /etc/machine-id
tell boot_id /proc/sys/kernel/random/boot_id
tell uptime /proc/uptime
tell init /proc/1/comm
lines os /etc/os-release
asked glibc 5 getconf GNU_LIBC_VERSION
# systemd-detect-virt ends with 1 on bare metal, and says "none".
if have systemd-detect-virt; then kv virt "$(within 5 systemd-detect-virt)"; else no virt "tool systemd-detect-virt"; fi
tell product_uuid /sys/class/dmi/id/product_uuid
if [ -e /run/reboot-required ]; then kv reboot 1; else kv reboot 0; fi
