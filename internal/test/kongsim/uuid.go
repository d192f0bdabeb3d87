package kongsim

import (
	"crypto/rand"
	"crypto/sha1"
	"fmt"
)

// newUUID returns an id that is new.
func newUUID() string { return stableUUID(rand.Text()) }

// stableUUID returns the same id for the same name, as Kong does for entities
// of a declarative configuration that have none.
func stableUUID(name string) string {
	b := sha1.Sum([]byte("kongsim:" + name))
	b[6] = b[6]&0x0f | 5<<4
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
