package kongpdk

import (
	"container/list"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// instance is a [plugin.Handler] with what is called of Kong for it. Kong starts one for
// each of its workers, and starts all anew after any change.
type instance struct {
	calls     *calls                 // sent in one write, before access
	nextCalls func(*Exchange) *calls // what their replies show to be needed, nil for none; may be nil
	access    func(*Exchange)        // handles one request; a panic of it is answered with 500
	close     func()
	started   time.Time
	size      int64         // about how many bytes it holds
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
// Kong never closes the instances of plugins that were deleted, and a peer may start
// any number. Beyond limit bytes the oldest are closed: Kong starts one of them again when
// it has an event for it.
type instances struct {
	byID sync.Map // int32 → *instance
	last atomic.Uint32

	mu    sync.Mutex
	limit int64     // bytes
	size  int64     // of all, in bytes
	order list.List // of their ids, the oldest first
}

// newInstances begins at a random id. Kong's workers remember ids across a
// restart of this process: were they counted from 1, a worker could send a
// request of one configuration to the instance of another.
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

// add returns the new instance's id, and instances that were removed for it and that
// the caller has to close. config is the length of its configuration in bytes.
func (i *instances) add(in *instance, config int) (id int32, removed []*instance) {
	in.size = instanceSize + int64(config)
	i.mu.Lock()
	defer i.mu.Unlock()
	for in.element == nil {
		id = int32(i.last.Add(1) & (1<<31 - 1))
		if id == 0 { // protobuf's way to say none
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

// removeAll closes every instance that is left.
func (i *instances) removeAll() {
	i.byID.Range(func(id, _ any) bool {
		if in := i.remove(id.(int32)); in != nil {
			in.close()
		}
		return true
	})
}
