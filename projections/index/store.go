package index

import (
	"context"

	"github.com/tasker-go/tasker/domain"
)

// Store keeps the rows. One goroutine loads, and one applies; they may be different ones.
type Store interface {
	// Load returns the row of a task as the last Apply left it; nil when there is none.
	Load(ctx context.Context, id domain.TaskID) (*Row, error)
	// Definition returns a definition that a batch brought; nil when none did.
	Definition(ctx context.Context, hash string) (*domain.Definition, error)
	// Marks are how far each partition has been applied.
	Marks(ctx context.Context) (map[int]Mark, error)
	// Apply stores a batch with its marks, all or nothing.
	Apply(ctx context.Context, b *Batch) error
}

// Mark is how far a partition has been read.
type Mark struct {
	Sequence uint64         // of the last message that was read
	CommitID string         // of that message; "" when it is no commit
	At       domain.Instant // of the last commit
}

// Batch is what some commits changed: every row once.
type Batch struct {
	Marks       map[int]Mark
	Definitions []*domain.Definition // that were adopted, perhaps not for the first time
	Writes      []Write              // in the order of Num
	Stats       map[StatKey]*Stat    // to be added to what there is
	Events      int                  // that were folded
	// Skipped events belong to tasks that cannot be indexed: what created them, or their definition, is not there.
	Skipped int

	rows []*Row
}

// Kind is a version of a definition.
type Kind struct{ Namespace, Name, Version string }

// Write is a row to be stored, in the form in which it is stored.
type Write struct {
	Num      int64 // names the row; in the order of creation within a partition
	ID       domain.TaskID
	New      bool
	OldState domain.State // that the stored row has, unless it is new
	Kind     Kind
	State    domain.State

	Created, Updated, Ended domain.Instant // Ended is 0 unless the task has ended or failed

	Duration int64 // µs until Ended
	Retries  int64 // of all steps
	Slowest  int64 // µs of the longest last execution of a step
	Tries    int64 // retries of the step that has the most
	Waiting  domain.WaitReason
	Paused   bool
	Expired  bool

	Detail []byte // for UnpackRow

	AddFacets, DropFacets []Facet
	Text                  string // to be found by
	NewText, HadText      bool   // whether Text differs from what is stored, and whether that was not ""
}

// StatKey names a sum: of one hour, and of a step, or with Step "" of the tasks themselves.
type StatKey struct {
	Kind Kind
	Step string
	Hour int64 // since the Unix epoch
}
