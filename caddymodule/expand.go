package caddymodule

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/gate"
)

// expander replaces placeholders in the options of one block and reads what
// they stand for. It goes on after an error, so that all are told at once.
type expander struct {
	repl  *caddy.Replacer
	where string
	errs  []error
}

func (e *expander) refuse(option, format string, args ...any) {
	e.errs = append(e.errs, fmt.Errorf("%s: %s: %s", e.where, option, fmt.Sprintf(format, args...)))
}

// text expands a value in place. A placeholder that stands for nothing is an
// error, unless the value is empty to begin with.
func (e *expander) text(option string, s *string) {
	out, err := e.repl.ReplaceOrErr(*s, true, true)
	if err != nil {
		e.refuse(option, "%v (is its environment variable set?)", err)
		return
	}
	*s = out
}

func (e *expander) texts(option string, list []string) {
	for i := range list {
		e.text(option, &list[i])
	}
}

func (e *expander) secret(option string, s *Secret) {
	t := string(*s)
	e.text(option, &t)
	*s = Secret(t)
}

// onOff reads a switch that is off where nothing is said.
func (e *expander) onOff(option string, s *string) bool {
	e.text(option, s)
	if *s != "" && *s != "on" && *s != "off" {
		e.refuse(option, "%q is neither on nor off", *s)
	}
	return *s == "on"
}

// share reads a switch that may be on for some visitors only, in percent.
func (e *expander) share(option string, s *string) int {
	e.text(option, s)
	percent, ok := share(*s)
	if !ok {
		e.refuse(option, "%q is neither on nor off, nor a share like 10%%", *s)
	}
	return percent
}

// share is what a switch says in percent.
func share(word string) (percent int, ok bool) {
	switch word {
	case "on":
		return 100, true
	case "off", "":
		return 0, true
	}
	digits, isShare := strings.CutSuffix(word, "%")
	percent, err := strconv.Atoi(digits)
	return percent, isShare && err == nil && percent >= 0 && percent <= 100
}

// number reads a positive integer; 0 when there is none.
func (e *expander) number(option string, s *string) int64 {
	if e.text(option, s); *s == "" {
		return 0
	}
	n, err := strconv.ParseInt(*s, 10, 64)
	if err != nil || n <= 0 {
		e.refuse(option, "%q is not a positive number", *s)
	}
	return n
}

// countries reads country calling codes; nil when there are none.
func (e *expander) countries(option string, list []string) (codes []int) {
	e.texts(option, list)
	for _, word := range list {
		code, err := strconv.Atoi(word)
		switch {
		case word == "all":
			code = gate.EveryCountry
		case err != nil || strconv.Itoa(code) != word || !account.IsCountryCode(code):
			e.refuse(option, "%q is neither all nor a country calling code like 86", word)
		}
		codes = append(codes, code)
	}
	return codes
}

// duration reads a positive duration; 0 when there is none. Days are written
// as 30d.
func (e *expander) duration(option string, s *string) time.Duration {
	if e.text(option, s); *s == "" {
		return 0
	}
	d, err := caddy.ParseDuration(*s)
	if err != nil || d <= 0 {
		e.refuse(option, "%q is not a positive duration like 10m or 30d", *s)
	}
	return d
}
