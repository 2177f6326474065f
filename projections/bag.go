package projections

// bag is a set of pointers that is copied at once, unlike a map: Freeze must not hold its caller up.
type bag[T interface{ spot() *int }] []T

func (b *bag[T]) add(x T) {
	*x.spot() = len(*b)
	*b = append(*b, x)
}

// remove puts the last one in its place.
func (b *bag[T]) remove(x T) {
	i, last := *x.spot(), len(*b)-1
	(*b)[i] = (*b)[last]
	*(*b)[i].spot() = i
	clear((*b)[last:])
	*b = (*b)[:last]
}

func (e *Entry) spot() *int      { return &e.place }
func (f *FailedTask) spot() *int { return &f.place }
