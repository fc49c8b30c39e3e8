package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  commandName,
		Usage: "<command>",
		Short: "Asks the running gateway: doctor, explain, user, event and others",
		Long: `
Asks the running gateway, over Caddy's admin endpoint, about people, conflicts
and events, and changes what an operator may change.

Whatever changes an account shows first what will happen, wants --reason, and
wants --yes where nobody can be asked. It is recorded with time and reason.

Exit codes:
  0  done
  1  the gateway failed
  2  the command is wrong
  3  nobody, or nothing, is found
  4  the gateway cannot be reached
  5  refused: by a rule for accounts, or because it was not confirmed
  6  done in part: something of an import was left out
  7  the doctor warns
  8  the doctor has found what is wrong`,
		CobraFunc: addCommands,
	})
}

const (
	commandName = "wxgate"

	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnreachable = 4
	exitRefused     = 5
	exitPartly      = 6
	exitWarnings    = 7
	exitErrors      = 8
)

// Args puts the word `wxgate` in front of our commands, for a Caddy that is
// itself called wxgate: `wxgate user find` is `wxgate wxgate user find`.
func Args(args []string) []string {
	if len(args) < 2 {
		return args
	}
	at := 1
	if args[1] == "help" && len(args) > 2 {
		at = 2
	}
	top := &cobra.Command{}
	addCommands(top)
	for _, sub := range top.Commands() {
		if sub.Name() == args[at] {
			return slices.Insert(slices.Clone(args), at, commandName)
		}
	}
	return args
}

// addCommands adds what stands below `wxgate`.
func addCommands(top *cobra.Command) {
	o := new(options)
	flags := top.PersistentFlags()
	flags.StringVar(&o.address, "address", caddy.DefaultAdminListen, "`address` of Caddy's admin endpoint, as in its admin option; CADDY_ADMIN sets the default")
	flags.BoolVar(&o.json, "json", false, "print JSON, as the gateway answers it")
	flags.DurationVar(&o.timeout, "timeout", answerTimeout, "how long to wait for an answer, 0: as long as it takes; import, export and repair wait for theirs")
	group(top)
	top.AddCommand(userCommands(o), conflictCommands(o), eventCommands(o), operationCommands(o), appCommands(o), keyCommands(o), reportCommands(o),
		importCommand(o), exportCommand(o), repairCommand(o), explainCommand(o), doctorCommand(o))
	top.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return exit(cmd, usageError(err.Error())) })
	top.SetHelpFunc(func(cmd *cobra.Command, _ []string) { help(cmd) })
}

// answerTimeout is longer than the gateway works on a call, so that it can say
// itself what has taken too long.
const answerTimeout = adminTimeout + 5*time.Second

// options are the flags of all commands.
type options struct {
	address string
	json    bool
	timeout time.Duration
}

// call is one run of a command.
type call struct {
	context.Context
	options

	args     []string
	in       io.Reader
	out, err io.Writer
}

// leaf is a command that does something.
type leaf struct {
	use            string // the name and its words: `merge <from> <into>`
	short, long    string
	example        string // each line what stands behind `wxgate `
	minArgs, limit int    // limit 0: none but minArgs
	run            func(*call) error
}

// command makes a command that ends with one of our exit codes.
func (o *options) command(l leaf) *cobra.Command {
	return &cobra.Command{
		Use: l.use, Short: l.short, Long: l.long, Example: l.example,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < l.minArgs || len(args) > max(l.minArgs, l.limit) {
				return exit(cmd, usageError("usage: "+usage(cmd)))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			c := &call{Context: ctx, options: *o, args: args, in: cmd.InOrStdin(), out: cmd.OutOrStdout(), err: cmd.ErrOrStderr()}
			return exit(cmd, l.run(c))
		},
	}
}

// group makes a command one that only holds others.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return exit(cmd, usageError(fmt.Sprintf("there is no command %q; see: %s --help", args[0], path(cmd))))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { help(cmd); return nil }
	return cmd
}

// usageError means that the command is wrong.
type usageError string

// Error implements error.
func (e usageError) Error() string { return string(e) }

// errNotConfirmed means that nobody has said yes.
var errNotConfirmed = errors.New("nothing was changed")

// exit says what went wrong and makes Caddy end with our code. Caddy's own way
// would be a line of its log.
func exit(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.Root().SilenceErrors = true
	fmt.Fprintln(cmd.ErrOrStderr(), "Error:", printable(err.Error()))
	if code := exitCode(err); code > 1 {
		return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, nil })(cmd, nil)
	}
	return err
}

func exitCode(err error) int {
	var p *problem
	switch {
	case errors.As(err, new(usageError)):
		return exitUsage
	case errors.As(err, new(*unreachableError)):
		return exitUnreachable
	case errors.Is(err, errNotConfirmed):
		return exitRefused
	case errors.Is(err, errLeftOut):
		return exitPartly
	case errors.Is(err, errWarnings):
		return exitWarnings
	case errors.Is(err, errErrors):
		return exitErrors
	case !errors.As(err, &p):
		return exitFailed
	}
	switch p.Status {
	case 400, 422:
		return exitUsage
	case 404:
		return exitNotFound
	case 409:
		return exitRefused
	}
	return exitFailed
}
