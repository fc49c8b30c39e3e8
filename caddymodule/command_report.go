package caddymodule

import (
	"fmt"

	"github.com/spf13/cobra"
)

func reportCommands(o *options) *cobra.Command {
	cmd := group(&cobra.Command{Use: "report <command>", Short: "Count accounts before a decision"})
	cmd.AddCommand(o.command(leaf{
		use: "first-login", short: "Show what to expect of a change of first_login",
		long: "Counts the members with a phone, those who are or may be two members, and the\n" +
			"visitors who lack a unionid. Look at it before you change first_login: a change\n" +
			"joins nobody, and people who are two members stay two until they are merged.",
		example: "report first-login\nreport first-login --json",
		run:     (*call).reportFirstLogin,
	}))
	return cmd
}

func (c *call) reportFirstLogin() error {
	var r firstLoginView
	if err := c.get("report/first-login", &r); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(r)
	}
	c.say("first_login is %s now.\n", r.Now)
	t := new(table)
	for _, line := range []struct {
		what string
		n    int
	}{
		{"members", r.Members},
		{"  with a phone", r.WithPhone},
		{"  with a phone and no WeChat account that other apps know", r.PhoneOnly},
		{"  with such a WeChat account and no phone", r.UnionIDOnly},
		{"  known by an openid alone", r.Neither},
		{"people who have shown that they are two members", r.SplitKnown},
		{"people who may be two members, at most", r.SplitAtMost},
		{"WeChat accounts that are no members yet", r.Visitors},
		{"  without a unionid", r.VisitorsWithoutUnionID},
	} {
		t.add(line.what, fmt.Sprint(line.n))
	}
	if err := t.print(c.out, ""); err != nil {
		return err
	}
	c.say("\nUnder wechat_phone a first login needs a phone, and the same phone is the same member\n" +
		"everywhere. Members without one stay members and are not asked, except on the phone level.")
	c.say("Under wechat a visitor with a unionid becomes a member with one tap, one without is asked\n" +
		"for his consent first.")
	if r.SplitKnown > 0 {
		c.say("\nWho is two members, and stays so after a change: %s conflict list", program())
	}
	return nil
}
