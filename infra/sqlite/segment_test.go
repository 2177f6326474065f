package sqlite

import "testing"

// Tests have few tasks, and should have segments all the same.
func init() { leastSegment = 3 }

func TestSegmentsStayFew(t *testing.T) {
	s := &segmented{change: map[int64]int64{}}
	for n := range 1_000_000 {
		s.count(s.next(), 1)
		if n%3 == 0 { // some go
			s.count(s.newest/2, -1)
		}
	}
	if n := len(s.change); n < 32 || n > 500 {
		t.Errorf("%d segments", n)
	}
}
