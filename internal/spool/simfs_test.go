package spool

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
)

// simFS is a file system in memory that knows what a power failure would leave of it: what was
// synced, files and directory entries, and any of what was not. It counts operations that
// change something, and can fail them or end the machine at one.
type simFS struct {
	mu    sync.Mutex
	dirs  map[string]*simDir
	ops   int
	trace []string // of the last operations

	// fault is asked before each operation. It returns how many bytes of a write are done,
	// -1 for all, and the error.
	fault  func(op simOp) (int, error)
	dead   bool
	random *rand.Rand // for what a failed sync leaves; nil: nothing
}

// simOp is an operation: mkdir, lock, names, syncdir, create, open, remove, read, write,
// allocate, truncate, sync.
type simOp struct {
	number int // of those that change something, from 1; 0: it does not
	what   string
	name   string
	size   int
}

type simDir struct {
	entries map[string]*simNode // as they are seen
	durable map[string]*simNode // as a power failure leaves them at least
	pending []simEntryOp        // not synced
	locked  bool
	gone    bool
}

type simEntryOp struct {
	name string
	node *simNode // nil: removed
}

// simNode is a file; as a directory entry it may also stand for a directory.
type simNode struct {
	dir     *simDir
	data    []byte
	durable []byte
	pending []simWrite // not synced
}

type simWrite struct {
	off  int64
	data []byte
	size int64 // -1: a write; else a change of the size
}

func (w *simWrite) apply(b []byte) []byte {
	if w.size >= 0 {
		if int64(len(b)) >= w.size {
			return b[:w.size:w.size]
		}
		return append(b, make([]byte, w.size-int64(len(b)))...)
	}
	if end := w.off + int64(len(w.data)); int64(len(b)) < end {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[w.off:], w.data)
	return b
}

var (
	errDead = errors.New("the machine is off")
	errIO   = errors.New("simulated input/output error")
)

func newSimFS() *simFS {
	return &simFS{dirs: map[string]*simDir{"/": newSimDir()}}
}

func newSimDir() *simDir {
	return &simDir{entries: map[string]*simNode{}, durable: map[string]*simNode{}}
}

// do counts an operation and asks for a fault. It is called with mu held.
func (s *simFS) do(what, name string, size int, changes bool) (int, error) {
	if s.dead {
		return 0, errDead
	}
	op := simOp{what: what, name: name, size: size}
	if changes {
		s.ops++
		op.number = s.ops
		s.trace = append(s.trace, fmt.Sprintf("%d %s %s %d", s.ops, what, path.Base(name), size))
	}
	if s.fault == nil {
		return -1, nil
	}
	n, err := s.fault(op)
	if err == errDead {
		s.dead = true
	}
	return n, err
}

func (s *simFS) dirOf(name string) (*simDir, string, error) {
	d := s.dirs[path.Dir(name)]
	if d == nil {
		return nil, "", os.ErrNotExist
	}
	return d, path.Base(name), nil
}

func (d *simDir) set(name string, n *simNode) {
	if n == nil {
		delete(d.entries, name)
	} else {
		d.entries[name] = n
	}
	d.pending = append(d.pending, simEntryOp{name, n})
}

func (s *simFS) MakeRoot(name string) error {
	if err := s.Mkdir(name); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return s.SyncDir(path.Dir(name))
}

func (s *simFS) Mkdir(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.do("mkdir", name, 0, true); err != nil {
		return err
	}
	d, base, err := s.dirOf(name)
	if err != nil {
		return err
	}
	if d.entries[base] != nil {
		return os.ErrExist
	}
	n := &simNode{dir: newSimDir()}
	d.set(base, n)
	s.dirs[name] = n.dir
	return nil
}

type simLock struct {
	s *simFS
	d *simDir
}

func (l simLock) Close() error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.d.locked = false
	return nil
}

func (s *simFS) Lock(name string) (io.Closer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.do("lock", name, 0, false); err != nil {
		return nil, err
	}
	d := s.dirs[name]
	switch {
	case d == nil:
		return nil, os.ErrNotExist
	case d.locked:
		return nil, errLocked
	}
	d.locked = true
	return simLock{s, d}, nil
}

func (s *simFS) Names(name string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.do("names", name, 0, false); err != nil {
		return nil, err
	}
	d := s.dirs[name]
	if d == nil {
		return nil, os.ErrNotExist
	}
	var out []string
	for n := range d.entries {
		out = append(out, n)
	}
	return out, nil
}

func (s *simFS) SyncDir(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.do("syncdir", name, 0, true); err != nil {
		return err
	}
	d := s.dirs[name]
	if d == nil {
		return os.ErrNotExist
	}
	for _, p := range d.pending {
		if p.node == nil {
			delete(d.durable, p.name)
		} else {
			d.durable[p.name] = p.node
		}
	}
	d.pending = nil
	return nil
}

func (s *simFS) Create(name string) (File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.do("create", name, 0, true); err != nil {
		return nil, err
	}
	d, base, err := s.dirOf(name)
	if err != nil {
		return nil, err
	}
	if d.entries[base] != nil {
		return nil, os.ErrExist
	}
	n := &simNode{}
	d.set(base, n)
	return &simFile{s, n, name}, nil
}

func (s *simFS) Open(name string) (File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.do("open", name, 0, false); err != nil {
		return nil, err
	}
	d, base, err := s.dirOf(name)
	if err != nil {
		return nil, err
	}
	n := d.entries[base]
	if n == nil {
		return nil, os.ErrNotExist
	}
	return &simFile{s, n, name}, nil
}

