package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/wxgate/wxgate/"

type listedPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// packages lists every package of the module with its imports.
func packages(t *testing.T) []listedPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listedPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p listedPackage
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 8 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}

// Caddy is one way to run the gateway; the product must not depend on it.
func TestNothingInternalReachesCaddy(t *testing.T) {
	for _, p := range packages(t) {
		if !strings.HasPrefix(p.ImportPath, module+"internal/") {
			continue
		}
		for _, d := range p.Deps {
			if strings.HasPrefix(d, "github.com/caddyserver/") {
				t.Errorf("%s depends on %s", p.ImportPath, d)
			}
		}
	}
}

// Only caddymodule and the commands, which link it in, import Caddy.
func TestOnlyCaddymoduleImportsCaddy(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath == module+"caddymodule" || p.ImportPath == module+"cmd/wxgate" {
			continue
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "github.com/caddyserver/") {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
}

// Every leaf does one protocol or owns one kind of data, alone. What they call
// each tells the trace of by the same package.
func TestLeavesDoNotImportEachOther(t *testing.T) {
	allowed := map[string][]string{
		"internal/gate":              {"internal/account", "internal/session", "internal/wechat", "internal/assertion", "internal/limit", "internal/sms"},
		"internal/webhook":           {"internal/account"},
		"internal/wechat/wechattest": {"internal/wechat"},
	}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if !strings.HasPrefix(name, "internal/") {
			continue
		}
		for _, i := range p.Imports {
			dep, ours := strings.CutPrefix(i, module)
			if ours && dep != "internal/span" && !slices.Contains(allowed[name], dep) {
				t.Errorf("%s imports %s", name, dep)
			}
		}
	}
}

// State belongs to what a configuration owns. A package-level variable may only
// be a sentinel error, a compiled regexp, an embedded file, an interface guard
// or the pool that outlives a configuration. dbtest, which no program contains,
// keeps its servers for the tests of a process.
func TestNoPackageLevelState(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "docs" || d.Name() == "sdk" || d.Name() == "dbtest") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			checkVars(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkVars(t *testing.T, path string) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range f.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		embedded := strings.Contains(docOf(gen.Doc), "go:embed")
		for _, spec := range gen.Specs {
			v := spec.(*ast.ValueSpec)
			if !embedded && !strings.Contains(docOf(v.Doc), "go:embed") && !allowedVar(v) {
				t.Errorf("%s: package-level variable %s", fset.Position(v.Pos()), v.Names[0].Name)
			}
		}
	}
}

// docOf returns a comment with its directives, which Text leaves out.
func docOf(c *ast.CommentGroup) string {
	var b strings.Builder
	if c != nil {
		for _, line := range c.List {
			b.WriteString(line.Text)
		}
	}
	return b.String()
}

func allowedVar(v *ast.ValueSpec) bool {
	if v.Names[0].Name == "_" {
		return true
	}
	for _, val := range v.Values {
		call, ok := val.(*ast.CallExpr)
		if !ok {
			return false
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		switch x, _ := sel.X.(*ast.Ident); x.Name + "." + sel.Sel.Name {
		case "errors.New", "regexp.MustCompile", "caddy.NewUsagePool":
		default:
			return false
		}
	}
	return len(v.Values) > 0
}
