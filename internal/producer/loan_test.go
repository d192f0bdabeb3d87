package producer

import (
	"sync"
	"testing"
)

// Attempts to several partitions end at once when a broker dies. Each has to find over
// what its batch may have been lent.
func TestLoanIsOverOnceAnAttemptHasEnded(t *testing.T) {
	var tr transport
	tr.loans.Store(newLoan())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100000 {
				accepted := tr.loans.Load()
				tr.endLoan()
				if !accepted.loan.over.Load() {
					t.Error("a loan goes on after an attempt with what it lent has ended")
					return
				}
				if tr.loans.Load() == accepted {
					t.Error("what is accepted now gets a loan that is over")
					return
				}
			}
		})
	}
	wg.Wait()
}
