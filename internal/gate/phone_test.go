package gate

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/sms"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// inbox is a carrier that keeps what it is given.
type inbox struct {
	mu   sync.Mutex
	all  []sms.Message
	fail error // what Send answers
}

func (i *inbox) Send(_ context.Context, m sms.Message) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = append(i.all, m)
	return i.fail
}

// last is the newest message.
func (i *inbox) last(t *testing.T) sms.Message {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.all) == 0 {
		t.Fatal("no message was sent")
	}
	return i.all[len(i.all)-1]
}

func (i *inbox) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.all)
}

// sealer lets the account store seal the key of phones, as the gateway does.
type sealer struct{ keys *session.Keys }

func (s sealer) Seal(plain []byte) string { return s.keys.Seal(session.TypeDataKey, plain) }
func (s sealer) Open(sealed string) ([]byte, bool) {
	return s.keys.Open(session.TypeDataKey, sealed)
}
func (s sealer) Newest(sealed string) bool { return s.keys.Newest(session.TypeDataKey, sealed) }

// phoneRig is a rig that can verify phones, with one page that needs one.
type phoneRig struct {
	*rig
	inbox  *inbox
	counts *smsCounts
}

func newPhoneRig(t *testing.T, opts ...option) *phoneRig {
	t.Helper()
	opts = append([]option{func(c *Config) {
		c.Account.FirstLogin = account.FirstLoginWeChatPhone
		c.Rules = append(c.Rules, Rule{Level: Phone, Paths: []string{"/pay", "/api/pay"}})
	}}, opts...)
	rg := &phoneRig{rig: newRig(t, opts...), inbox: new(inbox), counts: new(smsCounts)}
	must(t, rg.db.Unlock(t.Context(), sealer{rg.keys}))
	rg.site.SMS, rg.site.Metrics = rg.inbox, rg.counts
	return rg
}

// smsCounts counts what became of codes.
type smsCounts struct {
	nopMetrics
	mu  sync.Mutex
	all map[string]int
}

func (c *smsCounts) SMS(outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]int{}
	}
	c.all[outcome]++
}

func (c *smsCounts) of(outcome string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[outcome]
}

// The people's phones.
const (
	liPhone   = "+8613800138001"
	wangPhone = "+8613800138002"
	newPhone  = "+8613800138003"
)

// post sends JSON to an endpoint, as the page's script does.
func (b *browser) post(path string, fields map[string]string, edit ...func(*http.Request)) answer {
	b.rg.t.Helper()
	body, err := json.Marshal(fields)
	must(b.rg.t, err)
	r, err := http.NewRequest(http.MethodPost, b.rg.abs(path), strings.NewReader(string(body)))
	must(b.rg.t, err)
	r.Header.Set("User-Agent", b.ua)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", b.rg.srv.URL)
	r.Header.Set("Sec-Fetch-Mode", "cors")
	r.Header.Set("Sec-Fetch-Dest", "empty")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(r, edit...)
}

func (b *browser) askCode(phone string) answer {
	b.rg.t.Helper()
	return b.post("/wxgate/phone/code", map[string]string{"phone": phone})
}

func (b *browser) prove(phone, code string) answer {
	b.rg.t.Helper()
	return b.post("/wxgate/phone", map[string]string{"phone": phone, "code": code})
}

// verify takes a phone from its number to the end.
func (rg *phoneRig) verify(b *browser, phone string) answer {
	rg.t.Helper()
	rg.wait()
	if got := b.askCode(phone); got.StatusCode != http.StatusAccepted {
		rg.t.Fatalf("no code: %d %s", got.StatusCode, got.body)
	}
	return b.prove(phone, rg.inbox.last(rg.t).Code)
}

// wait lets the limits forget what was counted.
func (rg *phoneRig) wait() { rg.site.Limiter = limit.NewMemory(10_000) }

// problemOf is the code of a problem document, empty for anything else.
func problemOf(a answer) string {
	var p struct{ Code string }
	if a.Header.Get("Content-Type") == "application/problem+json" {
		_ = json.Unmarshal([]byte(a.body), &p) // then it has no code
	}
	return p.Code
}

// is says whether an answer has a status and a code.
func is(a answer, status int, code string) bool {
	return a.StatusCode == status && problemOf(a) == code
}

