package registry

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"kafka-upstream/internal/security/certs"
	"kafka-upstream/internal/security/oauth"
	"kafka-upstream/internal/test/idp"
	"kafka-upstream/internal/test/testcert"
)

// server is a registry in the network that records its requests.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

func (s *server) all() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func serve(t *testing.T, h http.HandlerFunc) *server {
	t.Helper()
	s := new(server)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		h(w, r)
	}))
	return s
}

// users answers with the schema of users.
func users(t *testing.T) http.HandlerFunc {
	t.Helper()
	fake := srfake.NewRegistry()
	seedUser(fake, 1, 5)
	return fake.Handler().ServeHTTP
}

func TestRequestsAreAuthenticated(t *testing.T) {
	for name, row := range map[string]struct {
		auth Auth
		want http.Header
	}{
		"none":  {Auth{Mode: "none", User: "u", Password: "p"}, http.Header{"Authorization": nil, "Target-Sr-Cluster": nil, "Confluent-Identity-Pool-Id": nil}},
		"basic": {Auth{Mode: "basic", User: "u", Password: "p:p"}, http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("u:p:p"))}}},
		"ids":   {Auth{ClusterID: "lsrc-1", IdentityPoolID: "pool-1"}, http.Header{"Authorization": nil, "Target-Sr-Cluster": {"lsrc-1"}, "Confluent-Identity-Pool-Id": {"pool-1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, users(t))
			s.Start()
			t.Cleanup(s.Close)
			p, _ := newPool(t, Env{})
			o := value("user")
			o.URL, o.Auth = s.URL, row.auth
			if err := ready(t, acquire(t, p, o)); err != nil {
				t.Fatal(err)
			}
			got := s.all()[0]
			for name, want := range row.want {
				if fmt.Sprint(got.Header[name]) != fmt.Sprint(want) {
					t.Errorf("%s is %q, want %q", name, got.Header[name], want)
				}
			}
			if got.Header.Get("Accept") != "application/vnd.schemaregistry.v1+json" {
				t.Errorf("Accept is %q", got.Header["Accept"])
			}
		})
	}
}

// Kong's plugin crashed without oauth2_client, whose absence means its defaults, and did not
// send target-sr-cluster.
func TestAccessTokensAreSentAndReplacedOnceIfTheyAreRefused(t *testing.T) {
	provider := idp.Start(t, idp.Config{Clients: map[string]string{"kong": "client-secret"}})
	var mu sync.Mutex
	refused := map[string]bool{} // tokens
	accept := 0                  // how many more are refused
	registry := users(t)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		mu.Lock()
		defer mu.Unlock()
		if accept > 0 && !refused[token] {
			accept--
			refused[token] = true
		}
		if token == "" || refused[token] {
			http.Error(w, `{"error_code":401,"message":"the token `+token+` is not valid"}`, http.StatusUnauthorized)
			return
		}
		registry(w, r)
	})
	s.Start()
	t.Cleanup(s.Close)
	o := value("user")
	o.URL = s.URL
	o.Auth = Auth{Mode: "oauth2", ClusterID: "lsrc-1", OAuth: oauth.Options{TokenURL: provider.TokenURL, ClientID: "kong", ClientSecret: "client-secret"}}

	accept = 1
	p, _ := newPool(t, Env{})
	if err := ready(t, acquire(t, p, o)); err != nil {
		t.Fatal(err)
	}
	if got := s.all(); len(got) != 2 || got[1].Header.Get("target-sr-cluster") != "lsrc-1" || got[0].Header.Get("Authorization") == got[1].Header.Get("Authorization") {
		t.Errorf("%d requests", len(got))
	}

	mu.Lock()
	accept = 100
	mu.Unlock()
	o.Value.Name = "other"
	p, log := newPool(t, Env{})
	err := ready(t, acquire(t, p, o))
	if err == nil || !strings.Contains(err.Error(), "status 401") {
		t.Error(err)
	}
	if n := len(s.all()); n != 4 {
		t.Errorf("%d requests", n)
	}
	for _, r := range s.all() {
		if token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); strings.Contains(fmt.Sprint(err)+log.String(), token) {
			t.Error("a token is shown")
		}
	}
}

