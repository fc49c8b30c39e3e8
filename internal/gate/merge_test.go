package gate

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// twoAccounts are one person's: an old one with his phone, and one that his
// WeChat has, with which he is here.
func (rg *phoneRig) twoAccounts() (b *browser, phones, weChats string) {
	rg.t.Helper()
	old := rg.browser(uaChrome)
	old.get("/goods")
	rg.verify(old, liPhone)
	old.get("/goods")
	phones, _, _ = rg.identityOf()
	b = rg.wechatBrowser(wechattest.Person{Name: "li", Follower: true, Consent: wechattest.Accept})
	b.get("/me/orders")
	weChats, kind, _ := rg.identityOf()
	if kind != "member" || weChats == phones {
		rg.t.Fatalf("one account: %s %s and %s", kind, weChats, phones)
	}
	return b, phones, weChats
}

func weChatMode(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChat }

// proveForMerge sends the code of the merge page.
func (rg *phoneRig) proveForMerge(b *browser, phone string) answer {
	rg.t.Helper()
	rg.wait()
	fields := map[string]string{"phone": phone, "purpose": "merge"}
	if got := b.post("/wxgate/phone/code", fields); got.StatusCode != http.StatusAccepted {
		rg.t.Fatalf("no code: %d %s", got.StatusCode, got.body)
	}
	fields["code"] = rg.inbox.last(rg.t).Code
	return b.post("/wxgate/phone", fields)
}

// P7: he gives the phone of his other account, and learns that he has two.
func TestRefusedPhoneLeadsToTheMergeOfTwoAccounts(t *testing.T) {
	rg := newPhoneRig(t, weChatMode)
	b, phones, weChats := rg.twoAccounts()
	if got := rg.verify(b, liPhone); !is(got, http.StatusConflict, "phone_owned_by_other_user") {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	page := b.get("/wxgate/phone?return_to=/cart%3Fx%3D1&code=phone_owned_by_other_user", english)
	page = b.follow(page, "I have two accounts")
	if strings.Contains(page.body, "••••") {
		t.Errorf("shown before he has proved both:\n%s", page.body)
	}
	page = b.follow(page, "Confirm with WeChat")
	for _, want := range []string{"You have two accounts", "••••" + phones[len(phones)-4:], "••••" + weChats[len(weChats)-4:], "This account stays", "Last seen"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("no %q:\n%s", want, page.body)
		}
	}
	if strings.Contains(page.body, phones) || strings.Contains(page.body, weChats) || b.me().ID != weChats {
		t.Error("the page tells whole ids, or something was merged")
	}
	done := b.press(page, "Merge the two")
	if done.StatusCode != http.StatusOK || !strings.Contains(done.body, "accounts are one") || hrefOf(t, done, "Go on") != "/cart?x=1" {
		t.Errorf("%d at %s:\n%s", done.StatusCode, done.Request.URL, done.body)
	}
	b.get("/goods")
	if id, kind, previous := rg.identityOf(); id != phones || kind != "member" || !strings.Contains(previous, weChats) {
		t.Errorf("the shop is told of %s %s, previously %s", kind, id, previous)
	}
	b.clearCookies()
	if b.get("/me/orders"); rg.last().Header.Get("X-User-ID") != phones {
		t.Error("his WeChat does not lead to the account")
	}
	if got := b.post("/wxgate/merge", nil); !is(got, http.StatusConflict, "one_account") {
		t.Errorf("once more: %d %s", got.StatusCode, got.body)
	}
}

