package subscribers

import "github.com/tasker-go/tasker/domain"

// Held is why no task of the partition moves, as far as this process knows; without Reason when they do.
func (c *Coordinator) Held() domain.Hold {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.phase == Loading:
		return domain.Hold{Reason: domain.ReasonLoading}
	case c.phase == Closed:
		return domain.Hold{Reason: domain.ReasonClosed, Why: c.why.Error()}
	case c.phase != Owning:
		return domain.Hold{Reason: domain.ReasonNoOwner}
	case c.gone:
		return domain.Hold{Reason: domain.ReasonLogAway}
	case c.stale:
		return domain.Hold{Reason: domain.ReasonLeaseStale}
	case c.full.Load():
		return domain.Hold{Reason: domain.ReasonStoreFull}
	}
	return domain.Hold{}
}
