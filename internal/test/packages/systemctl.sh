#!/bin/sh
# Stands in for systemctl in a chroot: it starts and stops kafka-upstream.service as the unit
# says, with its user, its directory, its flags and its time to stop. It knows nothing of the
# other settings of the unit.
set -eu
echo "$*" >>/systemctl.log
unit=/usr/lib/systemd/system/kafka-upstream.service
of() { sed -n "s/^$1=//p" "$unit"; }

running() {
	[ -e /run/service.pid ] && pid=$(cat /run/service.pid) &&
		grep -qs '^State:	[^Z]' "/proc/$pid/status"
}

start() {
	running && return
	user=$(of User)
	install -d -o "$user" -g "$(of Group)" -m "$(of RuntimeDirectoryMode)" "/run/$(of RuntimeDirectory)"
	environment=$(of EnvironmentFile)
	if [ -e "${environment#-}" ]; then . "${environment#-}"; fi
	eval "set -- $(of ExecStart)"
	setpriv --reuid="$user" --regid="$(of Group)" --clear-groups --no-new-privs --bounding-set=-all "$@" </dev/null >/service.log 2>&1 &
	echo $! >/run/service.pid
}

stop() {
	running || return 0
	seconds=$(of TimeoutStopSec)
	case $seconds in *min) seconds=$((${seconds%min} * 60)) ;; esac
	kill -TERM "$pid"
	end=$(($(date +%s) + seconds))
	while running; do
		if [ "$(date +%s)" -ge "$end" ]; then kill -KILL "$pid"; fi
		sleep 0.1
	done
	mv /service.log /stopped.log
	rm -r "/run/$(of RuntimeDirectory)"
}

case "$*" in
daemon-reload) ;;
'start kafka-upstream' | 'enable --now kafka-upstream') start ;;
'stop kafka-upstream' | '--no-reload disable --now kafka-upstream.service') stop ;;
'restart kafka-upstream')
	stop
	start
	;;
'try-restart kafka-upstream.service')
	if running; then
		stop
		start
	fi
	;;
*)
	echo "systemctl $*: not known here" >&2
	exit 1
	;;
esac
