package gate

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Level is the access level of a request. Bypass wins over everything; of the
// others the strictest matching line wins.
type Level int

const (
	Bypass Level = iota // the gateway is not there
	Public              // never challenged, never given a cookie
	Guest               // identified silently; the level of a path that no line names
	Login               // a member is needed
	Phone               // a member with a verified phone is needed
)

func (l Level) String() string {
	return [...]string{"bypass", "public", "guest", "login", "phone"}[l]
}

// Rule is one access line: paths or one matcher.
type Rule struct {
	Level Level
	// Paths are exact, end in /* (which covers the path itself too), or are
	// *.ext. They are compared without regard to case.
	Paths []string
	// Match is a named matcher of the server. An error counts as a match for a
	// line that raises the level and as none for bypass and public.
	Match func(*http.Request) (bool, error)
	// Name is what operators are told of the matcher.
	Name string
}

// String is the line as an operator has written it.
func (r Rule) String() string {
	if r.Match != nil {
		return r.Level.String() + " " + r.Name
	}
	return r.Level.String() + " " + strings.Join(r.Paths, " ")
}

// raises says whether the rule makes access harder; the others make it easier.
func (r *rule) raises() bool { return r.level > Guest }

type rule struct {
	text     string // as it was written
	level    Level
	patterns []pattern
	match    func(*http.Request) (bool, error)
}

type rules struct{ all []rule }

type patternKind int

const (
	patternExact patternKind = iota
	patternTree              // a path and everything below it
	patternExt               // everything that ends so
)

type pattern struct {
	text string
	kind patternKind
}

func (p pattern) matches(path string) bool {
	switch p.kind {
	case patternExact:
		return strings.EqualFold(path, p.text)
	case patternTree:
		rest, ok := cutPrefixFold(path, p.text)
		return ok && (rest == "" || rest[0] == '/')
	default:
		return hasExtension(path, p.text)
	}
}

// hasExtension says whether the last segment of path ends in ext.
func hasExtension(path, ext string) bool {
	for i := len(path) - 1; i >= 0 && path[i] != '/'; i-- {
		if path[i] == '.' && strings.EqualFold(path[i:], ext) {
			return true
		}
	}
	return false
}

// cutPrefixFold is strings.CutPrefix without regard to case, also where a
// letter's other case has another length: U+017F is an s.
func cutPrefixFold(s, prefix string) (rest string, ok bool) {
	for prefix != "" {
		if s == "" {
			return "", false
		}
		n, m := 1, 1
		switch c, d := s[0], prefix[0]; {
		case c == d && c < utf8.RuneSelf:
		case c < utf8.RuneSelf && d < utf8.RuneSelf:
			if c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z' {
				return "", false
			}
		default:
			_, n = utf8.DecodeRuneInString(s)
			_, m = utf8.DecodeRuneInString(prefix)
			if !strings.EqualFold(s[:n], prefix[:m]) {
				return "", false
			}
		}
		s, prefix = s[n:], prefix[m:]
	}
	return s, true
}

func compileRules(lines []Rule) (*rules, error) {
	rs := new(rules)
	for _, line := range lines {
		r := rule{text: line.String(), level: line.Level, match: line.Match}
		if (line.Match != nil) == (len(line.Paths) > 0) {
			return nil, fmt.Errorf("%s: a line names either paths or one matcher", line.Level)
		}
		for _, text := range line.Paths {
			p, err := compilePattern(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line.Level, err)
			}
			if err := p.fits(line.Level); err != nil {
				return nil, fmt.Errorf("%s: %s %w", line.Level, text, err)
			}
			r.patterns = append(r.patterns, p.readings()...)
		}
		rs.all = append(rs.all, r)
	}
	return rs, nil
}

func compilePattern(text string) (pattern, error) {
	body, kind := text, patternExact
	switch {
	case strings.HasPrefix(text, "*."):
		body, kind = text[1:], patternExt
	case strings.HasSuffix(text, "/*"):
		body, kind = strings.TrimSuffix(text, "/*"), patternTree
	}
	switch {
	case text == "" || kind != patternExt && text[0] != '/':
		return pattern{}, fmt.Errorf("%q is not a path: it has to begin with a slash, or be like *.css", text)
	case strings.Contains(body, "*"):
		return pattern{}, fmt.Errorf("%q: an asterisk stands only at the end, as in /me/*, or in front, as in *.css", text)
	case kind == patternExt && (len(body) < 2 || strings.Contains(body, "/")):
		return pattern{}, fmt.Errorf("%q is not an extension like *.css", text)
	case strings.ContainsAny(body, "?#%;\\") || strings.Contains(body, "//") || hasControl(body):
		return pattern{}, fmt.Errorf("%q: write the path as people read it, without query, fragment, percent-encoding, semicolon, backslash or double slash", text)
	case resolveDots(body) != body || dropTrailing(body) != body:
		return pattern{}, fmt.Errorf("%q: no segment may be a dot or two, or end in a dot or a space", text)
	}
	return pattern{text: body, kind: kind}, nil
}

