package kongsim

import (
	"fmt"
	"sync"
	"time"
)

// processLine takes a line that the plugin server printed.
func (s *Sim) processLine(pid int, line string) {
	if s.opts.Stderr != nil {
		s.errorLog.mu.Lock()
		fmt.Fprintln(s.opts.Stderr, line)
		s.errorLog.mu.Unlock()
	}
	s.log("info", fmt.Sprintf("[%s:%d] %s", s.name, pid, line), nil)
}

// log writes into the error log; x is the request that it is about, or nil.
func (s *Sim) log(level, message string, x *exchange) {
	name := level
	if level == "err" {
		name = "error"
	}
	line := fmt.Sprintf("%s [%s] %s", time.Now().Format("2006/01/02 15:04:05"), name, message)
	if x != nil {
		line += fmt.Sprintf(", client: %s, server: kong, request: %q, host: %q, request_id: %q", x.remote.IP, x.line(), x.Host, x.requestID)
	}
	s.errorLog.add(line)
	if s.opts.OnLog != nil {
		s.opts.OnLog(level, message)
	}
}

// errorLog keeps the last lines.
type errorLog struct {
	mu  sync.Mutex
	all []string
}

const maxErrorLog = 10_000

func (l *errorLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 2*maxErrorLog {
		l.all = append(l.all[:0], l.all[maxErrorLog:]...)
	}
	l.all = append(l.all, line)
}

func (l *errorLog) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.all[max(0, len(l.all)-maxErrorLog):]...)
}
