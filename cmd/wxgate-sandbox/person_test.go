package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// person is somebody with a browser of his own who follows redirects.
type person struct {
	t      *testing.T
	base   string
	client *http.Client
	moves  []string // Locations on the way
}

// inWeChat returns somebody with a WeChat browser and no cookies.
func (d *demo) inWeChat(t *testing.T) *person { return newPerson(t, "http://"+d.browser) }

// outside returns somebody with an ordinary browser and no cookies.
func (d *demo) outside(t *testing.T) *person { return newPerson(t, "http://"+d.gateway) }

func newPerson(t *testing.T, base string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t: t, base: base, client: &http.Client{Jar: jar}}
}

// page is where a browser has arrived.
type pageSeen struct {
	*http.Response
	path string // with the query
	body string
}

func (p *person) do(method, path, form string, header map[string]string) pageSeen {
	p.t.Helper()
	r, err := http.NewRequest(method, p.base+path, strings.NewReader(form))
	if err != nil {
		p.t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	p.moves = nil
	p.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), p.base+"/") {
			p.t.Errorf("%s leads away to %s", path, r.URL)
		}
		p.moves = append(p.moves, r.URL.RequestURI())
		return nil
	}
	resp, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return pageSeen{resp, resp.Request.URL.RequestURI(), string(body)}
}

// open types a path into the address bar or taps a link.
func (p *person) open(path string) pageSeen {
	p.t.Helper()
	return p.do(http.MethodGet, path, "", map[string]string{
		"Accept":         "text/html,application/xhtml+xml",
		"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "same-origin",
	})
}

// submit sends a form of a page.
func (p *person) submit(path string, form url.Values) pageSeen {
	p.t.Helper()
	return p.do(http.MethodPost, path, form.Encode(), map[string]string{
		"Accept":       "text/html,application/xhtml+xml",
		"Content-Type": "application/x-www-form-urlencoded", "Origin": p.base,
		"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "same-origin",
	})
}

// say is what the script of a page does to tell something.
func (p *person) say(path, body string) pageSeen {
	p.t.Helper()
	return p.script(http.MethodPost, path, body)
}

// fetch is what the script of a page does.
func (p *person) fetch(method, path string) pageSeen {
	p.t.Helper()
	return p.script(method, path, "{}")
}

func (p *person) script(method, path, body string) pageSeen {
	p.t.Helper()
	return p.do(method, path, body, map[string]string{
		"Content-Type": "application/json", "Origin": p.base, "Referer": p.base + "/?from=menu",
		"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin",
	})
}

// find returns what a page holds in the parentheses of a pattern.
func (p *person) find(seen pageSeen, pattern string) string {
	p.t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(seen.body)
	if found == nil {
		p.t.Fatalf("%s (%s) does not hold %s:\n%s", seen.path, seen.Status, pattern, seen.body)
	}
	return found[1]
}

const idOnPage = `<code id="user-id">([^<]+)</code>`

// logIn taps through the login page and WeChat's question.
func (p *person) logIn(page pageSeen) pageSeen {
	p.t.Helper()
	asked := p.open(strings.ReplaceAll(p.find(page, `<a href="([^"]+)" class="primary"`), "&amp;", "&"))
	return p.submit("/connect/oauth2/confirm", url.Values{
		"ticket": {p.find(asked, `name="ticket" value="([^"]+)"`)}, "decision": {"accept"},
	})
}
