package soaktest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// met compares whom the shop was told of with what has been proved on this
// device. Who may have become another's by what he did may be told of as either.
func (d *device) met(t told) {
	if t.ID == "" {
		return // what a gateway does not know, another does
	}
	p, before, w := d.owner, d.self, d.home.w
	d.told = t
	switch {
	case t.UnionID != "":
		if want := w.wechat.UnionID(p.name, accountApp); t.UnionID != want {
			d.home.wrong("%s on the %s is told to be the WeChat account %s, not %s", p.name, d.kind, t.UnionID, want)
		}
		d.self, p.apps[t.AppID] = p.wechat, true
	case t.Kind == "member":
		d.self = p.account
	case t.OpenID != "":
		if want := w.wechat.OpenID(p.name, t.AppID); t.AppID != accountApp || t.OpenID != want {
			d.home.wrong("%s on the %s is told to be %s of %s, not %s", p.name, d.kind, t.OpenID, t.AppID, want)
		}
		if p.visitor == nil {
			p.visitor = &self{name: p.name + " to the official account"}
		}
		d.self = p.visitor
	default:
		switch d.self = d.home.guests[t.ID]; {
		case d.self == nil && before != nil && slices.Contains(before.root().ids, t.ID):
			d.self = before // by the id of whom he was proved to be
		case d.self == nil:
			d.self = &self{name: "guest " + t.ID}
			d.home.guests[t.ID] = d.self
		}
	}
	handedOver := d.kind == webView && t.AppID == miniApp // in the place of whoever was here
	if before != nil && before != d.self && !d.left && !handedOver {
		d.changed(before)
	}
	d.in, d.left = t.UnionID != "" || t.Kind == "member", false
	d.self.seen(t.ID)
}

// changed looks at a device that has become somebody else's all at once.
func (d *device) changed(before *self) {
	switch guest := strings.HasPrefix(d.self.name, "guest "); {
	case guest && !before.joined:
		d.home.wrong("%s on the %s was %s and is %s: whose are the orders now?", d.owner.name, d.kind, before.name, d.self.name)
	case !guest:
		join(d.self, before) // whom WeChat recognises was the guest until then
	}
}

// sure says whether all is proved that was begun here.
func (d *device) sure() bool {
	return (!d.open.wechat || d.told.UnionID != "") && (!d.open.phone || d.told.Kind == "member")
}

// logIn goes on with what was begun until all is sure, or something stands in
// the way for now.
func (d *device) logIn() (done bool) {
	if d.open == (goal{}) {
		return true
	}
	for range 6 {
		if d.attempt() {
			return true
		}
		if d.home.ctx.Err() != nil || time.Now().Before(d.wait) {
			return false
		}
	}
	return false
}

// attempt looks how far he is, and takes the next step.
func (d *device) attempt() (done bool) {
	a := d.look("/goods")
	switch {
	case a.is() == served && d.sure():
		d.open, d.code, d.missed = goal{}, "", false
		return true
	case d.home.ctx.Err() != nil || time.Now().Before(d.wait):
		return false
	case a.told != nil:
		a = d.prove()
	}
	if bad := a.is(); bad == lost || bad == unavailable || bad == nobody {
		d.home.pause(300 * time.Millisecond)
	}
	return false
}

// look opens a page as whoever uses the device does. An app that has no session
// asks for one first.
func (d *device) look(path string) answer {
	column := known
	switch {
	case d.bearer() && d.token == "":
		if a := d.begin(); d.token == "" {
			return a
		}
	case d.fresh && d.kind == h5:
		column = inside
	case d.fresh && d.kind == desk:
		column = beyond
	}
	a := d.visit(path)
	d.count(column, a)
	if a.code == "session_expired" {
		d.token, d.self = "", nil
	}
	return a
}

// count tells the table of an answer, unless it is the test that has hung up.
func (d *device) count(c column, a answer) {
	if d.home.ctx.Err() == nil {
		d.home.w.table.count(d, c, a)
	}
}

// excused says whether an answer is no wonder: more has happened here than came
// back, or Redis has lost the code.
func (d *device) excused(o outcome) bool {
	switch o {
	case "code_expired":
		return d.missed || d.losses != d.home.w.losses.Load()
	case "session_expired":
		return d.missed || d.left
	}
	return false
}

// begin opens an app, which is given a session.
func (d *device) begin() answer {
	if d.kind == app {
		return d.bring("/wxgate/app/session", map[string]string{})
	}
	return d.miniLogin("identify")
}

func (d *device) miniLogin(want string) answer {
	join(d.owner.wechat, d.self)
	return d.bring("/wxgate/mini/login", map[string]string{"appid": miniApp, "code": d.home.w.wechat.MiniLogin(d.owner.name, miniApp), "want": want})
}

// bring calls an endpoint and keeps the session that it brings.
func (d *device) bring(path string, body any) answer {
	a := d.post(path, body)
	var said struct{ Session string }
	if a.status == http.StatusOK && json.Unmarshal([]byte(a.body), &said) == nil && said.Session != "" {
		d.token = said.Session
	}
	d.count(login, a)
	return a
}

