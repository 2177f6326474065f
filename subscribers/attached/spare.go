package attached

// spares keeps the events and lanes that are through for those that come: a subscriber that follows a busy engine needs
// hundreds of thousands a second. It is guarded by the session's lock, and never has more than were unfinished at once.
type spares struct {
	events *event // linked by next
	lanes  *lane  // linked by queued
}

// chunk is how many are made at once.
const chunk = 64

func (s *spares) newEvent() *event {
	if s.events == nil {
		for more := make([]event, chunk); len(more) > 0; more = more[1:] {
			s.event(&more[0])
		}
	}
	ev := s.events
	s.events, ev.next = ev.next, nil
	return ev
}

// event takes one back that nobody refers to any more.
func (s *spares) event(ev *event) {
	*ev = event{next: s.events}
	s.events = ev
}

func (s *spares) newLane() *lane {
	if s.lanes == nil {
		for more := make([]lane, chunk); len(more) > 0; more = more[1:] {
			s.lane(&more[0])
		}
	}
	l := s.lanes
	s.lanes, l.queued = l.queued, nil
	return l
}

// lane takes one back.
func (s *spares) lane(l *lane) {
	*l = lane{queued: s.lanes}
	s.lanes = l
}
