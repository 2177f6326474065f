package web

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

func TestEverythingThatThePageNamesIsInTheBinary(t *testing.T) {
	page, err := fs.ReadFile(Files(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(string(page), -1)
	scripts := 0
	for _, m := range named {
		file, ok := strings.CutPrefix(m[1], "/")
		if !ok {
			t.Errorf("the page loads %q, which does not come from this server", m[1])
			continue
		}
		if strings.HasSuffix(file, ".js") {
			scripts++
		}
		if info, err := fs.Stat(Files(), file); err != nil || info.Size() == 0 {
			t.Errorf("the page names %s: %v", file, err)
		}
	}
	if scripts == 0 {
		t.Error("the page loads no script: is it built?")
	}
}

func TestThePageHasNoInlineScript(t *testing.T) {
	page, err := fs.ReadFile(Files(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range regexp.MustCompile(`<script[^>]*>`).FindAllString(string(page), -1) {
		if !strings.Contains(tag, "src=") {
			t.Errorf("%s: the content security policy forbids inline script", tag)
		}
	}
	if on := regexp.MustCompile(`\son[a-z]+=`).Find(page); on != nil {
		t.Errorf("%q: the content security policy forbids handlers in the document", on)
	}
}
