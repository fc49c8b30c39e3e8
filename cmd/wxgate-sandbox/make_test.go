package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuildThatFailsSaysWhatToDo: make is where newcomers begin. A script plays
// the Go that they have.
func TestBuildThatFailsSaysWhatToDo(t *testing.T) {
	for name, tt := range map[string]struct {
		version, download string // of the Go at hand, and how its download ends
		want              string
		not               string
	}{
		"no Go":             {want: "Go is missing. Install Go 1."},
		"an old Go":         {version: "go version go1.19.8 linux/amd64", want: "This Go is too old. Install Go 1.", not: "GOPROXY"},
		"no network":        {version: "go version go1.22.2 linux/amd64", download: "exit 1", want: "try: GOPROXY=https://goproxy.cn,direct make run"},
		"a mistake of ours": {version: "go version go1.26.0 linux/amd64", download: "exit 0", want: "it does not compile", not: "GOPROXY"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script := "#!/bin/sh\ncase \"$1\" in\nversion) echo '" + tt.version + "' ;;\nmod) " + tt.download + " ;;\nbuild) echo 'it does not compile' >&2; exit 1 ;;\nesac\n"
			if tt.version == "" {
				script = "#!/bin/sh\nexit 127\n"
			}
			if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			run := exec.Command("make", "-C", "../..", "run")
			run.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "MAKEFLAGS=", "MAKELEVEL=")
			out, err := run.CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v, and without %q:\n%s", err, tt.want, out)
			}
			if tt.not != "" && strings.Contains(string(out), tt.not) {
				t.Errorf("it says %q:\n%s", tt.not, out)
			}
		})
	}
}
