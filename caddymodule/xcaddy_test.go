package caddymodule

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// xcaddyMain is the program that xcaddy writes for `--with` this package.
const xcaddyMain = `package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/wxgate/wxgate/caddymodule"
)

func main() { caddycmd.Main() }
`

// TestCaddyBuiltWithXcaddyIsTheSame takes the steps of `xcaddy build --with
// github.com/wxgate/wxgate/caddymodule=.`: a module of its own, a replacement,
// its build tags. Requirements are copied instead of looked up, so that no
// network is needed.
func TestCaddyBuiltWithXcaddyIsTheSame(t *testing.T) {
	tree, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		raw, err := os.ReadFile(filepath.Join(tree, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(xcaddyMain), 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, dir, "go", "mod", "edit", "-module=caddy", "-require=github.com/wxgate/wxgate@v0.0.0",
		"-replace=github.com/wxgate/wxgate="+tree)
	theirs, ours := filepath.Join(dir, "caddy"), filepath.Join(dir, "wxgate")
	output(t, dir, "go", "build", "-o", theirs, "-ldflags=-w -s", "-tags=nobadger,nomysql,nopgx", ".")
	output(t, tree, "go", "build", "-o", ours, "-ldflags=-w -s", "./cmd/wxgate")

	modules := output(t, dir, theirs, "list-modules", "--skip-standard")
	for _, want := range []string{"wxgate", "http.handlers.wxgate", "admin.api.wxgate"} {
		if !strings.Contains("\n"+modules, "\n"+want+"\n") {
			t.Errorf("list-modules does not know %s:\n%s", want, modules)
		}
	}
	if help := output(t, dir, theirs, "wxgate", "user", "--help"); !strings.Contains(help, "\n  caddy wxgate user <command>") {
		t.Errorf("the commands do not stand below caddy wxgate:\n%s", help)
	}
	all := func(bin string) string { return output(t, dir, bin, "list-modules") }
	if diff := cmp.Diff(all(ours), all(theirs)); diff != "" {
		t.Errorf("the modules of cmd/wxgate (-) and of xcaddy (+):\n%s", diff)
	}
	golden, err := os.ReadFile("testdata/whole_smallest.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	caddyfile, _, _ := strings.Cut(string(golden), "\n----------\n")
	file := filepath.Join(write(t, "Caddyfile", caddyfile+"\n"), "Caddyfile")
	adapt := func(bin string) string { return output(t, dir, bin, "adapt", "--config", file) }
	adapted := adapt(theirs)
	if diff := cmp.Diff(adapt(ours), adapted); diff != "" || !strings.Contains(adapted, `"handler":"wxgate"`) {
		t.Errorf("adapted by cmd/wxgate (-) and by xcaddy's (+):\n%s\n%s", diff, adapted)
	}
}

// output runs a program to its end and returns what it says.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	home := t.TempDir() // of Caddy's files, and of the go command's
	cmd.Env = append(os.Environ(), "GOWORK=off", "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, said.String())
	}
	return string(out)
}
