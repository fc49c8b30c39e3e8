package main

import (
	"slices"
	"time"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// choice is one entry of a menu of the control page.
type choice struct {
	Value            string
	Chinese, English string
}

// value is what a form sends for a choice.
func (c choice) value() string { return c.Value }

// faultChoice is a way in which an answer goes wrong.
type faultChoice struct {
	choice
	fault wechattest.Fault
}

// index finds the choice that a form has sent.
func index[C interface{ value() string }](choices []C, value string) (int, bool) {
	i := slices.IndexFunc(choices, func(c C) bool { return c.value() == value })
	return i, i >= 0
}

// consents are in the order of wechattest.Consent.
func consents() []choice {
	return []choice{
		{"ask", "由我点按", "I tap the buttons myself"},
		{"accept", "马上同意", "consents at once"},
		{"refuse", "马上拒绝", "refuses at once"},
	}
}

// refusals are in the order of wechattest.Refusal.
func refusals() []choice {
	return []choice{
		{"stay", "停在原页，没有回调", "nothing comes back, as WeChat mostly does"},
		{"state", "回调，只有 state", "back with state only"},
		{"authdeny", "回调，code=authdeny", "back with code=authdeny"},
	}
}

// snapshots are in the order of wechattest.Snapshot.
func snapshots() []choice {
	return []choice{
		{"off", "正常页面", "the real page"},
		{"on", "快照页", "snapshot page"},
		{"unflagged", "快照页，但没有标记", "snapshot page without the flag"},
		{"real", "有快照标记，但 openid 是真的", "snapshot flag with the real openid"},
	}
}

// delays are in seconds.
func delays() []choice {
	return []choice{
		{"0", "立即", "at once"},
		{"3", "3 秒后", "after 3 s"},
		{"20", "20 秒后", "after 20 s"},
	}
}

// apis are the calls of the gateway, by path.
func apis() []choice {
	return []choice{
		{string(wechattest.ExchangeCode), "换取 openid", "code exchange"},
		{string(wechattest.UserInfo), "用户信息", "user info"},
		{string(wechattest.Code2Session), "小程序登录", "mini-program login"},
		{string(wechattest.PhoneNumber), "手机号", "phone number"},
		{string(wechattest.StableToken), "服务器凭证", "server token"},
		{string(wechattest.Follower), "关注者信息", "follower info"},
	}
}

func faults() []faultChoice {
	return []faultChoice{
		{choice{"busy", "系统繁忙 -1", "system busy"}, wechattest.ErrCode(-1)},
		{choice{"limit", "调用太频繁 45011", "rate limit"}, wechattest.ErrCode(45011)},
		{choice{"spent", "code 已使用 40163", "code was used"}, wechattest.ErrCode(40163)},
		{choice{"invalid", "code 无效 40029", "code is invalid"}, wechattest.ErrCode(40029)},
		{choice{"blocked", "用户受限 50002", "user is limited"}, wechattest.ErrCode(50002)},
		{choice{"risk", "高风险用户 40226", "user is high-risk"}, wechattest.ErrCode(40226)},
		{choice{"secret", "AppSecret 错误 40125", "wrong AppSecret"}, wechattest.ErrCode(40125)},
		{choice{"ip", "IP 不在白名单 40164", "address is not on the whitelist"}, wechattest.ErrCode(40164)},
		{choice{"slow", "慢 3 秒", "3 s late"}, wechattest.Delay(3 * time.Second)},
		{choice{"late", "慢 30 秒", "30 s late"}, wechattest.Delay(30 * time.Second)},
		{choice{"hang", "不回答，但 code 已用掉", "no answer, and the code is spent"}, wechattest.HangAfterEffect()},
		{choice{"gateway", "HTTP 502", "bad gateway"}, wechattest.BadGateway()},
		{choice{"html", "返回 HTML", "an HTML page"}, wechattest.HTMLPage()},
		{choice{"json", "JSON 不完整", "JSON that breaks off"}, wechattest.WrongJSON()},
		{choice{"empty", "空回答", "an empty answer"}, wechattest.EmptyBody()},
		{choice{"openid", "没有 openid", "no openid"}, wechattest.EmptyOpenID()},
		{choice{"huge", "1 MB 的回答", "a megabyte"}, wechattest.HugeBody()},
	}
}
