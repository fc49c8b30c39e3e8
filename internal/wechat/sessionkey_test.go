package wechat

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The vector of WeChat's documentation of open data, as its samples for several
// languages have it.
const (
	sampleAppID = "wx4f4bc4dec97d474b"
	sampleKey   = "tiihtNczf5v6AKRyjwEUhQ=="
	sampleIV    = "r7BXXKkLb8qrSNn05n0qiA=="
	sampleOpen  = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
	sampleData  = "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC+oNPdbB+" +
		"3hVbJSRgv+4lGOETKUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poOFtnEtpyxVLW1zAo6/1Xx1COxFvrc2d7UL/lm" +
		"HInNlxuacJXwu0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8xz+W//FRAUid1OksQaQx4CMs8LOddcQhULW4ucetDf96JcR3g0gfRK4PC7E/r7Z6" +
		"xNrXd2UIeorGj5Ef7b1pJAYB6Y5anaHqZ9J6nKEBvB4DnNLIVWSgARns/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNHR1Vf7XjfhQlVsAJdNiKd" +
		"YmYVoKlaRv85IfVunYzO0IKXsyl7JCUjCpoG20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOyuxINew=="
)

// sampleTime is the time of the vector's watermark.
func sampleTime() time.Time { return time.Unix(1477314187, 0) }

func sample() MiniData {
	return MiniData{AppID: sampleAppID, OpenID: sampleOpen, EncryptedData: sampleData, IV: sampleIV}
}

func TestProfileOfTheOfficialSample(t *testing.T) {
	got, err := SessionKey(sampleKey).OpenProfile(sample(), sampleTime())
	if err != nil {
		t.Fatal(err)
	}
	want := Profile{
		OpenID: sampleOpen, Nickname: "Band",
		AvatarURL: "http://wx.qlogo.cn/mmopen/vi_32/aSKcBBPpibyKNicHNTMM0qJVh8Kjgiak2AHWr8MHM4WgMEm7GFhsf8OYrySdbvAMvTsw3mo8ibKicsnfN5pRjl1p8HQ/0",
	}
	if got != want { // a Profile prints nothing of itself
		t.Errorf("nickname %q, avatar %q", got.Nickname, got.AvatarURL)
	}
}

func TestDataThatIsNotMeantOrNotFreshIsUnreadable(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*MiniData)
		key    SessionKey
		late   time.Duration
		ok     bool
	}{
		"as it is":           {ok: true},
		"ten minutes old":    {late: 10 * time.Minute, ok: true},
		"older":              {late: 10*time.Minute + time.Second},
		"a clock that lags":  {late: -5 * time.Minute, ok: true},
		"from the future":    {late: -5*time.Minute - time.Second},
		"another app":        {change: func(d *MiniData) { d.AppID = "wx1111111111111111" }},
		"another user":       {change: func(d *MiniData) { d.OpenID = "o-somebody-else" }},
		"another key":        {key: "HyVFkGl5F5OQWJZZaNzBBg=="},
		"a short key":        {key: "HyVFkGl5F5OQ"},
		"no key":             {key: "?"},
		"garbage in front":   {change: func(d *MiniData) { d.EncryptedData = "aaaa" + d.EncryptedData }},
		"a block in front":   {change: func(d *MiniData) { d.EncryptedData = strings.Repeat("a", 64) + d.EncryptedData }},
		"cut":                {change: func(d *MiniData) { d.EncryptedData = d.EncryptedData[:128] }},
		"no data":            {change: func(d *MiniData) { d.EncryptedData = "" }},
		"no base64":          {change: func(d *MiniData) { d.EncryptedData = "*" }},
		"no iv":              {change: func(d *MiniData) { d.IV = "" }},
		"a long iv":          {change: func(d *MiniData) { d.IV += d.IV }},
		"another iv":         {change: func(d *MiniData) { d.IV = "AAAAAAAAAAAAAAAAAAAAAA==" }},
		"spaces for plusses": {change: func(d *MiniData) { d.EncryptedData = strings.ReplaceAll(d.EncryptedData, "+", " ") }, ok: true},
		"broken lines":       {change: func(d *MiniData) { d.EncryptedData = d.EncryptedData[:76] + "\r\n" + d.EncryptedData[76:] }, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			d, key := sample(), SessionKey(sampleKey)
			if c.change != nil {
				c.change(&d)
			}
			if c.key != "" {
				key = c.key
			}
			_, err := key.OpenProfile(d, sampleTime().Add(c.late))
			if c.ok != (err == nil) || err != nil && err.Error() != ErrUnreadable.Error() {
				t.Errorf("error %v", err)
			}
		})
	}
}

