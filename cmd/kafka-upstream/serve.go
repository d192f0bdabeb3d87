package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"sync"
	"time"

	"kafka-upstream/internal/companion"
	"kafka-upstream/internal/kongpdk"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/metrics"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/spool"
	"kafka-upstream/internal/version"
)

// serve serves until a signal, or the end of Kong, and then drains.
func serve(o *options, p *kongpdk.Plugin, ofCompanion *companion.Plugin, pool *producer.Pool, disk *spool.Spool, m *metrics.Metrics, limit *memory.Limit, stdin *os.File, logging logging) error {
	log, events := logging.Logger, logging.events
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	draining, endDrain := context.WithCancelCause(context.Background())
	defer endDrain(nil)
	// Signals are handled to the very end, after the last line was logged.
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, handled()...)
	handler := &signalHandler{drain: end, stop: endDrain, log: log, reopen: logging.reopen}
	handler.start(signals, fromLauncher())
	go func() {
		if waitForKong(stdin) {
			end(errors.New("Kong has ended: it closed stdin"))
		}
	}()

	l, err := kongpdk.Listen(o.socket, fs.FileMode(o.mode))
	if err != nil {
		return err
	}
	watched, unwatch := context.WithCancel(context.Background()) // to the very end
	watch, err := m.Serve(watched, o.metrics, log)
	if err != nil { // requests are served without metrics
		log.Error("cannot serve metrics", "error", err)
	}
	defer func() {
		unwatch()
		watch.Wait()
	}()
	if o.pprof != "" {
		profile(ctx, o.pprof, log)
	}
	server := kongpdk.NewServer(p, log, kongpdk.Options{
		Portable: o.portable, RequestVariable: o.variable, Memory: limit, Files: kongpdk.FileLimit(),
	})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	handlers := companion.NewServer(ofCompanion, log, companion.Options{Memory: limit})
	socket := companion.Path(o.socket)
	if l, err := kongpdk.Listen(socket, fs.FileMode(o.mode)); err != nil { // the plugin protocol goes without
		log.Error("the companion handler cannot be served", "error", err)
		socket = ""
	} else {
		go func() {
			if err := handlers.Serve(l); err != nil {
				log.Error("the companion handler is not served any more", "error", err)
			}
		}()
	}
	events.Info("serving", "socket", o.socket, "companion", socket, "version", version.Number, "commit", version.Commit())

	select {
	case err = <-served:
		end(err)
	case <-ctx.Done():
		events.Info("ending", "reason", context.Cause(ctx))
	}
	m.NotReady("shutting down")

	undelivered, closeErr := drain(draining, pool, o.drain, server, handlers)
	err = errors.Join(err, closeErr)
	s := pool.Stats().Totals()
	counts := []any{"accepted", s.Accepted, "delivered", s.Delivered, "failed", s.Failed, "undelivered", undelivered, "rejected", s.Rejected}
	if disk != nil {
		err = errors.Join(err, closeSpool(disk)) // it may have been writing records
		counts = append(counts, "returned", s.Returned, "spooled", disk.Stats().Records)
	}
	logging.flush()
	events.Info("ended", counts...)
	switch cause := context.Cause(draining); {
	case undelivered > 0 && cause != nil:
		err = errors.Join(err, fmt.Errorf("%d records were not delivered: %w", undelivered, cause))
	case undelivered > 0:
		err = errors.Join(err, fmt.Errorf("%d records were not delivered within the drain timeout of %v: raise -drain-timeout if the brokers were reachable", undelivered, o.drain))
	}
	return err
}

// spoolTimeout bounds how long the spool may take for its last fsync. Nobody waits for that any more.
const spoolTimeout = 5 * time.Second

// closeSpool closes the spool, unless its disk does not answer.
func closeSpool(disk *spool.Spool) error {
	closed := make(chan error, 1)
	go func() { closed <- disk.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(spoolTimeout):
		return fmt.Errorf("the disk of the spool (-spool) does not answer within %v: the next process takes over what it has", spoolTimeout)
	}
}

// door is a server that requests come through.
type door interface {
	Shutdown(ctx context.Context) error
}

// drain shuts down within timeout, or when ctx ends: it waits until the requests in flight are
// answered, then drains the buffers. After half of the timeout it rejects the requests still in
// flight, to have time for the buffers. It returns the number of undelivered records, and an
// error if connections were closed before their requests were done.
func drain(ctx context.Context, pool *producer.Pool, timeout time.Duration, doors ...door) (undelivered int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		errs := make([]error, len(doors))
		var wg sync.WaitGroup
		for i, d := range doors {
			wg.Go(func() { errs[i] = d.Shutdown(ctx) })
		}
		wg.Wait()
		answered <- errors.Join(errs...)
	}()
	select {
	case err = <-answered:
		return pool.Close(ctx), err
	case <-time.After(timeout / 2):
	case <-ctx.Done():
	}
	undelivered = pool.Close(ctx)
	return undelivered, <-answered
}

// waitForKong returns true when stdin is closed, if it is the pipe that Kong holds open while
// it runs. It returns false at once if stdin is anything else.
func waitForKong(stdin *os.File) bool {
	if !isPipe(stdin) {
		return false
	}
	_, _ = io.Copy(io.Discard, stdin)
	return true
}

func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().Type() == fs.ModeNamedPipe
}
