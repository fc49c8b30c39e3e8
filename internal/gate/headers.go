package gate

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// HeaderNames are the names of the identity headers. An empty name takes its
// default; OpenID has none and is off.
type HeaderNames struct {
	UserID        string // default X-User-ID
	Kind          string // default X-User-Kind
	PhoneVerified string // default X-User-Phone-Verified
	Previous      string // default X-User-Previous-ID
	Assertion     string // default X-User-Assertion
	OpenID        string // off unless named
}

func defaultHeaderNames() [numHeaders]string {
	return [numHeaders]string{
		headerUserID: "X-User-ID", headerKind: "X-User-Kind", headerPhone: "X-User-Phone-Verified",
		headerPrevious: "X-User-Previous-ID", headerAssertion: "X-User-Assertion",
	}
}

// all returns the names in force, by their places.
func (n HeaderNames) all() [numHeaders]string {
	names := defaultHeaderNames()
	for i, name := range [...]string{n.UserID, n.Kind, n.PhoneVerified, n.Previous, n.Assertion, n.OpenID} {
		if name != "" {
			names[i] = name
		}
	}
	return names
}

// canonical returns the names in force as keys of a http.Header.
func (n HeaderNames) canonical() [numHeaders]string {
	names := n.all()
	for i := range names {
		names[i] = http.CanonicalHeaderKey(names[i])
	}
	return names
}

// ourPrefixes are protected whole: our own words, and the names that WeChat's
// cloud hosting uses, which forgers send to ordinary servers.
func ourPrefixes() [2]string { return [...]string{"x-wxgate-", "x-wx-"} }

// overrideNames are folded names of headers that make a backend see another URL or method than the
// one our rules have judged.
func overrideNames() []string {
	return []string{
		"x-original-url", "x-rewrite-url", "x-http-method-override", "x-http-method", "x-method-override",
		"x-forwarded-uri", "x-forwarded-method", "x-forwarded-prefix",
	}
}

// guard says what becomes of a client's header.
type guard uint8

const (
	guardNone      guard = iota // not our business
	guardAlways                 // removed
	guardUntrusted              // removed unless a trusted proxy sent it
	guardKept                   // let through, since the shop acts on it
)

// stripper removes from a request what could pass for one of our headers.
//
// Backends spell header names in their own ways: CGI, PHP and WSGI turn
// X-User-ID, X_User_ID and X.User.ID into the same variable. Names are
// therefore compared folded: lower case, and whatever is no letter or digit is
// one class.
type stripper struct {
	guards  map[string]guard // by folded name
	kept    bool             // some overrides are let through
	first   [256]bool        // first bytes of names, to pass over most headers quickly
	longest int              // of the folded names without prefixes
}

func newStripper(names HeaderNames, keep []string) (*stripper, error) {
	s := &stripper{guards: map[string]guard{}, kept: len(keep) > 0}
	inForce := map[string]string{}
	for _, name := range names.all() {
		if name == "" {
			continue
		}
		if err := checkHeaderName(name); err != nil {
			return nil, err
		}
		f := fold(name)
		if other, taken := inForce[f]; taken {
			return nil, fmt.Errorf("header: %s and %s are the same name to a backend", other, name)
		}
		inForce[f] = name
		s.guards[f] = guardAlways
	}
	for _, name := range defaultHeaderNames() {
		if name != "" {
			s.guards[fold(name)] = guardAlways
		}
	}
	for _, name := range overrideNames() {
		s.guards[name] = guardUntrusted
	}
	for _, name := range keep {
		if !slices.Contains(overrideNames(), fold(name)) {
			return nil, fmt.Errorf("keep_headers: %s is not among the headers that are removed: %s", name, strings.Join(overrideNames(), ", "))
		}
		s.guards[fold(name)] = guardKept
	}
	s.index()
	return s, nil
}

// index prepares the quick look at a name's first byte.
func (s *stripper) index() {
	note := func(f string) {
		s.first[f[0]] = true
		if f[0] >= 'a' && f[0] <= 'z' {
			s.first[f[0]-'a'+'A'] = true
		}
	}
	for f := range s.guards {
		note(f)
		s.longest = max(s.longest, len(f))
	}
	for _, p := range ourPrefixes() {
		note(p)
	}
}

func checkHeaderName(name string) error {
	for _, c := range []byte(name) {
		if !isAlnum(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return fmt.Errorf("header: %q is not a header name", name)
		}
	}
	if !isAlnum(name[0]) {
		return fmt.Errorf("header: %q has to begin with a letter or digit", name)
	}
	taken := []string{
		"host", "cookie", "set-cookie", "authorization", "proxy-authorization", "connection", "upgrade", "te", "trailer",
		"transfer-encoding", "content-length", "content-type", "content-encoding", "keep-alive", "expect", "origin", "referer",
		"user-agent", "accept", "accept-encoding", "accept-language", "forwarded", "via", "range", "location", "vary", "date",
	}
	if f := fold(name); slices.Contains(taken, f) || strings.HasPrefix(f, "x-forwarded-") || strings.HasPrefix(f, "sec-") {
		return fmt.Errorf("header: %s already means something else", name)
	}
	for _, p := range ourPrefixes() {
		if strings.HasPrefix(fold(name), p) {
			return fmt.Errorf("header: names that begin with %s never reach the shop", p)
		}
	}
	return nil
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// fold brings a header name into the form in which a backend may see it.
func fold(name string) string { return string(appendFolded(nil, name)) }

func appendFolded(dst []byte, name string) []byte {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'A' && c <= 'Z':
			dst = append(dst, c|0x20)
		case isAlnum(c):
			dst = append(dst, c)
		default:
			dst = append(dst, '-')
		}
	}
	return dst
}

