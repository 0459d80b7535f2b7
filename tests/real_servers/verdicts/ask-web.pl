# The same for checktype=external-perl. The original runs it inside itself.
use IO::Socket::IP;
my ($virtual, $port, $real, $real_port) = @ARGV;
my $wanted = $port == 81 ? "something else" : "all is fine";
$real =~ tr/[]//d;
my $socket = IO::Socket::IP->new(PeerHost => $real, PeerPort => $real_port) or exit 1;
print $socket "GET /health HTTP/1.0\r\n\r\n";
my $found = grep { /$wanted/ } <$socket>;
exit($found ? 0 : 1);
