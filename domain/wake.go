package domain

// wakeHeap orders steps by the time at which the engine has to do something for them. Entries are not removed when a
// step goes another way: whoever looks at the top drops what is out of date, so that a fact never costs O(steps).
type wakeHeap []wake

type wake struct {
	at   Instant
	step int32
}

func (h *wakeHeap) push(at Instant, step int32) {
	*h = append(*h, wake{at, step})
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(s[up]) {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *wakeHeap) pop() {
	s := *h
	n := len(s) - 1
	s[0] = s[n]
	s = s[:n]
	*h = s
	for i := 0; ; {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < n && s[c].before(s[least]) {
				least = c
			}
		}
		if least == i {
			return
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}

func (a wake) before(b wake) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.step < b.step
}
