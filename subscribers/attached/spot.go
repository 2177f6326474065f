package attached

import (
	"cmp"

	"github.com/tasker-go/tasker/domain"
)

// spot is the place of an event in what a partition tells. A fact and its signals share a position; their ranks tell them
// apart (domain.RankOf). Rank 0 comes before them all.
type spot struct {
	domain.Position
	rank int
}

func spotOf(r domain.Record) spot { return spot{r.Position, domain.RankOf(r.Event)} }

func (s spot) less(t spot) bool { return s.compare(t) < 0 }

// compare is for spots of one partition.
func (s spot) compare(t spot) int {
	return cmp.Or(cmp.Compare(s.Sequence, t.Sequence), cmp.Compare(s.Index, t.Index), cmp.Compare(s.rank, t.rank))
}

// behind is the spot after everything up to and including s. Who wants no signals is through with a position when its
// fact is.
func (s spot) behind(signals bool) spot {
	if !signals {
		return spot{domain.Position{Partition: s.Partition, Sequence: s.Sequence, Index: s.Index + 1}, 0}
	}
	s.rank++
	return s
}

// place is a spot in a cursor, written [123,4] or [123,4,20]: sequence, index, and the rank when it is not 0.
type place []uint64

func placeOf(s spot) place {
	p := place{s.Sequence, uint64(s.Index)} // #nosec G115 -- never negative
	if s.rank != 0 {
		p = append(p, uint64(s.rank)) // #nosec G115 -- never negative
	}
	return p
}

func (l place) spot(partition int) spot {
	at := func(i int) uint64 {
		if i < len(l) {
			return l[i]
		}
		return 0
	}
	return spot{domain.Position{Partition: partition, Sequence: at(0), Index: int(at(1))}, int(at(2))} // #nosec G115 -- as it was written
}

// factRank is the rank of every fact.
var factRank = domain.RankOf(domain.TaskCreated{})
