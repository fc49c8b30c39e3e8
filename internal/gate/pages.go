package gate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
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
	Facts   []fact   // shown as a list
	Form    *form    // asks for a phone and a code
	Actions []action // at least one way on
	Contact bool     // the shop's is shown, as it is where something went wrong

	retryAfter int
}

type action struct {
	Key     string // of its label
	Href    string
	Primary bool
	Post    bool // a button that changes something: it sends an empty form
}

// fact is a line of a list: a label, and what it names. Without a value it heads
// the lines that follow.
type fact struct{ Key, Value string }

// form proves a phone. It is the one thing that does not work without a script.
type form struct {
	AskPhone bool // else the phone is known
	Purpose  string
	Submit   string // key of the button's label
	Next     string // where to go when the phone is proved
	Refused  string // where a refusal is explained, but for its code at the end
}

// pages holds the template and the texts in each language.
type pages struct {
	tmpl  *template.Template
	csp   [2]string // of pages without a form, and with one
	langs language.Matcher
	texts []map[string]string // by the index of the language
	tags  []string            // of the html element

	script    []byte
	scriptURL string
	logoURL   string // empty: there is none
}

// scriptPath is where our one script is, below the prefix.
const scriptPath = "/page.js"

// newPages reads pages whose forms speak with the endpoints below base.
func newPages(base string, brand Brand) (*pages, error) {
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
	style = append(style, brand.style()...)
	p.tmpl, err = template.New("page.html").
		Funcs(template.FuncMap{"style": func() template.CSS { return template.CSS(style) }}).
		ParseFS(pageFiles, "pages/page.html", "pages/fragment.html")
	if err != nil {
		return nil, err
	}
	if p.script, err = pageFiles.ReadFile("pages/page.js"); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(p.script)
	p.scriptURL = base + scriptPath + "?v=" + hex.EncodeToString(sum[:4])
	sum = sha256.Sum256(style)
	p.csp[0] = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
	p.csp[0] += "; script-src " + base + scriptPath
	if p.logoURL = brand.logoURL(base); p.logoURL != "" {
		p.csp[0] += "; img-src " + base + logoPath
	}
	p.csp[1] = p.csp[0] + "; connect-src " + base + "/phone " + base + "/phone/code"
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
	Number, NumberLabel                        string // of the request
	Script                                     string // its URL
	Name, Logo, Contact, ContactLabel          string // of the shop
	Text                                       []string
	Form                                       *formData
	Facts                                      []fact
	Actions                                    []actionData
}

type actionData struct {
	Label, Href   string
	Primary, Post bool
}

type formData struct {
	Send, Prove, Next, Refused, Purpose                                         string // URLs and what is sent to them
	Phone, Code, SendLabel, Again, Submit, Sent, Failed, Lost, Number, NoScript string // words; without Phone it is not asked for
}

func (s *Site) formData(f *form, lang int) *formData {
	if f == nil {
		return nil
	}
	p := s.pages
	label := func(key string) string { return p.text(lang, "label."+key) }
	d := &formData{
		Send: s.cfg.Prefix + "/phone/code", Prove: s.cfg.Prefix + "/phone", Next: f.Next, Refused: f.Refused, Purpose: f.Purpose,
		Code: label("sms_code"), SendLabel: label("send"), Again: label("again"), Submit: label(f.Submit),
		Sent: label("sent"), Failed: label("failed"), Lost: label("lost"), Number: label("number"), NoScript: label("no_script"),
	}
	if f.AskPhone {
		d.Phone = label("phone")
	}
	return d
}

// script is our one script. Its URL changes with its content.
func (s *Site) script(w http.ResponseWriter, r *http.Request, _ *Visit) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	immutable(h)
	if r.Method != http.MethodHead {
		_, _ = w.Write(s.pages.script)
	}
}

// formAction is where the forms of our pages may lead: a logout leads on to its
// return_to, and browsers look at where a form's answer redirects too.
func (s *Site) formAction() string {
	return strings.Join(append([]string{"form-action 'self'"}, s.cfg.ReturnOrigins...), " ")
}

func (s *Site) writePage(w http.ResponseWriter, r *http.Request, pg page) {
	p := s.pages
	lang := p.language(r)
	data := pageData{
		Lang: p.tags[lang], Title: p.text(lang, "title."+pg.Key), Detail: pg.Detail,
		Note: p.text(lang, "note."+string(pg.Code)),
		Text: strings.Split(p.text(lang, "text."+pg.Key), "\n"),
		Code: string(pg.Code), CodeLabel: p.text(lang, "label.code"), Form: s.formData(pg.Form, lang),
	}
	if pg.Form != nil || len(pg.Actions) > 0 { // else it has nothing to do
		data.Script = p.scriptURL
	}
	data.Name, data.Logo = s.cfg.Brand.Name, p.logoURL
	wrong := pg.Code != "" || pg.Status >= http.StatusBadRequest
	if pg.Contact || wrong {
		data.Contact, data.ContactLabel = s.cfg.Brand.Contact, p.text(lang, "label.contact")
	}
	if wrong {
		number := s.refused(r, cmp.Or(pg.Code, code(pg.Key)), pg.Status)
		data.Number, data.NumberLabel = number[:min(len(number), shortNumber)], p.text(lang, "label.number")
	}
	posts := false
	for _, a := range pg.Actions {
		data.Actions = append(data.Actions, actionData{p.text(lang, "action."+a.Key), a.Href, a.Primary, a.Post})
		posts = posts || a.Post
	}
	for _, f := range pg.Facts {
		data.Facts = append(data.Facts, fact{p.text(lang, "fact."+f.Key), f.Value})
	}
	var body bytes.Buffer
	if err := p.tmpl.Execute(&body, data); err != nil {
		s.Log.ErrorContext(r.Context(), "rendering a page", "page", pg.Key, "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	p.header(h, body.Len())
	h.Add("Vary", "Accept-Language")
	setRetryAfter(h, pg.retryAfter)
	if pg.Form != nil {
		h.Set("Content-Security-Policy", p.csp[1])
	}
	if posts {
		h.Set("Content-Security-Policy", strings.Replace(p.csp[0], "form-action 'none'", s.formAction(), 1))
		// Without a referrer the form's Origin would be null, as another site's.
		h.Set("Referrer-Policy", "same-origin")
	}
	w.WriteHeader(pg.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes())
	}
}

// header locks a page of so many bytes up: nobody keeps it, frames it, or adds to
// it.
func (p *pages) header(h http.Header, size int) {
	ours(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(size))
	h.Set("Content-Security-Policy", p.csp[0])
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
}
