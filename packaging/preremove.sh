#!/bin/sh
# Runs before the removal, and before an upgrade. The first argument is "remove" for
# dpkg, the number of releases that stay for rpm.
set -e

case $1 in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl --no-reload disable --now kafka-upstream.service || true
	fi
	;;
esac
