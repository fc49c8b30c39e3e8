package caddymodule

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wxgate/wxgate/internal/account"
)

func mergeCommand(o *options) *cobra.Command {
	ch := new(change)
	return ch.flags(o.command(leaf{
		use: "merge <from> <into>", short: "Merge two members who are one person",
		long: "Makes the first member part of the second. The second keeps his id and his phone\n" +
			"and gets the WeChat accounts of the first; the first one's phone is released.\n" +
			"The first id answers to the second from then on, and the shop is told with\n" +
			"user.merged, so that it moves the orders. It cannot be undone.",
		example: "user merge 1000000042 1000000007 --dry-run\n" +
			"user merge 1000000042 1000000007 --reason 'ticket 815: showed both phones' --yes",
		minArgs: 2,
		run: func(c *call) error {
			in := mergeRequest{From: c.args[0], To: c.args[1], reasoned: reasoned{ch.reason}}
			return c.change(ch, func() error { return c.previewMerge(in) }, func() error { return c.send("users/merge", in, c.mergeDone) })
		},
	}))
}

func (c *call) previewMerge(in mergeRequest) error {
	in.DryRun = true
	var p account.MergePreview
	if err := c.post("users/merge", in, &p); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(p)
	}
	t := new(table)
	t.add("", "ID", "KIND", "PHONE", "CREATED", "LAST SEEN")
	for _, who := range []struct {
		role string
		account.Summary
	}{{"goes", p.From}, {"stays", p.To}} {
		t.add(who.role, who.ID, string(who.Kind), who.Phone, clock(who.Created), clock(who.LastSeen))
	}
	if err := t.print(c.out, ""); err != nil {
		return err
	}
	if p.From.ID == p.To.ID {
		c.say("\nThese are one member already: nothing would change.")
		return nil
	}
	if p.Code != account.CodeOK {
		return refused(p.Code)
	}
	c.say("\n%s would get", p.To.ID)
	for _, m := range p.Moves {
		c.say("  the WeChat account %s of %s", m.OpenID, m.AppID)
	}
	c.say("  whatever the shop keeps under %s", strings.Join(p.Aliases, ", "))
	if p.Released != "" {
		c.say("The phone %s would be released: nobody has it then.", p.Released)
	}
	if len(p.Conflicts) > 0 {
		c.say("These conflicts would close: %s", strings.Join(p.Conflicts, ", "))
	}
	return nil
}

func (c *call) mergeDone(done changedView) {
	c.say("\n%s is %s now.", c.args[0], done.UserID)
	c.say("The shop is told with user.merged. See: %s user show %s", program(), word(done.UserID))
}

