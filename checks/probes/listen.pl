# A listener for --deep: answers whoever knows the run's nonce with this host's token, on the real address and ports.
# It ends with its standard input (the connection that started it), or when its lease is not renewed by a byte there.
# It makes no file: whatever ends it, nothing stays.
use strict; use warnings; use IO::Select; use IO::Socket::INET;
my ($address, $nonce, $token, $lease, @ports) = @ARGV;
$| = 1; $SIG{PIPE} = "IGNORE"; alarm $lease;
my $all = IO::Select->new(\*STDIN);
my (%kind, %asked, %count);
for (@ports) {
  my ($port, $protocol) = split m{/};
  my @more = $protocol eq "tcp" ? (Listen => 128, ReuseAddr => 1) : ();
  my $s = IO::Socket::INET->new(LocalAddr => $address, LocalPort => $port, Proto => $protocol, @more);
  if ($s) { print "bound $_\n"; $all->add($s); $kind{$s} = $protocol } else { print "failed $_ $!\n" }
}
print "ready\n";
while (1) {
  for my $s ($all->can_read) {
    my $data = "";
    if ($s == \*STDIN) { sysread(STDIN, $data, 64) or exit 0; alarm $lease; next }
    my $is = $kind{$s} || "";
    if ($is eq "tcp") { my $c = $s->accept or next; $c->blocking(0); $all->add($c); next }
    if ($is eq "udp") {
      my $from = $s->recv($data, 512);
      $s->send("implops $nonce $token\n", 0, $from) if defined $from && $data =~ /^implops \Q$nonce\E\n/;
      next;
    }
    my $got = sysread($s, $data, 262144);
    next if !defined $got && $!{EAGAIN};
    if (!$got) {
      syswrite($s, "got $count{$s}\n") if defined $count{$s};
      delete $count{$s}; delete $asked{$s}; $all->remove($s); close $s; next;
    }
    if (defined $count{$s}) { $count{$s} += $got; next }
    $asked{$s} = ($asked{$s} || "") . $data;
    while (!defined $count{$s} && $asked{$s} =~ s/^([^\n]{0,64})\n//) {
      if ($1 eq "implops $nonce") { syswrite($s, "implops $nonce $token\n") }
      elsif ($1 eq "flood $nonce") { $count{$s} = length $asked{$s} }
      else { $all->remove($s); close $s; last }
    }
  }
}
