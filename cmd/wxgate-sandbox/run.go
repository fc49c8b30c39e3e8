package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wxgate/wxgate/cmd/wxgate-sandbox/shop"
)

const (
	gatewayStart = time.Minute      // to the first answer
	gatewayStop  = 10 * time.Second // after SIGTERM, then it is killed
)

// errGatewayEnded is a gateway that ended although nobody asked it to.
var errGatewayEnded = errors.New("the gateway ended")

// part is one server of the sandbox.
type part struct {
	listener net.Listener
	handler  http.Handler
}

// serve runs the sandbox without a gateway until ctx ends.
func serve(ctx context.Context, o options, stdout io.Writer) error {
	parts, err := o.listen()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	serveParts(ctx, group, parts)
	printSandbox(stdout, o)
	return group.Wait()
}

// run runs the sandbox and the gateway until ctx ends or one of them fails.
func run(ctx context.Context, o options, stdout io.Writer) error {
	if err := checkFree(o.external.Host, "the gateway"); err != nil {
		return err
	}
	parts, err := o.listen()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	serveParts(ctx, group, parts)
	group.Go(func() error { return runGateway(ctx, o) })
	group.Go(func() error {
		err := waitForAnswer(ctx, o.external.String())
		if ctx.Err() != nil {
			return nil // somebody else knows why
		}
		if err == nil {
			printAll(stdout, o)
		}
		return err
	})
	return group.Wait()
}

// listen opens the addresses of the sandbox, all of them or none.
func (o options) listen() ([]part, error) {
	platform := newPlatform(o)
	phone, err := newMiniProgram(o, platform)
	if err != nil {
		return nil, err
	}
	var parts []part
	for _, p := range []struct {
		address, what string
		handler       http.Handler
	}{
		{o.wechat, "the sandbox WeChat", newControl(platform, o.links())},
		{o.browser, "WeChat's browser", newBrowser(o, platform.Held)},
		{o.mini, "the mini program", phone},
		{o.webView, "the mini program's web-view", newWebView(o, platform.Held)},
		{o.shop, "the shop", shop.New()},
	} {
		listener, err := net.Listen("tcp", p.address)
		if err != nil {
			for _, opened := range parts {
				opened.listener.Close()
			}
			return nil, listenError(err, p.address, p.what)
		}
		parts = append(parts, part{listener, p.handler})
	}
	return parts, nil
}

// checkFree reports an address that is in use before a child process trips
// over it.
func checkFree(address, what string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return listenError(err, address, what)
	}
	return listener.Close()
}

// listenError names the port that is in use, which is what people look for.
func listenError(err error, address, what string) error {
	_, port, splitErr := net.SplitHostPort(address)
	if splitErr == nil && errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %s is in use, and %s needs it: end the program that listens there, perhaps another sandbox or another Caddy", port, what)
	}
	return fmt.Errorf("listening for %s: %w", what, err)
}

// serveParts serves until ctx ends.
func serveParts(ctx context.Context, group *errgroup.Group, parts []part) {
	for _, p := range parts {
		server := &http.Server{Handler: p.handler, ReadHeaderTimeout: 10 * time.Second}
		group.Go(func() error {
			if err := server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving %s: %w", p.listener.Addr(), err)
			}
			return nil
		})
		group.Go(func() error {
			<-ctx.Done()
			return server.Close()
		})
	}
}

// runGateway runs the gateway's binary until ctx ends; ending earlier is an
// error. It is asked to end with SIGTERM: Ctrl-C reaches it from the terminal
// too, and a second SIGINT would cut off its requests.
func runGateway(ctx context.Context, o options) error {
	gateway := exec.CommandContext(ctx, o.gateway, "run", "--config", o.caddyfile, "--adapter", "caddyfile")
	gateway.Stdout = os.Stderr
	gateway.Stderr = os.Stderr
	gateway.Cancel = func() error { return gateway.Process.Signal(syscall.SIGTERM) }
	gateway.WaitDelay = gatewayStop
	err := gateway.Run()
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no %s: make build makes bin/wxgate, and make run does all of it", o.gateway)
	case gateway.ProcessState == nil:
		return fmt.Errorf("starting the gateway: %w", err)
	}
	ended := fmt.Errorf("%w (%s), see its messages above", errGatewayEnded, gateway.ProcessState)
	// Unless its Caddyfile says otherwise, it listens there for commands.
	admin := cmp.Or(os.Getenv("CADDY_ADMIN"), "localhost:2019")
	listener, err := net.Listen("tcp", admin)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; %w", ended, listenError(err, admin, "the gateway's admin endpoint"))
	} else if err == nil {
		listener.Close()
	}
	return ended
}

// waitForAnswer waits until anything answers at the URL.
func waitForAnswer(ctx context.Context, gatewayURL string) error {
	waiting, cancel := context.WithTimeout(ctx, gatewayStart)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if answers(waiting, gatewayURL+"/static/icon.svg") {
			return nil
		}
		select {
		case <-waiting.Done():
			return fmt.Errorf("the gateway does not answer at %s after %s: is it the address of the Caddyfile?", gatewayURL, gatewayStart)
		case <-tick.C:
		}
	}
}

func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return true
}

// printSandbox says what to open when the gateway is somebody else's.
func printSandbox(w io.Writer, o options) {
	fmt.Fprintf(w, `
  The sandbox is running. Ctrl-C ends it.

    http://%-22s  WeChat's browser, in front of the gateway at %s
    http://%-22s  the shop's mini program, on a phone
    http://%-22s  the sandbox WeChat: who holds the phone, and what goes wrong
    http://%-22s  the shop, for the gateway only

`, o.browser, o.external, o.mini, o.wechat, o.shop)
}

// printAll says what to open when the gateway runs too.
func printAll(w io.Writer, o options) {
	fmt.Fprintf(w, `
  Everything is running. Ctrl-C ends it.

    http://%-22s  1. the shop in WeChat's browser   微信里的商店
    http://%-22s  2. its mini program               商店的小程序
    http://%-22s  3. who holds the phone            谁拿着手机
    %-29s  4. the shop in another browser    普通浏览器里的商店

`, o.browser, o.mini, o.wechat, o.external)
}
