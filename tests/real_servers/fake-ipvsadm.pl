#!/usr/bin/perl
# Replaces ipvsadm when the original is recorded: writes changes of the table to the file ORIGINAL_LOG, and computes the
# table from that file.
use strict;
use warnings;

if ($ARGV[0] ne "-L") {
	open(my $log, ">>", $ENV{ORIGINAL_LOG}) or die "ORIGINAL_LOG: $!";
	print $log "@ARGV\n";
	exit 0;
}
my %table;
if (open(my $log, "<", $ENV{ORIGINAL_LOG})) {
	while (<$log>) {
		my ($what, $service, $rest) = /^-(\w) (-\w \S+)(.*)/ or next;
		my ($server) = $rest =~ / -r (\S+)/;
		my ($weight) = $rest =~ / -w (\d+)/;
		$table{$service} = {} if $what eq "A";
		delete $table{$service} if $what eq "D";
		$table{$service}{$server} = $weight if $what eq "a" or $what eq "e";
		delete $table{$service}{$server} if $what eq "d";
	}
}
print "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n";
print "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";
for my $service (sort keys %table) {
	my ($kind, $address) = split / /, $service;
	printf "%s  %s wrr\n", $kind eq "-u" ? "UDP" : "TCP", $address;
	printf "  -> %-28s Masq    %-6d 0          0\n", $_, $table{$service}{$_} for sort keys %{$table{$service}};
}
