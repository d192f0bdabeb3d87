package kongpdk

import (
	"container/list"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// instance is a [plugin.Handler] with the calls to Kong that it needs. Kong starts one for
// each of its workers, and starts all of them again after any change.
type instance struct {
	calls     *calls                 // sent in one write, before access
	nextCalls func(*Exchange) *calls // further calls, by the replies to the first; it may be nil, and return nil
	access    func(*Exchange)        // handles one request; a panic is answered with 500
	close     func()
	started   time.Time
	size      int64         // about how many bytes the instance takes
	element   *list.Element // in the order of starts
}

const (
	// instanceSize is about what an instance takes in addition to the texts of its
	// configuration.
	instanceSize = 3 << 10
	// instancesShare is the share of the memory limit that instances may take, and
	// maxInstances what they may take without a limit.
	instancesShare = 8
	maxInstances   = 256 << 20
)

// instances are the instances that were started and not closed, by id. Every request
// looks one up, from many goroutines at once.
//
// Kong never closes the instances of plugins that were deleted, and a peer may start any
// number. Beyond limit bytes the oldest are closed: Kong starts such an instance again when it
// has an event for it.
type instances struct {
	byID sync.Map // int32 → *instance
	last atomic.Uint32

	mu    sync.Mutex
	limit int64     // bytes
	size  int64     // of all, in bytes
	order list.List // of their ids, the oldest first
}

// newInstances begins at a random id. Kong's workers remember ids across a restart of this
// process: if ids began at 1, a worker could send a request of one configuration to the
// instance of another.
func newInstances() *instances {
	i := &instances{limit: maxInstances}
	i.last.Store(rand.Uint32())
	return i
}

func (i *instances) get(id int32) *instance {
	if in, ok := i.byID.Load(id); ok {
		return in.(*instance)
	}
	return nil
}

// add returns the new instance's id, and the instances that were removed to make room for it,
// which the caller must close. config is the length of its configuration in bytes.
func (i *instances) add(in *instance, config int) (id int32, removed []*instance) {
	in.size = instanceSize + int64(config)
	i.mu.Lock()
	defer i.mu.Unlock()
	for in.element == nil {
		id = int32(i.last.Add(1) & (1<<31 - 1))
		if id == 0 { // in protobuf, the same as no id
			continue
		}
		if _, taken := i.byID.LoadOrStore(id, in); !taken {
			in.element = i.order.PushBack(id)
			i.size += in.size
		}
	}
	for i.size > i.limit && i.order.Len() > 1 {
		removed = append(removed, i.removeLocked(i.order.Front().Value.(int32)))
	}
	return id, removed
}

// remove returns the instance, nil if there is none.
func (i *instances) remove(id int32) *instance {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.removeLocked(id)
}

func (i *instances) removeLocked(id int32) *instance {
	v, ok := i.byID.LoadAndDelete(id)
	if !ok {
		return nil
	}
	in := v.(*instance)
	i.order.Remove(in.element)
	i.size -= in.size
	return in
}

// removeAll removes and closes every instance.
func (i *instances) removeAll() {
	i.byID.Range(func(id, _ any) bool {
		if in := i.remove(id.(int32)); in != nil {
			in.close()
		}
		return true
	})
}
