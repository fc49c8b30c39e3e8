package caddymodule

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// frontController is what shops in PHP are behind: one script for all paths.
const frontController = `<?php
header('Content-Type: application/json');
echo json_encode(['server' => array_filter($_SERVER, 'is_string'), 'cookies' => (object) $_COOKIE]);
`

// phpSaw is what the front controller says of a request.
type phpSaw struct {
	Server  map[string]string
	Cookies map[string]string
}

// phpFPM runs a real php-fpm until the test ends and returns its socket and the
// directory of the script, a front controller.
func phpFPM(t *testing.T, script string) (socket, root string) {
	t.Helper()
	found, err := filepath.Glob("/usr/sbin/php-fpm*")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("there is no /usr/sbin/php-fpm*; install the Debian package php-fpm")
	}
	dir := t.TempDir()
	socket, root = filepath.Join(dir, "fpm.sock"), filepath.Join(dir, "public")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("[global]\nerror_log = %s/fpm.log\ndaemonize = no\n[shop]\nlisten = %s\n"+
		"pm = static\npm.max_children = 2\nclear_env = yes\nphp_value[session.save_path] = %s\n", dir, socket, dir)
	if os.Getuid() == 0 {
		conf += "user = root\ngroup = root\n"
	}
	for name, text := range map[string]string{
		"fpm.conf": conf, "public/index.php": script, "public/style.css": "body{}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	runUntilListening(t, socket, exec.Command(found[0], "-F", "-R", "-n", "-y", filepath.Join(dir, "fpm.conf")))
	return socket, root
}

// runUntilListening starts a server and waits for its socket.
func runUntilListening(t *testing.T, socket string, cmd *exec.Cmd) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	wait := sync.OnceFunc(func() { _ = cmd.Wait(); close(ended) })
	go wait()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
	})
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended:\n%s", cmd, said.String())
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// phpShop starts the gateway before PHP, and the same PHP without the gateway
// at the address that it returns.
func phpShop(t *testing.T, s setup) (rg *rig, bare string) {
	t.Helper()
	rg = newRig(t)
	socket, root := phpFPM(t, frontController)
	bare = "127.0.0.1:" + dbtest.Port(t)
	s.site = "login /me/*\nbypass /pay/notify"
	s.backend = "root * " + root + "\nphp_fastcgi unix/" + socket + "\nfile_server"
	s.more = "http://" + bare + " {\n" + s.backend + "\n}"
	rg.run(s)
	return rg, bare
}

// rawToPHP sends bytes as they are and returns what PHP saw.
func rawToPHP(t *testing.T, addr, request string) phpSaw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return readPHP(t, resp.StatusCode, string(body))
}

func readPHP(t *testing.T, status int, body string) (saw phpSaw) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &saw); status != http.StatusOK || err != nil {
		t.Fatalf("%d, %v:\n%s", status, err, body)
	}
	return saw
}

func TestPHPIsToldWhoTheVisitorIs(t *testing.T) {
	rg, _ := phpShop(t, setup{})
	v := rg.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	first := v.get("/goods")
	guest := readPHP(t, first.StatusCode, first.body)
	if guest.Server["HTTP_X_USER_ID"] == "" || guest.Server["HTTP_X_USER_KIND"] != "guest" ||
		guest.Server["HTTP_X_USER_PHONE_VERIFIED"] != "0" || strings.Count(guest.Server["HTTP_X_USER_ASSERTION"], ".") != 2 {
		t.Errorf("a guest: %v", guest.Server)
	}
	page := v.tapLogin(v.get("/me/orders?page=2"))
	member := readPHP(t, page.StatusCode, page.body)
	if member.Server["HTTP_X_USER_KIND"] != "member" || member.Server["HTTP_X_USER_PREVIOUS_ID"] != guest.Server["HTTP_X_USER_ID"] ||
		member.Server["REMOTE_USER"] != member.Server["HTTP_X_USER_ID"] {
		t.Errorf("a member: %v", member.Server)
	}
	if member.Server["REQUEST_URI"] != "/me/orders?page=2" || member.Server["SCRIPT_NAME"] != "/index.php" {
		t.Errorf("the front controller was asked for %v", member.Server)
	}
}

