package domain

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of Definition.Index.
const (
	MaxIndexed      = 16  // paths of one definition
	MaxIndexedBytes = 256 // of one path
)

// checkIndex checks the paths of the context fields to index. A path is the keys from the outside to the inside, with dots
// between them; a key that has a dot, or nothing, in it cannot be named, and neither can an item of a list.
func checkIndex(paths []string, p *problems) {
	if len(paths) > MaxIndexed {
		p.addf("index", "every one costs a row per task: index only what tasks are searched by",
			"%d fields to index; at most %d are allowed", len(paths), MaxIndexed)
		return
	}
	for i, path := range paths {
		at := IndexPath("index", i)
		switch {
		case path == "":
			p.add(at, "an empty path", leaveOut)
			continue
		case len(path) > MaxIndexedBytes:
			p.addf(at, "index a field further out", "path has %d bytes; at most %d are allowed", len(path), MaxIndexedBytes)
			continue
		case slices.Contains(paths[:i], path):
			p.addf(at, "leave one of the two out", "duplicate path %q", path)
			continue
		}
		checkIndexPath(path, at, p)
	}
}

func checkIndexPath(path, at string, p *problems) {
	const hint = "write the keys with dots between them, like customer.id; allowed are A-Z a-z 0-9 _ -"
	for key := range strings.SplitSeq(path, ".") {
		if key == "" {
			p.addf(at, hint, "path %q has an empty key", path)
			return
		}
		for _, r := range key {
			if r > 0x7f || !isNameByte(byte(r)) {
				p.add(at, fmt.Sprintf("path %q has the character %q", path, r), hint)
				return
			}
		}
	}
}

// index looks for paths that no context can have, as far as the schema says so in the plain way.
func (l *linter) index() {
	schema, _, err := parseJSON(l.d.Schema)
	if len(l.d.Schema) == 0 || err != nil {
		return
	}
	for i, path := range l.d.Index {
		n, before := &schema, ""
		for key := range strings.SplitSeq(path, ".") {
			properties, more := n.find("properties"), n.find("additionalProperties")
			if properties == nil || more == nil || more.kind != jsonBool || more.truth {
				break // it may be there all the same
			}
			if n = properties.find(key); n == nil {
				where := "the schema allows no"
				if before != "" {
					where = fmt.Sprintf("in %q the schema allows no", before)
				}
				l.warn(IndexPath("index", i), oneOfOr(key, properties.keys), "path %q is never there: %s %q", path, where, key)
				break
			}
			before = strings.TrimPrefix(before+"."+key, ".")
		}
	}
}

// oneOfOr is the hint for a key that must be one of a few.
func oneOfOr(key string, known []string) string {
	if near := Nearest(key, known); near != "" {
		return didYouMean(near)
	}
	return leaveOut
}
