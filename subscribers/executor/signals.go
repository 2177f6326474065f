package executor

import (
	"time"

	"github.com/tasker-go/tasker/domain"
)

// beforeHandle tells the taps that the handler is called now.
func (x *execution) beforeHandle() {
	tap := x.exec.cfg.Tap
	if tap == nil || !tap.Open() {
		return
	}
	x.called = time.Now()
	if tap.Wants(domain.SignalBeforeHandle) {
		x.tell(domain.Signal{Name: domain.SignalBeforeHandle})
	}
}

// afterHandle tells them that the call is over. cmd is what will be reported of it, unless it comes too late.
func (x *execution) afterHandle(cmd domain.Command) {
	tap := x.exec.cfg.Tap
	if x.called.IsZero() || !tap.Wants(domain.SignalHandle) {
		return
	}
	s := domain.Signal{Name: domain.SignalHandle, Outcomes: []domain.State{domain.Complete}, Took: time.Since(x.called)}
	if f, ok := cmd.(domain.FailStep); ok {
		s.Outcomes[0], s.Error = domain.Error, &f.Error
	}
	x.tell(s)
}

func (x *execution) tell(s domain.Signal) {
	s.Steps, s.Attempt = []string{x.call.Step.Name}, x.call.Step.Attempt
	x.exec.cfg.Tap.Tell([]domain.Record{{Event: s, Task: x.key.task, Position: x.at}})
}
