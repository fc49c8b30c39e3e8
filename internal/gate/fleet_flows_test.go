package gate

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// Any hop of any flow may land on any instance: sticky sessions are not needed.
func TestAnyHopMayMeetAnyInstance(t *testing.T) {
	f := newFleet(t, weChatMode, withMini)
	f.listened()
	for name, flow := range map[string]func(){
		"recognised without a word":    f.isRecognised,
		"login by consent, and logout": f.logsInAndOut,
		"code by SMS":                  f.verifiesPhone,
		"two accounts become one":      f.merges,
		"mini program":                 f.usesMiniProgram,
	} {
		f.redis.Do(t, "FLUSHALL") // limits, among others
		t.Log(name)
		flow()
	}
}

func (f *fleet) isRecognised() {
	b := f.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	if got := b.get("/goods"); got.Request.URL.Path != "/goods" || len(b.hops) < 3 {
		f.t.Errorf("at %s after %v", got.Request.URL, b.hops)
	}
	if len(b.me().Identities) != 1 {
		f.t.Errorf("%+v", b.me())
	}
}

func (f *fleet) logsInAndOut() {
	b := f.wechatBrowser(wechattest.Person{Name: "zhao", Consent: wechattest.Accept})
	if got := b.tapLogin(b.get("/me/orders")); got.Request.URL.Path != "/me/orders" {
		f.t.Fatalf("at %s", got.Request.URL)
	}
	old := b.cookies()["wxgate"]
	for range f.all {
		b.get("/me/orders")
	}
	if got := b.fetch(http.MethodPost, "/wxgate/logout"); got.StatusCode != http.StatusNoContent {
		f.t.Fatalf("logout: %d", got.StatusCode)
	}
	for range f.all {
		f.ends(old)
	}
}

