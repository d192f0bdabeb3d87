package logs

import (
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
	// maxFileSize is the size at which a file is renamed, with .1 appended to its path. If it
	// cannot be renamed, it is truncated.
	maxFileSize = 10 << 20
	// fileInterval is the shortest time between two lines of the same kind in a file.
	fileInterval = time.Minute

	fileMode = 0o640
)

// File is a log file of bounded size that several processes may append to: a server that
// drains, and its successor. Each line is one write.
//
// The file is reopened when its path leads to another file, or to none, so log rotation need
// not notify the process. Its methods may be called from many goroutines at once.
type File struct {
	path string
	max  int64

	mu    sync.Mutex
	file  *os.File // nil while there is none
	info  fs.FileInfo
	crash bool // SetCrashOutput was called
}

var _ io.WriteCloser = (*File)(nil)

// OpenFile opens the log file at path, and creates it with mode 0640 if there is none. The
// file must be a regular file and not a symbolic link: write access to the directory must
// not let others choose what this process writes to.
func OpenFile(path string) (*File, error) {
	f := &File{path: path, max: maxFileSize}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, fileMode)
	if errors.Is(err, syscall.ELOOP) {
		return fmt.Errorf("%s is a symbolic link: name the file itself", f.path)
	}
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.path)
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

// follow makes f.file the file at the path, with room for n more bytes.
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

// SetCrashOutput has Go's runtime also write crash reports to the file. A process has at
// most one such file.
func (f *File) SetCrashOutput() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crash = true
	return debug.SetCrashOutput(f.file, debug.CrashOptions{})
}

// Reopen closes the file and opens the one at the path.
func (f *File) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reopen()
}

// Close closes the file. A later Write opens it again.
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

// WithFile returns two loggers that log to log and, in that format, to file: all writes lines
// of level warn and above to the file, those of the same kind at most once a minute; events
// writes all lines of level info and above. Each line in the file has the process ID. Logging
// does not wait for the disk until flush is called; after that, lines are written
// synchronously. Errors of the file are logged to log.
func WithFile(log *slog.Logger, file *File, format Format) (all, events *slog.Logger, flush func()) {
	lines := NewWriter(reporting{file, log}, format)
	to := func(level slog.Level) slog.Handler {
		return handler(lines, level, format).WithAttrs([]slog.Attr{slog.Int("pid", os.Getpid())})
	}
	all = slog.New(slog.NewMultiHandler(log.Handler(), limit(to(slog.LevelWarn), fileInterval)))
	events = slog.New(slog.NewMultiHandler(log.Handler(), to(slog.LevelInfo)))
	return all, events, func() { _ = lines.Close() }
}

// reporting logs the errors of a file.
type reporting struct {
	*File
	log *slog.Logger
}

func (r reporting) Write(line []byte) (int, error) {
	n, err := r.File.Write(line)
	if err != nil {
		r.log.Warn("a line of the log file was lost", "error", err)
	}
	return n, err
}
