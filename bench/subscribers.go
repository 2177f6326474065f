package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// SubscribersOptions say how long Subscribers takes: Idle, and Rounds times five times four thirds of Slice.
type SubscribersOptions struct {
	Rounds int           // of the comparison; default 10
	Slice  time.Duration // of one measurement in a round; default 1 s
	Idle   time.Duration // of the one subscriber that has to keep up; default 5 s
	// Inflight tasks, default 1000.
	Inflight int
}

// SubscribersReport is what durable subscribers cost the engine.
type SubscribersReport struct {
	Idle     IdleReport        `json:"idle"`
	Compared []SubscriberRatio `json:"compared"`
	Rounds   int               `json:"rounds"`
	Slice    float64           `json:"slice_s"`
}

// IdleReport is how a durable subscriber that does nothing follows the engine at full speed.
type IdleReport struct {
	Seconds   float64 `json:"seconds"`
	TasksPerS float64 `json:"tasks_per_s"`
	Stored    int64   `json:"events_stored"`
	PerS      float64 `json:"events_handled_per_s"` // while the load lasted
	Lag       int64   `json:"lag_events"`           // stored and not handled when the load ended
	LagMS     float64 `json:"lag_ms"`               // as much as is stored in that time
	CatchUpMS float64 `json:"catch_up_ms"`          // until all was handled
}

// SubscriberRatio is the throughput with a subscriber, as a share of that without, in pairs of measurements that follow
// each other.
type SubscriberRatio struct {
	Name    string  `json:"name"`
	Does    string  `json:"does"`
	Ratio   float64 `json:"ratio"` // the median of the pairs
	Low     float64 `json:"low"`   // the least
	High    float64 `json:"high"`  // the most
	CPU     float64 `json:"cpu"`   // processor time per task, as a share of that without; the median: it says more on a shared machine
	Handled int64   `json:"handled"`
	Failed  int64   `json:"failed"` // tries
}

// subscriber is one that is compared.
type subscriber struct {
	name, does string
	// from: one that cannot keep up is far behind before long, so that is where it begins.
	from   domain.Start
	handle func(context.Context) error
}

var errUseless = errors.New("this subscriber always fails")

var subscriberKinds = []subscriber{
	{"idle", "returns at once", tasker.FromNew, func(context.Context) error { return nil }},
	{"slow", "takes 10 ms per event", tasker.FromBeginning, func(ctx context.Context) error {
		timer := time.NewTimer(10 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}},
	{"failing", "fails always, and is tried again", tasker.FromBeginning, func(context.Context) error { return errUseless }},
	{"useless", "gives every event up, so that it is parked", tasker.FromBeginning, func(context.Context) error { return tasker.Permanent(errUseless) }},
}

// Subscribers measures in one process, on a strict log in dir: first how one that does nothing keeps up, then, in
// interleaved rounds, the dummy task without a subscriber and with one of each kind.
func Subscribers(ctx context.Context, dir string, o SubscribersOptions) (SubscribersReport, error) {
	o.Rounds = cmpOr(o.Rounds, 10)
	o.Inflight = cmpOr(o.Inflight, 1000)
	o.Slice, o.Idle = cmpOr(o.Slice, time.Second), cmpOr(o.Idle, 5*time.Second)
	r := SubscribersReport{Rounds: o.Rounds, Slice: o.Slice.Seconds()}
	srv, err := natsserver.Start(ctx, natsserver.Options{Dir: dir, Durability: natsserver.Strict})
	if err != nil {
		return r, err
	}
	defer func() { _ = srv.Shutdown(context.WithoutCancel(ctx)) }()
	b := Options{Shape: "dummy", Inflight: o.Inflight, Durability: natsserver.Strict}
	shape, err := parseShape(b.Shape)
	if err != nil {
		return r, err
	}
	err = withEngine(ctx, srv, b, shape, func(e *tasker.Engine) error {
		s := &subscribersBench{e: e, o: b, shape: shape, slice: o.Slice}
		if err := s.idle(ctx, o.Idle, &r.Idle); err != nil {
			return err
		}
		return s.compare(ctx, o.Rounds, &r)
	})
	return r, err
}

func cmpOr[T int | time.Duration](given, byDefault T) T {
	if given <= 0 {
		return byDefault
	}
	return given
}

type subscribersBench struct {
	e     *tasker.Engine
	o     Options
	shape shape
	slice time.Duration
	names int // of subscribers so far: each is a new one
}

// run is the load for a while, in tasks per second.
func (s *subscribersBench) run(ctx context.Context, d time.Duration) (float64, error) {
	o := s.o
	o.Duration = d
	began := time.Now()
	l, err := load(ctx, s.e, o, s.shape)
	if err == nil && l.done.Load() == 0 {
		err = errors.New("bench: no task ended")
	}
	return float64(l.done.Load()) / time.Since(began).Seconds(), err
}

// stored counts the events that this engine has stored.
func (s *subscribersBench) stored() (n int64) {
	for _, p := range s.e.Stats().Partitions {
		n += p.Events
	}
	return n
}

// listening is a durable subscriber at work.
type listening struct {
	handled, failed atomic.Int64
	stop            func() error
}

// attach runs one that hears of everything, under a new name.
func (s *subscribersBench) attach(ctx context.Context, kind subscriber, from domain.Start) *listening {
	s.names++
	name := fmt.Sprintf("bench-%s-%d", kind.name, s.names)
	l := &listening{}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- s.e.Attach(ctx, name, nil, func(ctx context.Context, _ tasker.Event) error {
			err := kind.handle(ctx)
			if err == nil {
				l.handled.Add(1)
			} else if ctx.Err() == nil {
				l.failed.Add(1)
			}
			return err
		}, tasker.AttachOptions{From: from})
	}()
	l.stop = func() error {
		cancel()
		return <-ended
	}
	return l
}

