package pluginserver

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

type instance struct {
	Instance
	asks    *Asks
	started time.Time
}

// instances are those that were started and not closed, by id. Every request
// looks one up, from many goroutines at once.
type instances struct {
	byID sync.Map // int32 → *instance
	last atomic.Uint32
}

// newInstances begins at a random id. Kong's workers remember ids across a
// restart of this process: were they counted from 1, a worker could send a
// request of one configuration to the instance of another.
func newInstances() *instances {
	i := new(instances)
	i.last.Store(rand.Uint32())
	return i
}

func (i *instances) get(id int32) *instance {
	if in, ok := i.byID.Load(id); ok {
		return in.(*instance)
	}
	return nil
}

func (i *instances) add(in *instance) int32 {
	for {
		id := int32(i.last.Add(1) & (1<<31 - 1))
		if id == 0 { // protobuf's way to say none
			continue
		}
		if _, taken := i.byID.LoadOrStore(id, in); !taken {
			return id
		}
	}
}

// remove returns the instance, nil if there is none.
func (i *instances) remove(id int32) *instance {
	if in, ok := i.byID.LoadAndDelete(id); ok {
		return in.(*instance)
	}
	return nil
}

// removeAll closes every instance that is left.
func (i *instances) removeAll() {
	i.byID.Range(func(id, _ any) bool {
		if in := i.remove(id.(int32)); in != nil {
			in.Close()
		}
		return true
	})
}
