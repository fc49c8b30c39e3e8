package caddymodule

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// webhookCommands are those of `event` that are about webhooks.
func webhookCommands(o *options) []*cobra.Command {
	webhooks := o.command(leaf{
		use: "webhooks", short: "See how far each webhook has got",
		long: "Lists the webhooks, with how many events each has not taken yet, and how many were\n" +
			"given up after 72 hours.",
		example: "event webhooks",
		run:     func(c *call) error { return c.listWebhooks() },
	})
	return []*cobra.Command{webhooks, failedCommand(o), replayCommand(o)}
}

func (c *call) listWebhooks() error {
	var view webhooksView
	if err := c.get("events/webhooks", &view); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(view)
	}
	if len(view.Webhooks) == 0 {
		c.say("No webhooks.")
		return nil
	}
	t := new(table)
	t.add(strings.Fields("ID URL WAITING FAILED OLDEST LAST_FAILURE")...)
	failed := false
	for _, w := range view.Webhooks {
		oldest := ""
		if w.Oldest != nil {
			oldest = clock(*w.Oldest)
		}
		t.add(w.ID, w.URL, fmt.Sprint(w.Waiting), fmt.Sprint(w.Failed), oldest, w.Said)
		failed = failed || w.Failed > 0
	}
	if err := t.print(c.out, ""); err != nil {
		return err
	}
	for _, w := range view.Webhooks {
		if !w.Configured {
			c.say("\n%s is not in the configuration of this gateway; it was in one at %s.", w.ID, clock(w.Seen))
		}
	}
	if failed {
		c.say("\nWhen a webhook works again: %s event replay <id> --reason '...'", program())
	}
	return nil
}

func failedCommand(o *options) *cobra.Command {
	query := url.Values{}
	var after string
	var limit int
	cmd := o.command(leaf{
		use: "failed [webhook]", short: "List the events that a webhook was sent in vain",
		long: "Lists the events that were given up, the oldest first. A webhook is named by its id,\n" +
			"which is not needed where there is one.",
		example: "event failed --limit 20",
		limit:   1,
		run: func(c *call) error {
			query.Set("webhook", strings.Join(c.args, ""))
			query.Set("after", after)
			query.Set("limit", strconv.Itoa(limit))
			return c.listFailed(query)
		},
	})
	cmd.Flags().StringVar(&after, "after", "", "begin behind this `position`")
	cmd.Flags().IntVar(&limit, "limit", defaultLimit, "how many at most, up to 1000")
	return cmd
}

func (c *call) listFailed(query url.Values) error {
	var view failuresView
	if err := c.get("events/failed?"+query.Encode(), &view); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(view)
	}
	if len(view.Events) == 0 {
		c.say("No event was given up.")
		return nil
	}
	t := new(table)
	t.add(strings.Fields("SEQ TYPE SUBJECT ATTEMPTS FIRST GIVEN_UP LAST_FAILURE")...)
	for _, e := range view.Events {
		t.add(position(e.Seq), string(e.Type), e.Subject, fmt.Sprint(e.Attempts), clock(e.FirstTried), clock(e.GivenUp), e.Said)
	}
	if err := t.print(c.out, ""); err != nil {
		return err
	}
	if view.Next != 0 {
		c.say("\nThere are more: --after %d", view.Next)
	}
	c.say("\nTo send them again: %s event replay %s --reason '...'", program(), view.Webhook)
	return nil
}

func replayCommand(o *options) *cobra.Command {
	var in replayRequest
	var after string
	cmd := o.command(leaf{
		use: "replay [webhook]", short: "Send a webhook again what it has missed",
		long: "Sends the events again that were given up, and at once those that wait for their\n" +
			"next attempt. With --after all behind a position are sent again, also those that\n" +
			"were delivered: for a shop that has put back a backup. A webhook is named by its\n" +
			"id, which is not needed where there is one.",
		example: "event replay --reason 'the shop was down'\nevent replay --after 1500 --reason 'the shop has put back a backup'",
		limit:   1,
		run: func(c *call) error {
			in := in
			if err := in.needed(); err != nil {
				return err
			}
			if after != "" {
				seq, err := strconv.ParseInt(after, 10, 64)
				if err != nil {
					return usageError("--after is not a number")
				}
				in.After = &seq
			}
			in.Webhook = strings.Join(c.args, "")
			return c.replay(in)
		},
	})
	cmd.Flags().StringVar(&after, "after", "", "all events behind this `position`; 0 is before the oldest that is kept")
	in.flags(cmd)
	return cmd
}

func (c *call) replay(in replayRequest) error {
	var view replayedView
	if err := c.post("events/replay", in, &view); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(view)
	}
	c.say("Events being sent: %d", view.Events)
	return nil
}
