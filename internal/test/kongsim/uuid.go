package kongsim

import (
	"crypto/rand"
	"crypto/sha1"
	"fmt"
)

func newUUID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return formatUUID(b, 4)
}

func formatUUID(b []byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// stableUUID returns the same id for the same name, as Kong does for entities
// of a declarative configuration that have none.
func stableUUID(name string) string {
	h := sha1.Sum([]byte("kongsim:" + name))
	return formatUUID(h[:16], 5)
}
