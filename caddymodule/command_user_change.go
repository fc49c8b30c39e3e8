package caddymodule

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wxgate/wxgate/internal/account"
)

// send asks for a change, or for its dry run, and shows the answer.
func (c *call) send(path string, in any, show func(changedView) error) error {
	var out changedView
	if err := c.post(path, in, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	return show(out)
}

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
			return c.change(ch, c.previewMerge, func(why reasoned) error {
				return c.send("users/merge", mergeRequest{c.args[0], c.args[1], why}, c.mergeDone)
			})
		},
	}))
}

func (c *call) previewMerge(dry reasoned) error {
	var p account.MergePreview
	if err := c.post("users/merge", mergeRequest{c.args[0], c.args[1], dry}, &p); err != nil {
		return err
	}
	if c.json {
		if err := c.printJSON(p); err != nil || p.Code == account.CodeOK {
			return err
		}
		return refused(p.Code)
	}
	t := new(table)
	t.add("WHO", "ID", "KIND", "PHONE", "CREATED", "LAST SEEN")
	t.add(append([]string{"goes"}, summaryCells(p.From)...)...)
	t.add(append([]string{"stays"}, summaryCells(p.To)...)...)
	if err := t.print(c.out, ""); err != nil {
		return err
	}
	switch {
	case p.Code != account.CodeOK:
		return refused(p.Code)
	case p.From.ID == p.To.ID:
		c.say("\nThese are one member already.")
		return errNothing
	}
	c.say("\n%s would get", p.To.ID)
	for _, m := range p.Moves {
		c.say("  the WeChat account %s of %s", m.OpenID, m.AppID)
	}
	c.say("  whatever the shop keeps under %s", strings.Join(p.Aliases, ", "))
	if p.Released != "" {
		c.say("The phone %s would be released: nobody has it then.", p.Released)
	}
	if p.Released != "" && p.To.Phone == "" {
		c.say("To keep the phone, merge the other way round: %s user merge %s %s", program(), word(p.To.ID), word(p.From.ID))
	}
	if len(p.Conflicts) > 0 {
		c.say("These conflicts would close: %s", strings.Join(p.Conflicts, ", "))
	}
	return nil
}

func summaryCells(s account.Summary) []string {
	return []string{s.ID, string(s.Kind), s.Phone, clock(s.Created), clock(s.LastSeen)}
}

func (c *call) mergeDone(done changedView) error {
	c.say("\n%s is %s now.", c.args[0], done.UserID)
	c.say("The shop is told with user.merged. See: %s user show %s", program(), word(done.UserID))
	return nil
}

func unbindCommand(o *options) *cobra.Command {
	ch := new(change)
	var named unbindRequest
	cmd := ch.flags(o.command(leaf{
		use: "unbind <id>", short: "Take a WeChat account away from a member",
		long: "Removes all rows of one WeChat account of a member, and signs him out everywhere.\n" +
			"Whoever comes with that WeChat account afterwards is a new person. The last way\n" +
			"into an account is not removed: cancel the account instead.",
		example: "user unbind 1000000042 --appid wx1111111111111111 --dry-run\n" +
			"user unbind 1000000042 --unionid oUNION --reason 'ticket 815: phone was sold' --yes",
		minArgs: 1,
		run: func(c *call) error {
			if named.UnionID == "" && named.AppID == "" && named.OpenID == "" {
				return usageError("say which WeChat account: --appid, --openid or --unionid, as many as are needed")
			}
			step := func(show func(changedView) error) func(reasoned) error {
				return func(why reasoned) error {
					in := named
					in.UserID, in.reasoned = c.args[0], why
					return c.send("users/unbind", in, show)
				}
			}
			return c.change(ch, step(c.wouldUnbind), step(func(done changedView) error {
				c.say("\nThe WeChat account is no longer %s's, who is signed out everywhere.", done.UserID)
				return nil
			}))
		},
	}))
	f := cmd.Flags()
	f.StringVar(&named.AppID, "appid", "", "the WeChat account that he uses in this app")
	f.StringVar(&named.OpenID, "openid", "", "the WeChat account with this openid")
	f.StringVar(&named.UnionID, "unionid", "", "the WeChat account with this unionid")
	return cmd
}

func (c *call) wouldUnbind(would changedView) error {
	return c.lookAt(would.UserID, func(account.Person) error {
		c.say("\nWould be signed out everywhere, and lose")
		for _, e := range would.Events {
			var row account.Linked
			if err := json.Unmarshal(e.Data, &row); err != nil {
				return err
			}
			if e.Type == account.EventIdentityUnlinked {
				c.say("  the WeChat account %s of %s", row.OpenID, row.AppID)
			}
		}
		return nil
	})
}

// lookAt shows a person who is about to be changed.
func (c *call) lookAt(id string, would func(account.Person) error) error {
	p, err := c.person(id)
	if err != nil {
		return err
	}
	if err := c.printSummary(p); err != nil {
		return err
	}
	return would(p)
}

func cancelCommand(o *options) *cobra.Command {
	ch := new(change)
	var named cancelRequest
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
			named := named
			named.UserID = strings.Join(c.args, "")
			if (named.UserID == "") == (named.OpenID == "") || (named.OpenID == "") != (named.AppID == "") {
				return usageError("say whom: either an id, or --appid and --openid")
			}
			step := func(show func(changedView) error) func(reasoned) error {
				return func(why reasoned) error {
					in := named
					in.reasoned = why
					return c.send("users/cancel", in, show)
				}
			}
			return c.change(ch, step(c.wouldCancel), step(func(changedView) error {
				c.say("\nThe account is cancelled. The shop is told with user.cancelled.")
				return nil
			}))
		},
	}))
	f := cmd.Flags()
	f.StringVar(&named.AppID, "appid", "", "the app in which WeChat knows him")
	f.StringVar(&named.OpenID, "openid", "", "his openid there")
	return cmd
}

func (c *call) wouldCancel(would changedView) error {
	for _, e := range would.Events {
		if e.Type == account.EventUserCancelled {
			return c.lookAt(e.Subject, func(p account.Person) error {
				c.say("\nWould be cancelled and signed out everywhere, and lose")
				for _, i := range slices.Concat(p.Identities, p.Visitors) {
					c.say("  the WeChat account %s of %s", i.OpenID, i.AppID)
				}
				if p.Phone != "" {
					c.say("  the phone %s, which anybody can use then", p.Phone)
				}
				c.say("What the shop keeps under %s stays there, and nobody logs in to it again.", p.ID)
				return nil
			})
		}
	}
	if len(c.args) > 0 {
		c.say("The account is cancelled already.")
		return errNothing
	}
	c.say("Nobody has an account with that WeChat account. What is kept about it would be removed.")
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
			return c.change(ch, func(reasoned) error { return c.wouldRevoke() }, func(why reasoned) error {
				return c.send("users/revoke", revokeRequest{c.args[0], why}, func(changedView) error {
					c.say("\nSigned out everywhere, within 5 seconds on other instances.")
					return nil
				})
			})
		},
	}))
}

func (c *call) wouldRevoke() error {
	if !c.json {
		return c.lookAt(c.args[0], func(account.Person) error {
			c.say("\nWould be signed out everywhere.")
			return nil
		})
	}
	p, err := c.person(c.args[0])
	if err != nil {
		return err
	}
	return c.printJSON(p)
}
