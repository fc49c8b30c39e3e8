package main

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wxgate/wxgate/internal/dbtest"
)

const installDir = "../../docs/install/"

// installed is a file tree as an installation makes it, in which the gateway
// runs as somebody who is not root and finds nothing else.
type installed struct {
	t    *testing.T
	root string
	user uint32
	env  []string
}

func newInstalled(t *testing.T, user uint32) *installed {
	t.Helper()
	root, err := os.MkdirTemp("", "wxg") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	in := &installed{t: t, root: root, user: user}
	in.dir("/run")
	must(t, os.Chmod(root, 0o755))
	return in
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (in *installed) path(name string) string { return filepath.Join(in.root, name) }

// dir makes a folder that belongs to the user.
func (in *installed) dir(name string) {
	in.t.Helper()
	must(in.t, os.MkdirAll(in.path(name), 0o755))
	if os.Geteuid() == 0 {
		must(in.t, os.Chown(in.path(name), int(in.user), int(in.user)))
	}
}

func (in *installed) write(name, text string) {
	in.t.Helper()
	must(in.t, os.MkdirAll(filepath.Dir(in.path(name)), 0o755))
	must(in.t, os.WriteFile(in.path(name), []byte(text), 0o644))
}

// command runs words inside of the tree.
func (in *installed) command(words []string) *exec.Cmd {
	cmd := &exec.Cmd{Path: words[0], Args: words, Env: in.env, Dir: "/", SysProcAttr: &syscall.SysProcAttr{Chroot: in.root}}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: in.user, Gid: in.user}
		return cmd
	}
	id := func(host int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: int(in.user), HostID: host, Size: 1}}
	}
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = id(os.Getuid()), id(os.Getgid())
	return cmd
}

// start runs the gateway until it says that it serves, as systemd is told.
func (in *installed) start(words []string) {
	in.t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: in.path("/run/notify"), Net: "unixgram"})
	must(in.t, err)
	defer socket.Close()
	must(in.t, os.Chmod(in.path("/run/notify"), 0o777))
	in.env = append(in.env, "NOTIFY_SOCKET=/run/notify")
	cmd, log := in.command(words), new(logs)
	cmd.Stdout, cmd.Stderr = log, log
	must(in.t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); _ = socket.SetReadDeadline(time.Unix(1, 0)) }()
	in.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			in.t.Errorf("ended by SIGTERM: %v\n%s", err, log.String())
		}
	})
	said := make([]byte, 1024)
	for {
		n, err := socket.Read(said)
		if err != nil {
			in.t.Fatalf("the gateway never said that it is ready: %v\n%s", err, log.String())
		}
		if strings.Contains(string(said[:n]), "READY=1") {
			return
		}
	}
}

