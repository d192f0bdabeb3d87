//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profileAll starts to take a CPU profile of each session that wants one, for as long
// as the measurement of all of them lasts. The function it returns waits for them.
func profileAll(sessions []*session) (wait func() error, err error) {
	done := make(chan error, len(sessions))
	n := 0
	for _, x := range sessions {
		if x.profiles == "" {
			continue
		}
		address, err := x.plugin.profileAddress()
		if err != nil {
			return nil, err
		}
		seconds := int(1.1*x.measure.Seconds()*float64(len(sessions))) + 1 // with the warm-ups of the turns
		path := filepath.Join(x.profiles, fmt.Sprintf("%s-c%d-configurations%d-%d.pprof", x.plugin.Name, x.connections, len(x.configs), x.plugin.pid()))
		n++
		go func() {
			b, err := fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, seconds), time.Duration(seconds)*time.Second)
			if err == nil {
				err = os.WriteFile(path, b, 0o644)
			}
			done <- err
		}()
	}
	return func() error {
		var all error
		for range n {
			all = errors.Join(all, <-done)
		}
		return all
	}, nil
}

// fetch returns a profile that takes that long.
func fetch(url string, after time.Duration) ([]byte, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: after + 10*time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return nil, fmt.Errorf("taking a profile: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	if err != nil {
		return nil, fmt.Errorf("taking a profile: %w", err)
	}
	return b, nil
}
