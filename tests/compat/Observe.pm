# `record-corpus` loads this into the original. When the original has read its configuration and exits, it writes what the
# original understood to the file descriptor OBSERVE_FD, in the notation of the corpus. Changes nothing.
package Observe;
use strict;
use warnings;

# Escapes bytes outside printable ASCII, the backslash and the double quote.
sub text {
	my ($text) = @_;
	$text =~ s/([^\x20-\x7e]|[\\"])/sprintf("\\x%02x", ord($1))/ge;
	return "\"$text\"";
}

# A number as a number: no leading zeros.
sub number {
	my ($text) = @_;
	$text =~ s/^0+(?=\d)//;
	return $text;
}

sub word { return defined $_[0] ? $_[0] : "undefined" }

sub mail_status {
	my ($bits) = @_;
	my @names = ([1, "starting"], [2, "running"], [4, "stopping"], [8, "reloading"]);
	return join(",", map { $bits & $_->[0] ? $_->[1] : () } @names) || "none";
}

# A line unless the value is the default; both are texts in the notation.
sub unless_default {
	my ($out, $name, $value, $default) = @_;
	print $out "  $name $value\n" if defined $value and $value ne $default;
}

sub globals {
	my ($out) = @_;
	no strict "refs";
	my $of = sub { return ${"main::$_[0]"} };
	my $line = sub {
		my ($name, $value, $default) = @_;
		print $out " global $name $value\n" if defined $value and $value ne $default;
	};
	$line->("checkinterval", number($of->("CHECKINTERVAL")), "10");
	$line->("autoreload", $of->("AUTOCHECK"), "no");
	$line->("callback", text($of->("CALLBACK")), '""') if defined $of->("CALLBACK");
	$line->("logfile", text($of->("LDIRLOG")), '"/var/log/ldirectord.log"');
	$line->("execute", text($_), "") for sort keys %{"main::LD_INSTANCE"};
	$line->("fork", $of->("FORKING"), "no");
	$line->("supervised", $of->("SUPERVISED"), "no");
	$line->("readdquiescent", $of->("READDQUIESCENT"), "no");
	$line->("emailalertfrom", text($of->("EMAILALERTFROM")), "") if defined $of->("EMAILALERTFROM");
	$line->("maintenancedir", text($of->("MAINTDIR")), "") if defined $of->("MAINTDIR");
}

sub virtual {
	my ($out, $v, $own) = @_;
	no strict "refs";
	my $of = sub { return ${"main::$_[0]"} };
	my $or = sub { my ($key, $global) = @_; return defined $v->{$key} ? $v->{$key} : $of->($global) };
	my $six = $v->{addressfamily} == main::AF_INET6() ? 1 : 0;
	my $where = $v->{protocol} eq "fwm" ? "fwm" . ($six ? "6 " : " ") . number($v->{fwm})
		: "$v->{protocol} $v->{server}:" . number($v->{port});
	print $out " virtual $where $v->{scheduler}";
	print $out " persistent ", number($v->{persistent}) if defined $v->{persistent};
	print $out " netmask ", $v->{netmask} =~ /^\d+$/ ? number($v->{netmask}) : $v->{netmask} if defined $v->{netmask};
	print $out " ops" if $v->{ops} eq "yes";
	print $out " schedflags ", text($v->{schedflags}) if defined $v->{schedflags};
	print $out "\n";
	my $type = $v->{checktype} eq "combined" ? "combined " . number($v->{num_connects}) : $v->{checktype};
	print $out "  check $type $v->{service} ", number($v->{checktimeout}), " ", number($v->{negotiatetimeout}), "\n";
	my $interval = $of->("FORKING") eq "yes" ? $or->("checkinterval", "CHECKINTERVAL") : $of->("CHECKINTERVAL");
	my %default = (
		checkcommand => '"/bin/true"', request => '"/"', map { $_ => '""' } qw(receive login passwd database secret)
	);
	unless_default($out, "interval", number($interval), "10");
	unless_default($out, "checkcount", number($v->{checkcount}), "1");
	unless_default($out, "failurecount", number($v->{failurecount}), "1");
	unless_default($out, "checkport", number($v->{checkport}), "") if defined $v->{checkport};
	unless_default($out, $_, text($v->{$_}), $default{$_})
		for qw(checkcommand request receive login passwd database secret);
	unless_default($out, "httpmethod", $v->{httpmethod}, "GET");
	unless_default($out, "quiescent", $or->("quiescent", "QUIESCENT"), "no");
	unless_default($out, "cleanstop", $or->("cleanstop", "CLEANSTOP"), "yes");
	unless_default($out, "emailalert", text($or->("emailalert", "EMAILALERT")), '""');
	unless_default($out, "emailalertfreq", number($or->("emailalertfreq", "EMAILALERTFREQ")), "0");
	unless_default($out, "emailalertstatus", mail_status($or->("emailalertstatus", "EMAILALERTSTATUS")),
		"starting,running,stopping,reloading");
	my $smtp = $or->("smtp", "SMTP");
	my $command = $or->("fallbackcommand", "FALLBACKCOMMAND");
	unless_default($out, "smtp", text($smtp), "") if defined $smtp;
	unless_default($out, "fallbackcommand", text($command), "") if defined $command;
	for my $name (qw(virtualhost monitorfile servicename comment)) {
		unless_default($out, $name, text($v->{$name}), "") if defined $v->{$name};
	}
	for my $r (@{$v->{real}}) {
		my $given = $own->{$r};
		print $out "  real $r->{server}:", number($r->{port}), " $r->{forward} ", number($r->{weight});
		for my $which (qw(l u)) {
			my $threshold = number($r->{"$which-threshold"} || "0");
			print $out " $which $threshold" if $threshold ne "0";
		}
		print $out " request ", text($given->[0]), " receive ", defined $given->[1] ? text($given->[1]) : "lost"
			if defined $given->[0];
		print $out "\n";
	}
	my $fallback = main::fallback_find($v);
	print $out "  fallback ", word($fallback->{server}), ":", number(word($fallback->{port})), " ",
		word($fallback->{forward}), "\n" if defined $fallback;
}

# Exit status 3, "not running", means that the original has read the whole file.
END {
	if ($? == 3) {
		my $status = $?;
		local $?;
		open(my $out, ">&=", $ENV{OBSERVE_FD}) or die "OBSERVE_FD: $!";
		no warnings "once";
		my %own;
		for my $v (@main::VIRTUAL) {
			$own{$_} = [$_->{request}, $_->{receive}] for @{$v->{real}};
		}
		# ld_setup lets virtual services inherit the global settings.
		main::ld_setup();
		globals($out);
		virtual($out, $_, \%own) for @main::VIRTUAL;
		close($out);
	}
}

1;
