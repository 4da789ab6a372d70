tell file_max /proc/sys/fs/file-max
tell aio_max /proc/sys/fs/aio-max-nr
tell aio_now /proc/sys/fs/aio-nr
tell sem /proc/sys/kernel/sem
tell shmmax /proc/sys/kernel/shmmax
tell somaxconn /proc/sys/net/core/somaxconn
tell keepalive /proc/sys/net/ipv4/tcp_keepalive_time
tell port_range /proc/sys/net/ipv4/ip_local_port_range
if [ -r /proc/sys/net/ipv4/ip_local_reserved_ports ]; then
  kv reserved "$(cat /proc/sys/net/ipv4/ip_local_reserved_ports)"
else no reserved "unreadable ip_local_reserved_ports"; fi
if [ -e /proc/sys/net/ipv4/tcp_tw_recycle ]; then tell tw_recycle /proc/sys/net/ipv4/tcp_tw_recycle; else kv tw_recycle 0; fi
tell pid_max /proc/sys/kernel/pid_max
