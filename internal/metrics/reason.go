package metrics

// Reason is why a record was refused.
type Reason uint8

// The reasons for which a record can be refused.
const (
	TooLarge   Reason = iota // the record is above the limit
	BufferFull               // the buffer holds as much as it may
	MemoryFull               // the process holds as much as it may
	ShuttingDown
)

// String returns the value of the label reason.
func (r Reason) String() string {
	return [...]string{TooLarge: "too_large", BufferFull: "buffer_full", MemoryFull: "memory_full", ShuttingDown: "shutting_down"}[r]
}
