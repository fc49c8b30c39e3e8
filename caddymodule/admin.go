package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func init() { caddy.RegisterModule(adminAPI{}) }

// adminAPI serves what operators ask for, under /wxgate/ on Caddy's admin
// endpoint. Whoever reaches that endpoint may do everything to this Caddy, so
// nothing is asked of him here.
//
// It keeps nothing of the configuration that made it: when a reload fails,
// Caddy has the new router already and the old App goes on.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.wxgate", New: func() caddy.Module { return new(adminAPI) }}
}

const (
	adminPrefix  = "/wxgate/"
	adminTimeout = 30 * time.Second // of a call that is not a stream
	adminBody    = 1 << 20          // bytes, of a call that is not a stream

	typeJSON = "application/json"
)

// adminRoute is one thing to ask for. What names a person stands in the body:
// Caddy writes URLs of its admin endpoint to its log.
type adminRoute struct {
	method, path string
	// accepts are the content types of the body: none for a route without one.
	// The size of JSON is limited.
	accepts []string
	long    bool // without a limit of time
	serve   func(*adminCall) error
}

// adminRoutes lists everything that can be asked for.
func adminRoutes() []adminRoute {
	return slices.Concat(userRoutes(), listRoutes(), webhookRoutes(), appRoutes(), keyRoutes(), transferRoutes(), explainRoutes(), doctorRoutes())
}

// Routes implements caddy.AdminRouter.
func (adminAPI) Routes() []caddy.AdminRoute {
	byPath := map[string][]adminRoute{}
	for _, r := range adminRoutes() {
		byPath[r.path] = append(byPath[r.path], r)
	}
	mux := http.NewServeMux()
	for path, routes := range byPath {
		mux.Handle(adminPrefix+path, adminMethods(routes))
	}
	mux.Handle("/", adminHandler(func(http.ResponseWriter, *http.Request) error {
		return newProblem(http.StatusNotFound, "not_found", "there is no such route")
	}))
	return []caddy.AdminRoute{{Pattern: adminPrefix, Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		mux.ServeHTTP(w, r)
		return nil
	})}}
}

// adminMethods serves the routes of one path.
func adminMethods(routes []adminRoute) http.Handler {
	return adminHandler(func(w http.ResponseWriter, r *http.Request) error {
		var methods []string
		for _, route := range routes {
			if route.method == r.Method {
				return route.answer(w, r)
			}
			methods = append(methods, route.method)
		}
		w.Header().Set("Allow", strings.Join(methods, ", "))
		return newProblem(http.StatusMethodNotAllowed, "method_not_allowed", "this route takes "+strings.Join(methods, " and "))
	})
}

// adminHandler answers with its error, if it returns one.
type adminHandler func(http.ResponseWriter, *http.Request) error

// ServeHTTP implements http.Handler.
func (h adminHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := h(w, r); err != nil {
		problemOf(err).write(w)
	}
}

// answer checks the body's type, finds the App that runs now, and serves.
func (route adminRoute) answer(w http.ResponseWriter, r *http.Request) error {
	if len(route.accepts) > 0 {
		got, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if !slices.Contains(route.accepts, got) {
			return newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type", "this route takes "+strings.Join(route.accepts, " or "))
		}
	}
	c := &adminCall{Context: r.Context(), w: w, r: r}
	if len(route.accepts) == 0 || slices.Contains(route.accepts, typeJSON) {
		r.Body = http.MaxBytesReader(w, r.Body, adminBody)
	}
	var deadline time.Time
	if !route.long {
		var cancel context.CancelFunc
		c.Context, cancel = context.WithTimeout(c.Context, adminTimeout)
		defer cancel()
		deadline = time.Now().Add(adminTimeout)
	}
	// Caddy gives a request ten seconds to arrive, and cancels it then even while
	// it is being answered.
	if err := http.NewResponseController(w).SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("waiting for a request: %w", err)
	}
	giveBack, err := c.borrow()
	if err != nil {
		return err
	}
	defer giveBack()
	return route.serve(c)
}

// adminCall is one request of an operator. It is the context of what is done
// for him.
type adminCall struct {
	context.Context
	*shared // of the App; stays open as long as the call lasts

	app *App // its configuration
	w   http.ResponseWriter
	r   *http.Request
}

// borrow finds the App that runs now and takes a share of what it owns, so
// that a reload closes no database under a call.
func (c *adminCall) borrow() (giveBack func(), err error) {
	value, err := caddy.ActiveContext().AppIfConfigured("wxgate")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, newProblem(http.StatusServiceUnavailable, "not_configured", "no configuration with a wxgate block is running")
	}
	if err != nil {
		return nil, err
	}
	c.app = value.(*App)
	share, _, err := pool.LoadOrNew(c.app.poolKey, func() (caddy.Destructor, error) {
		return nil, newProblem(http.StatusServiceUnavailable, "unavailable", "the gateway is being stopped")
	})
	if err != nil {
		return nil, err
	}
	c.shared = share.(*shared)
	return func() {
		if _, err := pool.Delete(c.app.poolKey); err != nil {
			c.app.log.Error("closing the database", "error", err)
		}
	}, nil
}

// decode reads the body.
func (c *adminCall) decode(v any) error {
	body, err := io.ReadAll(c.r.Body)
	if bytes.Contains(body, []byte(`\u0000`)) { // no database stores it in a text
		return malformed("the body holds a NUL character")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err == nil {
		err = dec.Decode(v)
	}
	if err == nil {
		_, err = dec.Token()
	}
	if !errors.Is(err, io.EOF) {
		// The text of err may quote the body, which may hold a phone.
		return malformed("the body is not the JSON object that this route takes")
	}
	return nil
}

func (c *adminCall) answer(v any) error { return writeJSON(c.w, v) }

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", typeJSON)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
