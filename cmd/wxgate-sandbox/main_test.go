package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// roleVariable makes this test binary play a program: the sandbox itself, or a
// gateway.
const roleVariable = "WXGATE_SANDBOX_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "sandbox":
		os.Setenv(roleVariable, os.Getenv(roleVariable+"_CHILD"))
		main()
	case "gateway":
		stubGateway()
	case "broken gateway":
		fmt.Fprintln(os.Stderr, "Error: loading initial config")
		os.Exit(1)
	}
}

// stubGateway answers until it is asked to end, and says so. Its configuration
// file holds nothing but its address.
func stubGateway() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	address, err := os.ReadFile(flagValue(os.Args, "--config"))
	if err != nil {
		panic(err)
	}
	go http.ListenAndServe(string(address), http.NotFoundHandler())
	<-asked
	fmt.Fprintln(os.Stderr, "stub gateway ended")
}

func flagValue(args []string, name string) string {
	for i, arg := range args[:len(args)-1] {
		if arg == name {
			return args[i+1]
		}
	}
	return ""
}

// addresses of one run.
type addresses struct {
	gateway, wechat, browser, mini, webView, shop string
}

func freeAddresses(t *testing.T) addresses {
	t.Helper()
	free := func() string { return "127.0.0.1:" + dbtest.Port(t) }
	return addresses{free(), free(), free(), free(), free(), free()}
}

func (a addresses) flags() []string {
	return []string{
		"--gateway-url", "http://" + a.gateway, "--wechat", a.wechat, "--browser", a.browser,
		"--mini", a.mini, "--web-view", a.webView, "--shop", a.shop,
	}
}

// runFlags are the flags of run with the test binary as the gateway.
func runFlags(t *testing.T, a addresses) []string {
	t.Helper()
	config := t.TempDir() + "/Caddyfile"
	if err := os.WriteFile(config, []byte(a.gateway), 0o600); err != nil {
		t.Fatal(err)
	}
	return append([]string{"run", "--gateway", os.Args[0], "--caddyfile", config}, a.flags()...)
}

// sandbox starts the sandbox as a process of its own and returns it together
// with what it says after it has said that it runs.
func sandbox(t *testing.T, args []string, gatewayRole string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	process := exec.Command(os.Args[0], args...)
	process.Env = append(os.Environ(), roleVariable+"=sandbox", roleVariable+"_CHILD="+gatewayRole)
	stderr := new(bytes.Buffer)
	process.Stderr = stderr
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.Process.Kill() })
	said := make([]byte, 0, 4096)
	for !strings.Contains(string(said), "Ctrl-C ends it.") {
		chunk := make([]byte, 1024)
		n, err := stdout.Read(chunk)
		said = append(said, chunk[:n]...)
		if err != nil {
			process.Wait()
			t.Fatalf("the sandbox ended: %s\n%s", said, stderr)
		}
	}
	return process, stderr
}

