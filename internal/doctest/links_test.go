package doctest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`^#{1,6} +(.*)$`)
)

func TestEveryRelativeLinkLeadsSomewhere(t *testing.T) {
	all := pages(t)
	anchors := map[string][]string{}
	for _, p := range all {
		for _, l := range p.lines {
			if m := heading.FindStringSubmatch(l.text); m != nil {
				anchors[p.path] = append(anchors[p.path], slug(m[1]))
			}
		}
	}
	links := 0
	for _, p := range all {
		for _, l := range p.lines {
			for _, m := range link.FindAllStringSubmatch(inlineCode.ReplaceAllString(l.text, ""), -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				links++
				if why := broken(t, p.path, m[1], anchors); why != "" {
					t.Errorf("%s:%d: the link %s %s", p.path, l.number, m[1], why)
				}
			}
		}
	}
	if links < 40 {
		t.Errorf("only %d links were found", links)
	}
}

func broken(t *testing.T, from, target string, anchors map[string][]string) string {
	t.Helper()
	file, anchor, _ := strings.Cut(target, "#")
	to := from
	if file != "" {
		to = path.Join(path.Dir(from), file)
	}
	if _, err := os.Stat(filepath.Join(root(t), filepath.FromSlash(to))); err != nil {
		if _, ok := generated[to]; ok {
			return ""
		}
		return "leads nowhere"
	}
	if anchor != "" && !slices.Contains(anchors[to], anchor) {
		return fmt.Sprintf("names a heading that %s does not have", to)
	}
	return ""
}

// slug is the anchor that GitHub gives a heading.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.ReplaceAll(text, "`", "")) {
		switch {
		case r == ' ' || r == '-':
			b.WriteByte('-')
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '_':
			b.WriteRune(r)
		}
	}
	return b.String()
}

func TestIndexNamesEveryPage(t *testing.T) {
	named := map[string]bool{}
	for _, l := range readPage(t, "docs/README.md").lines {
		for _, m := range link.FindAllStringSubmatch(l.text, -1) {
			named[path.Join("docs", m[1])] = true
		}
	}
	for _, p := range pages(t) {
		if strings.HasPrefix(p.path, "docs/") && !strings.HasPrefix(p.path, "docs/adr/") && p.path != "docs/README.md" && !named[p.path] {
			t.Errorf("docs/README.md does not name %s", p.path)
		}
	}
}

func TestIndexOfDecisionsNamesEveryDecision(t *testing.T) {
	index := readPage(t, "docs/adr/README.md")
	for _, p := range pages(t) {
		if dir, name := path.Split(p.path); dir == "docs/adr/" && name != "README.md" &&
			!slices.ContainsFunc(index.lines, func(l line) bool { return strings.Contains(l.text, "("+name+")") }) {
			t.Errorf("docs/adr/README.md does not name %s", name)
		}
	}
}
