package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const (
	testMiniID      = "wx2222222222222222"
	testOtherMiniID = "wx2222222222222223"
)

// miniProgram makes the pretend WeChat know a mini program, and returns the line
// of the global option for it.
func (rg *rig) miniProgram(appid, platform string) string {
	rg.wechat.SetApp(wechattest.App{ID: appid, Secret: "hush-" + appid, OpenPlatform: platform, MiniProgram: true})
	return fmt.Sprintf("mini_program %s hush-%s", appid, appid)
}

// bearerCall calls an endpoint as a mini program or a mobile app does, with a session
// or without.
func (rg *rig) bearerCall(path, session, body string) (status int, answer map[string]any) {
	rg.t.Helper()
	r, err := http.NewRequest(http.MethodPost, rg.url(path), strings.NewReader(body))
	if err != nil {
		rg.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", wechattest.IPhoneUserAgent)
	if session != "" {
		r.Header.Set("X-Wxgate-Session", session)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		rg.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(raw, &answer) != nil {
		rg.t.Fatalf("%s: %d %q, error %v", path, resp.StatusCode, raw, err)
	}
	return resp.StatusCode, answer
}

// miniLogin logs li in to a mini program.
func (rg *rig) miniLogin(appid string) (status int, answer map[string]any) {
	rg.t.Helper()
	return rg.bearerCall("/wxgate/mini/login", "", fmt.Sprintf(`{"appid":%q,"code":%q,"want":"login"}`, appid, rg.wechat.MiniLogin("li", appid)))
}

// kindOf is the kind of the user in an answer.
func kindOf(answer map[string]any) any {
	user, _ := answer["user"].(map[string]any)
	return user["kind"]
}

func TestSiteServesTheMiniProgramsItNamesOrAll(t *testing.T) {
	for name, c := range map[string]struct {
		site   string
		served map[string]bool
	}{
		"all":      {"", map[string]bool{testMiniID: true, testOtherMiniID: true}},
		"one":      {"mini_program " + testMiniID, map[string]bool{testMiniID: true, testOtherMiniID: false}},
		"repeated": {"mini_program " + testMiniID + "\nmini_program " + testOtherMiniID, map[string]bool{testMiniID: true, testOtherMiniID: true}},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t)
			rg.run(setup{app: "first_login wechat\n" + rg.miniProgram(testMiniID, "shop") + "\n" + rg.miniProgram(testOtherMiniID, "shop"), site: c.site})
			for appid, served := range c.served {
				status, answer := rg.miniLogin(appid)
				if (status == http.StatusOK && kindOf(answer) == "member") != served {
					t.Errorf("%s: %d %v", appid, status, answer)
				}
			}
		})
	}
}

// A shop may have a mini program and nothing else.
func TestSiteMayHaveAMiniProgramAlone(t *testing.T) {
	rg := newRig(t)
	rg.run(setup{account: rg.miniProgram(testMiniID, "shop"), site: "login /me/*\nphone /pay"})
	rg.wechat.AddPerson(wechattest.Person{Name: "li", Phone: "13800138001"})
	status, answer := rg.miniLogin(testMiniID)
	if status != http.StatusOK || kindOf(answer) != "guest" || answer["code"] != "phone_required" {
		t.Fatalf("%d %v", status, answer)
	}
	session, _ := answer["session"].(string)
	status, answer = rg.bearerCall("/wxgate/mini/phone", session, fmt.Sprintf(`{"code":%q}`, rg.wechat.MiniPhone("li", testMiniID).Code))
	if status != http.StatusOK || kindOf(answer) != "member" {
		t.Errorf("%d %v", status, answer)
	}
	raw, err := os.ReadFile(logFile(rg.dir))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), "first_login is wechat_phone: phones can be verified, in mini programs") {
		t.Error("the log does not say what first_login is")
	}
	for _, secret := range []string{session, "13800138001", "hush-"} {
		if strings.Contains(string(raw), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

func TestUnionIDNoneOfAMiniProgram(t *testing.T) {
	for block, want := range map[string]string{"": "guest", " {\nunionid none\n}": "member"} {
		t.Run(want, func(t *testing.T) {
			rg := newRig(t)
			rg.run(setup{app: "first_login wechat\n" + rg.miniProgram(testMiniID, "") + block})
			if status, answer := rg.miniLogin(testMiniID); status != http.StatusOK || kindOf(answer) != want {
				t.Errorf("%d %v", status, answer)
			}
		})
	}
}

func TestMiniProgramsThatCannotWork(t *testing.T) {
	const site = "wxgate {\nexternal_url http://127.0.0.1\n"
	for name, c := range map[string]struct{ app, site, want string }{
		"no secret":     {"mini_program wx2222222222222222 {env.NOTHING}", site + "}", "mini_program wx2222222222222222: evaluated placeholder {env.NOTHING} is empty"},
		"not an appid":  {"mini_program wx-2 hush", site + "}", `mini_program: "wx-2" is not an appid`},
		"not the App's": {"mini_program wx2222222222222222 hush", site + "mini_program wx3333333333333333\n}", "mini_program wx3333333333333333: the global option wxgate has no such mini_program"},
		"named twice":   {"mini_program wx2222222222222222 hush", site + "mini_program wx2222222222222222 wx2222222222222222\n}", "mini_program wx2222222222222222 is given twice"},
	} {
		t.Run(name, func(t *testing.T) {
			err := load(t, globals(t, c.app)+"http://127.0.0.1:"+dbtest.Port(t)+" {\n"+c.site+"\n}\n")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestMetricsNameTheChannelOfMiniPrograms(t *testing.T) {
	o := newObserved(t)
	before := o.metrics()
	o.miniLogin(testMiniID)
	after := o.metrics()
	for _, sample := range []string{
		`wxgate_logins_total{channel="mini_program",outcome="ok"}`, `wxgate_wechat_requests_total{api="sns/jscode2session",code="ok"}`,
	} {
		if after[sample] != before[sample]+1 {
			t.Errorf("%s: %v, before %v", sample, after[sample], before[sample])
		}
	}
}
