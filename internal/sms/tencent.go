package sms

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const tencent = "tencent"

// TencentConfig is what Tencent Cloud's console tells of an account.
type TencentConfig struct {
	SecretID   string
	SecretKey  string
	SDKAppID   string // digits
	SignName   string // of the messages, as approved
	TemplateID string // digits
	// Params are the template's variables in order: the words code and minutes
	// stand for the code and how long it is valid, others for themselves.
	// Default: code.
	Params   []string
	Region   string // default ap-guangzhou; signature and template have to exist there
	Endpoint string // default https://sms.tencentcloudapi.com/
}

// Tencent sends through Tencent Cloud's SendSms (version 2021-01-11), signed
// with TC3-HMAC-SHA256.
type Tencent struct {
	cfg    TencentConfig
	host   string
	client *http.Client
}

// NewTencent refuses a configuration that lacks something.
func NewTencent(cfg TencentConfig) (*Tencent, error) {
	if cfg.SecretID == "" || cfg.SecretKey == "" || cfg.SDKAppID == "" || cfg.SignName == "" || cfg.TemplateID == "" {
		return nil, errors.New("secret_id, secret_key, sdk_app_id, sign_name and template are needed")
	}
	setDefault(&cfg.Region, "ap-guangzhou")
	setDefault(&cfg.Endpoint, "https://sms.tencentcloudapi.com/")
	if len(cfg.Params) == 0 {
		cfg.Params = []string{"code"}
	}
	host, err := hostOf(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	return &Tencent{cfg: cfg, host: host, client: newClient()}, nil
}

type tencentMessage struct {
	PhoneNumberSet   []string
	SmsSdkAppId      string
	SignName         string
	TemplateId       string
	TemplateParamSet []string
}

// Send implements Sender.
func (t *Tencent) Send(ctx context.Context, m Message) error {
	msg := tencentMessage{
		PhoneNumberSet: []string{m.Phone}, SmsSdkAppId: t.cfg.SDKAppID,
		SignName: t.cfg.SignName, TemplateId: t.cfg.TemplateID,
	}
	for _, p := range t.cfg.Params {
		switch p {
		case "code":
			p = m.Code
		case "minutes":
			p = strconv.Itoa(int(m.ExpiresIn / time.Minute))
		}
		msg.TemplateParamSet = append(msg.TemplateParamSet, p)
	}
	payload, err := json.Marshal(msg)
	if err != nil {
		return &Error{Carrier: tencent, Reason: ReasonConfig, Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.cfg.Endpoint, bytes.NewReader(payload))
	if err != nil {
		return &Error{Carrier: tencent, Reason: ReasonConfig, Err: err}
	}
	call := tc3Call{host: t.host, service: "sms", payload: payload, time: time.Now()}
	call.setHeaders(req.Header)
	req.Header.Set("X-TC-Action", "SendSms")
	req.Header.Set("X-TC-Version", "2021-01-11")
	req.Header.Set("X-TC-Region", t.cfg.Region)
	req.Header.Set("Authorization", call.authorization(t.cfg.SecretID, t.cfg.SecretKey))
	body, err := post(t.client, req, tencent)
	if err != nil {
		return err
	}
	return readTencent(body)
}

// readTencent looks at both places where a refusal may stand: of the whole call
// and of the one number.
func readTencent(body []byte) error {
	var answer struct {
		Response struct {
			Error         struct{ Code string }
			SendStatusSet []struct{ Code string }
		}
	}
	if json.Unmarshal(body, &answer) != nil {
		return &Error{Carrier: tencent, Reason: ReasonUnsure}
	}
	code := answer.Response.Error.Code
	if code == "" && len(answer.Response.SendStatusSet) == 1 {
		code = answer.Response.SendStatusSet[0].Code
	}
	if code == "Ok" {
		return nil
	}
	return refused(tencent, code, tencentReason)
}

// tc3Call is what TC3-HMAC-SHA256 signs.
type tc3Call struct {
	host, service string
	payload       []byte
	time          time.Time
}

const tc3ContentType = "application/json; charset=utf-8"

func (c tc3Call) setHeaders(h http.Header) {
	h.Set("Content-Type", tc3ContentType)
	h.Set("X-TC-Timestamp", strconv.FormatInt(c.time.Unix(), 10))
}

// authorization is the header of that name.
func (c tc3Call) authorization(secretID, secretKey string) string {
	const signed = "content-type;host"
	canonical := strings.Join([]string{
		http.MethodPost, "/", "",
		"content-type:" + tc3ContentType, "host:" + c.host, "",
		signed, hexSHA256(c.payload),
	}, "\n")
	date := c.time.UTC().Format(time.DateOnly)
	scope := date + "/" + c.service + "/tc3_request"
	toSign := strings.Join([]string{"TC3-HMAC-SHA256", strconv.FormatInt(c.time.Unix(), 10), scope, hexSHA256([]byte(canonical))}, "\n")
	key := []byte("TC3" + secretKey)
	for _, part := range []string{date, c.service, "tc3_request"} {
		key = hmacSHA256(key, part)
	}
	return "TC3-HMAC-SHA256 Credential=" + secretID + "/" + scope + ", SignedHeaders=" + signed +
		", Signature=" + hex.EncodeToString(hmacSHA256(key, toSign))
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func hmacSHA256(key []byte, message string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(message))
	return mac.Sum(nil)
}

func tencentReason(code string) Reason {
	switch {
	case strings.HasPrefix(code, "LimitExceeded.PhoneNumber"), code == "LimitExceeded.DeliveryFrequencyLimit":
		return ReasonWait
	case code == "FailedOperation.PhoneNumberInBlacklist", code == "InvalidParameterValue.IncorrectPhoneNumber":
		return ReasonPhone
	case code == "InternalError.Timeout", code == "InternalError.SendAndRecvFail":
		return ReasonUnsure // may have been sent
	case strings.HasPrefix(code, "InternalError"), code == "RequestLimitExceeded":
		return ReasonBusy
	default:
		return ReasonConfig
	}
}
