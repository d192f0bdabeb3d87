// Package kongnginx runs the companion handler on a genuine nginx with lua-nginx-module
// (Debian's), with a stand-in for Kong's own Lua that has only what the handler uses.
package kongnginx

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

//go:embed kong.lua
var kong []byte

const modules = "/usr/lib/nginx/modules"

// Options say what runs.
type Options struct {
	// Files is the directory below which the handler's files are, as the program has written
	// them.
	Files string
	// Socket is that of the plugin protocol.
	Socket string
	// Configs are the configurations of the plugin, by name, as JSON. Each has a socket for
	// HTTP/1.1 and one for HTTP/2.
	Configs map[string][]byte
	Workers int    // 0: 1
	Buffer  string // client_body_buffer_size; "": Kong's 8k
	Stub    string // Lua that changes the global kong
	Main    string // further directives of nginx
	HTTP    string // further directives in http
}

// Nginx is a running nginx.
type Nginx struct {
	Options
	Dir string

	cmd  *exec.Cmd
	done chan struct{}
}

// Binary returns the path of nginx. The error says what is missing.
func Binary() (string, error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/nginx")
	}
	if err == nil {
		_, err = os.Stat(filepath.Join(modules, "ngx_http_lua_module.so"))
	}
	if err != nil {
		return "", fmt.Errorf("this needs nginx with its Lua module (scripts/need.sh nginx): %w", err)
	}
	return path, nil
}

var conf = template.Must(template.New("").Parse(`
load_module {{.Modules}}/ndk_http_module.so;
load_module {{.Modules}}/ngx_http_lua_module.so;
{{if .Root}}user root;{{end}}
daemon off;
worker_processes {{.Workers}};
worker_rlimit_nofile 8192;
worker_shutdown_timeout 20s;
pid {{.Dir}}/nginx.pid;
error_log {{.Dir}}/error.log notice;
{{.Main}}
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path {{.Dir}}/body;
  proxy_temp_path {{.Dir}}/proxy;
  fastcgi_temp_path {{.Dir}}/fastcgi;
  uwsgi_temp_path {{.Dir}}/uwsgi;
  scgi_temp_path {{.Dir}}/scgi;
  client_body_buffer_size {{.Buffer}};
  client_max_body_size 0;
  large_client_header_buffers 8 64k;
  underscores_in_headers on;
  keepalive_requests 1000000000;
  lua_package_path "{{.Dir}}/lua/?.lua;{{.Files}}/?.lua;;";
  lua_socket_log_errors off;
  lua_max_running_timers 4096;
  init_by_lua_block { require("kongstub").init("{{.Dir}}", {{if .Socket}}"{{.Socket}}"{{else}}nil{{end}}) }
  {{.HTTP}}
{{range $name, $_ := .Configs}}
  server {
    listen unix:{{$.Dir}}/{{$name}}.1;
    listen unix:{{$.Dir}}/{{$name}}.2 http2;
    location / { access_by_lua_block { require("kongstub").access("{{$name}}") } }
    location = /-/changed { content_by_lua_block { require("kongstub").changed() ngx.say("changed") } }
    location = /-/pid { content_by_lua_block { ngx.print(ngx.worker.pid()) } }
  }
{{end}}
}
`))

// Start is [Run] for a test, which ends it.
func Start(t testing.TB, o Options) *Nginx {
	t.Helper()
	n, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Stop()
		if t.Failed() {
			t.Logf("nginx's error log:\n%s", n.ErrorLog())
		}
		n.Remove()
	})
	return n
}

// Run starts nginx and waits until it answers.
func Run(o Options) (n *Nginx, err error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	o.Workers = max(o.Workers, 1)
	o.Buffer = cmp.Or(o.Buffer, "8k")
	dir, err := os.MkdirTemp("", "kn-") // short, for sockets
	if err != nil {
		return nil, err
	}
	n = &Nginx{Options: o, Dir: dir, done: make(chan struct{})}
	defer func() {
		if err != nil {
			n.Remove()
		}
	}()
	var text bytes.Buffer
	err = conf.Execute(&text, struct {
		Options
		Modules, Dir string
		Root         bool
	}{o, modules, dir, os.Geteuid() == 0})
	files := map[string][]byte{"nginx.conf": text.Bytes(), "lua/kongstub.lua": kong, "stub.lua": []byte(o.Stub)}
	for name, b := range o.Configs {
		files["conf/"+name+".json"] = b
	}
	for name, b := range files {
		path := filepath.Join(dir, name)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644))
	}
	if err != nil {
		return nil, err
	}
	n.cmd = exec.Command(binary, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = n.cmd.Wait()
		close(n.done)
	}()
	for name := range o.Configs {
		if err := n.wait(name); err != nil {
			n.Stop()
			return nil, err
		}
	}
	return n, nil
}

// Remove removes the files of an nginx that has ended.
func (n *Nginx) Remove() { _ = os.RemoveAll(n.Dir) }

// wait waits until nginx answers.
func (n *Nginx) wait(name string) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		_, err := n.WorkerPID(name)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nginx does not answer: %w; its error log: %s", err, n.ErrorLog())
		}
	}
}

// Stop ends nginx at once.
func (n *Nginx) Stop() {
	select {
	case <-n.done:
		return
	default:
	}
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.done:
	case <-time.After(10 * time.Second):
		_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL)
		<-n.done
	}
}

// Reload starts new workers, and has the old ones end when their requests are answered.
func (n *Nginx) Reload() error { return n.cmd.Process.Signal(syscall.SIGHUP) }

// PID returns the process id of the master.
func (n *Nginx) PID() int { return n.cmd.Process.Pid }

// ErrorLog returns what is in nginx's error log.
func (n *Nginx) ErrorLog() string {
	b, _ := os.ReadFile(filepath.Join(n.Dir, "error.log"))
	return string(b)
}

// SocketOf returns where nginx serves a configuration, by HTTP/1.1 or HTTP/2.
func (n *Nginx) SocketOf(name string, version int) string {
	return filepath.Join(n.Dir, name+"."+strconv.Itoa(version))
}

// Client returns a client for a configuration, whatever the host of its URLs. It follows no
// proxy. The test closes its idle connections.
func (n *Nginx) Client(t testing.TB, name string, version int) *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", n.SocketOf(name, version))
		},
		MaxIdleConnsPerHost: 1000,
	}
	if version == 2 {
		tr.Protocols = new(http.Protocols)
		tr.Protocols.SetUnencryptedHTTP2(true)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 90 * time.Second}
}

// WorkerPID returns the process id of a worker that answers.
func (n *Nginx) WorkerPID(name string) (int, error) {
	c, err := net.Dial("unix", n.SocketOf(name, 1))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = c.Write([]byte("GET /-/pid HTTP/1.0\r\n\r\n"))
	var b bytes.Buffer
	_, _ = b.ReadFrom(c)
	_, body, _ := strings.Cut(b.String(), "\r\n\r\n")
	return strconv.Atoi(body)
}
