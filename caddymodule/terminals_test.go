package caddymodule

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	demoshop "github.com/wxgate/wxgate/cmd/wxgate-sandbox/shop"
	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// The four terminals of a shop.
const (
	h5       = "H5"
	mini     = "mini program"
	computer = "PC"
	app      = "app"
)

// district is a site of the gateway, with an app for each terminal.
type district struct {
	port    string
	unbound bool // its apps are bound to no Open Platform account
	apps    map[string]string
}

// mall is a gateway with two sites in front of one shop. At one WeChat tells who
// a person is across all apps; at the other nothing but a phone joins terminals.
type mall struct {
	*rig
	codes  *smsCodes
	bound  district
	alone  district
	config setup
}

func newMall(t *testing.T) *mall {
	m := &mall{rig: newRig(t), codes: &smsCodes{last: map[string]string{}}}
	server, phones := httptest.NewServer(demoshop.New()), httptest.NewServer(m.codes)
	t.Cleanup(server.Close)
	t.Cleanup(phones.Close)
	m.bound = district{port: m.port, apps: map[string]string{h5: testAppID, mini: "wx2222222222222222", computer: testWebsiteID, app: mobileID}}
	m.alone = district{port: dbtest.Port(t), unbound: true, apps: map[string]string{h5: "wxb111111111111111", mini: "wxb222222222222222", computer: "wxb333333333333333", app: "wxb444444444444444"}}
	site := func(d district) string {
		return fmt.Sprintf("login /api/me/*\nofficial_account %s\nmini_program %s\nwebsite %s\nmobile_app %s", d.apps[h5], d.apps[mini], d.apps[computer], d.apps[app])
	}
	backend := "reverse_proxy " + strings.TrimPrefix(server.URL, "http://")
	m.config = setup{
		account: m.open(m.bound) + m.open(m.alone), app: "sms webhook " + phones.URL + " {\nsecret " + hookSecret + "\n}",
		site: site(m.bound), backend: backend,
		more: fmt.Sprintf("http://127.0.0.1:%s {\nwxgate {\nexternal_url http://127.0.0.1:%[1]s\n%s\n}\n%s\n}\n", m.alone.port, site(m.alone), backend),
	}
	m.run(m.config)
	return m
}

// open makes the pretend WeChat know the apps of a site, and returns their lines
// of the global option.
func (m *mall) open(d district) (lines string) {
	for terminal, option := range map[string]string{h5: "official_account", mini: "mini_program", computer: "website", app: "mobile_app"} {
		platform, block := "shop", ""
		if d.unbound {
			platform, block = "", " {\nunionid none\n}"
		}
		m.wechat.SetApp(wechattest.App{
			ID: d.apps[terminal], Secret: "hush", Domains: []string{"127.0.0.1"}, OpenPlatform: platform,
			MiniProgram: terminal == mini, Website: terminal == computer, Mobile: terminal == app,
		})
		lines += option + " " + d.apps[terminal] + " hush" + block + "\n"
	}
	return lines
}

// smsCodes takes the codes that phones are sent.
type smsCodes struct {
	mu   sync.Mutex
	last map[string]string // by phone
}

func (c *smsCodes) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var sent struct{ Phone, Code string }
	if json.NewDecoder(r.Body).Decode(&sent) == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last[sent.Phone] = sent.Code
	}
}

func (c *smsCodes) of(phone string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last["+86"+phone]
}

// shopper is somebody at one terminal.
type shopper struct {
	m       *mall
	kind    string
	at      district
	person  wechattest.Person
	browser *device // on H5 and PC
	session string  // in a mini program and an app
}