func TestNoTokenIsNoSchema(t *testing.T) {
	provider := idp.Start(t, idp.Config{Clients: map[string]string{"kong": "another-secret"}})
	s := serve(t, users(t))
	s.Start()
	t.Cleanup(s.Close)
	o := value("user")
	o.URL = s.URL
	o.Auth = Auth{Mode: "oauth2", OAuth: oauth.Options{TokenURL: provider.TokenURL, ClientID: "kong", ClientSecret: "client-secret"}}
	p, _ := newPool(t, Env{})
	err := ready(t, acquire(t, p, o))
	if _, ok := errors.AsType[*UnavailableError](err); !ok || !strings.Contains(err.Error(), "could not get token from "+provider.TokenURL) || len(s.all()) > 0 {
		t.Error(err)
	}
}

func TestCertificatesAreVerifiedAndPresented(t *testing.T) {
	ca, other := testcert.New("ca"), testcert.New("other")
	dir := t.TempDir()
	const id = "7c8b3ba3-9d3c-4b3f-8b6d-0f3c6a5f1c11"
	if err := ca.Client("kong").Write(dir, id); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		mutual, skip bool
		ca           *testcert.CA
		id           string
		want         string // in the error; "" for none
	}{
		"verified":                      {ca: ca},
		"of another authority":          {ca: other, want: "certificate signed by unknown authority"},
		"of any":                        {ca: other, skip: true},
		"a client certificate":          {mutual: true, ca: ca, id: id},
		"no client certificate":         {mutual: true, ca: ca, want: "certificate required"},
		"one that is not there":         {mutual: true, ca: ca, id: "7c8b3ba3-9d3c-4b3f-8b6d-0f3c6a5f1c12", want: "could not load certificate"},
		"one that nobody has asked for": {ca: ca, id: "7c8b3ba3-9d3c-4b3f-8b6d-0f3c6a5f1c12"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, users(t))
			s.TLS = ca.ServerConfig("127.0.0.1")
			if row.mutual {
				s.TLS = ca.MutualConfig("127.0.0.1")
			}
			s.Config.ErrorLog = quiet
			s.StartTLS()
			t.Cleanup(s.Close)
			store, err := certs.New(certs.Options{Dir: dir, Log: discard})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(store.Close)
			p, _ := newPool(t, Env{CAFile: write(t, row.ca.PEM()), Certs: store})
			o := value("user")
			o.URL, o.SkipVerify, o.CertificateID = s.URL, row.skip, row.id
			err = ready(t, acquire(t, p, o))
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want %q", err, row.want)
			}
		})
	}
	p, _ := newPool(t, Env{CAFile: "/nowhere"})
	if _, err := p.Acquire(value("user")); err == nil {
		t.Error("a file of authorities that is not there was taken")
	}
}

