#!/bin/sh
# packages.sh DIR - builds, into DIR, the .deb, the .rpm, the .tar.gz and the SPDX SBOM of
# the program for amd64 and arm64, and SHA256SUMS. Equal sources of one commit make equal
# files, byte for byte, with one version of Go: all times are SOURCE_DATE_EPOCH, by
# default that of the commit, and no name, path or clock of the machine is in them.
set -eu
cd "$(dirname "$0")/.."

out=$1
go=${GO:-go}
umask 022
export LC_ALL=C TZ=UTC0 GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= GOFLAGS=
version=$(sed -n 's/^const Number = "\(.*\)"$/\1/p' internal/version/version.go)
[ -n "$version" ] || { echo "packages.sh: internal/version/version.go has no version" >&2; exit 1; }
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
	SOURCE_DATE_EPOCH=$( (git log -1 --format=%ct || stat -c %Y CHANGELOG.md) 2>/dev/null)
fi
export SOURCE_DATE_EPOCH
maintainer=${MAINTAINER:-the authors of kafka-upstream <authors@kafka-upstream.invalid>}

mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
rm -f "$out"/kafka-upstream* "$out"/SHA256SUMS

for arch in amd64 arm64; do
	stage=$work/$arch
	doc=$stage/usr/share/doc/kafka-upstream
	GOOS=linux GOARCH=$arch make -s --no-print-directory install BIN="$work/bin" DESTDIR="$stage" PREFIX=/usr

	# The archive has everything in one directory.
	name=kafka-upstream-$version-linux-$arch
	tree=$work/$name
	mkdir -p "$tree/systemd" "$tree/man" "$tree/examples"
	cp "$stage/usr/bin/kafka-upstream" "$tree/"
	"$go" run ./cmd/kafka-upstream -companion "$tree/lua" >/dev/null
	cp packaging/kafka-upstream.service packaging/kafka-upstream.default "$tree/systemd/"
	cp packaging/kafka-upstream.8 "$tree/man/"
	cp LICENSE THIRD_PARTY_NOTICES CHANGELOG.md "$tree/"
	cp docs/grafana-dashboard.json docs/alerts.yml testdata/kong.yml "$tree/examples/"
	"$go" run ./scripts/sbom kafka-upstream "$version" "$tree/kafka-upstream" >"$tree/kafka-upstream.spdx.json"
	cp "$tree/kafka-upstream.spdx.json" "$out/$name.spdx.json"
	find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	tar --sort=name --format=ustar --owner=root:0 --group=root:0 --mtime="@$SOURCE_DATE_EPOCH" -C "$work" -cf - "$name" |
		gzip -9n >"$out/$name.tar.gz"

	# The packages.
	mkdir -p "$stage/usr/local/share/lua/5.1" "$stage/usr/lib/systemd/system" "$stage/usr/share/man/man8" "$doc/examples"
	cp -R "$tree/lua/." "$stage/usr/local/share/lua/5.1/"
	cp packaging/kafka-upstream.service "$stage/usr/lib/systemd/system/"
	gzip -9nc packaging/kafka-upstream.8 >"$stage/usr/share/man/man8/kafka-upstream.8.gz"
	gzip -9nc CHANGELOG.md >"$doc/CHANGELOG.md.gz"
	cp packaging/copyright "$tree/kafka-upstream.spdx.json" "$doc/"
	cp "$tree/examples"/* "$doc/examples/"
	find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	for format in deb rpm; do
		MAINTAINER=$maintainer ARCH=$arch VERSION=$version STAGE=$stage "$go" tool -modfile=scripts/tools/go.mod nfpm \
			package --config packaging/nfpm.yaml --packager "$format" --target "$out/" >"$work/nfpm.log" || { cat "$work/nfpm.log" >&2; exit 1; }
	done
done
(cd "$out" && sha256sum kafka-upstream* >"$work/SHA256SUMS" && cp "$work/SHA256SUMS" .)
