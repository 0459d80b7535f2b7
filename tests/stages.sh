#!/bin/bash
# Runs the stages of `make test` one after the other, and prints the minutes that each took next to its budget.
#
#   tests/stages.sh TARGET[+TARGET]=MINUTES...
#
#   MAKE    the program that runs a target (make)
#
# Targets with a + between them run at the same time; what the second one prints comes after the first. The first stage that fails
# ends the run, with exit code 1. The table comes last in either case. A stage that takes longer than its
# budget is marked; it does not fail, because the machine may be busy.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
table=()
all=0 budgets=0

# row NAME SECONDS BUDGET REMARK
row() {
	local minutes=-
	[ "$2" = - ] || minutes=$(($2 / 60)).$(($2 % 60 / 6))
	printf '%-22s %7s %7s%s\n' "$1" "$minutes" "$3" "${4:+  $4}"
}

# What the second target of the stage has printed so far.
second_output=

report() {
	print_second
	printf '\n%-22s %7s %7s\n' stage minutes budget
	printf '%s\n' "${table[@]}"
	row together "$all" "$budgets" ""
}
trap report EXIT
# A target in the background does not get the interrupt of a terminal.
trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM

# run TARGET: unquoted, MAKE is a command and its options.
run() {
	${MAKE:-make} --no-print-directory "$1"
}

print_second() {
	[ -z "$second_output" ] || cat "$second_output"
	rm -f "$second_output"
	second_output=
}

# run_stage TARGET[+TARGET]
run_stage() {
	local first=${1%%+*} second result=0
	[ "$first" != "$1" ] || { run "$first"; return; }
	second=${1#*+}
	second_output=$(mktemp)
	run "$second" >"$second_output" 2>&1 &
	run "$first" || result=1
	wait $! || result=1
	print_second
	return "$result"
}

for stage; do
	[[ $stage =~ ^[a-z-]+(\+[a-z-]+)?=(0|[1-9][0-9]*)$ ]] || {
		echo "stages: $stage: write TARGET=MINUTES" >&2
		exit 1
	}
done

failed=
for stage; do
	name=${stage%=*} budget=${stage#*=}
	budgets=$((budgets + budget))
	if [ -n "$failed" ]; then
		table+=("$(row "$name" - "$budget" "not run")")
		continue
	fi
	begin=$SECONDS remark=
	run_stage "$name" || failed=$name
	took=$((SECONDS - begin))
	all=$((all + took))
	[ "$took" -le $((budget * 60)) ] || remark="over budget"
	[ "$failed" != "$name" ] || remark=FAILED
	table+=("$(row "$name" "$took" "$budget" "$remark")")
done
[ -z "$failed" ]
