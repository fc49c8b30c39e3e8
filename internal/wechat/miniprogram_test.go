package wechat_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// owner is a person in the mini program.
func (w *world) owner(person string) wechat.Owner {
	return wechat.Owner{App: mini(), OpenID: w.OpenID(person, miniID)}
}

func TestCode2SessionTellsWhoItIs(t *testing.T) {
	w := newWorld(t)
	got, err := w.client.Code2Session(t.Context(), mini(), w.MiniLogin("li", miniID))
	if err != nil || got.OpenID != w.OpenID("li", miniID) || got.UnionID != w.UnionID("li", miniID) {
		t.Fatalf("openid %q, unionid %q, %v", got.OpenID, got.UnionID, err)
	}
	d := w.MiniPhone("li", miniID)
	phone, err := got.Key.OpenPhone(wechat.MiniData{
		AppID: miniID, OpenID: got.OpenID, EncryptedData: d.EncryptedData, IV: d.IV,
	}, time.Now())
	if phone != "+8613800138001" {
		t.Errorf("the key opens %q, %v", phone, err)
	}
	w.SetApp(wechattest.App{ID: miniID, Secret: secret, MiniProgram: true})
	if got, err := w.client.Code2Session(t.Context(), mini(), w.MiniLogin("li", miniID)); err != nil || got.UnionID != "" {
		t.Errorf("of an app bound to nothing: unionid %q, %v", got.UnionID, err)
	}
}

// Answers of a login that must not pass for one.
func TestCode2SessionAnswersThatLack(t *testing.T) {
	for name, c := range map[string]struct {
		fault wechattest.Fault
		ok    bool
	}{
		"no openid":         {wechattest.EmptyOpenID(), false},
		"no key":            {wechattest.Fault{Set: map[string]any{"session_key": nil}}, false},
		"a short key":       {wechattest.Fault{Set: map[string]any{"session_key": "aGVsbG8="}}, false},
		"no base64":         {wechattest.Fault{Set: map[string]any{"session_key": "*"}}, false},
		"a mangled unionid": {wechattest.Fault{Set: map[string]any{"unionid": "a b"}}, false},
		"HTML":              {wechattest.HTMLPage(), false},
		"errcode 0":         {wechattest.Fault{Set: map[string]any{"errcode": 0, "errmsg": "ok", "expires_in": 7200}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Fail(wechattest.Code2Session, 1, c.fault)
			_, err := w.client.Code2Session(t.Context(), mini(), w.MiniLogin("li", miniID))
			if c.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, wechat.ErrUnavailable)
		})
	}
}

func TestPhoneNumberIsThatOfTheOwner(t *testing.T) {
	w := newWorld(t)
	w.AddPerson(wechattest.Person{Name: "zhao", Phone: "51234567", Country: "852"})
	for range 2 { // the country by turns as a string and as a number
		if got, err := w.client.PhoneNumber(t.Context(), w.owner("li"), w.MiniPhone("li", miniID).Code); got != "+8613800138001" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if got, err := w.client.PhoneNumber(t.Context(), w.owner("zhao"), w.MiniPhone("zhao", miniID).Code); got != "+85251234567" {
		t.Errorf("%q, %v", got, err)
	}
	_, err := w.client.PhoneNumber(t.Context(), w.owner("li"), w.MiniPhone("zhao", miniID).Code)
	wantError(t, err, wechat.ErrCode)
}

func TestPhoneOfAnotherAppIsRefused(t *testing.T) {
	w := newWorld(t)
	w.Fail(wechattest.PhoneNumber, 1, wechattest.Fault{Set: map[string]any{"phone_info": map[string]any{
		"purePhoneNumber": "13800138001", "countryCode": "86", "watermark": map[string]any{"appid": shopID, "timestamp": 1},
	}}})
	_, err := w.client.PhoneNumber(t.Context(), w.owner("li"), w.MiniPhone("li", miniID).Code)
	wantError(t, err, wechat.ErrUnavailable)
}

// A dead token has not spent the code.
func TestPhoneNumberHealsADeadTokenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.client.PhoneNumber(t.Context(), w.owner("li"), w.MiniPhone("li", miniID).Code); err != nil {
			t.Fatal(err)
		}
		w.RevokeTokens(miniID)
		time.Sleep(time.Minute)
		if got, err := w.client.PhoneNumber(t.Context(), w.owner("li"), w.MiniPhone("li", miniID).Code); got == "" {
			t.Errorf("not healed: %v", err)
		}
		wantCount(t, w.Server, wechattest.PhoneNumber, 3)
	})
}

// What the platform has not answered in time may have been spent.
func TestCodesOfMiniProgramsAreNotSentAgain(t *testing.T) {
	for api, call := range map[wechattest.API]func(*world) error{
		wechattest.Code2Session: calls()[wechattest.Code2Session],
		wechattest.PhoneNumber:  calls()[wechattest.PhoneNumber],
	} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Fail(api, wechattest.Forever, wechattest.HangAfterEffect())
				wantError(t, call(w), wechat.ErrUnavailable)
				wantCount(t, w.Server, api, 1)
			})
		})
	}
}

func TestWhatCannotBeACodeIsNotSent(t *testing.T) {
	w := newWorld(t)
	for _, code := range []string{"", "a b", "a/b", "\n"} {
		_, err := w.client.Code2Session(t.Context(), mini(), code)
		wantError(t, err, wechat.ErrCode)
		_, err = w.client.PhoneNumber(t.Context(), w.owner("li"), code)
		wantError(t, err, wechat.ErrCode)
	}
	if n := len(w.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// A limit of one user must not pause the others' logins.
func TestMinuteLimitOfMiniLoginsPausesNothing(t *testing.T) {
	w := newWorld(t)
	w.Fail(wechattest.Code2Session, 1, wechattest.ErrCode(wechat.CodeMinuteLimit))
	_, err := w.client.Code2Session(t.Context(), mini(), w.MiniLogin("li", miniID))
	wantError(t, err, wechat.ErrBusy)
	if _, err := w.client.Code2Session(t.Context(), mini(), w.MiniLogin("wang", miniID)); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}
