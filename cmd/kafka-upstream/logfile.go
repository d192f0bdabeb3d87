package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"kafka-upstream/internal/logs"
	"kafka-upstream/internal/plugin"
)

// Kong copies stderr to its error log, but only at level info, and only while Kong runs: a
// line of a server that drains after Kong has ended, or that cannot start, is lost. The server
// therefore also writes what an operator must know to a file.

// noLogFile is the value of -log-file that turns the file off.
const noLogFile = "off"

// endedWithError is the message of the line with the reason why the process has failed.
const endedWithError = "kafka-upstream has ended with an error"

// logFiles returns candidate paths; the first that can be opened is the log file. The default
// is beside Kong's own logs, or else in the prefix, where the socket is: the logs directory
// belongs to Kong's master, which may run as root.
func (o *options) logFiles() []string {
	switch o.logFile {
	case noLogFile:
		return nil
	case "":
		const name = plugin.Name + ".log"
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

// logging is the loggers of a server.
type logging struct {
	*slog.Logger              // to stderr, and at level warn and above to the file
	events       *slog.Logger // to both, at level info and above
	file         *logs.File   // nil for none
	flush        func()       // from then on lines are written to the file synchronously
}

// openLog adds the log file to the logger of stderr. The server runs without a file if none
// can be opened.
func (o *options) openLog(stderr *slog.Logger) logging {
	file, err := o.openLogFile()
	if file == nil {
		if err != nil && (o.logFile != "" || !errors.Is(err, fs.ErrNotExist)) { // without its prefix, Kong cannot have started this process
			stderr.Warn("there is no log file: records that are lost after Kong has ended will not be reported; see -log-file", "error", err)
		}
		return logging{stderr, stderr, nil, func() {}}
	}
	all, events, flush := logs.WithFile(stderr, file, o.format)
	if err := file.SetCrashOutput(); err != nil {
		stderr.Warn("crashes cannot be recorded in the log file", "error", err)
	}
	return logging{all, events, file, flush}
}

// reopen reopens the log file, and returns what it did.
func (l logging) reopen() string {
	if l.file == nil {
		return "there is no log file to reopen"
	}
	if err := l.file.Reopen(); err != nil {
		return fmt.Sprintf("the log file cannot be reopened: %v", err)
	}
	return "the log file was reopened"
}

// logFailure writes to the log file why a process without a logger ends. Without -log-file it
// writes only if Kong has started the process, not if a flag was mistyped in a shell.
func (o *options) logFailure(stdin *os.File, reason error) {
	if o.logFile == "" && !isPipe(stdin) {
		return
	}
	file, err := o.openLogFile()
	if file == nil || err != nil {
		return
	}
	defer file.Close()
	logs.New(file, slog.LevelInfo, logs.Text).Error(endedWithError, "pid", os.Getpid(), "error", reason)
}
