package main

import (
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// The official account and the website app of the Caddyfile.
const (
	appID         = "wx1111111111111111"
	appSecret     = "sandbox-app-secret"
	websiteID     = "wx3333333333333333"
	websiteSecret = "sandbox-website-secret"
)

// newPlatform returns a WeChat with an official account and a website app, bound
// to one Open Platform account, and a few people. The first holds the phone,
// whose browser scans the QR codes.
func newPlatform(o options) *wechattest.Server {
	domains := []string{o.external.Hostname()}
	return wechattest.New(wechattest.Config{
		Apps: []wechattest.App{
			{ID: appID, Secret: appSecret, Domains: domains, OpenPlatform: "sandbox"},
			{ID: websiteID, Secret: websiteSecret, Domains: domains, OpenPlatform: "sandbox", Website: true},
		},
		Phone: o.links().Browser,
		People: []wechattest.Person{
			{Name: "li", Nickname: "李雷 Li Lei"},
			{Name: "han", Nickname: "韩梅梅 Han Meimei", Follower: true},
			{Name: "wang", Nickname: "王奶奶 Granny Wang"},
			{Name: "zhao", Nickname: "赵老板 Boss Zhao"},
		},
	})
}
