package certs

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/test/testcert"
)

// entity is what the Admin API answers for a certificate.
func entity(pair testcert.Pair) []byte {
	b, _ := json.Marshal(map[string]any{
		"id": id1, "cert": string(pair.Cert), "key": string(pair.Key),
		"cert_alt": nil, "key_alt": nil, "tags": nil, "created_at": 1790000000, "snis": []string{},
	})
	return b
}

func testSource(t *testing.T, o Options) *source {
	t.Helper()
	s, err := newSource(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// server serves until the test is over.
func server(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

func name(certificate *tls.Certificate) string {
	if certificate == nil {
		return ""
	}
	return certificate.Leaf.Subject.CommonName
}

func TestCertificateComesFromTheAdminAPI(t *testing.T) {
	token := write(t, "token", []byte("t0ken\n"))
	var asked atomic.Value
	handler := func(w http.ResponseWriter, r *http.Request) {
		if !r.Close {
			t.Error("the connection would be kept, and its goroutines")
		}
		asked.Store(r.Method + " " + r.RequestURI + " " + r.Header.Get("Kong-Admin-Token"))
		w.Write(entity(client1))
	}
	tcp := server(t, handler)
	socket := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	unix := httptest.NewUnstartedServer(http.HandlerFunc(handler))
	unix.Listener.Close()
	unix.Listener = listener
	unix.Start()
	t.Cleanup(unix.Close)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(handler))
	secure.TLS = testCA.ServerConfig("127.0.0.1")
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := write(t, "ca.pem", testCA.PEM())
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{AdminURL: tcp.URL}, "GET /certificates/" + id1 + " "},
		{Options{AdminURL: tcp.URL + "/"}, "GET /certificates/" + id1 + " "},
		{Options{AdminURL: tcp.URL + "/kong/admin?x=y#z", AdminTokenFile: token}, "GET /kong/admin/certificates/" + id1 + " t0ken"},
		{Options{AdminURL: "unix:" + socket}, "GET /certificates/" + id1 + " "},
		{Options{AdminURL: "unix://" + socket, AdminTokenFile: token}, "GET /certificates/" + id1 + " t0ken"},
		{Options{AdminURL: secure.URL, CAFile: ca, Dir: t.TempDir()}, "GET /certificates/" + id1 + " "},
	} {
		certificate, err := testSource(t, test.o).load(t.Context(), id1)
		if err != nil || name(certificate) != "one" || asked.Load() != test.want {
			t.Errorf("%s: %q, %v, asked %q", test.o.AdminURL, name(certificate), err, asked.Load())
		}
	}
	_, err = testSource(t, Options{AdminURL: secure.URL}).load(t.Context(), id1)
	wantError(t, err, "cannot be reached", "certificate signed by unknown authority")
}