func TestInterruptEndsEverything(t *testing.T) {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			a := freeAddresses(t)
			process, stderr := sandbox(t, runFlags(t, a), "gateway")
			for _, address := range []string{a.gateway, a.wechat, a.browser, a.mini, a.webView, a.shop} {
				resp, err := http.Get("http://" + address + "/")
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
			}

			process.Process.Signal(s)
			if err := process.Wait(); err != nil {
				t.Errorf("exit: %v, want success", err)
			}
			if !strings.Contains(stderr.String(), "stub gateway ended") {
				t.Errorf("the gateway was not asked to end; stderr: %s", stderr)
			}
			for _, address := range []string{a.gateway, a.wechat, a.browser, a.mini, a.webView, a.shop} {
				if err := checkFree(address, "nobody"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestServeRunsWithoutAGateway(t *testing.T) {
	a := freeAddresses(t)
	process, _ := sandbox(t, append([]string{"serve"}, a.flags()...), "")
	resp, err := http.Get("http://" + a.shop + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	process.Process.Signal(os.Interrupt)
	if err := process.Wait(); err != nil {
		t.Errorf("exit: %v, want success", err)
	}
}

func TestDeadGatewayEndsTheSandboxWithAnError(t *testing.T) {
	a := freeAddresses(t)
	args := runFlags(t, a)
	t.Setenv(roleVariable, "broken gateway")
	said := new(bytes.Buffer)
	err := command(t.Context(), args, said)
	if !errors.Is(err, errGatewayEnded) || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("error %v, want the gateway's end with its exit status", err)
	}
	if said.Len() != 0 {
		t.Errorf("it says of a gateway that has never answered:\n%s", said)
	}
	for _, address := range []string{a.wechat, a.browser, a.mini, a.webView, a.shop} {
		if err := checkFree(address, "nobody"); err != nil {
			t.Error(err)
		}
	}
}

func TestMissingGatewayBinaryIsSaid(t *testing.T) {
	a := freeAddresses(t)
	args := append([]string{"run", "--gateway", "/nowhere/wxgate"}, a.flags()...)
	err := command(t.Context(), args, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "there is no /nowhere/wxgate: make build") {
		t.Errorf("error %v", err)
	}
}

// TestTakenAdminEndpointIsNamed: a gateway that ends may have met another Caddy.
func TestTakenAdminEndpointIsNamed(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	t.Setenv("CADDY_ADMIN", other.Addr().String())
	args := runFlags(t, freeAddresses(t))
	t.Setenv(roleVariable, "broken gateway")
	err = command(t.Context(), args, io.Discard)
	_, port, _ := net.SplitHostPort(other.Addr().String())
	if want := "port " + port + " is in use, and the gateway's admin endpoint needs it"; !errors.Is(err, errGatewayEnded) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	for _, what := range []string{"the gateway", "the sandbox WeChat", "WeChat's browser", "the mini program", "the mini program's web-view", "the shop"} {
		t.Run(what, func(t *testing.T) {
			a := freeAddresses(t)
			taken := map[string]string{
				"the gateway": a.gateway, "the sandbox WeChat": a.wechat, "WeChat's browser": a.browser,
				"the mini program": a.mini, "the mini program's web-view": a.webView, "the shop": a.shop,
			}[what]
			listener, err := net.Listen("tcp", taken)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()

			_, port, _ := net.SplitHostPort(taken)
			err = command(t.Context(), runFlags(t, a), io.Discard)
			if want := "port " + port + " is in use, and " + what + " needs it"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
			for _, address := range []string{a.wechat, a.browser, a.mini, a.webView, a.shop} {
				if err := checkFree(address, "nobody"); err != nil && address != taken {
					t.Error(err)
				}
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		code   int
		stdout string // is part of it
		stderr string
	}{
		"nothing":         {nil, 2, "", "no command"},
		"help":            {[]string{"--help"}, 0, "Commands:", ""},
		"help command":    {[]string{"help"}, 0, "Commands:", ""},
		"unknown command": {[]string{"walk"}, 2, "", `unknown command "walk"`},
		"help of run":     {[]string{"run", "--help"}, 0, "-caddyfile", ""},
		"help of serve":   {[]string{"serve", "-h"}, 0, "-gateway-url", ""},
		"unknown flag":    {[]string{"run", "--fast"}, 2, "", "-fast"},
		"surplus":         {[]string{"serve", "now"}, 2, "", `surplus argument "now"`},
		"wrong URL":       {[]string{"serve", "--gateway-url", "localhost"}, 2, "", `--gateway-url "localhost"`},
		"wrong address":   {[]string{"serve", "--wechat", "nowhere"}, 1, "", "listening for the sandbox WeChat"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if code := exitCode(command(ctx, c.args, &stdout), &stderr); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !strings.Contains(stdout.String(), c.stdout) || (c.stdout == "") != (stdout.Len() == 0) {
				t.Errorf("stdout %q, want %q", stdout.String(), c.stdout)
			}
			if !strings.Contains(stderr.String(), c.stderr) || (c.stderr == "") != (stderr.Len() == 0) {
				t.Errorf("stderr %q, want %q", stderr.String(), c.stderr)
			}
		})
	}
}

func TestServeHasNoFlagsOfTheGateway(t *testing.T) {
	_, err := parseFlags("serve", []string{"--gateway", "x"}, io.Discard)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		t.Errorf("error %v, want an unknown flag", err)
	}
}

// secretsIn returns the codes and states of redirects.
func secretsIn(moves []string) []string {
	var found []string
	for _, m := range regexp.MustCompile(`[?&](?:code|state)=([^&#]+)`).FindAllStringSubmatch(strings.Join(moves, "\n"), -1) {
		found = append(found, strings.TrimSpace(m[1]))
	}
	return found
}