func TestPhoneLogsInOutsideWeChat(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.browser(uaChrome)
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	page := b.get("/me/orders?page=2")
	if page.Request.URL.Path != "/wxgate/phone" || !strings.Contains(page.body, `data-next="/me/orders?page=2"`) {
		t.Fatalf("at %s:\n%s", page.Request.URL, page.body)
	}
	got := rg.verify(b, "138 0013 8001")
	if got.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	var answered struct {
		User struct {
			ID, Kind      string
			PhoneVerified bool `json:"phone_verified"`
		}
		Session string
	}
	must(t, json.Unmarshal([]byte(got.body), &answered))
	b.get("/me/orders?page=2")
	member, kind, previous := rg.identityOf()
	if kind != "member" || previous != guest || rg.last().Header.Get("X-User-Phone-Verified") != "1" {
		t.Errorf("the shop was told %s %s, previously %s", kind, member, previous)
	}
	if u := answered.User; u.ID != member || u.Kind != "member" || !u.PhoneVerified || answered.Session != "" || strings.Contains(got.body, "can_bind") {
		t.Errorf("answered %s", got.body)
	}
	if m := rg.inbox.last(t); m.Phone != liPhone || m.Purpose != "login" || m.ExpiresIn != codeLife || m.Locale != "zh-Hans" ||
		!regexp.MustCompile(`^\d{6}$`).MatchString(m.Code) {
		t.Errorf("sent %#v", m)
	}
	if b.get("/wxgate/phone?return_to=/me/orders"); rg.last().URL.Path != "/me/orders" {
		t.Error("back at the page he is not sent on")
	}
	if strings.Contains(rg.log.String(), "13800138001") || strings.Contains(rg.log.String(), rg.inbox.last(t).Code) {
		t.Error("the log tells phone or code")
	}
}

// One consent, one number, one code.
func TestFirstLoginInWeChatTakesConsentAndPhone(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	page := b.get("/me/orders?x=%2F&y=1")
	if page.Request.URL.Path != "/wxgate/login" {
		t.Fatalf("at %s", page.Request.URL)
	}
	page = b.tapLogin(page)
	if page.Request.URL.Path != "/wxgate/phone" || !strings.Contains(page.body, `data-next="/me/orders?x=%2F&amp;y=1"`) {
		t.Fatalf("after the consent at %s:\n%s", page.Request.URL, page.body)
	}
	if _, kind, _ := rg.identityOf(); kind != "guest" {
		t.Fatalf("a member without a phone: %s", kind)
	}
	if got := rg.verify(b, liPhone); got.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	b.get("/me/orders")
	member, kind, previous := rg.identityOf()
	if kind != "member" || previous != guest {
		t.Errorf("he is %s %s, previously %s", kind, member, previous)
	}
	// His WeChat is linked: nothing is asked again, in a browser that knows nothing.
	b.clearCookies()
	b.get("/goods")
	if again, kind, _ := rg.identityOf(); again != member || kind != "member" {
		t.Errorf("cookies cleared, he is %s %s", kind, again)
	}
	// The same phone is the same member on his PC.
	pc := rg.browser(uaChrome)
	pc.get("/goods")
	rg.verify(pc, liPhone)
	pc.get("/me/orders")
	if id, _, _ := rg.identityOf(); id != member {
		t.Errorf("on his PC he is %s", id)
	}
}

// A follower's unionid is known without a tap: only the phone is missing.
func TestGuestWithKnownUnionIDIsAskedForThePhoneAtOnce(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/goods")
	page := b.get("/me/orders")
	if page.Request.URL.Path != "/wxgate/phone" || strings.Contains(page.body, "go=wechat") {
		t.Fatalf("at %s:\n%s", page.Request.URL, page.body)
	}
	if got := b.fetch(http.MethodGet, "/api/me/orders"); !strings.Contains(got.body, `"need":"phone"`) {
		t.Errorf("a script is told %s", got.body)
	}
	rg.verify(b, wangPhone)
	b.get("/me/orders")
	if _, kind, _ := rg.identityOf(); kind != "member" {
		t.Errorf("he is a %s", kind)
	}
}

// An existing member is never stopped by the mode.
func TestMemberWithoutPhoneLogsInByWeChatAlone(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChat })
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.tapLogin(b.get("/me/orders"))
	member, kind, _ := rg.identityOf()
	if kind != "member" {
		t.Fatalf("he is a %s", kind)
	}
	rg.site.cfg.Account.FirstLogin = account.FirstLoginWeChatPhone
	b.clearCookies()
	b.get("/me/orders")
	if id, kind, _ := rg.identityOf(); id != member || kind != "member" {
		t.Errorf("after the switch he is %s %s", kind, id)
	}
}

