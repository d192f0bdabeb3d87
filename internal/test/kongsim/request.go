package kongsim

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// nginx's large_client_header_buffers (4 8k).
const (
	maxHeaderLine  = 8 << 10
	maxHeaderBytes = 32 << 10
)

// httpRequest is one request of a client, with its bytes as they came. net/http
// is not used for it, because Kong hands on what net/http changes or refuses:
// the request line, names and values of headers, the length of it all.
type httpRequest struct {
	line    string // the request line
	method  string
	target  string // origin form, as nginx's $request_uri
	host    string // nginx's $host with the port, lower case
	minor   int    // of HTTP/1.minor
	headers []Header
	length  int64 // bytes of line, headers and body
	start   time.Time
	close   bool // the connection ends with this request

	content []byte
	file    string // the temp file that holds the body, or ""
}

// header returns the first value of a header whose name is given in lower case.
func (r *httpRequest) header(name string) (string, bool) {
	for i := range r.headers {
		if r.headers[i].Name == name {
			return r.headers[i].Value, true
		}
	}
	return "", false
}

func (r *httpRequest) query() string {
	_, q, _ := strings.Cut(r.target, "?")
	return q
}

func (r *httpRequest) path() string {
	p, _, _ := strings.Cut(r.target, "?")
	return p
}

// done unlinks the temp file, as nginx does at the end of a request.
func (r *httpRequest) done() {
	if r.file != "" {
		os.Remove(r.file)
		r.file = ""
	}
}

// httpError is a request that is refused before any plugin sees it.
type httpError struct {
	status int
	why    string
}

func (e *httpError) Error() string { return e.why }

func badRequest(why string) error { return &httpError{400, why} }

// readRequestHead reads the request line and the headers. io.EOF means that
// the client sent no further request.
func readRequestHead(br *bufio.Reader) (*httpRequest, error) {
	r := &httpRequest{}
	var line string
	for range 3 { // nginx skips empty lines before a request
		raw, err := readLine(br, 414, "Request-URI Too Large")
		if err != nil {
			return nil, err
		}
		r.length += int64(len(raw))
		if line = trimEOL(raw); line != "" {
			break
		}
	}
	r.start = time.Now()
	r.line = line
	if err := r.parseLine(); err != nil {
		return nil, err
	}
	total := 0
	for {
		raw, err := readLine(br, 400, "Request Header Or Cookie Too Large")
		if errors.Is(err, io.EOF) {
			err = badRequest("the client closed the connection in the headers")
		}
		if err != nil {
			return nil, err
		}
		r.length += int64(len(raw))
		if total += len(raw); total > maxHeaderBytes {
			return nil, badRequest("Request Header Or Cookie Too Large")
		}
		line := trimEOL(raw)
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || line[0] == ' ' || line[0] == '\t' || strings.IndexByte(line, 0) >= 0 {
			return nil, badRequest("invalid header line")
		}
		if !headerName(name) {
			continue // nginx's ignore_invalid_headers
		}
		r.headers = append(r.headers, Header{strings.ToLower(name), strings.Trim(value, " \t")})
	}
	return r, r.checkHead()
}

func readLine(br *bufio.Reader, status int, why string) (string, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxHeaderLine {
			return "", &httpError{status, why}
		}
		if err == nil {
			return string(line), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) && len(line) > 0 {
				err = badRequest("the client closed the connection in the headers")
			}
			return "", err
		}
	}
}

