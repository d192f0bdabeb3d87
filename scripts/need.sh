#!/bin/sh
# need.sh COMMAND... - sees that the commands java, mvn, gcc, curl, luacheck, nginx, rpm,
# debootstrap or systemd-nspawn are there, and installs the Debian packages of those that are
# not, where that is permitted.
set -eu

# java has to be 17 or newer: Kafka 4 runs on no older one. nginx has to have its Lua module.
have() {
	if [ "$1" = nginx ]; then
		PATH=$PATH:/usr/sbin command -v nginx >/dev/null && [ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ]
		return
	fi
	if [ "$1" != java ]; then
		PATH=$PATH:/usr/sbin command -v "$1" >/dev/null
		return
	fi
	java=${JAVA_HOME:+$JAVA_HOME/bin/}java
	command -v "$java" >/dev/null || return 1
	major=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
	[ "${major:-0}" -ge 17 ]
}

missing= packages=
for command; do
	case $command in
	java) package=default-jre-headless ;;
	mvn) package=maven ;;
	gcc) package='gcc libc6-dev' ;;
	curl) package=curl ;;
	luacheck) package=lua-check ;;
	nginx) package='nginx libnginx-mod-http-lua lua-resty-core lua-cjson' ;;
	rpm | debootstrap) package=$command ;;
	systemd-nspawn) package=systemd-container ;;
	*) echo "need.sh knows no package for $command" >&2; exit 2 ;;
	esac
	if ! have "$command"; then
		missing="$missing $command"
		packages="$packages $package"
	fi
done
[ -n "$missing" ] || exit 0

refuse() {
	echo "$1: install the Debian packages$packages (java has to be 17 or newer), then try again." >&2
	exit 1
}
command -v apt-get >/dev/null || refuse "Missing:$missing, and there is no apt-get to install them with"
as_root=
if [ "$(id -u)" != 0 ]; then
	if ! sudo -n true 2>/dev/null; then
		refuse "Missing:$missing, and this user may not install them"
	fi
	as_root='sudo -n'
fi
echo "Missing:$missing; installing$packages"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get -qq update
# shellcheck disable=SC2086 # words, not one argument
$as_root apt-get -qq -y --no-install-recommends install $packages >/dev/null
for command in $missing; do
	have "$command" || refuse "$command is still missing or too old"
done
