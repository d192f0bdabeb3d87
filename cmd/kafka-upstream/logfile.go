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

// What is printed to stderr is in Kong's error log, but only at level info, and only while
// Kong runs: it misses what a server logs that drains after Kong has ended, or that cannot
// start. So the server also writes a file with what an operator must know.

// noLogFile is the value of -log-file that turns it off.
const noLogFile = "off"

// couldNot is the message of the line that says why the process has ended.
const couldNot = "kafka-upstream has ended with an error"

// logFiles returns candidate paths; the first that can be opened is the log file. Without
// the flag it is beside Kong's own logs, or in the prefix, where the socket is: the logs
// directory belongs to Kong's master, which may run as root.
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

// logging is where a server logs.
type logging struct {
	*slog.Logger              // to stderr, and from level warn on to the file
	events       *slog.Logger // to both, from level info on
	file         *logs.File   // nil for none
	flush        func()       // called before the last lines: from then on each is written synchronously
}

// openLog adds the log file to the logger of stderr. If it cannot be opened, the server
// serves without it.
func (o *options) openLog(stderr *slog.Logger) logging {
	file, err := o.openLogFile()
	if file == nil {
		if err != nil && (o.logFile != "" || !errors.Is(err, fs.ErrNotExist)) { // without a prefix Kong did not start this
			stderr.Warn("there is no log file, so what is undelivered after Kong has ended is not recorded: see -log-file", "error", err)
		}
		return logging{stderr, stderr, nil, func() {}}
	}
	all, events, flush := logs.WithFile(stderr, file, o.format)
	if err := file.SetCrashOutput(); err != nil {
		stderr.Warn("the log file will not record crashes", "error", err)
	}
	return logging{all, events, file, flush}
}

// reopen does what USR1 asks for, and says so.
func (l logging) reopen() string {
	if l.file == nil {
		return "there is no log file to reopen"
	}
	if err := l.file.Reopen(); err != nil {
		return fmt.Sprintf("the log file cannot be reopened: %v", err)
	}
	return "the log file was reopened"
}

// lastWords writes to the log file why the process ends before it has a logger. Without
// -log-file it does so only when Kong has started the process, not when somebody mistypes
// a flag in a shell.
func (o *options) lastWords(stdin *os.File, reason error) {
	if o.logFile == "" && !isPipe(stdin) {
		return
	}
	file, err := o.openLogFile()
	if file == nil || err != nil {
		return
	}
	defer file.Close()
	logs.New(file, slog.LevelInfo, logs.Text).Error(couldNot, "pid", os.Getpid(), "error", reason)
}
