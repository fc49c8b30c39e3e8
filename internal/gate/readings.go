package gate

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// Backends read one path in many ways: Tomcat drops ";x", IIS takes a
// backslash for a slash, Windows drops trailing dots and spaces, PHP serves
// /index.php/admin with the script of /index.php, some decode twice. A rule that
// asks for a login must hold for whatever the backend behind us may see, so all
// those readings are computed (readers.go). What is proxied is never changed.

// errPath means that a path holds NUL or another control character, plain or
// under one or two layers of percent-encoding, or that the request's target is
// no path at all. No good client sends that.
var errPath = errors.New("the URL has no path that could be meant well")

// The work for one path is bounded. A path with more readings, or a longer one
// with more readings than one, is taken to match every line that raises and
// none that lowers.
const (
	maxReadings = 64
	maxExplored = 4096 // bytes
)

// pathReadings are the ways to read one path, as text with its case kept; they
// are compared without regard to case.
type pathReadings struct {
	first    string // the path as sent
	more     []string
	overflow bool
}

// find returns the first reading of which f says what is wanted.
func (p pathReadings) find(f func(string) bool, want bool) (reading string, found bool) {
	if f(p.first) == want {
		return p.first, true
	}
	for _, reading := range p.more {
		if f(reading) == want {
			return reading, true
		}
	}
	return "", false
}

// readURL computes the readings of the path of u.
func readURL(u *url.URL) (pathReadings, error) {
	escaped := u.EscapedPath()
	switch {
	case u.Opaque != "":
		return pathReadings{}, errPath // "GET http:me/orders" would be proxied without its slash
	case escaped == "":
		escaped = "/"
	case escaped[0] != '/':
		return pathReadings{}, errPath
	}
	p, err := readPath(escaped)
	if err != nil || u.RawPath == "" || u.RawPath == escaped {
		return p, err
	}
	// The client left bytes plain that have to be encoded. Proxies encode them,
	// and with them the whole path anew; other handlers see what was sent.
	raw, err := readPath(u.RawPath)
	p.overflow = p.overflow || raw.overflow
	p.more = append(append(p.more, raw.first), raw.more...)
	return p, err
}

// readPath computes the readings of an escaped path. An ordinary path has one.
func readPath(escaped string) (pathReadings, error) {
	look := inspect(escaped)
	if look.control {
		return pathReadings{}, errPath
	}
	if look.highEscapes {
		// Bytes beyond ASCII are only ever sent encoded (RFC 3986, 2.5), so
		// this is the spelling in which an operator writes such a path.
		escaped = decodeHigh(escaped)
		look = inspect(escaped)
	}
	p := pathReadings{first: escaped}
	if !look.ambiguous {
		return p, nil
	}
	if len(escaped) > maxExplored {
		p.overflow = true
		return p, controlBelow(escaped)
	}
	return p, p.explore()
}

// inspection is what one pass over a path finds.
type inspection struct {
	ambiguous   bool // more than one reading
	highEscapes bool // %80 to %FF
	control     bool
}

func inspect(p string) (look inspection) {
	for i := range len(p) {
		switch c := p[i]; {
		case c < 0x20 || c == 0x7f:
			look.control = true
		case c == '%':
			look.ambiguous = true
			if i+1 < len(p) && (p[i+1] >= '8' && p[i+1] <= '9' || p[i+1]|0x20 >= 'a' && p[i+1]|0x20 <= 'f') {
				look.highEscapes = true
			}
		case c == '\\' || c == ';':
			look.ambiguous = true
		case c == '/':
			last := i == len(p)-1 && i > 0
			if last || i+1 < len(p) && (p[i+1] == '/' || p[i+1] == '.') ||
				i > 0 && (p[i-1] == '.' || p[i-1] == ' ') || i >= 4 && isPHP(p[:i]) {
				look.ambiguous = true
			}
		case c == '.' || c == ' ':
			look.ambiguous = look.ambiguous || i == len(p)-1
		case c >= 0xc0:
			if _, n := overlong(p[i:]); n > 0 {
				look.ambiguous = true
			}
		}
	}
	return look
}

// reading is a path on its way through the readers.
type reading struct {
	text    string
	decoded int // layers of percent-encoding taken off
}

// maxDecoded is how often a path is decoded: once by the server that has read
// it and once more by what runs on it.
const maxDecoded = 2

// explore applies every reader to every reading until nothing new comes.
func (p *pathReadings) explore() error {
	found := make([]reading, 1, 8)
	found[0] = reading{text: p.first}
	for i := 0; i < len(found) && !p.overflow; i++ {
		from := found[i]
		for _, next := range from.next() {
			if hasControl(next.text) {
				return errPath
			}
			// The same text under fewer decodings may be decoded further.
			if slices.ContainsFunc(found, func(r reading) bool { return r.text == next.text && r.decoded <= next.decoded }) {
				continue
			}
			if p.overflow = len(found) == maxReadings; p.overflow {
				break
			}
			found = append(found, next)
		}
	}
	if p.overflow {
		return controlBelow(p.first)
	}
	p.more = make([]string, len(found)-1)
	for i, r := range found[1:] {
		p.more[i] = r.text
	}
	return nil
}

// next returns what one reader more makes of r.
func (r reading) next() []reading {
	all := make([]reading, 0, 16)
	if r.decoded < maxDecoded && strings.Contains(r.text, "%") {
		all = append(all, reading{decode(r.text, anyByte), r.decoded + 1})
	}
	for _, read := range readers() {
		if text := read(r.text); text != r.text {
			all = append(all, reading{text, r.decoded})
		}
	}
	return all
}

// controlBelow finds control characters under the layers of percent-encoding
// of a path whose readings are not computed.
func controlBelow(p string) error {
	for range maxDecoded {
		p = decode(p, anyByte)
		if hasControl(p) || hasControl(decodeOverlong(p)) {
			return errPath
		}
	}
	return nil
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return true
		}
	}
	return false
}
