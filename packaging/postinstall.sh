#!/bin/sh
# Runs after the installation and after an upgrade, from the .deb and the .rpm.
set -e

# A running service is restarted as the new release, after it has drained its buffer.
# One that is not running stays so, as after the first installation.
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	systemctl try-restart kafka-upstream.service || true
fi
