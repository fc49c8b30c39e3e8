package session

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

const (
	cookieName   = "wxgate"
	flowSuffix   = "-flow"
	hostPrefix   = "__Host-"   // RFC 6265bis, 4.1.3: Secure, Path=/, no Domain
	securePrefix = "__Secure-" // RFC 6265bis, 4.1.3: Secure

	defaultMaxAge = 30 * 24 * time.Hour

	// maxTokens is how many different values of one cookie are looked at. A
	// browser sends two at most: one of the host, one of the domain.
	maxTokens = 8
)

// CookieConfig says what the cookies of a site look like.
type CookieConfig struct {
	// Secure is true for a site that visitors reach over https.
	Secure bool
	// Domain lets the hosts under it share one session. It is a lower-case
	// host name of two labels or more, without a leading dot. Default: none,
	// only the host that set the cookie gets it.
	Domain string
	// MaxAge is how long a browser keeps the session cookie. Every time it is
	// set again the time starts anew. Default: 30 days.
	MaxAge time.Duration
}

// Cookies reads and makes the cookies of one site: the session's and that of a
// login under way. Their names are __Host-wxgate and __Host-wxgate-flow, with
// __Secure- instead of __Host- when there is a domain, and no prefix over
// plain http. Only these are read: a browser takes a prefixed name from https
// alone, so a network attacker cannot plant a session.
type Cookies struct {
	domain  string
	maxAge  time.Duration
	secure  bool
	session string
	flow    string
}

// NewCookies returns the cookies that cfg asks for. It is an error when Domain
// is not a domain or MaxAge is less than a second.
func NewCookies(cfg CookieConfig) (*Cookies, error) {
	if cfg.Domain != "" && !isDomain(cfg.Domain) {
		return nil, fmt.Errorf("reading cookie domain: %q is not a domain like example.com", cfg.Domain)
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultMaxAge
	}
	if cfg.MaxAge < time.Second {
		return nil, fmt.Errorf("reading cookie max_age: %v is less than a second", cfg.MaxAge)
	}
	prefix := ""
	switch {
	case cfg.Secure && cfg.Domain == "":
		prefix = hostPrefix
	case cfg.Secure:
		prefix = securePrefix
	}
	return &Cookies{
		domain:  cfg.Domain,
		maxAge:  cfg.MaxAge,
		secure:  cfg.Secure,
		session: prefix + cookieName,
		flow:    prefix + cookieName + flowSuffix,
	}, nil
}

// isDomain says whether a browser would take s as the Domain of a cookie, as
// far as that can be known without the list of public suffixes.
func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	if len(labels) < 2 || len(s) > 253 {
		return false
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return false // an IP address, or what a browser takes for one
	}
	return !slices.ContainsFunc(labels, func(label string) bool {
		return label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != ""
	})
}

// AppendSessions appends to dst the different values that h holds for the
// session cookie, in the order sent. Two can be there although a browser keeps
// one cookie per host and path: a neighbouring host may have set another for
// the whole domain. The caller must not choose between two that both open.
// With more than a handful of values none is appended.
func (c *Cookies) AppendSessions(dst []string, h http.Header) []string {
	return appendValues(dst, h, c.session)
}

// AppendFlows is AppendSessions for the cookie of a login under way.
func (c *Cookies) AppendFlows(dst []string, h http.Header) []string {
	return appendValues(dst, h, c.flow)
}

func appendValues(dst []string, h http.Header, name string) []string {
	first := len(dst)
	for _, line := range h["Cookie"] {
		for start, end := nextCookie(line, 0); start >= 0; start, end = nextCookie(line, end) {
			n, value := cutCookie(line[start:end])
			if n != name || value == "" || slices.Contains(dst[first:], value) {
				continue
			}
			if len(dst)-first == maxTokens {
				return dst[:first]
			}
			dst = append(dst, value)
		}
	}
	return dst
}

