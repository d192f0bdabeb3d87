package logs

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func openFile(t *testing.T, path string) *File {
	t.Helper()
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, f *File, line string) {
	t.Helper()
	if _, err := f.Write([]byte(line)); err != nil {
		t.Error(err)
	}
}

func TestLogFileIsAppendedToAndForItsGroupToRead(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "log")
	one, two := openFile(t, path), openFile(t, path) // a server and its successor
	write(t, one, "one\n")
	write(t, two, "two\n")
	write(t, one, "three\n")
	if got := contents(t, path); got != "one\ntwo\nthree\n" {
		t.Errorf("got %q", got)
	}
	if info, _ := os.Stat(path); info.Mode() != 0o640 {
		t.Errorf("the mode is %v", info.Mode())
	}
}

func TestLogFileIsARegularFileAndNoLink(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0) // so that it can be opened
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for path, want := range map[string]string{link: "is a symbolic link", pipe: "not a regular file", dir: "is a directory", filepath.Join(dir, "none", "log"): "no such file"} {
		f, err := OpenFile(path)
		if err == nil {
			_ = f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	f := openFile(t, filepath.Join(dir, "log"))
	if err := os.Rename(link, filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("x\n")); err == nil || contents(t, victim) != "" {
		t.Errorf("it follows a link that was put in its place: %v", err)
	}
}

func TestLogFileThatWasRotatedIsOpenedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := openFile(t, path)
	write(t, f, "one\n")
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	write(t, f, "two\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, f, "three\n")
	if old, now := contents(t, path+".old"), contents(t, path); old != "one\n" || now != "three\n" {
		t.Errorf("got %q and %q", old, now)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err != nil || contents(t, path) != "" {
		t.Errorf("Reopen does not open it anew: %v", err)
	}
}

func TestLogFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	one, two := openFile(t, path), openFile(t, path)
	one.max, two.max = 100, 100
	all := ""
	for i := range 100 {
		a, b := fmt.Sprintf("one %02d\n", i), fmt.Sprintf("two %02d\n", i)
		write(t, one, a)
		write(t, two, b)
		all += a + b
	}
	now, before := contents(t, path), contents(t, path+".1")
	if len(now) == 0 || len(now) > 100 || len(before) < 90 || len(before) > 100 || !strings.HasSuffix(all, before+now) {
		t.Errorf("got %q and %q", before, now)
	}
	// Where it cannot be renamed it begins anew.
	if err := os.Remove(path + ".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".1", 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		write(t, one, fmt.Sprintf("more %02d\n", i))
	}
	if now := contents(t, path); len(now) > 100 || !strings.HasSuffix(now, "more 99\n") {
		t.Errorf("got %q", now)
	}
}

func TestFileHasWarningsOnceAMinuteAndAllEvents(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		path := filepath.Join(dir, "log")
		var b bytes.Buffer
		stderr := New(&b, slog.LevelInfo, Text)
		file, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		log, events, flush := WithFile(stderr, file, JSON)
		for range 30 {
			log.Error("lost", "topic", "t")
			log.Info("nothing much")
			time.Sleep(2 * time.Second)
		}
		log.With("topic", "other").Error("lost")
		log.Error("lost", "topic", "t")
		events.Info("ended")
		events.Info("ended")
		flush()
		events.Error("after all")
		got := contents(t, path)
		for want, n := range map[string]int{`"msg":"lost"`: 3, `"msg":"lost","pid"`: 3, `"suppressed":29`: 1, `"topic":"other"`: 1, "nothing much": 0, `"msg":"ended"`: 2, "after all": 1} {
			if c := strings.Count(got, want); c != n {
				t.Errorf("%d × %s, want %d:\n%s", c, want, n, got)
			}
		}
		if c := strings.Count(b.String(), "msg=lost"); c != 32 {
			t.Errorf("stderr has %d lines, want 32", c)
		}
	})
}

func TestFileThatCannotBeWrittenIsToldAndNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := openFile(t, filepath.Join(dir, "log"))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	stderr := New(&b, slog.LevelInfo, Text)
	log, _, flush := WithFile(stderr, file, Text)
	log.Error("lost")
	flush()
	if s := b.String(); !strings.Contains(s, "msg=lost") || !strings.Contains(s, "a line of the log file was lost") || !strings.Contains(s, "no such file") {
		t.Errorf("stderr has %s", s)
	}
}
