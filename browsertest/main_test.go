package browsertest

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What all tests share is made once and named by the environment.
const (
	gatewayVariable  = "BROWSERTEST_GATEWAY"  // the gateway's binary
	sandboxVariable  = "BROWSERTEST_SANDBOX"  // the sandbox's
	chromiumVariable = "BROWSERTEST_CHROMIUM" // the browser's DevTools address
)

const updateFlag = "update-screenshots"

func TestMain(m *testing.M) {
	flag.Bool(updateFlag, false, "write docs/screenshots")
	flag.Parse()
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// runAll builds what is tested, starts the browser, and runs the tests.
func runAll(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "wxgate-browsertest-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir+"/", "./cmd/wxgate", "./cmd/wxgate-sandbox")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building the gateway: %w\n%s", err, out)
	}
	browser, address, err := startChromium(filepath.Join(dir, "profile"))
	if err != nil {
		return 1, err
	}
	defer browser.Wait()
	defer browser.Process.Kill()
	os.Setenv(gatewayVariable, filepath.Join(dir, "wxgate"))
	os.Setenv(sandboxVariable, filepath.Join(dir, "wxgate-sandbox"))
	os.Setenv(chromiumVariable, address)
	return m.Run(), nil
}

// startChromium starts a browser that finds our hosts on this machine and no
// other host anywhere. Its certificates are made by the gateway for the test.
func startChromium(profile string) (browser *exec.Cmd, address string, err error) {
	browser = exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions",
		"--disable-sync", "--no-first-run", "--no-default-browser-check", "--password-store=basic", "--hide-scrollbars",
		"--disable-features=HttpsUpgrades,Translate,OptimizationHints,MediaRouter",
		"--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding", "--disable-background-timer-throttling",
		"--force-color-profile=srgb", "--font-render-hinting=none",
		"--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1", "--ignore-certificate-errors",
		"--remote-debugging-port=0", "--user-data-dir="+profile, "about:blank")
	said, err := browser.StderrPipe()
	if err != nil {
		return nil, "", err
	}
	if err := browser.Start(); err != nil {
		return nil, "", fmt.Errorf("starting chromium: %w", err)
	}
	var before strings.Builder
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if _, address, found := strings.Cut(lines.Text(), "DevTools listening on "); found {
			go func() { // else it blocks when the pipe is full
				for lines.Scan() {
				}
			}()
			return browser, address, nil
		}
		before.WriteString(lines.Text() + "\n")
	}
	return nil, "", fmt.Errorf("starting chromium: %w\n%s", errors.Join(errors.New("it ended"), browser.Wait()), before.String())
}
