package memory

// ballast is memory that nothing touches, so the system has none of it in use. To Go it is
// a part of the heap.
//
//lint:ignore U1000 it is there to be kept, not to be read
var ballast []byte

// SetBallast lets the garbage collector run when the heap has grown by at least that many
// bytes. It runs when the heap has doubled, and the server's own heap is a few MiB: without
// ballast it would run several times a second, to free a few MiB.
func SetBallast(bytes int) { ballast = make([]byte, bytes) }
