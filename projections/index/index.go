// Package index folds the log into what lists, counts and analytics of all tasks are read from: a row for every task and
// for every step. It is pure; what keeps the rows implements Store, which is infra/sqlite. An index is never the truth: it
// follows the log with a cursor of its own, may be behind it, says by how much in every answer, and can be made again.
package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Reader answers questions about all tasks. Every method may be called from any goroutine; an answer is of one moment.
type Reader interface {
	// Tasks lists tasks. Errors: *QueryError.
	Tasks(ctx context.Context, q TaskQuery) (TaskPage, error)
	// Steps lists steps. Errors: *QueryError.
	Steps(ctx context.Context, q StepQuery) (StepPage, error)
	// Count counts the tasks that the query takes, by state; its States, Sort, Limit and After do not matter. Errors: *QueryError.
	Count(ctx context.Context, q TaskQuery) (Counts, error)
	// Analyze says how tasks and steps did. Errors: *QueryError.
	Analyze(ctx context.Context, q AnalyticsQuery) (Analytics, error)
	// Last is the position of the newest commit of a task that the index has; false when it has none.
	Last(ctx context.Context, id domain.TaskID) (domain.Position, bool, error)
	// Covered is what of the log the answers contain.
	Covered() domain.Cursor
}

// TaskQuery chooses tasks. Every field that is set must hold; the zero value takes all, newest first.
type TaskQuery struct {
	Namespaces   []string          `json:"namespaces,omitempty"` // any of them
	Name         string            `json:"name,omitempty"`       // of the definition
	Version      string            `json:"version,omitempty"`    // of the definition
	States       []domain.State    `json:"states,omitempty"`     // any of them
	Waiting      domain.WaitReason `json:"waiting,omitempty"`    // live tasks that wait for this
	Paused       *bool             `json:"paused,omitempty"`
	Initiator    string            `json:"initiator,omitempty"`
	SourceSystem string            `json:"source_system,omitempty"`
	Correlation  string            `json:"correlation,omitempty"`
	Tags         []string          `json:"tags,omitempty"`   // all of them
	Fields       map[string]string `json:"fields,omitempty"` // context fields that the definition chose to index: their text
	// Text is searched for in errors, tags, reasons and annotations: words, all of which must occur; the last may be a beginning.
	Text          string    `json:"text,omitempty"`
	CreatedAfter  time.Time `json:"created_after,omitzero"`  // at or after
	CreatedBefore time.Time `json:"created_before,omitzero"` // before
	EndedAfter    time.Time `json:"ended_after,omitzero"`
	EndedBefore   time.Time `json:"ended_before,omitzero"`

	Sort      Sort   `json:"sort,omitempty"`      // default SortCreated
	Ascending bool   `json:"ascending,omitempty"` // default: the newest, longest, most first
	Limit     int    `json:"limit,omitempty"`     // 1 to MaxLimit, default DefaultLimit
	After     string `json:"after,omitempty"`     // Next of the page before, with the same query; "" is the first page
}

// Limits of lists.
const (
	DefaultLimit = 50
	MaxLimit     = 500
	// MaxNamespaces is how many namespaces a query may name.
	MaxNamespaces = 1000
)

// Sort is what a list is sorted by; what is equal is sorted by where in the log it was created, so that pages neither skip nor
// repeat what does not change, and a rebuilt index gives the same list.
type Sort string

// The sorts.
const (
	SortCreated  Sort = "created"
	SortUpdated  Sort = "updated"  // time of the newest event
	SortEnded    Sort = "ended"    // only tasks that have ended or failed
	SortDuration Sort = "duration" // only tasks that have ended or failed
	SortRetries  Sort = "retries"  // only tasks that were retried
)

