package wechattest_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const (
	miniID   = "wx2222222222222222"
	mobileID = "wx4444444444444444"
)

// startMini adds a mini program and a mobile app, and gives li a phone.
func startMini(t *testing.T, li wechattest.Person) *platform {
	t.Helper()
	li.Name = "li"
	p := start(t, li)
	p.SetApp(wechattest.App{ID: miniID, Secret: secret, OpenPlatform: "shop", MiniProgram: true})
	p.SetApp(wechattest.App{ID: mobileID, Secret: secret, OpenPlatform: "shop", Mobile: true})
	return p
}

func (p *platform) code2Session(code string) reply {
	p.Helper()
	return p.get(wechattest.Code2Session, "appid", miniID, "secret", secret, "js_code", code, "grant_type", "authorization_code")
}

// serverToken is a token of an app.
func (p *platform) serverToken(appID string) string {
	p.Helper()
	token, _ := p.post(wechattest.StableToken, "", stableBody(appID, secret, false))["access_token"].(string)
	if token == "" {
		p.Fatal("no token")
	}
	return token
}

func (p *platform) phone(token, code, openID string) reply {
	p.Helper()
	return p.post(wechattest.PhoneNumber, "access_token="+token, fmt.Sprintf(`{"code":%q,"openid":%q}`, code, openID))
}

// checkKey asks whether a session_key is alive.
func (p *platform) checkKey(key string) int {
	p.Helper()
	mac := hmac.New(sha256.New, []byte(key))
	return p.get(wechattest.CheckSession, "access_token", p.serverToken(miniID), "openid", p.OpenID("li", miniID),
		"sig_method", "hmac_sha256", "signature", hex.EncodeToString(mac.Sum(nil))).code()
}

// decrypt opens what WeChat has encrypted on the phone; nil if the key is
// another.
func decrypt(t *testing.T, key, encrypted, iv string) map[string]any {
	t.Helper()
	bytes := func(text string) []byte {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	block, err := aes.NewCipher(bytes(key))
	if err != nil {
		t.Fatal(err)
	}
	text := bytes(encrypted)
	cipher.NewCBCDecrypter(block, bytes(iv)).CryptBlocks(text, text)
	pad := int(text[len(text)-1])
	var data map[string]any
	if pad > len(text) || json.Unmarshal(text[:len(text)-pad], &data) != nil {
		return nil
	}
	return data
}

func TestMiniLoginTellsWhoItIsOnce(t *testing.T) {
	p := startMini(t, wechattest.Person{})
	code := p.MiniLogin("li", miniID)
	r := p.code2Session(code)
	key, _ := r["session_key"].(string)
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != 16 {
		t.Errorf("session_key %q", key)
	}
	delete(r, "session_key")
	want := reply{"openid": p.OpenID("li", miniID), "unionid": p.UnionID("li", shopID)}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if got := p.code2Session(code).code(); got != 40163 {
		t.Errorf("second use: errcode %d, want 40163", got)
	}
}

func TestMiniLoginRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		app   wechattest.App // changes to the mini program
		query []string       // changes to the query
		late  time.Duration
		want  int
	}{
		"in time":          {late: 5 * time.Minute, want: 0},
		"too late":         {late: 5*time.Minute + time.Second, want: 40029},
		"no code":          {query: []string{"js_code", ""}, want: 41008},
		"invented code":    {query: []string{"js_code", "0abc"}, want: 40029},
		"another app":      {query: []string{"appid", mobileID}, want: 40013},
		"unknown app":      {query: []string{"appid", "wx0"}, want: 40013},
		"wrong secret":     {query: []string{"secret", "x"}, want: 40125},
		"wrong grant type": {query: []string{"grant_type", "x"}, want: 40002},
		"foreign address":  {app: wechattest.App{AllowedIPs: []string{"192.0.2.1"}}, want: 40164},
		"frozen secret":    {app: wechattest.App{SecretFrozen: true}, want: 40243},
	} {
		t.Run(name, func(t *testing.T) {
			p := startMini(t, wechattest.Person{})
			c.app.ID, c.app.Secret, c.app.MiniProgram = miniID, secret, true
			p.SetApp(c.app)
			query := map[string]string{
				"appid": miniID, "secret": secret, "js_code": p.MiniLogin("li", miniID), "grant_type": "authorization_code",
			}
			for i := 0; i < len(c.query); i += 2 {
				query[c.query[i]] = c.query[i+1]
			}
			p.clock.Advance(c.late)
			var pairs []string
			for k, v := range query {
				pairs = append(pairs, k, v)
			}
			if got := p.get(wechattest.Code2Session, pairs...).code(); got != c.want {
				t.Errorf("errcode %d, want %d", got, c.want)
			}
		})
	}
}

