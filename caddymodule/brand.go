package caddymodule

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wxgate/wxgate/internal/gate"
)

// Brand is how the gateway's own pages show whose they are.
type Brand struct {
	// The shop's name. Default: none.
	//
	// Caddyfile: `name "Tea & Co"`
	Name string `json:"name,omitempty"`

	// An image file: PNG, JPEG, WebP or SVG, of at most 100 KB. Default: none.
	//
	// Caddyfile: `logo /etc/wxgate/logo.svg`
	Logo string `json:"logo,omitempty"`

	// The colour of buttons. A Caddyfile takes what follows a bare `#` for a
	// comment, so it is left out, or stands in quotes. Default: a green.
	//
	// Caddyfile: `colour c8102e`
	Colour string `json:"colour,omitempty"`

	// Whom to call: shown on pages that say what went wrong. Default: none.
	//
	// Caddyfile: `contact "400-123-4567, 9:00 to 18:00"`
	Contact string `json:"contact,omitempty"`
}

// load reads the logo.
func (b *Brand) load() (gate.Brand, error) {
	out := gate.Brand{Name: b.Name, Contact: b.Contact}
	if b.Colour != "" {
		out.Colour = "#" + strings.TrimPrefix(b.Colour, "#")
	}
	if b.Logo == "" {
		return out, nil
	}
	types := map[string]string{
		".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".svg": "image/svg+xml",
	}
	if out.Type = types[strings.ToLower(filepath.Ext(b.Logo))]; out.Type == "" {
		return out, fmt.Errorf("brand: logo %s is none of: PNG, JPEG, WebP, SVG", b.Logo)
	}
	var err error
	if out.Logo, err = os.ReadFile(b.Logo); err != nil {
		return out, fmt.Errorf("brand: logo: %w", err)
	}
	return out, nil
}
