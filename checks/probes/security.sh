if have getenforce; then asked selinux 4 getenforce; else kv selinux -; fi
if [ -r /etc/selinux/config ]; then kv selinux_config "$(sed -n 's/^SELINUX=//p' /etc/selinux/config)"; else kv selinux_config -; fi
kv umask "$(sed -n 's/^UMASK[[:space:]]*//p' /etc/login.defs)"
if [ -r /proc/sys/crypto/fips_enabled ]; then tell fips /proc/sys/crypto/fips_enabled; else kv fips 0; fi
if have update-crypto-policies; then asked crypto 4 update-crypto-policies --show; else kv crypto -; fi
lines passwd /etc/passwd
if [ "$(id -u)" = 0 ]; then
  v=$(getent shadow $USERS | cut -d: -f1,3-8); rows shadow "$v"
  if have sshd; then kv sftp "$(within 5 sshd -T | sed -n 's/^subsystem sftp //p')"; else no sftp "tool sshd"; fi
else no shadow# no_sudo; no sftp no_sudo; fi
kv today "$(date +%s)"
