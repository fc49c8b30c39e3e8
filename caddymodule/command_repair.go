package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wxgate/wxgate/internal/account"
)

func repairCommand(o *options) *cobra.Command {
	ch := new(change)
	var in repairRequest
	cmd := ch.flags(o.command(leaf{
		use: "repair <appid>", short: "Ask WeChat for the unionids of imported openids",
		long: "Goes through the followers of an official account and fills the unionids of rows\n" +
			"that were imported without one, each as if the person had come: a guest of his\n" +
			"merges, a contradiction becomes a conflict. Who does not follow the account gets\n" +
			"his unionid when he comes. It may be repeated, and goes on with --after where it\n" +
			"has broken off. First comes a dry run, unless --yes is given.",
		example: "repair wx1111111111111111 --dry-run\nrepair wx1111111111111111 --reason 'after the import of May' --yes",
		minArgs: 1,
		run: func(c *call) error {
			step := func(why reasoned) error { return c.repair(in, why) }
			preview := step
			if ch.yes && !ch.DryRun { // it takes as long as the repair
				preview = func(reasoned) error { return nil }
			}
			return c.change(ch, preview, step)
		},
	}))
	f := cmd.Flags()
	f.Float64Var(&in.Rate, "rate", repairRate, "calls to WeChat a second, each for 100 openids or 10,000 followers")
	f.StringVar(&in.After, "after", "", "go on behind this `openid`, as a run that broke off has said")
	return cmd
}

func (c *call) repair(in repairRequest, why reasoned) error {
	in.AppID, in.reasoned = c.args[0], why
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("writing a request: %w", err)
	}
	r, err := c.request(c.Context, "POST", "repair", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", typeJSON)
	var report account.RepairReport
	var conflicts []account.RepairConflict
	err = c.follow(r, &report, func(l streamLine) error {
		if l.Progress != nil {
			c.showProgress(*l.Progress)
		}
		if l.Conflict != nil && len(conflicts) < shownProblems {
			conflicts = append(conflicts, *l.Conflict)
		}
		return nil
	})
	if !c.json && (err == nil || report.Waiting > 0) {
		switch {
		case in.DryRun:
		case err != nil:
			c.say("Done before it broke off:")
		default:
			c.say("Done:")
		}
		if err := c.printRepair(report, conflicts, in.DryRun); err != nil {
			return err
		}
	}
	if err != nil && report.Next != "" && !c.json {
		c.say("\nIt has broken off. Go on with --after %s", word(report.Next))
	}
	return err
}

func (c *call) printRepair(r account.RepairReport, conflicts []account.RepairConflict, dry bool) error {
	t := new(table)
	t.add("openids that waited for their unionid", fmt.Sprint(r.Waiting))
	t.add("filled", fmt.Sprint(r.Filled))
	t.add("conflicts", fmt.Sprint(r.Conflicts))
	t.add("of followers whose unionid WeChat does not tell", fmt.Sprint(r.NoUnionID))
	if r.Whole {
		t.add("of people who do not follow the account", fmt.Sprint(r.Unfollowed))
	}
	t.add("followers read", fmt.Sprint(r.Followers))
	if err := t.print(c.out, "  "); err != nil {
		return err
	}
	for _, one := range conflicts {
		c.say("%s: openid %s of user %s has the unionid %s", one.Code, one.OpenID, one.UserID, one.UnionID)
	}
	if r.Conflicts > len(conflicts) {
		c.say("and %d more", r.Conflicts-len(conflicts))
	}
	if r.Conflicts > 0 && !dry {
		c.say("Look at them with: %s conflict list", program())
	}
	return nil
}
