package gate

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/text/language"
)

//go:embed pages
var pageFiles embed.FS

// page is one answer for a person: a title, a few sentences, ways on. Every
// page works without script.
type page struct {
	Status  int
	Key     string   // of its texts
	Code    code     // shown small, for the support person
	Detail  string   // shown below the text
	Actions []action // at least one way on
	Back    bool     // explain that the browser's back button keeps the form

	retryAfter int
}

type action struct {
	Key     string // of its label
	Href    string
	Primary bool
}

// pages holds the template and the texts in each language.
type pages struct {
	tmpl  *template.Template
	csp   string
	langs language.Matcher
	texts []map[string]string // by the index of the language
	tags  []string            // of the html element
}

func newPages() (*pages, error) {
	p := &pages{tags: []string{"zh-Hans", "en"}}
	var tags []language.Tag
	for _, tag := range p.tags {
		raw, err := pageFiles.ReadFile("pages/" + tag + ".json")
		if err != nil {
			return nil, err
		}
		texts := map[string]string{}
		if err := json.Unmarshal(raw, &texts); err != nil {
			return nil, fmt.Errorf("reading the texts of %s: %w", tag, err)
		}
		p.texts = append(p.texts, texts)
		tags = append(tags, language.MustParse(tag))
	}
	p.langs = language.NewMatcher(tags)
	style, err := pageFiles.ReadFile("pages/page.css")
	if err != nil {
		return nil, err
	}
	p.tmpl, err = template.New("page.html").
		Funcs(template.FuncMap{"style": func() template.CSS { return template.CSS(style) }}).
		ParseFS(pageFiles, "pages/page.html")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(style)
	p.csp = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
	return p, nil
}

// language picks the visitor's language: simplified Chinese unless he asks for
// another that we speak.
func (p *pages) language(r *http.Request) int {
	_, i := language.MatchStrings(p.langs, r.Header.Get("Accept-Language"))
	return i
}

func (p *pages) text(lang int, key string) string { return p.texts[lang][key] }

type pageData struct {
	Lang, Title, Note, Detail, Code, CodeLabel string
	Text                                       []string
	Actions                                    []actionData
}

type actionData struct {
	Label, Href string
	Primary     bool
}

func (s *Site) writePage(w http.ResponseWriter, r *http.Request, pg page) {
	p := s.pages
	lang := p.language(r)
	data := pageData{
		Lang: p.tags[lang], Title: p.text(lang, "title."+pg.Key), Detail: pg.Detail,
		Note: p.text(lang, "note."+string(pg.Code)),
		Text: strings.Split(p.text(lang, "text."+pg.Key), "\n"),
		Code: string(pg.Code), CodeLabel: p.text(lang, "label.code"),
	}
	for _, a := range pg.Actions {
		data.Actions = append(data.Actions, actionData{p.text(lang, "action."+a.Key), a.Href, a.Primary})
	}
	var body bytes.Buffer
	if err := p.tmpl.Execute(&body, data); err != nil {
		s.Log.Error("rendering a page", "page", pg.Key, "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	ours(h)
	h.Add("Vary", "Accept-Language")
	setRetryAfter(h, pg.retryAfter)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Content-Security-Policy", p.csp)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(pg.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes())
	}
}
