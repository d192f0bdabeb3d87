#!/bin/sh
# kafka.sh - puts the releases of Apache Kafka that versions.txt names into the
# cache, where the tests look for them (internal/test/kafkatest), once for each.
set -eu
cd "$(dirname "$0")/.."

cache=${KAFKA_UPSTREAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kafka-upstream}
pom=internal/test/kafkatest/pom.xml
new=
trap '[ -z "$new" ] || rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM

# fetch PROFILE VERSION - copies the jars of that profile of the pom; it tries
# twice, for networks fail.
fetch() {
	for try in 1 2; do
		if mvn --batch-mode --no-transfer-progress -f "$pom" "-P$1" "-Dkafka.version=$2" \
			dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$new/$1" \
			</dev/null >"$new/log" 2>&1; then
			return 0
		fi
	done
	cat "$new/log" >&2
	return 1
}

scripts/need.sh java curl
while read -r broker tools; do
	case $broker in '' | '#'*) continue ;; esac
	dir=$cache/kafka-$broker
	stamp="$broker $tools $(cksum <"$pom")"
	if [ "$(cat "$dir/fetched" 2>/dev/null)" = "$stamp" ]; then
		continue
	fi
	scripts/need.sh mvn </dev/null
	echo "Fetching Apache Kafka $broker into $dir"
	new=$dir.new.$$
	mkdir -p "$new"
	fetch broker "$broker"
	fetch tools "$tools"
	echo "$stamp" >"$new/fetched"
	rm -rf "$dir"
	mv "$new" "$dir"
	new=
done <internal/test/kafkatest/versions.txt
"${GO:-go}" run ./internal/test/kafkatest/prepare
