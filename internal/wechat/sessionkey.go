package wechat

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// SessionKey is the session_key of a user of a mini program: the text of base64
// as WeChat sends it. It must not leave the server; printing it shows nothing.
type SessionKey string

// Format implements fmt.Formatter.
func (k SessionKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "REDACTED") }

// ErrUnreadable is data of a mini program that this session_key does not open,
// or that is not what it should be: why is not said, to nobody.
var ErrUnreadable = errors.New("wechat: data cannot be read with this session_key")

// MiniData is what a mini program hands over of a user, encrypted by WeChat on
// the phone.
type MiniData struct {
	AppID, OpenID string // whose it should be
	EncryptedData string
	IV            string
}

const (
	keySize = 16

	// Data is as old as the tap that brought it. Clocks may differ.
	dataLife = 10 * time.Minute
	dataSkew = 5 * time.Minute
)

// bytes are what data is encrypted with.
func (k SessionKey) bytes() ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(string(k))
	if err == nil && len(raw) != keySize {
		err = ErrUnreadable
	}
	return raw, err
}

// OpenPhone returns the phone number in d in the form of E.164, or
// ErrUnreadable.
func (k SessionKey) OpenPhone(d MiniData, now time.Time) (string, error) {
	var info phoneInfo
	if err := k.open(d, now, &info); err != nil || info.problem() != "" {
		return "", ErrUnreadable
	}
	return info.e164(), nil
}

// OpenProfile returns the profile in d, or ErrUnreadable. See Profile.Given for
// what it is worth.
func (k SessionKey) OpenProfile(d MiniData, now time.Time) (Profile, error) {
	var p struct {
		Nickname  text `json:"nickName"`
		AvatarURL text `json:"avatarUrl"`
	}
	if err := k.open(d, now, &p); err != nil {
		return Profile{}, err
	}
	return Profile{OpenID: d.OpenID, Nickname: string(p.Nickname), AvatarURL: string(p.AvatarURL)}, nil
}

// open decrypts d and checks for whom and when it was made.
func (k SessionKey) open(d MiniData, now time.Time, out any) error {
	plain, ok := k.decrypt(d)
	if !ok {
		return ErrUnreadable
	}
	var mark struct {
		OpenID    string    `json:"openId"`
		Watermark watermark `json:"watermark"`
	}
	if json.Unmarshal(plain, &mark) != nil || json.Unmarshal(plain, out) != nil {
		return ErrUnreadable
	}
	age := now.Sub(time.Unix(int64(mark.Watermark.Timestamp), 0))
	switch {
	case string(mark.Watermark.AppID) != d.AppID,
		mark.OpenID != "" && mark.OpenID != d.OpenID,
		age > dataLife, age < -dataSkew:
		return ErrUnreadable
	}
	return nil
}

// decrypt is AES-128-CBC with PKCS #7, as the platform documents it under "open
// data verification and decryption".
func (k SessionKey) decrypt(d MiniData) (plain []byte, ok bool) {
	key, err := k.bytes()
	if err != nil {
		return nil, false
	}
	iv, data := decodeBase64(d.IV), decodeBase64(d.EncryptedData)
	if len(iv) != aes.BlockSize || len(data) == 0 || len(data)%aes.BlockSize != 0 {
		return nil, false
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, false
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(data, data)
	pad := int(data[len(data)-1])
	if pad == 0 || pad > aes.BlockSize || !bytes.HasSuffix(data, bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, false
	}
	return data[:len(data)-pad], true
}

// decodeBase64 repairs what clients do to base64 on its way: a plus sign turns
// into a space, and long lines are broken. Nil is no base64.
func decodeBase64(text string) []byte {
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, " ", "+"))
	if err != nil {
		return nil
	}
	return raw
}

// Signed says whether WeChat has signed rawData, byte for byte. The key of the
// signature is the text of the session_key, not what it decodes to.
func (k SessionKey) Signed(rawData, signature string) bool {
	sum := sha1.Sum([]byte(rawData + string(k)))
	want := hex.EncodeToString(sum[:])
	return k != "" && subtle.ConstantTimeCompare([]byte(want), []byte(signature)) == 1
}