func TestAnswerOfTheAdminAPIThatCannotBeUsedIsOneSentence(t *testing.T) {
	answer := func(cert, key any) string {
		b, _ := json.Marshal(map[string]any{"id": id1, "cert": cert, "key": key})
		return string(b)
	}
	cert, key := string(client1.Cert), string(client1.Key)
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"not found", 404, `{"message":"Not found"}`, "has no certificate with this id"},
		{"no token", 401, "", "denied access with status 401: check -admin-token-file"},
		{"not allowed", 403, "", "denied access with status 403"},
		{"broken", 500, key, "answered with status 500"},
		{"redirect", 302, "", "answered with status 302"},
		{"nothing", 200, "", "there is no certificate in JSON"},
		{"not JSON", 200, "<html>" + key, "there is no certificate in JSON"},
		{"wrong types", 200, answer(cert, 7), "there is no certificate in JSON"},
		{"another entity", 200, `{"data":[]}`, "the field cert is missing"},
		{"null key", 200, answer(cert, nil), "the field key is missing"},
		{"vault", 200, answer("{vault://hcv/broker/cert}", "{vault://hcv/broker/key}"), "the field cert is a {vault://...} reference, which the Admin API does not resolve"},
		{"vault for the key", 200, answer(cert, "{vault://env/key}"), "the field key is a {vault://...} reference"},
		{"another key", 200, answer(cert, string(client2.Key)), "private key does not match public key"},
		{"no PEM", 200, answer("hello", key), "failed to find any PEM data"},
		{"swapped", 200, answer(key, cert), "cannot be used"},
		{"broken key", 200, answer(cert, strings.Replace(key, "\nM", "\nAAAA", 1)), "cannot be used"},
		{"many blocks", 200, answer(strings.Repeat("-----BEGIN X-----\n-----END X-----\n", 10000), key), "cannot be used"},
		{"too large", 200, answer(cert+strings.Repeat(" ", maxSize), key), "larger than 1048576 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var requests atomic.Int32
			admin := server(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if test.status == 302 {
					w.Header().Set("Location", "/elsewhere")
				}
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			})
			certificate, err := testSource(t, Options{AdminURL: admin.URL}).load(t.Context(), id1)
			wantError(t, err, "Kong's Admin API at "+admin.URL, test.want)
			if certificate != nil || len(err.Error()) > 500 || requests.Load() != 1 {
				t.Errorf("%v, %d requests", err, requests.Load())
			}
			wantNoKey(t, err.Error(), client1)
			wantNoKey(t, err.Error(), client2)
		})
	}
}

func TestAdminAPIThatIsNotThereIsOneSentence(t *testing.T) {
	closed := server(t, nil)
	closed.Close()
	silent := server(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	halting := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		w.Write(entity(client1))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	cut := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		w.Write(entity(client1))
	})
	withPassword := strings.Replace(closed.URL, "http://", "http://me:s3cr3t@", 1)
	for _, test := range []struct{ url, want string }{
		{closed.URL, "cannot be reached (set -admin-url, or use -certificates): dial tcp"},
		{withPassword, "Kong's Admin API at http://me:xxxxx@"},
		{"unix:/nowhere/admin.sock", "Kong's Admin API at unix:/nowhere/admin.sock cannot be reached"},
		{silent.URL, "did not answer within 5s"},
		{halting.URL, "did not answer within 5s"},
		{cut.URL, "cannot be read: unexpected EOF"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := testSource(t, Options{AdminURL: test.url, Dir: t.TempDir()}).load(ctx, id1)
		wantError(t, err, test.want, "it is not in ")
		if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("the password shows: %v", err)
		}
		wantNoKey(t, err.Error(), client1)
	}
}

// A peer that accepts connections and stays silent would otherwise keep one for each load.
func TestConnectionOfALoadThatWasGivenUpIsClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := testSource(t, Options{AdminURL: "https://" + l.Addr().String()})
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() {
		_, err := s.load(ctx, id1)
		given <- err
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	if err := <-given; err == nil {
		t.Error("no error")
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open")
	}
}

