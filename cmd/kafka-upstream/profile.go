package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// profile serves Go's profiles until ctx ends. If the address is taken, it retries in the
// background: after a reload of Kong, the predecessor has the address until it has drained.
func profile(ctx context.Context, address string, log *slog.Logger) {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	serve := func(l net.Listener) {
		log.Info("serving profiles", "address", l.Addr().String())
		go func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				log.Error("stopped serving profiles", "error", err)
			}
		}()
	}
	l, err := net.Listen("tcp", address)
	if err == nil {
		serve(l)
		return
	}
	log.Warn("cannot serve profiles yet; retrying until the address is free", "address", address, "error", err)
	go func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if l, err := net.Listen("tcp", address); err == nil {
					serve(l)
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
}
