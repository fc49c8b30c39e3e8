package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/wxgate/wxgate/internal/gate"
	"github.com/wxgate/wxgate/internal/sms"
	"github.com/wxgate/wxgate/internal/webhook"
)

// smsNamespace holds the carriers of codes, guest modules of the App.
const smsNamespace = "wxgate.sms"

func init() {
	caddy.RegisterModule(new(SMSAliyun))
	caddy.RegisterModule(new(SMSTencent))
	caddy.RegisterModule(new(SMSWebhook))
	caddy.RegisterModule(new(SMSLog))
}

// smsModule is the module information of a carrier.
func smsModule(name string, fresh func() caddy.Module) caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: caddy.ModuleID(smsNamespace + "." + name), New: fresh}
}

// sms reads `sms <carrier>` and what the carrier makes of the rest.
//
//	sms aliyun {
//		access_key_id     <text>
//		access_key_secret <secret>
//		sign_name         <text>
//		template          <text>
//		code_param        <text>
//		region            <text>
//		endpoint          <url>
//	}
//	sms tencent {
//		secret_id         <text>
//		secret_key        <secret>
//		sdk_app_id        <digits>
//		sign_name         <text>
//		template          <digits>
//		params            <texts...>
//		region            <text>
//		endpoint          <url>
//	}
//	sms webhook <url> {
//		secret            <secret>        # repeatable
//	}
//	sms log
func (p *parser) sms(app *App) error {
	if err := p.once(p.Val(), app.SMSRaw != nil); err != nil {
		return err
	}
	var names []string
	for _, m := range caddy.GetModules(smsNamespace) {
		names = append(names, m.ID.Name())
	}
	var carrier string
	if err := p.args("sms "+strings.Join(names, "|"), &carrier); err != nil {
		return err
	}
	if !slices.Contains(names, carrier) {
		return p.Errf("unknown carrier '%s', expected %s", carrier, strings.Join(names, " or "))
	}
	mod, err := caddyfile.UnmarshalModule(p.Dispenser, smsNamespace+"."+carrier)
	if err != nil {
		return err
	}
	app.SMSRaw = caddyconfig.JSONModuleObject(mod, "carrier", carrier, nil)
	return nil
}

// newCarrier loads what sends codes, if anything does.
func (a *App) newCarrier(ctx caddy.Context) error {
	if a.SMSRaw == nil {
		return nil
	}
	mod, err := ctx.LoadModule(a, "SMSRaw")
	if err != nil {
		return fmt.Errorf("wxgate: sms: %w", err)
	}
	carrier, ok := mod.(sms.Sender)
	if !ok {
		return fmt.Errorf("wxgate: sms: %T sends no codes", mod)
	}
	a.carrier, a.metrics.carrier = carrier, mod.(caddy.Module).CaddyModule().ID.Name()
	return nil
}

// smsOption is an option of a carrier: one word, a secret, or several words.
type smsOption struct {
	name   string
	word   *string
	secret *Secret
	words  *[]string
}

// readCarrier reads the block of a carrier.
func readCarrier(d *caddyfile.Dispenser, options []smsOption) error {
	p := &parser{Dispenser: d}
	p.Next()
	if err := p.openBlock(false); err != nil {
		return err
	}
	return p.lines(func(name string) error {
		i := slices.IndexFunc(options, func(o smsOption) bool { return o.name == name })
		if i < 0 {
			return p.unknown(name)
		}
		switch o, usage := options[i], name+" <"+name+">"; {
		case o.word != nil:
			return p.value(usage, o.word)
		case o.secret != nil:
			return p.secret(usage, o.secret)
		default:
			return p.values(usage+"...", o.words)
		}
	})
}

// expandCarrier replaces placeholders. Errors begin with where.
func expandCarrier(where string, options []smsOption) error {
	e := expander{repl: caddy.NewReplacer(), where: where}
	for _, o := range options {
		switch {
		case o.word != nil:
			e.text(o.name, o.word)
		case o.secret != nil:
			e.secret(o.name, o.secret)
		default:
			e.texts(o.name, *o.words)
		}
	}
	return errors.Join(e.errs...)
}

