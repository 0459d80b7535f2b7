//! What `--help` prints below the options.

/// The actions and commands, each with its options and exit codes.
pub(super) const AFTER_HELP: &str = "\
CONFIG is searched for in /etc/ha.d, in /etc/ha.d/conf, and as given.
Default: ldirectord.cf, finally in /etc.

start         start the daemon; returns when it is ready, or prints why it cannot start
stop          stop the daemon and clean up the table (see cleanstop); returns when it has ended
restart       stop the daemon, leave the table as it is, start the daemon again
try-restart   restart the daemon if it runs
reload        read the configuration again (force-reload is the same)
status        print whether the daemon runs: exit 0 running, 3 stopped, 1 stale pid file, 4 unknown
                --all                 every daemon of this machine: exit 0 if one runs
check         validate the file, diagnose this machine and probe every server once:
              exit 0 all up, 1 a server is down or the machine has an error, 2 file unusable
                --config-only         only validate the file, as -t does
                --service ID          probe only this virtual service, such as tcp:10.0.0.1:80
                --server SERVER       probe only this server (ADDRESS:PORT)
show          print the state of all servers, and the table of the running daemon; without CONFIG
              of every daemon. With SERVER (ADDRESS:PORT): everything known about it
                -c, --config CONFIG   the daemon's configuration; it may also come first
                --all                 every server, also those that are up in a long listing
                --down                only services and servers with a problem
                --service ID          only this virtual service, such as tcp:10.0.0.1:80
                --connections         with SERVER: the clients that are connected to it
                --stats, --rate       traffic since the last reset of the counters, or per second
                --exact               with --stats or --rate: numbers that are not rounded
                --watch               again every 2 s, until Ctrl-C
drain         send a server (ADDRESS:PORT, as show prints it) no new connections; others continue
down          treat a server as if its check failed
up            keep a server in rotation, whatever its check finds
weight        send a server more or less traffic while it is up: a weight of 1 to 65535, or 1% to
              1000% of the configured weight
undo          end drain, down, up or weight. All five: exit 0 done, 1 refused, 3 no daemon
                -c, --config CONFIG   the daemon's configuration; it may also come first
                --service ID          only in this virtual service, such as tcp:10.0.0.1:80
                --for TIME            end after this time: 90s, 30m, 2h or 7d (not for undo)
                --note TEXT           the reason, which show prints (not for undo)
                --force               even if no server is left in rotation (not for undo)
                --wait                drain and down: wait until no connection is active: exit 0,
                                      4 time-out, 1 it was undone, replaced or the server left
                --timeout TIME        with --wait: for at most this time
override import FILE
              restore the overrides in FILE (-: standard input), which `show --json` printed:
              exit 0 done or nothing to do, 1 one was refused or the file is wrong, 3 no daemon
                -c, --config CONFIG   the daemon's configuration; it may also come first
                --force               even if no server is left in rotation
metrics       print the metrics of the daemon in Prometheus' text format; exit 0, 3 no daemon
                -c, --config CONFIG   the daemon's configuration; it may also come first
is-up         whether virtual services (as show prints them) have enough servers in rotation:
              exit 0 all are up, 1 one is not, 2 unknown service, 3 no daemon
                -c, --config CONFIG   the daemon's configuration; it may also come first
                --min N|N%            the servers needed, not counting the fallback (default: 1)
plugin        one line with performance data for Icinga, Nagios and checkmk, for all services
              or those named: exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
                --config CONFIG       the daemon's configuration; it may also come first
                -w, --warning N|N%    WARNING with fewer servers in rotation
                                      (default: if a server is down)
                -c, --critical N|N%   CRITICAL with fewer servers in rotation
                                      (default: if a service has no server in rotation)
events        print each event of the daemon from now on, until Ctrl-C: exit 0, 3 no daemon
                -c, --config CONFIG   the daemon's configuration; it may also come first
                --json                one JSON object a line
plan          print the kernel operations that a reload (without a daemon: a start) with this file
              would make now, for ipvsadm -R: exit 0 no change, 2 changes, 1 wrong file or unknown
                -c, --config CONFIG   the configuration; it may also come first
                --diff                the change of the configuration by virtual service instead
alert-test    send a test message to every recipient of alerts:
              exit 0 all accepted, 1 not all, 2 file unusable";
