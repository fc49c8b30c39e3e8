package main

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

//go:embed control
var controlFiles embed.FS

const shownRequests = 30

// control is the page where the tester plays the person with the phone, reads
// the codes sent to it, and plays the platform's bad days. Everything else at its
// address is the platform itself.
type control struct {
	platform *wechattest.Server
	page     *template.Template
	links    links
	inbox    *inbox

	mu      sync.Mutex
	planned []plannedFault
}

// links are the addresses that the page names.
type links struct {
	Browser, NewPhone, Mini, Gateway string
}

// plannedFault is a fault on its way. due is the count of requests to the API
// after which it is over; 0 is never.
type plannedFault struct {
	API   wechattest.API
	Fault choice
	due   int
}

// newControl returns the handler of the sandbox WeChat's address.
func newControl(platform *wechattest.Server, l links) http.Handler {
	c := &control{
		platform: platform,
		page:     template.Must(template.ParseFS(controlFiles, "control/page.html")),
		links:    l,
		inbox:    newInbox(),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.show)
	for _, file := range []string{"control.css", "icon.svg"} {
		mux.HandleFunc("GET /"+file, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, controlFiles, "control/"+file)
		})
	}
	for path, change := range map[string]func(*http.Request) bool{
		"/hold": c.hold, "/person": c.change, "/forget": c.forget, "/fail": c.fail, "/heal": c.heal,
	} {
		mux.Handle("POST "+path, http.NewCrossOriginProtection().Handler(apply(change)))
	}
	mux.Handle("POST /sms", c.inbox)
	phone := newTaps(platform)
	mux.Handle("/mini/wx/", phone)
	mux.Handle("/app/wx/", phone)
	mux.Handle("/", platform)
	return mux
}

// apply makes a handler of a change that reports whether it understood the
// form.
func apply(change func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
		if !change(r) {
			http.Error(w, "no such choice", http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
}

// person returns the person that a form names.
func (c *control) person(r *http.Request) (wechattest.Person, bool) {
	people := c.platform.People()
	i := slices.IndexFunc(people, func(p wechattest.Person) bool { return p.Name == r.PostFormValue("person") })
	if i < 0 {
		return wechattest.Person{}, false
	}
	return people[i], true
}

func (c *control) hold(r *http.Request) bool {
	p, ok := c.person(r)
	if ok {
		c.platform.Hold(p.Name)
	}
	return ok
}

func (c *control) forget(r *http.Request) bool {
	p, ok := c.person(r)
	if ok {
		c.platform.SetConsented(p.Name, appID, false)
	}
	return ok
}

// change changes what a person does and what becomes of it.
func (c *control) change(r *http.Request) bool {
	p, ok := c.person(r)
	consent, consentOK := index(consents(), r.PostFormValue("consent"))
	refusal, refusalOK := index(refusals(), r.PostFormValue("refusal"))
	snapshot, snapshotOK := index(snapshots(), r.PostFormValue("snapshot"))
	delay, err := strconv.Atoi(r.PostFormValue("delay"))
	if !ok || !consentOK || !refusalOK || !snapshotOK || err != nil || delay < 0 {
		return false
	}
	p.Consent = wechattest.Consent(consent)
	p.Refusal = wechattest.Refusal(refusal)
	p.Snapshot = wechattest.Snapshot(snapshot)
	p.CallbackDelay = time.Duration(delay) * time.Second
	p.Follower = r.PostFormValue("follower") != ""
	p.FromMenu = r.PostFormValue("menu") != ""
	p.DoubledCallback = r.PostFormValue("doubled") != ""
	c.platform.AddPerson(p)
	return true
}

// fail plans a fault: for the next answer, or for all until they are healed.
func (c *control) fail(r *http.Request) bool {
	_, apiOK := index(apis(), r.PostFormValue("api"))
	i, faultOK := index(faults(), r.PostFormValue("fault"))
	if !apiOK || !faultOK {
		return false
	}
	api := wechattest.API(r.PostFormValue("api"))
	c.mu.Lock()
	defer c.mu.Unlock()
	planned := plannedFault{API: api, Fault: faults()[i].choice}
	times := wechattest.Forever
	if r.PostFormValue("times") == "once" {
		times = 1
		planned.due = c.platform.Count(api) + 1
		for _, before := range c.planned {
			if before.API == api && before.due >= planned.due {
				planned.due = before.due + 1
			}
		}
	}
	c.platform.Fail(api, times, faults()[i].fault)
	c.planned = append(c.planned, planned)
	return true
}

func (c *control) heal(*http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, api := range apis() {
		c.platform.Heal(wechattest.API(api.Value))
	}
	c.planned = nil
	return true
}

// pending returns the faults that are still on their way.
func (c *control) pending() []plannedFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.planned = slices.DeleteFunc(c.planned, func(f plannedFault) bool {
		return f.due != 0 && c.platform.Count(f.API) >= f.due
	})
	return slices.Clone(c.planned)
}

// view is what the page shows.
type view struct {
	Links     links
	People    []wechattest.Person
	Held      wechattest.Person
	Consented bool
	OpenID    string
	UnionID   string
	Delay     int // seconds

	Consents, Refusals, Snapshots, Delays, APIs []choice
	Faults                                      []faultChoice

	Messages []message // newest first
	Pending  []plannedFault
	Requests []wechattest.Request // newest first
}

func (c *control) view() view {
	held := c.platform.Held()
	v := view{
		Links:     c.links,
		People:    c.platform.People(),
		Consented: c.platform.Consented(held, appID),
		OpenID:    c.platform.OpenID(held, appID),
		UnionID:   c.platform.UnionID(held, appID),
		Consents:  consents(), Refusals: refusals(), Snapshots: snapshots(), Delays: delays(), APIs: apis(),
		Faults:   faults(),
		Messages: c.inbox.list(),
		Pending:  c.pending(),
		Requests: c.platform.Requests(),
	}
	for _, p := range v.People {
		if p.Name == held {
			v.Held = p
		}
	}
	v.Delay = int(v.Held.CallbackDelay / time.Second)
	v.Requests = v.Requests[max(0, len(v.Requests)-shownRequests):]
	slices.Reverse(v.Requests)
	return v
}

func (c *control) show(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	if err := c.page.Execute(&b, c.view()); err != nil {
		http.Error(w, "rendering: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
	b.WriteTo(w)
}
