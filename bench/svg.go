package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
)

// bar is a bar of the plot, with a line from the least to the most of what was
// measured.
type bar struct {
	value, low, high float64
	label            string
}

// panel is one bar chart: groups of bars, one bar for each name.
type panel struct {
	title  string
	groups []string
	bars   [][]bar // by group, then by name
}

const (
	panelWidth, panelHeight = 430, 260
	plotLeft, plotTop       = 20, 64
)

// colors are told apart on white and on black.
var colors = []string{"#2f81f7", "#8b949e", "#d29922", "#a371f7"}

// chart draws the panels beside each other. Its text takes the color of the
// reader's scheme, and there is no background.
func chart(names []string, panels []panel) []byte {
	var b bytes.Buffer
	width, height := plotLeft+len(panels)*(panelWidth+plotLeft), plotTop+panelHeight+40
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="system-ui, sans-serif" font-size="12">`+"\n", width, height, width, height)
	b.WriteString("<style>text{fill:#1f2328}text[text-anchor=middle]{font-size:11px}line{stroke:#57606a}@media (prefers-color-scheme: dark){text{fill:#e6edf3}line{stroke:#9da7b3}}</style>\n")
	x := plotLeft
	for i, name := range names {
		fmt.Fprintf(&b, `<rect x="%d" y="12" width="12" height="12" fill="%s"/>`, x, colors[i%len(colors)])
		svgText(&b, float64(x+18), 22, "start", name)
		x += 34 + 8*len(name)
	}
	for i, p := range panels {
		p.draw(&b, float64(plotLeft+i*(panelWidth+plotLeft)), len(names))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (p *panel) draw(b *bytes.Buffer, left float64, names int) {
	svgText(b, left, plotTop-16, "start", p.title)
	most := 0.0
	for _, g := range p.bars {
		for _, v := range g {
			most = max(most, v.value, v.high)
		}
	}
	if most == 0 || math.IsInf(most, 0) || math.IsNaN(most) {
		return
	}
	const bottom = plotTop + panelHeight
	y := func(v float64) float64 { return bottom - v/most*(panelHeight-24) }
	group := float64(panelWidth) / float64(len(p.groups))
	wide := group * 0.84 / float64(names)
	for g, title := range p.groups {
		x := left + float64(g)*group + group*0.08
		for i, v := range p.bars[g] {
			at := x + float64(i)*wide
			middle := at + wide*0.45
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, at, y(v.value), wide*0.9, bottom-y(v.value), colors[i%len(colors)])
			if v.high > v.low {
				fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, middle, y(v.low), middle, y(v.high))
			}
			svgText(b, middle, y(max(v.value, v.high))-5, "middle", v.label)
		}
		svgText(b, x+group*0.42, bottom+18, "middle", title)
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", left, bottom, left+panelWidth, bottom)
}

func svgText(b *bytes.Buffer, x, y float64, anchor, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">`, x, y, anchor)
	_ = xml.EscapeText(b, []byte(s)) // a buffer takes all
	b.WriteString("</text>")
}
