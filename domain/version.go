package domain

import (
	"cmp"
	"strings"
)

// maxVersionDigits bounds each of the three numbers of a version.
const maxVersionDigits = 9

const versionHint = `write it like "1.4.0"`

// CompareVersions orders versions as numbers, not as text: 1.10.0 is higher than 1.9.0. What is not a version (see
// Validate) is lower than every version. It returns -1, 0 or 1.
func CompareVersions(a, b string) int {
	va, okA := parseVersion(a)
	vb, okB := parseVersion(b)
	switch {
	case !okA && !okB:
		return cmp.Compare(a, b)
	case !okA:
		return -1
	case !okB:
		return 1
	}
	return cmp.Or(cmp.Compare(va[0], vb[0]), cmp.Compare(va[1], vb[1]), cmp.Compare(va[2], vb[2]))
}

// parseVersion reads "n.n.n": decimal numbers without leading zeros, at most nine digits each.
func parseVersion(s string) (v [3]int, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != len(v) {
		return v, false
	}
	for i, part := range parts {
		if part == "" || len(part) > maxVersionDigits || len(part) > 1 && part[0] == '0' {
			return v, false
		}
		for _, c := range []byte(part) {
			if c < '0' || c > '9' {
				return v, false
			}
			v[i] = v[i]*10 + int(c-'0')
		}
	}
	return v, true
}
