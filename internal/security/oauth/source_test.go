package oauth

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

func quiet() Env { return Env{Log: slog.New(slog.NewTextHandler(io.Discard, nil))} }

func TestTokenIsFetchedOnceAndKept(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		id, secret, _ := r.BasicAuth()
		if r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "a b" || id != "orders" || secret != "s3cr3t-of-orders" {
			t.Errorf("got %v as %s", r.Form, id)
		}
		json.NewEncoder(w).Encode(map[string]any{"access_token": "t0ken", "token_type": "bearer", "expires_in": 300})
	}))
	defer server.Close()
	s, err := New(Options{TokenURL: server.URL + "/token", ClientID: "orders", ClientSecret: "s3cr3t-of-orders", Scopes: []string{"a", "b"}}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 3 {
		if token, err := s.Token(t.Context()); err != nil || token != "t0ken" {
			t.Fatalf("got %q, %v", token, err)
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}