func (m *mall) shopper(kind string, at district, p wechattest.Person) *shopper {
	m.wechat.AddPerson(p)
	tm := &shopper{m: m, kind: kind, at: at, person: p}
	switch kind {
	case h5:
		tm.browser = m.inWeChat(p)
	case computer:
		tm.browser = m.elsewhere()
	case mini:
		tm.call("/wxgate/mini/login", map[string]string{"appid": at.apps[mini], "code": m.wechat.MiniLogin(p.Name, at.apps[mini])})
	case app:
		tm.call("/wxgate/app/session", map[string]string{})
	}
	if tm.browser != nil {
		tm.browser.get(tm.url("/"))
	}
	return tm
}

func (tm *shopper) url(path string) string { return "http://127.0.0.1:" + tm.at.port + path }

// call sends JSON to the site, or asks it where fields is nil, and keeps the
// session that the answer brings.
func (tm *shopper) call(path string, fields any) (status int, body []byte) {
	tm.m.t.Helper()
	method, text := http.MethodGet, []byte(nil)
	if fields != nil {
		method = http.MethodPost
		var err error
		if text, err = json.Marshal(fields); err != nil {
			tm.m.t.Fatal(err)
		}
	}
	r, err := http.NewRequest(method, tm.url(path), bytes.NewReader(text))
	if err != nil {
		tm.m.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	client := http.DefaultClient
	if tm.browser != nil {
		client = tm.browser.client
		r.Header.Set("User-Agent", tm.browser.agent)
		r.Header.Set("Sec-Fetch-Mode", "cors")
		r.Header.Set("Sec-Fetch-Dest", "empty")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	} else if tm.session != "" {
		r.Header.Set("Authorization", "Wxgate "+tm.session)
	}
	resp, err := client.Do(r)
	if err != nil {
		tm.m.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		tm.m.t.Fatal(err)
	}
	if tm.browser == nil {
		var said struct{ Session string }
		_ = json.Unmarshal(body, &said) // else it brings none
		if token := cmp.Or(said.Session, resp.Header.Get("X-Wxgate-Session")); token != "" {
			tm.session = token
		}
	}
	return resp.StatusCode, body
}

func (tm *shopper) mustCall(path string, fields any) []byte {
	tm.m.t.Helper()
	status, body := tm.call(path, fields)
	if status != http.StatusOK && status != http.StatusAccepted {
		tm.m.t.Fatalf("%s, %s at %s: %d %s", tm.person.Name, tm.kind, path, status, body)
	}
	return body
}

// order puts something into the cart and orders it.
func (tm *shopper) order() (number string) {
	tm.m.t.Helper()
	var shelves []struct{ ID string }
	if err := json.Unmarshal(tm.mustCall("/api/goods", nil), &shelves); err != nil || len(shelves) == 0 {
		tm.m.t.Fatalf("nothing on the shelves: %v", err)
	}
	tm.mustCall("/api/cart", map[string]any{"goods": shelves[0].ID, "n": 1})
	var placed struct{ Number string }
	if err := json.Unmarshal(tm.mustCall("/api/orders", map[string]string{}), &placed); err != nil || placed.Number == "" {
		tm.m.t.Fatalf("no order: %v", err)
	}
	return placed.Number
}

// kindNow says whether the gateway takes him for a guest or a member.
func (tm *shopper) kindNow() string {
	tm.m.t.Helper()
	var me struct{ Kind string }
	if err := json.Unmarshal(tm.mustCall("/wxgate/me", nil), &me); err != nil {
		tm.m.t.Fatal(err)
	}
	return me.Kind
}

// tapWeChat logs in by WeChat, as far as WeChat alone leads.
func (tm *shopper) tapWeChat() {
	tm.m.t.Helper()
	const login = "/wxgate/login?return_to=/"
	appID, name := tm.at.apps[tm.kind], tm.person.Name
	switch tm.kind {
	case h5:
		page := tm.browser.get(tm.url(login))
		if page.Request.URL.Path != "/wxgate/phone" { // there WeChat has told all it can, unseen
			tm.browser.tapLogin(page)
		}
	case computer:
		tm.browser.scan(tm.browser.get(tm.url(login)), name)
	case mini:
		tm.mustCall("/wxgate/mini/login", map[string]string{"appid": appID, "code": tm.m.wechat.MiniLogin(name, appID), "want": "login"})
	case app:
		tm.mustCall("/wxgate/app/login", map[string]string{"appid": appID, "code": tm.m.wechat.AppCode(name, appID)})
	}
}

// provePhone verifies his phone, in a mini program by WeChat.
func (tm *shopper) provePhone() {
	tm.m.t.Helper()
	if tm.kind == mini {
		tm.mustCall("/wxgate/mini/phone", map[string]string{"code": tm.m.wechat.MiniPhone(tm.person.Name, tm.at.apps[mini]).Code})
		return
	}
	tm.mustCall("/wxgate/phone/code", map[string]string{"phone": tm.person.Phone})
	tm.mustCall("/wxgate/phone", map[string]string{"phone": tm.person.Phone, "code": tm.m.codes.of(tm.person.Phone)})
}

// firstLogin is by WeChat and by phone, as it is where phones can be verified.
func (tm *shopper) firstLogin() {
	tm.m.t.Helper()
	tm.tapWeChat()
	if kind := tm.kindNow(); kind != "guest" {
		tm.m.t.Fatalf("%s, %s: WeChat alone made him a %s", tm.person.Name, tm.kind, kind)
	}
	tm.provePhone()
	if kind := tm.kindNow(); kind != "member" {
		tm.m.t.Fatalf("%s, %s: he is a %s", tm.person.Name, tm.kind, kind)
	}
}

// sees says whether an order is among his.
func (tm *shopper) sees(number string) bool {
	tm.m.t.Helper()
	status, body := tm.call("/api/me/orders", nil)
	var orders []struct{ Number string }
	if status != http.StatusOK || json.Unmarshal(body, &orders) != nil {
		tm.m.t.Errorf("%s, %s: %d %s", tm.person.Name, tm.kind, status, body)
		return false
	}
	for _, o := range orders {
		if o.Number == number {
			return len(orders) == 1
		}
	}
	return false
}

// Somebody orders on one terminal and looks for his order on another: all pairs
// of them, and all that two terminals can have in common. Between the first
// terminals and the second ones the gateway is started anew, as it may be.
func TestOrderOfOneTerminalIsSeenOnTheOther(t *testing.T) {
	m := newMall(t)
	type cell struct {
		first, second, common string
		at                    district
		person                wechattest.Person
		ordered               string
	}
	const unionID, phone, guest = "one unionid", "one phone", "a guest's order first"
	var cells []*cell
	terminals := []string{h5, mini, computer, app}
	for _, first := range terminals {
		for _, second := range terminals {
			for _, common := range []string{unionID, phone, guest} {
				if first == second {
					continue
				}
				c := &cell{first: first, second: second, common: common, at: m.bound}
				if common == phone {
					c.at = m.alone
				}
				n := len(cells)
				c.person = wechattest.Person{Name: fmt.Sprint("person ", n), Phone: fmt.Sprintf("138%08d", 1000+n), Consent: wechattest.Accept}
				cells = append(cells, c)
			}
		}
	}
	if len(cells) != 12*3 {
		t.Fatalf("%d cells", len(cells))
	}
	for _, c := range cells {
		tm := m.shopper(c.first, c.at, c.person)
		if c.common == guest {
			c.ordered = tm.order()
		}
		tm.firstLogin()
		if c.common != guest {
			c.ordered = tm.order()
		}
	}
	stop(t)
	m.run(m.config)
	for _, c := range cells {
		t.Run(c.first+" then "+c.second+", "+c.common, func(t *testing.T) {
			m.t = t
			tm := m.shopper(c.second, c.at, c.person)
			if c.common == phone {
				tm.firstLogin()
			} else {
				tm.tapWeChat()
			}
			if !tm.sees(c.ordered) {
				t.Errorf("the order %s is not the one there", c.ordered)
			}
		})
	}
}