// nextCookie returns where in a line of the Cookie header, at or after from,
// the next cookie stands that may be ours, or -1. A shop has many cookies and
// this runs for every request, so it looks for our name and not at each.
func nextCookie(line string, from int) (start, end int) {
	i := strings.Index(line[from:], cookieName)
	if i < 0 {
		return -1, -1
	}
	start = from + strings.LastIndexByte(line[from:from+i], ';') + 1
	end = from + i
	if j := strings.IndexByte(line[end:], ';'); j >= 0 {
		return start, end + j
	}
	return start, len(line)
}

// cutCookie returns name and value of one cookie of a Cookie header. It reads
// what net/http reads: white space around a cookie and after its name, and
// quotes around its value, do not belong to them.
func cutCookie(part string) (name, value string) {
	name, value, _ = strings.Cut(textproto.TrimString(part), "=")
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return textproto.TrimString(name), value
}

// StripCookies removes our cookies from the Cookie header, under every name
// that one of our configurations gives them, and the header when nothing else
// is in it. A session must not be read by the shop, nor land in its logs. What
// remains is left as the browser sent it. Other spellings of the names are left
// too: a browser sends a name as it was set, so they hold no token of ours.
func StripCookies(h http.Header) {
	lines := h["Cookie"]
	kept := lines[:0]
	for _, line := range lines {
		if rest, found := withoutOurs(line); !found || rest != "" {
			kept = append(kept, rest)
		}
	}
	switch {
	case len(lines) == 0: // not ours to delete or to make
	case len(kept) == 0:
		delete(h, "Cookie")
	default:
		h["Cookie"] = kept
	}
}

// withoutOurs returns line without our cookies, and whether there were any. It
// copies only what stands in front of one of ours.
func withoutOurs(line string) (rest string, found bool) {
	var head strings.Builder
	at := 0 // what stands before is in head, or dropped
	for start, end := nextCookie(line, 0); start >= 0; start, end = nextCookie(line, end) {
		if name, _ := cutCookie(line[start:end]); !isOurs(name) {
			continue
		}
		if at < start {
			if head.Len() == 0 {
				head.Grow(start - at + len(line) - end)
			}
			head.WriteString(line[at:start])
		}
		at, found = min(end+1, len(line)), true // with the semicolon behind it
	}
	if !found {
		return line, false
	}
	rest = line[at:]
	if head.Len() > 0 {
		head.WriteString(rest)
		rest = head.String()
		if at == len(line) {
			rest = strings.TrimSuffix(rest, ";")
		}
	}
	return strings.TrimLeft(rest, " \t"), true
}

// isOurs says whether name is one of our cookies, whatever the site's
// configuration is now: a browser may still hold the cookies of an earlier one.
func isOurs(name string) bool {
	if rest, ok := strings.CutPrefix(name, hostPrefix); ok {
		name = rest
	} else if rest, ok := strings.CutPrefix(name, securePrefix); ok {
		name = rest
	}
	return strings.TrimSuffix(name, flowSuffix) == cookieName
}

// Session returns the cookie that holds a session's token. A cookie that is
// not persistent goes when the browser closes, or the page in WeChat.
func (c *Cookies) Session(token string, persistent bool) *http.Cookie {
	cookie := c.cookie(c.session, token)
	if persistent {
		cookie.MaxAge = int(c.maxAge / time.Second)
	}
	return cookie
}

// Flow returns the cookie of a login under way, for as long as the login may
// take.
func (c *Cookies) Flow(token string, maxAge time.Duration) *http.Cookie {
	cookie := c.cookie(c.flow, token)
	cookie.MaxAge = int(maxAge / time.Second)
	return cookie
}

// cookie is SameSite=Lax and not Strict because the visitor comes back from
// WeChat's host by a navigation, and its session and flow must come along.
func (c *Cookies) cookie(name, value string) *http.Cookie {
	return &http.Cookie{
		Name:     name,
		Value:    value,
		Domain:   c.domain,
		Path:     "/",
		Secure:   c.secure,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	}
}
