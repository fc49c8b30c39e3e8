package caddymodule

import (
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// What a checkup ends with, besides nil where nothing is wrong.
var (
	errWarnings = errors.New("something may not be meant so, see above")
	errErrors   = errors.New("something is wrong, see above")
)

// doctorTimeout is enough for whatever does not answer.
const doctorTimeout = 2 * time.Minute

func doctorCommand(o *options) *cobra.Command {
	return o.command(leaf{
		use: "doctor", short: "Say what is wrong with the gateway, and what to do about it",
		long: "Looks whether WeChat takes each app's appid and AppSecret, this server's address\n" +
			"and the callbacks of each site, whether unionids come, whether external_url leads\n" +
			"here, whether the stores can be read and written, whether clocks agree, and which\n" +
			"settings are risky. It ends with 8 where something is wrong, with 7 where something\n" +
			"may not be meant so. Of what it cannot find out it says `unknown`.",
		example: "doctor\ndoctor --json",
		run: func(c *call) error {
			if c.timeout > 0 {
				c.timeout = max(c.timeout, doctorTimeout)
			}
			var view doctorView
			if err := c.get("doctor", &view); err != nil {
				return err
			}
			if c.json {
				if err := c.printJSON(view); err != nil {
					return err
				}
			} else if err := c.printFindings(view.Findings); err != nil {
				return err
			}
			return verdictOf(view.Findings)
		},
	})
}

func (c *call) printFindings(all []finding) error {
	t := new(table)
	for _, f := range all {
		t.add(f.State, f.Check, f.Subject, f.Text)
		if f.Advice != "" {
			t.add(" ", " ", " ", "  "+f.Advice)
		}
	}
	return t.print(c.out, "")
}

// verdictOf is the error for the worst of the findings.
func verdictOf(all []finding) error {
	is := func(state string) bool {
		return slices.ContainsFunc(all, func(f finding) bool { return f.State == state })
	}
	switch {
	case is(stateError):
		return errErrors
	case is(stateWarning):
		return errWarnings
	}
	return nil
}
