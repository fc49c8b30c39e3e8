package caddymodule

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// followEvery is how often `event follow` asks for what is new.
const followEvery = time.Second

func eventCommands(o *options) *cobra.Command {
	cmd := group(&cobra.Command{Use: "event <command>", Short: "Read the events that the gateway tells the shop"})
	var after int64
	var limit int
	list := o.command(leaf{
		use: "list", short: "List events, the oldest first",
		long:    "Lists events from a position on. The last line names the position behind them, for the next call.",
		example: "event list --limit 20\nevent list --after 1500 --json",
		run:     func(c *call) error { return c.listEvents(after, limit) },
	})
	list.Flags().Int64Var(&after, "after", 0, "begin behind this position")
	list.Flags().IntVar(&limit, "limit", defaultLimit, "how many at most, up to 1000")
	follow := o.command(leaf{
		use: "follow", short: "Print events as they come, until interrupted",
		long:    "Prints events as they come. With --json each is one line of JSON.",
		example: "event follow --after 1500\nevent follow --after 0 --json",
		run:     func(c *call) error { return c.followEvents(after) },
	})
	follow.Flags().Int64Var(&after, "after", 0, "begin behind this position")
	cmd.AddCommand(list, follow)
	return cmd
}

func (c *call) events(after int64, limit int) (view eventsView, err error) {
	err = c.get(fmt.Sprintf("events?after=%d&limit=%d", after, limit), &view)
	return view, err
}

func (c *call) listEvents(after int64, limit int) error {
	view, err := c.events(after, limit)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(view)
	}
	if len(view.Events) == 0 {
		c.say("No events after %d.", after)
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
	return []string{fmt.Sprint(e.Seq), clock(e.Time), string(e.Type), e.Subject, string(e.Data)}
}

// followEvents prints until the user interrupts, which is a good end.
func (c *call) followEvents(after int64) error {
	for {
		view, err := c.events(after, maxLimit)
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
		after = view.Next
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
