package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// legacyShop is a shop in PHP with a session and a login of its own. What was
// added for the gateway is a line at its login and one at its logout.
const legacyShop = `<?php
session_start();
$customers = ['wang@shop.test' => ['4711', 'open sesame'], 'zhao@shop.test' => ['4712', 'open sesame']];
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path === '/login' && $_SERVER['REQUEST_METHOD'] === 'POST') {
    [$id, $password] = $customers[$_POST['email'] ?? ''] ?? [null, null];
    if ($id === null || $password !== $_POST['password']) {
        header('Location: /login?error=1');
        exit;
    }
    session_regenerate_id(true);
    $_SESSION['customer'] = $id;
    /*login*/
    header('Location: /account');
    exit;
}
if ($path === '/logout') {
    session_destroy();
    /*logout*/
    header('Location: /');
    exit;
}
if ($path === '/login') {
    exit('<form method="post"><input name="email"><input name="password"></form>' . (isset($_GET['error']) ? 'Wrong password.' : ''));
}
if ($path === '/account' && !isset($_SESSION['customer']) && ($_SERVER['HTTP_X_USER_KIND'] ?? '') !== 'member') {
    header('Location: /login?next=' . urlencode($path));
    exit;
}
if ($path === '/echo') { // whatever looks like our words in its request goes back
    foreach ($_SERVER as $name => $value) {
        if (preg_match('/^HTTP_.*(LOGIN|WXGATE)/', $name)) {
            header('X-Wxgate-Login: ' . $value);
        }
    }
}
echo 'the shop knows ', $_SESSION['customer'] ?? 'nobody', ', the gateway says ', $_SERVER['HTTP_X_USER_KIND'] ?? 'nothing', ' ',
    $_SERVER['HTTP_X_USER_ID'] ?? '', ', before ', $_SERVER['HTTP_X_USER_PREVIOUS_ID'] ?? 'nobody';
`

const (
	saysLogin  = `header('X-Wxgate-Login: ' . $id);`
	saysLogout = `header('X-Wxgate-Logout: 1');`
)

// legacyPHP starts the gateway in front of the shop.
func legacyPHP(t *testing.T, s setup) *rig {
	t.Helper()
	rg := newRig(t)
	socket, root := phpFPM(t, strings.NewReplacer("/*login*/", saysLogin, "/*logout*/", saysLogout).Replace(legacyShop))
	s.backend = "root * " + root + "\nphp_fastcgi unix/" + socket + "\nfile_server"
	rg.run(s)
	return rg
}

// heard are the options with which the shop is heard.
const heard = "upstream_challenge redirect_to /login\nupstream_login on"

// password sends the form of the shop's login page.
func (d *device) password(email, password string, edit ...func(*http.Request)) reply {
	d.rg.t.Helper()
	form := url.Values{"email": {email}, "password": {password}}.Encode()
	r, err := http.NewRequest(http.MethodPost, d.rg.url("/login"), strings.NewReader(form))
	if err != nil {
		d.rg.t.Fatal(err)
	}
	navigate(r)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Referer", d.rg.url("/login"))
	return d.do(r, edit...)
}

func (rp reply) wants(t *testing.T, what, body string) {
	t.Helper()
	if rp.StatusCode != http.StatusOK || rp.body != body {
		t.Errorf("%s: %d at %s: %q, want %q", what, rp.StatusCode, rp.Request.URL, rp.body, body)
	}
}

// guestOf is the id that the shop was told of a guest.
func guestOf(t *testing.T, rp reply) string {
	t.Helper()
	_, id, found := strings.Cut(rp.body, "the gateway says guest ")
	if !found {
		t.Fatalf("no guest: %s", rp.body)
	}
	id, _, _ = strings.Cut(id, ",")
	return id
}

// inShop is what the shop's pages say: whom it knows by its own session, and
// whom the gateway has told it.
func inShop(itself, kind, id, before string) string {
	return "the shop knows " + itself + ", the gateway says " + kind + " " + id + ", before " + before
}

func TestWhoLogsInAtThePHPShopInWeChatIsKnownFromThenOn(t *testing.T) {
	rg := legacyPHP(t, setup{site: heard})
	d := rg.inWeChat(wechattest.Person{Name: "wang", Follower: true})
	guest := guestOf(t, d.get("/goods"))
	shops := d.cookies()["PHPSESSID"]
	d.password("wang@shop.test", "open sesame").wants(t, "right after the login", inShop("4711", "member", "4711", guest))
	if c := d.cookies(); c["PHPSESSID"] == shops || c["PHPSESSID"] == "" {
		t.Errorf("the shop's new session was lost: %v", c)
	}
	d.clearCookies()
	again := d.get("/goods")
	again.wants(t, "after cookies were cleared", inShop("nobody", "member", "4711", guest))
	if len(d.hops) != 3 { // WeChat, the callback, the page: nothing to tap on
		t.Errorf("through %v", d.hops)
	}
	d.clearCookies()
	d.get("/account").wants(t, "a page that the shop shows to its customers alone", inShop("nobody", "member", "4711", guest))

	// Somebody else's WeChat is not.
	if other := rg.inWeChat(wechattest.Person{Name: "zhao", Follower: true}).get("/goods"); guestOf(t, other) == guest {
		t.Errorf("another visitor: %s", other.body)
	}
	if all := rg.events(); !strings.Contains(all, "user.created 4711") || strings.Count(all, "user.created") != 1 || !strings.Contains(all, "user.merged 4711") {
		t.Errorf("events:\n%s", all)
	}
}

