package tasker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// StuckQuery chooses among the tasks that do not move. Every field that is set must hold; the zero value takes all.
type StuckQuery struct {
	Namespaces []string      `json:"namespaces,omitempty"` // any of them; none = all
	Name       string        `json:"name,omitempty"`       // of the definition
	Reason     domain.Reason `json:"reason,omitempty"`
	Limit      int           `json:"limit,omitempty"` // of tasks: 1 to MaxStuck, default DefaultStuck
	After      string        `json:"after,omitempty"` // Next of the page before, with the same query; "" is the first page
}

// Limits of Stuck.
const (
	DefaultStuck = 50
	MaxStuck     = 500
	// MaxStuckGroups is how many groups of a partition are told apart; what is beyond is counted in none.
	MaxStuckGroups = 100
	// MaxStuckExamples is how many tasks a group names.
	MaxStuckExamples = 3
)

// StuckPage says what does not move.
type StuckPage struct {
	// Groups has one line per cause, the worst first, of all tasks that the query takes, on whatever page they are.
	Groups []StuckGroup `json:"groups"`
	// Tasks are the tasks, the worst first, of equal ones those first that have stood still for longest. Those of a partition
	// that is held as a whole are not among them: the group says so.
	Tasks []StuckTask `json:"tasks"`
	Next  string      `json:"next,omitempty"` // for After; "" = that was all
	// More: there are more tasks than these, or than could be looked at in time.
	More bool `json:"more"`
}

// StuckTask is a task that does not move.
type StuckTask struct {
	Explanation
	Namespace string       `json:"namespace"`
	Name      string       `json:"name"`
	Version   string       `json:"version"`
	State     domain.State `json:"state"`
	// Place is where the task stands in the list: StuckQuery.After goes on behind it.
	Place string `json:"place"`
}

// StuckGroup is one cause, and how many tasks it holds.
type StuckGroup struct {
	Reason     domain.Reason  `json:"reason"`
	Severity   int            `json:"severity"`             // 1 is the worst
	Tasks      int            `json:"tasks"`                // 0: nobody can say how many
	AtLeast    bool           `json:"at_least,omitempty"`   // there may be more: not all could be looked at in time
	Partitions []int          `json:"partitions,omitempty"` // that are held as a whole
	Namespace  string         `json:"namespace,omitempty"`
	Name       string         `json:"name,omitempty"`
	Step       string         `json:"step,omitempty"`
	Handler    string         `json:"handler,omitempty"`
	Kind       string         `json:"error_kind,omitempty"`
	Text       string         `json:"text"` // of the first example, as the next three
	Fix        string         `json:"fix,omitempty"`
	Hint       string         `json:"hint,omitempty"`
	Since      domain.Instant `json:"since,omitzero"` // the oldest
	Examples   []TaskID       `json:"examples,omitempty"`
}

// stuckKey is what tasks of one cause have in common. Holds of a partition have why.
type stuckKey struct {
	reason                              domain.Reason
	namespace, name, step, handler, why string
}

func (g *StuckGroup) key() stuckKey {
	k := stuckKey{g.Reason, g.Namespace, g.Name, g.Step, g.Handler, g.Kind}
	if g.Reason == domain.ReasonClosed {
		k.why = g.Text
	}
	return k
}

// Stuck lists what does not move by itself soon, live and failed tasks, with the reason of each, the worst first: see
// domain.Reason.Severity for the order. What runs, sleeps as its definition says, is about to move, waits less than a
// minute for a slot, or is tried again within ten minutes, is not there. The owners look at their tasks a few at a time, so that
// nothing waits for it. Partitions that nobody owns, or that cannot be asked, are groups; beside the page comes a *PartialError
// for those of which not even that is known. Errors: *InvalidStuckError.
func (r *router) Stuck(ctx context.Context, q StuckQuery) (StuckPage, error) {
	if err := q.check(); err != nil {
		return StuckPage{}, err
	}
	n := r.store.Data().Partitions
	found, errs := make([]*StuckPage, n), make([]error, n)
	var asked sync.WaitGroup
	for p := range n {
		asked.Go(func() { found[p], errs[p] = r.stuckIn(ctx, p, &q) })
	}
	asked.Wait()
	page := StuckPage{Groups: []StuckGroup{}, Tasks: []StuckTask{}}
	var failed partial
	for p, part := range found {
		if errs[p] != nil {
			failed.add(p, errs[p])
			continue
		}
		page.merge(part)
	}
	page.sort(q.limit())
	return page, failed.err(n)
}

// stuckIn asks the owner of one partition. That there is none, or that it cannot answer, is an answer.
func (r *router) stuckIn(ctx context.Context, partition int, q *StuckQuery) (*StuckPage, error) {
	resp, err := r.once(ctx, partition, &request{Op: opStuck, Stuck: q})
	switch {
	case err == nil && resp.Stuck != nil:
		return resp.Stuck, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !nobodyAnswers(err):
		return nil, cmp.Or(err, errNothing)
	}
	return heldPage(partition, r.heldFor(ctx, partition, err), 0, q), nil
}

var errNothing = errors.New("its owner answered nothing")

