# fish completion for ldirectord-rs(8): [OPTIONS] [CONFIG] ACTION, or a command and its CONFIG.

set -l actions start stop restart try-restart reload force-reload status
set -l commands check show drain down up weight undo override metrics is-up plugin events plan alert-test

function __ldirectord_rs_configs
    for file in /etc/ha.d/*.cf /etc/ha.d/conf/*.cf
        string replace /etc/ha.d/ '' $file
    end
end

complete -c ldirectord-rs -s d -l debug -d 'Stay in the foreground and log to standard error'
complete -c ldirectord-rs -l foreground -d 'Stay in the foreground, with pid file and log'
complete -c ldirectord-rs -s h -l help -d 'Print help'
complete -c ldirectord-rs -s v -l version -d 'Print the version'
complete -c ldirectord-rs -s t -l test -r -F -d 'Validate only this file'
complete -c ldirectord-rs -l settings -r -F -d 'The settings of the daemon'
complete -c ldirectord-rs -l table -x -a 'kernel memory' -d 'The table to work on'
complete -c ldirectord-rs -l run-commands -d 'In a dry run: run commands and external checks'

complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions" -a '(__ldirectord_rs_configs)' -d configuration
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a "$actions" -d action
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a check -d 'Validate the file, diagnose this machine and probe every server once'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a show -d 'Print the state of all servers'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a drain -d 'Send a server no new connections'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a down -d 'Treat a server as failed'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a up -d 'Keep a server in rotation'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a weight -d 'Send a server more or less traffic'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a undo -d 'End drain, down, up or weight'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from drain down up weight undo" -s c -l config -r -F -d 'The configuration of the daemon'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from drain down up weight undo" -l service -x -d 'In this virtual service only'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from drain down up weight" -l for -x -d 'Expire after this time'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from drain down up weight" -l note -x -d 'The reason'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from drain down up weight" -l force -d 'Even if no server is left'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from drain down" -l wait -d 'Until no connection is active'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from drain down" -l timeout -x -d 'Wait for at most this time'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a override -d 'Import saved overrides'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from override; and not __fish_seen_subcommand_from import" -x -a import -d 'Restore the overrides of a saved show --json'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from override" -s c -l config -r -F -d 'The configuration of the daemon'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from override" -l force -d 'Even if no server is left'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a metrics -d "Print metrics for Prometheus"
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a is-up -d 'Whether virtual services have enough servers'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from is-up" -s c -l config -r -F -d 'The configuration of the daemon'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from is-up" -l min -x -d 'The servers needed: 2 or 50%'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a plugin -d 'One line for Icinga, Nagios and checkmk'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from plugin" -l config -r -F -d 'The configuration of the daemon'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from plugin" -s w -l warning -x -d 'Warn with fewer servers: 2 or 50%'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from plugin" -s c -l critical -x -d 'Critical with fewer servers: 2 or 50%'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a events -d 'Print each event from now on'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from events" -s c -l config -r -F -d 'The configuration of the daemon'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a plan -d 'Print what a reload or a start would change'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from plan" -s c -l config -r -F -d 'The configuration'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from plan" -l diff -d 'The change of the configuration'
complete -c ldirectord-rs -n "not __fish_seen_subcommand_from $actions $commands" -a alert-test -d 'Send a test message'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from check" -l config-only -d 'Only validate the file'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from check" -l service -x -d 'Probe only this virtual service'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from check" -l server -x -d 'Probe only this server'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from status" -l all -d 'Every daemon of this machine'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from show" -l all -d 'Every server, also in a long listing'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from show" -l down -d 'Only services and servers with a problem'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from show" -l connections -d 'The clients that are connected to the server'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from show" -l stats -d 'Traffic since the last reset of the counters'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from show" -l rate -d 'Traffic per second'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from show" -l exact -d 'Numbers that are not rounded'
complete -c ldirectord-rs -n "__fish_seen_subcommand_from show" -l watch -d 'Again every 2 s'
complete -c ldirectord-rs -l strict -d 'With -t and check: treat warnings as errors'
complete -c ldirectord-rs -l json -d 'With -t, check, show and events: print JSON'
