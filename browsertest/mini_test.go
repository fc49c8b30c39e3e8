package browsertest

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/wxgate/wxgate/cmd/wxgate-sandbox/simulator"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
	"github.com/wxgate/wxgate/sdk"
)

const miniID = "wx2222222222222222"

// demo is what make run starts, on other ports: the gateway with the Caddyfile
// of the repository, and the sandbox with its shop.
type demo struct {
	t                              *testing.T
	wechat, mini, browser, outside string // origins
}

// newDemo starts a demo that ends with the test, with pairs of other words in
// the Caddyfile.
func newDemo(t *testing.T, changes ...string) *demo {
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
	config := strings.NewReplacer(append(changes,
		":8080", ":"+port["gateway"], ":9001", ":"+port["wechat"], ":9002", ":"+port["shop"], "data/", dir+"/",
	)...).Replace(string(text))
	if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	d := &demo{
		t: t, wechat: "http://127.0.0.1:" + port["wechat"],
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
	return d.visitor(t, d.mini, besidePhone()).open("/")
}

// besidePhone is a window that shows the phone and the record of its calls.
func besidePhone() device {
	return device{agent: wechattest.OrdinaryUserAgent, width: 1000, height: 844, language: "zh-CN"}
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

	mini.press("#by-phone").press("#deny").see("#calls .bad").mustSay("#kind", "guest")
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

func TestLoginInTheMiniProgramAsksForAPhoneWhereOneIsNeeded(t *testing.T) {
	t.Parallel()
	d := newDemo(t, "first_login wechat\n", "first_login wechat_phone\n")
	mini := d.inMiniProgram(t)
	number := mini.orderInMiniProgram("")
	mini.tab("mine").press("#by-wechat").press("#back").see("#by-wechat")
	mini.press("#by-wechat").see("#back").press("page:last-child #by-phone").press("#allow").mustSay(".order .number", number)
	mini.mustSay("#kind", "member")
	mini.press("#log-out").see("#by-wechat").mustSay("#kind", "guest")
	mini.tab("goods").tab("mine").see("#by-wechat")
	mini.press("#by-wechat").mustSay(".order .number", number)
}

func TestWhoeverElseHoldsThePhoneIsSomebodyElseInTheMiniProgram(t *testing.T) {
	t.Parallel()
	d := newDemo(t)
	li := d.inMiniProgram(t)
	li.orderInMiniProgram("")
	li.tab("mine").press("#by-phone").press("#allow").see(".order")
	li.tab("goods").press(inPage("[data-id=bowl]")).see("#toast")

	d.handTo(li, "han")
	li.tab("cart").see(inPage(".empty")).tab("mine").mustSay("#kind", "guest")

	d.handTo(li, "li")
	li.tab("mine").mustSay("#kind", "member")
	li.tab("cart").mustSay(inPage(".line .name"), "青瓷饭碗")
}

// handTo gives the phone to somebody else, and looks at it again.
func (d *demo) handTo(phone *visitor, person string) {
	d.visitor(phone.t, d.wechat, besidePhone()).open("/").tap("button[name=person][value=" + person + "]")
	phone.eval(`window.dispatchEvent(new Event("focus"))`)
	phone.see("html[data-person=" + person + "]").see(inPage(".goods .card"))
}

// tutorial is the mini program of the documentation: its blocks of code that a
// line with a file's name comes before.
func tutorial(t *testing.T) fstest.MapFS {
	t.Helper()
	text, err := os.ReadFile("../docs/miniprogram.md")
	if err != nil {
		t.Fatal(err)
	}
	program := fstest.MapFS{}
	for _, block := range regexp.MustCompile("(?ms)^`([\\w/.]+)`:\n\n```\\w+\n(.*?)^```$").FindAllSubmatch(text, -1) {
		program[string(block[1])] = &fstest.MapFile{Data: block[2]}
	}
	return program
}

func TestTutorialOfMiniProgramsMakesAWorkingPage(t *testing.T) {
	t.Parallel()
	d := newDemo(t, "first_login wechat\n", "first_login wechat_phone\n")
	phone, err := simulator.New(simulator.Config{
		AppID: miniID, Program: tutorial(t), Client: sdk.MiniProgram,
		Gateway: origin(t, d.outside), WebView: origin(t, d.outside),
		Taps:   httputil.NewSingleHostReverseProxy(origin(t, d.wechat)),
		Holder: func() wechattest.Person { return wechattest.Person{Name: "han", Phone: "13800138002"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(phone)
	t.Cleanup(server.Close)

	mini := d.visitor(t, server.URL, besidePhone())
	mini.open("/").see("[data-id=tea]").eval(`{
		const real = wx.request; // for once what is put into the cart does not exist
		wx.request = (option) => {
			if (!option.url.endsWith("/api/cart")) return real(option);
			wx.request = real;
			return real({ ...option, data: { goods: "gold", n: 1 } });
		};
	}`)
	mini.press("[data-id=tea]").wait("a refusal", `document.querySelector("#said").innerText === "没有成功，请再试"`)
	mini.press("[data-id=tea]")
	mini.wait("the order", `/^订单 \d+-\d+$/.test(document.querySelector("#said").innerText)`)
	number := strings.TrimPrefix(mini.text("#said"), "订单 ")
	mini.press("#log-in").press("#allow").mustSay(".order", number)
	mini.mustCall("wx.login", 1)
}

// origin is a URL of an origin.
func origin(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
