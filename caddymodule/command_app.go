package caddymodule

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/wxgate/wxgate/internal/account"
)

func appCommands(o *options) *cobra.Command {
	cmd := group(&cobra.Command{Use: "app <command>", Short: "Say that an app was rebound or an official account has moved"})
	cmd.AddCommand(rebindCommand(o), mapCommand(o))
	return cmd
}

func rebindCommand(o *options) *cobra.Command {
	ch := new(change)
	return ch.flags(o.command(leaf{
		use: "rebind <appid>", short: "Say that an app was bound to another Open Platform account",
		long: "Every WeChat account has another unionid under another Open Platform account. The\n" +
			"rows of the app forget theirs and take the new one at the person's next visit;\n" +
			"until then he is recognised by his openid. Members with rows in other apps need\n" +
			"those rebound too.",
		example: "app rebind wx1111111111111111 --dry-run\napp rebind wx1111111111111111 --reason 'moved to the Open Platform of the new company' --yes",
		minArgs: 1,
		run: func(c *call) error {
			return c.change(ch, c.rebind, c.rebind)
		},
	}))
}

func (c *call) rebind(why reasoned) error {
	var report account.RebindReport
	if !why.DryRun {
		c.timeout = 0 // it goes through all rows of the app
	}
	if err := c.post("apps/rebind", rebindRequest{c.args[0], why}, &report); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(report)
	}
	t := new(table)
	t.add("rows of members that wait for their new unionid", fmt.Sprint(report.Members))
	t.add("rows of guests that do", fmt.Sprint(report.Guests))
	t.add("rows of nobody, removed", fmt.Sprint(report.Nobody))
	t.add("of these, known in other apps too", fmt.Sprint(report.Elsewhere))
	if !why.DryRun {
		c.say("\nDone:")
	}
	if err := t.print(c.out, "  "); err != nil {
		return err
	}
	if report.Elsewhere > 0 {
		c.say("If the other apps were rebound too, rebind them here as well; else these people meet a repair_conflict.")
	}
	return nil
}

func mapCommand(o *options) *cobra.Command {
	ch := new(change)
	var in mapRequest
	cmd := ch.flags(o.command(leaf{
		use: "map-openids <file>", short: "Tell who is who after an official account has moved",
		long: "Reads a CSV file with two columns, the old openid and the new one, as WeChat's\n" +
			"changeopenid answers them; a first line `old,new` is skipped, and - is standard\n" +
			"input. Members and guests are recognised by their new openid from then on. It may\n" +
			"be repeated. When the company has changed too, --retire-old removes the old rows.",
		example: "app map-openids map.csv --from wx1111111111111111 --to wx9999999999999999 --dry-run\n" +
			"app map-openids map.csv --from wx1111111111111111 --to wx9999999999999999 --reason 'account migration of May' --yes",
		minArgs: 1,
		run: func(c *call) error {
			if in.OldAppID == "" || in.NewAppID == "" {
				return usageError("--from and --to are needed: the appid before and after the move")
			}
			moves, err := c.readMap(c.args[0])
			if err != nil {
				return err
			}
			step := func(why reasoned) error {
				in := in
				in.reasoned = why
				return c.mapOpenIDs(in, moves)
			}
			return c.change(ch, step, step)
		},
	}))
	f := cmd.Flags()
	f.StringVar(&in.OldAppID, "from", "", "the `appid` before the move")
	f.StringVar(&in.NewAppID, "to", "", "the `appid` after the move")
	f.BoolVar(&in.RetireOld, "retire-old", false, "remove the old rows, because the company changed")
	return cmd
}

// move is a line of an openid map.
type move struct {
	line    int
	openids [2]string
}

func (c *call) readMap(name string) ([]move, error) {
	in := c.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usageError(err.Error())
		}
		defer f.Close()
		in = f
	}
	r := csv.NewReader(account.Unmarked(in))
	r.FieldsPerRecord = 2
	var moves []move
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return moves, nil
		}
		if errors.Is(err, csv.ErrFieldCount) {
			err = fmt.Errorf("%w: there have to be two, the old openid and the new one", err)
		}
		if err != nil {
			return nil, usageError(fmt.Sprintf("%s: %v", name, err))
		}
		line, _ := r.FieldPos(0)
		m := move{line, [2]string{record[0], record[1]}}
		if m.openids == [2]string{"old", "new"} && len(moves) == 0 {
			continue
		}
		moves = append(moves, m)
	}
}

// mapOpenIDs sends the map in parts and adds up what became of them. Lines are
// those of the file.
func (c *call) mapOpenIDs(in mapRequest, moves []move) error {
	total := account.MapReport{Unknown: []int{}, Taken: []int{}, Invalid: []int{}}
	for rest := moves; len(rest) > 0; {
		part := rest[:min(len(rest), account.MaxOpenIDMoves)]
		rest = rest[len(part):]
		in.Moves = nil
		for _, m := range part {
			in.Moves = append(in.Moves, m.openids)
		}
		var report account.MapReport
		if err := c.post("apps/map-openids", in, &report); err != nil {
			if first := part[0].line; first != moves[0].line && !in.DryRun {
				fmt.Fprintf(c.err, "It has broken off: the lines before %d are done. It may be repeated.\n", first)
			}
			return err
		}
		total.Members += report.Members
		total.Guests += report.Guests
		total.Retired += report.Retired
		total.Known += report.Known
		for _, list := range []struct{ to, from *[]int }{
			{&total.Unknown, &report.Unknown}, {&total.Taken, &report.Taken}, {&total.Invalid, &report.Invalid},
		} {
			for _, i := range *list.from {
				*list.to = append(*list.to, part[i].line)
			}
		}
	}
	return c.printMapReport(total, in.DryRun)
}

func (c *call) printMapReport(r account.MapReport, dry bool) error {
	if c.json {
		return c.printJSON(r)
	}
	t := new(table)
	t.add("new openids that are a member's now", fmt.Sprint(r.Members))
	t.add("new openids that are a guest's now", fmt.Sprint(r.Guests))
	t.add("known already", fmt.Sprint(r.Known))
	t.add("old openids removed", fmt.Sprint(r.Retired))
	t.add("lines whose openids nobody has", fmt.Sprint(len(r.Unknown)), lines(r.Unknown))
	t.add("lines whose new openid is somebody else's, left alone", fmt.Sprint(len(r.Taken)), lines(r.Taken))
	t.add("lines with an openid that is empty or too long", fmt.Sprint(len(r.Invalid)), lines(r.Invalid))
	if !dry {
		c.say("\nDone:")
	}
	return t.print(c.out, "  ")
}

// lines names the first lines of a list; --json has them all.
func lines(list []int) string {
	const shown = 10
	if len(list) == 0 {
		return ""
	}
	text := fmt.Sprintf("lines %v", list[:min(len(list), shown)])
	if len(list) > shown {
		text += " ..."
	}
	return text
}
