package caddymodule

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// change holds the flags of a command that changes accounts.
type change struct {
	reasoned
	yes bool
}

func (ch *change) flags(cmd *cobra.Command) *cobra.Command {
	f := cmd.Flags()
	ch.reasoned.flags(cmd)
	f.BoolVar(&ch.yes, "yes", false, "do it without asking")
	f.BoolVar(&ch.DryRun, "dry-run", false, "show what would happen and change nothing")
	return cmd
}

func (r *reasoned) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.Reason, "reason", "", "why; it is recorded")
	f.StringVar(&r.Operator, "operator", cmp.Or(os.Getenv("SUDO_USER"), os.Getenv("USER")), "who you are; it is recorded")
}

// needed is the error of a change without a reason.
func (r *reasoned) needed() error {
	if r.Reason == "" {
		return usageError("--reason is missing: say why, it is recorded")
	}
	return nil
}

// change shows what will happen, asks, and does it. The preview prints what the
// gateway says to a dry run. A program that wants JSON gets one answer: the
// preview with --dry-run, else the result.
func (c *call) change(ch *change, preview func(dry reasoned) error, do func(reasoned) error) error {
	if err := ch.needed(); err != nil && !ch.DryRun {
		return err
	}
	if !c.json || ch.DryRun {
		err := preview(reasoned{DryRun: true})
		if errors.Is(err, errNothing) {
			c.say("Nothing would change.")
			return nil
		}
		if err != nil {
			return err
		}
	}
	if ch.DryRun {
		if !c.json {
			c.say("\nNothing was changed: this was --dry-run.")
		}
		return nil
	}
	if err := c.confirm(ch); err != nil {
		return err
	}
	return do(ch.reasoned)
}

// errNothing ends a change that has nothing to change, which is a good end.
var errNothing = errors.New("nothing would change")

// confirm asks whoever sits at the terminal, unless --yes is given.
func (c *call) confirm(ch *change) error {
	if ch.yes {
		return nil
	}
	switch {
	case !terminal(c.in):
		return fmt.Errorf("%w: there is nobody to ask here, so --yes is needed", errNotConfirmed)
	case c.json: // what was shown, if anything, is not for people
		return fmt.Errorf("%w: with --json nobody is asked, so --yes is needed", errNotConfirmed)
	}
	fmt.Fprint(c.err, "\nType yes to go on: ")
	line, _ := bufio.NewReader(c.in).ReadString('\n')
	if strings.TrimSpace(line) != "yes" {
		return errNotConfirmed
	}
	return nil
}

// terminal says whether somebody may sit at r.
func terminal(r any) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// plainWord holds for what no shell gives another meaning.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.:@%+=/][A-Za-z0-9_.:@%+=/-]*$`)

// word writes an id so that it can be pasted into a command.
func word(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