// From the other side: he is logged in by his phone and proves the WeChat.
func TestMergeAsksForBothProofs(t *testing.T) {
	rg := newPhoneRig(t, weChatMode)
	inWeChat, phones, weChats := rg.twoAccounts()
	page := inWeChat.get("/wxgate/merge?return_to=/cart", english)
	if !strings.Contains(page.body, `data-purpose="merge"`) {
		t.Fatalf("no phone is asked for:\n%s", page.body)
	}
	if got := inWeChat.post("/wxgate/merge", nil); !is(got, http.StatusConflict, "one_account") {
		t.Errorf("without a proof: %d %s", got.StatusCode, got.body)
	}
	if got := rg.proveForMerge(inWeChat, liPhone); got.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if got := inWeChat.post("/wxgate/merge", nil); !is(got, http.StatusConflict, "one_account") || inWeChat.me().ID != weChats {
		t.Errorf("with the phone alone: %d %s\n%s", got.StatusCode, got.body, rg.log)
	}
	if page = inWeChat.get("/wxgate/merge?return_to=/cart", english); !strings.Contains(page.body, "Now your WeChat") {
		t.Errorf("WeChat is not asked for:\n%s", page.body)
	}
	page = inWeChat.follow(page, "Confirm with WeChat")
	// He leaves it: nothing has changed.
	if got := inWeChat.follow(page, "Leave it as it is"); got.Request.URL.Path != "/cart" || inWeChat.me().ID != weChats {
		t.Errorf("at %s as %s", got.Request.URL, inWeChat.me().ID)
	}
	if got := inWeChat.post("/wxgate/merge", nil); got.StatusCode != http.StatusNoContent {
		t.Fatalf("a script: %d %s", got.StatusCode, got.body)
	}
	if me := inWeChat.me(); me.ID != phones || me.Phone == "" || len(me.Identities) != 1 {
		t.Errorf("he is %+v", me)
	}
}

// Somebody proves his own phone and his own WeChat in the browser of a third
// person, or proves what is nobody's: he sees nothing and merges nothing.
func TestMergeTakesNobodyElsesAccount(t *testing.T) {
	rg := newPhoneRig(t, weChatMode, listening)
	b, phones, weChats := rg.twoAccounts()
	rg.proveForMerge(b, liPhone)
	b.follow(b.get("/wxgate/merge?return_to=/cart", english), "Confirm with WeChat")
	for name, phone := range map[string]string{"the other account's": liPhone, "nobody's": newPhone} {
		rg.proveForMerge(b, phone)
		third := rg.browser(uaChrome)
		third.get("/goods")
		rg.verify(third, wangPhone)
		if page := third.get("/wxgate/merge", english); strings.Contains(page.body, "••••") {
			t.Errorf("%s: another browser sees\n%s", name, page.body)
		}
		if got := third.post("/wxgate/merge", nil); !is(got, http.StatusConflict, "one_account") {
			t.Errorf("%s: another browser merges: %d %s", name, got.StatusCode, got.body)
		}
	}
	rg.proveForMerge(b, newPhone)
	if page := b.get("/wxgate/merge", english); strings.Contains(page.body, "••••") || !strings.Contains(page.body, "nothing to merge") {
		t.Errorf("with nobody's phone:\n%s", page.body)
	}
	// He logs in as a third member after he has proved both.
	rg.proveForMerge(b, liPhone)
	rg.says("/login.php", http.StatusOK, "X-Wxgate-Login: U7")
	b.submit("/login.php")
	if me := b.me(); me.ID != "U7" {
		t.Fatalf("he is %+v", me)
	}
	if page := b.get("/wxgate/merge", english); strings.Contains(page.body, "••••") {
		t.Errorf("a third member sees\n%s", page.body)
	}
	if got := b.post("/wxgate/merge", nil); !is(got, http.StatusConflict, "one_account") {
		t.Errorf("a third member merges: %d %s", got.StatusCode, got.body)
	}
	// Then he proves both once more, as the third.
	rg.proveForMerge(b, liPhone)
	page := b.follow(b.get("/wxgate/merge?return_to=/cart", english), "Confirm with WeChat")
	if strings.Contains(page.body, "••••") || !strings.Contains(page.body, "nothing to merge") {
		t.Errorf("a third member who has proved two others sees\n%s", page.body)
	}
	if got := b.post("/wxgate/merge", nil); !is(got, http.StatusConflict, "one_account") {
		t.Errorf("and merges them: %d %s", got.StatusCode, got.body)
	}
	for _, id := range []string{phones, weChats} {
		if _, err := rg.db.Self(t.Context(), id); err != nil {
			t.Errorf("%s is gone: %v", id, err)
		}
	}
}

// Two people share a computer: what one has proved is no proof of the other's.
func TestProofsOfWhoWasHereBeforeAreNobodysForAMerge(t *testing.T) {
	rg := newPhoneRig(t, weChatMode, listening)
	b, phones, weChats := rg.twoAccounts()
	rg.proveForMerge(b, newPhone)
	b.follow(b.get("/wxgate/merge?return_to=/cart", english), "Confirm with WeChat")
	rg.says("/login.php", http.StatusOK, "X-Wxgate-Login: "+phones)
	b.submit("/login.php")
	rg.proveForMerge(b, liPhone)
	if page := b.get("/wxgate/merge", english); strings.Contains(page.body, "••••") || !strings.Contains(page.body, "Now your WeChat") {
		t.Errorf("he sees\n%s", page.body)
	}
	if got := b.post("/wxgate/merge", nil); !is(got, http.StatusConflict, "one_account") {
		t.Errorf("he merges: %d %s", got.StatusCode, got.body)
	}
	if _, err := rg.db.Self(t.Context(), weChats); err != nil {
		t.Errorf("%s is gone: %v", weChats, err)
	}
}

