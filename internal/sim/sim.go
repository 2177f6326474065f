// Package sim runs the core of the engine in a world made of one seed: one partition's log, two processes that take it
// from each other, clients, handlers, and a network that loses, delays and doubles. Everything happens on one
// goroutine, on virtual time, in an order that the seed decides, so that whatever goes wrong can be seen again.
//
//	world.go      what happens next
//	log.go        the log, and what can happen to a message on its way
//	process.go    an owner: the coordinator's loop around subscribers.Machine, and the fate of its messages
//	executor.go   slots and handlers
//	sayings.go    what handlers say before they are done
//	snapshots.go  snapshots, trims, loading
//	clients.go    definitions, submissions, questions
//	forks.go      forks of tasks
//	operators.go  the operator's verbs
//	ledger.go     what the log may say: every fact is checked when it is stored
//	check.go      what an owner's memory must be, compared with the log folded from zero
//
// It leaves out what is around the machine: goroutines and locks of the coordinator, the lease itself, the real
// executor, payloads in the blob store, frozen tasks, forgetting of idempotency keys, more than one partition.
package sim

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// Config selects a run.
type Config struct {
	Seed    uint64
	Commits int // messages in the log before the faults stop; default 5,000
	Fault   Fault
}

// Fault is a mistake that is planted in the driver of the machine, to see that it is found.
type Fault int

// The faults.
const (
	NoFault            Fault = iota
	EffectBeforeCommit       // effects are released when a message is sent
	NoFence                  // appends do not name the sequence that they follow
	AttemptIgnored           // a report counts for whatever execution is current
	TimersLost               // timers are not armed again when a partition is taken over
	SnapshotShort            // a snapshot lacks the commit that it names
	CursorsLost              // checkpoints are not read again when a partition is taken over
)

func (f Fault) String() string {
	return [...]string{"none", "effect before commit", "no fence", "attempt not compared", "timers lost at takeover", "snapshot one commit short", "checkpoints lost at takeover"}[f]
}

// Failure is a run that went wrong. Running its Config again goes wrong in the same way.
type Failure struct {
	Config Config
	What   string
	After  int      // commits
	Trace  []string // what happened last, the newest at the end
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d, after %d commits: %s\nlast events:\n  %s\nagain: go test ./internal/sim -run TestSimulation -sim.seed=%d -sim.commits=%d",
		f.Config.Seed, f.After, f.What, strings.Join(f.Trace, "\n  "), f.Config.Seed, f.Config.Commits)
}

// Report says what a run has seen.
type Report struct {
	Commits, Facts, Tasks int
	Takeovers, Crashes    int
	Snapshots, Fallbacks  int // taken; passed over because they were spoiled
	TooLarge              int // forks that were refused because they do not fit into a message
	Splits                int // parts of an input that was larger than a message, but the first
	Moves                 int // messages of somebody without business in the log
	Lost                  int // acknowledgements
	Answers, Stale        int // to clients; reports that came too late
	Events                map[domain.EventType]int
	Verbs                 map[string]Verb // of operators, by the name of the command
}

// Verb is how often a verb came to what.
type Verb struct{ Changed, Same, Refused int }

// traced is how many events a failure shows.
const traced = 80

// Run runs one world to its end. The error is a *Failure.
func Run(c Config) (Report, error) {
	if c.Commits == 0 {
		c.Commits = 5000
	}
	r, failure := run(c, false)
	if failure == nil {
		return r, nil
	}
	if _, again := run(c, true); again != nil && again.After == failure.After && headline(again.What) == headline(failure.What) {
		return r, again
	}
	failure.Trace = []string{"(the run goes another way when it is traced: something in it is not decided by the seed)"}
	return r, failure
}

// headline leaves the stack of a panic out.
func headline(what string) string {
	what, _, _ = strings.Cut(what, "\n")
	return what
}

func run(c Config, trace bool) (r Report, failure *Failure) {
	w := newWorld(c, trace)
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		what, ok := p.(violation)
		if !ok {
			what = violation(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
		}
		failure = &Failure{Config: c, What: string(what), After: len(w.log.messages), Trace: w.traced()}
	}()
	w.run()
	return w.report, nil
}

// violation is the sentence that does not hold.
type violation string

func failf(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }
