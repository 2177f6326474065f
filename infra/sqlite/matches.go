package sqlite

import (
	"slices"
	"sync"

	"zombiezen.com/go/sqlite"
)

// matches remembers which tasks have some words, for the next page of the same list. What is found is good as long as no text in
// the file has changed, which the file itself counts.
type matches struct {
	mu   sync.Mutex
	list []matched // the newest last
}

type matched struct {
	words string
	texts int64
	set   []int64 // sorted
	all   bool
}

const maxMatches = 8

// texts is how often the texts in the file have changed.
func texts(c *sqlite.Conn) (int64, error) {
	return number(c, `SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'texts'`)
}

// find looks the words up; all is false when more than maxMatch tasks have them. The set is sorted, and shared: it is not changed.
func (m *matches) find(f *filter, words string) (set []int64, all bool, err error) {
	n, err := texts(f.c)
	if err != nil {
		return nil, false, err
	}
	m.mu.Lock()
	for _, one := range m.list {
		if one.words == words && one.texts == n {
			m.mu.Unlock()
			return one.set, one.all, nil
		}
	}
	m.mu.Unlock()
	set, all, err = f.nums(`SELECT rowid FROM words WHERE words MATCH ? LIMIT ?`, maxMatch, words)
	if err != nil {
		return nil, false, err
	}
	if !all {
		set = nil
	}
	slices.Sort(set)
	m.keep(matched{words, n, set, all})
	return set, all, nil
}

func (m *matches) keep(one matched) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = slices.DeleteFunc(m.list, func(old matched) bool { return old.words == one.words || old.texts != one.texts })
	if len(m.list) >= maxMatches {
		m.list = slices.Delete(m.list, 0, 1)
	}
	m.list = append(m.list, one)
}

func (m *matches) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = nil
}
