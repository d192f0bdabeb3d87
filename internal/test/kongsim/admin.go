package kongsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
)

// maxAdminBody bounds what the Admin API reads.
const maxAdminBody = 10 << 20

// listenAdmin opens the Admin API's port. It has what is needed to make routes,
// services, plugins and certificates, and to change them. serve begins to
// answer.
func (s *Sim) listenAdmin() (serve func(), err error) {
	if s.opts.AdminListen == "off" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", s.opts.AdminListen)
	if err != nil {
		return nil, fmt.Errorf("the Admin API cannot listen: %w", err)
	}
	s.adminURL = "http://" + l.Addr().String()
	s.adminListener = l
	s.admin = &http.Server{Handler: http.HandlerFunc(s.serveAdmin), ReadHeaderTimeout: time.Minute}
	return func() { s.background.Go(func() { _ = s.admin.Serve(l) }) }, nil
}

func (s *Sim) serveAdmin(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "kongsim")
	w.Header().Set("Via", "1.1 kongsim (a stand-in for Kong)")
	status, body := s.adminRequest(r)
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body)
}

func plain(text string) map[string]any { return map[string]any{"message": text} }

func (e *apiError) body() map[string]any {
	if e.name == "" || e.code == 3 && e.fields == nil {
		return plain(e.message)
	}
	return map[string]any{"code": e.code, "name": e.name, "message": e.message, "fields": jsonErrors(e.fields)}
}

func (s *Sim) adminRequest(r *http.Request) (int, any) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	notFound := func() (int, any) { return http.StatusNotFound, plain("Not found") }
	kind := path[0]
	switch {
	case r.URL.Path == "/":
		return http.StatusOK, map[string]any{"tagline": "kongsim, a stand-in for Kong", "version": "0", "node_id": s.nodeID,
			"plugins": map[string]any{"available_on_server": map[string]any{s.name: true}}}
	case kind == "config" && len(path) == 1:
		return s.adminConfig(r)
	case s.schemas[kind] == nil:
		return notFound()
	case len(path) == 1:
		return s.adminCollection(r, kind, nil)
	case len(path) == 2:
		return s.adminEntity(r, kind, path[1])
	case len(path) == 3 && kind != "plugins" && (path[2] == "plugins" || kind == "services" && path[2] == "routes"):
		s.config.Lock()
		_, parent := s.entities.find(kind, path[1])
		s.config.Unlock()
		if parent == nil || kind == "certificates" {
			return notFound()
		}
		return s.adminCollection(r, path[2], map[string]any{strings.TrimSuffix(kind, "s"): map[string]any{"id": parent["id"]}})
	}
	return notFound()
}

// adminCollection lists the entities of a kind, or makes one; parent holds the
// foreign key of those below an entity.
func (s *Sim) adminCollection(r *http.Request, kind string, parent map[string]any) (int, any) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.config.Lock()
		defer s.config.Unlock()
		list := []any{}
		for _, v := range s.entities.all[kind] {
			match := true
			for f, key := range parent {
				match = match && foreignID(v, f) == key.(map[string]any)["id"]
			}
			if match {
				list = append(list, shown(kind, v))
			}
		}
		return http.StatusOK, map[string]any{"data": list, "next": nil}
	case http.MethodPost:
		args, aerr := s.adminArgs(r, kind)
		if aerr != nil {
			return aerr.status, aerr.body()
		}
		for f, key := range parent {
			args[f] = key
		}
		v, aerr := s.change(func(next *entities) (entity, *apiError) { return next.insert(kind, args) })
		if aerr != nil {
			return aerr.status, aerr.body()
		}
		return http.StatusCreated, shown(kind, v)
	}
	return http.StatusMethodNotAllowed, plain("Method not allowed")
}