// SMSWebhook lets your shop send the codes, with whatever carrier it has: see
// below.
//
// Caddyfile: `sms webhook https://shop.internal/wxgate/sms`
type SMSWebhook struct {
	// The URL that codes are posted to, http or https.
	URL string `json:"url"`

	// What the calls are signed with, as for `new_members`. Required.
	//
	// Caddyfile: `secret {env.HOOK_SECRET}`
	Secrets []Secret `json:"secrets"`

	endpoint *webhook.Endpoint
}

// CaddyModule returns the Caddy module information.
func (*SMSWebhook) CaddyModule() caddy.ModuleInfo {
	return smsModule("webhook", func() caddy.Module { return new(SMSWebhook) })
}

// UnmarshalCaddyfile reads what follows `sms webhook`.
func (c *SMSWebhook) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	p := &parser{Dispenser: d}
	p.Next()
	return p.shop("sms webhook <url>", &c.URL, &c.Secrets)
}

// Provision checks the URL and the secrets.
func (c *SMSWebhook) Provision(caddy.Context) error {
	options := []smsOption{{name: "webhook", word: &c.URL}}
	for i := range c.Secrets {
		options = append(options, smsOption{name: "secret", secret: &c.Secrets[i]})
	}
	err := expandCarrier("sms webhook", options)
	if err != nil {
		return err
	}
	c.endpoint, err = newEndpoint(c.URL, c.Secrets)
	return err
}

// Cleanup gives back idle connections.
func (c *SMSWebhook) Cleanup() error {
	if c.endpoint != nil {
		c.endpoint.Close()
	}
	return nil
}

// Send implements sms.Sender.
func (c *SMSWebhook) Send(ctx context.Context, m sms.Message) error {
	err := c.endpoint.SendCode(ctx, webhook.Code{
		Phone: m.Phone, Code: m.Code, Purpose: m.Purpose, ExpiresIn: int(m.ExpiresIn.Seconds()), Locale: m.Locale,
	})
	if err == nil {
		return nil
	}
	failed := &sms.Error{Carrier: "webhook", Reason: sms.Unanswered(err), Err: err}
	var refused *webhook.StatusError
	if errors.As(err, &refused) {
		failed.Reason, failed.Code = sms.ReasonConfig, fmt.Sprintf("status %d", refused.Status)
		if refused.Status >= 500 || refused.Status == http.StatusTooManyRequests {
			failed.Reason = sms.ReasonBusy
		}
	}
	return failed
}

// SMSLog writes codes to the log instead of sending them: for development
// alone, since whoever reads the log can log in as anybody. Next to a site on
// https it needs `sandbox on`.
//
// Caddyfile: `sms log`
type SMSLog struct {
	sms.Sender `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (*SMSLog) CaddyModule() caddy.ModuleInfo {
	return smsModule("log", func() caddy.Module { return new(SMSLog) })
}

// UnmarshalCaddyfile refuses words and a block after `sms log`.
func (*SMSLog) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	p := &parser{Dispenser: d}
	p.Next()
	return p.end()
}

// Provision takes the log.
func (c *SMSLog) Provision(ctx caddy.Context) error {
	c.Sender = sms.NewLog(gate.NumberLog(ctx.Slogger()))
	return nil
}

var (
	_ sms.Sender            = (*SMSWebhook)(nil)
	_ caddyfile.Unmarshaler = (*SMSWebhook)(nil)
	_ caddyfile.Unmarshaler = (*SMSLog)(nil)
	_ caddy.Provisioner     = (*SMSWebhook)(nil)
	_ caddy.Provisioner     = (*SMSLog)(nil)
	_ caddy.CleanerUpper    = (*SMSWebhook)(nil)
)
