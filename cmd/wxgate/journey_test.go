package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// person is one of many, each with a phone.
func (f *fleet) person(n int) wechattest.Person {
	p := wechattest.Person{Name: fmt.Sprintf("person %d", n), Phone: fmt.Sprintf("138%08d", n), Consent: wechattest.Accept}
	f.all[0].wechat.AddPerson(p)
	return p
}

// visit is what somebody new does in WeChat: he looks at the shop and logs in.
func (f *fleet) visit(n int) (member string, err error) {
	p := f.person(n)
	page := f.inWeChat(p)
	if said, err := page.get("/goods"); err != nil || !strings.HasPrefix(said, "guest ") {
		return "", fmt.Errorf("%s comes as %q, error %w", p.Name, said, err)
	}
	if member, err = page.logIn(); err != nil {
		return "", fmt.Errorf("%s logs in: %w", p.Name, err)
	}
	if err := page.stays(4, "member "+member); err != nil {
		return "", fmt.Errorf("%s goes on: %w", p.Name, err)
	}
	return member, nil
}

// journey goes on with his phone: he opens the mini program, gives it his number,
// and opens a page in its web-view. He is one member all the time.
func (f *fleet) journey(n int) (member string, err error) {
	if member, err = f.visit(n); err != nil {
		return "", err
	}
	p := f.person(n)
	mini, err := f.inMiniProgram(p, member)
	if err != nil {
		return "", err
	}
	detail := f.all[0].wechat.MiniPhone(p.Name, miniApp)
	said, err := mini.post("/wxgate/mini/phone", map[string]string{"encrypted_data": detail.EncryptedData, "iv": detail.IV})
	if err != nil || said.User.ID != member || !said.User.Verified {
		return "", fmt.Errorf("%s gives his number as %+v, error %w", p.Name, said, err)
	}
	ticket, err := mini.post("/wxgate/mini/ticket", map[string]string{"return_to": "/me/orders"})
	if err != nil {
		return "", fmt.Errorf("%s asks for a web-view: %w", p.Name, err)
	}
	view := f.inWeChat(p)
	view.client.Transport.(*wechattest.Transport).UserAgent = wechattest.AndroidUserAgent + " miniProgram/" + miniApp
	if said, err := view.get(ticket.URL); err != nil || said != "member "+member {
		return "", fmt.Errorf("%s is %q in the web-view, error %w", p.Name, said, err)
	}
	return member, view.stays(2, "member "+member)
}

// inMiniProgram logs in to the mini program, where networks send things twice.
func (f *fleet) inMiniProgram(p wechattest.Person, member string) (*visitor, error) {
	mini := f.visitor(&wechattest.Transport{UserAgent: wechattest.IPhoneUserAgent, Base: f.transport()})
	login := map[string]string{"appid": miniApp, "code": f.all[0].wechat.MiniLogin(p.Name, miniApp), "want": "login"}
	for range 2 {
		mini.session = ""
		if said, err := mini.post("/wxgate/mini/login", login); err != nil || said.User.ID != member {
			return nil, fmt.Errorf("%s is %+v in the mini program, error %w", p.Name, said, err)
		}
	}
	return mini, nil
}

// byPhone is somebody with an ordinary browser, who logs in by a code.
func (f *fleet) byPhone(n int, member string) error {
	p := f.person(n)
	pc := f.elsewhere()
	_, err := pc.get("/goods")
	if err == nil {
		_, err = pc.post("/wxgate/phone/code", map[string]string{"phone": p.Phone})
	}
	if err != nil {
		return fmt.Errorf("%s asks for a code: %w", p.Name, err)
	}
	said, err := pc.post("/wxgate/phone", map[string]string{"phone": p.Phone, "code": f.phones.code(p.Phone)})
	if err != nil || said.User.ID != member {
		return fmt.Errorf("%s is %+v by his phone, error %w", p.Name, said, err)
	}
	return pc.stays(2, "member "+member)
}