// TaskRow is a task as a list shows it.
type TaskRow struct {
	ID           domain.TaskID     `json:"id"`
	Namespace    string            `json:"namespace"`
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	State        domain.State      `json:"state"`
	Paused       bool              `json:"paused,omitempty"`
	Expired      bool              `json:"expired,omitempty"` // it failed so long ago that no verb reaches it any more
	Waiting      domain.WaitReason `json:"waiting,omitempty"`
	WaitingUntil time.Time         `json:"waiting_until,omitzero"`
	Failed       domain.FailReason `json:"failed,omitempty"`
	Round        int               `json:"round"`
	Initiator    string            `json:"initiator,omitempty"`
	SourceSystem string            `json:"source_system,omitempty"`
	Reason       string            `json:"reason,omitempty"`
	Correlation  string            `json:"correlation,omitempty"`
	Tags         []string          `json:"tags,omitempty"`
	Fields       map[string]string `json:"fields,omitempty"`
	Annotations  []Note            `json:"annotations,omitempty"` // the newest MaxNotes
	CreatedAt    time.Time         `json:"created_at"`
	StartedAt    time.Time         `json:"started_at,omitzero"`
	UpdatedAt    time.Time         `json:"updated_at"`
	EndedAt      time.Time         `json:"ended_at,omitzero"` // of the end, or of the failure
	Deadline     time.Time         `json:"deadline,omitzero"`
	Duration     time.Duration     `json:"duration_ns,omitzero"` // from its creation to its end or failure
	Steps        StepCounts        `json:"steps"`
	Retries      int               `json:"retries,omitempty"` // executions beyond the first of every step, lost ones included
	LastError    *LastError        `json:"last_error,omitempty"`
	Position     domain.Position   `json:"position"` // of its newest event
}

// MaxNotes is how many annotations of a task the index keeps, the newest; the log has all.
const MaxNotes = 16

// Note is an annotation.
type Note struct {
	Kind       string          `json:"kind"`
	Step       string          `json:"step,omitempty"`
	Annotation json.RawMessage `json:"annotation"`
	At         time.Time       `json:"at"`
}

// StepCounts counts the steps of a task by state; Complete has the skipped ones too.
type StepCounts struct {
	Total      int `json:"total"`
	Pending    int `json:"pending,omitempty"`
	InProgress int `json:"in_progress,omitempty"`
	Complete   int `json:"complete,omitempty"`
	Error      int `json:"error,omitempty"`
	Cancelled  int `json:"cancelled,omitempty"`
	Resolved   int `json:"resolved_manually,omitempty"`
}

// LastError is the newest failure of a task, kept when a later try went well.
type LastError struct {
	Step    string           `json:"step"`
	Attempt int              `json:"attempt"`
	Kind    domain.ErrorKind `json:"kind"`
	Code    string           `json:"code,omitempty"`
	Message string           `json:"message"`
	At      time.Time        `json:"at"`
}

// TaskPage is a part of a list of tasks.
type TaskPage struct {
	Tasks []TaskRow `json:"tasks"`
	// Next is for After; "" = that was all. A page may have fewer tasks than Limit, even none, and a Next all the same: looking on
	// would have taken too long for one page.
	Next string `json:"next,omitempty"`
	Lag  Lag    `json:"lag"`
}

// StepQuery chooses steps. Every field that is set must hold; the zero value takes all, in the order of their tasks, newest first.
type StepQuery struct {
	Task       domain.TaskID    `json:"task,omitzero"`
	Namespaces []string         `json:"namespaces,omitempty"` // any of them
	Name       string           `json:"name,omitempty"`       // of the definition
	Version    string           `json:"version,omitempty"`
	Step       string           `json:"step,omitempty"`
	Handler    string           `json:"handler,omitempty"`
	States     []domain.State   `json:"states,omitempty"`
	ErrorKind  domain.ErrorKind `json:"error_kind,omitempty"`
	Limit      int              `json:"limit,omitempty"` // 1 to MaxLimit, default DefaultLimit
	After      string           `json:"after,omitempty"`
}

// StepRow is a step as a list shows it.
type StepRow struct {
	Task       domain.TaskID     `json:"task"`
	Namespace  string            `json:"namespace"`
	TaskName   string            `json:"task_name"`
	Version    string            `json:"version"`
	Step       string            `json:"step"`
	Handler    string            `json:"handler"`
	State      domain.State      `json:"state"`
	Skipped    bool              `json:"skipped,omitempty"`
	Attempt    int               `json:"attempt"`
	Executions int               `json:"executions"` // counted ones, of its round
	StartedAt  time.Time         `json:"started_at,omitzero"`
	EndedAt    time.Time         `json:"ended_at,omitzero"`
	Duration   time.Duration     `json:"duration_ns,omitzero"` // of its last execution
	RetryAt    time.Time         `json:"retry_at,omitzero"`
	Error      *domain.StepError `json:"error,omitempty"` // without frames
	Position   domain.Position   `json:"position"`        // of its newest event
}

// StepPage is a part of a list of steps.
type StepPage struct {
	Steps []StepRow `json:"steps"`
	Next  string    `json:"next,omitempty"` // as in a TaskPage
	Lag   Lag       `json:"lag"`
}