func trimEOL(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r") }

func headerName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

func (r *httpRequest) parseLine() error {
	bad := badRequest("invalid request line")
	parts := strings.Split(r.line, " ")
	if len(parts) != 3 || parts[0] == "" {
		return bad
	}
	r.method, r.target = parts[0], parts[1]
	for i := range len(r.method) {
		if c := r.method[i]; !(c >= 'A' && c <= 'Z' || c == '_' || c == '-') {
			return bad
		}
	}
	switch parts[2] {
	case "HTTP/1.1":
		r.minor = 1
	case "HTTP/1.0":
	default:
		if strings.HasPrefix(parts[2], "HTTP/2") || strings.HasPrefix(parts[2], "HTTP/3") {
			return &httpError{505, "HTTP Version Not Supported"}
		}
		return bad
	}
	if r.method == "CONNECT" {
		return &httpError{405, "Not Allowed"}
	}
	for i := range len(r.target) {
		if c := r.target[i]; c <= ' ' || c == 0x7f {
			return bad
		}
	}
	if strings.HasPrefix(r.target, "/") {
		return nil
	}
	// The absolute form: nginx keeps the path, and takes the host from it.
	_, rest, ok := strings.Cut(r.target, "://")
	if !ok {
		return bad
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.host, r.target = strings.ToLower(rest[:end]), rest[end:]
	if r.host == "" {
		return bad
	}
	if !strings.HasPrefix(r.target, "/") {
		r.target = "/" + r.target
	}
	return nil
}

func (r *httpRequest) checkHead() error {
	count := map[string]int{}
	for _, h := range r.headers {
		count[h.Name]++
	}
	host, ok := r.header("host")
	switch {
	case count["host"] > 1 || !ok && r.minor == 1:
		return badRequest("no Host header, or more than one")
	case count["content-length"] > 1:
		return badRequest("more than one Content-Length")
	case count["content-length"] > 0 && count["transfer-encoding"] > 0:
		return badRequest("both Content-Length and Transfer-Encoding")
	}
	if r.host == "" {
		r.host = strings.ToLower(host)
	}
	connection, _ := r.header("connection")
	connection = strings.ToLower(connection)
	r.close = strings.Contains(connection, "close") || r.minor == 0 && !strings.Contains(connection, "keep-alive")
	return nil
}

// readBody reads the body: into memory up to the buffer's size, into a temp
// file beyond it. proceed is called before, where the client waits for that.
func (r *httpRequest) readBody(br *bufio.Reader, bufferSize int, tmp *tempDir, proceed func() error) error {
	var body io.Reader
	chunked := false
	if te, ok := r.header("transfer-encoding"); ok {
		if !strings.EqualFold(te, "chunked") || r.minor == 0 {
			return &httpError{501, "Not Implemented"}
		}
		body, chunked = httputil.NewChunkedReader(br), true
	} else if cl, ok := r.header("content-length"); ok {
		n, err := strconv.ParseUint(cl, 10, 62)
		if err != nil {
			return badRequest("invalid Content-Length")
		}
		if n == 0 {
			return nil
		}
		body = &exactReader{br, int64(n)}
	} else {
		return nil
	}
	if expect, ok := r.header("expect"); ok && r.minor == 1 {
		if !strings.EqualFold(expect, "100-continue") {
			return &httpError{417, "Expectation Failed"}
		}
		if err := proceed(); err != nil {
			return err
		}
	}
	buf := bytes.NewBuffer(make([]byte, 0, 512))
	n, err := io.Copy(buf, io.LimitReader(body, int64(bufferSize)+1))
	if err == nil && n > int64(bufferSize) {
		var more int64
		more, err = r.spill(buf.Bytes(), body, tmp)
		n += more
	} else {
		r.content = buf.Bytes()
	}
	if err == nil && chunked {
		err = skipTrailer(br)
	}
	r.length += n
	if err != nil && !isHTTPError(err) {
		err = badRequest("the body could not be read: " + err.Error())
	}
	return err
}

func isHTTPError(err error) bool {
	var e *httpError
	return errors.As(err, &e)
}

// exactReader reads n bytes, and reports an end before that as an error.
type exactReader struct {
	r io.Reader
	n int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.n)])
	e.n -= int64(n)
	if errors.Is(err, io.EOF) && e.n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// spill writes what was read and what follows into a temp file.
func (r *httpRequest) spill(head []byte, body io.Reader, tmp *tempDir) (int64, error) {
	f, err := tmp.create()
	if err != nil {
		return 0, &httpError{500, err.Error()}
	}
	r.file = f.Name()
	defer f.Close()
	if _, err := f.Write(head); err != nil {
		return 0, &httpError{500, err.Error()}
	}
	return io.Copy(f, body)
}

func skipTrailer(br *bufio.Reader) error {
	for total := 0; total <= maxHeaderBytes; {
		line, err := readLine(br, 400, "trailer too large")
		if err != nil {
			return err
		}
		if trimEOL(line) == "" {
			return nil
		}
		total += len(line)
	}
	return badRequest("trailer too large")
}

// tempDir is nginx's client_body_temp directory.
type tempDir struct {
	path string
	last atomic.Int64
}

// create makes the next file, readable by its owner only.
func (d *tempDir) create() (*os.File, error) {
	name := filepath.Join(d.path, fmt.Sprintf("%010d", d.last.Add(1)))
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}
