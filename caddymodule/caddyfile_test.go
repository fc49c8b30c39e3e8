package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "rewrite the expected part of testdata/*.caddyfiletest")

// TestCaddyfileAdaptsAsRecorded compares each Caddyfile of testdata with the
// JSON, or the whole error, that stands below it.
func TestCaddyfileAdaptsAsRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(content), "\n----------\n")
			got := adaptOrError(t, strings.TrimSpace(input)+"\n")
			if *update {
				content := strings.TrimSpace(input) + "\n\n----------\n" + got + "\n"
				if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.TrimSpace(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// adaptOrError returns what Caddy makes of a Caddyfile.
func adaptOrError(t *testing.T, input string) string {
	t.Helper()
	result, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), nil)
	if err != nil {
		return err.Error()
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, result, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return indented.String()
}

// FuzzBlocks reads any tokens as our blocks. What is accepted can be read by
// the module; what is not has a reason.
func FuzzBlocks(f *testing.F) {
	files, err := filepath.Glob("testdata/whole_*.caddyfiletest")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(content), "\n----------\n")
		_, block, _ := strings.Cut(input, "wxgate")
		f.Add("wxgate" + block)
	}
	f.Fuzz(func(t *testing.T, input string) {
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		if err != nil || len(tokens) == 0 {
			return
		}
		opt, err := parseApp(caddyfile.NewDispenser(tokens), nil)
		if err == nil {
			if err := caddy.StrictUnmarshalJSON(opt.(httpcaddyfile.App).Value, new(App)); err != nil {
				t.Error(err)
			}
		} else if !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("no line in %q", err)
		}
		_, err = parseHandler(httpcaddyfile.Helper{Dispenser: caddyfile.NewDispenser(tokens)})
		if err != nil && !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("no line in %q", err)
		}
	})
}
