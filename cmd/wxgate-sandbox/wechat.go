package main

import (
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// The apps of the Caddyfile.
const (
	appID         = "wx1111111111111111"
	appSecret     = "sandbox-app-secret"
	miniID        = "wx2222222222222222"
	miniSecret    = "sandbox-mini-secret"
	websiteID     = "wx3333333333333333"
	websiteSecret = "sandbox-website-secret"
	mobileID      = "wx4444444444444444"
	mobileSecret  = "sandbox-mobile-secret"
)

// newPlatform returns a WeChat with one app of each kind, bound to one Open
// Platform account, and a few people. The first holds the phone, whose browser
// scans the QR codes.
func newPlatform(o options) *wechattest.Server {
	domains := []string{o.external.Hostname()}
	return wechattest.New(wechattest.Config{
		Apps: []wechattest.App{
			{ID: appID, Secret: appSecret, Domains: domains, OpenPlatform: "sandbox"},
			{ID: miniID, Secret: miniSecret, OpenPlatform: "sandbox", MiniProgram: true},
			{ID: websiteID, Secret: websiteSecret, Domains: domains, OpenPlatform: "sandbox", Website: true},
			{ID: mobileID, Secret: mobileSecret, OpenPlatform: "sandbox", Mobile: true},
		},
		Phone: o.links().Browser,
		People: []wechattest.Person{
			{Name: "li", Nickname: "李雷 Li Lei", Phone: "13800138001"},
			{Name: "han", Nickname: "韩梅梅 Han Meimei", Phone: "13800138002", Follower: true},
			{Name: "wang", Nickname: "王奶奶 Granny Wang", Phone: "13800138003", OldLibrary: true},
			{Name: "zhao", Nickname: "赵老板 Boss Zhao"},
		},
	})
}
