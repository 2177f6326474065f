package exechandler

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// drain is how long the output of a command is read after it ended: somebody whom it left behind may hold it open.
const drain = 500 * time.Millisecond

// process is a command that was started.
type process struct {
	cmd   *exec.Cmd
	grace time.Duration
	// Closed when there is no sense in going on.
	full, closing <-chan struct{}

	// Valid when wait has returned.
	stopped bool // told to end
	killed  bool // and did not, within the grace
}

// wait returns when the command has ended by itself, or was told to by ctx, full or closing, and its group is
// killed. It takes at most the grace and the drain from then on.
func (p *process) wait(ctx context.Context) error {
	exited, watched := make(chan struct{}), make(chan struct{})
	var until time.Time
	go func() {
		defer close(watched)
		until = p.watch(ctx, exited)
	}()
	err := p.cmd.Wait()
	close(exited)
	<-watched
	if p.stopped {
		// A shell dies at once, while its children still tidy up.
		awaitGroup(p.cmd, until)
	}
	killGroup(p.cmd)
	return err
}

// watch returns when the grace is over, for a command that was stopped.
func (p *process) watch(ctx context.Context, exited <-chan struct{}) (until time.Time) {
	select {
	case <-exited:
		return time.Time{}
	case <-ctx.Done():
	case <-p.full:
	case <-p.closing:
	}
	until = time.Now().Add(p.grace)
	p.stopped = terminate(p.cmd)
	timer := time.NewTimer(p.grace)
	defer timer.Stop()
	select {
	case <-exited:
	case <-timer.C:
		p.killed = true
		killGroup(p.cmd)
	}
	return until
}

// awaitGroup returns when nothing is left of the group, or the time has come. Nobody tells when a process that is not
// one's child ends, so it asks.
func awaitGroup(cmd *exec.Cmd, until time.Time) {
	for wait := time.Millisecond; groupLives(cmd); wait = min(2*wait, 50*time.Millisecond) {
		left := time.Until(until)
		if left <= 0 {
			return
		}
		time.Sleep(min(wait, left))
	}
}

// how says how a command was stopped.
func (p *process) how() string {
	if p.killed {
		return fmt.Sprintf(", and killed after its grace of %s", p.grace)
	}
	return ""
}
