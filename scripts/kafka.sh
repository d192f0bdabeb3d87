#!/bin/sh
# kafka.sh - puts the programs that tests run beside them into the cache, where the
# rigs look for them, once for each: the releases of Apache Kafka that
# internal/test/kafkatest/versions.txt names, and the Apicurio Registry of
# internal/test/apicurio/version.txt.
set -eu
cd "$(dirname "$0")/.."

cache=${KAFKA_UPSTREAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kafka-upstream}
pom=internal/test/kafkatest/pom.xml
new=
trap '[ -z "$new" ] || rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM

# fetch WHAT ARGUMENT... - runs Maven, which fetches WHAT; it tries twice, for networks
# fail.
fetch() {
	what=$1
	shift
	for try in 1 2; do
		if mvn --batch-mode --no-transfer-progress "$@" </dev/null >"$new/log" 2>&1; then
			return 0
		fi
	done
	grep -m 1 ERROR "$new/log" >&2 || cat "$new/log" >&2
	echo "Maven cannot fetch $what: check that this machine reaches Maven Central, then try again." >&2
	return 1
}

# jars PROFILE VERSION - fetches the jars of that profile of the pom.
jars() {
	fetch "Apache Kafka $2" -f "$pom" "-P$1" "-Dkafka.version=$2" \
		dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$new/$1"
}

# begin NAME STAMP - makes a new directory for NAME, unless what STAMP says is there.
begin() {
	dir=$cache/$1
	if [ "$(cat "$dir/fetched" 2>/dev/null)" = "$2" ]; then
		return 1
	fi
	scripts/need.sh mvn </dev/null || exit 1 # for set -e does not hold here
	echo "Fetching $1 into $dir"
	new=$dir.new.$$
	mkdir -p "$new" || exit 1
}

# finish STAMP - puts the new directory into its place.
finish() {
	echo "$1" >"$new/fetched"
	rm -rf "$dir"
	mv "$new" "$dir"
	new=
}

scripts/need.sh java curl
while read -r broker tools; do
	case $broker in '' | '#'*) continue ;; esac
	stamp="$broker $tools $(cksum <"$pom")"
	begin "kafka-$broker" "$stamp" || continue
	jars broker "$broker"
	jars tools "$tools"
	finish "$stamp"
done <internal/test/kafkatest/versions.txt

# Newer releases of the plugin read the descriptor first, and its parent is not in Maven
# Central.
read -r apicurio <internal/test/apicurio/version.txt
if begin "apicurio-$apicurio" "$apicurio"; then
	fetch "Apicurio Registry $apicurio" org.apache.maven.plugins:maven-dependency-plugin:2.8:copy \
		"-Dartifact=io.apicurio:apicurio-registry-app:$apicurio:tar.gz:all" "-DoutputDirectory=$new"
	tar -xzf "$new/apicurio-registry-app-$apicurio-all.tar.gz" -C "$new"
	rm "$new/apicurio-registry-app-$apicurio-all.tar.gz"
	finish "$apicurio"
fi
"${GO:-go}" run -trimpath ./internal/test/kafkatest/prepare
