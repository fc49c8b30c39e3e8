package browsertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/remote"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// device is what somebody holds in his hands or sits at.
type device struct {
	agent         string // User-Agent; empty is the browser's own
	width, height int64  // CSS pixels
	scale         float64
	touch         bool
	language      string // Accept-Language
	person        string // who is logged in to WeChat on it
	dark          bool
	noScript      bool
}

const otherPhoneAgent = "Mozilla/5.0 (Linux; Android 14; 23127PN0CC) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Mobile Safari/537.36"

// inWeChat is WeChat's browser on somebody's phone.
func inWeChat(person string) device {
	return device{agent: wechattest.AndroidUserAgent, width: 390, height: 844, touch: true, language: "zh-CN", person: person}
}

// onPhone is another browser on a phone.
func onPhone() device {
	return device{agent: otherPhoneAgent, width: 390, height: 844, touch: true, language: "zh-CN"}
}

// atDesk is the browser of a computer.
func atDesk() device {
	return device{agent: wechattest.OrdinaryUserAgent, width: 1280, height: 800, language: "zh-CN"}
}

// atNight is a device that is set to dark colours.
func atNight(d device) device {
	d.dark = true
	return d
}

// visitor is a tab of somebody's browser.
type visitor struct {
	t        *testing.T
	w        *world
	ctx      context.Context
	device   device
	arrivals *arrivals
	taps     int // on our own pages
	entered  int // fields there
}

// visitor opens a browser without cookies.
func (w *world) visitor(d device) *visitor {
	w.t.Helper()
	return w.visitorOf(w.t, d)
}

// visitorOf is a visitor for a part of the test.
func (w *world) visitorOf(t *testing.T, d device) *visitor {
	t.Helper()
	there, cancel := remote.NewAllocator(context.Background(), os.Getenv(chromiumVariable), remote.NoModifyURL)
	t.Cleanup(cancel)
	browser, cancel := chromedp.NewContext(there)
	t.Cleanup(cancel)
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("connecting to the browser: %v", err)
	}
	own, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	return (&visitor{t: t, w: w, ctx: own, arrivals: &arrivals{}}).become(d)
}

// secondTab opens another tab of the same browser.
func (v *visitor) secondTab() *visitor {
	v.t.Helper()
	own, cancel := chromedp.NewContext(v.ctx)
	v.t.Cleanup(cancel)
	return (&visitor{t: v.t, w: v.w, ctx: own, arrivals: &arrivals{}}).become(v.device)
}

// become makes the tab another device; its cookies stay.
func (v *visitor) become(d device) *visitor {
	v.t.Helper()
	if v.device == (device{}) {
		if err := chromedp.Listen(v.ctx, v.arrivals.note); err != nil {
			v.t.Fatalf("listening to the browser: %v", err)
		}
		send(v, page.Enable, page.EnableParams{})
		send(v, network.Enable, network.EnableParams{})
	}
	v.device = d
	scheme := "light"
	if d.dark {
		scheme = "dark"
	}
	send(v, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: d.agent, AcceptLanguage: d.language})
	send(v, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: d.width, Height: d.height, DeviceScaleFactor: max(d.scale, 1), Mobile: d.touch,
	})
	send(v, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: d.touch})
	send(v, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	send(v, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: d.noScript})
	if d.person != "" {
		send(v, network.SetCookie, network.SetCookieParams{
			Name: wechattest.PersonCookie, Value: url.QueryEscape(d.person), URL: v.w.platform + "/",
		})
	}
	return v
}

// moveTo goes on at another device with the same cookies and language.
func (v *visitor) moveTo(d device) *visitor {
	v.t.Helper()
	d.language, d.person = v.device.language, v.device.person
	return v.become(d)
}

// send sends a command of the DevTools protocol to the tab.
func send[P, R any](v *visitor, command cdp.Command[P, R], params P) R {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		v.t.Fatalf("%T at %s: %v", params, v.lastURL(), err)
	}
	return result
}

// do carries out actions in the tab.
func (v *visitor) do(actions ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		v.t.Fatalf("at %s: %v", v.lastURL(), err)
	}
}

// open types an address into the address bar: a path of the shop, or a URL.
func (v *visitor) open(address string) *visitor {
	v.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = v.w.base + address
	}
	v.leave(func() {
		if problem := send(v, page.Navigate, page.NavigateParams{URL: address}).ErrorText; problem != "" {
			v.t.Fatalf("opening %s: %s", address, problem)
		}
	})
	return v
}

// back presses the back button.
func (v *visitor) back() *visitor {
	v.t.Helper()
	history := send(v, page.GetNavigationHistory, cdp.Empty{})
	if history.CurrentIndex == 0 {
		v.t.Fatalf("%s has no page before it", v.lastURL())
	}
	v.leave(func() {
		send(v, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: history.Entries[history.CurrentIndex-1].ID})
	})
	return v
}

// reload presses the reload button.
func (v *visitor) reload() *visitor {
	v.t.Helper()
	v.leave(func() { send(v, page.Reload, page.ReloadParams{}) })
	return v
}

// tap taps what leads to another page.
func (v *visitor) tap(selector string) *visitor {
	v.t.Helper()
	v.leave(func() { v.press(selector) })
	return v
}

