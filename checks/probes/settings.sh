# What is configured to be so after the next boot.
set +f
v=$(grep -H -s -E '^[[:space:]]*-?[a-z]' /usr/lib/sysctl.d/*.conf /usr/local/lib/sysctl.d/*.conf /run/sysctl.d/*.conf /etc/sysctl.d/*.conf)
rows sysctl "$v"
set +f
v=$(grep -H -s -E '^[[:space:]]*[^#[:space:]]+[[:space:]].*(nofile|nproc)' /etc/security/limits.conf /etc/security/limits.d/*.conf)
rows limit "$v"