func TestTokenIsReadAtEachLoadAndNeverFollowsARedirect(t *testing.T) {
	elsewhere := server(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed, with token %q", r.Header.Get("Kong-Admin-Token"))
	})
	var token atomic.Value
	admin := server(t, func(w http.ResponseWriter, r *http.Request) {
		token.Store(r.Header.Get("Kong-Admin-Token"))
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	file := write(t, "token", []byte("first"))
	s := testSource(t, Options{AdminURL: admin.URL, AdminTokenFile: file})
	for _, want := range []string{"first", "second"} {
		if err := os.WriteFile(file, []byte(" "+want+" \n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.load(t.Context(), id1)
		wantError(t, err, "answered with status 307")
		if token.Load() != want {
			t.Errorf("sent %q, want %q", token.Load(), want)
		}
	}
	os.WriteFile(file, []byte("two\nlines"), 0o600)
	if _, err := s.load(t.Context(), id1); err == nil || strings.Contains(err.Error(), "lines") {
		t.Errorf("got %v", err)
	}
	os.Remove(file)
	_, err := s.load(t.Context(), id1)
	wantError(t, err, "token file "+file+" (-admin-token-file) cannot be read: no such file or directory")
}

func TestOptionsThatCannotBeUsedAreRefusedAtOnce(t *testing.T) {
	for url, want := range map[string]string{
		"unix:admin.sock":             "must be absolute",
		"unix:":                       "must be absolute",
		"127.0.0.1:8001":              "must be http://host:port",
		"localhost:8001":              "must be http://host:port",
		"ftp://localhost":             "must be http://host:port",
		"http://":                     "must be http://host:port",
		"http://me:s3cr3t@local host": "must be http://host:port",
		"/certificates":               "must be http://host:port",
	} {
		s, err := New(Options{AdminURL: url})
		wantError(t, err, "-admin-url", want)
		if s != nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v, %v", url, s, err)
		}
	}
	_, err := New(Options{AdminURL: "https://localhost", CAFile: "/nowhere/ca.pem"})
	wantError(t, err, "the CA file /nowhere/ca.pem cannot be read")
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Acquire(t.Context(), id1)
	wantError(t, err, "there is nowhere to load it from: set -admin-url or -certificates")
}

func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	a, err := newAdminAPI("http://kong.example:8001", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if a.client.Transport.(*http.Transport).Proxy != nil {
		t.Error("there is a proxy")
	}
}

func TestFolderGoesBeforeTheAdminAPI(t *testing.T) {
	var asked atomic.Int32
	admin := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Write(entity(client2))
	})
	dir := t.TempDir()
	s := testSource(t, Options{Dir: dir, AdminURL: admin.URL})
	if certificate, err := s.load(t.Context(), id1); err != nil || name(certificate) != "two" || asked.Load() != 1 {
		t.Errorf("not in the folder: %q, %v", name(certificate), err)
	}
	// Its chain comes with it.
	chained := testcert.Pair{Cert: slices.Concat(client1.Cert, testCA.PEM()), Key: client1.Key}
	if err := chained.Write(dir, id1); err != nil {
		t.Fatal(err)
	}
	certificate, err := s.load(t.Context(), id1)
	if err != nil || name(certificate) != "one" || asked.Load() != 1 {
		t.Fatalf("in the folder: %q, %v", name(certificate), err)
	}
	ca, _ := pem.Decode(testCA.PEM())
	if chain := certificate.Certificate; len(chain) != 2 || !slices.Equal(chain[1], ca.Bytes) {
		t.Errorf("a chain of %d", len(chain))
	}
	// A symbolic link is how Kubernetes mounts secrets.
	linked := t.TempDir()
	for _, end := range []string{".crt", ".key"} {
		if err := os.Symlink(filepath.Join(dir, id1+end), filepath.Join(linked, id1+end)); err != nil {
			t.Fatal(err)
		}
	}
	if certificate, err := testSource(t, Options{Dir: linked}).load(t.Context(), id1); err != nil || name(certificate) != "one" {
		t.Errorf("linked: %q, %v", name(certificate), err)
	}
}

