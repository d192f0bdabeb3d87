package producer

// quota is a limit of the buffer, in records or in bytes, that the topics of a producer
// share so that no topic can fill the buffer for the others: half of it is reserved for the
// topics in use, in equal parts, and the other half goes to the topics that need more. A
// single topic may use all of it.
type quota struct {
	limit     int64
	reserved  int64 // for each topic
	used      int64
	committed int64 // the sum of max(used, reserved) over the topics
}

// share divides the reserved half among the topics; used has what each of them uses.
func (q *quota) share(used []int64) {
	q.reserved = q.limit / 2 / int64(max(len(used), 1))
	q.committed = 0
	for _, n := range used {
		q.committed += max(n, q.reserved)
	}
}

// room returns how much more a topic that uses that much may use.
func (q *quota) room(used int64) int64 {
	return min(q.limit-q.used, max(q.reserved-used, 0)+max(q.limit-q.committed, 0))
}

// add adds n, which may be negative, to what a topic uses; used is what it uses before.
func (q *quota) add(used, n int64) {
	q.used += n
	q.committed += max(used+n, q.reserved) - max(used, q.reserved)
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
