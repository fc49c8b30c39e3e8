package caddymodule

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/wxgate/wxgate/internal/account"
)

func operationCommands(o *options) *cobra.Command {
	cmd := group(&cobra.Command{Use: "operation <command>", Short: "See what operators did, when and why"})
	in := operationsRequest{}
	list := o.command(leaf{
		use: "list [subject]", short: "List what operators did, the newest first",
		long:    "Lists what operators did, to everybody or to one subject: a user, a conflict or an app.",
		example: "operation list --limit 20\noperation list 1000000042 --json",
		limit:   1,
		run: func(c *call) error {
			in := in
			in.Subject = strings.Join(c.args, "")
			return c.listOperations(in)
		},
	})
	f := list.Flags()
	f.StringVar(&in.After, "after", "", "begin behind the operation with this id")
	f.IntVar(&in.Limit, "limit", defaultLimit, "how many at most, up to 1000")
	cmd.AddCommand(list)
	return cmd
}

func (c *call) listOperations(in operationsRequest) error {
	var view operationsView
	if err := c.post("operations/list", in, &view); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(view)
	}
	if len(view.Operations) == 0 {
		c.say("%s", noOperation(in))
		return nil
	}
	t := &table{rows: append([][]string{strings.Fields(operationHead)}, rows(view.Operations, operationCells)...)}
	if err := t.print(c.out, ""); err != nil {
		return err
	}
	if view.Next != "" {
		c.say("\nThere are more: --after %s", word(view.Next))
	}
	return nil
}

// noOperation says of what there is none.
func noOperation(in operationsRequest) string {
	switch {
	case in.After != "":
		return "No more operations."
	case in.Subject != "":
		return "No operator has done anything to " + in.Subject + "."
	}
	return "No operator has done anything."
}

const operationHead = "ID TIME ACTION SUBJECT OPERATOR REASON DETAIL"

func operationCells(r account.OperationRecord) []string {
	return []string{r.ID, clock(r.Time), string(r.Action), r.Subject, r.By, r.Reason, string(r.Detail)}
}
