package kongsim

import (
	"encoding/json"
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

// listenAdmin opens the Admin API's port. It has what is needed to make, show, change and delete
// routes, services, plugins and certificates. serve begins to answer.
func (s *Sim) listenAdmin() (serve func(), err error) {
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
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	status, body, err := s.adminRequest(r)
	if err != nil {
		status, body = err.status, map[string]any{"message": err.message}
		if err.code > 0 {
			body = map[string]any{"code": err.code, "name": err.name, "message": err.message, "fields": err.fields}
		}
	}
	w.WriteHeader(status)
	if body != nil {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(body)
	}
}

func (s *Sim) adminRequest(r *http.Request) (status int, body any, err *apiError) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	kind := path[0]
	s.config.Lock()
	defer s.config.Unlock()
	if r.URL.Path == "/" {
		return http.StatusOK, map[string]any{"tagline": "kongsim, a stand-in for Kong", "plugins": map[string]any{"available_on_server": map[string]any{s.name: true}}}, nil
	}
	if s.entities.schemas[kind] == nil || len(path) > 3 {
		return 0, nil, errNotFound
	}
	var parent entity // holds the foreign key of what is made below an entity
	if len(path) == 3 {
		above := s.entities.find(kind, path[1])
		if field := strings.TrimSuffix(kind, "s"); above != nil && s.entities.schemas[path[2]] != nil && s.entities.schemas[path[2]].Field(field) != nil {
			parent = entity{field: map[string]any{"id": above["id"]}}
		} else {
			return 0, nil, errNotFound
		}
		kind = path[2]
	}
	switch {
	case r.Method == http.MethodGet && len(path) == 2:
		if v := s.entities.find(kind, path[1]); v != nil {
			return http.StatusOK, v, nil
		}
		return 0, nil, errNotFound
	case r.Method == http.MethodGet:
		list := []entity{}
		for _, v := range s.entities.all[kind] {
			match := true
			for f, key := range parent {
				match = match && foreignID(v, f) == key.(entity)["id"]
			}
			if match {
				list = append(list, v)
			}
		}
		return http.StatusOK, map[string]any{"data": list, "next": nil}, nil
	case r.Method == http.MethodDelete && len(path) == 2:
		_, err := s.change(func(next *entities) (entity, *apiError) { next.remove(kind, path[1]); return nil, nil })
		return http.StatusNoContent, nil, err // as Kong, also for what is not there
	case r.Method == http.MethodPatch && len(path) == 2:
		args, err := s.adminArgs(r, kind)
		if err != nil {
			return 0, nil, err
		}
		v, err := s.change(func(next *entities) (entity, *apiError) { return next.update(kind, path[1], args) })
		return http.StatusOK, v, err
	case r.Method == http.MethodPost && len(path) != 2:
		args, err := s.adminArgs(r, kind)
		if err != nil {
			return 0, nil, err
		}
		for f, key := range parent {
			args[f] = key
		}
		v, err := s.change(func(next *entities) (entity, *apiError) { return next.insert(kind, args) })
		return http.StatusCreated, v, err
	}
	return 0, nil, &apiError{status: http.StatusMethodNotAllowed, message: "Method not allowed: this stand-in for Kong knows GET, PATCH, DELETE, and POST to a list"}
}

// adminArgs reads the arguments of a request: JSON, or a form whose values get the types
// of the schema.
func (s *Sim) adminArgs(r *http.Request, kind string) (map[string]any, *apiError) {
	refuse := func(status int, message string) (map[string]any, *apiError) {
		return nil, &apiError{status: status, message: message}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAdminBody))
	if err != nil {
		return refuse(http.StatusBadRequest, "the body could not be read")
	}
	args := map[string]any{}
	switch media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case len(body) == 0:
	case media == "application/json":
		if json.Unmarshal(body, &args) != nil || args == nil {
			return refuse(http.StatusBadRequest, "Cannot parse JSON body")
		}
	case media == "application/x-www-form-urlencoded":
		if args, err = parseForm(string(body)); err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
		infer(s.entities.schemas[kind], args)
	default:
		return refuse(http.StatusUnsupportedMediaType, "this stand-in for Kong takes application/json and application/x-www-form-urlencoded")
	}
	return args, nil
}