func TestFolderThatCannotBeUsedIsOneSentence(t *testing.T) {
	admin := server(t, func(w http.ResponseWriter, r *http.Request) {
		t.Error("the Admin API was asked for what is in the folder")
	})
	for _, test := range []struct {
		name    string
		prepare func(dir string) error
		want    string
	}{
		{"no key", func(dir string) error { return os.WriteFile(dir+"/"+id1+".crt", client1.Cert, 0o600) },
			id1 + ".key cannot be read, though " + id1 + ".crt exists: no such file or directory"},
		{"another key", func(dir string) error {
			return testcert.Pair{Cert: client1.Cert, Key: client2.Key}.Write(dir, id1)
		}, "private key does not match public key"},
		{"empty", func(dir string) error { return testcert.Pair{}.Write(dir, id1) }, "failed to find any PEM data"},
		{"folder", func(dir string) error { return os.Mkdir(dir+"/"+id1+".crt", 0o700) }, id1 + ".crt cannot be read: it is not a regular file"},
		{"pipe", func(dir string) error { return syscall.Mkfifo(dir+"/"+id1+".crt", 0o600) }, id1 + ".crt cannot be read: it is not a regular file"},
		{"too large", func(dir string) error {
			return os.WriteFile(dir+"/"+id1+".crt", make([]byte, maxSize+1), 0o600)
		}, "larger than 1048576 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := test.prepare(dir); err != nil {
				t.Fatal(err)
			}
			_, err := testSource(t, Options{Dir: dir, AdminURL: admin.URL}).load(t.Context(), id1)
			wantError(t, err, dir, test.want)
			wantNoKey(t, err.Error(), client1)
			wantNoKey(t, err.Error(), client2)
		})
	}
	_, err := testSource(t, Options{Dir: "/nowhere"}).load(t.Context(), id1)
	wantError(t, err, "there is no "+id1+".crt in /nowhere: put it there with its key, or set -admin-url")
}

func FuzzCertificateEntity(f *testing.F) {
	f.Add(entity(client1))
	f.Add([]byte(`{"cert":"{vault://a/b}","key":null}`))
	f.Add([]byte(`{"cert":"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----","key":"x"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		certificate, err := parseEntity(body)
		if err == nil {
			if certificate.Leaf == nil || certificate.PrivateKey == nil {
				t.Fatalf("accepted without a leaf or a key: %q", body)
			}
			return
		}
		if certificate != nil || len(err.Error()) > 400 {
			t.Fatalf("%v", err)
		}
		wantNoKey(t, err.Error(), client1)
	})
}

// A peer that answers with what it was sent, in words of HTTP and in others, shows
// neither the token nor the password in what is said of it.
func TestErrorsOfTheAdminAPIHoldNoSecret(t *testing.T) {
	const token, password = "t0ken, of \"the\" admin", "adm1n&password"
	file := write(t, "token", []byte(token+"\n"))
	basic := base64.StdEncoding.EncodeToString([]byte("kong:" + password))
	for name, answer := range map[string]string{
		"a status line":         "%s\r\n\r\n",
		"a status":              "HTTP/1.1 %s\r\n\r\n",
		"a version":             "HTTP/%s 200 OK\r\n\r\n",
		"a header without name": "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
		"a length":              "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"an encoding":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
		"a body":                "HTTP/1.1 200 OK\r\n\r\n%s",
		"a certificate":         "HTTP/1.1 200 OK\r\n\r\n{\"cert\":\"-----BEGIN %[1]s-----\\nAAAA\\n-----END %[1]s-----\\n\",\"key\":\"-----BEGIN %[1]s-----\"}",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		echo := token + " \x1b[31m" + basic + " " + url.QueryEscape(password) + strings.Repeat("x", 30<<10)
		if strings.Contains(name, "cert") {
			echo = token[:5] + " " + basic // what JSON and PEM can hold
		}
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = c.Read(make([]byte, 4096))
			_, _ = strings.NewReader(fmt.Sprintf(answer, echo)).WriteTo(c)
		}()
		address := "http://kong:" + url.QueryEscape(password) + "@" + l.Addr().String()
		_, err = testSource(t, Options{AdminURL: address, AdminTokenFile: file}).load(t.Context(), id1)
		l.Close()
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		s := (&Error{id1, err}).Error()
		for _, leak := range []string{token, strconv.Quote(token)[1:10], basic, password, url.QueryEscape(password)} {
			if strings.Contains(s, leak) {
				t.Errorf("%s: it shows %s: %s", name, leak, s)
			}
		}
		if len(s) > foreign.MaxText+100 || strings.ContainsAny(s, "\n\x1b") {
			t.Errorf("%s: %d bytes: %q", name, len(s), s)
		}
	}
}
