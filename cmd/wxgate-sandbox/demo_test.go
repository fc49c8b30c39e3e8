package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/wxgate/wxgate/cmd/wxgate-sandbox/shop"
	"github.com/wxgate/wxgate/internal/dbtest"
)

// demo is everything that make run starts: the gateway's own binary with the
// Caddyfile of the repository, on other ports and with another folder.
type demo struct {
	addresses
	dir  string
	shop *shop.Shop
}

// startDemo builds the gateway and starts the demo; it ends with the test. In the
// Caddyfile the line with the same first word as one of lines gives way to it.
func startDemo(t *testing.T, lines ...string) *demo {
	t.Helper()
	d := &demo{dir: t.TempDir()}
	binary := filepath.Join(d.dir, "wxgate")
	if out, err := exec.Command("go", "build", "-o", binary, "../wxgate").CombinedOutput(); err != nil {
		t.Fatalf("building the gateway: %v\n%s", err, out)
	}
	d.addresses = freeAddresses(t) // last, before somebody else takes them
	t.Setenv("CADDY_ADMIN", "127.0.0.1:"+dbtest.Port(t))
	t.Setenv("XDG_DATA_HOME", d.dir)
	t.Setenv("XDG_CONFIG_HOME", d.dir)
	o, err := parseFlags("run", append(d.flags(), "--gateway", binary, "--caddyfile", d.caddyfile(t, lines)), io.Discard)
	if err != nil {
		t.Fatal(err)
	}

	parts, err := o.listen()
	if err != nil {
		t.Fatal(err)
	}
	d.shop = parts[len(parts)-1].handler.(*shop.Shop)
	ctx, cancel := context.WithCancel(t.Context())
	group, ctx := errgroup.WithContext(ctx)
	serveParts(ctx, group, parts)
	group.Go(func() error { return runGateway(ctx, o) })
	t.Cleanup(func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
	if err := waitForAnswer(ctx, o.external.String()); err != nil {
		t.Fatal(err)
	}
	return d
}

// caddyfile writes the Caddyfile of the repository with the demo's addresses.
func (d *demo) caddyfile(t *testing.T, lines []string) string {
	t.Helper()
	text, err := os.ReadFile("../../Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"127.0.0.1:8080": d.gateway, "127.0.0.1:9001": d.wechat, "127.0.0.1:9002": d.shopAddress(), "data/": d.dir + "/",
	} {
		if !bytes.Contains(text, []byte(from)) {
			t.Fatalf("the Caddyfile has no %s", from)
		}
		text = bytes.ReplaceAll(text, []byte(from), []byte(to))
	}
	for _, line := range lines {
		word, _, _ := strings.Cut(line, " ")
		old := regexp.MustCompile(`(?m)^\t+` + word + ` .*$`)
		if n := len(old.FindAll(text, -1)); n != 1 {
			t.Fatalf("the Caddyfile has %d lines of %s", n, word)
		}
		text = old.ReplaceAll(text, []byte("\t"+line))
	}
	path := filepath.Join(d.dir, "Caddyfile")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (d *demo) shopAddress() string { return d.addresses.shop }

func TestDemo(t *testing.T) {
	d := startDemo(t)
	li := d.inWeChat(t)
	var guest, number string
	var secrets []string // codes and states that passed by

	t.Run("the first view is identified silently and comes back to the same URL", func(t *testing.T) {
		seen := li.open("/?from=menu&q=%E8%8C%B6")
		if seen.path != "/?from=menu&q=%E8%8C%B6" || seen.StatusCode != http.StatusOK {
			t.Errorf("arrived at %s, %s", seen.path, seen.Status)
		}
		if len(li.moves) != 3 || !strings.Contains(li.moves[0], "scope=snsapi_base&") {
			t.Errorf("moves %q, want one silent round", li.moves)
		}
		secrets = append(secrets, secretsIn(li.moves)...)
		guest = li.find(seen, idOnPage)
	})

	t.Run("a guest orders and is offered a login", func(t *testing.T) {
		li.submit("/cart/add", url.Values{"goods": {"tea"}, "n": {"2"}})
		seen := li.submit("/orders", url.Values{"note": {"放在门卫"}})
		number = li.find(seen, `<span id="order-number">([^<]+)</span>`)
		li.find(seen, `(id="keep-order" href="/wxgate/login\?return_to=/me/orders")`)
		li.submit("/cart/add", url.Values{"goods": {"bowl"}, "n": {"1"}})
		if got := d.shop.Orders(guest); len(got) != 1 || got[0].Number != number {
			t.Errorf("orders of the guest: %+v", got)
		}
	})

	t.Run("a script is told what it needs", func(t *testing.T) {
		seen := li.fetch(http.MethodGet, "/api/me/summary")
		var problem struct {
			Code, Need string
			LoginURL   string `json:"login_url"`
		}
		if err := json.Unmarshal([]byte(seen.body), &problem); err != nil {
			t.Fatal(err)
		}
		if seen.StatusCode != http.StatusUnauthorized || problem.Code != "login_required" || problem.Need != "wechat" {
			t.Errorf("answer %s %+v", seen.Status, problem)
		}
		if problem.LoginURL != "/wxgate/login?return_to=%2F%3Ffrom%3Dmenu" {
			t.Errorf("login_url %q does not lead back to the page", problem.LoginURL)
		}
	})

	t.Run("one tap on the login page and the orders of the guest are the member's", func(t *testing.T) {
		page := li.open("/me/orders")
		if page.path != "/wxgate/login?return_to=%2Fme%2Forders" {
			t.Errorf("arrived at %s, want the login page", page.path)
		}
		seen := li.logIn(page)
		secrets = append(secrets, secretsIn(li.moves)...)
		if seen.path != "/me/orders" {
			t.Errorf("arrived at %s, want /me/orders", seen.path)
		}
		if got := li.find(seen, `<a href="/orders/([^"]+)">`); got != number {
			t.Errorf("order %s, want %s", got, number)
		}
		member := li.find(seen, idOnPage)
		li.find(seen, `(<b class="kind member">member</b>)`)
		if member == guest {
			t.Error("the member has the guest's id")
		}
		if cart := d.shop.Cart(member); len(cart) != 1 || cart[0].ID != "bowl" {
			t.Errorf("cart of the member: %+v, want the bowl", cart)
		}
		li.find(li.fetch(http.MethodGet, "/api/me/summary"), `"orders":(1),`)
	})

	t.Run("without cookies he is recognised at once", func(t *testing.T) {
		again := d.inWeChat(t)
		seen := again.open("/me/orders")
		if got := again.find(seen, `<a href="/orders/([^"]+)">`); got != number {
			t.Errorf("order %s, want %s", got, number)
		}
	})

	t.Run("after a logout he stays logged out until he taps login", func(t *testing.T) {
		member := li.find(li.open("/"), idOnPage)
		if seen := li.fetch(http.MethodPost, "/wxgate/logout"); seen.StatusCode != http.StatusNoContent {
			t.Fatalf("logout: %s %s", seen.Status, seen.body)
		}
		for range 2 {
			seen := li.open("/")
			if id := li.find(seen, idOnPage); id == member || id == guest || len(li.moves) != 0 {
				t.Errorf("after the logout: id %s after %q", id, li.moves)
			}
		}
		page := li.open("/me/orders")
		if !strings.HasPrefix(page.path, "/wxgate/login?") {
			t.Fatalf("arrived at %s, want the login page", page.path)
		}
		seen := li.open(strings.ReplaceAll(li.find(page, `<a href="([^"]+)" class="primary"`), "&amp;", "&"))
		if got := li.find(seen, idOnPage); got != member {
			t.Errorf("id %s after login, want %s", got, member)
		}
	})

	t.Run("an ordinary browser gets a guest id without any redirect", func(t *testing.T) {
		wang := d.outside(t)
		seen := wang.open("/")
		id := wang.find(seen, idOnPage)
		if len(wang.moves) != 0 || id == guest {
			t.Errorf("id %s after %q", id, wang.moves)
		}
		if again := wang.find(wang.open("/cart"), idOnPage); again != id {
			t.Errorf("id %s on the next page, want %s", again, id)
		}
	})

	t.Run("he logs in with his phone and finds what he has ordered", func(t *testing.T) {
		wang := d.outside(t)
		before := wang.find(wang.open("/"), idOnPage)
		wang.submit("/cart/add", url.Values{"goods": {"tea"}, "n": {"1"}})
		order := wang.find(wang.submit("/orders", url.Values{}), `<span id="order-number">([^<]+)</span>`)
		if seen := wang.say("/wxgate/phone/code", `{"phone":"138 0013 8000"}`); seen.StatusCode != http.StatusAccepted {
			t.Fatalf("asking for a code: %s %s", seen.Status, seen.body)
		}
		messages := newPerson(t, "http://"+d.wechat)
		code := messages.find(messages.open("/"), `8613800138000</td><td><strong>([0-9]{6})<`)
		if seen := wang.say("/wxgate/phone", `{"phone":"13800138000","code":"`+code+`"}`); seen.StatusCode != http.StatusOK {
			t.Fatalf("the code: %s %s", seen.Status, seen.body)
		}
		seen := wang.open("/me/orders")
		if got := wang.find(seen, `<a href="/orders/([^"]+)">`); got != order {
			t.Errorf("order %s, want %s", got, order)
		}
		if id := wang.find(seen, idOnPage); id == before {
			t.Error("the member has the guest's id")
		}
		secrets = append(secrets, code)
	})

	t.Run("a payment notification arrives byte for byte and as nobody", func(t *testing.T) {
		body := "\x00\xff{\"order\":\"" + number + "\"}\r\n"
		r, err := http.NewRequest(http.MethodPost, "http://"+d.gateway+"/pay/notify", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-User-ID", guest)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got := d.shop.Notifications()
		if len(got) != 1 || string(got[0].Body) != body {
			t.Fatalf("notifications %q, want %q", got, body)
		}
		for name := range got[0].Header {
			if strings.HasPrefix(name, "X-User-") {
				t.Errorf("the notification carries %s", name)
			}
		}
		if len(resp.Cookies()) != 0 || resp.Header.Get("Cache-Control") != "" {
			t.Errorf("the answer carries %v", resp.Header)
		}
	})

	t.Run("no code, state or session is in the log", func(t *testing.T) {
		text, err := os.ReadFile(filepath.Join(d.dir, "access.log"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "/wxgate/callback/"+appID+"?code=REDACTED") {
			t.Error("the log does not hold the callback")
		}
		address, err := url.Parse(li.base)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range li.client.Jar.Cookies(address) {
			secrets = append(secrets, c.Value)
		}
		if len(secrets) < 6 {
			t.Fatalf("only %d secrets to look for", len(secrets))
		}
		for _, s := range secrets {
			if strings.Contains(string(text), s) {
				t.Errorf("the log holds %s", s)
			}
		}
	})
}
