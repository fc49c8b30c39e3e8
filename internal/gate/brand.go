package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
)

// Brand is how our pages show whose they are. Each of it may be empty.
type Brand struct {
	Name    string // of the shop
	Logo    []byte // an image
	Type    string // of the logo, such as image/png
	Colour  string // of buttons, such as #c8102e
	Contact string // whom to call; shown where something went wrong
}

// maxLogo bounds the logo in bytes: phones load it on the way.
const maxLogo = 100 << 10

// logoPath is where the logo is, below the prefix.
const logoPath = "/logo"

var colourSyntax = regexp.MustCompile(`^#[0-9A-Fa-f]{6}$`)

// check says what our pages cannot show.
func (b Brand) check() error {
	switch {
	case b.Colour != "" && !colourSyntax.MatchString(b.Colour):
		return fmt.Errorf("brand: colour %q is not written like #c8102e", b.Colour)
	case len(b.Logo) > maxLogo:
		return fmt.Errorf("brand: the logo has %d bytes, at most %d are possible", len(b.Logo), maxLogo)
	}
	return nil
}

// style colours the buttons, with the one of black and white on them that is
// read better: its contrast is 4.5 or more on any colour (WCAG 2.2, 1.4.3).
func (b Brand) style() string {
	if b.Colour == "" {
		return ""
	}
	ink := "#000"
	if l := luminance(b.Colour); 1.05/(l+0.05) >= (l+0.05)/0.05 {
		ink = "#fff"
	}
	return ":root{--go:" + b.Colour + ";--go-ink:" + ink + "}"
}

// luminance is the relative luminance of a colour (WCAG 2.2).
func luminance(colour string) float64 {
	sum := 0.0
	for i, weight := range [...]float64{0.2126, 0.7152, 0.0722} {
		n, _ := strconv.ParseUint(colour[1+2*i:3+2*i], 16, 8) // checked
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// logoURL changes with the logo; it is empty if there is none.
func (b Brand) logoURL(base string) string {
	if len(b.Logo) == 0 {
		return ""
	}
	sum := sha256.Sum256(b.Logo)
	return base + logoPath + "?v=" + hex.EncodeToString(sum[:4])
}

// logo serves the shop's logo. An SVG is a document too, and may do nothing.
func (s *Site) logo(w http.ResponseWriter, r *http.Request, _ *Visit) {
	if len(s.cfg.Brand.Logo) == 0 {
		s.writeProblem(w, r, newProblem(codeNotFound))
		return
	}
	h := w.Header()
	h.Set("Content-Type", s.cfg.Brand.Type)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	immutable(h)
	if r.Method != http.MethodHead {
		_, _ = w.Write(s.cfg.Brand.Logo)
	}
}

// immutable lets a file of ours, whose URL changes with its content, be kept.
func immutable(h http.Header) {
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
}