// prove takes the next step of what was begun.
func (d *device) prove() answer {
	p := d.owner
	switch {
	case d.open.wechat && d.told.UnionID == "":
		switch d.kind {
		case h5:
			p.provesWeChat(d.self, accountApp)
			return d.tap("go=wechat")
		case mini:
			p.provesWeChat(d.self, miniApp)
			return d.miniLogin("login")
		case app:
			p.provesWeChat(d.self, mobileApp)
			return d.bring("/wxgate/app/login", map[string]string{"appid": mobileApp, "code": d.home.w.wechat.AppCode(p.name, mobileApp)})
		default:
			p.provesWeChat(d.self, websiteApp)
			return d.scan()
		}
	case d.kind == mini:
		p.provesPhone(d.self, d.told.UnionID != "")
		return d.bring("/wxgate/mini/phone", map[string]string{"code": d.home.w.wechat.MiniPhone(p.name, miniApp).Code})
	}
	return d.provePhone()
}

// tap opens the login page and follows one of its links.
func (d *device) tap(word string) answer {
	a := d.visit("/wxgate/login?return_to=/goods")
	if to := a.link(word); to != "" {
		a = d.visit(to)
	}
	if a.told == nil { // else he is at a page of the shop again
		d.count(login, a)
	}
	return a
}

var nextLook = regexp.MustCompile(`content="1;url=([^"]+)"`)

// scan shows a QR code on a computer, scans it with the phone, and waits.
func (d *device) scan() answer {
	a := d.tap("go=scan")
	wx := d.home.w.wechat
	code, next := wechattest.ReadQR(a.body), nextLook.FindStringSubmatch(a.body)
	if code == "" || next == nil {
		return a
	}
	phone := &device{kind: h5, home: d.home, owner: d.owner}
	phone.forget()
	phone.visit(wx.URL + code)
	a = d.visit(wx.URL + strings.ReplaceAll(next[1], "&amp;", "&"))
	if a.told == nil {
		d.count(login, a)
	}
	return a
}

// provePhone asks for a code by SMS and enters it.
func (d *device) provePhone() answer {
	p, w := d.owner, d.home.w
	if d.code == "" {
		losses, before := w.losses.Load(), len(w.inbox.all(p.phone))
		a := d.post("/wxgate/phone/code", map[string]string{"phone": p.phone})
		d.count(login, a)
		if a.is() == limited {
			d.wait = time.Now().Add(retryAfter(a))
		}
		if a.is() != step {
			return a
		}
		for begun := time.Now(); len(w.inbox.all(p.phone)) == before; time.Sleep(time.Millisecond) {
			if time.Since(begun) > time.Minute {
				d.home.wrong("%s was told that a code was sent, and has none", p.name)
				return a
			}
		}
		d.code, d.losses = w.inbox.all(p.phone)[before], losses
	}
	p.provesPhone(d.self, d.told.UnionID != "")
	a := d.bring("/wxgate/phone", map[string]string{"phone": p.phone, "code": d.code})
	if a.code == "code_expired" || a.code == "code_wrong" {
		d.code = "" // used up, or lost with Redis
	}
	return a
}

func retryAfter(a answer) time.Duration {
	d, _ := time.ParseDuration(a.header.Get("Retry-After") + "s")
	return d
}

// logOut ends the session. Who gets no answer sees later whether it happened.
func (d *device) logOut() (done bool) {
	a := d.post("/wxgate/logout", map[string]string{})
	d.count(login, a)
	if done = a.status == http.StatusNoContent; done {
		d.reset()
	}
	d.left = d.left || a.lost != nil || a.is() == unavailable
	return done
}

// handOff opens a page of the mini program in its web-view.
func (d *device) handOff(view *device) {
	a := d.post("/wxgate/mini/ticket", map[string]string{"return_to": "/goods"})
	d.count(login, a)
	var said struct{ URL string }
	if a.status == http.StatusOK && json.Unmarshal([]byte(a.body), &said) == nil {
		view.visit(said.URL)
	}
}

// buy orders something, and orders it again where no answer came.
func (d *device) buy() {
	o := d.home.order(d.self)
	for range 5 {
		a := d.post("/orders", map[string]any{"number": o.number})
		d.count(known, a)
		if a.told != nil {
			d.met(*a.told)
			o.placed = true
		}
		if a.lost == nil {
			return
		}
	}
}

// buyMeanwhile orders something that reaches the shop under the id of this
// moment and is kept a while later, whoever he is by then.
func (d *device) buyMeanwhile(slow time.Duration) (wait func()) {
	o := d.home.order(d.self)
	r := d.request(http.MethodPost, "/orders", map[string]any{"number": o.number, "slow": slow})
	if d.jar != nil {
		for _, c := range d.jar.Cookies(r.URL) {
			r.AddCookie(c)
		}
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	copied := *d
	copied.jar = nil
	done := make(chan answer, 1)
	go func() { done <- copied.do(r) }()
	return func() { o.placed = (<-done).told != nil }
}
