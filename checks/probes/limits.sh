tells file_max /proc/sys/fs/file-max aio_max /proc/sys/fs/aio-max-nr aio_now /proc/sys/fs/aio-nr \
  sem /proc/sys/kernel/sem shmmax /proc/sys/kernel/shmmax shmall /proc/sys/kernel/shmall \
  somaxconn /proc/sys/net/core/somaxconn keepalive /proc/sys/net/ipv4/tcp_keepalive_time \
  port_range /proc/sys/net/ipv4/ip_local_port_range reserved /proc/sys/net/ipv4/ip_local_reserved_ports \
  pid_max /proc/sys/kernel/pid_max map_count /proc/sys/vm/max_map_count \
  entropy /proc/sys/kernel/random/entropy_avail
if [ -e /proc/sys/net/ipv4/tcp_tw_recycle ]; then tell tw_recycle /proc/sys/net/ipv4/tcp_tw_recycle; else kv tw_recycle 0; fi
kv page "$(getconf PAGE_SIZE)"
