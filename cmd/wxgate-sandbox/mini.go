package main

import (
	"net/http"
	"slices"

	"github.com/wxgate/wxgate/cmd/wxgate-sandbox/shop"
	"github.com/wxgate/wxgate/cmd/wxgate-sandbox/simulator"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
	"github.com/wxgate/wxgate/sdk"
)

// newMiniProgram returns the phone of whoever holds it, with the shop's mini
// program open.
func newMiniProgram(o options, platform *wechattest.Server) (http.Handler, error) {
	return simulator.New(simulator.Config{
		AppID:   miniID,
		Program: shop.MiniProgram(),
		Client:  sdk.MiniProgram,
		Gateway: o.external,
		WebView: o.webViewURL(),
		Taps:    newTaps(platform),
		Holder: func() wechattest.Person {
			held, people := platform.Held(), platform.People()
			return people[slices.IndexFunc(people, func(p wechattest.Person) bool { return p.Name == held })]
		},
	})
}