// Counts are numbers of tasks by state.
type Counts struct {
	States map[domain.State]int64 `json:"states"` // every state, also with 0
	Total  int64                  `json:"total"`
	// AtLeast: there may be more: counting ended at MaxCount, or when it had looked at three times as many tasks.
	AtLeast bool `json:"at_least,omitempty"`
	Lag     Lag  `json:"lag"`
}

// MaxCount is where counting ends for a filter that no total is kept for.
const MaxCount = 100_000

// AnalyticsQuery chooses what is analyzed: tasks by the time of their end or failure, and executions of steps by that of theirs, in
// whole hours.
type AnalyticsQuery struct {
	Namespaces []string  `json:"namespaces,omitempty"` // any of them
	Name       string    `json:"name,omitempty"`
	Version    string    `json:"version,omitempty"`
	Since      time.Time `json:"since,omitzero"` // rounded down to the hour; zero = from the beginning
	Until      time.Time `json:"until,omitzero"` // rounded up to the hour; zero = up to now
	Top        int       `json:"top,omitempty"`  // of the slowest and most retried, of tasks that ended or failed; 0 to 100, default 10
}

// Analytics says how tasks and steps did.
type Analytics struct {
	Definitions  []DefinitionStats `json:"definitions"` // by namespace, name, version
	SlowestTasks []TaskRow         `json:"slowest_tasks"`
	SlowestSteps []StepRow         `json:"slowest_steps"`
	MostRetried  []StepRow         `json:"most_retried"`
	Lag          Lag               `json:"lag"`
}

// DefinitionStats are those of the tasks of one version of a definition.
type DefinitionStats struct {
	Namespace   string          `json:"namespace"`
	Name        string          `json:"name"`
	Version     string          `json:"version"`
	Tasks       int64           `json:"tasks"` // that ended or failed
	Complete    int64           `json:"complete"`
	Failed      int64           `json:"failed"` // and were not reopened
	Cancelled   int64           `json:"cancelled"`
	Resolved    int64           `json:"resolved_manually"`
	SuccessRate float64         `json:"success_rate"` // Complete / Tasks; 0 without any
	Duration    Durations       `json:"duration"`     // of complete tasks
	Steps       []StepStats     `json:"steps"`        // in the order of the definition
	Critical    []CriticalPoint `json:"critical_path,omitempty"`
}

// StepStats are those of one step of a definition.
type StepStats struct {
	Step        string    `json:"step"`
	Executions  int64     `json:"executions"` // that ended, however
	Complete    int64     `json:"complete"`
	Failed      int64     `json:"failed"` // executions
	Retries     int64     `json:"retries"`
	SuccessRate float64   `json:"success_rate"` // Complete / (Complete + Failed)
	Duration    Durations `json:"duration"`     // of executions that were complete
}

// CriticalPoint is a step of the longest way through a DAG, by the median durations of its steps.
type CriticalPoint struct {
	Step string        `json:"step"`
	P50  time.Duration `json:"p50_ns"`
	Ends time.Duration `json:"ends_ns"` // since the first step began
}

// Durations are exact in Count, Sum, Min and Max, and within 2.5 % in the percentiles.
type Durations struct {
	Count int64         `json:"count"`
	Sum   time.Duration `json:"sum_ns"`
	Min   time.Duration `json:"min_ns"`
	P50   time.Duration `json:"p50_ns"`
	P95   time.Duration `json:"p95_ns"`
	P99   time.Duration `json:"p99_ns"`
	Max   time.Duration `json:"max_ns"`
}

// Lag says how far behind the log an answer is.
type Lag struct {
	Covered string        `json:"covered"`            // cursor: everything up to it is in the answer
	Commits uint64        `json:"commits"`            // that the log has behind it, as far as is known
	Behind  time.Duration `json:"behind_ns,omitzero"` // age of the oldest of them
}

// QueryError: the query cannot be answered. Its text says what to change.
type QueryError struct {
	Field string // the JSON name
	Why   string
}

func (e *QueryError) Error() string { return fmt.Sprintf("%s: %s", e.Field, e.Why) }

// ErrBehind is what a read ends with that was to contain a position, when its time is over before the index does.
var ErrBehind = errors.New("the index is behind")

// BehindError is an ErrBehind that says how far.
type BehindError struct {
	Position domain.Position // that was asked for
	Covered  domain.Cursor
}

func (e *BehindError) Error() string {
	return fmt.Sprintf("%s: asked for %s, it covers %s: wait longer, or ask the task itself", ErrBehind.Error(), e.Position, e.Covered)
}

// Is reports whether target is ErrBehind.
func (e *BehindError) Is(target error) bool { return target == ErrBehind }