// idle is about one that does nothing. It begins with the log, so that what it has handled can be compared with what is
// stored.
func (s *subscribersBench) idle(ctx context.Context, d time.Duration, r *IdleReport) error {
	l := s.attach(ctx, subscriberKinds[0], tasker.FromBeginning)
	err := s.follow(ctx, l, d, r)
	return errors.Join(err, l.stop())
}

func (s *subscribersBench) follow(ctx context.Context, l *listening, d time.Duration, r *IdleReport) error {
	if _, err := s.run(ctx, s.slice); err != nil { // a warm-up, for everything
		return err
	}
	if err := s.quiet(ctx, l); err != nil {
		return err
	}
	stored, handled := s.stored(), l.handled.Load()
	began := time.Now()
	rate, err := s.run(ctx, d)
	if err != nil {
		return err
	}
	ended := time.Now()
	took := ended.Sub(began).Seconds()
	r.Seconds, r.TasksPerS = took, rate
	done := l.handled.Load() - handled
	r.Stored = s.stored() - stored
	r.PerS, r.Lag = float64(done)/took, max(0, r.Stored-done) // what was just stored may be handled before it is counted
	r.LagMS = 1000 * float64(r.Lag) / (float64(r.Stored) / took)
	for l.handled.Load()-handled < r.Stored {
		if time.Since(ended) > time.Minute {
			return fmt.Errorf("bench: a minute after the load %d of %d events were handled", l.handled.Load()-handled, r.Stored)
		}
		time.Sleep(100 * time.Microsecond)
	}
	r.CatchUpMS = float64(time.Since(ended).Microseconds()) / 1000
	return nil
}

// quiet returns when the subscriber has handled what there is: nothing more comes for a while.
func (s *subscribersBench) quiet(ctx context.Context, l *listening) error {
	const still = 300 * time.Millisecond
	deadline := time.Now().Add(time.Minute)
	for before := int64(-1); ; {
		now := l.handled.Load()
		if now == before && now > 0 {
			return nil
		}
		if before = now; time.Now().After(deadline) {
			return errors.New("bench: the subscriber is not through a minute after the load")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(still):
		}
	}
}

// compare measures without a subscriber and with each kind, once per round; each round begins with another one, so that
// what changes with time is nobody's in particular.
func (s *subscribersBench) compare(ctx context.Context, rounds int, r *SubscribersReport) error {
	kinds := append([]subscriber{{}}, subscriberKinds...) // the first is none
	ratios, cpus := make([][]float64, len(kinds)), make([][]float64, len(kinds))
	told := make([]SubscriberRatio, len(kinds))
	for round := range rounds {
		all := make([]measured, len(kinds))
		for i := range kinds {
			k := (i + round) % len(kinds)
			var err error
			if all[k], err = s.measure(ctx, kinds[k], &told[k]); err != nil {
				return err
			}
		}
		for k := range kinds {
			ratios[k] = append(ratios[k], all[k].rate/all[0].rate)
			cpus[k] = append(cpus[k], all[k].cpu/all[0].cpu)
		}
	}
	for k, kind := range kinds[1:] {
		all := ratios[k+1]
		slices.Sort(all)
		slices.Sort(cpus[k+1])
		c := told[k+1]
		c.CPU = middle(cpus[k+1])
		c.Name, c.Does, c.Ratio, c.Low, c.High = kind.name, kind.does, middle(all), all[0], all[len(all)-1]
		r.Compared = append(r.Compared, c)
	}
	return nil
}

func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// measure is one slice of load with one subscriber, after some that is not measured: by then it has read as far ahead as it
// may.
func (s *subscribersBench) measure(ctx context.Context, kind subscriber, told *SubscriberRatio) (measured, error) {
	runtime.GC() // not of what the one before has left
	var l *listening
	if kind.handle != nil {
		l = s.attach(ctx, kind, kind.from)
	}
	_, err := s.run(ctx, s.slice/3)
	var m measured
	if err == nil {
		cpu := cpuTime()
		m.rate, err = s.run(ctx, s.slice)
		m.cpu = (cpuTime() - cpu).Seconds() / (m.rate * s.slice.Seconds())
	}
	if l == nil {
		return m, err
	}
	err = errors.Join(err, l.stop())
	if err == nil && l.handled.Load()+l.failed.Load() == 0 {
		err = fmt.Errorf("bench: the subscriber %q was told of nothing", kind.name)
	}
	told.Handled += l.handled.Load()
	told.Failed += l.failed.Load()
	return m, err
}

// measured is one slice: tasks per second, and processor seconds per task.
type measured struct{ rate, cpu float64 }
