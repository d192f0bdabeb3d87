#!/bin/sh
# Runs after the removal, and after an upgrade.
set -e

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
