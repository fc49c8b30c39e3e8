package caddymodule

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wxgate/wxgate/internal/account"
)

func userCommands(o *options) *cobra.Command {
	cmd := group(&cobra.Command{Use: "user <command>", Short: "Find people, show what is kept about them, change their accounts"})
	cmd.AddCommand(
		o.command(leaf{
			use: "find <anything>", short: "Find people by user id, previous id, phone, openid or unionid",
			long: "Finds people by whatever the shop, WeChat or the person himself calls them:\n" +
				"a user id, an id that was merged into another, a phone, an openid or a unionid.",
			example: "user find 1000000042\nuser find '138 0013 8000'\nuser find oABCD1234 --json",
			minArgs: 1,
			run:     (*call).findUser,
		}),
		o.command(leaf{
			use: "show <id>", short: "Show everything that is kept about one person",
			long: "Shows everything that is kept about one person: WeChat accounts, ids merged\n" +
				"into his, conflicts, what operators did, his events. --json gives all of it.\n" +
				"A replaced id shows its survivor.",
			example: "user show 1000000042\nuser show 1000000042 --json > person.json",
			minArgs: 1,
			run:     (*call).showUser,
		}),
		mergeCommand(o), unbindCommand(o), cancelCommand(o), revokeCommand(o),
	)
	return cmd
}

func (c *call) findUser() error {
	var found matchesView
	if err := c.post("users/find", findRequest{Term: c.args[0]}, &found); err != nil {
		return err
	}
	if len(found.Matches) == 0 {
		return newProblem(404, "unknown_user", "nobody has that user id, previous id, phone, openid or unionid.\n"+
			"A visitor whom WeChat has not named has his id in his browser only, until he is linked.")
	}
	if c.json {
		return c.printJSON(found)
	}
	t := new(table)
	t.add("ID", "KIND", "PHONE", "FOUND BY", "CREATED", "LAST SEEN", "STATE")
	for _, m := range found.Matches {
		by := strings.ReplaceAll(m.By, "_", " ")
		if m.AppID != "" {
			by += " in " + m.AppID
		}
		t.add(m.ID, string(m.Kind), m.Phone, by, clock(m.Created), clock(m.LastSeen), state(m.Summary))
	}
	if err := t.print(c.out, ""); err != nil {
		return err
	}
	c.hintFound(found.Matches)
	return nil
}

// hintFound says what to look at next.
func (c *call) hintFound(matches []account.Match) {
	var members []string
	ids := map[string]bool{}
	for _, m := range matches {
		if m.Kind == account.Member && m.Cancelled == nil && !ids[m.ID] {
			members = append(members, word(m.ID))
		}
		ids[m.ID] = true
		if m.By == "previous_id" {
			c.say("\n%s was merged into %s. What the shop has not moved yet stands under the old id.", c.args[0], m.ID)
		}
	}
	c.say("\nEverything about one of them: %s user show %s", program(), word(matches[0].ID))
	if len(members) > 1 {
		c.say("Two accounts of one person? See first: %s user merge %s %s --dry-run", program(), members[0], members[1])
	}
}

func state(s account.Summary) string {
	if s.Cancelled != nil {
		return "cancelled " + clock(*s.Cancelled)
	}
	return "live"
}

func (c *call) person(id string) (p account.Person, err error) {
	err = c.post("users/show", userRequest{UserID: id}, &p)
	return p, err
}

func (c *call) showUser() error {
	p, err := c.person(c.args[0])
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(p)
	}
	return c.printPerson(p)
}

// eventsShown is how many of a person's events a table shows.
const eventsShown = 20

func (c *call) printPerson(p account.Person) error {
	if p.ID != c.args[0] {
		c.say("%s was merged into %s.\n", c.args[0], p.ID)
	}
	if err := c.printSummary(p); err != nil {
		return err
	}
	accounts := rows(p.Identities, func(i account.PersonIdentity) []string {
		unionid := i.UnionID
		switch {
		case i.StandIn:
			unionid = "none (the openid stands in)"
		case unionid == "":
			unionid = "not known yet"
		}
		return []string{i.AppID, i.OpenID, unionid, clock(i.Created)}
	})
	visitors := rows(p.Visitors, func(i account.PersonIdentity) []string {
		return []string{i.AppID, i.OpenID, clock(i.Created)}
	})
	previous := rows(p.Previous, func(v account.PreviousID) []string {
		return []string{v.ID, string(v.Kind), clock(v.Created), clock(v.MergedAt)}
	})
	conflicts := rows(p.Conflicts, conflictCells)
	operations := rows(p.Operations, operationCells)
	last := p.Events[max(0, len(p.Events)-eventsShown):]
	events := rows(last, func(e account.PersonEvent) []string {
		return []string{position(e.Seq), clock(e.Time), string(e.Type), string(e.Data)}
	})
	for _, s := range []struct {
		title, head string
		rows        [][]string
	}{
		{"WeChat accounts", "APPID OPENID UNIONID SINCE", accounts},
		{"WeChat accounts without a unionid", "APPID OPENID SINCE", visitors},
		{"Ids that are this person now; the shop's orders may stand under them", "ID KIND CREATED MERGED", previous},
		{"Conflicts", conflictHead, conflicts},
		{"What operators did", operationHead, operations},
		{fmt.Sprintf("Events, the last %d of %d", len(last), len(p.Events)), "SEQ TIME TYPE DATA", events},
	} {
		if err := c.section(s.title, s.head, s.rows); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) printSummary(p account.Person) error {
	c.say("%s %s", p.Kind, p.ID)
	t := new(table)
	t.add("state", state(p.Summary))
	t.add("phone", p.Phone)
	t.add("created", clock(p.Created))
	t.add("last seen", clock(p.LastSeen))
	if p.SessionsFrom != nil {
		t.add("signed out everywhere", clock(*p.SessionsFrom))
	}
	return t.print(c.out, "  ")
}

// section prints a titled table, or nothing where there are no rows.
func (c *call) section(title, head string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	c.say("\n%s", title)
	t := &table{rows: append([][]string{strings.Fields(head)}, rows...)}
	return t.print(c.out, "  ")
}

func rows[T any](list []T, cells func(T) []string) [][]string {
	all := make([][]string, len(list))
	for i, v := range list {
		all[i] = cells(v)
	}
	return all
}
