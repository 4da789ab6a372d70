# Asks the temporary listeners of other hosts, on the real ports. ECHO: ADDRESS:PORT:PROTOCOL …; MODE: echo, flood BYTES
# (one after the other), or idle SECONDS (the connection rests, then it is asked again).
p='use strict; use warnings; use IO::Socket::INET; use IO::Select;
my ($address, $port, $protocol, $nonce, $mode, $amount) = @ARGV;
$| = 1; $SIG{PIPE} = "IGNORE";
sub ms { open(my $f, "<", "/proc/uptime") or return 0; my ($u) = split " ", <$f>; return int($u * 1000) }
sub reply { my ($s, $seconds) = @_;
  return "timeout" unless IO::Select->new($s)->can_read($seconds);
  my $data = ""; my $got = sysread($s, $data, 200);
  return "$!" unless defined $got; return "end" unless $got;
  $data =~ s/\n.*//s; $data =~ tr/ -~//cd; return "said " . substr($data, 0, 80) }
my $s = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port, Proto => $protocol, Timeout => 2);
if (!$s) { print "$@\n"; exit }
my $r = "timeout";
for (1 .. ($protocol eq "udp" ? 3 : 1)) {
  syswrite($s, "implops $nonce\n"); $r = reply($s, $protocol eq "udp" ? 1 : 3); last if $r ne "timeout" }
# A connection that was made and says nothing is no way that is closed: somebody else sits there.
$r = "silent" if $r eq "timeout" && $protocol eq "tcp";
if ($mode eq "echo" || $r !~ /^said implops/) { print "$r\n"; exit }
if ($mode eq "idle") { sleep $amount; syswrite($s, "implops $nonce\n"); $r = reply($s, 5); print "$r\n"; exit }
my ($start, $sent, $block) = (ms(), 0, "x" x 65536);
syswrite($s, "flood $nonce\n");
while ($sent < $amount && ms() - $start < 5000) {
  my $n = syswrite($s, $block); last unless defined $n; $sent += $n }
shutdown($s, 1); $r = reply($s, 20); print "$r ", ms() - $start, "\n";'
set -- $MODE
[ "$1" = idle ] && kv seconds "$2"
c=0; for f in $ECHO; do c=$((c+1)); done
ask() {
  m=$MODE; l=$IFS; IFS=:; set -- $1; IFS=$l
  o=$(timeout $w perl -e "$p" "$1" "$2" "$3" "$NONCE" $m 2>&1); r=$?
  printf '%s:%s:%s %s %s\n' "$1" "$2" "$3" "$r" "$(printf '%s' "$o" | tr '\n' ' ')"
}
case $1 in idle) w=$(($2+15));; flood) w=35;; *) w=9;; esac
if [ "$c" = 0 ]; then kv echo# 0
elif ! have perl; then no echo# "tool perl"
elif ! have timeout; then no echo# "tool timeout"
elif [ "$1" = flood ]; then v=$(for f in $ECHO; do ask "$f"; done); rows echo "$v"
else v=$(for f in $ECHO; do ask "$f" & done; wait); rows echo "$v"
fi
