if have getenforce; then
  asked selinux 4 getenforce
  v=$(within 6 getsebool -a | sed -n 's/ --> on$//p'); rows boolean "$v"
else kv selinux -; kv boolean# 0; fi
if [ -r /etc/selinux/config ]; then kv selinux_config "$(sed -n 's/^SELINUX=//p' /etc/selinux/config)"; else kv selinux_config -; fi
kv umask "$(sed -n 's/^UMASK[[:space:]]*//p' /etc/login.defs)"
if [ -r /proc/sys/crypto/fips_enabled ]; then tell fips /proc/sys/crypto/fips_enabled; else kv fips 0; fi
if have update-crypto-policies; then asked crypto 4 update-crypto-policies --show; else kv crypto -; fi
if have firewall-cmd; then
  v=$(within 6 firewall-cmd --list-all); r=$?
  # 252: it is installed and does not run.
  case $r in 0) kv firewalld "$v";; 252) kv firewalld -;; *) no firewalld "command firewall-cmd:$r";; esac
else kv firewalld -; fi
lines passwd /etc/passwd
if [ "$U" = 0 ]; then
  v=$(cut -d: -f1,3-8 /etc/shadow); rows shadow "$v"
  if have sshd; then kv sftp "$(within 5 sshd -T | sed -n 's/^subsystem sftp //p')"; else no sftp "tool sshd"; fi
  set -- $WRITERS; c=0
  for w in "$@"; do
    u=${w%%:*}; d=${w#*:}
    if ! [ -d "$d" ] || ! id "$u" >/dev/null; then continue; fi
    if have runuser; then
      if within 5 runuser -u "$u" -- test -w "$d" -a -x "$d"; then kv writer "$w 1"; else kv writer "$w 0"; fi
      c=$((c+1))
    fi
  done
  if [ $# = 0 ] || have runuser; then kv writer# "$c"; else no writer# "tool runuser"; fi
else no shadow# no_sudo; no sftp no_sudo; no writer# no_sudo; fi
kv today "$(date +%s)"
