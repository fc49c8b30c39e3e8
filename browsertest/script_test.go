package browsertest

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// scripted is a shop with a page that asks for its data by scripts, and has the
// gateway's script for pages.
func scripted(t *testing.T) *world {
	t.Helper()
	s := wechatOnly("")
	s.routes = "handle /spa/* {\n\troot DIR\n\tfile_server\n}\n"
	w := newWorld(t, s)
	dir := filepath.Join(w.dir, "spa")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{"page.html": "testdata/spa.html", "wxgate.js": "../sdk/web/wxgate.js"} {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func TestScriptLeadsToTheLoginAndBackToTheSamePlace(t *testing.T) {
	t.Parallel()
	w := scripted(t)
	const there = "/spa/page.html?q=%E8%8C%B6#/orders/5?tab=all"
	for _, way := range []string{"fetch", "xhr", "json"} {
		t.Run(way, func(t *testing.T) {
			w.wechat.AddPerson(wechattest.Person{Name: way})
			v := w.visitorOf(t, inWeChat(way))
			v.open("/").open(there).see("#" + way)
			v.eval(`addEventListener("pagehide", () => sessionStorage.top = scrollY)`)
			v.tap("#" + way).atPath("/wxgate/login").tap(primary).see(accept).tap(accept)
			v.at(there).see("#" + way)
			v.wait("the same place", `Math.abs(scrollY - sessionStorage.top) <= 1`)
			if top := read[float64](v, "scrollY"); top < 1000 {
				t.Errorf("the page was left at %v, which shows nothing", math.Round(top))
			}
			v.press("#"+way).wait("the answer", `document.querySelector("#said").textContent.startsWith("200 ")`)
		})
	}
}

// Whoever comes back without a login is not sent away again before he does
// something himself.
func TestScriptLeadsAwayOnlyOnce(t *testing.T) {
	t.Parallel()
	w := scripted(t)
	v := w.visitor(inWeChat("li")).open("/") // known to WeChat
	v.leave(func() { v.eval(`location.assign("/spa/page.html?asks=itself")`) })
	v.atPath("/wxgate/login").back().at("/spa/page.html?asks=itself").see("#fetch")
	const refused = `document.querySelector("#said").textContent.startsWith("401 ")`
	v.wait("the answer", refused)
	v.eval(`document.querySelector("#fetch").onclick()`) // a script, and no tap
	v.wait("the answer", refused)
	v.at("/spa/page.html?asks=itself").tap("#fetch").atPath("/wxgate/login")
}
