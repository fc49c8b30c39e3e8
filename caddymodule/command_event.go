package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// followEvery is how often `event follow` asks for what is new.
const followEvery = time.Second

func eventCommands(o *options) *cobra.Command {
	cmd := group(&cobra.Command{Use: "event <command>", Short: "Read the events that the gateway tells the shop"})
	var after string
	var limit int
	list := o.command(leaf{
		use: "list", short: "List the newest events, or those behind a position",
		long: "Lists the newest events, or those behind a position, the oldest first. The last line\n" +
			"names the position for the next call.",
		example: "event list --limit 20\nevent list --after 1500 --json",
		run:     func(c *call) error { return c.listEvents(after, limit) },
	})
	list.Flags().IntVar(&limit, "limit", 20, "how many at most, up to 1000")
	follow := o.command(leaf{
		use: "follow", short: "Print events as they come, until interrupted",
		long: "Prints the newest events, or those behind a position, and then each as it comes.\n" +
			"With --json each is one line of JSON.",
		example: "event follow\nevent follow --after 1500 --json",
		run:     func(c *call) error { return c.followEvents(after) },
	})
	for _, sub := range []*cobra.Command{list, follow} {
		sub.Flags().StringVar(&after, "after", "", "begin behind this `position`; 0 is before the oldest that is kept")
	}
	cmd.AddCommand(list, follow)
	cmd.AddCommand(webhookCommands(o)...)
	return cmd
}

// events asks for what is behind a position, or for the newest events.
func (c *call) events(after string, limit int) (view eventsView, err error) {
	query := url.Values{"limit": {fmt.Sprint(limit)}}
	if after != "" {
		query.Set("after", after)
	}
	if err = c.get("events?"+query.Encode(), &view); err == nil && view.Lost {
		fmt.Fprintln(c.err, "Events behind that position are missing: they were too old to be kept, or a backup was put back.")
	}
	return view, err
}

func (c *call) listEvents(after string, limit int) error {
	view, err := c.events(after, limit)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(view)
	}
	if len(view.Events) == 0 && after != "" {
		c.say("No events behind %s.", after)
		return nil
	}
	if len(view.Events) == 0 {
		c.say("No events.")
		return nil
	}
	t := new(table)
	t.add("SEQ", "TIME", "TYPE", "SUBJECT", "DATA")
	for _, e := range view.Events {
		t.add(eventCells(e)...)
	}
	if err := t.print(c.out, ""); err != nil {
		return err
	}
	c.say("\nWhat follows: %s event list --after %d", program(), view.Next)
	return nil
}

func eventCells(e eventView) []string {
	return []string{position(e.Seq), clock(e.Time), string(e.Type), e.Subject, string(e.Data)}
}

// position shows a place in the feed, and nothing for none.
func position(seq int64) string {
	if seq == 0 {
		return ""
	}
	return fmt.Sprint(seq)
}

// followEvents prints until the user interrupts, which is a good end.
func (c *call) followEvents(after string) error {
	limit := 10 // of the newest; of the rest all
	for {
		if after != "" {
			limit = maxLimit
		}
		view, err := c.events(after, limit)
		if err != nil {
			if c.Err() != nil {
				return nil
			}
			return err
		}
		for _, e := range view.Events {
			if err := c.printEvent(e); err != nil {
				return err
			}
		}
		after = fmt.Sprint(view.Next)
		if len(view.Events) == maxLimit {
			continue
		}
		select {
		case <-c.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}

func (c *call) printEvent(e eventView) error {
	if c.json {
		return json.NewEncoder(c.out).Encode(e)
	}
	t := new(table)
	t.add(eventCells(e)...)
	return t.print(c.out, "")
}