// fits says whether a pattern makes sense at a level.
func (p pattern) fits(level Level) error {
	switch {
	case p.kind != patternTree || level > Public:
		return nil
	case p.text == "" && level == Bypass:
		return errors.New("would let everything by; leave the gateway out of the site instead")
	case isPHP(p.text):
		return errors.New("would never apply, since PHP takes what follows the script for a path of its own; name the paths below it")
	}
	return nil
}

// readings are the pattern and what else backends may read in it, so that
// /docs/ stands for /docs too, and /index.php/pay for /pay. Otherwise a line
// that lowers the level, and has to hold for every reading of a path, would
// not hold for its own.
func (p pattern) readings() []pattern {
	all := []pattern{p}
	if p.kind == patternExt || p.text == "" {
		return all
	}
	read, err := readPath(p.text)
	if err != nil || read.overflow {
		return all // neither happens to a pattern that was compiled
	}
	for _, text := range read.more {
		all = append(all, pattern{text: text, kind: p.kind})
	}
	return all
}

// target is what a request may mean to the backend.
type target struct {
	// paths[:sent] are the URL as sent and what the backend takes for it
	// because of the client. A line that lowers the level must hold for all of
	// them. The others are what the URL was rewritten to; only lines that raise
	// look at those.
	paths     []pathReadings
	sent      int
	rewritten bool     // r.URL is not the URL as sent
	methods   []string // that the backend may act on
	trace     *trace
}

// circumstances are what a level depends on besides the request itself.
type circumstances struct {
	overrides
	trace *trace // of what each line had to say; nil: nobody asks
}

// level finds the level of r, which the client sent for the URL sent, and of
// which the backend may take other URLs and methods from headers.
func (rs *rules) level(r *http.Request, sent *url.URL, o circumstances) (Level, error) {
	asSent, err := readURL(sent)
	if err != nil {
		return Guest, err
	}
	var pathBuf [2]pathReadings
	var methodBuf [8]string
	t := target{
		paths:   append(append(pathBuf[:0], asSent), o.effective...),
		methods: methodReadings(methodBuf[:0], r.Method, o.methods),
		trace:   o.trace,
	}
	t.sent = len(t.paths)
	if r.URL.Path != sent.Path || r.URL.RawPath != sent.RawPath {
		p, err := readURL(r.URL)
		if err != nil {
			return Guest, err
		}
		t.paths, t.rewritten = append(t.paths, p), true
	}
	t.paths = append(t.paths, o.possible...)
	return rs.strictest(r, &t), nil
}

// strictest weighs the lines.
func (rs *rules) strictest(r *http.Request, t *target) Level {
	found, level := false, Public
	for i := range rs.all {
		line := &rs.all[i]
		applies, by := line.applies(r, t)
		t.trace.line(line, applies, by)
		if !applies {
			continue
		}
		if line.level == Bypass {
			return Bypass
		}
		found, level = true, max(level, line.level)
	}
	if !found {
		return Guest
	}
	return level
}

// applies says whether a line is for the request, and by which reading of its
// path: one that matches decides for a line that raises, and one that does not
// against a line that lowers. Empty: by all of them, or by too many to look at.
func (r *rule) applies(req *http.Request, t *target) (applies bool, by string) {
	paths := t.paths
	if !r.raises() {
		paths = paths[:t.sent]
	}
	for _, p := range paths {
		if p.overflow {
			return r.raises(), ""
		}
	}
	if r.match != nil {
		return r.matcherApplies(req, paths, t)
	}
	for _, p := range paths {
		if reading, found := p.find(r.covers, r.raises()); found {
			return r.raises(), reading
		}
	}
	return !r.raises(), ""
}

func (r *rule) covers(path string) bool {
	for _, p := range r.patterns {
		if p.matches(path) {
			return true
		}
	}
	return false
}