// events are all events of the gateway, a type and a subject a line.
func (rg *rig) events() string {
	rg.t.Helper()
	var all strings.Builder
	pool.Range(func(_, v any) bool {
		events, err := v.(*shared).db.Events(rg.t.Context(), 0, 100)
		if err != nil {
			rg.t.Fatal(err)
		}
		for _, e := range events.Events {
			fmt.Fprintf(&all, "%s %s\n", e.Type, e.Subject)
		}
		return true
	})
	return all.String()
}

func TestPHPShopsOwnPagesGoOnWorking(t *testing.T) {
	rg := legacyPHP(t, setup{site: heard})
	d := rg.elsewhere()
	d.get("/goods")
	if got := d.password("wang@shop.test", "wrong"); !strings.HasSuffix(got.body, "Wrong password.") {
		t.Errorf("a wrong password: %d at %s: %s", got.StatusCode, got.Request.URL, got.body)
	}
	if got := d.get("/login"); !strings.HasPrefix(got.body, "<form") {
		t.Errorf("its login page: %d %s", got.StatusCode, got.body)
	}
	if got := d.stay("/account"); got.Header.Get("Location") != "/wxgate/login?return_to=%2Faccount" {
		t.Errorf("a guest's way to the login: %d %v", got.StatusCode, got.Header)
	}
	d.password("zhao@shop.test", "open sesame")
	if got := d.get("/account"); !strings.HasPrefix(got.body, "the shop knows 4712, the gateway says member 4712") {
		t.Errorf("a customer: %d %s", got.StatusCode, got.body)
	}
	if got := d.get("/logout"); !strings.HasPrefix(got.body, "the shop knows nobody, the gateway says guest") {
		t.Errorf("after the logout: %d %s", got.StatusCode, got.body)
	}
}

// The shop is heard by the options alone.
func TestPHPShopIsNotHeardWithoutTheOptions(t *testing.T) {
	rg := legacyPHP(t, setup{})
	d := rg.elsewhere()
	guest := guestOf(t, d.get("/goods"))
	d.password("wang@shop.test", "open sesame").wants(t, "a login", inShop("4711", "guest", guest, "nobody"))
	if got := rg.elsewhere().stay("/account"); got.Header.Get("Location") != "/login?next=%2Faccount" {
		t.Errorf("the shop's redirect: %d %v", got.StatusCode, got.Header)
	}
}

// PHP reads many spellings as one name, and this shop says back what it reads.
func TestVisitorCannotSpeakForThePHPShop(t *testing.T) {
	caddy := "servers {\nexpected_underscore_headers x_* x-wxgate_login\nexpected_dot_headers x.* x.wxgate_login\n}"
	rg := legacyPHP(t, setup{site: heard, caddy: caddy})
	d := rg.elsewhere()
	guest := guestOf(t, d.get("/goods"))
	for _, name := range []string{
		"X-Wxgate-Login", "x-wxgate-login", "X_WXGATE_LOGIN", "X.Wxgate.Login", "x.wxgate_login", "X-Wxgate_Login", "X-Wxgate-Login-", "X-Login-Required",
	} {
		got := d.get("/echo", func(r *http.Request) { r.Header[name] = []string{"4711"} })
		if name != "X-Login-Required" && strings.Contains(fmt.Sprint(got.Header), "4711") {
			t.Errorf("%s: the shop said it back: %v", name, got.Header)
		}
		d.get("/goods").wants(t, name, inShop("nobody", "guest", guest, "nobody"))
	}
}

// Without the gate the same shop repeats it, so the test above can fail.
func TestPHPShopSaysBackWhatAVisitorSays(t *testing.T) {
	rg := newRig(t)
	socket, root := phpFPM(t, legacyShop)
	mustLoad(t, globals(t, "")+"http://127.0.0.1:"+rg.port+" {\nroot * "+root+"\nphp_fastcgi unix/"+socket+"\n}\n")
	got := rg.elsewhere().get("/echo", func(r *http.Request) { r.Header.Set("X-Wxgate-Login", "4711") })
	if got.Header.Get("X-Wxgate-Login") != "4711" {
		t.Errorf("%d %v", got.StatusCode, got.Header)
	}
}
