package caddymodule

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("wxgate", parseApp)
	httpcaddyfile.RegisterDirective("wxgate", parseHandler)
	httpcaddyfile.RegisterDirective("wxgate_api", parseAPI)
	// After redir, rewrite and try_files, and before everything that proxies,
	// answers, or may hold something that does.
	httpcaddyfile.RegisterDirectiveOrder("wxgate", httpcaddyfile.Before, "basic_auth")
	httpcaddyfile.RegisterDirectiveOrder("wxgate_api", httpcaddyfile.Before, "respond")
}

// parser reads our blocks of a Caddyfile. It stores strings; what they mean is
// found out when the configuration is loaded, after placeholders are expanded.
type parser struct {
	*caddyfile.Dispenser
}

// lines calls option for each line of the block that the current line opens,
// with the cursor on the line's first word.
func (p *parser) lines(option func(name string) error) error {
	for nesting := p.Nesting(); p.NextBlock(nesting); {
		if err := option(p.Val()); err != nil {
			return err
		}
	}
	return nil
}

// missing is the error for a line that ends too early.
func (p *parser) missing(usage string) error {
	return p.Errf("a word is missing, usage: %s", usage)
}

// once refuses to set again what is set.
func (p *parser) once(name string, set bool) error {
	if set {
		return p.Errf("option '%s' is repeated", name)
	}
	return nil
}

func (p *parser) unknown(name string) error {
	return p.Errf("unknown option '%s'", name)
}

// end refuses surplus words and a block on the current line.
func (p *parser) end() error {
	if p.NextArg() {
		return p.Errf("surplus word '%s'", p.Val())
	}
	return p.noBlock()
}

// endSecret is end for a line whose words must not be printed.
func (p *parser) endSecret(usage string) error {
	if p.NextArg() {
		return p.Errf("surplus word, usage: %s", usage)
	}
	return p.noBlock()
}

func (p *parser) noBlock() error {
	if p.opensBlock() {
		return p.Errf("surplus block")
	}
	return nil
}

func (p *parser) opensBlock() bool {
	if !p.Next() {
		return false
	}
	defer p.Prev()
	return p.Val() == "{" && !p.Token().Quoted()
}

// args reads exactly one word for each target.
func (p *parser) args(usage string, targets ...*string) error {
	for _, t := range targets {
		if !p.NextArg() {
			return p.missing(usage)
		}
		*t = p.Val()
	}
	return nil
}

// value reads an option of one word, given once.
func (p *parser) value(usage string, target *string) error {
	if err := p.once(p.Val(), *target != ""); err != nil {
		return err
	}
	if err := p.args(usage, target); err != nil {
		return err
	}
	return p.end()
}

// secret is value for a word that must not be printed.
func (p *parser) secret(usage string, target *Secret) error {
	if err := p.once(p.Val(), *target != ""); err != nil {
		return err
	}
	var s string
	if err := p.args(usage, &s); err != nil {
		return err
	}
	*target = Secret(s)
	return p.endSecret(usage)
}

// choice is value for one of a few words.
func (p *parser) choice(target *string, words ...string) error {
	if err := p.value(p.Val()+" "+strings.Join(words, "|"), target); err != nil {
		return err
	}
	return p.oneOf(*target, words...)
}

// oneOf refuses other words, unless a placeholder stands for one of them.
func (p *parser) oneOf(word string, words ...string) error {
	if slices.Contains(words, word) || strings.Contains(word, "{") {
		return nil
	}
	return p.Errf("unknown word '%s', expected %s", word, strings.Join(words, " or "))
}

// values reads an option of one word or more, given once.
func (p *parser) values(usage string, target *[]string) error {
	if err := p.once(p.Val(), *target != nil); err != nil {
		return err
	}
	*target = p.RemainingArgs()
	if len(*target) == 0 {
		return p.missing(usage)
	}
	return p.end()
}

// more appends the values of an option that may be repeated.
func (p *parser) more(usage string, target *[]string) error {
	values := p.RemainingArgs()
	if len(values) == 0 {
		return p.missing(usage)
	}
	*target = append(*target, values...)
	return p.end()
}

// openBlock checks the words before the block of an option that has nothing
// but a block, given once.
func (p *parser) openBlock(set bool) error {
	name := p.Val()
	if err := p.once(name, set); err != nil {
		return err
	}
	if p.NextArg() {
		return p.Errf("surplus word '%s'", p.Val())
	}
	if !p.opensBlock() {
		return p.Errf("a block is missing after '%s'", name)
	}
	return nil
}
