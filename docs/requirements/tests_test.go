package requirements

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A testPackage is what the test files of one directory hold.
type testPackage struct {
	dir   string            // from the root of the tree
	files map[string]string // test or fuzz target -> the file that declares it
	skips map[string]bool   // tests that may end without showing anything
	// parts are what parts of tests may be called, by the file of the test: the
	// string literals there, and below "" the ids of cases in testdata.
	parts map[string]map[string]bool
}

// testPackages reads the tests of the whole tree, by the last element of their
// directories.
func testPackages(t *testing.T, root fs.FS) map[string]*testPackage {
	t.Helper()
	all := map[string]*testPackage{}
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || len(d.Name()) > 1 && d.Name()[0] == '.'):
			return fs.SkipDir
		case strings.HasSuffix(file, "_test.go"):
			dir := path.Dir(file)
			p := all[path.Base(dir)]
			if p == nil {
				p = &testPackage{dir: dir, files: map[string]string{}, skips: map[string]bool{}, parts: map[string]map[string]bool{"": {}}}
				all[path.Base(dir)] = p
				if err := p.readCases(root); err != nil {
					return err
				}
			}
			if p.dir != dir {
				t.Errorf("%s and %s have one name", p.dir, dir)
			}
			return p.readTests(root, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// readTests takes the tests and their parts from a file.
func (p *testPackage) readTests(root fs.FS, file string) error {
	raw, err := fs.ReadFile(root, file)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, raw, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && regexp.MustCompile(`^(Test|Fuzz)[A-Z]`).MatchString(fn.Name.Name) && fn.Name.Name != "TestMain" {
			p.files[fn.Name.Name] = file
			p.skips[fn.Name.Name] = skips(fn)
		}
	}
	p.parts[file] = map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				p.parts[file][text] = true
			}
		}
		return true
	})
	return nil
}

// skips says whether a test names one of the methods that end it early.
func skips(fn *ast.FuncDecl) (found bool) {
	ast.Inspect(fn, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
			found = true
		}
		return true
	})
	return found
}

// readCases takes the ids of the cases that testdata holds.
func (p *testPackage) readCases(root fs.FS) error {
	files, err := fs.Glob(root, filepath.Join(p.dir, "testdata", "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		raw, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		for _, id := range regexp.MustCompile(`(?m)^- id: (\S+)$`).FindAllSubmatch(raw, -1) {
			p.parts[""][string(id[1])] = true
		}
	}
	return nil
}
