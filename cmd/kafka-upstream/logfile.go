package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"kafka-upstream/internal/logs"
	"kafka-upstream/internal/upstream"
)

// What is printed to stderr is in Kong's error log, but only at level info, and
// only while Kong is there: a server that drains after Kong is not heard, nor is one
// that cannot start. So both say in a file of their own what an operator must know.

// noLogFile is the value of -log-file that turns it off.
const noLogFile = "off"

// couldNot is the message of the line that says why the process has ended.
const couldNot = "kafka-upstream has ended with an error"

// logFiles are the paths of which the first that can be opened is the log file:
// without the flag beside Kong's own logs, or in the prefix, where the socket is.
// The logs are Kong's master's, which may be root's.
func (o *options) logFiles() []string {
	switch o.logFile {
	case noLogFile:
		return nil
	case "":
		const name = upstream.Name + ".log"
		return []string{filepath.Join(o.prefix, "logs", name), filepath.Join(o.prefix, name)}
	}
	return []string{o.logFile}
}

func (o *options) openLogFile() (file *logs.File, err error) {
	for _, path := range o.logFiles() {
		if file, err = logs.OpenFile(path); err == nil {
			return file, nil
		}
	}
	return nil, err
}

// logging is where a server logs.
type logging struct {
	*slog.Logger              // to stderr, and what is of level warn and above to the file
	events       *slog.Logger // to both in any case
	file         *logs.File   // nil for none
	flush        func()       // before the last lines: from then on each is written at once
}

// openLog adds the log file to the logger of stderr. That there is none is no reason
// not to serve.
func (o *options) openLog(stderr *slog.Logger) logging {
	none := logging{stderr, stderr, nil, func() {}}
	file, err := o.openLogFile()
	if file == nil {
		if err != nil && (o.logFile != "" || !errors.Is(err, fs.ErrNotExist)) { // without a prefix this is none of Kong's
			stderr.Warn("there is no log file, so nobody is told what is undelivered when Kong has ended: see -log-file", "error", err)
		}
		return none
	}
	all, events, flush, err := logs.WithFile(stderr, file, o.format)
	if err != nil {
		_ = file.Close()
		return none // the format is the one of stderr
	}
	if err := file.SetCrashOutput(); err != nil {
		stderr.Warn("the log file will not have the reason of a crash", "error", err)
	}
	return logging{all, events, file, flush}
}

// reopen does what USR1 asks for, and says so.
func (l logging) reopen() string {
	if l.file == nil {
		return "there is no log file to open anew"
	}
	if err := l.file.Reopen(); err != nil {
		return fmt.Sprintf("the log file cannot be opened anew: %v", err)
	}
	return "the log file was opened anew"
}

// lastWords writes to the log file why the process ends before it has a logger. A
// file that nobody named is Kong's business, and not that of somebody who types a
// wrong flag.
func (o *options) lastWords(stdin *os.File, reason error) {
	if o.logFile == "" && !isPipe(stdin) {
		return
	}
	file, err := o.openLogFile()
	if file == nil || err != nil {
		return
	}
	defer file.Close()
	if log, err := logs.New(file, slog.LevelInfo, "text"); err == nil {
		log.Error(couldNot, "pid", os.Getpid(), "error", reason)
	}
}
