package caddymodule

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// change holds the flags of a command that changes accounts.
type change struct {
	reason      string
	yes, dryRun bool
}

func (ch *change) flags(cmd *cobra.Command) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&ch.reason, "reason", "", "why; it is recorded")
	f.BoolVar(&ch.yes, "yes", false, "do it without asking")
	f.BoolVar(&ch.dryRun, "dry-run", false, "show what would happen and change nothing")
	return cmd
}

// change shows what will happen, asks, and does it. A program that wants JSON
// gets one answer: the preview with --dry-run, else the result.
func (c *call) change(ch *change, preview, do func() error) error {
	if ch.reason == "" && !ch.dryRun {
		return usageError("--reason is missing: say why, it is recorded")
	}
	if !c.json || ch.dryRun {
		if err := preview(); err != nil {
			return err
		}
	}
	if ch.dryRun {
		if !c.json {
			c.say("\nNothing was changed: this was --dry-run.")
		}
		return nil
	}
	if err := c.confirm(ch); err != nil {
		return err
	}
	return do()
}

// confirm asks whoever sits at the terminal, unless --yes is given.
func (c *call) confirm(ch *change) error {
	if ch.yes {
		return nil
	}
	if !terminal(c.in) {
		return fmt.Errorf("%w: there is nobody to ask here, so --yes is needed", errNotConfirmed)
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
	return err == nil && info.Mode()&os.ModeCharDevice != 0
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