// nobodyAnswers: the error says that the partition is held, and not that it could not be asked.
func nobodyAnswers(err error) bool {
	for _, known := range []error{ErrNoOwner, ErrNotRunning, ErrUnavailable, subscribers.ErrNotOwner} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// heldPage is that of a partition that is held as a whole, with so many tasks as far as is known.
func heldPage(partition int, h domain.Hold, tasks int, q *StuckQuery) *StuckPage {
	e := domain.ExplainPartitions([]int{partition}, h)
	if q.Reason != "" && q.Reason != e.Reason {
		return &StuckPage{}
	}
	return &StuckPage{Groups: []StuckGroup{{
		Reason: e.Reason, Severity: e.Reason.Severity(), Tasks: tasks, Partitions: []int{partition},
		Text: e.Text, Fix: e.Fix, Hint: e.Hint, Since: e.Since,
	}}}
}

// merge adds what another partition says.
func (p *StuckPage) merge(o *StuckPage) {
	p.Tasks = append(p.Tasks, o.Tasks...)
	p.More = p.More || o.More
	for i := range o.Groups {
		g := &o.Groups[i]
		at := slices.IndexFunc(p.Groups, func(have StuckGroup) bool { return have.key() == g.key() })
		if at < 0 {
			p.Groups = append(p.Groups, *g)
			continue
		}
		have := &p.Groups[at]
		have.Tasks += g.Tasks
		have.AtLeast = have.AtLeast || g.AtLeast
		have.Partitions = append(have.Partitions, g.Partitions...)
		if have.Since == 0 || g.Since != 0 && g.Since < have.Since {
			have.Since = g.Since
		}
		have.Examples = append(have.Examples, g.Examples...)
		have.Examples = have.Examples[:min(len(have.Examples), MaxStuckExamples)]
		if len(have.Partitions) > 1 && have.Reason != domain.ReasonClosed {
			have.Text = domain.ExplainPartitions(have.Partitions, domain.Hold{Reason: have.Reason}).Text
		}
	}
}

// sort orders groups and tasks and cuts the page.
func (p *StuckPage) sort(limit int) {
	slices.SortStableFunc(p.Groups, func(a, b StuckGroup) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(b.Tasks, a.Tasks), cmp.Compare(a.Since, b.Since))
	})
	slices.SortFunc(p.Tasks, func(a, b StuckTask) int {
		one, _ := parsePlace(a.Place)
		other, _ := parsePlace(b.Place)
		return one.compare(other)
	})
	if len(p.Tasks) > limit {
		p.Tasks, p.More = p.Tasks[:limit], true
	}
	if p.More && len(p.Tasks) > 0 {
		p.Next = p.Tasks[len(p.Tasks)-1].Place
	}
}

// stuckPlace is where a task stands in the order of the list.
type stuckPlace struct {
	severity int
	since    domain.Instant
	id       TaskID
}

func (a stuckPlace) compare(b stuckPlace) int {
	return cmp.Or(cmp.Compare(a.severity, b.severity), cmp.Compare(a.since, b.since), slices.Compare(a.id[:], b.id[:]))
}

// String is what a page's Next says; parsePlace reads it.
func (a stuckPlace) String() string { return fmt.Sprintf("%d.%d.%s", a.severity, a.since, a.id) }

func parsePlace(text string) (stuckPlace, bool) {
	if text == "" {
		return stuckPlace{}, true
	}
	parts := strings.SplitN(text, ".", 3)
	if len(parts) != 3 {
		return stuckPlace{}, false
	}
	severity, err := strconv.Atoi(parts[0])
	since, other := strconv.ParseInt(parts[1], 10, 64)
	id, wrong := ParseTaskID(parts[2])
	return stuckPlace{severity, domain.Instant(since), id}, err == nil && other == nil && wrong == nil
}

// InvalidStuckError: a StuckQuery cannot be answered. Its text says what to change.
type InvalidStuckError struct {
	Field string `json:"field"` // the JSON name
	Why   string `json:"why"`
}

func (e *InvalidStuckError) Error() string { return e.Field + ": " + e.Why }

func (q *StuckQuery) check() error {
	if q.Limit < 0 || q.Limit > MaxStuck {
		return &InvalidStuckError{"limit", fmt.Sprintf("%d is not 1 to %d", q.Limit, MaxStuck)}
	}
	if q.Reason != "" && q.Reason.Severity() == 0 {
		return &InvalidStuckError{"reason", fmt.Sprintf("%q is none for which a task stands still: docs/explain.md lists them", q.Reason)}
	}
	if _, ok := parsePlace(q.After); !ok {
		return &InvalidStuckError{"after", fmt.Sprintf("%q is not what a page said", q.After)}
	}
	return nil
}

func (q *StuckQuery) limit() int {
	if q.Limit == 0 {
		return DefaultStuck
	}
	return q.Limit
}

// takes reports whether tasks of the definition are asked for.
func (q *StuckQuery) takes(d *domain.Definition) bool {
	return (len(q.Namespaces) == 0 || slices.Contains(q.Namespaces, d.Namespace)) && (q.Name == "" || q.Name == d.Name)
}