func TestAnswersOfARegistryAreBoundedAndNotTrusted(t *testing.T) {
	elsewhere := serve(t, users(t))
	elsewhere.Start()
	t.Cleanup(elsewhere.Close)
	const good = `{"subject":"user","version":1,"id":5,"schema":"\"string\""`
	for name, row := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"not found":             {404, `{"error_code":40401,"message":"Subject 'user' not found."}`, "the answer has status 404: Subject 'user' not found. (error code 40401)"},
		"an error of a proxy":   {502, "<html>\n", "the answer has status 502"},
		"an echo":               {401, `{"error_code":401,"message":"u and basic-password\nand ` + base64.StdEncoding.EncodeToString([]byte("u:basic-password")) + `"}`, `status 401: u and [redacted]\nand [redacted] (error code 401)`},
		"a redirect":            {307, "", "a redirect, which is not followed"},
		"no JSON":               {200, "<html>", "not what a Schema Registry sends"},
		"another JSON":          {200, "[]", "not what a Schema Registry sends"},
		"of another type":       {200, `{"version":"1","id":5,"schema":"x"}`, "not what a Schema Registry sends"},
		"an empty object":       {200, "{}", "lacks the id, the version or the text"},
		"an id that is none":    {200, `{"version":1,"id":-1,"schema":"\"string\""}`, "lacks the id"},
		"an id that is large":   {200, `{"version":1,"id":4294967296,"schema":"\"string\""}`, "lacks the id"},
		"a type that is none":   {200, good + `,"schemaType":"THRIFT"}`, "could not get schema"},
		"an endless answer":     {200, strings.Repeat(" ", maxAnswer+1), "longer than 4194304 bytes"},
		"an endless error":      {500, strings.Repeat(" ", maxAnswer+1), "longer than 4194304 bytes"},
		"a schema that is huge": {200, `{"version":1,"id":5,"schemaType":"JSON","schema":"` + strings.Repeat(" ", 3<<20) + `{}"}`, "bytes"},
		"a long error":          {500, `{"error_code":50001,"message":"` + strings.Repeat("x", 1<<20) + `"}`, "bytes in all"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", elsewhere.URL+r.URL.Path)
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, row.body)
			})
			s.Start()
			t.Cleanup(s.Close)
			o := value("user")
			o.URL, o.Auth = s.URL, Auth{Mode: "basic", User: "u", Password: "basic-password"}
			p, log := newPool(t, Env{})
			err := ready(t, acquire(t, p, o))
			if err == nil || !strings.Contains(err.Error(), row.want) || len(err.Error()) > 1500 || strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%v, want %s", err, row.want)
			}
			if strings.Contains(log.String(), "basic-password") {
				t.Errorf("the log shows the password:\n%s", log)
			}
		})
	}
	if n := len(elsewhere.all()); n > 0 {
		t.Errorf("the redirect was followed, with %v", elsewhere.all()[0].Header)
	}
}

func TestSlowRegistryIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, _ *logged) {
		seedUser(fake, 1, 5)
		d.serves(slowly(time.Hour, d.handler))
		s := acquire(t, p, value("user"))
		<-s.Value.entry.loaded
		if err := ready(t, s); err == nil || !strings.Contains(err.Error(), "no answer within 10s") {
			t.Error(err)
		}
	})
}

func TestSubjectsAreEscapedInPaths(t *testing.T) {
	for subject, want := range map[string]string{
		"orders-value":   "/apis/ccompat/v7/subjects/orders-value/versions/latest",
		"a/b ?#%ü":       "/apis/ccompat/v7/subjects/a%2Fb%20%3F%23%25%C3%BC/versions/latest",
		":.ctx:orders":   "/apis/ccompat/v7/subjects/:.ctx:orders/versions/latest",
		"../../secret":   "/apis/ccompat/v7/subjects/..%2F..%2Fsecret/versions/latest",
		"com.x.Order$In": "/apis/ccompat/v7/subjects/com.x.Order$In/versions/latest",
	} {
		inBubble(t, func(t *testing.T, p *Pool, d *direct, _ *srfake.Registry, _ *logged) {
			o := value(subject)
			o.URL = "http://registry:8080/apis/ccompat/v7/"
			_ = ready(t, acquire(t, p, o))
			if d.requests[0] != want {
				t.Errorf("%q is %s, want %s", subject, d.requests[0], want)
			}
		})
	}
}

func ref(name, subject string, version int) sr.SchemaReference {
	return sr.SchemaReference{Name: name, Subject: subject, Version: version}
}

