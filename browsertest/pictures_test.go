package browsertest

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/page"
)

// takePictures takes the page in view on a phone and on a desktop.
func (v *visitor) takePictures(name string) {
	v.t.Helper()
	before := v.device
	port := v.w.base[strings.LastIndexByte(v.w.base, ':'):] // another in each run
	v.eval(fmt.Sprintf(`for (const e of document.querySelectorAll(".detail")) e.textContent = e.textContent.replaceAll(%q, "")`, port))
	v.eval(`for (const e of document.querySelectorAll(".code code")) if (/^[0-9a-f]{8}$/.test(e.textContent)) e.textContent = "3f2a91bc"`) // as in docs/operations.md
	for size, d := range map[string]device{"phone": onPhone(), "desktop": atDesk()} {
		v.moveTo(device{agent: before.agent, dark: before.dark, width: d.width, height: d.height, touch: d.touch}).takePicture(name + "-" + size)
	}
	v.become(before)
}

func (v *visitor) takePicture(name string) {
	v.t.Helper()
	taken, err := png.Decode(bytes.NewReader(send(v, page.CaptureScreenshot, page.CaptureScreenshotParams{}).Data))
	if err != nil {
		v.t.Fatal(err)
	}
	var small bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&small, fewerColours(taken)); err != nil {
		v.t.Fatal(err)
	}
	file := filepath.Join("..", "docs", "screenshots", name+".png")
	if err := os.WriteFile(file, small.Bytes(), 0o644); err != nil {
		v.t.Fatal(err)
	}
}

// fewerColours makes a picture of our pages smaller, which have few colours and
// many shades of them at the edges of letters: the most frequent stay what they
// are, and the others become what is nearest.
func fewerColours(full image.Image) image.Image {
	box := full.Bounds()
	pixels := map[color.Color]int{}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			pixels[full.At(x, y)]++
		}
	}
	palette := slices.SortedFunc(maps.Keys(pixels), func(a, b color.Color) int {
		return cmp.Or(pixels[b]-pixels[a], strings.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	small := image.NewPaletted(box, palette[:min(len(palette), 64)])
	draw.Draw(small, box, full, box.Min, draw.Src)
	return small
}
