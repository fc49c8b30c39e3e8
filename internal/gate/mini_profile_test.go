package gate

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// profile is what /me shows of what he gave here, "" for nothing.
func (m *mini) profile() string {
	m.rg.t.Helper()
	var said bearer
	got := m.request(http.MethodGet, "/wxgate/me", nil)
	must(m.rg.t, json.Unmarshal([]byte(got.body), &said))
	if said.Profile == nil {
		return ""
	}
	return said.Profile.Nickname + " " + said.Profile.Avatar
}

// give sends what a person has filled in.
func (m *mini) give(nickname, avatar string) answer {
	m.rg.t.Helper()
	got, _ := m.post("/wxgate/mini/profile", map[string]string{"nickname": nickname, "avatar": avatar})
	return got
}

// sendProfile sends what wx.getUserProfile tells.
func (m *mini) sendProfile(change func(map[string]string)) answer {
	m.rg.t.Helper()
	p := m.rg.wechat.MiniProfile(m.person, m.appID)
	fields := map[string]string{"encrypted_data": p.EncryptedData, "iv": p.IV, "raw_data": p.RawData, "signature": p.Signature}
	if change != nil {
		change(fields)
	}
	got, _ := m.post("/wxgate/mini/profile", fields)
	return got
}

// The picture of li's WeChat.
const liPicture = "https://thirdwx.qlogo.cn/mmopen/vi_32/li/132"

func oldLi() wechattest.Person {
	return wechattest.Person{Name: "li", Nickname: "李雷", AvatarURL: liPicture, OldLibrary: true}
}

func TestProfileIsShownToHimWhereHeGaveIt(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(oldLi())
	li.login("login")
	if got := li.profile(); got != "" {
		t.Errorf("before he gave any: %q", got)
	}
	got, said := li.post("/wxgate/mini/profile", map[string]string{"nickname": " 李\u0000雷\u202e ", "avatar": "https://shop.example/li.png"})
	if got.StatusCode != http.StatusOK || said.Profile == nil || said.Profile.Nickname != "李雷" || said.User.Kind != "member" || said.Session != "" {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if got := li.profile(); got != "李雷 https://shop.example/li.png" {
		t.Errorf("he is shown %q", got)
	}
	other := rg.miniOf(oldLi())
	other.appID = testOtherMiniID
	other.login("")
	if got := other.profile(); got != "" {
		t.Errorf("in another mini program he is shown %q", got)
	}
	wang := rg.miniOf(wechattest.Person{Name: "wang"})
	wang.login("")
	if got := wang.profile(); got != "" {
		t.Errorf("somebody else is shown %q", got)
	}
	h5 := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	h5.tapLogin(h5.get("/me/orders"))
	if page := h5.fetch(http.MethodGet, "/wxgate/me"); strings.Contains(page.body, "李雷") {
		t.Errorf("a page is shown %s", page.body)
	}
	li.request(http.MethodPost, "/wxgate/logout", nil)
	li.login("")
	if got := li.profile(); got != "" {
		t.Errorf("after a logout: %q", got)
	}
}

func TestProfileThatWeChatHasSigned(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(oldLi())
	li.login("login")
	if got := li.sendProfile(nil); got.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if got := li.profile(); got != "李雷 "+liPicture {
		t.Errorf("he is shown %q", got)
	}
	rg.wechat.AddPerson(wechattest.Person{Name: "li"}) // a new library tells nothing
	if got := li.sendProfile(nil); got.StatusCode != http.StatusOK {
		t.Errorf("anonymous: %d %s", got.StatusCode, got.body)
	}
	if got := li.profile(); got != "李雷 "+liPicture {
		t.Errorf("after an anonymous one he is shown %q", got)
	}
	if got := li.give(wechattest.AnonymousNickname, wechattest.AnonymousAvatar); got.StatusCode != http.StatusOK || li.profile() != "李雷 "+liPicture {
		t.Errorf("filled in by a program: %d, %q", got.StatusCode, li.profile())
	}
}

func TestProfilesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		send   func(*rig, *mini) answer
		status int
		code   string
	}{
		"raw data changed": {func(_ *rig, m *mini) answer {
			return m.sendProfile(func(f map[string]string) { f["raw_data"] += " " })
		}, 422, "session_key_lost"},
		"signature missing": {func(_ *rig, m *mini) answer {
			return m.sendProfile(func(f map[string]string) { delete(f, "signature") })
		}, 422, "session_key_lost"},
		"data missing": {func(_ *rig, m *mini) answer {
			return m.sendProfile(func(f map[string]string) { delete(f, "encrypted_data") })
		}, 422, "session_key_lost"},
		"data of somebody else": {func(rg *rig, m *mini) answer {
			wang := rg.miniOf(wechattest.Person{Name: "wang"})
			wang.login("")
			p := rg.wechat.MiniProfile("wang", testMiniID)
			return m.sendProfile(func(f map[string]string) { f["encrypted_data"], f["iv"] = p.EncryptedData, p.IV })
		}, 422, "session_key_lost"},
		"another key": {func(rg *rig, m *mini) answer {
			m.code()
			m.code()
			return m.sendProfile(nil)
		}, 422, "session_key_lost"},
		"a script for a picture": {func(_ *rig, m *mini) answer { return m.give("", "javascript:alert(1)") }, 400, "malformed"},
		"no host":                {func(_ *rig, m *mini) answer { return m.give("", "https:///a.png") }, 400, "malformed"},
		"a file of the phone":    {func(_ *rig, m *mini) answer { return m.give("", "wxfile://tmp_1.png") }, 400, "malformed"},
		"a long name":            {func(_ *rig, m *mini) answer { return m.give(strings.Repeat("李", 65), "") }, 400, "malformed"},
		"a long picture":         {func(_ *rig, m *mini) answer { return m.give("", "https://a.example/"+strings.Repeat("x", 1024)) }, 400, "malformed"},
		"no session": {func(_ *rig, m *mini) answer {
			m.token = ""
			return m.give("Li", "")
		}, 401, "session_expired"},
		"no JSON": {func(_ *rig, m *mini) answer { return m.request(http.MethodPost, "/wxgate/mini/profile", nil) }, 400, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withMini)
			li := rg.miniOf(oldLi())
			li.login("login")
			token := li.token
			if got := c.send(rg, li); !is(got, c.status, c.code) {
				t.Errorf("%d %s, want %d %s", got.StatusCode, got.body, c.status, c.code)
			}
			li.token = token
			if got := li.profile(); got != "" {
				t.Errorf("he is shown %q", got)
			}
		})
	}
}
