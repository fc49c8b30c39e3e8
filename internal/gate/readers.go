package gate

import "strings"

// readers are the ways to read a path that some backend has, percent-encoding
// apart. Each takes a path and returns what that backend takes it for.
func readers() [13]func(string) string {
	return [...]func(string) string{
		dropParameters, cutParameters, cutQuery, backslashes, resolveDots, joinSlashes,
		dropTrailing, trimToDots, dropSlash, dropScript, cutPathInfo, dropAuthority, decodeOverlong,
	}
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

func anyByte(byte) bool { return true }

// decode takes one layer of percent-encoding off the bytes that want names. A
// sequence that is not well formed stays as it is, as PHP and Windows leave it.
func decode(s string, want func(byte) bool) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, ok1 := unhex(s[i+1])
			lo, ok2 := unhex(s[i+2])
			if c := hi<<4 | lo; ok1 && ok2 && want(c) {
				b = append(b, c)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// decodeHigh takes off the encodings of bytes beyond ASCII.
func decodeHigh(s string) string {
	return decode(s, func(c byte) bool { return c >= 0x80 })
}

// eachSegment applies f to what stands between slashes.
func eachSegment(s string, f func(string) string) string {
	segs := strings.Split(s, "/")
	for i, seg := range segs {
		segs[i] = f(seg)
	}
	return strings.Join(segs, "/")
}

// dropParameters removes ";x" from every segment, as Java's servers do.
func dropParameters(s string) string {
	if !strings.Contains(s, ";") {
		return s
	}
	return eachSegment(s, func(seg string) string {
		seg, _, _ = strings.Cut(seg, ";")
		return seg
	})
}

// cutParameters ends the path at the first ";", as Apache Shiro does.
func cutParameters(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return s
}

// cutQuery ends the path where a decoded "?" or "#" does, as behind a proxy
// that decodes the path and puts it into a URL again (nginx with $uri).
func cutQuery(s string) string {
	if i := strings.IndexAny(s, "?#"); i > 0 {
		return s[:i]
	}
	return s
}

// backslashes takes them for slashes, as Windows' servers do.
func backslashes(s string) string { return strings.ReplaceAll(s, `\`, "/") }

// joinSlashes makes one slash of many, as nearly every server does.
func joinSlashes(s string) string {
	for strings.Contains(s, "//") {
		s = strings.ReplaceAll(s, "//", "/")
	}
	return s
}

// resolveDots resolves "." and ".." (RFC 3986, 5.2.4); empty segments count.
func resolveDots(s string) string {
	if !strings.Contains(s, "/.") {
		return s
	}
	var out []string
	segs := strings.Split(s, "/")
	for i, seg := range segs {
		if seg != "." && seg != ".." {
			out = append(out, seg)
			continue
		}
		if seg == ".." && len(out) > 1 {
			out = out[:len(out)-1]
		}
		if i == len(segs)-1 {
			out = append(out, "")
		}
	}
	if joined := strings.Join(out, "/"); joined != "" {
		return joined
	}
	return "/"
}

// dropTrailing removes dots and spaces at the end of segments, as Windows' file
// system does.
func dropTrailing(s string) string {
	return eachSegment(s, func(seg string) string {
		if seg == "." || seg == ".." {
			return seg
		}
		return strings.TrimRight(seg, ". ")
	})
}

// trimToDots removes them too, but leaves of a segment that holds nothing else
// what may step through directories: Windows takes ".. " for "..".
func trimToDots(s string) string {
	return eachSegment(s, func(seg string) string {
		t := strings.TrimRight(seg, ". ")
		switch {
		case t != "":
			return t
		case strings.Contains(seg, ".."):
			return ".."
		case strings.Contains(seg, "."):
			return "."
		}
		return ""
	})
}

// dropSlash removes slashes at the end.
func dropSlash(s string) string {
	if t := strings.TrimRight(s, "/"); t != "" {
		return t
	}
	return s
}

// isPHP says whether a segment names a PHP script.
func isPHP(seg string) bool {
	return len(seg) >= 4 && strings.EqualFold(seg[len(seg)-4:], ".php")
}

// script finds the first segment that names a PHP script and is followed by
// another: s[:start] ends with the slash before it, s[end] is the one after it.
func script(s string) (start, end int, ok bool) {
	for start < len(s) {
		n := strings.IndexByte(s[start:], '/')
		if n < 0 {
			break
		}
		if isPHP(s[start : start+n]) {
			return start, start + n, true
		}
		start += n + 1
	}
	return 0, 0, false
}

// dropScript removes the script: what follows it is the path that a front
// controller routes (CGI's PATH_INFO, RFC 3875, 4.1.5), and a shop with pretty
// URLs has the same page there.
func dropScript(s string) string {
	if start, end, ok := script(s); ok {
		return s[:start] + s[end+1:]
	}
	return s
}

// cutPathInfo removes what follows the script: PHP runs /pay.php for
// /pay.php/x.css.
func cutPathInfo(s string) string {
	if _, end, ok := script(s); ok {
		return s[:end]
	}
	return s
}

// dropAuthority takes what follows two or more slashes in front for a host, as
// programs do that resolve the path as a reference (WHATWG URL): Node's
// new URL(request.url, base) is one.
func dropAuthority(s string) string {
	if !strings.HasPrefix(s, "//") {
		return s
	}
	_, path, _ := strings.Cut(strings.TrimLeft(s, "/"), "/")
	return "/" + path
}

// decodeOverlong reads overlong UTF-8 of ASCII, as careless decoders do.
func decodeOverlong(s string) string {
	if strings.IndexFunc(s, func(c rune) bool { return c >= 0x80 }) < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		c, n := overlong(s[i:])
		if n == 0 {
			c, n = s[i], 1
		}
		b = append(b, c)
		i += n
	}
	return string(b)
}

// overlong reads an ASCII character at the start of s that is spelt with 2 to 6
// bytes (RFC 2279 had up to 6). Of the control characters only NUL is read, as
// modified UTF-8 has it: the others are Chinese in GBK, C1 BF for instance is
// 量, which is in every shop.
func overlong(s string) (c byte, n int) {
	switch b := s[0]; {
	case b&0xfe == 0xc0:
		n = 2
	case b == 0xe0:
		n = 3
	case b == 0xf0:
		n = 4
	case b == 0xf8:
		n = 5
	case b == 0xfc:
		n = 6
	}
	if n == 0 || len(s) < n {
		return 0, 0
	}
	high := s[0] & 1 // the seventh bit; beyond two bytes it is in the last but one
	for i := 1; i < n; i++ {
		if s[i]&0xc0 != 0x80 || i < n-2 && s[i] != 0x80 {
			return 0, 0
		}
	}
	if n > 2 {
		if s[n-2]&0xfe != 0x80 {
			return 0, 0
		}
		high = s[n-2] & 1
	}
	c = high<<6 | s[n-1]&0x3f
	if c != 0 && c < 0x20 || c == 0x7f {
		return 0, 0
	}
	return c, n
}