// sessionID is the id of the browser's session.
func (b *browser) sessionID() string {
	b.rg.t.Helper()
	sess, ok := b.rg.keys.OpenSession(b.cookies()["wxgate"], time.Now())
	if !ok {
		b.rg.t.Fatal("the browser has no session")
	}
	return sess.ID
}

func TestPhoneLevelAsksAMemberForHisPhone(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChat })
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.tapLogin(b.get("/me/orders"))
	member, _, _ := rg.identityOf()
	page := b.get("/pay?order=7")
	if page.Request.URL.Path != "/wxgate/phone" || !strings.Contains(page.body, `data-next="/pay?order=7"`) {
		t.Fatalf("at %s:\n%s", page.Request.URL, page.body)
	}
	got := b.fetch(http.MethodPost, "/api/pay")
	if !is(got, http.StatusUnauthorized, "login_required") || !strings.Contains(got.body, `"need":"phone","login_url":"/wxgate/phone?return_to=%2Fcart%3Fx%3D1"`) {
		t.Errorf("a script is told %d %s", got.StatusCode, got.body)
	}
	old := b.sessionID()
	rg.verify(b, liPhone)
	if m := rg.inbox.last(t); m.Purpose != "bind" {
		t.Errorf("purpose %q", m.Purpose)
	}
	if b.sessionID() == old {
		t.Error("the session is the one from before the phone was bound")
	}
	if got := b.get("/pay?order=7"); got.Request.URL.Path != "/pay" {
		t.Errorf("at %s", got.Request.URL)
	}
	if id, _, _ := rg.identityOf(); id != member || rg.last().Header.Get("X-User-Phone-Verified") != "1" {
		t.Errorf("he is %s, not %s", id, member)
	}
}

// A guest whose unionid is known becomes a member on the way to a phone page,
// and his session has to arrive with the challenge.
func TestPromotionOnTheWayToAPhone(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChat })
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/goods")
	if page := b.get("/pay"); page.Request.URL.Path != "/wxgate/phone" || !strings.Contains(page.body, "验证手机号") {
		t.Fatalf("at %s:\n%s", page.Request.URL, page.body)
	}
	b.get("/goods")
	member, kind, _ := rg.identityOf()
	if kind != "member" {
		t.Fatalf("he is a %s", kind)
	}
	rg.verify(b, wangPhone)
	b.get("/pay")
	if id, _, _ := rg.identityOf(); id != member {
		t.Errorf("he is %s, not %s", id, member)
	}
}

func TestGuestsOffLoginByPhone(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.Account.GuestsOff = true })
	b := rg.browser(uaChrome)
	if page := b.get("/me/orders"); page.Request.URL.Path != "/wxgate/phone" {
		t.Fatalf("at %s", page.Request.URL)
	}
	if got := rg.verify(b, liPhone); got.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	b.get("/me/orders")
	if _, kind, previous := rg.identityOf(); kind != "member" || previous != "" {
		t.Errorf("he is a %s, previously %s", kind, previous)
	}
}

// A client without cookies gets its session in the answer.
func TestPhoneLoginWithAHeaderSession(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.browser(uaChrome)
	b.get("/goods")
	token := b.cookies()["wxgate"]
	b.clearCookies()
	as := func(r *http.Request) { r.Header.Set("Authorization", "Wxgate "+token) }
	b.post("/wxgate/phone/code", map[string]string{"phone": liPhone}, as)
	got := b.post("/wxgate/phone", map[string]string{"phone": liPhone, "code": rg.inbox.last(t).Code}, as)
	var answered struct{ Session string }
	must(t, json.Unmarshal([]byte(got.body), &answered))
	if answered.Session == "" || got.Header.Get("Set-Cookie") != "" {
		t.Fatalf("%v %s", got.Header, got.body)
	}
	token = answered.Session
	b.get("/me/orders", as)
	if _, kind, _ := rg.identityOf(); kind != "member" {
		t.Errorf("he is a %s", kind)
	}
}

func TestWithoutACarrierThereIsNoPhoneLogin(t *testing.T) {
	rg := newRig(t)
	b := rg.browser(uaChrome)
	b.get("/goods")
	if got := b.askCode(liPhone); !is(got, http.StatusNotFound, "not_found") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if got := b.get("/wxgate/phone"); got.StatusCode != http.StatusNotFound {
		t.Errorf("the page: %d", got.StatusCode)
	}
	if page := b.get("/me/orders"); page.Request.URL.Path != "/wxgate/login" || strings.Contains(page.body, "/wxgate/phone") {
		t.Errorf("at %s:\n%s", page.Request.URL, page.body)
	}
}
