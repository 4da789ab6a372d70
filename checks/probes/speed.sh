# Writing speed, flush latency and random access in the declared directories. The file has no name as soon as it is open:
# nothing stays behind, however this ends. TESTS has PATH:write[:sync[:random]].
case $(uname -m) in
  x86_64) nr="228 75 17 18 16384";;
  aarch64) nr="113 83 67 68 65536";;
  *) nr=;;
esac
now() { t=$(date +%s%N); t=${t%???}; }
# 8 KiB over and over in place, each flushed by itself, as a database does with its log.
sync='my ($seconds, $clock, $flush) = @ARGV; open(my $h, "+<&=", 9) or exit 3;
sub now { my $b = "\0" x 16; syscall($clock, 1, $b) == 0 or exit 4; my ($s, $n) = unpack("qq", $b); $s * 1e6 + $n / 1e3 }
my $block = "x" x 8192; seek($h, 0, 0); syswrite($h, $block) == 8192 or exit 5 for 1 .. 512; syscall($flush, 9) == 0 or exit 6;
for my $round (1, 2) {
my @took; my $end = now() + $seconds * 1e6;
for my $i (0 .. 499) { sysseek($h, ($i % 512) * 8192, 0); my $a = now(); syswrite($h, $block) == 8192 or exit 5;
syscall($flush, 9) == 0 or exit 6; my $b = now(); push @took, $b - $a; last if $b > $end }
my @s = sort { $a <=> $b } @took; my $n = @s; my $p = int($n * .99); $p-- if $p >= $n;
printf "%d %d %d %d\n", $n, $s[int($n / 2)], $s[$p], $s[-1] }'
# Four at a time, past the cache, seven reads to three writes.
random='my ($seconds, $clock, $size, $pread, $pwrite, $direct) = @ARGV; sysopen(my $h, "/proc/self/fd/9", 2 | $direct) or exit 3;
sub now { my $b = "\0" x 16; syscall($clock, 1, $b) == 0 or exit 4; my ($s, $n) = unpack("qq", $b); $s * 1e6 + $n / 1e3 }
my $raw = "x" x 16384; my $at = (unpack("J", pack("P", $raw)) + 4095) & ~4095; my $blocks = int($size / 8192);
pipe(my $r, my $w) or exit 5; my $begin = now();
for my $child (1 .. 4) { next if fork; srand($child); my $n = 0; my $end = $begin + $seconds * 1e6;
while ($n < 20000 && now() < $end) { my $nr = rand() < .7 ? $pread : $pwrite;
syscall($nr, fileno($h), $at, 8192, 8192 * int(rand($blocks))) == 8192 or do { $n = -1; last }; $n++ }
syswrite($w, "$n\n"); exit 0 }
close $w; my ($sum, $bad) = (0, 0); while (<$r>) { $_ < 0 ? ($bad = 1) : ($sum += $_) } exit 6 if $bad;
printf "%d %d\n", $sum, now() - $begin'
c=0
for x in $TESTS; do
  p=${x%%:*}; c=$((c+1))
  q=$p
  while [ ! -d "$q" ] && [ "$q" != / ]; do q=${q%/*}; [ -n "$q" ] || q=/; done
  set -- $(df -Pk -- "$q" | sed 1d)
  if ! [ "${4:-0}" -gt 1048576 ]; then kv result "$p write ! no_room"; continue; fi
  f=${q%/}/.implops-speed-$$-$c
  ( set -C; : >"$f" ) || { kv result "$p write ! cannot_write"; continue; }
  exec 9<>"$f"; rm -f "$f"
  m=16; i=0; now; began=$t
  while [ $i -lt 4 ]; do
    now; a=$t
    within 20 dd if=/dev/zero of=/proc/self/fd/9 bs=1048576 count=$m conv=fdatasync; r=$?
    now; d=$((t-a)); [ $d -gt 0 ] || d=1
    case $r in 0|124|137) ;; *) kv result "$p write ! dd:$r"; break;; esac
    # The first one warms up and says how much fits into five seconds.
    if [ $i != 0 ] || [ $r != 0 ] || [ $d -gt 5000000 ]; then kv result "$p write $((m*1048576)) $d"; fi
    [ $r = 0 ] && [ $((t-began)) -lt 15000000 ] || break
    if [ $i = 0 ]; then m=$((m*5000000/d)); [ $m -le 256 ] || m=256; [ $m -ge 16 ] || m=16; fi
    i=$((i+1))
  done
  case $x in *:sync*)
    if have perl && [ -n "$nr" ]; then
      set -- $nr
      v=$(within 25 perl -e "$sync" 10 "$1" "$2"); r=$?
      if [ $r = 0 ]; then l=$IFS; IFS=$NL; for y in $v; do kv result "$p sync perl $y"; done; IFS=$l
      else kv result "$p sync ! perl:$r"; fi
    else
      now; a=$t
      if within 20 dd if=/dev/zero of=/proc/self/fd/9 bs=8192 count=100 oflag=dsync conv=notrunc; then
        now; kv result "$p sync dd 100 $(((t-a)/100)) $(((t-a)/100)) $(((t-a)/100))"
      else kv result "$p sync ! dd:$?"; fi
    fi;;
  esac
  case $x in *:random*)
    if have perl && [ -n "$nr" ]; then
      dd if=/dev/zero of=/proc/self/fd/9 bs=1048576 count=64 conv=fdatasync
      set -- $nr
      v=$(within 15 perl -e "$random" 10 "$1" 67108864 "$3" "$4" "$5"); r=$?
      if [ $r = 0 ]; then kv result "$p random $v"; else kv result "$p random ! perl:$r"; fi
    else kv result "$p random ! perl"; fi;;
  esac
  exec 9>&-
done
# As many lines as were printed, whatever the tests gave.
kv result# "$n"
