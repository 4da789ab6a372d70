kv offset "$(date +%z)"
if [ -L /etc/localtime ]; then kv localtime "$(readlink /etc/localtime)"; else kv localtime -; fi
if [ -r /etc/adjtime ]; then kv rtc "$(sed -n 3p /etc/adjtime)"; else kv rtc UTC; fi
if have chronyc; then
  asked tracking 4 chronyc -n -c tracking
  v=$(within 4 chronyc -n -c sources); r=$?
  if [ $r = 0 ]; then rows source "$v"; else no source# "command chronyc:$r"; fi
else no tracking "tool chronyc"; no source# "tool chronyc"; fi
if have ntpq; then asked ntpq 4 ntpq -n -c "rv 0 leap,stratum,offset,refid"; else no ntpq "tool ntpq"; fi
if have timedatectl; then asked ntp_synchronized 4 timedatectl show -p NTPSynchronized --value; else no ntp_synchronized "tool timedatectl"; fi
# The guest tools' own idea of time: "Enabled" or "Disabled", and an exit status that says the same.
if have vmware-toolbox-cmd; then kv guest "$(within 4 vmware-toolbox-cmd timesync status)"; else kv guest -; fi
