package caddymodule

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/wxgate/wxgate/internal/assertion"
)

func keyCommands(o *options) *cobra.Command {
	cmd := group(&cobra.Command{Use: "key <command>", Short: "See and rotate the keys that X-User-Assertion is signed with"})
	ch := new(change)
	cmd.AddCommand(o.command(leaf{
		use: "list", short: "List the keys that are published",
		long:    "Lists the keys that /wxgate/jwks.json holds, in its order.",
		example: "key list\nkey list --json",
		run: func(c *call) error {
			var view keysView
			if err := c.get("keys", &view); err != nil {
				return err
			}
			return c.printKeys(view)
		},
	}), ch.flags(o.command(leaf{
		use: "rotate", short: "Let a new key sign, as soon as every shop can know it",
		long: "Makes a key that is published at once and signs 25 to 26 hours from now, when every\n" +
			"shop and every instance has heard of it. The one of before stays published until its\n" +
			"last token is dead. Keys rotate by themselves every 90 days; this begins the days anew.\n" +
			"After a key may have leaked, replace `secret` instead: that ends all keys at once.",
		example: "key rotate --dry-run\nkey rotate --reason 'yearly audit' --yes",
		run: func(c *call) error {
			return c.change(ch, c.rotateKeys, c.rotateKeys)
		},
	})))
	return cmd
}

func (c *call) rotateKeys(why reasoned) error {
	var view keysView
	if err := c.post("keys/rotate", why, &view); err != nil {
		return err
	}
	if why.DryRun && len(view.Keys) == 0 {
		return errNothing
	}
	if c.json {
		return c.printJSON(view)
	}
	if why.DryRun {
		c.say("A new key would sign 25 to 26 hours from now, unless one does so by then anyway. Now there are:")
	} else {
		c.say("\nDone:")
	}
	return c.printKeys(view)
}

func (c *call) printKeys(view keysView) error {
	if c.json {
		return c.printJSON(view)
	}
	if len(view.Keys) == 0 {
		c.say("No site signs with a key of the gateway's own.")
		return nil
	}
	t := &table{rows: append([][]string{strings.Fields("KID ALGORITHM STATE SIGNS-FROM")}, rows(view.Keys, keyCells)...)}
	return t.print(c.out, "")
}

func keyCells(k assertion.KeyState) []string {
	return []string{k.ID, k.Algorithm, k.State, clock(k.ActiveFrom)}
}
