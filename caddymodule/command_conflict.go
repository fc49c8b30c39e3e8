package caddymodule

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wxgate/wxgate/internal/account"
)

func conflictCommands(o *options) *cobra.Command {
	cmd := group(&cobra.Command{Use: "conflict <command>", Short: "See what was refused because two accounts claim one thing"})
	var page struct {
		closed bool
		after  string
		limit  int
	}
	list := o.command(leaf{
		use: "list", short: "List conflicts, the newest first",
		long: "Lists what visitors asked for and were refused, because it would have joined two\n" +
			"accounts that may be two people. Nothing waits for you: everybody goes on as who\n" +
			"he was. A conflict that solves itself closes itself.",
		example: "conflict list\nconflict list --closed --limit 20",
		run: func(c *call) error {
			query := url.Values{"limit": {fmt.Sprint(page.limit)}}
			if page.closed {
				query.Set("state", "closed")
			}
			if page.after != "" {
				query.Set("after", page.after)
			}
			return c.listConflicts(query)
		},
	})
	f := list.Flags()
	f.BoolVar(&page.closed, "closed", false, "those that are closed, instead of the open ones")
	f.StringVar(&page.after, "after", "", "begin behind the conflict with this id")
	f.IntVar(&page.limit, "limit", defaultLimit, "how many at most, up to 1000")
	cmd.AddCommand(list, closeCommand(o))
	return cmd
}

func (c *call) listConflicts(query url.Values) error {
	var view conflictsView
	if err := c.get("conflicts?"+query.Encode(), &view); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(view)
	}
	if len(view.Conflicts) == 0 {
		c.say("No %s conflicts.", cmp.Or(query.Get("state"), "open"))
		return nil
	}
	t := &table{rows: [][]string{strings.Fields(conflictHead)}}
	said := map[account.Code]bool{}
	for _, f := range view.Conflicts {
		t.add(conflictCells(f)...)
	}
	if err := t.print(c.out, ""); err != nil {
		return err
	}
	for _, f := range view.Conflicts {
		if !said[f.Code] {
			c.say("\n%s: %s", f.Code, conflictHint(f.Code))
		}
		said[f.Code] = true
	}
	if view.Next != "" {
		c.say("\nThere are more: --after %s", word(view.Next))
	}
	if query.Get("state") != "closed" {
		c.say("\nWhen you have looked at one: %s conflict close <id> --reason '...'", program())
	}
	return nil
}

const conflictHead = "ID CODE OPENED CLOSED APP PARTIES"

func conflictCells(f account.ConflictRecord) []string {
	closed := ""
	if f.Closed != nil {
		closed = clock(*f.Closed)
	}
	return []string{f.ID, string(f.Code), clock(f.Opened), closed, f.AppID, strings.Join(f.Parties, " ")}
}

// conflictHint says what a conflict means and what to do next.
func conflictHint(code account.Code) string {
	hints := map[account.Code]string{
		account.CodeUnionIDChanged: "WeChat names another unionid for this openid than before. One: wait. Many in one app:\n" +
			"  the app was bound to another Open Platform account; see `app rebind`.",
		account.CodeOpenIDChanged: "WeChat names another openid for this unionid than before. Many in one app: the official\n" +
			"  account has moved; see `app map-openids`.",
		account.CodeRepairConflict: "an imported customer's WeChat account is already another member's. If they are one person,\n" +
			"  merge them; if not, the import was wrong about the openid.",
		account.CodeWeChatBoundToOtherUser: "a member wanted to bind a WeChat account that is another member's. If they are one person,\n" +
			"  merge them; if the WeChat account has a new owner, unbind it from the old one.",
		account.CodeUserIDBoundToOtherWeChat: "a member who has a WeChat account came with another one. If he has changed it, unbind the\n" +
			"  old one; the next visit binds the new one.",
		account.CodePhoneBoundToOtherWeChat: "somebody proved the phone of a member who has another WeChat account. If it is the same\n" +
			"  person, unbind the old WeChat account; if the number has a new owner, its old one has to change his phone.",
		account.CodePhoneOwnedByOtherUser: "a member proved a phone that is another member's. If they are one person, merge them.",
	}
	return cmp.Or(hints[code], "look at its parties with `user find`.")
}

func closeCommand(o *options) *cobra.Command {
	var why reasoned
	cmd := o.command(leaf{
		use: "close <id>", short: "Take a conflict from the list, with a reason",
		long: "Closes a conflict that you have looked at. It changes no account. If the same is\n" +
			"refused again, it is listed again.",
		example: "conflict close 7d1c2f --reason 'two sisters share a phone'",
		minArgs: 1,
		run: func(c *call) error {
			if err := why.needed(); err != nil {
				return err
			}
			in := closeRequest{ID: c.args[0], reasoned: why}
			return c.send("conflicts/close", in, func(changedView) error { c.say("Closed."); return nil })
		},
	})
	why.flags(cmd)
	return cmd
}
