package gate

import (
	"net/http"
	"strings"
)

// matcherApplies asks a named matcher about every reading of the paths and of
// the method. An ordinary request is asked about once.
func (r *rule) matcherApplies(req *http.Request, paths []pathReadings, t *target) (applies bool, by string) {
	// A line that lowers the level does not look at the URL as rewritten.
	asIs := r.raises() || !t.rewritten
	for _, method := range t.methods {
		if asIs && r.ask(req, method, nil) == r.raises() {
			return r.raises(), req.URL.Path
		}
		for _, p := range paths {
			if by, found := r.askReadings(req, readingsQuery{method, p, asIs}); found {
				return r.raises(), by
			}
		}
	}
	return !r.raises(), ""
}

type readingsQuery struct {
	method string
	paths  pathReadings
	asIs   bool // the request as it is was asked about already
}

// askReadings looks for a reading that decides: for a rule that raises, one
// that matches; for one that lowers, one that does not.
func (r *rule) askReadings(req *http.Request, q readingsQuery) (by string, found bool) {
	want := r.raises()
	ask := func(path string) bool {
		if !(q.asIs && path == req.URL.Path) && r.ask(req, q.method, &path) == want {
			return true
		}
		lower := strings.ToLower(path)
		return lower != path && r.ask(req, q.method, &lower) == want
	}
	return q.paths.find(ask, true)
}

// ask calls the matcher with another path and method. It changes the request
// and its URL in place for that time, since a server's placeholders look at
// the request that they were made for and not at a copy.
func (r *rule) ask(req *http.Request, method string, path *string) bool {
	u, oldMethod := *req.URL, req.Method
	defer func() { *req.URL, req.Method = u, oldMethod }()
	req.Method = method
	if path != nil {
		req.URL.Path, req.URL.RawPath = *path, ""
	}
	matched, err := r.match(req)
	if err != nil {
		return r.raises()
	}
	return matched
}

// methodReadings are the methods that a backend may act on: HEAD runs what GET
// runs, and nobody knows what a method of the client's own invention does.
func methodReadings(all []string, method string, overridden []string) []string {
	all = appendMethods(all, method)
	for _, m := range overridden {
		all = appendMethods(all, m)
	}
	return all
}

func appendMethods(all []string, method string) []string {
	all = append(all, method)
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return all
	case http.MethodHead:
		return append(all, http.MethodGet)
	}
	return append(all, http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete)
}

// overrides is what headers that override URL or method make of a request.
type overrides struct {
	effective []pathReadings // the shop acts on these paths, which come from the client
	possible  []pathReadings // a trusted proxy names these, whatever the shop does with them
	methods   []string
}

// overridesOf reads what is left of those headers after stripping.
func (s *stripper) overridesOf(h http.Header, trusted bool) (o overrides, err error) {
	if !trusted && !s.kept {
		return o, nil
	}
	for name, values := range h {
		g := s.guardOf(name)
		if g != guardKept && g != guardUntrusted {
			continue
		}
		for _, value := range values {
			switch f := fold(name); {
			case strings.Contains(f, "method"):
				for m := range strings.SplitSeq(value, ",") {
					o.methods = append(o.methods, strings.ToUpper(strings.TrimSpace(m)))
				}
			case f == "x-forwarded-prefix": // changes links, not what is served
			default:
				p, err := readPath(overridePath(value))
				if err != nil {
					return o, err
				}
				if g == guardKept {
					o.effective = append(o.effective, p)
				} else {
					o.possible = append(o.possible, p)
				}
			}
		}
	}
	return o, nil
}

// overridePath finds the path in a header that holds a path or a URL. Nothing
// may be wrong with such a header: a backend reads it somehow.
func overridePath(value string) string {
	value = strings.TrimSpace(value)
	if scheme, rest, ok := strings.Cut(value, "://"); ok && !strings.ContainsAny(scheme, "/?#") {
		host := strings.IndexAny(rest, "/?#")
		if host < 0 {
			return "/"
		}
		value = rest[host:]
	}
	if i := strings.IndexAny(value, "?#"); i >= 0 {
		value = value[:i]
	}
	if !strings.HasPrefix(value, "/") {
		value = "/" + value
	}
	return value
}
