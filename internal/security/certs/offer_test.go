package certs

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"kafka-upstream/internal/test/testcert"
)

func TestCertificateThatKongHasSentIsUsedAndRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(logs)
		s, err := New(Options{Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ca := testcert.New("an authority")
		first, second := ca.Client("first"), ca.Client("second")
		if _, err := s.Acquire(t.Context(), id1); err == nil {
			t.Error("there is a certificate")
		}
		s.Offer(id1, first.Cert, first.Key) // which ends the wait after the failure
		c, err := s.Acquire(t.Context(), id1)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Release()
		s.Offer(id1, first.Cert, second.Key) // cannot be used
		s.Offer("../"+id1, second.Cert, second.Key)
		s.Offer(id1, first.Cert, first.Key)
		if name := presented(t, c); name != "first" {
			t.Errorf("presented is %s", name)
		}
		s.Offer(id1, second.Cert, second.Key)
		time.Sleep(2 * time.Second)
		if name := presented(t, c); name != "second" {
			t.Errorf("after the rotation, presented is %s", name)
		}
		if n := log.lines("a certificate that Kong has sent is not used"); n != 2 {
			t.Errorf("%d lines about certificates that cannot be used: %s", n, log)
		}
		wantNoKey(t, log.String(), first)
		wantNoKey(t, log.String(), second)
	})
}

func TestDirectoryTakesPrecedenceOverWhatKongHasSent(t *testing.T) {
	ca := testcert.New("an authority")
	mine, theirs := ca.Client("mine"), ca.Client("theirs")
	s := &source{dir: t.TempDir()}
	if _, err := s.offer(id1, mustParse(t, theirs)); err != nil {
		t.Fatal(err)
	}
	if c, err := s.load(context.Background(), id1); err != nil || c.Leaf.Subject.CommonName != "theirs" {
		t.Errorf("%v, %v", c, err)
	}
	writeFiles(t, s.dir, id1, mine)
	if c, err := s.load(context.Background(), id1); err != nil || c.Leaf.Subject.CommonName != "mine" {
		t.Errorf("%v, %v", c, err)
	}
}

func mustParse(t *testing.T, p testcert.Pair) *tls.Certificate {
	t.Helper()
	c, err := parsePair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func writeFiles(t *testing.T, dir, id string, p testcert.Pair) {
	t.Helper()
	for name, b := range map[string][]byte{".crt": p.Cert, ".key": p.Key} {
		if err := os.WriteFile(filepath.Join(dir, id+name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