// PHP has no header names but variables, and writes many names the same way.
// Caddy drops names with dots and underscores unless it is told not to; then
// they must not arrive either.
func TestPHPNeverSeesAForgedIdentity(t *testing.T) {
	caddys := []struct {
		name, options string
		forged        []string
	}{
		{"Caddy as it is", "", []string{
			"X-User-ID: 7", "x-user-id: 7", "X-USER-ID: 7\nX-User-ID: 8", "X-User-Kind: member", "X-User-Phone-Verified: 1",
			"X-User-Previous-ID: 7", "X-User-Assertion: a.b.c", "X-Wxgate-Login: 7", "X-WX-OPENID: o7", "X-WX-Source: wx",
		}},
		{"Caddy that lets odd names through", "servers {\nexpected_underscore_headers x_* x-user_id\nexpected_dot_headers x.* x.user_id\n}", []string{
			"X_User_ID: 7", "x_user_id: 7", "X.User.ID: 7", "X.User_ID: 7", "X-User_ID: 7", "X_USER_ID: 7\nX.User.ID: 8",
			"X_User_Kind: member", "X.User.Kind: member", "X_User_Phone_Verified: 1", "X.User.Previous.ID: 7",
			"X_User_Assertion: a.b.c", "X_Wxgate_Login: 7", "X.WX.OPENID: o7",
		}},
	}
	for _, c := range caddys {
		t.Run(c.name, func(t *testing.T) {
			rg, bare := phpShop(t, setup{caddy: c.options})
			gated := "127.0.0.1:" + rg.port
			for _, forged := range c.forged {
				for _, path := range []string{"/goods", "/pay/notify", "/index.php/goods"} {
					if seen := forgeries(rawToPHP(t, gated, "GET "+path+" HTTP/1.1\nHost: "+gated+"\nConnection: close\n"+forged+"\n\n")); len(seen) != 0 {
						t.Errorf("%q on %s: PHP saw %v", forged, path, seen)
					}
				}
				if seen := forgeries(rawToPHP(t, bare, "GET /goods HTTP/1.1\nHost: "+bare+"\nConnection: close\n"+forged+"\n\n")); len(seen) == 0 {
					t.Errorf("%q: PHP saw nothing without the gate either", forged)
				}
			}
		})
	}
}

// forgeries returns what looks like ours in a request of nobody known.
func forgeries(saw phpSaw) (all []string) {
	for name, value := range saw.Server {
		if strings.HasPrefix(name, "HTTP_X_USER_") || strings.HasPrefix(name, "HTTP_X_WX") {
			all = append(all, name+"="+value)
		}
	}
	return all
}

// A header that Connection names is for the next hop only and is taken away by
// proxies, ours among them; Proxy is what CGI programs take for HTTP_PROXY.
func TestPHPKeepsTheTrueIdentity(t *testing.T) {
	rg, _ := phpShop(t, setup{})
	v := rg.elsewhere()
	first := v.get("/goods")
	want := readPHP(t, first.StatusCode, first.body).Server["HTTP_X_USER_ID"]
	for _, trick := range []string{
		"Connection: close, X-User-ID", "Connection: close, x_user_id", "Connection: close\nProxy: http://evil.test",
		"Connection: close\nTrailer: X-User-ID",
	} {
		t.Run(trick, func(t *testing.T) {
			saw := rawToPHP(t, "127.0.0.1:"+rg.port, "GET /goods HTTP/1.1\nHost: 127.0.0.1:"+rg.port+
				"\nCookie: lang=zh; wxgate="+v.cookies()["wxgate"]+"; cart=3\n"+trick+"\n\n")
			if saw.Server["HTTP_X_USER_ID"] != want || want == "" {
				t.Errorf("PHP saw the user %q instead of %q", saw.Server["HTTP_X_USER_ID"], want)
			}
			if proxy, set := saw.Server["HTTP_PROXY"]; set {
				t.Errorf("HTTP_PROXY is %q", proxy)
			}
		})
	}
}

