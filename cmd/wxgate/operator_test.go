package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// logIn takes a WeChat browser through the login page and returns the member.
func (g *gateway) logIn(b *http.Client) string {
	g.t.Helper()
	_, rest, _ := strings.Cut(g.open(b, "/me/orders"), `<a href="`)
	href, _, _ := strings.Cut(rest, `"`)
	said := g.open(b, strings.ReplaceAll(href, "&amp;", "&"))
	id, ok := strings.CutPrefix(said, "member ")
	if !ok {
		g.t.Fatalf("not logged in: %s", said)
	}
	return id
}

// TestWhereIsMyOrder is a call at the shop's hotline: the customer ordered as a
// guest, logged in later, and reads the number of the old order.
func TestWhereIsMyOrder(t *testing.T) {
	g := newGateway(t, "", nil)
	li := g.browser("li")
	guest, ok := strings.CutPrefix(g.open(li, "/goods"), "guest ")
	if !ok {
		t.Fatalf("the first page says %s", guest)
	}
	member := g.logIn(li)
	found := g.must("user", "find", guest)
	if !strings.Contains(found, "\n"+member+" ") || !strings.Contains(found, guest+" was merged into "+member) ||
		!strings.Contains(found, "wxgate user show "+member) {
		t.Errorf("found:\n%s", found)
	}
	if shown := g.must("user", "show", member); !strings.Contains(shown, "\n  "+guest+"  guest ") {
		t.Errorf("shown:\n%s", shown)
	}
}

// TestRevokedAndCancelledTakeEffectAtOnce, on a session that is in memory; and
// at once he may log in again.
func TestRevokedAndCancelledTakeEffectAtOnce(t *testing.T) {
	g := newGateway(t, "", nil)
	li := g.browser("li")
	member := g.logIn(li)
	still := *li // does not follow the redirect to WeChat, which knows him
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	page := func() string { return g.open(&still, "/me/orders") }
	if said := page(); said != "member "+member {
		t.Fatalf("before: %s", said)
	}
	g.must("user", "revoke", member, "--reason", "lost his phone", "--yes")
	if said := page(); strings.HasPrefix(said, "member") {
		t.Errorf("revoked, and still %s", said)
	}
	if again := g.logIn(li); again != member {
		t.Errorf("his WeChat account opens %s, not %s", again, member)
	}
	g.must("user", "cancel", member, "--reason", "asked for it", "--yes")
	if said := page(); strings.HasPrefix(said, "member") {
		t.Errorf("cancelled, and still %s", said)
	}
	if again := g.logIn(li); again == member {
		t.Errorf("the cancelled account is open again")
	}
}

