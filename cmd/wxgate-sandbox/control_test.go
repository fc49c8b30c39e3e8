package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// desk is the control page and the platform behind it.
type desk struct {
	platform *wechattest.Server
	handler  http.Handler
}

func newDesk() desk {
	platform := newPlatform(options{external: &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}, browser: "localhost:8081"})
	return desk{platform, newControl(platform, links{Browser: "http://localhost:8081"})}
}

func (d desk) page() string {
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w.Body.String()
}

// post sends a form and returns the status.
func (d desk) post(path string, form url.Values) int {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w.Code
}

// errCode asks the platform for a token as the gateway does and returns the
// errcode of the answer.
func (d desk) errCode(t *testing.T, api wechattest.API) int {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/"+string(api)+"?appid="+appID+"&secret="+appSecret+"&code=none&grant_type=authorization_code", nil)
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	var answer struct {
		ErrCode int `json:"errcode"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("answer %q: %v", w.Body, err)
	}
	return answer.ErrCode
}

func TestPhoneGoesFromHandToHand(t *testing.T) {
	d := newDesk()
	if code := d.post("/hold", url.Values{"person": {"han"}}); code != http.StatusSeeOther {
		t.Fatalf("status %d", code)
	}
	if held := d.platform.Held(); held != "han" {
		t.Errorf("held by %q, want han", held)
	}
	if page := d.page(); !strings.Contains(page, "<h2>韩梅梅 Han Meimei</h2>") {
		t.Error("the page does not show the holder")
	}
	if code := d.post("/hold", url.Values{"person": {"nobody"}}); code != http.StatusBadRequest || d.platform.Held() != "han" {
		t.Errorf("unknown person: status %d, held by %q", code, d.platform.Held())
	}
}

func TestPersonDoesWhatTheFormSays(t *testing.T) {
	d := newDesk()
	form := url.Values{
		"person": {"li"}, "consent": {"refuse"}, "refusal": {"authdeny"}, "snapshot": {"unflagged"}, "delay": {"3"},
		"follower": {"on"}, "menu": {"on"}, "doubled": {"on"},
	}
	if code := d.post("/person", form); code != http.StatusSeeOther {
		t.Fatalf("status %d", code)
	}
	want := wechattest.Person{
		Name: "li", Nickname: "李雷 Li Lei", Phone: "13800138001", Follower: true, FromMenu: true,
		Consent: wechattest.Refuse, Refusal: wechattest.Authdeny, Snapshot: wechattest.SnapshotUnflagged,
		DoubledCallback: true, CallbackDelay: 3 * time.Second,
	}
	if diff := cmp.Diff(want, d.platform.People()[0]); diff != "" {
		t.Errorf("person (-want +got):\n%s", diff)
	}
	page := d.page()
	for _, value := range []string{"refuse", "authdeny", "unflagged", "3"} {
		if !strings.Contains(page, `<option value="`+value+`" selected>`) {
			t.Errorf("the page does not show the choice %q", value)
		}
	}
	for name, wrong := range map[string]string{"consent": "maybe", "refusal": "", "snapshot": "2", "delay": "-1", "person": "x"} {
		changed := url.Values{}
		for key, value := range form {
			changed[key] = value
		}
		changed.Set(name, wrong)
		if code := d.post("/person", changed); code != http.StatusBadRequest {
			t.Errorf("%s=%q: status %d, want 400", name, wrong, code)
		}
	}
}

func TestMenusAreInThePlatformsOrder(t *testing.T) {
	got := map[string]int{}
	for _, menu := range [][]choice{consents(), refusals(), snapshots()} {
		for i, c := range menu {
			got[c.Value] = i
		}
	}
	want := map[string]int{
		"ask": int(wechattest.Ask), "accept": int(wechattest.Accept), "refuse": int(wechattest.Refuse),
		"stay": int(wechattest.NoRedirect), "state": int(wechattest.StateOnly), "authdeny": int(wechattest.Authdeny),
		"off": int(wechattest.SnapshotOff), "on": int(wechattest.SnapshotOn),
		"unflagged": int(wechattest.SnapshotUnflagged), "real": int(wechattest.SnapshotRealID),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("choices (-want +got):\n%s", diff)
	}
}

func TestFaultComesOnceAndIsGoneFromThePage(t *testing.T) {
	d := newDesk()
	fail := url.Values{"api": {string(wechattest.ExchangeCode)}, "times": {"once"}}
	for _, fault := range []string{"busy", "limit"} {
		fail.Set("fault", fault)
		if code := d.post("/fail", fail); code != http.StatusSeeOther {
			t.Fatalf("status %d", code)
		}
	}
	for i, want := range []struct {
		errCode, pending int
	}{{-1, 2}, {45011, 1}, {40029, 0}} {
		if n := strings.Count(d.page(), "<li>"); n != want.pending {
			t.Errorf("before answer %d the page lists %d faults, want %d", i, n, want.pending)
		}
		if got := d.errCode(t, wechattest.ExchangeCode); got != want.errCode {
			t.Errorf("answer %d: errcode %d, want %d", i, got, want.errCode)
		}
	}
}

func TestLastingFaultEndsWhenHealed(t *testing.T) {
	d := newDesk()
	d.post("/fail", url.Values{"api": {string(wechattest.ExchangeCode)}, "fault": {"busy"}, "times": {"always"}})
	for range 3 {
		if got := d.errCode(t, wechattest.ExchangeCode); got != -1 {
			t.Fatalf("errcode %d, want -1", got)
		}
	}
	if !strings.Contains(d.page(), "<li>") {
		t.Error("the page does not list the fault")
	}
	d.post("/heal", nil)
	if got := d.errCode(t, wechattest.ExchangeCode); got != 40029 {
		t.Errorf("after healing: errcode %d, want 40029", got)
	}
	if strings.Contains(d.page(), "<li>") {
		t.Error("the page still lists the fault")
	}
}

func TestUnknownFaultIsRefused(t *testing.T) {
	d := newDesk()
	for name, form := range map[string]url.Values{
		"api":   {"api": {"sns/nothing"}, "fault": {"busy"}},
		"fault": {"api": {string(wechattest.UserInfo)}, "fault": {"nothing"}},
	} {
		if code := d.post("/fail", form); code != http.StatusBadRequest {
			t.Errorf("unknown %s: status %d, want 400", name, code)
		}
	}
}

func TestConsentIsForgotten(t *testing.T) {
	d := newDesk()
	d.platform.SetConsented("li", appID, true)
	if !strings.Contains(d.page(), `action="/forget"`) {
		t.Error("the page does not offer to forget")
	}
	d.post("/forget", url.Values{"person": {"li"}})
	if d.platform.Consented("li", appID) {
		t.Error("li still consents")
	}
}

func TestPageShowsWhatThePlatformWasAskedWithoutSecrets(t *testing.T) {
	d := newDesk()
	d.errCode(t, wechattest.ExchangeCode)
	page := d.page()
	if !strings.Contains(page, "<td><code>sns/oauth2/access_token</code></td>") || !strings.Contains(page, `<td class="bad">40029</td>`) {
		t.Error("the page does not show the request")
	}
	if strings.Contains(page, appSecret) {
		t.Error("the page shows the AppSecret")
	}
}

func TestAnotherSiteCannotTurnTheKnobs(t *testing.T) {
	d := newDesk()
	r := httptest.NewRequest(http.MethodPost, "/hold", strings.NewReader("person=han"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || d.platform.Held() != "li" {
		t.Errorf("status %d, held by %q", w.Code, d.platform.Held())
	}
}
