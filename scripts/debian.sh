#!/bin/sh
# debian.sh - prints the path of a directory with a minimal Debian, of this machine's release
# and from its package sources, with systemd and rpm, for make test-packages. It makes it
# once, and needs root.
set -eu
cd "$(dirname "$0")/.."

. /etc/os-release
cache=${KAFKA_UPSTREAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kafka-upstream}
dir=$cache/debian-$VERSION_CODENAME-systemd
if [ ! -e "$dir/etc/debian_version" ]; then
	[ "$(id -u)" = 0 ] || { echo "debian.sh: only root can make a chroot" >&2; exit 1; }
	scripts/need.sh debootstrap >&2
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $VERSION_CODENAME" | head -n 1)
	[ -n "$mirror" ] || { echo "debian.sh: apt-get knows no package source of $VERSION_CODENAME: run apt-get update" >&2; exit 1; }
	echo "Making $dir" >&2
	rm -rf "$dir.new"
	mkdir -p "$cache"
	PATH=$PATH:/usr/sbin debootstrap --variant=minbase --include=systemd-sysv,dbus,rpm "$VERSION_CODENAME" "$dir.new" "$mirror" >"$cache/debootstrap.log" 2>&1 ||
		{ tail -n 5 "$cache/debootstrap.log" >&2; exit 1; }
	mv "$dir.new" "$dir"
fi
echo "$dir"
