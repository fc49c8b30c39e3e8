package sms

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const aliyun = "aliyun"

// AliyunConfig is what Aliyun's console tells of an account.
type AliyunConfig struct {
	AccessKeyID     string
	AccessKeySecret string
	SignName        string // of the messages, as approved
	TemplateCode    string // SMS_ and digits, as approved
	CodeParam       string // the template's variable for the code; default code
	Region          string // default cn-hangzhou
	Endpoint        string // default https://dysmsapi.aliyuncs.com/
}

// Aliyun sends through Aliyun's SendSms (version 2017-05-25), signed in the way
// of its RPC signature 1.0.
type Aliyun struct {
	cfg    AliyunConfig
	client *http.Client
}

// NewAliyun refuses a configuration that lacks something.
func NewAliyun(cfg AliyunConfig) (*Aliyun, error) {
	if cfg.AccessKeyID == "" || cfg.AccessKeySecret == "" || cfg.SignName == "" || cfg.TemplateCode == "" {
		return nil, errors.New("access_key_id, access_key_secret, sign_name and template are needed")
	}
	setDefault(&cfg.CodeParam, "code")
	setDefault(&cfg.Region, "cn-hangzhou")
	setDefault(&cfg.Endpoint, "https://dysmsapi.aliyuncs.com/")
	if _, err := hostOf(cfg.Endpoint); err != nil {
		return nil, err
	}
	return &Aliyun{cfg: cfg, client: newClient()}, nil
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// Send implements Sender.
func (a *Aliyun) Send(ctx context.Context, m Message) error {
	variables, err := json.Marshal(map[string]string{a.cfg.CodeParam: m.Code})
	if err != nil {
		return &Error{Carrier: aliyun, Reason: ReasonConfig, Err: err}
	}
	params := url.Values{
		"AccessKeyId": {a.cfg.AccessKeyID}, "Action": {"SendSms"}, "Format": {"JSON"}, "RegionId": {a.cfg.Region},
		"SignatureMethod": {"HMAC-SHA1"}, "SignatureNonce": {rand.Text()}, "SignatureVersion": {"1.0"},
		"Timestamp": {time.Now().UTC().Format("2006-01-02T15:04:05Z")}, "Version": {"2017-05-25"},
		"PhoneNumbers": {aliyunPhone(m.Phone)}, "SignName": {a.cfg.SignName}, "TemplateCode": {a.cfg.TemplateCode},
		"TemplateParam": {string(variables)},
	}
	params.Set("Signature", signAliyun(http.MethodPost, params, a.cfg.AccessKeySecret))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.cfg.Endpoint, strings.NewReader(params.Encode()))
	if err != nil {
		return &Error{Carrier: aliyun, Reason: ReasonConfig, Err: err}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	body, err := post(a.client, req, aliyun)
	if err != nil {
		return err
	}
	var answer struct{ Code string }
	if json.Unmarshal(body, &answer) != nil {
		return &Error{Carrier: aliyun, Reason: ReasonUnsure}
	}
	if answer.Code == "OK" {
		return nil
	}
	return refused(aliyun, answer.Code, aliyunReason)
}

// aliyunPhone writes numbers of China without their country and all others
// with it, without a plus.
func aliyunPhone(e164 string) string {
	if national, ok := strings.CutPrefix(e164, "+86"); ok {
		return national
	}
	return strings.TrimPrefix(e164, "+")
}

// signAliyun is the RPC signature 1.0: HMAC-SHA1 over the method, the path and
// the sorted parameters, each percent-encoded as in RFC 3986.
func signAliyun(method string, params url.Values, secret string) string {
	query := strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(params.Encode())
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	mac.Write([]byte(method + "&%2F&" + url.QueryEscape(query)))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func aliyunReason(code string) Reason {
	switch code {
	case "isv.BUSINESS_LIMIT_CONTROL":
		return ReasonWait
	case "isv.MOBILE_NUMBER_ILLEGAL", "isv.MOBILE_COUNT_OVER_LIMIT", "isv.BLACK_KEY_CONTROL_LIMIT":
		return ReasonPhone
	case "isp.SYSTEM_ERROR", "Throttling", "Throttling.User", "ServiceUnavailable", "InternalError":
		return ReasonBusy
	default: // money, credentials, templates, limits of the account
		return ReasonConfig
	}
}