func TestSchemasThatASchemaRefersToAreFetchedOnceEach(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, _ *logged) {
		fake.SeedSchema("id", 1, 1, schemaOf(sr.TypeAvro, `{"type":"fixed","name":"Id","size":2}`))
		fake.SeedSchema("item", 1, 2, schemaOf(sr.TypeAvro, `{"type":"record","name":"Item","fields":[{"name":"id","type":"Id"}]}`, ref("Id", "id", 1)))
		fake.SeedSchema("buyer", 1, 3, schemaOf(sr.TypeAvro, `{"type":"record","name":"Buyer","fields":[{"name":"id","type":"Id"}]}`, ref("Id", "id", 1)))
		fake.SeedSchema("order", 1, 4, schemaOf(sr.TypeAvro, `{"type":"record","name":"Order","fields":[{"name":"item","type":"Item"},{"name":"buyer","type":"Buyer"}]}`, ref("Item", "item", 1), ref("Buyer", "buyer", 1)))
		s := acquire(t, p, value("order"))
		if err := ready(t, s); err != nil {
			t.Fatal(err)
		}
		if got := serialize(s.Value, `{"item":{"id":"ab"},"buyer":{"id":"cd"}}`); got != "0000000004"+"6162"+"6364" {
			t.Error(got)
		}
		if d.count() != 4 {
			t.Errorf("%q", d.requests)
		}
		time.Sleep(DefaultTTL)
		synctest.Wait()
		if got := p.Stats(); d.count() != 5 || got.Fetches[Fetched] != 2 {
			t.Errorf("a schema that is the same is fetched with all others: %q", d.requests)
		}
	})
}

// answering is a registry whose schemas are these, by the subject.
func answering(schemas func(subject string) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		subject := strings.Split(r.URL.Path, "/")[2]
		_, _ = io.WriteString(w, schemas(subject))
	})
}

func TestReferencesOfARegistryAreNotTrusted(t *testing.T) {
	refers := func(to ...string) string {
		var refs []string
		for _, subject := range to {
			refs = append(refs, fmt.Sprintf(`{"name":%q,"subject":%[1]q,"version":1}`, subject))
		}
		return `{"version":1,"id":1,"schema":"\"string\"","references":[` + strings.Join(refs, ",") + `]}`
	}
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for name, row := range map[string]struct {
		schemas  func(subject string) string
		want     string
		requests int
	}{
		"a loop": {func(subject string) string {
			return refers(map[string]string{"user": "a", "a": "b", "b": "a"}[subject])
		}, "form a cycle", 3},
		"itself":       {func(string) string { return refers("user") }, "form a cycle", 2},
		"one too many": {func(string) string { return refers(many...) }, "more than 100", 1},
		"a long chain": {func(subject string) string { return refers(subject + "x") }, "more than 100", 101},
		"much text": {func(subject string) string {
			return strings.Replace(refers(subject+"x"), "string", "string"+strings.Repeat(" ", 200<<10), 1)
		}, "more than 1048576 bytes", 6},
		"no subject":  {func(string) string { return refers("") }, "no valid subject or version", 1},
		"dots":        {func(string) string { return refers("..") }, "no valid subject or version", 1},
		"a long name": {func(string) string { return refers(strings.Repeat("x", 2000)) }, "no valid subject or version", 1},
		"no version":  {func(string) string { return strings.ReplaceAll(refers("a"), `"version":1}`, `"version":-1}`) }, "no valid subject or version", 1},
		"not there": {func(subject string) string {
			if subject == "a" {
				return "{}"
			}
			return refers("a")
		}, `it refers to "a", version 1: the answer lacks`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *Pool, d *direct, _ *srfake.Registry, _ *logged) {
				d.serves(answering(row.schemas))
				err := ready(t, acquire(t, p, value("user")))
				if err == nil || !strings.Contains(err.Error(), row.want) || d.count() != row.requests {
					t.Errorf("%v after %d requests, want %s", err, d.count(), row.want)
				}
			})
		})
	}
}
