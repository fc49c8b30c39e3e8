package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/wxgate/wxgate/internal/sms"
)

// SMSAliyun sends codes with Aliyun's SMS service (阿里云短信服务).
//
// Caddyfile: `sms aliyun`
type SMSAliyun struct {
	// The AccessKey of a RAM user that may send messages. Required.
	//
	// Caddyfile: `access_key_id {env.SMS_ID}`
	AccessKeyID string `json:"access_key_id"`

	// The secret of that AccessKey. Required.
	//
	// Caddyfile: `access_key_secret {env.SMS_KEY}`
	AccessKeySecret Secret `json:"access_key_secret"`

	// The approved signature (签名) that messages begin with. Required.
	//
	// Caddyfile: `sign_name 山野茶铺`
	SignName string `json:"sign_name"`

	// The code of the approved template. Required.
	//
	// Caddyfile: `template SMS_154950909`
	Template string `json:"template"`

	// The template's variable for the code. Default: `code`.
	//
	// Caddyfile: `code_param number`
	CodeParam string `json:"code_param,omitempty"`

	// The region of the service. Default: `cn-hangzhou`.
	//
	// Caddyfile: `region ap-southeast-1`
	Region string `json:"region,omitempty"`

	// The address of the service. Default: `https://dysmsapi.aliyuncs.com/`.
	//
	// Caddyfile: `endpoint https://dysmsapi.ap-southeast-1.aliyuncs.com/`
	Endpoint string `json:"endpoint,omitempty"`

	sms.Sender `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (*SMSAliyun) CaddyModule() caddy.ModuleInfo {
	return smsModule("aliyun", func() caddy.Module { return new(SMSAliyun) })
}

func (c *SMSAliyun) options() []smsOption {
	return []smsOption{
		{name: "access_key_id", word: &c.AccessKeyID},
		{name: "access_key_secret", secret: &c.AccessKeySecret},
		{name: "sign_name", word: &c.SignName},
		{name: "template", word: &c.Template},
		{name: "code_param", word: &c.CodeParam},
		{name: "region", word: &c.Region},
		{name: "endpoint", word: &c.Endpoint},
	}
}

// UnmarshalCaddyfile reads the block after `sms aliyun`.
func (c *SMSAliyun) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return readCarrier(d, c.options())
}

// Provision checks that nothing is missing.
func (c *SMSAliyun) Provision(caddy.Context) error {
	err := expandCarrier("sms aliyun", c.options())
	if err != nil {
		return err
	}
	c.Sender, err = sms.NewAliyun(sms.AliyunConfig{
		AccessKeyID: c.AccessKeyID, AccessKeySecret: string(c.AccessKeySecret), SignName: c.SignName,
		TemplateCode: c.Template, CodeParam: c.CodeParam, Region: c.Region, Endpoint: c.Endpoint,
	})
	return err
}

// SMSTencent sends codes with Tencent Cloud's SMS service (腾讯云短信).
//
// Caddyfile: `sms tencent`
type SMSTencent struct {
	// The API key of a sub-user that may send messages. Required.
	//
	// Caddyfile: `secret_id {env.SMS_ID}`
	SecretID string `json:"secret_id"`

	// The secret of that API key. Required.
	//
	// Caddyfile: `secret_key {env.SMS_KEY}`
	SecretKey Secret `json:"secret_key"`

	// The SDK AppID of the SMS application. Required.
	//
	// Caddyfile: `sdk_app_id 1400006666`
	SDKAppID string `json:"sdk_app_id"`

	// The approved signature (签名) that messages begin with. Required.
	//
	// Caddyfile: `sign_name 山野茶铺`
	SignName string `json:"sign_name"`

	// The id of the approved template. Required.
	//
	// Caddyfile: `template 1110`
	Template string `json:"template"`

	// The template's variables in order: `code`, `minutes`, or texts. Default:
	// `code`.
	//
	// Caddyfile: `params code minutes`
	Params []string `json:"params,omitempty"`

	// Where signature and template exist. Default: `ap-guangzhou`.
	//
	// Caddyfile: `region ap-singapore`
	Region string `json:"region,omitempty"`

	// The address of the service. Default: `https://sms.tencentcloudapi.com/`.
	//
	// Caddyfile: `endpoint https://sms.ap-singapore.tencentcloudapi.com/`
	Endpoint string `json:"endpoint,omitempty"`

	sms.Sender `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (*SMSTencent) CaddyModule() caddy.ModuleInfo {
	return smsModule("tencent", func() caddy.Module { return new(SMSTencent) })
}

func (c *SMSTencent) options() []smsOption {
	return []smsOption{
		{name: "secret_id", word: &c.SecretID},
		{name: "secret_key", secret: &c.SecretKey},
		{name: "sdk_app_id", word: &c.SDKAppID},
		{name: "sign_name", word: &c.SignName},
		{name: "template", word: &c.Template},
		{name: "params", words: &c.Params},
		{name: "region", word: &c.Region},
		{name: "endpoint", word: &c.Endpoint},
	}
}

// UnmarshalCaddyfile reads the block after `sms tencent`.
func (c *SMSTencent) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return readCarrier(d, c.options())
}

// Provision checks that nothing is missing.
func (c *SMSTencent) Provision(caddy.Context) error {
	err := expandCarrier("sms tencent", c.options())
	if err != nil {
		return err
	}
	c.Sender, err = sms.NewTencent(sms.TencentConfig{
		SecretID: c.SecretID, SecretKey: string(c.SecretKey), SDKAppID: c.SDKAppID, SignName: c.SignName,
		TemplateID: c.Template, Params: c.Params, Region: c.Region, Endpoint: c.Endpoint,
	})
	return err
}

var (
	_ caddyfile.Unmarshaler = (*SMSAliyun)(nil)
	_ caddyfile.Unmarshaler = (*SMSTencent)(nil)
	_ caddy.Provisioner     = (*SMSAliyun)(nil)
	_ caddy.Provisioner     = (*SMSTencent)(nil)
)
