package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

const (
	// MaxFileSize is the largest size of a [File]. At that size it is renamed, with .1
	// appended to its path, so both take at most twice as much. If it cannot be renamed,
	// it is truncated.
	MaxFileSize = 10 << 20
	// FileEvery is the shortest time between two lines of the same kind in a file.
	FileEvery = time.Minute

	fileMode = 0o640
)

// File is a log file that several processes may append to: a server that ends, and its
// successor. Each line is one write.
//
// The file is reopened when its path leads to another file, or to none, so log rotation
// need not notify the process. Its methods may be called from many
// goroutines.
type File struct {
	path string
	max  int64

	mu    sync.Mutex
	file  *os.File // nil while there is none
	info  fs.FileInfo
	crash bool // SetCrashOutput was called
}

var _ io.WriteCloser = (*File)(nil)

// OpenFile opens the log file at path, and makes it, with mode 0640, where there is
// none. It is an error if path is a symbolic link, or anything but a regular file: write
// access to the directory must not let others choose what this process writes to.
func OpenFile(path string) (*File, error) {
	f := &File{path: path, max: MaxFileSize}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, fileMode)
	if errors.Is(err, syscall.ELOOP) {
		return fmt.Errorf("%s is a link: name the file itself", f.path)
	}
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", f.path)
	}
	if err != nil {
		_ = file.Close()
		return err
	}
	f.file, f.info = file, info
	if f.crash {
		_ = debug.SetCrashOutput(file, debug.CrashOptions{})
	}
	return nil
}

// Write appends one line.
func (f *File) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.follow(int64(len(line))); err != nil {
		return 0, err
	}
	return f.file.Write(line)
}

// follow makes sure that f.file is the file at the path, and can take n more bytes.
func (f *File) follow(n int64) error {
	now, err := os.Lstat(f.path)
	if err == nil && f.file != nil && os.SameFile(now, f.info) {
		if now.Size()+n <= f.max {
			return nil
		}
		if err := os.Rename(f.path, f.path+".1"); err != nil { // the directory is not ours
			return f.file.Truncate(0)
		}
	}
	return f.reopen()
}

func (f *File) reopen() error {
	if f.file != nil {
		_ = f.file.Close()
		f.file = nil
	}
	return f.open()
}

// SetCrashOutput makes Go's runtime also write its crash reports to the file. A process
// has at most one such file.
func (f *File) SetCrashOutput() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crash = true
	return debug.SetCrashOutput(f.file, debug.CrashOptions{})
}

// Reopen opens the file at the path anew.
func (f *File) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reopen()
}

// Close closes the file. A line that is written later opens it again.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// WithFile returns two loggers that log to log and, in that format, to file: all writes
// lines of level warn and above to the file, those of the same kind at most once in
// [FileEvery]; events writes all lines of level info and above. Each line in the file has
// the process id. Logging does not wait for the disk until flush is called; after that,
// lines are written synchronously. Errors of the file are logged to log.
func WithFile(log *slog.Logger, file *File, format string) (all, events *slog.Logger, flush func(), err error) {
	lines := NewWriter(noted{file, log}, format)
	h, err := handler(lines, slog.LevelInfo, format)
	if err != nil {
		_ = lines.Close()
		return nil, nil, nil, err
	}
	h = h.WithAttrs([]slog.Attr{slog.Int("pid", os.Getpid())})
	all = slog.New(slog.NewMultiHandler(log.Handler(), limit(atLeast{h, slog.LevelWarn}, FileEvery)))
	events = slog.New(slog.NewMultiHandler(log.Handler(), h))
	return all, events, func() { _ = lines.Close() }, nil
}

// noted logs an error for lines that could not be written.
type noted struct {
	*File
	log *slog.Logger
}

func (n noted) Write(line []byte) (int, error) {
	written, err := n.File.Write(line)
	if err != nil {
		n.log.Warn("a line of the log file is lost", "error", err)
	}
	return written, err
}

// atLeast is a handler of lines of that level and above.
type atLeast struct {
	slog.Handler
	level slog.Level
}

// Enabled implements slog.Handler.
func (a atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= a.level && a.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (a atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{a.Handler.WithAttrs(attrs), a.level}
}

// WithGroup implements slog.Handler.
func (a atLeast) WithGroup(name string) slog.Handler {
	return atLeast{a.Handler.WithGroup(name), a.level}
}