// encrypt makes what WeChat would, with the sample's key.
func encrypt(t *testing.T, text string) MiniData {
	t.Helper()
	key, err := SessionKey(sampleKey).bytes()
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	pad := aes.BlockSize - len(text)%aes.BlockSize
	data := []byte(text + strings.Repeat(string(rune(pad)), pad))
	iv := make([]byte, aes.BlockSize)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)
	return MiniData{AppID: sampleAppID, OpenID: sampleOpen, EncryptedData: base64.StdEncoding.EncodeToString(data), IV: base64.StdEncoding.EncodeToString(iv)}
}

func TestPhoneOfEncryptedData(t *testing.T) {
	mark := fmt.Sprintf(`"watermark":{"timestamp":1477314187,"appid":%q}`, sampleAppID)
	for name, c := range map[string]struct{ text, want string }{
		"country as text":    {`{"phoneNumber":"13580006666","purePhoneNumber":"13580006666","countryCode":"86",` + mark + `}`, "+8613580006666"},
		"country as number":  {`{"phoneNumber":"13580006666","purePhoneNumber":"13580006666","countryCode":86,` + mark + `}`, "+8613580006666"},
		"of another country": {`{"phoneNumber":"+85251234567","purePhoneNumber":"51234567","countryCode":"852",` + mark + `}`, "+85251234567"},
		"no country":         {`{"purePhoneNumber":"13580006666",` + mark + `}`, ""},
		"null for a country": {`{"purePhoneNumber":"13580006666","countryCode":null,` + mark + `}`, ""},
		"no number":          {`{"countryCode":"86",` + mark + `}`, ""},
		"letters":            {`{"purePhoneNumber":"1358000666x","countryCode":"86",` + mark + `}`, ""},
		"no watermark":       {`{"purePhoneNumber":"13580006666","countryCode":"86"}`, ""},
		"no JSON":            {`13580006666`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := SessionKey(sampleKey).OpenPhone(encrypt(t, c.text), sampleTime())
			if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, ErrUnreadable) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestRawDataOfTheOfficialSampleIsSigned(t *testing.T) {
	const key = SessionKey("HyVFkGl5F5OQWJZZaNzBBg==")
	const raw = `{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong","country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpujxyzYsrztuuICqIM5ibXQ/0"}`
	const signature = "75e81ceda165f4ffa64f4068af58c64b8f54b88c"
	if !key.Signed(raw, signature) {
		t.Error("the official signature does not fit")
	}
	for name, wrong := range map[string]bool{
		"other data":     key.Signed(raw+" ", signature),
		"other key":      SessionKey(sampleKey).Signed(raw, signature),
		"no key":         SessionKey("").Signed("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
		"no signature":   key.Signed(raw, ""),
		"half signature": key.Signed(raw, signature[:20]),
	} {
		if wrong {
			t.Errorf("%s: signed", name)
		}
	}
}

func TestSessionKeyIsNotPrinted(t *testing.T) {
	m := MiniSession{OpenID: sampleOpen, UnionID: "ocMvos6NjeKLIBqg5Mr9QjxrP1FA", Key: sampleKey}
	text := fmt.Sprintf("%v %+v %#v %s %q %x %v", m, m, m, m.Key, m.Key, m.Key, []any{m, m.Key})
	for _, secret := range []string{sampleKey, fmt.Sprintf("%x", sampleKey), sampleOpen, m.UnionID} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is printed: %s", secret, text)
		}
	}
}

func TestProfileThatWasGiven(t *testing.T) {
	for name, c := range map[string]struct{ in, want [2]string }{
		"real":          {[2]string{"李雷", "https://wx.qlogo.cn/mmopen/vi_32/abc/132"}, [2]string{"李雷", "https://wx.qlogo.cn/mmopen/vi_32/abc/132"}},
		"anonymous":     {[2]string{"微信用户", "https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/132"}, [2]string{}},
		"only the name": {[2]string{"李雷", "https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/0"}, [2]string{"李雷"}},
		"placeholder":   {[2]string{"微信用户们", "https://mmbiz.qpic.cn/mmbiz/icTdbqWNOwNRna42FI242Lcia07jQodd2FJGIYQfG0LAJGFxM4FbnQP6yfMxBgJ0F3YRqJCJ1aPAK2dQagdusBZg/0"}, [2]string{"微信用户们"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Profile{Nickname: c.in[0], AvatarURL: c.in[1]}.Given()
			if diff := cmp.Diff(c.want, [2]string{got.Nickname, got.AvatarURL}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