// press taps what stays on this page.
func (v *visitor) press(selector string) *visitor {
	v.t.Helper()
	v.see(selector)
	v.wait(selector+" to be in use", fmt.Sprintf("!document.querySelector(%q).disabled", selector))
	if v.onOurPage() {
		v.taps++
	}
	at := read[[]float64](v, fmt.Sprintf(`(element => {
		element.scrollIntoView({block: "center", behavior: "instant"});
		const box = element.getBoundingClientRect(), at = [box.x + box.width / 2, box.y + box.height / 2];
		return element.contains(document.elementFromPoint(...at)) ? at : [];
	})(document.querySelector(%q))`, selector))
	switch {
	case len(at) == 0:
		v.t.Fatalf("%s at %s is covered", selector, v.lastURL())
	case v.device.touch:
		v.do(chromedp.TapXY(at[0], at[1]))
	default:
		v.do(chromedp.MouseClickXY(at[0], at[1]))
	}
	return v
}

// enter types a text into a field, in place of what is there.
func (v *visitor) enter(selector, text string) *visitor {
	v.t.Helper()
	v.see(selector)
	v.eval(fmt.Sprintf(`{const field = document.querySelector(%q); field.focus(); field.select()}`, selector))
	if v.onOurPage() {
		v.entered++
	}
	send(v, input.InsertText, input.InsertTextParams{Text: text})
	return v
}

// onOurPage reports whether the page in view is the gateway's. In place of a
// form's answer it has the address of the form.
func (v *visitor) onOurPage() bool {
	v.t.Helper()
	return v.holds(`location.hostname === "shop.test" && document.querySelector("meta[name=robots][content=noindex]") !== null`)
}

// leave does what makes the page give way to another, and waits until that is
// there.
func (v *visitor) leave(do func()) {
	v.t.Helper()
	before := v.arrivals.count()
	do()
	waitForOr(v.t, func() bool {
		return v.arrivals.count() > before && v.holds(`document.readyState === "complete"`)
	}, func() { v.fail("the next page") })
}

// see waits until the page shows what the selector names.
func (v *visitor) see(selector string) *visitor {
	v.t.Helper()
	v.wait(selector, fmt.Sprintf("document.querySelector(%q)?.checkVisibility() === true", selector))
	return v
}

// at waits until the address bar shows exactly this: a path of the shop, or a
// URL. An empty fragment counts for nothing: it keeps away that of WeChat.
func (v *visitor) at(address string) *visitor {
	v.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = v.w.base + address
	}
	v.wait("the address "+address, fmt.Sprintf(`document.readyState === "complete" && location.href.replace(/#$/, "") === %q`, address))
	return v
}

// atPath waits until the page has this path, whatever its query.
func (v *visitor) atPath(path string) *visitor {
	v.t.Helper()
	v.wait("the path "+path, fmt.Sprintf(`document.readyState === "complete" && location.pathname === %q`, path))
	return v
}

// wait waits until an expression is true in the page.
func (v *visitor) wait(what, expression string) {
	v.t.Helper()
	waitForOr(v.t, func() bool { return v.holds(expression) }, func() { v.fail(what) })
}

// fail ends the test with what can be seen.
func (v *visitor) fail(what string) {
	v.t.Helper()
	v.t.Fatalf("waited in vain for %s at %s, which shows:\n%s", what, v.lastURL(), v.lastText())
}

// holds says whether an expression is true in the page. Between two pages there
// is none.
func (v *visitor) holds(expression string) bool {
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
	return err == nil && holds
}

// eval carries out a script in the page.
func (v *visitor) eval(script string) {
	v.t.Helper()
	v.do(chromedp.Evaluate[chromedp.Void](script))
}

// read evaluates an expression, or the promise of one, in the page.
func read[T any](v *visitor, expression string) T {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		v.t.Fatalf("evaluating %.80s at %s: %v", expression, v.lastURL(), err)
	}
	return value
}

// onPlatform reports whether the page in view is WeChat's.
func (v *visitor) onPlatform() bool {
	v.t.Helper()
	return strings.HasPrefix(v.url(), v.w.platform+"/")
}

func (v *visitor) path() string {
	v.t.Helper()
	return read[string](v, "location.pathname")
}

func (v *visitor) url() string {
	v.t.Helper()
	return read[string](v, "location.href")
}

// text waits until the page shows an element and returns what that says.
func (v *visitor) text(selector string) string {
	v.t.Helper()
	said := ""
	waitForOr(v.t, func() bool {
		ctx, cancel := context.WithTimeout(v.ctx, patience)
		defer cancel()
		shown, err := chromedp.Run(ctx, chromedp.Evaluate[*string](fmt.Sprintf(
			`(element => element?.checkVisibility() ? element.innerText : null)(document.querySelector(%q))`, selector)))
		if err != nil || shown == nil {
			return false
		}
		said = strings.TrimSpace(*shown)
		return true
	}, func() { v.fail(selector) })
	return said
}

// lastURL and lastText tell of a page in the message of a failure.
func (v *visitor) lastURL() string {
	text, _ := chromedp.Run(v.ctx, chromedp.Evaluate[string]("location.href"))
	return text
}

func (v *visitor) lastText() string {
	text, _ := chromedp.Run(v.ctx, chromedp.Evaluate[string]("document.body.innerText"))
	return text
}