// TestFollowPrintsEventsAsTheyCome, each as one line, until it is interrupted.
func TestFollowPrintsEventsAsTheyCome(t *testing.T) {
	g := newGateway(t, "", nil)
	for _, flags := range [][]string{{"--json"}, nil} {
		cmd := g.command(append([]string{"event", "follow"}, flags...)...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		member := g.logIn(g.browser("li"))
		lines := bufio.NewScanner(out)
		seen := ""
		for (!strings.Contains(seen, "user.created") || !strings.Contains(seen, member)) && lines.Scan() {
			seen = lines.Text()
		}
		if !strings.Contains(seen, member) {
			t.Errorf("it ends without %s: %s", member, seen)
		}
		if flags != nil && !json.Valid([]byte(seen)) {
			t.Errorf("no JSON: %s", seen)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("interrupted, it ends with %v", err)
		}
		g.must("user", "cancel", member, "--reason", "next round", "--yes")
	}
}

// TestFailedReloadLeavesOperatorsTheRunningGateway: Caddy has the router of the
// configuration that failed.
func TestFailedReloadLeavesOperatorsTheRunningGateway(t *testing.T) {
	g := newGateway(t, "", nil)
	member := g.logIn(g.browser("li"))
	running, err := os.ReadFile(g.path("Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text string) said {
		return g.do("reload", "--config", g.write("Next", text), "--adapter", "caddyfile", "--address", "unix/"+g.path("admin"))
	}
	broken := strings.Replace(string(running), "external_url http://shop.test", "external_url nonsense", 1)
	if got := reload(broken); got.code == 0 {
		t.Fatalf("loaded:\n%s", broken)
	}
	g.must("user", "show", member)
	if got := reload(strings.Replace(string(running), "login /me/*", "login /me/* /api/*", 1)); got.code != 0 {
		t.Fatalf("not loaded: %s", got.err)
	}
	g.must("user", "show", member)
	g.must("user", "revoke", member, "--reason", "after a reload", "--yes")
	// Without the block there is nobody to ask.
	_, site, _ := strings.Cut(string(running), "http://shop.test {")
	_, site, _ = strings.Cut(site, "login /me/*\n\t}")
	if got := reload(fmt.Sprintf("{\n\tadmin unix/%s\n}\nhttp://shop.test {\n\tbind unix/%s%s", g.path("admin"), g.path("site"), site)); got.code != 0 {
		t.Fatalf("not loaded: %s", got.err)
	}
	if got := g.do("user", "show", member); got.code != 1 || !strings.Contains(got.err, "no configuration with a wxgate block is running") {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
}

// TestNothingPersonalIsLogged, though Caddy logs each request to its admin
// endpoint, and each of them failed or not.
func TestNothingPersonalIsLogged(t *testing.T) {
	g := newGateway(t, "", aDay)
	g.write("map.csv", "old,new\no-zhao,o-secret\n")
	for _, line := range []string{
		"user find o-li", "user find u-zhao", "user find +8613800138000", "user find 13800138000", "user find o-secret",
		"user show 1000000001", "user unbind 1000000003 --openid o-zhao --reason private --yes", "user unbind 1000000001 --unionid u-li --reason private --yes",
		"user cancel --appid " + shopApp + " --openid o-li --reason private --yes", "user cancel --appid " + shopApp + " --openid o-secret --reason private --yes",
		"app map-openids map.csv --from " + shopApp + " --to other --reason private --yes", "conflict list", "event list",
	} {
		if got := g.do(strings.Fields(line)...); got.code != 0 && got.code != 3 && got.code != 5 {
			t.Errorf("%s was not served: exit %d: %s", line, got.code, got.err)
		}
	}
	log := g.log.String()
	if !strings.Contains(log, "/wxgate/users/find") {
		t.Fatalf("the requests are not in the log:\n%s", log)
	}
	for _, private := range []string{"o-li", "o-zhao", "u-li", "u-zhao", "o-secret", "138001", "139001", "private", "m-li", "1000000001"} {
		if i := strings.Index(log, private); i >= 0 {
			t.Errorf("the log holds %s: %s", private, log[max(0, i-200):min(len(log), i+100)])
		}
	}
}

// TestDatabaseThatDoesNotWork is said as such, and the log says why.
func TestDatabaseThatDoesNotWork(t *testing.T) {
	g := newGateway(t, "", aDay)
	for _, name := range []string{"wxgate.db", "wxgate.db-wal"} {
		if err := os.WriteFile(g.path(name), []byte(strings.Repeat("not a database", 10_000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := g.do("user", "find", "o-new")
	if got.code != 1 || !strings.Contains(got.err, "the database does not work") {
		t.Errorf("exit %d: %s%s", got.code, got.out, got.err)
	}
	if !strings.Contains(g.log.String(), "serving a call") {
		t.Errorf("the log does not say why:\n%s", g.log)
	}
}

// TestCaddyOfOnesOwn: built with xcaddy, the same commands stand below `caddy
// wxgate`, and name themselves so.
func TestCaddyOfOnesOwn(t *testing.T) {
	g := newGateway(t, "", aDay)
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	caddy := filepath.Join(t.TempDir(), "caddy")
	if err := os.Link(bin, caddy); err != nil {
		t.Fatal(err)
	}
	own := g.command("wxgate", "user", "find", "o-li")
	own.Path = caddy
	own.Args[0] = "caddy"
	if got := g.finish(own); got.code != 0 || !strings.Contains(got.out, "caddy wxgate user show 1000000001") {
		t.Errorf("exit %d: %s%s", got.code, got.out, got.err)
	}
	help := exec.Command(caddy, "wxgate", "user", "--help")
	help.Env = own.Env
	if got := g.finish(help); !regexp.MustCompile(`Usage:\n  caddy wxgate user <command>`).MatchString(got.out) {
		t.Errorf("help: %s", got.out)
	}
}

// TestTerminalIsNotDrivenByWhatIsPrinted, be it stored or typed.
func TestTerminalIsNotDrivenByWhatIsPrinted(t *testing.T) {
	g := newGateway(t, "", aDay)
	g.must("user", "revoke", "1000000001", "--reason", "\x1b[2Jlost", "--yes")
	for _, words := range [][]string{
		{"operation", "list"}, {"user", "show", "1000000001"},
		{"import", "\x1b[2J.csv", "--dry-run"},
	} {
		got := g.do(words...)
		if said := got.out + got.err; strings.Contains(said, "\x1b") || !strings.Contains(said, `\x1b[2J`) {
			t.Errorf("%q: printed %q", words, said)
		}
	}
}

// TestAddress: the admin endpoint is found by flag too, and over TCP, where Caddy
// may ask for the origin.
func TestAddress(t *testing.T) {
	g := newGateway(t, "", aDay)
	cmd := g.command("user", "show", "1000000001", "--address", "unix/"+g.path("admin"))
	cmd.Env = append(cmd.Env, "CADDY_ADMIN=localhost:1")
	if got := g.finish(cmd); got.code != 0 {
		t.Errorf("by flag: exit %d: %s", got.code, got.err)
	}
	tcp := forward(t, g.path("admin"))
	running, err := os.ReadFile(g.path("Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	admin := "admin unix/" + g.path("admin")
	strict := strings.Replace(string(running), admin, admin+" {\n\t\torigins "+tcp+"\n\t\tenforce_origin\n\t}", 1)
	if got := g.do("reload", "--config", g.write("Strict", strict), "--adapter", "caddyfile", "--address", "unix/"+g.path("admin")); got.code != 0 {
		t.Fatalf("not loaded: %s", got.err)
	}
	if got := g.do("user", "show", "1000000001", "--address", tcp); got.code != 0 {
		t.Errorf("over TCP: exit %d: %s", got.code, got.err)
	}
	if got := g.do("user", "show", "1000000001"); got.code != 4 || !strings.Contains(got.err, "not allowed to access from origin") {
		t.Errorf("without the origin: exit %d: %s", got.code, got.err)
	}
}

// TestAnotherServer is not taken for the gateway.
func TestAnotherServer(t *testing.T) {
	g := nowhere(t)
	l := listen(t)
	server := http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	got := g.do("event", "list", "--address", l.Addr().String())
	if got.code != 4 || !strings.Contains(got.err, "no Caddy with wxgate") {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
}

// TestGatewayThatDoesNotAnswer is waited for no longer than asked.
func TestGatewayThatDoesNotAnswer(t *testing.T) {
	g := nowhere(t)
	l := listen(t) // and nobody accepts
	got := g.do("event", "list", "--address", l.Addr().String(), "--timeout", "100ms")
	if got.code != 4 || !strings.Contains(got.err, "no answer within 100ms") || !strings.Contains(got.err, "may have been changed") {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
}

// forward leads from a port of the system's choice to a unix socket.
func forward(t *testing.T, socket string) (addr string) {
	t.Helper()
	l := listen(t)
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", socket)
			if err != nil {
				from.Close()
				continue
			}
			go func() { _, _ = io.Copy(to, from); to.Close() }()
			go func() { _, _ = io.Copy(from, to); from.Close() }()
		}
	}()
	return l.Addr().String()
}
