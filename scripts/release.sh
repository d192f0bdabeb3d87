#!/bin/sh
# release.sh VERSION - writes VERSION into the program, the Dockerfile and the changes, commits
# and tags that. It refuses to begin unless all that it needs is in order, and leaves the
# tree as it was if anything fails. docs/releasing.md says what comes before and after.
set -eu
cd "$(dirname "$0")/.."

die() {
	echo "release.sh: $1" >&2
	exit 1
}
new=${1:-}
echo "$new" | grep -Eqx '(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}' || die "the version has to be x.y.z, as in make release VERSION=1.2.3; it is \"$new\""
old=$(sed -n 's/^const Number = "\(.*\)"$/\1/p' internal/version/version.go)
[ "$new" != "$old" ] && [ "$(printf '%s\n%s\n' "$old" "$new" | sort -V | tail -n 1)" = "$new" ] || die "$new is not newer than $old"
[ -z "$(git status --porcelain)" ] || die "the tree is dirty: commit or remove what git status lists"
! git rev-parse -q --verify "refs/tags/v$new" >/dev/null || die "the tag v$new exists"
awk '/^## \[Unreleased\]$/ { in_it = 1; next } /^## / { in_it = 0 } in_it && /^- / { found = 1 } END { exit !found }' CHANGELOG.md ||
	die "CHANGELOG.md has nothing under [Unreleased]"

head=$(git rev-parse HEAD)
trap '[ "$(git rev-parse HEAD)" != "$head" ] || git reset -q --hard' EXIT
trap 'exit 1' HUP INT TERM
sed -i "s/^const Number = \"$old\"\$/const Number = \"$new\"/" internal/version/version.go
# The images that files name by this project's version have the new one.
git grep -lF -e "image.version=\"$old\"" -e "kafka-upstream:$old" -- . ':!CHANGELOG.md' | while read -r file; do
	sed -i -e "s/image\.version=\"$old\"/image.version=\"$new\"/" -e "s/kafka-upstream:$old/kafka-upstream:$new/" "$file"
done
sed -i "s/^## \[Unreleased\]\$/&\n\n## [$new] - $(date -u +%Y-%m-%d)/" CHANGELOG.md
"${GO:-go}" test -count=1 ./internal/docs ./internal/version
git commit -q -a -m "Release $new"
git tag -a "v$new" -m "kafka-upstream $new"
echo "Committed and tagged v$new."