func (s *simFS) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.do("remove", name, 0, true); err != nil {
		return err
	}
	d, base, err := s.dirOf(name)
	if err != nil {
		return err
	}
	n := d.entries[base]
	if n == nil {
		return os.ErrNotExist
	}
	if n.dir != nil {
		if len(n.dir.entries) > 0 {
			return errors.New("directory not empty")
		}
		n.dir.gone = true
		delete(s.dirs, name)
	}
	d.set(base, nil)
	return nil
}

type simFile struct {
	s    *simFS
	node *simNode
	name string
}

func (f *simFile) Close() error { return nil }

func (f *simFile) Size() (int64, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return int64(len(f.node.data)), nil
}

func (f *simFile) ReadAt(b []byte, off int64) (int, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if _, err := f.s.do("read", f.name, len(b), false); err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *simFile) change(w simWrite) {
	f.node.data = w.apply(f.node.data)
	f.node.pending = append(f.node.pending, w)
}

func (f *simFile) WriteAt(b []byte, off int64) (int, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	n, err := f.s.do("write", f.name, len(b), true)
	if err == nil && n < 0 || n > len(b) {
		n = len(b)
	}
	if n > 0 {
		f.change(simWrite{off, slices.Clone(b[:n]), -1})
	}
	return max(n, 0), err
}

func (f *simFile) Allocate(size int64) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if _, err := f.s.do("allocate", f.name, int(size), true); err != nil {
		return err
	}
	f.change(simWrite{size: max(size, int64(len(f.node.data)))})
	return nil
}

func (f *simFile) Truncate(size int64) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if _, err := f.s.do("truncate", f.name, int(size), true); err != nil {
		return err
	}
	f.change(simWrite{size: size})
	return nil
}

// Sync behaves as Linux does: after an error the pages count as clean, and the next Sync
// succeeds without having written them.
func (f *simFile) Sync() error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if _, err := f.s.do("sync", f.name, 0, true); err != nil {
		if err != errDead {
			for _, w := range f.node.pending {
				if f.s.random != nil {
					f.node.durable = w.some(f.node.durable, f.s.random)
				}
			}
			f.node.pending = nil
		}
		return err
	}
	for _, w := range f.node.pending {
		f.node.durable = w.apply(f.node.durable)
	}
	f.node.pending = nil
	return nil
}

// How a machine ends.
type end int

const (
	killed     end = iota // the process: all that was written is there
	powerLoss             // the machine: only what was synced is there
	powerLossR            // the same, and any of what was not, in any order, torn within writes
	anyEnd                // one of these
)

func (e end) String() string { return [...]string{"kill", "power loss", "random power loss", "any"}[e] }

// after returns what is found after the end.
func (s *simFS) after(e end, random *rand.Rand) *simFS {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e == anyEnd {
		e = end(random.IntN(int(anyEnd)))
	}
	out := newSimFS()
	out.dirs = map[string]*simDir{}
	copied := map[*simNode]*simNode{}
	var copyDir func(name string, d *simDir) *simDir
	copyNode := func(name string, n *simNode) *simNode {
		if c := copied[n]; c != nil {
			return c
		}
		c := &simNode{}
		copied[n] = c
		if n.dir != nil {
			c.dir = copyDir(name, n.dir)
			return c
		}
		switch e {
		case killed:
			c.data = slices.Clone(n.data)
			c.durable = slices.Clone(n.durable)
			c.pending = slices.Clone(n.pending)
			return c
		case powerLossR:
			c.data = slices.Clone(n.durable)
			for _, w := range n.pending {
				c.data = w.some(c.data, random)
			}
		default:
			c.data = slices.Clone(n.durable)
		}
		c.durable = slices.Clone(c.data)
		return c
	}
	copyDir = func(name string, d *simDir) *simDir {
		c := newSimDir()
		out.dirs[name] = c
		entries := map[string]*simNode{}
		switch e {
		case killed:
			entries = d.entries
		default:
			for k, v := range d.durable {
				entries[k] = v
			}
			for _, p := range d.pending {
				if e == powerLossR && random.IntN(2) == 0 {
					if p.node == nil {
						delete(entries, p.name)
					} else {
						entries[p.name] = p.node
					}
				}
			}
		}
		for k, v := range entries {
			c.entries[k] = copyNode(path.Join(name, k), v)
		}
		if e == killed {
			for k, v := range d.durable {
				c.durable[k] = copyNode(path.Join(name, k)+"?", v)
			}
			for _, p := range d.pending {
				if p.node != nil {
					p.node = copyNode(path.Join(name, p.name)+"?", p.node)
				}
				c.pending = append(c.pending, p)
			}
		} else {
			for k, v := range c.entries {
				c.durable[k] = v
			}
		}
		return c
	}
	copyDir("/", s.dirs["/"])
	for name := range out.dirs {
		if strings.Contains(name, "?") {
			delete(out.dirs, name)
		}
	}
	return out
}

// some applies a part of a write: any of its sectors, and one of them torn.
func (w *simWrite) some(b []byte, random *rand.Rand) []byte {
	if w.size >= 0 {
		if random.IntN(2) == 0 {
			return b
		}
		return w.apply(b)
	}
	const sector = 64 // small, so that there are many in a test's write
	all := random.IntN(4) == 0
	for at := 0; at < len(w.data); at += sector {
		end := min(at+sector, len(w.data))
		if all || random.IntN(2) == 0 {
			if !all && random.IntN(8) == 0 {
				end = at + random.IntN(end-at) + 1
			}
			part := simWrite{w.off + int64(at), w.data[at:end], -1}
			b = part.apply(b)
		}
	}
	return b
}
