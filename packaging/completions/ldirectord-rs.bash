# bash completion for ldirectord-rs(8): [OPTIONS] [CONFIG] ACTION, or a command and its CONFIG.

_ldirectord_rs() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local actions="start stop restart try-restart reload force-reload status" commands="check show drain down up weight undo override metrics is-up plugin events plan alert-test"
	local options="--debug --foreground --help --version --settings --table --run-commands --test --strict --json" words=() configs i
	configs=$(cd /etc/ha.d 2>/dev/null && ls -d -- *.cf conf/*.cf 2>/dev/null)
	COMPREPLY=()
	case $prev in
	-t | --test | --settings)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--table)
		mapfile -t COMPREPLY < <(compgen -W "kernel memory" -- "$cur")
		return
		;;
	esac
	# The words before this one without options.
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-t | --test) return ;;
		--settings | --table) ((i++)) ;;
		-*) ;;
		*) words+=("${COMP_WORDS[i]}") ;;
		esac
	done
	case ${#words[@]}:${words[0]-} in
	0:*)
		[[ $cur != -* ]] || configs="" actions="" commands=$options
		mapfile -t COMPREPLY < <(compgen -W "$actions $commands $configs" -- "$cur")
		[[ $cur == -* ]] || mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur")
		;;
	*:drain | *:down | *:up | *:weight | *:undo)
		case $prev in
		-c | --config)
			mapfile -t COMPREPLY < <(compgen -W "$configs" -- "$cur")
			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur")
			;;
		*)
			options="--config --service"
			[[ ${words[0]} = undo ]] || options+=" --for --note --force"
			[[ ${words[0]} != drain && ${words[0]} != down ]] || options+=" --wait --timeout"
			mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
			;;
		esac
		;;
	1:override)
		mapfile -t COMPREPLY < <(compgen -W "import" -- "$cur")
		;;
	*:override)
		case $prev in
		-c | --config)
			mapfile -t COMPREPLY < <(compgen -W "$configs" -- "$cur")
			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur")
			;;
		*)
			mapfile -t COMPREPLY < <(compgen -W "--config --force" -- "$cur")
			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur")
			;;
		esac
		;;
	*:is-up | *:plugin | *:events | *:plan)
		case $prev in
		-c | --config)
			mapfile -t COMPREPLY < <(compgen -W "$configs" -- "$cur")
			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur")
			;;
		*)
			options="--config --min"
			[[ ${words[0]} != plugin ]] || options="--config --warning --critical"
			[[ ${words[0]} != events ]] || options="--config --json"
			[[ ${words[0]} != plan ]] || options="--config --diff"
			mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
			;;
		esac
		;;
	*:check | *:show | *:metrics | *:alert-test)
		case $cur:${words[0]} in
		-*:check) configs="--config-only --service --server --strict --json" ;;
		-*:show) configs="--config --connections --service --down --all --stats --rate --exact --watch --json" ;;
		esac
		mapfile -t COMPREPLY < <(compgen -W "$configs" -- "$cur")
		[[ $cur == -* ]] || mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur")
		;;
	1:status)
		mapfile -t COMPREPLY < <(compgen -W "--all --settings" -- "$cur")
		;;
	*)
		# These options are accepted at any position.
		[[ ${#words[@]} = 1 ]] || actions="" commands=""
		[[ $cur != -* ]] || actions="--settings --table --foreground --run-commands" commands=""
		mapfile -t COMPREPLY < <(compgen -W "$actions $commands" -- "$cur")
		;;
	esac
}
complete -o filenames -F _ldirectord_rs ldirectord-rs
