package browsertest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const (
	maxWeight   = 30 << 10 // bytes of a page with all it loads, unpacked
	minContrast = 4.5
	minTarget   = 44 // CSS pixels, each way
)

// sizes are what every page must fit without scrolling sideways.
func sizes() map[string]device {
	phone, desk := onPhone(), atDesk()
	narrow, zoomed := phone, desk
	narrow.width, narrow.height = 320, 568
	zoomed.width, zoomed.height, zoomed.scale = 640, 400, 2
	return map[string]device{"phone": phone, "desk": desk, "320 px": narrow, "200% zoom": zoomed}
}

// checkForAll tests that nobody is shut out of the page in view, by day and by
// night.
func (v *visitor) checkForAll(t *testing.T) {
	t.Helper()
	before := v.device
	for _, dark := range []bool{false, true} {
		d := before
		d.dark = dark
		v.become(d)
		v.checkAccessible(t, dark)
		v.checkContrast(t, dark)
	}
	v.become(before)
}

// checkLooks tests that the page in view is light, fits every screen, and can
// be used with a thumb.
func (v *visitor) checkLooks(t *testing.T) {
	t.Helper()
	v.checkWeight(t)
	before := v.device
	for name, size := range sizes() {
		d := before
		d.width, d.height, d.scale, d.touch = size.width, size.height, size.scale, size.touch
		v.become(d)
		v.checkLayout(t, name)
	}
	v.become(before)
	// Large letters, as set in WeChat or in the browser.
	v.eval(`document.documentElement.style.fontSize = "200%"`)
	v.checkLayout(t, "200% letters")
	v.eval(`document.documentElement.style.fontSize = ""`)
}

// checkAccessible lets axe-core look at the page, by night at its colours alone:
// nothing else is different then.
func (v *visitor) checkAccessible(t *testing.T, dark bool) {
	t.Helper()
	if !v.holds("typeof axe === 'object'") {
		axe, err := os.ReadFile("testdata/axe-core/axe.min.js")
		if err != nil {
			t.Fatal(err)
		}
		v.eval(string(axe))
	}
	rules := `{}`
	if dark {
		rules = `{runOnly: ["color-contrast"]}`
	}
	for _, violation := range read[[]string](v, `axe.run(document, `+rules+`).then(result =>
		result.violations.map(v => v.id + ": " + v.nodes.map(n => n.html + " " + n.failureSummary).join("\n")))`) {
		t.Errorf("dark %t: axe-core: %s", dark, violation)
	}
}

// checkContrast compares the colours of all texts with what they stand on.
// Unlike axe-core it makes no exception for large letters.
func (v *visitor) checkContrast(t *testing.T, dark bool) {
	t.Helper()
	for _, text := range read[[]string](v, fmt.Sprintf(`(least => {
		const rgb = colour => colour.match(/[\d.]+/g).map(Number);
		const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
			.map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
			.reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
		const ground = element => {
			for (; element; element = element.parentElement) {
				const colour = rgb(getComputedStyle(element).backgroundColor);
				if (colour[3] !== 0) return colour;
			}
			return [255, 255, 255];
		};
		const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), poor = [];
		while (texts.nextNode()) {
			const element = texts.currentNode.parentElement;
			if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
			const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground(element))];
			const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
			if (contrast < least) poor.push(contrast.toFixed(2) + " of " + texts.currentNode.data.trim());
		}
		return poor;
	})(%v)`, minContrast)) {
		t.Errorf("dark %t: contrast %s", dark, text)
	}
}

// checkLayout looks for what is cut off and for what a thumb would miss.
func (v *visitor) checkLayout(t *testing.T, size string) {
	t.Helper()
	for _, problem := range read[[]string](v, fmt.Sprintf(`(least => {
		const problems = [], root = document.documentElement;
		if (root.scrollWidth > innerWidth) problems.push("the page is " + root.scrollWidth + " px wide in " + innerWidth);
		for (const element of document.body.querySelectorAll("*")) {
			if (!element.checkVisibility()) continue;
			const box = element.getBoundingClientRect(), what = element.outerHTML.slice(0, 80);
			if (box.right > innerWidth + 0.5 || box.left < -0.5) problems.push("beyond the edge: " + what);
			if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== "visible")
				problems.push("cut off: " + what);
			if (element.matches("a, button, input:not([type=hidden]), select, textarea, summary") &&
				(box.width < least - 0.5 || box.height < least - 0.5))
				problems.push("only " + Math.round(box.width) + " x " + Math.round(box.height) + " px: " + what);
		}
		return problems;
	})(%d)`, minTarget)) {
		t.Errorf("at %s: %s", size, problem)
	}
}

// checkWeight adds up what the page has loaded, and from where.
func (v *visitor) checkWeight(t *testing.T) {
	t.Helper()
	type load struct {
		URL   string
		Bytes int
	}
	sum, origin := 0, read[string](v, "location.origin")
	for _, l := range read[[]load](v, `performance.getEntries().filter(e => "decodedBodySize" in e).map(e => ({URL: e.name, Bytes: e.decodedBodySize}))`) {
		sum += l.Bytes
		if !strings.HasPrefix(l.URL, origin+"/") {
			t.Errorf("the page asks another host: %s", l.URL)
		}
	}
	if sum == 0 || sum > maxWeight {
		t.Errorf("the page weighs %d bytes, want at most %d", sum, maxWeight)
	}
}
