// Command wxgate-sandbox plays everything around the gateway on one machine: a
// WeChat platform, WeChat's browser, a phone with a mini program, and a small
// legacy shop behind the gateway.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const usage = `usage: wxgate-sandbox <command> [flags]

Commands:
  run     start the sandbox and the gateway in front of its shop
  serve   start the sandbox without a gateway

The sandbox is a pretend WeChat with a page to choose who holds the phone and
what goes wrong, an address that is WeChat's browser, another that is a phone
with the shop's mini program, and a shop that knows its visitors by the headers
of the gateway. Ctrl-C ends everything.

wxgate-sandbox <command> --help lists the flags of a command.
`

// errUsage is a command line that makes no sense.
var errUsage = errors.New("wrong usage, see --help")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(exitCode(command(ctx, os.Args[1:], os.Stdout), os.Stderr))
}

// exitCode prints the error of a command and turns it into an exit code: 0 for
// success and for help, 2 for wrong usage, 1 for everything else.
func exitCode(err error, stderr io.Writer) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(stderr, "wxgate-sandbox:", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

// command runs one command line until it is done or ctx ends.
func command(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("no command: %w", errUsage)
	}
	switch name, rest := args[0], args[1:]; name {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stdout, usage)
		return nil
	case "run", "serve":
		o, err := parseFlags(name, rest, stdout)
		if err != nil {
			return err
		}
		if name == "serve" {
			return serve(ctx, o, stdout)
		}
		return run(ctx, o, stdout)
	default:
		return fmt.Errorf("unknown command %q: %w", name, errUsage)
	}
}

// options of the commands. The addresses must be those of the Caddyfile.
type options struct {
	external *url.URL // the gateway's external_url, without a trailing slash
	wechat   string   // listen addresses, host:port
	browser  string
	mini     string
	webView  string
	shop     string

	gateway   string // run only: the gateway's binary
	caddyfile string
}

// links are the addresses that people open.
func (o options) links() links {
	browser := "http://" + o.browser
	return links{
		Browser: browser, NewPhone: browser + newPhonePath,
		Mini: "http://" + o.mini, Gateway: o.external.String(),
	}
}

func (o options) webViewURL() *url.URL { return &url.URL{Scheme: "http", Host: o.webView} }

func parseFlags(name string, args []string, stdout io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("wxgate-sandbox "+name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	external := flags.String("gateway-url", "http://127.0.0.1:8080", "the gateway's `URL`, external_url in the Caddyfile")
	flags.StringVar(&o.wechat, "wechat", "127.0.0.1:9001", "`address` of the sandbox WeChat, endpoints in the Caddyfile")
	flags.StringVar(&o.browser, "browser", "localhost:8081", "`address` of WeChat's browser; another host than the gateway's, so that it has cookies of its own")
	flags.StringVar(&o.mini, "mini", "localhost:8082", "`address` of the phone with the shop's mini program")
	flags.StringVar(&o.webView, "web-view", "localhost:8083", "`address` of the mini program's web-view, of the same host as --mini, so that a frame has cookies")
	flags.StringVar(&o.shop, "shop", "127.0.0.1:9002", "`address` of the shop, reverse_proxy in the Caddyfile")
	if name == "run" {
		flags.StringVar(&o.gateway, "gateway", "bin/wxgate", "the gateway's `binary`")
		flags.StringVar(&o.caddyfile, "caddyfile", "Caddyfile", "the gateway's configuration `file`")
	}
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, "usage: wxgate-sandbox %s [flags]\n\nFlags:\n", name)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return o, err
	}
	if err != nil {
		return o, fmt.Errorf("%w: %w", err, errUsage)
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("surplus argument %q: %w", flags.Arg(0), errUsage)
	}
	o.external, err = url.Parse(strings.TrimSuffix(*external, "/"))
	if err != nil || o.external.Scheme != "http" || o.external.Port() == "" || o.external.Path != "" {
		return o, fmt.Errorf("--gateway-url %q is not http://host:port: %w", *external, errUsage)
	}
	return o, nil
}
