package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kafka-upstream/internal/producer"
)

const (
	// scrapeTimeout bounds a scrape. Prometheus gives up after 10 s itself.
	scrapeTimeout = 10 * time.Second
	// retryEvery is how often an address that is in use is tried again.
	retryEvery = 250 * time.Millisecond
	// closeTimeout bounds the wait for responses in progress at the end.
	closeTimeout = time.Second
)

// Handler serves /metrics for Prometheus, /healthz and /readyz for probes, and an overview
// for humans at /. On a nil *Metrics it answers 404.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             scrapeTimeout,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", m.readyz)
	mux.HandleFunc("GET /{$}", m.overview)
	return mux
}

func text(w http.ResponseWriter, status int, s string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, s)
}

func (m *Metrics) readyz(w http.ResponseWriter, _ *http.Request) {
	stats := m.stats()
	if causes := m.causes(&stats); len(causes) > 0 {
		text(w, http.StatusServiceUnavailable, strings.Join(causes, "\n")+"\n")
		return
	}
	text(w, http.StatusOK, "ready\n")
}

// overview answers with a summary for humans.
func (m *Metrics) overview(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, "kafka-upstream %s\n\n", m.version)
	stats := m.stats()
	if causes := m.causes(&stats); len(causes) > 0 {
		fmt.Fprintf(&b, "not ready:\n  %s\n\n", strings.Join(causes, "\n  "))
	} else {
		b.WriteString("ready\n\n")
	}
	b.WriteString("/metrics  for Prometheus\n/healthz  200 while the process serves\n/readyz   200 if it is ready, 503 with the causes if not\n")
	if all := stats.Topics; len(all) > 0 {
		slices.SortFunc(all, func(a, b producer.TopicStats) int { return strings.Compare(a.Topic, b.Topic) })
		b.WriteString("\nrecords\n")
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "accepted\tdelivered\tsent\tfailed\tundelivered\tbuffered\tbuffer\t  topic")
		for i := range all {
			s, failed, fill := &all[i], int64(0), 0.0
			for _, a := range s.Failed {
				failed += a.Records
			}
			for _, b := range s.Buffers {
				fill = max(fill, b.Fill)
			}
			fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%.0f %%\t  %s\n", s.Accepted.Records, s.Delivered.Records-s.Unconfirmed.Records,
				s.Unconfirmed.Records, failed, s.Undelivered.Records, s.Buffered.Records, 100*fill, s.Topic)
		}
		_ = t.Flush()
	}
	text(w, http.StatusOK, b.String())
}

// Server is the HTTP server of a process's metrics.
type Server struct {
	serving sync.WaitGroup

	mu   sync.Mutex
	addr net.Addr
}

// Serve serves Handler on address, host:port, until ctx ends. It returns as soon as it
// listens. An address in use is no error: after a reload of Kong the predecessor has it
// until it has drained, so Serve logs that and retries in the background. On any other
// error it serves nothing; the error is a sentence. On a nil *Metrics it does nothing,
// and the *Server is nil.
func (m *Metrics) Serve(ctx context.Context, address string, log *slog.Logger) (*Server, error) {
	if m == nil {
		return nil, nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("metrics cannot be served on %q: use host:port, such as 127.0.0.1:9542", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("metrics cannot be served on %q: %w: choose another address", address, systemError(err))
	}
	s := new(Server)
	if l != nil {
		s.addr = l.Addr()
	}
	s.serving.Go(func() { s.run(ctx, l, address, m.Handler(), log) })
	return s, nil
}

// systemError returns the system's error in err, without the operation and the address,
// which the caller names.
func systemError(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// Addr returns the address that the server listens on. It is nil while another process has
// it, and on a nil *Server.
func (s *Server) Addr() net.Addr {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Wait waits until the server has ended, after its context. Responses in progress get a
// second.
func (s *Server) Wait() {
	if s != nil {
		s.serving.Wait()
	}
}

func (s *Server) run(ctx context.Context, l net.Listener, address string, h http.Handler, log *slog.Logger) {
	if l == nil {
		log.Warn("cannot serve metrics yet: the address is in use; retrying until it is free", "address", address)
		if l = s.listen(ctx, address, log); l == nil {
			return
		}
	}
	log.Info("serving metrics", "address", l.Addr().String())
	hs := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * scrapeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		grace, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if hs.Shutdown(grace) != nil {
			_ = hs.Close()
		}
	})
	if err := hs.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		log.Error("stopped serving metrics", "error", err)
	}
	if !stop() {
		<-ended
	}
}

// listen retries until it can listen on the address. It returns nil if it never can, or if
// ctx ends first.
func (s *Server) listen(ctx context.Context, address string, log *slog.Logger) net.Listener {
	ticker := time.NewTicker(retryEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		l, err := net.Listen("tcp", address)
		switch {
		case err == nil:
			s.mu.Lock()
			s.addr = l.Addr()
			s.mu.Unlock()
			return l
		case !errors.Is(err, syscall.EADDRINUSE):
			log.Error("cannot serve metrics", "address", address, "error", systemError(err))
			return nil
		}
	}
}