func TestBlockedPersonCannotLogIn(t *testing.T) {
	p := startMini(t, wechattest.Person{Blocked: true})
	if got := p.code2Session(p.MiniLogin("li", miniID)).code(); got != 40226 {
		t.Errorf("errcode %d, want 40226", got)
	}
}

func TestHundredLoginsAMinute(t *testing.T) {
	p := startMini(t, wechattest.Person{})
	for range 100 {
		if got := p.code2Session(p.MiniLogin("li", miniID)).code(); got != 0 {
			t.Fatalf("errcode %d", got)
		}
	}
	code := p.MiniLogin("li", miniID)
	if got := p.code2Session(code).code(); got != 45011 {
		t.Errorf("errcode %d, want 45011", got)
	}
	p.clock.Advance(time.Minute)
	if got := p.code2Session(code).code(); got != 0 {
		t.Errorf("a minute later: errcode %d", got)
	}
}

func TestNewLoginCodeReplacesTheSessionKey(t *testing.T) {
	p := startMini(t, wechattest.Person{Phone: "13800138001"})
	first, _ := p.code2Session(p.MiniLogin("li", miniID))["session_key"].(string)
	if got := p.checkKey(first); got != 0 {
		t.Errorf("the key of the last code: errcode %d", got)
	}
	before := p.MiniPhone("li", miniID)
	p.MiniLogin("li", miniID)
	if got := p.checkKey(first); got != 87009 {
		t.Errorf("after a new code: errcode %d, want 87009", got)
	}
	after := p.MiniPhone("li", miniID)
	if decrypt(t, first, before.EncryptedData, before.IV) == nil || decrypt(t, first, after.EncryptedData, after.IV) != nil {
		t.Error("data must be encrypted with the key of its time")
	}
}

func TestPhoneNumberByCode(t *testing.T) {
	p := startMini(t, wechattest.Person{Phone: "13800138001"})
	token, openID := p.serverToken(miniID), p.OpenID("li", miniID)
	stamp := map[string]any{"timestamp": float64(p.clock.Now().Unix()), "appid": miniID}
	for _, country := range []any{"86", 86.0} { // by turns
		got := p.phone(token, p.MiniPhone("li", miniID).Code, openID)
		want := map[string]any{"phoneNumber": "13800138001", "purePhoneNumber": "13800138001", "countryCode": country, "watermark": stamp}
		if diff := cmp.Diff(want, got["phone_info"]); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
	}
}

func TestForeignPhoneNumberHasItsCountry(t *testing.T) {
	p := startMini(t, wechattest.Person{Phone: "51234567", Country: "852"})
	info, _ := p.phone(p.serverToken(miniID), p.MiniPhone("li", miniID).Code, "")["phone_info"].(map[string]any)
	if info["phoneNumber"] != "+85251234567" || info["purePhoneNumber"] != "51234567" || info["countryCode"] != "852" {
		t.Errorf("answer %v", info)
	}
}

func TestPhoneCodeRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		use  func(p *platform, code string) reply
		want int
	}{
		"once": {func(p *platform, code string) reply {
			p.phone(p.serverToken(miniID), code, "")
			return p.phone(p.serverToken(miniID), code, "")
		}, 40029},
		"too late": {func(p *platform, code string) reply {
			p.clock.Advance(5*time.Minute + time.Second)
			return p.phone(p.serverToken(miniID), code, "")
		}, 40029},
		"of another person": {func(p *platform, code string) reply {
			return p.phone(p.serverToken(miniID), code, p.OpenID("han", miniID))
		}, 40003},
		"token of another app": {func(p *platform, code string) reply { return p.phone(p.serverToken(mobileID), code, "") }, 40029},
		"no token":             {func(p *platform, code string) reply { return p.phone("", code, "") }, 41001},
		"dead token": {func(p *platform, code string) reply {
			token := p.serverToken(miniID)
			p.RevokeTokens(miniID)
			return p.phone(token, code, "")
		}, 40001},
		"a login code": {func(p *platform, _ string) reply {
			return p.phone(p.serverToken(miniID), p.MiniLogin("li", miniID), "")
		}, 40029},
		"as a login code": {func(p *platform, code string) reply { return p.code2Session(code) }, 40029},
	} {
		t.Run(name, func(t *testing.T) {
			p := startMini(t, wechattest.Person{Phone: "13800138001"})
			if got := c.use(p, p.MiniPhone("li", miniID).Code).code(); got != c.want {
				t.Errorf("errcode %d, want %d", got, c.want)
			}
		})
	}
}