// meet lets every request from now on meet one gateway, or anyOfThem.
func (f *fleet) meet(n int) { f.only.Store(int64(n)) }

// until waits for what happens by itself.
func (f *fleet) until(what string, done func() bool) {
	f.t.Helper()
	for begun := time.Now(); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 3*time.Minute {
			f.t.Fatalf("not after three minutes: %s", what)
		}
	}
}

// listening returns when each gateway hears the others.
func (f *fleet) listening() {
	f.until("all listen", func() bool {
		return strings.Count(f.redis.Do(f.t, "CLIENT", "LIST", "TYPE", "PUBSUB"), " sub=1 ") == len(f.all)
	})
}

// ended says whether no gateway shows a page of members to a visitor any more.
func (v *visitor) ended(member string) bool {
	for range v.f.all {
		if said, _ := v.get("/me/orders"); said == "member "+member {
			return false
		}
	}
	return true
}

// revokes ends the sessions of a person that have begun at either gateway, and
// lets him log in again at each, at once.
func (f *fleet) revokes(by *gateway, n int, member string) {
	f.t.Helper()
	var begun []*visitor
	for at := range f.all {
		begun = append(begun, f.at(at, n, member))
	}
	by.must("user", "revoke", member, "--reason", "lost his phone", "--yes")
	for at, v := range begun {
		f.until(fmt.Sprintf("the session that has begun at gateway %d is ended", at), func() bool { return v.ended(member) })
	}
	for at := range f.all {
		if err := f.at(at, n, member).stays(2, "member "+member); err != nil {
			f.t.Errorf("logged in again at gateway %d: %v", at, err)
		}
	}
}

// at logs a person in to the mini program at one gateway.
func (f *fleet) at(gateway, n int, member string) *visitor {
	f.t.Helper()
	f.meet(gateway)
	defer f.meet(anyOfThem)
	v, err := f.inMiniProgram(f.person(n), member)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// logsOut ends a session at one gateway, and wants it to be over on all.
func (f *fleet) logsOut(at, n int, member string) {
	f.t.Helper()
	v := f.at(at, n, member)
	copied := &visitor{f: f, client: v.client, session: v.session}
	f.meet(at)
	_, err := v.post("/wxgate/logout", nil)
	f.meet(anyOfThem)
	if err != nil {
		f.t.Error(err)
	}
	f.until(fmt.Sprintf("what was logged out at gateway %d is over", at), func() bool { return copied.ended(member) })
}

// agreesOnKeys wants all gateways to publish the same keys.
func (f *fleet) agreesOnKeys() {
	f.t.Helper()
	v, all := f.elsewhere(), map[string]bool{}
	for range f.all {
		said, err := v.get("/wxgate/jwks.json")
		if err != nil || !strings.Contains(said, "kid") {
			f.t.Errorf("keys: %q, %v", said, err)
		}
		all[said] = true
	}
	if len(all) != 1 {
		f.t.Errorf("different keys: %v", all)
	}
}

// keyState is a line of what operators see of keys.
type keyState struct {
	ID         string    `json:"kid"`
	State      string    `json:"state"`
	ActiveFrom time.Time `json:"active_from"`
}

// nextKey is the key that is to sign next.
func (f *fleet) nextKey() (next keyState) {
	f.t.Helper()
	var all struct{ Keys []keyState }
	if err := json.Unmarshal([]byte(f.all[0].must("key", "list", "--json")), &all); err != nil {
		f.t.Fatal(err)
	}
	for _, k := range all.Keys {
		if k.State == "next" {
			next = k
		}
	}
	if next.ID == "" {
		f.t.Fatalf("no key is next: %+v", all)
	}
	return next
}

// wantsNothingRefused looks at what the shop was sent.
func (f *fleet) wantsNothingRefused() {
	f.t.Helper()
	f.shop.mu.Lock()
	defer f.shop.mu.Unlock()
	if n := len(f.shop.refused); n > 0 {
		f.t.Errorf("%d assertions were refused, as %s", n, f.shop.refused[0])
	}
}
