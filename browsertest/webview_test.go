package browsertest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// inFrame waits until the page in the web-view shows an element, and returns
// what that says.
func (v *visitor) inFrame(selector string) string {
	v.t.Helper()
	said := ""
	waitForOr(v.t, func() bool {
		shown, err := v.readFrame(fmt.Sprintf(
			`(element => element?.checkVisibility() ? element.innerText : null)(document.querySelector(%q))`, selector))
		if err != nil || shown == nil {
			return false
		}
		said = strings.TrimSpace(*shown)
		return true
	}, func() {
		shown, err := v.readFrame(`location.href + "\n" + document.body.innerText`)
		if shown == nil {
			shown = new(string)
		}
		v.fail(fmt.Sprintf("%s in the frame, which shows %s (%v)", selector, *shown, err))
	})
	return said
}

// readFrame evaluates an expression in the page in the web-view.
func (v *visitor) readFrame(expression string) (*string, error) {
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	tree, err := chromedp.Call(ctx, page.GetFrameTree, cdp.Empty{})
	if err != nil || len(tree.FrameTree.ChildFrames) == 0 {
		return nil, err
	}
	own, err := chromedp.Call(ctx, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{
		FrameID: tree.FrameTree.ChildFrames[0].Frame.ID,
	})
	if err != nil {
		return nil, err
	}
	return chromedp.Run(ctx, chromedp.Evaluate[*string](expression, func(p *runtime.EvaluateParams) {
		p.ContextID = own.ExecutionContextID
	}))
}

// tapFrame taps what leads to another page in the web-view.
func (v *visitor) tapFrame(selector string) *visitor {
	v.t.Helper()
	v.inFrame(selector)
	if _, err := v.readFrame(fmt.Sprintf(`document.querySelector(%q).click()`, selector)); err != nil {
		v.t.Fatal(err)
	}
	return v
}

const ordersLink = "nav a[href='/me/orders']"

func TestPageInTheWebViewHasThePersonOfTheMiniProgram(t *testing.T) {
	t.Parallel()
	d := newDemo(t)
	mini := d.inMiniProgram(t)
	number := mini.orderInMiniProgram("")
	mini.tab("mine")
	guest := mini.text("#user")
	if got := mini.press("#open-page").inFrame("#user-id"); got != guest {
		t.Errorf("the page shows %s, the mini program %s", got, guest)
	}

	mini.press("#back").press("#by-phone").press("#allow").see(".order").press("#open-page")
	if got := mini.tapFrame(ordersLink).inFrame(".lines h2"); got != number {
		t.Errorf("the page shows the order %s, want %s", got, number)
	}
	member := mini.inFrame("#user-id")
	if got := mini.press("#back").text("#user"); got != member || member == guest {
		t.Errorf("the page shows %s, the mini program %s", member, got)
	}
}

func TestLoginInTheWebViewIsOneInTheMiniProgramToo(t *testing.T) {
	t.Parallel()
	d := newDemo(t)
	mini := d.inMiniProgram(t)
	number := mini.orderInMiniProgram("")
	mini.tab("mine").press("#open-page")
	mini.tapFrame(ordersLink).tapFrame(primary).tapFrame(accept)
	if got := mini.inFrame(".lines h2"); got != number {
		t.Errorf("the page shows the order %s, want %s", got, number)
	}
	member := mini.inFrame("#user-id")

	mini.reload().tab("mine").mustSay(".order .number", number)
	if got := mini.text("#user"); got != member {
		t.Errorf("the page shows %s, the mini program %s", member, got)
	}
}