func (f *fleet) verifiesPhone() {
	b := f.visitor()
	if got := b.askCode(wangPhone); got.StatusCode != http.StatusAccepted {
		f.t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if got := b.prove(wangPhone, f.inbox.last(f.t).Code); got.StatusCode != http.StatusOK {
		f.t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if got := b.get("/pay"); got.Request.URL.Path != "/pay" {
		f.t.Errorf("at %s", got.Request.URL)
	}
}

func (f *fleet) merges() {
	b, phones, _ := f.twoAccounts()
	f.redis.Do(f.t, "FLUSHALL") // a minute has passed
	f.proveForMerge(b, liPhone)
	done := b.press(b.follow(b.get("/wxgate/merge", english), "Confirm with WeChat"), "Merge the two")
	if !strings.Contains(done.body, "accounts are one") {
		f.t.Fatalf("%d at %s: %s", done.StatusCode, done.Request.URL, done.body)
	}
	for range f.all { // his session is the same, and each hears who he is now
		f.until("he is one", func() bool {
			b.get("/goods")
			id, _, _ := f.identityOf()
			return id == phones
		})
	}
}

func (f *fleet) usesMiniProgram() {
	m := f.miniOf(wechattest.Person{Name: "chen", Phone: "13800138004"})
	m.login("")
	if got, said := m.tapPhone(); got.StatusCode != http.StatusOK || said.User.Kind != "member" {
		f.t.Errorf("%d %s", got.StatusCode, got.body)
	}
	id, _ := m.shop("/goods")
	view := f.webViewOf("chen", testMiniID)
	view.get(m.ticket("/cart"))
	if seen, _ := view.shownTo("/goods"); seen != id || id == "" {
		f.t.Errorf("in the web-view %s is %s", id, seen)
	}
	if got := m.request(http.MethodPost, "/wxgate/mini/profile", map[string]string{"nickname": "Chen"}); got.StatusCode != http.StatusOK {
		f.t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// C3: the same callback comes to all instances at once. One of them exchanges
// the code, and every answer carries the same session.
func TestDoubledCallbackMeetsAllInstances(t *testing.T) {
	f := newFleet(t, weChatMode)
	b := f.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	callback := b.startConsent("/me/orders")
	f.wechat.Fail(wechattest.ExchangeCode, 1, wechattest.Delay(200*time.Millisecond))
	before := f.wechat.Count(wechattest.ExchangeCode)
	var mu sync.Mutex
	tokens := map[string]int{}
	var twice sync.WaitGroup
	for range 2 * len(f.all) {
		twice.Go(func() {
			r, err := http.NewRequest(http.MethodGet, callback, nil)
			if err != nil {
				t.Error(err)
				return
			}
			b.navigate(r)
			for name, value := range b.cookies() {
				r.AddCookie(&http.Cookie{Name: name, Value: value})
			}
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			token := "none, to " + resp.Header.Get("Location")
			for _, c := range resp.Cookies() {
				if c.Name == "wxgate" {
					token = c.Value
				}
			}
			mu.Lock()
			defer mu.Unlock()
			tokens[token]++
		})
	}
	twice.Wait()
	if n := f.wechat.Count(wechattest.ExchangeCode) - before; n != 1 || len(tokens) != 1 {
		t.Errorf("%d exchanges, sessions: %v", n, tokens)
	}
}

// A8: neither is the code of a mini program spent twice.
func TestDoubledMiniLoginMeetsAllInstances(t *testing.T) {
	f := newFleet(t, withMini)
	first := f.miniOf(wechattest.Person{Name: "li"})
	code := first.code()
	f.wechat.Fail(wechattest.Code2Session, 1, wechattest.Delay(200*time.Millisecond))
	var mu sync.Mutex
	ids := map[string]int{}
	var all sync.WaitGroup
	for range 2 * len(f.all) {
		all.Go(func() {
			m := f.miniOf(wechattest.Person{Name: "li"})
			got, said := m.loginWith(code, "")
			mu.Lock()
			defer mu.Unlock()
			ids[fmt.Sprint(got.StatusCode, said.User.ID)]++
		})
	}
	all.Wait()
	if n := f.wechat.Count(wechattest.Code2Session); n != 1 || len(ids) != 1 {
		t.Errorf("%d calls, answers: %v", n, ids)
	}
}

// Whoever sends each request to another instance gets no more of anything.
func TestLimitsHoldOnAllInstancesTogether(t *testing.T) {
	f := newFleet(t, func(c *Config) { c.MintLimit = limit.Limit{Events: 4, Window: time.Hour} })
	ids := map[string]bool{}
	for range 3 * len(f.all) {
		f.browser(uaChrome).get("/goods")
		if id, _, _ := f.identityOf(); id != "" {
			ids[id] = true
		}
	}
	if len(ids) != 4 {
		t.Errorf("%d guests", len(ids))
	}
	f.redis.Do(t, "FLUSHALL")
	b := f.visitor()
	b.askCode(liPhone)
	if got := b.askCode(liPhone); got.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a second code at once: %d", got.StatusCode)
	}
	code := f.inbox.last(t).Code
	wrong := "000000"
	if code == wrong {
		wrong = "000001"
	}
	for range codeTries {
		b.prove(liPhone, wrong)
	}
	if got := b.prove(liPhone, code); got.StatusCode == http.StatusOK {
		t.Error("the right code after five wrong ones is taken")
	}
}

// What visitors meet while Redis is frozen: those who are known nothing, a
// login where it stays on one instance; and no code is good that cannot be
// counted.
func TestFleetWithoutRedis(t *testing.T) {
	f := newFleet(t, withMini)
	known, asked := f.wechatBrowser(wechattest.Person{Name: "li"}), f.visitor()
	known.get("/goods")
	id, _, _ := f.identityOf()
	if got := asked.askCode(liPhone); got.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	f.redis.Freeze()
	for range f.all {
		known.get("/goods")
		if got, _, _ := f.identityOf(); got != id {
			t.Errorf("who is known is %q, want %s", got, id)
		}
	}
	if got := asked.prove(liPhone, f.inbox.last(t).Code); got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("a code is answered with %d %s", got.StatusCode, got.body)
	}
	chen := f.miniOf(wechattest.Person{Name: "chen"})
	chen.login("")
	if got := chen.request(http.MethodPost, "/wxgate/mini/ticket", map[string]string{"return_to": "/"}); !is(got, http.StatusServiceUnavailable, "unavailable") ||
		got.Header.Get("Retry-After") == "" {
		t.Errorf("a hand-off is answered with %d %s", got.StatusCode, got.body)
	}
	f.stay.Store(true)
	wang := f.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	if wang.get("/goods"); len(wang.me().Identities) != 1 {
		t.Errorf("on one instance he is %+v", wang.me())
	}
	f.stay.Store(false)
	zhao := f.wechatBrowser(wechattest.Person{Name: "zhao"})
	if got := zhao.get("/goods"); got.StatusCode != http.StatusOK {
		t.Errorf("on several instances: %d at %s", got.StatusCode, got.Request.URL)
	}
	if got := zhao.get("/goods"); len(zhao.hops) != 0 || got.StatusCode != http.StatusOK {
		t.Errorf("he is sent around: %v", zhao.hops)
	}
	if _, kind, _ := f.identityOf(); kind != "guest" {
		t.Errorf("and is %q", kind)
	}
	sess, ok := f.keys.OpenSession(known.cookies()["wxgate"], time.Now())
	if !ok {
		t.Fatal("no session")
	}
	must(t, f.dbs[1].RevokeSession(t.Context(), sess.ID, time.Now(), time.Now().Add(time.Hour)))
	for _, s := range f.all { // what nobody could be told stands in the log
		must(t, s.Watcher.poll(t.Context()))
	}
	for range f.all {
		if got := known.fetch(http.MethodGet, "/wxgate/me"); !strings.Contains(got.body, `"nobody"`) {
			t.Errorf("who was logged out is %s", got.body)
		}
	}
	f.redis.Thaw()
	f.until("codes work again", func() bool {
		return asked.prove(liPhone, f.inbox.last(t).Code).StatusCode != http.StatusServiceUnavailable
	})
	asked.get("/pay")
	if _, kind, _ := f.identityOf(); kind != "member" {
		t.Errorf("afterwards the code made him a %s", kind)
	}
}

// What one instance revokes ends on the others without their reading the log.
// What it says itself it need not hear, and nonsense harms nobody.
func TestInstancesHearOfEachOther(t *testing.T) {
	f := newFleet(t)
	f.listened()
	b := f.wechatBrowser(wechattest.Person{Name: "li"})
	b.get("/goods")
	token := b.cookies()["wxgate"]
	for range f.all { // so that each has it in its cache
		b.get("/goods")
	}
	own := f.all[0].Cache.Generation()
	for _, junk := range []string{"", "junk", "{", `{"forget":1}`, `[]`} {
		for _, s := range f.all {
			s.Watcher.hear(junk)
		}
	}
	f.all[0].Watcher.hear(f.all[0].Watcher.outbox.message("1"))
	if f.all[0].Cache.Generation() != own {
		t.Error("junk, or its own news, changes its cache")
	}
	sess, ok := f.keys.OpenSession(token, time.Now())
	if !ok {
		t.Fatal("no session")
	}
	must(t, f.dbs[1].RevokeSession(t.Context(), sess.ID, time.Now(), time.Now().Add(time.Hour)))
	for range f.all {
		f.ends(token)
	}
}

// Around a reload, when there are two, and while nobody shares, nothing piles
// up.
func TestNewsThatNobodyCarriesIsLeftOut(t *testing.T) {
	w := NewWatcher(nil, session.NewCache(0))
	for range 2 * outboxSize {
		w.Changed(account.Invalidation{UserID: "1"})
	}
	if n := len(w.outbox.subjects); n != 0 {
		t.Errorf("%d wait though nobody shares", n)
	}
	w.outbox.sharing.Add(1)
	for range 2 * outboxSize {
		w.Changed(account.Invalidation{UserID: "1", SessionID: "s"})
	}
	if n := len(w.outbox.subjects); n != outboxSize {
		t.Errorf("%d wait, want %d at most", n, outboxSize)
	}
	if m := w.outbox.message("2"); strings.Count(m, `"1"`)+strings.Count(m, `"s"`) != newsSize-1 {
		t.Errorf("a message holds %s", m)
	}
}
