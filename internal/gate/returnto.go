package gate

import (
	"fmt"
	"slices"
	"strings"
)

// maxReturnTo bounds a return_to in bytes: it travels in URLs.
const maxReturnTo = 2000

// returnTo makes sure that a visitor is only ever sent to a path of this site
// or to an origin on the list; anything else becomes "/".
//
// Browsers read more into a URL than its specification says (WHATWG URL): they
// drop control characters, take a backslash for a slash before the query, and
// "//host" for another host. So nothing of that kind is repaired here: a path
// that holds it, or would lead back to our own endpoints and so in a circle, is
// refused, but for the pages of a member's own account. The query and the fragment can lead nowhere else and are kept.
func returnTo(raw, prefix string, origins []string) string {
	if raw == "" || len(raw) > maxReturnTo || hasControl(raw) {
		return "/"
	}
	to := localPath(raw, prefix)
	if raw[0] != '/' {
		to = listedURL(raw, origins)
	}
	if to = headerSafe(to); to == "" || len(to) > maxReturnTo {
		return "/"
	}
	return to
}

// localPath returns raw if it leads to a page of this site, else "".
func localPath(raw, prefix string) string {
	path := raw
	if i := strings.IndexAny(raw, "?#"); i >= 0 {
		path = raw[:i]
	}
	// Browsers resolve dot segments first, so "/.//host" is looked at resolved.
	if strings.Contains(path, `\`) || strings.HasPrefix(path, "//") || strings.HasPrefix(resolveDots(path), "//") ||
		isOwnPath(path, prefix) && !isMembersPage(path, prefix) {
		return ""
	}
	return raw
}

// listedURL returns raw if its origin is on the list, else "". The origin is
// spelt as on the list.
func listedURL(raw string, origins []string) string {
	for _, o := range origins {
		rest, ok := cutPrefixFold(raw, o)
		if ok && (rest == "" || strings.IndexByte("/?#", rest[0]) >= 0) {
			return o + rest
		}
	}
	return ""
}

// isOwnPath says whether a path, in any reading, is below our prefix.
func isOwnPath(path, prefix string) bool {
	readings, err := readPath(path)
	if err != nil || readings.overflow {
		return true
	}
	own := pattern{text: prefix, kind: patternTree}
	_, found := readings.find(own.matches, true)
	return found
}

// isMembersPage says whether a path, spelt as we do, is a page of ours that needs
// a login: whoever left it for one wants to be back there.
func isMembersPage(path, prefix string) bool {
	page, own := strings.CutPrefix(path, prefix)
	return own && slices.Contains([]string{"/account", "/account/cancel", "/unbind", "/merge", "/phone"}, page)
}

// headerSafe percent-encodes what a Location header cannot hold.
func headerSafe(s string) string {
	if strings.IndexFunc(s, func(c rune) bool { return c == ' ' || c >= 0x80 }) < 0 {
		return s
	}
	var b strings.Builder
	for _, c := range []byte(s) {
		if c == ' ' || c >= 0x80 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
