package browsertest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// demo is what make run starts, on other ports: the gateway with the Caddyfile
// of the repository, and the sandbox with its shop.
type demo struct {
	t                      *testing.T
	mini, browser, outside string // origins
}

// newDemo starts a demo that ends with the test.
func newDemo(t *testing.T) *demo {
	t.Helper()
	port := map[string]string{}
	for _, name := range []string{"gateway", "wechat", "shop", "browser", "mini", "web-view", "admin"} {
		port[name] = freePort(t)
	}
	dir := t.TempDir()
	text, err := os.ReadFile("../Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer(
		":8080", ":"+port["gateway"], ":9001", ":"+port["wechat"], ":9090", ":"+port["shop"], "data/", dir+"/",
	).Replace(string(text))
	if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	d := &demo{
		t:    t,
		mini: "http://localhost:" + port["mini"], browser: "http://localhost:" + port["browser"],
		outside: "http://127.0.0.1:" + port["gateway"],
	}
	process := exec.Command(os.Getenv(sandboxVariable), "run",
		"--gateway", os.Getenv(gatewayVariable), "--caddyfile", filepath.Join(dir, "Caddyfile"), "--gateway-url", d.outside,
		"--wechat", "127.0.0.1:"+port["wechat"], "--shop", "127.0.0.1:"+port["shop"], "--browser", "localhost:"+port["browser"],
		"--mini", "localhost:"+port["mini"], "--web-view", "localhost:"+port["web-view"])
	process.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "CADDY_ADMIN=127.0.0.1:"+port["admin"])
	log := &bytes.Buffer{}
	process.Stderr = log
	said, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Process.Signal(syscall.SIGTERM)
		if err := process.Wait(); err != nil {
			t.Errorf("the sandbox ended: %v\n%s", err, log)
		}
	})
	if _, err := fmt.Fscanln(said); err != nil && err.Error() == "EOF" {
		t.Fatalf("the sandbox ended:\n%s", log)
	}
	return d
}

// visitor is somebody at one of the demo's addresses.
func (d *demo) visitor(t *testing.T, origin string, on device) *visitor {
	t.Helper()
	return (&world{t: t, base: origin}).visitorOf(t, on)
}

// inMiniProgram has somebody open the mini program.
func (d *demo) inMiniProgram(t *testing.T) *visitor {
	t.Helper()
	phone := onPhone()
	phone.width, phone.touch = 1000, false // beside the phone there is a record of its calls
	return d.visitor(t, d.mini, phone).open("/")
}

// tab opens a tab of the mini program: goods, cart, mine.
func (v *visitor) tab(name string) *visitor {
	v.t.Helper()
	tab := fmt.Sprintf("#tabs button[data-route='pages/%s/%s']", name, name)
	return v.press(tab).see(tab + "[aria-current]")
}

// inPage names what the page of the mini program holds that is in view.
func inPage(selector string) string { return "page:not([hidden]) " + selector }

// orderInMiniProgram puts something into the cart, orders it, and returns the order's number.
func (v *visitor) orderInMiniProgram(note string) string {
	v.t.Helper()
	v.tab("goods").press(inPage("[data-id=tea]")).see("#toast")
	v.tab("cart").enter(inPage(".note"), note).press("#order")
	return v.text("#ordered")
}

// mustCall tests how often the mini program has called what begins like this.
func (v *visitor) mustCall(call string, want int) {
	v.t.Helper()
	got := read[int](v, fmt.Sprintf(`[...document.querySelectorAll("#calls li")].filter(li => li.textContent.startsWith(%q)).length`, call))
	if got != want {
		v.t.Errorf("%d calls of %s, want %d:\n%s", got, call, want, v.text("#calls"))
	}
}

func TestOrderOfAGuestInTheMiniProgramIsThereOnH5AfterALoginByPhone(t *testing.T) {
	t.Parallel()
	d := newDemo(t)
	mini := d.inMiniProgram(t)
	number := mini.orderInMiniProgram("放在门卫")
	mini.mustCall("wx.login", 1)
	mini.tab("mine").mustSay("#kind", "guest")
	guest := mini.text("#user")

	mini.press("#by-phone").press("#deny").see("#toast").mustSay("#kind", "guest")
	mini.press("#by-phone").press("#allow").mustSay(".order .number", number)
	mini.mustSay("#kind", "member").mustCall("wx.login", 1)
	if mini.text("#user") == guest {
		t.Error("the member has the guest's id")
	}

	h5 := d.visitor(t, d.browser, onPhone())
	h5.open("/me/orders").tap(primary).tap(accept).mustSay(".lines h2", number).see(memberSign)
	if got, want := h5.id(), mini.text("#user"); got != want {
		t.Errorf("H5 shows %s, the mini program %s", got, want)
	}
	h5.fillCart()
	mini.tab("cart").mustSay(inPage(".line .name"), "龙井")
}