func TestPhoneIsNotGivenToEverybody(t *testing.T) {
	p := startMini(t, wechattest.Person{})
	if diff := cmp.Diff(wechattest.PhoneDetail{ErrMsg: "getPhoneNumber:fail user deny"}, p.MiniPhone("li", miniID)); diff != "" {
		t.Errorf("without a phone (-want +got):\n%s", diff)
	}
	p = startMini(t, wechattest.Person{Phone: "13800138001"})
	p.SetApp(wechattest.App{ID: miniID, Secret: secret, MiniProgram: true, NoPhoneQuota: true})
	if got := p.MiniPhone("li", miniID); got.ErrNo != 1400001 || got.Code != "" {
		t.Errorf("without a quota: %+v", got)
	}
}

func TestProfileIsAnonymousUnlessTheLibraryIsOld(t *testing.T) {
	for name, c := range map[string]struct {
		person           wechattest.Person
		nickname, avatar string
	}{
		"new library": {wechattest.Person{Nickname: "李雷", AvatarURL: "https://a.example/1"}, wechattest.AnonymousNickname, wechattest.AnonymousAvatar},
		"old library": {wechattest.Person{Nickname: "李雷", AvatarURL: "https://a.example/1", OldLibrary: true}, "李雷", "https://a.example/1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := startMini(t, c.person)
			key, _ := p.code2Session(p.MiniLogin("li", miniID))["session_key"].(string)
			got := p.MiniProfile("li", miniID)
			sum := sha1.Sum([]byte(got.RawData + key))
			if got.Signature != hex.EncodeToString(sum[:]) {
				t.Error("the signature does not fit")
			}
			data := decrypt(t, key, got.EncryptedData, got.IV)
			stamp, _ := data["watermark"].(map[string]any)
			if data["nickName"] != c.nickname || data["avatarUrl"] != c.avatar || stamp["appid"] != miniID || data["openId"] != nil {
				t.Errorf("data %v", data)
			}
		})
	}
}

func TestCodeOfAMobileApp(t *testing.T) {
	p := startMini(t, wechattest.Person{})
	exchange := func(code string) reply {
		return p.get(wechattest.ExchangeCode, "appid", mobileID, "secret", secret, "code", code, "grant_type", "authorization_code")
	}
	code := p.AppCode("li", mobileID)
	p.clock.Advance(10 * time.Minute)
	if r := exchange(code); r["openid"] != p.OpenID("li", mobileID) || r["unionid"] != p.UnionID("li", shopID) {
		t.Errorf("answer %v", r)
	}
	if got := exchange(code).code(); got != 40163 {
		t.Errorf("second use: errcode %d, want 40163", got)
	}
	code = p.AppCode("li", mobileID)
	p.clock.Advance(10*time.Minute + time.Second)
	if got := exchange(code).code(); got != 40029 {
		t.Errorf("after 10 minutes: errcode %d, want 40029", got)
	}
}

func TestRefreshTokenOfAMobileAppLivesLonger(t *testing.T) {
	p := startMini(t, wechattest.Person{})
	grant := p.get(wechattest.ExchangeCode, "appid", mobileID, "secret", secret, "code", p.AppCode("li", mobileID), "grant_type", "authorization_code")
	token, _ := grant["refresh_token"].(string)
	refresh := func() int {
		return p.get(wechattest.RefreshToken, "appid", mobileID, "grant_type", "refresh_token", "refresh_token", token).code()
	}
	p.clock.Advance(180 * 24 * time.Hour)
	if got := refresh(); got != 0 {
		t.Errorf("after 180 days: errcode %d", got)
	}
	p.clock.Advance(time.Second)
	if got := refresh(); got != 42002 {
		t.Errorf("after 180 days and a second: errcode %d, want 42002", got)
	}
}

func TestNobodyHasNoCode(t *testing.T) {
	p := startMini(t, wechattest.Person{})
	for name, got := range map[string]string{
		"stranger":        p.MiniLogin("zhao", miniID),
		"official":        p.MiniLogin("li", shopID),
		"app of stranger": p.AppCode("zhao", mobileID),
		"app of mini":     p.AppCode("li", miniID),
		"phone":           p.MiniPhone("li", shopID).ErrMsg,
		"profile":         p.MiniProfile("zhao", miniID).ErrMsg,
	} {
		if got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}
