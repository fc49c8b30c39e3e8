package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// The shop hears of a login without another visit.
func TestShopOfTheDemoHearsOfMerges(t *testing.T) {
	d := startDemo(t)
	wang := d.outside(t)
	wang.open("/")
	wang.submit("/cart/add", url.Values{"goods": {"tea"}, "n": {"1"}})
	order := wang.find(wang.submit("/orders", url.Values{}), `<span id="order-number">([^<]+)</span>`)
	wang.say("/wxgate/phone/code", `{"phone":"13800138000"}`)
	messages := newPerson(t, "http://"+d.wechat)
	code := messages.find(messages.open("/"), `8613800138000</td><td><strong>([0-9]{6})<`)
	proved := wang.say("/wxgate/phone", `{"phone":"13800138000","code":"`+code+`"}`)
	var answer struct{ User struct{ ID string } }
	if err := json.Unmarshal([]byte(proved.body), &answer); err != nil || proved.StatusCode != http.StatusOK {
		t.Fatalf("the code: %s %s", proved.Status, proved.body)
	}
	for end := time.Now().Add(gatewayStart); ; time.Sleep(10 * time.Millisecond) {
		if got := d.shop.Orders(answer.User.ID); len(got) == 1 && got[0].Number == order {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("orders of %s: %+v, want %s", answer.User.ID, d.shop.Orders(answer.User.ID), order)
		}
	}
}
