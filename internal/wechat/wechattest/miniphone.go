package wechattest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
)

// What wx.getUserProfile shows of nearly everybody since 2022.
const (
	AnonymousNickname = "微信用户"
	AnonymousAvatar   = "https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/132"
)

// PhoneDetail is e.detail of bindgetphonenumber. On a refusal there is neither
// a code nor data.
type PhoneDetail struct {
	ErrMsg        string `json:"errMsg"`
	ErrNo         int    `json:"errno,omitempty"`
	Code          string `json:"code,omitempty"` // for getuserphonenumber: 5 minutes, one use
	EncryptedData string `json:"encryptedData,omitempty"`
	IV            string `json:"iv,omitempty"`
}

// UserProfile is what wx.getUserProfile tells.
type UserProfile struct {
	ErrMsg        string          `json:"errMsg"`
	UserInfo      json.RawMessage `json:"userInfo,omitempty"`
	RawData       string          `json:"rawData,omitempty"`
	Signature     string          `json:"signature,omitempty"`
	EncryptedData string          `json:"encryptedData,omitempty"`
	IV            string          `json:"iv,omitempty"`
}

// MiniPhone is a tap on <button open-type="getPhoneNumber">. A person without a
// phone refuses; the zero PhoneDetail means that there is no such person or
// mini program.
func (s *Server) MiniPhone(person, appID string) PhoneDetail {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.inMiniProgram(person, appID) {
		return PhoneDetail{}
	}
	p := *s.person(person)
	switch {
	case p.Phone == "":
		return PhoneDetail{ErrMsg: "getPhoneNumber:fail user deny"}
	case s.apps[appID].NoPhoneQuota:
		return PhoneDetail{ErrMsg: "getPhoneNumber:fail no quota", ErrNo: 1400001}
	}
	u := miniUser{person, appID}
	raw := make([]byte, 32)
	rand.Read(raw)
	d := PhoneDetail{ErrMsg: "getPhoneNumber:ok", Code: s.miniCode(hex.EncodeToString(raw), u, scopeMiniPhone)}
	d.EncryptedData, d.IV = s.encrypt(u, s.phoneInfo(p, appID, false))
	return d
}

// MiniProfile is wx.getUserProfile, which a person always consents to. The zero
// UserProfile means that there is no such person or mini program.
func (s *Server) MiniProfile(person, appID string) UserProfile {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.inMiniProgram(person, appID) {
		return UserProfile{}
	}
	p, u := *s.person(person), miniUser{person, appID}
	info := answer{
		"nickName": AnonymousNickname, "avatarUrl": AnonymousAvatar, "gender": 0, "language": "zh_CN",
		"city": "", "province": "", "country": "",
	}
	if p.OldLibrary {
		info["nickName"], info["avatarUrl"] = p.Nickname, p.AvatarURL
	} else {
		info["is_demote"] = true
	}
	raw := mustJSON(info)
	sum := sha1.Sum([]byte(string(raw) + s.sessionKey(u)))
	profile := UserProfile{
		ErrMsg: "getUserProfile:ok", UserInfo: raw, RawData: string(raw), Signature: hex.EncodeToString(sum[:]),
	}
	info["watermark"] = s.watermark(appID)
	profile.EncryptedData, profile.IV = s.encrypt(u, info)
	return profile
}

// phoneInfo is a number as the platform tells it: that of another country has
// its prefix in phoneNumber.
func (s *Server) phoneInfo(p Person, appID string, numeric bool) answer {
	country, number := p.Country, p.Phone
	if country == "" {
		country = "86"
	}
	a := answer{"phoneNumber": number, "purePhoneNumber": number, "countryCode": country, "watermark": s.watermark(appID)}
	if country != "86" {
		a["phoneNumber"] = "+" + country + number
	}
	if digits, err := strconv.Atoi(country); err == nil && numeric {
		a["countryCode"] = digits
	}
	return a
}

func (s *Server) watermark(appID string) answer {
	return answer{"timestamp": s.now().Unix(), "appid": appID}
}

// encrypt is what WeChat does on the phone: AES-128-CBC under the session_key's
// bytes, PKCS #7. The caller holds mu.
func (s *Server) encrypt(u miniUser, data answer) (encrypted, iv string) {
	key, err := base64.StdEncoding.DecodeString(s.sessionKey(u))
	if err != nil {
		panic(err) // our own key
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // 16 bytes
	}
	text := mustJSON(data)
	pad := aes.BlockSize - len(text)%aes.BlockSize
	for range pad {
		text = append(text, byte(pad))
	}
	random := make([]byte, aes.BlockSize)
	rand.Read(random)
	cipher.NewCBCEncrypter(block, random).CryptBlocks(text, text)
	return base64.StdEncoding.EncodeToString(text), base64.StdEncoding.EncodeToString(random)
}

func mustJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	return raw
}
