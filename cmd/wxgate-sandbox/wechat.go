package main

import (
	"net/url"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// The official account of the Caddyfile.
const (
	appID     = "wx1111111111111111"
	appSecret = "sandbox-app-secret"
)

// newPlatform returns a WeChat with one official account, bound to an Open
// Platform account, and a few people. The first holds the phone.
func newPlatform(gateway *url.URL) *wechattest.Server {
	return wechattest.New(wechattest.Config{
		Apps: []wechattest.App{{
			ID:           appID,
			Secret:       appSecret,
			Domains:      []string{gateway.Hostname()},
			OpenPlatform: "sandbox",
		}},
		People: []wechattest.Person{
			{Name: "li", Nickname: "李雷 Li Lei"},
			{Name: "han", Nickname: "韩梅梅 Han Meimei", Follower: true},
			{Name: "wang", Nickname: "王奶奶 Granny Wang"},
			{Name: "zhao", Nickname: "赵老板 Boss Zhao"},
		},
	})
}
