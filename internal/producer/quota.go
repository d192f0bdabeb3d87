package producer

// quota is a limit of the buffer, in records or in bytes, that the topics of a producer
// share so that no topic can fill the buffer for the others: half of it is reserved for the
// topics in use, in equal parts, and the other half goes to the topics that need more. One
// part more is reserved while there are topics that may be sent to and were not yet. A topic
// that is the only one may use all.
//
// A topic has room for its part even if others, which came before it, have filled the buffer:
// nobody knows of a configuration before its first request. The buffer may then hold more than
// its limit, up to twice as much.
//
// No part is smaller than a record, or topics would be refused for being many. Parts that
// are together more than half are not all there at once, but the rest of the buffer is still
// all that topics may use beyond their parts.
type quota struct {
	limit    int64
	least    int64 // of a part
	reserved int64 // the part of each topic
	shared   int64 // what topics together may use beyond their parts
	used     int64
	beyond   int64 // the sum of what topics use beyond their parts
}

// share divides the reserved half among the topics; used has what each of them uses, and
// more is how many parts there are besides.
func (q *quota) share(used []int64, more int) {
	parts := int64(len(used) + more)
	q.reserved = max(q.limit/2/max(parts, 1), q.least)
	q.shared = q.limit - min(parts*q.reserved, q.limit/2)
	q.beyond = 0
	for _, n := range used {
		q.beyond += max(n-q.reserved, 0)
	}
}

// room returns how much more a topic that uses that much may use.
func (q *quota) room(used int64) int64 {
	part := min(max(q.reserved-used, 0), max(2*q.limit-q.used, 0))
	return part + max(min(q.shared-q.beyond, q.limit-q.used-part), 0)
}

// add adds n, which may be negative, to what a topic uses; used is what it uses before.
func (q *quota) add(used, n int64) {
	q.used += n
	q.beyond += max(used+n-q.reserved, 0) - max(used-q.reserved, 0)
}

// fill returns how full the buffer is for a topic that uses that much: 1 if it has no room.
func (q *quota) fill(used int64) float64 {
	if q.limit == 0 {
		return 0
	}
	room := q.room(used)
	if room <= 0 {
		return 1
	}
	return float64(used) / float64(used+room)
}
