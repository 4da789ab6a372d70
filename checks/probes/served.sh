# What every name server of the site says of the site's names: /etc/hosts does not answer here. One process for all:
# a question a name and server, asked twice, and every answer until all are there or the time is over.
p='use strict; use warnings; use IO::Socket::INET; use IO::Select;
my ($servers, @names) = @ARGV; my (%left, %at); my $all = IO::Select->new;
for my $server (split / /, $servers) {
  my $s = IO::Socket::INET->new(PeerAddr => $server, PeerPort => 53, Proto => "udp");
  if (!$s) { print "$server $_ $!\n" for @names; next }
  $all->add($s); $at{$s} = $server; $left{$server}{$_} = 1 for 0 .. $#names;
}
# That nobody listens is told once, by whatever is done next on that socket: also by the next question.
sub lost { my ($s, $why) = @_; my $server = $at{$s}; $all->remove($s);
  print "$server $names[$_] $why\n" for keys %{$left{$server}}; delete $left{$server} }
my $end = time + 3;
for my $round (1, 2) {
  my $until = $round == 1 ? time + 1 : $end;
  for my $s ($all->handles) { for my $n (sort keys %{$left{$at{$s}}}) {
    my $asked = join "", map { chr(length) . $_ } split /\./, $names[$n];
    if (!defined syswrite $s, pack("n6", $n, 256, 1, 0, 0, 0) . "$asked\0" . pack("n2", 1, 1)) { lost($s, "$!"); last }
  } }
  while (grep({ %$_ } values %left) && time <= $until) {
    for my $s ($all->can_read(0.5)) {
      my $got = sysread $s, my $data, 1500; my $server = $at{$s};
      if (!defined $got) { lost($s, "$!"); next }
      next if $got < 12; my $n = unpack "n", $data; next unless delete $left{$server}{$n};
      print "$server $names[$n] ", unpack("H*", $data), "\n" } }
}
for my $server (keys %left) { print "$server $names[$_] timeout\n" for keys %{$left{$server}} }'
if [ -z "$SERVED_BY" ] || [ -z "$NAMES" ]; then kv served# 0
elif ! have perl; then no served# "tool perl"
else
  v=$(within 6 perl -e "$p" "$SERVED_BY" $NAMES 2>/dev/null); r=$?
  case $r in 0) rows served "$v";; 124|137) no served# "timeout perl";; *) no served# "command perl:$r";; esac
fi