func TestPHPGetsTheShopsCookiesAndCredentialsAlone(t *testing.T) {
	rg, _ := phpShop(t, setup{})
	v := rg.elsewhere()
	v.get("/goods")
	token := v.cookies()["wxgate"]
	got := v.fetch(http.MethodGet, "/goods", func(r *http.Request) {
		r.Header.Set("Cookie", "lang=zh; wxgate="+token+"; cart=3")
		r.Header.Set("Authorization", "Basic c2hvcDpzaG9w")
	})
	saw := readPHP(t, got.StatusCode, got.body)
	if len(saw.Cookies) != 2 || saw.Cookies["lang"] != "zh" || saw.Cookies["cart"] != "3" {
		t.Errorf("$_COOKIE is %v", saw.Cookies)
	}
	if saw.Server["HTTP_AUTHORIZATION"] != "Basic c2hvcDpzaG9w" || saw.Server["HTTP_X_USER_ID"] == "" {
		t.Errorf("the shop's own credentials did not arrive: %v", saw.Server)
	}
	got = v.fetch(http.MethodGet, "/goods", func(r *http.Request) {
		r.Header.Set("Cookie", "lang=zh")
		r.Header.Set("Authorization", "Wxgate "+token)
	})
	if strings.Contains(got.body, token) {
		t.Errorf("the session reached PHP:\n%s", got.body)
	}
	if saw := readPHP(t, got.StatusCode, got.body); saw.Server["HTTP_X_USER_ID"] == "" {
		t.Errorf("the session in Authorization told nobody: %v", saw.Server)
	}
}

// php_fastcgi sends every path to /index.php, some sites rewrite still earlier,
// and /index.php/me/orders is the same page to the front controller.
func TestLoginPathIsChallengedBeforeAFrontController(t *testing.T) {
	for name, around := range map[string]string{
		"php_fastcgi":               "",
		"a rewrite before the gate": "try_files {path} /index.php",
		"a rewrite of everything":   "rewrite * /index.php",
	} {
		t.Run(name, func(t *testing.T) {
			rg, _ := phpShop(t, setup{around: around})
			v := rg.elsewhere()
			for _, path := range []string{
				"/me", "/me/orders", "/index.php/me/orders", "/INDEX.PHP/me/orders", "/index.php/%6de/orders", "//me/orders",
				"/me;jsessionid=1/orders", "/static/../me/orders",
			} {
				if got := v.fetch(http.MethodGet, path); got.StatusCode != http.StatusUnauthorized || strings.Contains(got.body, "REQUEST_URI") {
					t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
				}
			}
			for _, path := range []string{"/menu", "/index.php/goods", "/goods?next=/me/orders"} {
				got := v.fetch(http.MethodGet, path)
				if saw := readPHP(t, got.StatusCode, got.body); saw.Server["REQUEST_URI"] != path {
					t.Errorf("%s arrived as %q", path, saw.Server["REQUEST_URI"])
				}
			}
		})
	}
}

func TestOrdinaryURLsReachPHPUnchanged(t *testing.T) {
	rg, _ := phpShop(t, setup{})
	for _, uri := range []string{
		"/%E5%95%86%E5%93%81/42?%E9%A2%9C%E8%89%B2=%E7%BA%A2", // UTF-8
		"/%e5%95%86%e5%93%81/42",                              // the same in lower case
		"/%C9%CC%C6%B7/42?k=%BA%EC",                           // GBK
		"/goods;jsessionid=0A1B2C?x=1;y=2",
		"/goods/A%2FB%20C?b=2&a=1&a=%2b",
		"/goods?",
	} {
		saw := rawToPHP(t, "127.0.0.1:"+rg.port, "GET "+uri+" HTTP/1.1\nHost: 127.0.0.1:"+rg.port+"\nConnection: close\n\n")
		if saw.Server["REQUEST_URI"] != uri {
			t.Errorf("%s arrived as %s", uri, saw.Server["REQUEST_URI"])
		}
	}
}
