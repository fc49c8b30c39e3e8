package browsertest

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/page"
)

// takePictures takes the page in view on a phone and on a desktop.
func (v *visitor) takePictures(name string) {
	v.t.Helper()
	for size, d := range map[string]device{"phone": onPhone(), "desktop": atDesk()} {
		d.agent, d.language, d.person = v.device.agent, v.device.language, v.device.person
		v.become(d).takePicture(name + "-" + size)
		d.dark = true
		v.become(d).takePicture(name + "-" + size + "-dark")
	}
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

// fewerColours makes a picture of our pages, which have few colours and many
// shades at the edges of letters, smaller: the more of the shades share one
// colour, until all fit into one byte.
func fewerColours(full image.Image) image.Image {
	for lost := uint(0); ; lost++ {
		box := full.Bounds()
		places := map[color.RGBA]uint8{}
		small := image.NewPaletted(box, nil)
		for y := box.Min.Y; y < box.Max.Y && len(places) <= 256; y++ {
			for x := box.Min.X; x < box.Max.X; x++ {
				c := coarser(color.RGBAModel.Convert(full.At(x, y)).(color.RGBA), lost)
				place, known := places[c]
				if !known {
					place = uint8(len(places))
					places[c] = place
					small.Palette = append(small.Palette, c)
				}
				small.SetColorIndex(x, y, place)
			}
		}
		if len(places) <= 256 {
			return small
		}
	}
}

// coarser rounds a colour to steps of 1<<lost.
func coarser(c color.RGBA, lost uint) color.RGBA {
	round := func(v uint8) uint8 { return uint8(min(255, (uint(v)+1<<lost>>1)>>lost<<lost)) }
	return color.RGBA{R: round(c.R), G: round(c.G), B: round(c.B), A: 255}
}
