// Package version says which release this program is, and which commit it was
// built from.
package version

import (
	"runtime/debug"
	"strings"
)

// Number is the release, as x.y.z: Kong does not start with a plugin whose
// version is anything else (kong/db/dao/plugins.lua, valid_version). So it is
// part of the source, and no way to build the program can change it. The newest
// release in CHANGELOG.md has the same number.
const Number = "0.1.0"

// unknown is the commit of a program that was built from an archive, or without
// git.
const unknown = "unknown"

// commit is set by the linker (-X), or empty.
var commit string

// Commit returns the commit that the program was built from, with "-dirty" appended
// if files were changed since, or "unknown": the one given to the linker, or else the
// one that Go has recorded. It is for people, not for what has to be a version.
func Commit() string {
	if c := strings.TrimSpace(commit); c != "" && c != unknown {
		return c
	}
	revision, dirty := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = "-dirty"
			}
		}
	}
	if revision == "" {
		return unknown
	}
	return revision + dirty
}
