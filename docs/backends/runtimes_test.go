package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	issuer   = "https://shop.example.com"
	audience = "shop-backend"

	jacksonJars = "/usr/share/java/jackson-core.jar:/usr/share/java/jackson-databind.jar:/usr/share/java/jackson-annotations.jar"
)

// runtime is a language whose verifier stands in docs/backends.md.
type runtime struct {
	name, file string
	// cache and retry are the lines that say how long fetched keys are used,
	// and how often they are fetched, with the number as %s.
	cache, retry string
	// build returns the command that runs source.
	build func(t *testing.T, source string) []string
}

func runtimes() []runtime {
	return []runtime{
		{"PHP", "WxgateVerifier.php", "CACHE_SECONDS = %s;", "RETRY_SECONDS = %s;", func(t *testing.T, source string) []string {
			return []string{lookPath(t, "php", "php-cli"), source}
		}},
		{"Node", "wxgate-verifier.mjs", "CACHE_SECONDS = %s ", "RETRY_SECONDS = %s ", func(t *testing.T, source string) []string {
			return []string{lookPath(t, "node", "nodejs"), source}
		}},
		{"Python", "wxgate_verifier.py", "CACHE_SECONDS = %s ", "RETRY_SECONDS = %s ", func(t *testing.T, source string) []string {
			if out, err := exec.Command("/usr/bin/python3", "-c", "import jwt, cryptography").CombinedOutput(); err != nil {
				t.Fatalf("/usr/bin/python3 lacks a module (apt-get install python3-jwt python3-cryptography): %s", out)
			}
			return []string{"/usr/bin/python3", source}
		}},
		{"Java", "WxgateVerifier.java", "CACHE_SECONDS = %s;", "RETRY_SECONDS = %s;", buildJava},
		{"Go", "verifier.go", "cacheTime = %s *", "retryTime = %s *", func(t *testing.T, source string) []string {
			binary := filepath.Join(t.TempDir(), "verifier")
			run(t, "go", "build", "-o", binary, source)
			return []string{binary}
		}},
	}
}

func buildJava(t *testing.T, source string) []string {
	for jar := range strings.SplitSeq(jacksonJars, ":") {
		if _, err := os.Stat(jar); err != nil {
			t.Fatalf("%s is missing (apt-get install libjackson2-databind-java)", jar)
		}
	}
	classes := t.TempDir()
	run(t, lookPath(t, "javac", "default-jdk-headless"), "--release", "11", "-cp", jacksonJars, "-d", classes, source)
	return []string{lookPath(t, "java", "default-jdk-headless"), "-XX:TieredStopAtLevel=1", "-cp", classes + ":" + jacksonJars, "WxgateVerifier"}
}

func lookPath(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is missing (apt-get install %s)", program, pkg)
	}
	return path
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// edit replaces one piece of a verifier's source, which must occur once.
type edit struct{ from, to string }

// withTimes returns the edits that make a verifier use its keys for cache
// seconds and fetch at most once in retry seconds.
func (r runtime) withTimes(cache, retry string) []edit {
	return []edit{
		{fmt.Sprintf(r.cache, "300"), fmt.Sprintf(r.cache, cache)},
		{fmt.Sprintf(r.retry, "5"), fmt.Sprintf(r.retry, retry)},
	}
}

// verifier is a running verifier.
type verifier struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

// start runs the verifier of r, edited, until the test ends.
func (r runtime) start(t *testing.T, jwksURL string, edits ...edit) *verifier {
	t.Helper()
	raw, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	source := string(raw)
	for _, e := range edits {
		if n := strings.Count(source, e.from); n != 1 {
			t.Fatalf("%s has %q %d times, want once", r.file, e.from, n)
		}
		source = strings.Replace(source, e.from, e.to, 1)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, r.file)
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	command := append(r.build(t, path), jwksURL, issuer, audience)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("%s ended: %v\n%s", r.name, err, &stderr)
		}
	})
	return &verifier{t: t, in: in, out: bufio.NewScanner(out)}
}

// ask returns the verifier's answer to a header value: "ok", with user id and
// kind, or "refused" alone.
func (v *verifier) ask(header string) string {
	v.t.Helper()
	if _, err := io.WriteString(v.in, header+"\n"); err != nil {
		v.t.Fatal(err)
	}
	if !v.out.Scan() {
		v.t.Fatalf("no answer: %v", v.out.Err())
	}
	if strings.HasPrefix(v.out.Text(), "refused ") {
		return "refused"
	}
	return v.out.Text()
}

func (v *verifier) want(header, answer, because string) {
	v.t.Helper()
	if got := v.ask(header); got != answer {
		v.t.Errorf("%s: answer %q, want %q", because, got, answer)
	}
}