// guardOf looks up a header of any spelling.
func (s *stripper) guardOf(name string) guard {
	if name == "" || !s.first[name[0]] {
		return guardNone
	}
	var buf [64]byte
	f := appendFolded(buf[:0], name)
	for _, p := range ourPrefixes() {
		if len(f) >= len(p) && string(f[:len(p)]) == p {
			return guardAlways
		}
	}
	if len(f) > s.longest {
		return guardNone
	}
	return s.guards[string(f)]
}

// forbidden says whether a client's header of this name must not pass.
func (s *stripper) forbidden(name string, trusted bool) bool {
	g := s.guardOf(name)
	return g == guardAlways || g == guardUntrusted && !trusted
}

// strip removes from r every header, connection option and trailer that could
// pass for ours, and our own credentials. It returns how many it removed.
func (s *stripper) strip(r *http.Request, trusted bool) (removed int) {
	for name := range r.Header {
		if s.forbidden(name, trusted) {
			delete(r.Header, name)
			removed++
		}
	}
	removed += s.stripOptions(r.Header, "Connection", trusted)
	removed += s.stripOptions(r.Header, "Trailer", trusted)
	removed += s.stripTrailers(r, trusted)
	stripCredentials(r.Header)
	return removed
}

// stripOptions removes protected names from a list of names. A proxy deletes
// whatever Connection names (RFC 9110, 7.6.1): `Connection: X-User-ID` would
// make it delete the header that we set.
func (s *stripper) stripOptions(h http.Header, list string, trusted bool) (removed int) {
	for i, line := range h[list] {
		kept, changed := []string(nil), false
		for option := range strings.SplitSeq(line, ",") {
			if s.forbidden(strings.Trim(option, " \t"), trusted) {
				changed = true
				removed++
				continue
			}
			kept = append(kept, option)
		}
		if changed {
			h[list][i] = strings.Join(kept, ",")
		}
	}
	if removed > 0 {
		h[list] = slices.DeleteFunc(h[list], func(line string) bool { return strings.Trim(line, " \t,") == "" })
		if len(h[list]) == 0 {
			delete(h, list)
		}
	}
	return removed
}

// stripCredentials removes our own scheme from Authorization; the shop's stays.
func stripCredentials(h http.Header) {
	values := h["Authorization"]
	if len(values) == 0 {
		return
	}
	kept := slices.DeleteFunc(values, isOurCredential)
	if len(kept) == 0 {
		delete(h, "Authorization")
	} else {
		h["Authorization"] = kept
	}
}

const authScheme = "Wxgate"

// isOurCredential says whether a value of Authorization has our scheme.
func isOurCredential(value string) bool {
	value = strings.TrimLeft(value, " \t")
	return len(value) >= len(authScheme) && strings.EqualFold(value[:len(authScheme)], authScheme) &&
		(len(value) == len(authScheme) || value[len(authScheme)] == ' ' || value[len(authScheme)] == '\t')
}

// stripResponse removes from the shop's answer the words that it may speak to
// the gate: they name users and must not reach a visitor. Trailers are headers
// too, announced in Trailer or under net/http's prefix.
func stripResponse(h http.Header) {
	for name := range h {
		if isWord(strings.TrimPrefix(name, http.TrailerPrefix)) {
			delete(h, name)
		}
	}
	for i, line := range h["Trailer"] {
		names := slices.DeleteFunc(strings.Split(line, ","), func(name string) bool { return isWord(strings.Trim(name, " \t")) })
		h["Trailer"][i] = strings.Join(names, ",")
	}
}

func isWord(name string) bool {
	if name == "" || name[0]|0x20 != 'x' {
		return false
	}
	var buf [128]byte
	f := string(appendFolded(buf[:0], name))
	return f == "x-login-required" || strings.HasPrefix(f, "x-wxgate-")
}

// uncache makes an answer one that no cache keeps. Caches that have a word of
// their own obey it before Cache-Control: CDNs (RFC 9213, some with their name
// in front), surrogates (the Edge Architecture specification), nginx.
func uncache(h http.Header) {
	h.Set("Cache-Control", "private, no-store")
	for name := range h {
		switch f := fold(name); {
		case f == "expires", f == "surrogate-control", f == "x-accel-expires", strings.HasSuffix(f, "cdn-cache-control"):
			delete(h, name)
		}
	}
}
