package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// numbered runs a gateway with an access log. What a client calls its requests
// is in the access log too, and counts for nothing.
func numbered(t *testing.T) (rg *rig, access string) {
	rg = newRig(t)
	access = filepath.Join(rg.dir, "access.log")
	rg.run(setup{site: "login /me/*", around: "log {\noutput file " + access + "\n}"})
	return rg, access
}

// line is a line of a log about a request.
type line struct {
	Logger, Msg, UUID, Code, Error string
	Status                         int
	Request                        struct{ URI string }
}

// about returns the lines of logs about the request whose number begins so.
func about(t *testing.T, number string, files ...string) (all []line) {
	t.Helper()
	for _, file := range files {
		for _, l := range logLines(t, file) {
			var said line
			if err := json.Unmarshal([]byte(l.text), &said); err != nil {
				t.Fatalf("%v:\n%s", err, l.text)
			}
			if strings.HasPrefix(said.UUID, number) {
				all = append(all, said)
			}
			if strings.Count(l.text, `"uuid":`) > 1 || strings.Contains(l.text, `"stacktrace":`) {
				t.Errorf("a line has two numbers or a stack:\n%s", l.text)
			}
		}
	}
	return all
}

func is(msg string) func(line) bool { return func(l line) bool { return l.Msg == msg } }

// TestNumberOnTheScreenFindsTheLinesOfTheRequest: why it failed, what the
// visitor was told, and the access log.
func TestNumberOnTheScreenFindsTheLinesOfTheRequest(t *testing.T) {
	for language, shown := range map[string]*regexp.Regexp{
		"zh-CN": regexp.MustCompile(`编号 <code>([0-9a-f]{8})</code>`),
		"en":    regexp.MustCompile(`Number <code>([0-9a-f]{8})</code>`),
	} {
		t.Run(language, func(t *testing.T) {
			rg, access := numbered(t)
			d := rg.inWeChat(wechattest.Person{Name: "wang", Consent: wechattest.Accept})
			d.get("/goods")
			callback := d.beginLogin("/me")
			rg.breakDatabase()
			page := d.get(callback, func(r *http.Request) {
				r.Header.Set("Accept-Language", language)
				r.Header.Set("X-Request-Id", "5eed5eed")
			})
			found := shown.FindStringSubmatch(page.body)
			if page.StatusCode != http.StatusServiceUnavailable || found == nil {
				t.Fatalf("%d, and no number:\n%s", page.StatusCode, page.body)
			}
			files := []string{logFile(rg.dir), access}
			rg.waitUntil("the access log has the request", func() bool {
				return slices.ContainsFunc(about(t, found[1], files...), is("handled request"))
			})
			lines := about(t, found[1], files...)
			for what, has := range map[string]func(line) bool{
				"why": func(l line) bool { return strings.Contains(l.Error, "no such table") },
				"what is told": func(l line) bool {
					return l.Msg == "a visitor was refused" && l.Code == "unavailable" && l.Status == 503
				},
				"the request": func(l line) bool { return strings.HasPrefix(l.Request.URI, "/wxgate/callback/") },
			} {
				if !slices.ContainsFunc(lines, has) {
					t.Errorf("no line says %s: %+v", what, lines)
				}
			}
			if i := slices.IndexFunc(lines, func(l line) bool { return l.UUID != lines[0].UUID }); i >= 0 {
				t.Errorf("a line of another request: %+v", lines[i])
			}
			if about(t, "5eed5eed", files...) != nil {
				t.Error("a client has numbered its request")
			}
		})
	}
}

// TestErrorsForScriptsCarryTheNumber, but for the answer that a login is needed,
// which is no error.
func TestErrorsForScriptsCarryTheNumber(t *testing.T) {
	rg, _ := numbered(t)
	d := rg.elsewhere()
	told := func(path string) (number string) {
		t.Helper()
		var p struct{ Instance, Code string }
		answer := d.fetch(http.MethodGet, path)
		if err := json.Unmarshal([]byte(answer.body), &p); err != nil {
			t.Fatalf("%v:\n%s", err, answer.body)
		}
		return strings.TrimPrefix(p.Instance, "urn:uuid:")
	}
	first, second := told("/wxgate/nothing"), told("/wxgate/nothing")
	if len(first) != 36 || first == second {
		t.Errorf("the numbers of two requests: %q and %q", first, second)
	}
	if lines := about(t, first, logFile(rg.dir)); !slices.ContainsFunc(lines, is("a visitor was refused")) {
		t.Errorf("the log says of it: %+v", lines)
	}
	if got := told("/me/orders"); got != "" {
		t.Errorf("a challenge has the number %s", got)
	}
}

// TestKnownVisitorsPayForNoNumber: nothing is logged of them.
func TestKnownVisitorsPayForNoNumber(t *testing.T) {
	rg, access := numbered(t)
	d := rg.elsewhere()
	for i := range 4 {
		d.get(fmt.Sprintf("/goods/%d", i))
	}
	rg.waitUntil("the access log has the requests", func() bool { return len(logLines(t, access)) == 4 })
	for i, l := range about(t, "", access) {
		if has := l.UUID != ""; has != (i < 2) { // to the first one an id is given, and the next one is looked up
			t.Errorf("request %d, to %s: its number is %q", i, l.Request.URI, l.UUID)
		}
	}
}
