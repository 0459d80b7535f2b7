#compdef ldirectord-rs
# zsh completion for ldirectord-rs(8): [OPTIONS] [CONFIG] ACTION, or a command and its CONFIG.

_ldirectord_rs_configs() {
	_alternative 'configs:configuration:_files -W /etc/ha.d -g "*.cf"' 'files:file:_files'
}

_ldirectord_rs_actions() {
	local -a actions=(
		'start:start the daemon'
		'stop:stop the daemon and clean up the table'
		'restart:stop the daemon, leave the table, start the daemon again'
		'try-restart:restart the daemon if it runs'
		'reload:read the configuration again'
		'force-reload:read the configuration again'
		'status:print whether the daemon runs'
	)
	_describe action actions
}

_ldirectord_rs_words() {
	local -a commands=(
		'check:validate the file, diagnose this machine and probe every server once'
		'show:print the state of all servers'
		'drain:send a server no new connections'
		'down:treat a server as failed'
		'up:keep a server in rotation'
		'weight:send a server more or less traffic'
		'undo:end drain, down, up or weight'
		'override:import the overrides of a saved show --json'
		'metrics:print metrics for Prometheus'
		'is-up:whether virtual services have enough servers'
		'plugin:one line for Icinga, Nagios and checkmk'
		'events:print each event from now on'
		'plan:print what a reload or a start would change'
		'alert-test:send a test message'
	)
	_ldirectord_rs_actions
	_describe command commands
}

_ldirectord_rs_first() {
	_ldirectord_rs_words
	_ldirectord_rs_configs
}

_ldirectord_rs_second() {
	case ${line[1]} in
	show) _ldirectord_rs_configs; compadd -- --config --connections --service --down --all --stats --rate --exact --watch ;;
	check | metrics | alert-test) _ldirectord_rs_configs ;;
	drain | down) compadd -- --config --service --for --note --force --wait --timeout ;;
	up | weight) compadd -- --config --service --for --note --force ;;
	undo) compadd -- --config --service ;;
	override) compadd -- import; _files; compadd -- --config --force ;;
	is-up) compadd -- --config --min ;;
	events) compadd -- --config --json ;;
	plan) compadd -- --config --diff ;;
	plugin) compadd -- --config --warning --critical ;;
	status) compadd -- --all ;;
	start | stop | restart | try-restart | reload | force-reload) ;;
	*) _ldirectord_rs_words ;;
	esac
}

_ldirectord_rs() {
	local -a line
	_arguments -C \
		'(-d --debug)'{-d,--debug}'[stay in the foreground and log to standard error]' \
		'--foreground[stay in the foreground, with pid file and log]' \
		'(-h -\? --help)'{-h,-\?,--help}'[print help]' \
		'(-v --version)'{-v,--version}'[print the version]' \
		"--settings[the daemon's settings]:file:_files" \
		'--table[the table to work on]:table:(kernel memory)' \
		'--run-commands[in a dry run: run commands and external checks]' \
		'(-t --test)'{-t,--test}'[validate only this file]:file:_files' \
		'--config-only[for check: only validate the file]' \
		'--service[for check: probe only this virtual service]:id:' \
		'--server[for check: probe only this server]:server:' \
		'--strict[with -t and check: treat warnings as errors]' \
		'--json[with -t, check, show and events: print JSON]' \
		'1: :_ldirectord_rs_first' \
		'2: :_ldirectord_rs_second'
}

_ldirectord_rs "$@"
