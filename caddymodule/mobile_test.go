package caddymodule

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const (
	mobileID    = "wx4444444444444444"
	otherMobile = "wx4444444444444445"
)

// logInApp logs a person in with a code of a mobile app.
func (rg *rig) logInApp(person, appID string) (status int, answer map[string]any) {
	rg.t.Helper()
	return rg.bearerCall("/wxgate/app/login", "", fmt.Sprintf(`{"appid":%q,"code":%q}`, appID, rg.wechat.AppCode(person, appID)))
}

func TestSiteServesTheMobileAppsThatItNames(t *testing.T) {
	for site, want := range map[string][2]int{"": {200, 200}, "mobile_app " + otherMobile: {400, 200}} {
		t.Run(site, func(t *testing.T) {
			rg := newRig(t)
			for _, id := range []string{mobileID, otherMobile} {
				rg.wechat.SetApp(wechattest.App{ID: id, Secret: "mobile", OpenPlatform: "shop", Mobile: true})
			}
			rg.run(setup{app: "mobile_app " + mobileID + " mobile\nmobile_app " + otherMobile + " mobile\nfirst_login wechat", site: site})
			for i, id := range []string{mobileID, otherMobile} {
				if status, answer := rg.logInApp("li", id); status != want[i] {
					t.Errorf("%s: %d %v, want %d", id, status, answer, want[i])
				}
			}
		})
	}
	rg := newRig(t)
	if err := load(t, rg.caddyfile(setup{app: "mobile_app " + mobileID + " mobile", site: "mobile_app " + otherMobile})); err == nil ||
		!strings.Contains(err.Error(), "no such mobile_app") {
		t.Errorf("one that the App lacks: %v", err)
	}
}