func statusOf(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	must(t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

// static builds the gateway as `make dist` does.
func static(t *testing.T, to string) {
	t.Helper()
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", to, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := elf.Open(to)
	must(t, err)
	defer f.Close()
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Error("the binary is not static")
	}
}

// TestTheServiceOfTheDocumentationServes installs with the lines of the page
// and runs what the unit says.
func TestTheServiceOfTheDocumentationServes(t *testing.T) {
	page, err := os.ReadFile("../../docs/installing.md")
	must(t, err)
	in := newInstalled(t, 65531)
	work, p := t.TempDir(), dbtest.Port(t)
	must(t, os.Mkdir(filepath.Join(work, "dist"), 0o755))
	static(t, filepath.Join(work, "dist/wxgate-linux-"+runtime.GOARCH))
	here, err := filepath.Abs("../../docs")
	must(t, err)
	must(t, os.Symlink(here, filepath.Join(work, "docs")))
	must(t, os.WriteFile(filepath.Join(work, "secrets.env"), []byte("WX_OA_SECRET=of the account\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(work, "Caddyfile"), []byte(`{
	admin unix//run/admin
	persist_config off
	wxgate {
		official_account wx1111111111111111 {env.WX_OA_SECRET}
	}
}
http://127.0.0.1:`+p+` {
	wxgate {
		external_url http://127.0.0.1:`+p+`
	}
	respond hello
}
`), 0o644))
	for _, dir := range []string{"usr/local/bin", "etc/systemd/system"} {
		must(t, os.MkdirAll(in.path(dir), 0o755))
	}
	for _, line := range regexp.MustCompile(`(?m)^install .*$`).FindAllString(string(page), -1) {
		line = strings.ReplaceAll(strings.ReplaceAll(line, " /", " "+in.root+"/"), "linux-amd64", "linux-"+runtime.GOARCH)
		sh := exec.Command("sh", "-c", line)
		sh.Dir = work
		if out, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	unit := unitOf(t, in.path("etc/systemd/system/wxgate.service"))
	secrets, err := os.ReadFile(in.path(unit["EnvironmentFile"][0]))
	must(t, err)
	in.dir("/var/lib/" + unit["StateDirectory"][0])
	in.env = append(strings.Fields(unit["Environment"][0]), strings.TrimSpace(string(secrets)))
	in.start(strings.Fields(unit["ExecStart"][0]))
	if got := statusOf(t, "http://127.0.0.1:"+p+"/wxgate/readyz"); got != http.StatusOK {
		t.Errorf("/wxgate/readyz: %d", got)
	}
	if out, err := in.command(strings.Fields(unit["ExecReload"][0])).CombinedOutput(); err != nil {
		t.Errorf("reload: %v\n%s", err, out)
	}
	if _, err := os.Stat(in.path("/var/lib/wxgate/caddy/wxgate.db")); err != nil {
		t.Errorf("the accounts are not in the state directory: %v", err)
	}
	raw, err := os.ReadFile(in.path("etc/systemd/system/wxgate.service"))
	must(t, err)
	outside := filepath.Join(work, "wxgate.service") // which finds the binary outside of the tree
	must(t, os.WriteFile(outside, []byte(strings.ReplaceAll(string(raw), "=/usr/local", "="+in.root+"/usr/local")), 0o644))
	if out, err := exec.Command("systemd-analyze", "verify", "--recursive-errors=no", outside).CombinedOutput(); err != nil || strings.Contains(string(out), "wxgate.service:") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// unitOf reads the assignments of a unit file.
func unitOf(t *testing.T, name string) map[string][]string {
	t.Helper()
	raw, err := os.ReadFile(name)
	must(t, err)
	unit := map[string][]string{}
	for line := range strings.Lines(string(raw)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			unit[key] = append(unit[key], value)
		}
	}
	return unit
}

// image is what the Dockerfile makes.
type image struct {
	*installed
	command []string // entry point and default arguments
}

// newImage does what the Dockerfile says, without a container engine.
func newImage(t *testing.T) image {
	t.Helper()
	raw, err := os.ReadFile(installDir + "Dockerfile")
	must(t, err)
	_, last, ok := strings.Cut(string(raw), "\nFROM scratch\n")
	if !ok {
		t.Fatal("the image is not made from scratch")
	}
	user := regexp.MustCompile(`\nUSER (\d+):`).FindStringSubmatch(last)
	if user == nil || user[1] == "0" {
		t.Fatalf("the image's user is %v", user)
	}
	id, _ := strconv.ParseUint(user[1], 10, 32)
	img := image{installed: newInstalled(t, uint32(id))}
	for line := range strings.Lines(last) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "COPY":
			img.copy(words[2:])
		case "ENV":
			img.env = append(img.env, words[1:]...)
		case "ENTRYPOINT", "CMD":
			var args []string
			must(t, json.Unmarshal([]byte(strings.Join(words[1:], " ")), &args))
			img.command = append(img.command, args...)
		}
	}
	if !strings.Contains(string(raw), "go build -ldflags '-s -w' -o /out/wxgate ./cmd/wxgate\n") {
		t.Error("the image's binary is built in another way than `make dist` does")
	}
	return img
}

// copy does one COPY --from=build: the binary, the system's certificates, or an
// empty folder of the user.
func (img image) copy(words []string) {
	img.t.Helper()
	owned := strings.HasPrefix(words[0], "--chown=")
	from, to := words[len(words)-2], words[len(words)-1]
	switch {
	case owned && strings.HasPrefix(words[0], fmt.Sprintf("--chown=%d:", img.user)):
		img.dir(to)
	case from == "/out/wxgate":
		must(img.t, os.MkdirAll(filepath.Dir(img.path(to)), 0o755))
		static(img.t, img.path(to))
	default:
		raw, err := os.ReadFile(from)
		must(img.t, err)
		img.write(filepath.Join(to, filepath.Base(from)), string(raw))
	}
}

// sidecar is what the example for Kubernetes says of the gateway.
type sidecar struct {
	Name  string
	Args  []string
	Ports []struct {
		ContainerPort int `yaml:"containerPort"`
	}
	Env             []struct{ Name string }
	StartupProbe    probe `yaml:"startupProbe"`
	LivenessProbe   probe `yaml:"livenessProbe"`
	ReadinessProbe  probe `yaml:"readinessProbe"`
	SecurityContext struct {
		RunAsUser              uint32 `yaml:"runAsUser"`
		ReadOnlyRootFilesystem bool   `yaml:"readOnlyRootFilesystem"`
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

// readKubernetes returns the gateway's Caddyfile and container.
func readKubernetes(t *testing.T) (caddyfile string, c sidecar) {
	t.Helper()
	f, err := os.Open(installDir + "kubernetes.yaml")
	must(t, err)
	defer f.Close()
	dec := yaml.NewDecoder(f)
	for {
		var doc struct {
			Kind string
			Data map[string]string
			Spec struct {
				Template struct {
					Spec struct{ Containers []sidecar }
				}
			}
		}
		if err := dec.Decode(&doc); err != nil {
			break
		}
		switch doc.Kind {
		case "ConfigMap":
			caddyfile = doc.Data["Caddyfile"]
		case "Deployment":
			c = doc.Spec.Template.Spec.Containers[1]
		}
	}
	if caddyfile == "" || c.Name != "wxgate" {
		t.Fatal("the example has no Caddyfile, or no second container wxgate")
	}
	return caddyfile, c
}

// TestTheImageServesAsTheExampleForKubernetesSays, with no file but its own and
// nothing to write to but what is mounted.
func TestTheImageServesAsTheExampleForKubernetesSays(t *testing.T) {
	caddyfile, c := readKubernetes(t)
	img, p := newImage(t), dbtest.Port(t)
	img.write("/etc/wxgate/Caddyfile", strings.NewReplacer("localhost:2019", "unix//run/admin",
		fmt.Sprintf(":%d {", c.Ports[0].ContainerPort), ":"+p+" {").Replace(caddyfile))
	values := map[string]string{"WXGATE_SECRET": secret, "WXGATE_DATABASE": "sqlite:/data/accounts.db", "WX_OA_SECRET": "of the account"}
	for _, e := range c.Env {
		img.env = append(img.env, e.Name+"="+values[e.Name])
	}
	if c.SecurityContext.RunAsUser != img.user || !c.SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("the container's user and file system: %+v", c.SecurityContext)
	}
	for _, own := range []string{"/data", "/config", "/tmp"} {
		if !slices.ContainsFunc(c.VolumeMounts, func(m struct {
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		}) bool {
			return m.MountPath == own && !m.ReadOnly
		}) {
			must(t, os.Chmod(img.path(own), 0o500)) // the file system is read only
			must(t, os.Chown(img.path(own), os.Getuid(), os.Getgid()))
		}
	}
	words := append(slices.Clone(img.command[:1]), c.Args...)
	if !slices.Equal(words, img.command) {
		t.Errorf("the container runs %q, the image %q", words, img.command)
	}
	img.start(words)
	for _, probe := range []probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if got := statusOf(t, "http://127.0.0.1:"+p+probe.HTTPGet.Path); got != http.StatusOK || probe.HTTPGet.Port != "http" {
			t.Errorf("%s on %s: %d", probe.HTTPGet.Path, probe.HTTPGet.Port, got)
		}
	}
}