func (s *Sim) adminEntity(r *http.Request, kind, key string) (int, any) {
	var v entity
	var aerr *apiError
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.config.Lock()
		_, v = s.entities.find(kind, key)
		s.config.Unlock()
		if v == nil {
			aerr = notFound()
		}
	case http.MethodPatch:
		var args map[string]any
		if args, aerr = s.adminArgs(r, kind); aerr == nil {
			args["updated_at"] = float64(time.Now().Unix())
			v, aerr = s.change(func(next *entities) (entity, *apiError) { return next.update(kind, key, args) })
		}
	case http.MethodDelete:
		_, aerr = s.change(func(next *entities) (entity, *apiError) { return nil, next.remove(kind, key) })
		if aerr == nil || aerr.status == http.StatusNotFound {
			return http.StatusNoContent, nil // as Kong, also for what is not there
		}
	default:
		return http.StatusMethodNotAllowed, plain("Method not allowed")
	}
	if aerr != nil {
		return aerr.status, aerr.body()
	}
	return http.StatusOK, shown(kind, v)
}

// adminConfig is POST /config: a declarative configuration as the field
// "config" of a form or of JSON, or as the body itself.
func (s *Sim) adminConfig(r *http.Request) (int, any) {
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, plain("Method not allowed")
	}
	body, aerr := adminBody(r)
	if aerr != nil {
		return aerr.status, aerr.body()
	}
	doc := body
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch media {
	case "application/x-www-form-urlencoded":
		form, err := parseForm(string(body))
		if err != nil {
			return http.StatusBadRequest, plain(err.Error())
		}
		doc = []byte(str(form["config"]))
	case "application/json":
		var m map[string]any
		if json.Unmarshal(body, &m) == nil && m["config"] != nil {
			doc = []byte(str(m["config"]))
		}
	}
	if err := s.SetConfig(doc); err != nil {
		var aerr *apiError
		if errors.As(err, &aerr) {
			return aerr.status, aerr.body()
		}
		return http.StatusBadRequest, plain(err.Error())
	}
	s.config.Lock()
	defer s.config.Unlock()
	out := map[string]any{}
	for _, kind := range kinds {
		byID := map[string]any{}
		for _, v := range s.entities.all[kind] {
			byID[str(v["id"])] = shown(kind, v)
		}
		out[kind] = byID
	}
	return http.StatusCreated, out
}

func adminBody(r *http.Request) ([]byte, *apiError) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAdminBody+1))
	switch {
	case err != nil:
		return nil, &apiError{status: http.StatusBadRequest, message: "the body could not be read"}
	case len(body) > maxAdminBody:
		return nil, &apiError{status: http.StatusRequestEntityTooLarge, message: "request body too large"}
	}
	return body, nil
}

// adminArgs reads the arguments of a request: JSON, or a form whose values get
// the types of the schema.
func (s *Sim) adminArgs(r *http.Request, kind string) (map[string]any, *apiError) {
	body, aerr := adminBody(r)
	if aerr != nil || len(body) == 0 {
		return map[string]any{}, aerr
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch media {
	case "application/json":
		var args map[string]any
		if err := json.Unmarshal(body, &args); err != nil || args == nil {
			return nil, &apiError{status: http.StatusBadRequest, message: "Cannot parse JSON body"}
		}
		return args, nil
	case "application/x-www-form-urlencoded":
		form, err := parseForm(string(body))
		if err != nil {
			return nil, &apiError{status: http.StatusBadRequest, message: err.Error()}
		}
		return s.schemas[kind].infer(form).(map[string]any), nil
	}
	return nil, &apiError{status: http.StatusUnsupportedMediaType, message: "this stand-in for Kong takes application/json and application/x-www-form-urlencoded"}
}

// shown returns an entity as the Admin API shows it.
func shown(kind string, v entity) entity {
	out := entity{}
	for k, e := range v {
		out[k] = e
	}
	switch kind {
	case "plugins":
		out["consumer"] = nil
	case "certificates":
		out["snis"] = []any{}
	}
	return out
}