// send asks for a change and shows what it has done.
func (c *call) send(path string, in any, done func(changedView)) error {
	var out changedView
	if err := c.post(path, in, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	done(out)
	return nil
}

func unbindCommand(o *options) *cobra.Command {
	ch := new(change)
	var in unbindRequest
	cmd := ch.flags(o.command(leaf{
		use: "unbind <id>", short: "Take a WeChat account away from a member",
		long: "Removes all rows of one WeChat account of a member, and signs him out everywhere.\n" +
			"Whoever comes with that WeChat account afterwards is a new person. The last way\n" +
			"into an account is not removed: cancel the account instead.",
		example: "user unbind 1000000042 --appid wx1111111111111111 --dry-run\n" +
			"user unbind 1000000042 --unionid oUNION --reason 'ticket 815: phone was sold' --yes",
		minArgs: 1,
		run: func(c *call) error {
			in := in
			in.UserID, in.Reason = c.args[0], ch.reason
			if (in.UnionID == "") == (in.AppID == "") {
				return usageError("say which WeChat account: either --unionid, or --appid and where he has several there --openid")
			}
			return c.change(ch, func() error { return c.previewUnbind(in) }, func() error {
				return c.send("users/unbind", in, func(done changedView) {
					c.say("\nThe WeChat account is no longer %s's, who is signed out everywhere.", done.UserID)
				})
			})
		},
	}))
	cmd.Flags().StringVar(&in.UnionID, "unionid", "", "the WeChat account with this unionid")
	cmd.Flags().StringVar(&in.AppID, "appid", "", "the WeChat account that he uses in this app")
	cmd.Flags().StringVar(&in.OpenID, "openid", "", "with --appid, where he has several there")
	return cmd
}

// previewUnbind lists the rows that would go: all of the WeChat account.
func (c *call) previewUnbind(in unbindRequest) error {
	p, err := c.person(in.UserID)
	if err != nil {
		return err
	}
	var unionid string
	named := slices.DeleteFunc(slices.Clone(p.Identities), func(i account.PersonIdentity) bool {
		return i.UnionID != in.UnionID && in.UnionID != "" ||
			i.AppID != in.AppID && in.AppID != "" || i.OpenID != in.OpenID && in.OpenID != ""
	})
	if len(named) == 0 {
		return problemOf(account.ErrUnknownIdentity)
	}
	if unionid = named[0].UnionID; unionid != "" {
		named = slices.DeleteFunc(slices.Clone(p.Identities), func(i account.PersonIdentity) bool { return i.UnionID != unionid })
	}
	if c.json {
		return c.printJSON(struct {
			account.Summary
			Removes []account.PersonIdentity `json:"removes"`
		}{p.Summary, named})
	}
	if err := c.printSummary(p); err != nil {
		return err
	}
	c.say("\nWould lose, and would be signed out everywhere:")
	for _, i := range named {
		c.say("  the WeChat account %s of %s", i.OpenID, i.AppID)
	}
	return nil
}

func cancelCommand(o *options) *cobra.Command {
	ch := new(change)
	var in cancelRequest
	cmd := ch.flags(o.command(leaf{
		use: "cancel [id]", short: "Cancel an account, also of somebody who withdrew his grant",
		long: "Cancels an account: his WeChat accounts are removed, his phone is free, all his\n" +
			"sessions end, and the shop is told with user.cancelled. Whoever comes back is a\n" +
			"new person. It cannot be undone. WeChat names a person who withdrew his grant by\n" +
			"his openid: give --appid and --openid then instead of the id.",
		example: "user cancel 1000000042 --dry-run\n" +
			"user cancel --appid wx1111111111111111 --openid oABCD1234 --reason 'withdrew his grant in WeChat' --yes",
		limit: 1,
		run: func(c *call) error {
			in := in
			in.Reason = ch.reason
			if len(c.args) == 1 {
				in.UserID = c.args[0]
			}
			if (in.UserID == "") == (in.OpenID == "") || (in.OpenID == "") != (in.AppID == "") {
				return usageError("say whom: either an id, or --appid and --openid")
			}
			return c.change(ch, func() error { return c.previewCancel(in) }, func() error {
				return c.send("users/cancel", in, func(changedView) { c.say("\nThe account is cancelled. The shop is told with user.cancelled.") })
			})
		},
	}))
	cmd.Flags().StringVar(&in.AppID, "appid", "", "the app in which WeChat knows him")
	cmd.Flags().StringVar(&in.OpenID, "openid", "", "his openid there")
	return cmd
}

func (c *call) previewCancel(in cancelRequest) error {
	id := in.UserID
	if id == "" {
		var found matchesView
		if err := c.post("users/find", findRequest{Term: in.OpenID}, &found); err != nil {
			return err
		}
		i := slices.IndexFunc(found.Matches, func(m account.Match) bool { return m.By == "openid" && m.AppID == in.AppID })
		if i < 0 {
			return newProblem(404, "unknown_user", "nobody has that openid in "+in.AppID)
		}
		id = found.Matches[i].ID
	}
	return c.lookAt(id, func(p account.Person) {
		c.say("\nWould be cancelled: he would lose %d WeChat account(s) and his phone, and be signed out everywhere.",
			len(p.Identities)+len(p.Visitors))
		c.say("What the shop keeps under %s stays there, and nobody logs in to it again.", p.ID)
	})
}

// lookAt shows a person who is about to be changed; with --json all of him.
func (c *call) lookAt(id string, would func(account.Person)) error {
	p, err := c.person(id)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(p)
	}
	if err := c.printSummary(p); err != nil {
		return err
	}
	would(p)
	return nil
}

func revokeCommand(o *options) *cobra.Command {
	ch := new(change)
	return ch.flags(o.command(leaf{
		use: "revoke <id>", short: "End all sessions of a person, on all his devices",
		long: "Signs somebody out everywhere, for example when a device was lost. His account and\n" +
			"his WeChat accounts stay: inside WeChat he is recognised again at once.",
		example: "user revoke 1000000042 --reason 'lost his laptop' --yes",
		minArgs: 1,
		run: func(c *call) error {
			in := revokeRequest{UserID: c.args[0], reasoned: reasoned{ch.reason}}
			return c.change(ch, func() error {
				return c.lookAt(in.UserID, func(account.Person) { c.say("\nWould be signed out everywhere.") })
			}, func() error {
				return c.send("users/revoke", in, func(changedView) { c.say("\nSigned out everywhere, within 5 seconds on other instances.") })
			})
		},
	}))
}