// Attack: he keeps the proof of a number alive with his own WeChat until the
// carrier has given the number to somebody else, whose account he then takes.
func TestOneProofDoesNotKeepTheOtherAlive(t *testing.T) {
	rg := newPhoneRig(t)
	begun := time.Now()
	v := &Visit{site: rg.site, now: begun, sess: &session.Session{ID: "S1"}, who: identity{id: "7", kind: kindMember}}
	if !rg.site.phoneForMerge(t.Context(), v, liPhone) {
		t.Fatal("the phone is not kept")
	}
	v.now = begun.Add(proofLife - time.Second)
	rg.site.weChatForMerge(t.Context(), v, pending{AppID: testAppID}, told{OpenID: "o1"})
	if p, err := rg.site.mergeProofs(t.Context(), v); err != nil || p.Phone != liPhone || p.OpenID != "o1" {
		t.Errorf("within its time: %+v, %v", p, err)
	}
	v.now = begun.Add(proofLife)
	if p, err := rg.site.mergeProofs(t.Context(), v); err != nil || p.Phone != "" || p.OpenID != "o1" {
		t.Errorf("after it: %+v, %v", p, err)
	}
	v.now = v.now.Add(proofLife)
	if p, err := rg.site.mergeProofs(t.Context(), v); err != nil || p.OpenID != "" {
		t.Errorf("after both: %+v, %v", p, err)
	}
}

func TestTwoAccountsWithAWeChatEachStayTwo(t *testing.T) {
	rg := newPhoneRig(t, weChatMode)
	b, phones, weChats := rg.twoAccounts()
	_, err := rg.db.Link(t.Context(), rg.site.cfg.Account, account.Input{
		AppID: testAppID, OpenID: "another openid", UnionID: "another unionid", UserID: phones, UserKind: account.Member, Want: account.WantLogin,
	})
	must(t, err)
	rg.proveForMerge(b, liPhone)
	page := b.follow(b.get("/wxgate/merge?return_to=/cart", english), "Confirm with WeChat")
	if !strings.Contains(page.body, "cannot be merged yet") || !strings.Contains(page.body, "<code>two_wechats</code>") {
		t.Errorf("the page says:\n%s", page.body)
	}
	if got := b.post("/wxgate/merge", nil); !is(got, http.StatusConflict, "two_wechats") || b.me().ID != weChats {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// Where WeChat cannot be asked, no code is spent before that is said, and the
// link that is shown leads to the merge.
func TestMergeSaysFirstWhereWeChatCannotBeAsked(t *testing.T) {
	rg := newPhoneRig(t, weChatMode)
	b := rg.browser(uaChrome)
	b.get("/goods")
	rg.verify(b, liPhone)
	page := b.get("/wxgate/merge?return_to=/cart", english)
	if strings.Contains(page.body, "<form") || !strings.Contains(page.body, rg.srv.URL+"/wxgate/merge?return_to=%2Fcart</p>") {
		t.Errorf("at %s:\n%s", page.Request.URL, page.body)
	}
}

// A WeChat that is another account's: the page that says so offers the merge.
func TestRefusedWeChatLeadsToTheMergeOfTwoAccounts(t *testing.T) {
	rg := newPhoneRig(t, weChatMode)
	b, _, _ := rg.twoAccounts()
	for _, path := range []string{"/wxgate/login", "/wxgate/phone", "/wxgate/bind"} {
		page := b.get(path+"?return_to=/cart&code=wechat_bound_to_other_user", english)
		if got := hrefOf(t, page, "I have two accounts"); got != "/wxgate/merge?return_to=%2Fcart" {
			t.Errorf("%s: %q", path, got)
		}
	}
	if page := b.get("/wxgate/login?code=repair_conflict", english); strings.Contains(page.body, "I have two accounts") {
		t.Error("a merge is offered where it would not help")
	}
}
