package caddymodule

import (
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"

	"github.com/wxgate/wxgate/internal/wechat"
)

// weChatApps are all applications of the configuration, by the option that
// names them.
func (a *App) weChatApps() iter.Seq2[string, *WeChatApp] {
	return func(yield func(string, *WeChatApp) bool) {
		for i := range a.OfficialAccounts {
			if !yield("official_account", &a.OfficialAccounts[i]) {
				return
			}
		}
		for i := range a.Websites {
			if !yield("website", &a.Websites[i]) {
				return
			}
		}
		for i := range a.MiniPrograms {
			if !yield("mini_program", &a.MiniPrograms[i]) {
				return
			}
		}
		for i := range a.MobileApps {
			if !yield("mobile_app", &a.MobileApps[i]) {
				return
			}
		}
	}
}

// knows says whether the configuration names an appid.
func (a *App) knows(appID string) bool {
	for _, o := range a.weChatApps() {
		if o.AppID == appID {
			return true
		}
	}
	return false
}

// standIns are the apps whose openids stand in for unionids.
func (a *App) standIns() map[string]bool {
	apps := map[string]bool{}
	for _, o := range a.weChatApps() {
		if o.UnionID == "none" {
			apps[o.AppID] = true
		}
	}
	return apps
}

// appIDs holds for every appid that WeChat has given out.
var appIDs = regexp.MustCompile(`^wx[A-Za-z0-9]{16}$`)

// checkAppID refuses what is no appid: another number of the account, most
// often, or half of it.
func checkAppID(kind, id string) error {
	if appIDs.MatchString(id) {
		return nil
	}
	return fmt.Errorf("%s: %q is not an appid: wx and 16 letters or digits, like wx1111111111111111 (an original id, gh_..., is none)", kind, id)
}

func (a *App) checkApps() (errs []error) {
	seen := map[string]bool{}
	for kind, o := range a.weChatApps() {
		err := checkAppID(kind, o.AppID)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("wxgate: %w", err))
		case o.Secret == "":
			errs = append(errs, fmt.Errorf("wxgate: %s %s: the AppSecret is empty (is its environment variable set?)", kind, o.AppID))
		case seen[o.AppID]:
			errs = append(errs, fmt.Errorf("wxgate: %s %s is given twice", kind, o.AppID))
		case o.UnionID != "" && o.UnionID != "none":
			errs = append(errs, fmt.Errorf("wxgate: %s %s: unionid: %q is not none", kind, o.AppID, o.UnionID))
		}
		seen[o.AppID] = true
	}
	return errs
}

// siteApps are the apps of one site.
type siteApps struct {
	official, website wechat.App // zero: none
	mini, mobile      []wechat.App
}

// weChatApps are those of this site.
func (h *Handler) weChatApps(app *App) (own siteApps, err error) {
	if own.official, err = choose("official_account", h.OfficialAccount, app.OfficialAccounts); err != nil {
		return own, err
	}
	if own.website, err = choose("website", h.Website, app.Websites); err != nil {
		return own, err
	}
	if own.mini, err = chooseAll("mini_program", h.MiniPrograms, app.MiniPrograms); err != nil {
		return own, err
	}
	if own.mobile, err = chooseAll("mobile_app", h.MobileApps, app.MobileApps); err != nil {
		return own, err
	}
	if own.official.AppID == "" && own.website.AppID == "" && len(own.mini) == 0 && len(own.mobile) == 0 && app.carrier == nil {
		if h.needsLogin() {
			return own, errors.New("login: nobody can log in, since the global option wxgate has no official_account, no website, no mini_program, no mobile_app and no sms")
		}
		app.log.Warn("the global option wxgate has no official_account, no website, no mini_program, no mobile_app and no sms: visitors get guest ids, and nobody can log in")
	}
	return own, nil
}

// chooseAll returns the apps that the site names, or all there are: their
// clients say themselves which one they are.
func chooseAll(kind string, named []string, all []WeChatApp) (apps []wechat.App, err error) {
	for i, appID := range named {
		if slices.Contains(named[:i], appID) {
			return nil, fmt.Errorf("%s %s is given twice", kind, appID)
		}
		one, err := choose(kind, appID, all)
		if err != nil {
			return nil, err
		}
		apps = append(apps, one)
	}
	if len(named) == 0 {
		for _, o := range all {
			apps = append(apps, wechat.App{AppID: o.AppID, AppSecret: string(o.Secret)})
		}
	}
	return apps, nil
}

// choose returns the app that the site names, or the only one there is.
func choose(kind, named string, all []WeChatApp) (wechat.App, error) {
	i := slices.IndexFunc(all, func(o WeChatApp) bool { return o.AppID == named })
	switch {
	case named != "" && i < 0:
		return wechat.App{}, fmt.Errorf("%s %s: the global option wxgate has no such %[1]s", kind, named)
	case named == "" && len(all) > 1:
		return wechat.App{}, fmt.Errorf("%s: the global option wxgate has several; name this site's", kind)
	case named == "" && len(all) == 0:
		return wechat.App{}, nil
	case named == "":
		i = 0
	}
	return wechat.App{AppID: all[i].AppID, AppSecret: string(all[i].Secret)}, nil
}
